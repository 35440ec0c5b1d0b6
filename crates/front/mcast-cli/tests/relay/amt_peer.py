"""A gateway and a relay of AMT, written from RFC 7450 with scapy, apart from the code under test.

    amt_peer.py gateway RELAY SOURCE GROUP PORT COUNT
    amt_peer.py relay OWN SOURCE GROUP PORT COUNT
    amt_peer.py dns OWN SOURCE RELAY PORT COUNT

The last one is a server of the DNS that names a relay for a source (RFC 8777), COUNT times, at PORT. All print one line per step, and exit with status 1 on anything that the RFC does not allow.
"""

import hashlib
import ipaddress
import os
import socket
import struct
import sys

from scapy.contrib.igmpv3 import IGMPv3, IGMPv3gr, IGMPv3mq, IGMPv3mr
from scapy.layers.dns import DNS
from scapy.layers.inet import IP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLQuery2,
    ICMPv6MLReport2,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)

PORT = 2268
DISCOVERY, ADVERTISEMENT, REQUEST, QUERY, UPDATE, DATA, TEARDOWN = range(1, 8)


def say(*words):
    print(*words, flush=True)


def check(holds, what):
    if not holds:
        say("WRONG", what)
        sys.exit(1)


def packed(address):
    """Returns the 16 bytes of an address; before one of IPv4 are 96 bits of zero."""
    return ipaddress.ip_address(address).packed.rjust(16, b"\0")


def is_v6(address):
    return ipaddress.ip_address(address).version == 6


def opened(address, port):
    own = socket.socket(socket.AF_INET6 if is_v6(address) else socket.AF_INET, socket.SOCK_DGRAM)
    own.settimeout(20)
    if port:
        own.bind((address, port))
    return own


def igmp(kind, body):
    """Older versions of scapy have the header of IGMPv3 as a layer of its own."""
    return body if bytes(body)[0] == kind else IGMPv3(type=kind) / body


def report(source, group):
    """An IP packet with a report: only this source of this group."""
    if is_v6(group):
        record = ICMPv6MLDMultAddrRec(rtype=1, dst=group, sources=[source])
        hop_by_hop = IPv6ExtHdrHopByHop(options=[RouterAlert()])
        return bytes(IPv6(src="fe80::7", dst="ff02::16", hlim=1) / hop_by_hop / ICMPv6MLReport2(records=[record]))
    record = IGMPv3gr(rtype=1, maddr=group, srcaddrs=[source])
    ip = IP(src="0.0.0.0", dst="224.0.0.22", ttl=1, options=[IPOption_Router_Alert()])
    return bytes(ip / igmp(0x22, IGMPv3mr(records=[record])))


def general_query(group, interval):
    if is_v6(group):
        hop_by_hop = IPv6ExtHdrHopByHop(options=[RouterAlert()])
        query = ICMPv6MLQuery2(mladdr="::", mrd=1000, QRV=2, QQIC=interval)
        return bytes(IPv6(src="fe80::1", dst="ff02::1", hlim=1) / hop_by_hop / query)
    ip = IP(src="192.0.2.1", dst="224.0.0.1", ttl=1, options=[IPOption_Router_Alert()])
    return bytes(ip / igmp(0x11, IGMPv3mq(gaddr="0.0.0.0", qrv=2, qqic=interval)))


def inner(packet):
    return IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)


def has_good_checksum(packet):
    """Returns whether scapy computes the same bytes when it fills in the checksums itself."""
    again = inner(packet)
    layer = again
    while layer:
        for field in ("chksum", "cksum"):
            if field in layer.fields:
                del layer.fields[field]
        layer = layer.payload
    return bytes(again) == packet


