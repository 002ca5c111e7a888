"""A resolver for one zone: `ANYTHING-PEER.bench.test` is where the hosts file has
`h1-PEER.bench.test`. A names have an address for a minute, everything else has none."""

import socket
import sys

A = 1


def name_of(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    return ".".join(labels), at + 1


def main(address, hosts):
    known = {}
    for line in open(hosts):
        ip, name = line.split()
        known[name] = socket.inet_aton(ip)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))
    while True:
        query, peer = sock.recvfrom(4096)
        name, end = name_of(query)
        first, _, zone = name.partition(".")
        ip = known.get(name) or known.get(f"h1-{first.rpartition('-')[2]}.{zone}")
        kind = int.from_bytes(query[end:end + 2], "big")
        answers = [ip] if ip and kind == A else []
        head = query[:2] + (b"\x81\x80" if ip else b"\x81\x83") + b"\0\1" + len(answers).to_bytes(2, "big") + b"\0\0\0\0"
        body = b"".join(b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + answer for answer in answers)
        sock.sendto(head + query[12:end + 4] + body, peer)


main(*sys.argv[1:])
