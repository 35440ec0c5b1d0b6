"""Sends a message to a group, the way tutorials on multicast in Python do.

python send.py GROUP PORT MESSAGE [INTERFACE_ADDRESS]; without an address, the routing table decides.
"""

import socket
import sys

group, port, message, *address = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP) as sender:
    if address:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address[0]))
    sender.sendto(message.encode(), (group, int(port)))
