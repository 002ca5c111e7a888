"""Mixed load for minutes on end: does anything grow? WebSockets, server-sent events and long uploads
run beside it all the time."""

import json
import os
import subprocess
import sys
import time

MIX = ("h1", "post", "h2", "connect", "names", "bulk")


def descriptors(peer):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in peer.processes())


def denied(load, peer, seconds):
    """Connections for a name that no rule allows: each gets a page that says why."""
    return load.generate("connect", peer, seconds, "denied.example.test", "--refused")


def streams(load, peer, seconds):
    """`streams.py` beside everything else."""
    script = os.path.join(os.path.dirname(__file__), "streams.py")
    command = [sys.executable, script, "load", peer.h1_address, peer.h1_name, load.world.folder / "ca.pem", seconds]
    return subprocess.Popen(load.world.within(load.world.agent, [str(part) for part in command]),
                            stdout=subprocess.PIPE, text=True)


def run(load, peers, minutes):
    """A Markdown table of what each gateway held after every round of the mix."""
    lines = ["| gateway | minute | memory MiB | descriptors | units | failed |", "|---|---|---|---|---|---|"]
    beside = []
    for peer in peers:
        lasting = streams(load, peer, minutes * 60) if peer.has_streams else None
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
        if lasting:
            done = json.loads(lasting.communicate()[0])
            beside.append(f"{peer.name}, beside it all the time: {done['messages']:,} messages over WebSockets, "
                          f"{done['events']:,} server-sent events, {done['uploads']:,} uploads of 10 MB; failed {done['failed']}")
    return "\n".join([*lines, "", *beside]) + "\n"
