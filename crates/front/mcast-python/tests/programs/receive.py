"""Prints the first message to a group, the way tutorials on multicast in Python do.

python receive.py GROUP PORT INTERFACE_ADDRESS; with 0.0.0.0, the system chooses the interface.
"""

import socket
import sys

group, port, address = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDP) as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((group, int(port)))
    request = socket.inet_aton(group) + socket.inet_aton(address)
    listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    print("ready", flush=True)
    print(listener.recv(1024).decode(), flush=True)