def gateway(relay, source, group, port, count):
    own = opened(relay, 0)
    nonce = os.urandom(4)
    own.sendto(bytes([DISCOVERY, 0, 0, 0]) + nonce, (relay, PORT))
    answer, sender = own.recvfrom(65536)
    check(sender[:2] == (relay, PORT), f"an advertisement from {sender}")
    check(answer[:8] == bytes([ADVERTISEMENT, 0, 0, 0]) + nonce, f"advertisement {answer.hex()}")
    found = str(ipaddress.ip_address(answer[8:]))
    check(found == relay, f"the relay {found}")
    say("advertisement", found)

    nonce = os.urandom(4)
    own.sendto(bytes([REQUEST, int(is_v6(group)), 0, 0]) + nonce, (found, PORT))
    answer, sender = own.recvfrom(65536)
    check(answer[0] == QUERY and answer[1] & 0xFE == 0 and answer[8:12] == nonce, f"query {answer.hex()}")
    mac, has_gateway = answer[2:8], answer[1] & 1
    packet, fields = (answer[12:-18], answer[-18:]) if has_gateway else (answer[12:], None)
    query = inner(packet)
    check(has_good_checksum(packet), "the checksum of the query")
    check((query.hlim if is_v6(group) else query.ttl) == 1, "the TTL of the query")
    kind = ICMPv6MLQuery2 if is_v6(group) else IGMPv3mq
    check(kind in query, f"query {query.summary()}")
    check(fields and struct.unpack("!H", fields[:2])[0] == own.getsockname()[1], "the port of the gateway")
    say("query", query[kind].QQIC if is_v6(group) else query[kind].qqic)

    own.sendto(bytes([UPDATE, 0]) + mac + nonce + report(source, group), (found, PORT))
    for _ in range(count):
        answer, sender = own.recvfrom(65536)
        check(sender[:2] == (found, PORT) and answer[:2] == bytes([DATA, 0]), f"data {answer.hex()}")
        data = inner(answer[2:])
        check(has_good_checksum(answer[2:]), "the checksum of the data")
        check((data.src, data.dst, data[UDP].dport) == (source, group, port), data.summary())
        say("data", bytes(data[UDP].payload).decode())

    own.sendto(bytes([TEARDOWN, 0]) + mac + nonce + fields, (found, PORT))
    # What is under way arrives within a second. Then there is silence, although the source goes on.
    own.settimeout(1)
    try:
        for _ in range(10):
            own.recvfrom(65536)
        say("data after the teardown")
        sys.exit(1)
    except TimeoutError:
        say("silence")


def relay(own_address, source, group, port, count):
    secret = os.urandom(16)

    def code(sender, nonce):
        return hashlib.sha256(secret + packed(sender[0]) + struct.pack("!H", sender[1]) + nonce).digest()[:6]

    own = opened(own_address, PORT)
    say("ready")
    while True:
        message, sender = own.recvfrom(65536)
        kind, nonce = message[0], message[4:8]
        if kind == DISCOVERY:
            check(len(message) == 8 and message[1:4] == bytes(3), f"discovery {message.hex()}")
            own.sendto(bytes([ADVERTISEMENT, 0, 0, 0]) + nonce + ipaddress.ip_address(own_address).packed, sender)
            say("discovery")
        elif kind == REQUEST:
            check(len(message) == 8 and message[1] == int(is_v6(group)), f"request {message.hex()}")
            fields = struct.pack("!H", sender[1]) + packed(sender[0])
            head = bytes([QUERY, 1]) + code(sender, nonce) + nonce
            own.sendto(head + general_query(group, 30) + fields, sender)
            say("request")
        elif kind == UPDATE:
            check(message[2:8] == code(sender, message[8:12]), "the code of the update")
            packet = inner(message[12:])
            check(has_good_checksum(message[12:]), "the checksum of the report")
            layer = ICMPv6MLReport2 if is_v6(group) else IGMPv3mr
            check(layer in packet, f"report {packet.summary()}")
            records = packet[layer].records
            found = [
                (r.rtype, r.dst, r.sources) if is_v6(group) else (r.rtype, r.maddr, r.srcaddrs) for r in records
            ]
            say("update", *[f"{kind} {address} {','.join(sources)}" for kind, address, sources in found])
            if (group, [source]) in [(address, sources) for _, address, sources in found]:
                for number in range(count):
                    head = IPv6(src=source, dst=group, hlim=7) if is_v6(group) else IP(src=source, dst=group, ttl=7)
                    data = head / UDP(sport=4000, dport=port) / f"scapy {number}".encode()
                    own.sendto(bytes([DATA, 0]) + bytes(data), sender)
        elif kind == TEARDOWN:
            check(len(message) == 30, f"teardown {message.hex()}")
            named = (str(ipaddress.ip_address(message[14:30][12:] if not is_v6(own_address) else message[14:30])),)
            named += struct.unpack("!H", message[12:14])
            check(message[2:8] == code(named, message[8:12]), "the code of the teardown")
            say("teardown", *named)
            return
        else:
            check(False, f"message {message.hex()}")


def dns(own_address, source, relay, port, count):
    own = opened(own_address, port)
    say("ready")
    for _ in range(count):
        query, sender = own.recvfrom(4096)
        questions = DNS(query).qd
        question = questions[0] if isinstance(questions, list) else questions
        check(question.qname.decode() == ipaddress.ip_address(source).reverse_pointer + ".", question.summary())
        check((question.qtype, question.qclass) == (260, 1), question.summary())
        address = ipaddress.ip_address(relay)
        data = bytes([10, 0x80 | (2 if is_v6(relay) else 1)]) + address.packed
        # A response with one answer, whose name points to the question.
        head = query[:2] + bytes([0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0])
        answer = struct.pack("!HHHIH", 0xC00C, 260, 1, 60, len(data)) + data
        own.sendto(head + query[12:] + answer, sender)
        say("relay", relay)


if __name__ == "__main__":
    role, address, source, group, port, count = sys.argv[1:]
    {"gateway": gateway, "relay": relay, "dns": dns}[role](address, source, group, int(port), int(count))
