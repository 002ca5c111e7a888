"""Mixed load for minutes on end: does anything grow?"""

import os
import sys
import time

MIX = ("h1", "post", "h2", "connect", "names", "bulk")


def descriptors(peer):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in peer.processes())


def denied(load, peer, seconds):
    """Connections for a name that no rule allows: each gets a page that says why."""
    return load.generate("connect", peer, seconds, "denied.example.test", "--refused")


def run(load, peers, minutes):
    """A Markdown table of what each gateway held after every round of the mix."""
    lines = ["| gateway | minute | memory MiB | descriptors | units | failed |", "|---|---|---|---|---|---|"]
    for peer in peers:
        begun = time.monotonic()
        units = failed = 0
        while (passed := (time.monotonic() - begun) / 60) < minutes:
            done = [load.measure(row, peer, 3) for row in MIX if row in peer.rows]
            if "names" in peer.rows:
                done.append(denied(load, peer, 1))
            units += sum(each["units"] for each in done)
            failed += sum(each["failed"] for each in done)
            line = (f"| {peer.name} | {passed:.1f} | {peer.memory_kib() / 1024:.1f} | {descriptors(peer)} "
                    f"| {units} | {failed} |")
            print(line, file=sys.stderr)
            lines.append(line)
    return "\n".join(lines) + "\n"
