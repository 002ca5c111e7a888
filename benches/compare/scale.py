"""How the gateway bears much of something: rules, agents, names, idle connections, load beyond its
limits. Prints one Markdown table; nothing but Portreeve is measured."""

import ipaddress
import resource
import signal
import statistics
import sys
import threading
import time
import urllib.request

from peers import Portreeve

RULES = (1, 100, 10_000)
AGENTS = (1, 100, 1_000)
#: So that one agent keeps as many connections to the server as many do.
ROOM = "".join(f"{key} = {2 * max(AGENTS)}\n" for key in ("upstream_idle", "upstream_idle_per_key", "upstream_connections_per_agent"))
#: Where all but the first agent are.
OTHERS = "10.1.0.1"
NAMES = 50_000
#: As many as there may be descriptors for, if that is less.
IDLE = min(20_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500)
#: Requests that the agent may run at a time in the overload part.
RUNNING = 32


class Scaled(Portreeve):
    """With so many rules before the ones that match, or other limits."""

    def __init__(self, name, rules=1, limits="", build="portreeve", agents=1):
        self.name, self.rules, self.limits, self.build, self.agents = name, rules, limits, build, agents

    def binary(self):
        return self.made[self.build]

    def prepare(self, index, made, tools):
        super().prepare(index, {**made, "rules": self.rules}, tools)

    def write(self, template, target, **more):
        super().write(template, target, **more)
        path = self.folder / target
        text = path.read_text()
        if template == "portreeve.toml":
            others = (ipaddress.ip_address(OTHERS) + at for at in range(self.agents))
            agents = (f'[[agent]]\nname = "agent-{address}"\nsources = ["{address}"]\n' for address in others)
            text = text.replace("[limits]\n", f"[limits]\n{self.limits}\n") + "".join(agents)
        else:
            text = text.replace('["builder"]', '["any"]')
        path.write_text(text)

    def metric(self, name):
        """The value of a series, whatever its labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port + 1000}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def peers(parts, made):
    """What is measured, in the order of the table."""
    builds = [name for name in ("portreeve", "before") if name in made]
    return [*(Scaled(f"rules{count}", count + 2) for count in RULES if "rules" in parts),
            *(Scaled(f"agents{count}", limits=ROOM, agents=count) for count in AGENTS if "agents" in parts),
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
    if {"agents", "overload"} & set(parts):
        load.world.agents(OTHERS, max(AGENTS))
    if "agents" in parts:
        agents(load, [by_name[f"agents{count}"] for count in AGENTS], tell)
    if "overload" in parts:
        few = [peer for name, peer in by_name.items() if name.startswith("few-")]
        overload(load, few, by_name["many"], once, tell)
        shedding(load, few[0], tell)
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


def agents(load, scaled, tell):
    """CPU time of a request over a thousand connections, by the number of agents they are of; interleaved."""
    runs = {peer.name: [] for peer in scaled}
    for turn in range(load.args.runs + 1):
        for count, peer in zip(AGENTS, scaled):
            before = sum(peer.cpu_seconds())
            done = load.kept(peer, 4, "--connections", max(AGENTS), "--source", OTHERS, "--sources", count)
            if turn:
                runs[peer.name].append((1e6 * (sum(peer.cpu_seconds()) - before) / done["units"], done["failed"]))
    base = statistics.median(cost for cost, _ in runs[scaled[0].name])
    for count, peer in zip(AGENTS, scaled):
        costs, failed = zip(*runs[peer.name])
        cost = statistics.median(costs)
        tell(f"HTTP/1.1 request over {max(AGENTS):,} new connections of {count:,} agents",
             f"{cost:.1f} µs ({100 * (cost / base - 1):+.1f} %; {min(costs):.1f}–{max(costs):.1f}); "
             f"memory {peer.memory_kib() / 1024:.0f} MiB; failed {sum(failed)}")


def shedding(load, peer, tell):
    """One agent asks for more than may run of what takes a second; what it is told, and what another agent notices."""
    another = ("--source", OTHERS)
    calm = load.paced(peer, 4, 8, 100, *another)
    floods = []
    flood = threading.Thread(target=lambda: floods.append(load.wrk(peer, 6, "/streams/slow", 3 * RUNNING)))
    flood.start()
    time.sleep(1)
    busy = load.paced(peer, 4, 8, 100, *another)
    told = load.run(["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}, Retry-After: %header{retry-after}",
                     f"https://{peer.h1_name}/streams/slow"])
    flood.join()
    done = floods[0]
    answered = (done["units"] - done["failed"]) / done["seconds"]
    tell(f"shedding: {3 * RUNNING} connections ask for what takes a second, {RUNNING} requests may run",
         f"{answered:.0f} answers 200 a second, {done['failed'] / done['seconds']:.0f} others (one looked at: {told.strip()}); another agent's "
         f"p99 meanwhile {busy['p99_us'] / 1000:.1f} ms, without {calm['p99_us'] / 1000:.1f}, failed {busy['failed']}")


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
