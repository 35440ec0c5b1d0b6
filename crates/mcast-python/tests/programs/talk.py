"""Sends a message to a group, as tutorials on multicast in Python do it.

python talk.py GROUP PORT MESSAGE [ADDRESS OF THE INTERFACE]; without one, the routing table decides.
"""

import socket
import sys

group, port, message, *address = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP) as talker:
    if address:
        talker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        talker.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address[0]))
    talker.sendto(message.encode(), (group, int(port)))
