"""How the gateway bears much of something: rules, names, idle connections, load beyond its limits.
Prints one Markdown table; nothing but Portreeve is measured."""

import resource
import signal
import statistics
import sys
import threading
import time
import urllib.request

from peers import Portreeve

RULES = (1, 100, 10_000)
NAMES = 50_000
#: As many as there may be descriptors for, if that is less.
IDLE = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500)
#: Requests that the agent may run at a time in the overload part.
RUNNING = 32


class Scaled(Portreeve):
    """With so many rules before the ones that match, or other limits."""

    def __init__(self, name, rules=1, limits="", build="portreeve"):
        self.name, self.rules, self.limits, self.build = name, rules, limits, build

    def binary(self):
        return self.made[self.build]

    def prepare(self, index, made, tools):
        super().prepare(index, {**made, "rules": self.rules}, tools)

    def write(self, template, target, **more):
        super().write(template, target, **more)
        if template == "portreeve.toml":
            path = self.folder / target
            path.write_text(path.read_text().replace("[limits]\n", f"[limits]\n{self.limits}\n"))

    def metric(self, name):
        """The value of a series, whatever its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port + 1000}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def peers(parts, made):
    """What is measured, in the order of the table."""
    builds = [name for name in ("portreeve", "before") if name in made]
    return [*(Scaled(f"rules{count}", count + 2) for count in RULES if "rules" in parts),
            *(Scaled(f"few-{build}", limits=f"requests_per_agent = {RUNNING}", build=build) for build in builds
              if "overload" in parts),
            Scaled("many")]


def run(load, all_peers, once, parts):
    by_name = {peer.name: peer for peer in all_peers}
    lines = ["| what | measured |", "|---|---|"]

    def tell(what, measured):
        lines.append(f"| {what} | {measured} |")
        print(lines[-1], file=sys.stderr, flush=True)

    if "rules" in parts:
        scaled = [by_name[f"rules{count}"] for count in RULES]
        requests(load, scaled, once, tell)
        reloads(load, scaled, tell)
    if "overload" in parts:
        overload(load, [peer for name, peer in by_name.items() if name.startswith("few-")], by_name["many"], once, tell)
    if "names" in parts:
        names(load, by_name["many"], once, tell)
    if "idle" in parts:
        idle(load, by_name["many"], tell)
    return "\n".join(lines) + "\n"


def requests(load, scaled, once, tell):
    """CPU time of a request, by the number of rules; interleaved."""
    runs = {peer.name: [] for peer in scaled}
    for turn in range(load.args.runs + 1):
        for peer in scaled:
            measured = once(load, "h1", peer, load.args.seconds)
            if turn:
                runs[peer.name].append(measured["cpu_us"])
    base = statistics.median(runs[scaled[0].name])
    for count, peer in zip(RULES, scaled):
        cost = statistics.median(runs[peer.name])
        tell(f"HTTP/1.1 request, {count:,} rules", f"{cost:.1f} µs ({100 * (cost / base - 1):+.1f} %; "
             f"{min(runs[peer.name]):.1f}–{max(runs[peer.name]):.1f})")


def reloads(load, scaled, tell):
    """Start, and reload under 100 requests a second."""
    for count, peer in zip(RULES, scaled):
        tell(f"start, {count:,} rules", f"{peer.started * 1000:.0f} ms to the first connection, "
             f"{peer.start_cpu * 1000:.0f} ms CPU")
        calm = load.paced(peer, 3, connections=8, rate=100)
        durations, cpu = [], sum(peer.cpu_seconds())

        def again():
            for _ in range(5):
                before, begun = peer.metric("portreeve_policy_generation"), time.monotonic()
                peer.process.send_signal(signal.SIGHUP)
                while peer.metric("portreeve_policy_generation") == before and time.monotonic() < begun + 30:
                    time.sleep(0.002)
                durations.append(time.monotonic() - begun)
                time.sleep(0.3)

        reloading = threading.Thread(target=again)
        reloading.start()
        busy = load.paced(peer, 3, connections=8, rate=100)
        reloading.join()
        cpu = (sum(peer.cpu_seconds()) - cpu) / len(durations)
        tell(f"reload, {count:,} rules", f"{statistics.median(durations) * 1000:.0f} ms, at most {max(durations) * 1000:.0f}; "
             f"p99 of requests meanwhile {busy['p99_us'] / 1000:.1f} ms, without {calm['p99_us'] / 1000:.1f}; "
             f"failed {busy['failed']}")


def overload(load, few, many, once, tell):
    """Three times as many connections as requests that may run: the rest waits, and is refused after a while.
    Beside it as many connections where all may run: what they cost by themselves."""
    runs = {(peer.name, connections): [] for peer in [*few, many] for connections in (RUNNING, 3 * RUNNING)}
    for _ in range(load.args.runs):
        for peer in [*few, many]:
            for connections in (RUNNING, 3 * RUNNING):
                before = sum(peer.cpu_seconds())
                measured = load.wrk(peer, load.args.seconds, "/1k", connections)
                good = measured["units"] - measured["failed"]
                cpu = 1e6 * (sum(peer.cpu_seconds()) - before) / good
                runs[peer.name, connections].append((good / measured["seconds"], cpu, measured["failed"] / measured["units"]))
    middle = lambda name, connections, at: statistics.median(run[at] for run in runs[name, connections])
    for peer in [*few, many]:
        peak, over = (middle(peer.name, connections, 0) for connections in (RUNNING, 3 * RUNNING))
        cost, more = (middle(peer.name, connections, 1) for connections in (RUNNING, 3 * RUNNING))
        what = "all may run" if peer is many else f"{RUNNING} requests may run"
        tell(f"overload ({peer.build}): {3 * RUNNING} connections, {what}",
             f"{over:.0f} answers 200 a second, {100 * over / peak:.0f} % of the {peak:.0f} at {RUNNING} connections; "
             f"{more:.1f} µs CPU each, {cost:.1f} there; {100 * middle(peer.name, 3 * RUNNING, 2):.0f} % refused (429, Retry-After)")


def names(load, peer, once, tell):
    """Distinct names, one after the other: what does the last cost, and what is kept."""
    load.next_name, first = 0, None
    before = peer.memory_kib()
    while load.next_name < NAMES:
        last = once(load, "names", peer, 5)
        first = first or last
    tell(f"{load.next_name:,} distinct names", f"{first['cpu_us']:.0f} µs each at first, {last['cpu_us']:.0f} at the end; "
         f"memory {before / 1024:.0f} MiB before, {first['memory_kib'] / 1024:.0f} then, {last['memory_kib'] / 1024:.0f} at the end; "
         f"failed {last['failed']}")


def idle(load, peer, tell):
    load.args.idle = IDLE
    measured = load.idle(peer, 0)
    tell(f"{measured['units']:,} idle connections", f"{measured['kib_per_unit']:.1f} KiB each; failed {measured['failed']}")
