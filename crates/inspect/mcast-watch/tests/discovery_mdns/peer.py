"""Publishes and browses services with zeroconf, by commands on standard input."""

import socket
import sys

from zeroconf import IPVersion, ServiceBrowser, ServiceInfo, Zeroconf

# The address is published; it speaks by the family of the other one.
host, address, own = sys.argv[1:4]
family = IPVersion.V6Only if ":" in own else IPVersion.V4Only
zeroconf = Zeroconf(interfaces=[own], ip_version=family)
published = {}
found = set()


def change(zeroconf, service_type, name, state_change):
    key = (name.removesuffix("." + service_type), service_type.removesuffix(".local."))
    if state_change.name == "Removed":
        found.discard(key)
    else:
        found.add(key)


browser = None
print("ready", flush=True)
for line in sys.stdin:
    command, *rest = line.rstrip("\n").split("\t")
    if command == "browse":
        browser = ServiceBrowser(zeroconf, [kind + ".local." for kind in rest], handlers=[change])
        print("done", flush=True)
    elif command == "list":
        print("\t".join(sorted(f"{name}|{kind}" for name, kind in list(found))), flush=True)
    elif command == "add":
        name, kind, port = rest
        info = ServiceInfo(
            kind + ".local.",
            f"{name}.{kind}.local.",
            addresses=[socket.inet_aton(address)],
            port=int(port),
            properties={"ty": "Model 7", "raw": b"\x00\xff\n"},
            server=host + ".local.",
        )
        zeroconf.register_service(info)
        published[(name, kind)] = info
        print("done", flush=True)
    elif command == "remove":
        zeroconf.unregister_service(published.pop(tuple(rest)))
        print("done", flush=True)
zeroconf.close()
