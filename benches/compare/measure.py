"""Runs the load, row by row, gateway by gateway, and reads the figures."""

import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
import scale
import soak
from peers import PEERS
from world import World

ROWS = {
    "h1": "HTTP/1.1 keep-alive request, 1 KB",
    "post": "HTTP/1.1 keep-alive POST of 4 KB, 1 KB back",
    "h2": "HTTP/2 request, 8 connections × 16 streams, 1 KB",
    "connect": "new TLS connection and request",
    "names": "new name: mint, connect, request",
    "bulk": "10 MB download",
    "paced": "HTTP/1.1 request, 2,000 a second over 32 connections",
    "idle": "idle connection",
}


class Load:
    """The generators, in the agent's namespace."""

    def __init__(self, world, made, args):
        self.world, self.generator, self.args = world, made["generate"], args
        self.next_name = 0
        self.script = world.folder / "post.lua"
        text = json.dumps({"model": "m", "messages": [{"role": "user", "content": "plain words go here " * 200}]})
        self.script.write_text(f"wrk.method = 'POST'\nwrk.headers['content-type'] = 'application/json'\nwrk.body = [[{text[:4096]}]]\n")

    def run(self, command):
        command = [str(part) for part in command]
        done = subprocess.run(self.world.within(self.world.agent, command), capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
        if done.stderr.strip():
            print(f"  {done.stderr.strip()}", file=sys.stderr)
        return done.stdout

    def measure(self, row, peer, seconds):
        return getattr(self, row)(peer, seconds)

    def wrk(self, peer, seconds, path, connections, *more):
        out = self.run(["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", *more,
                        f"https://{peer.h1_name}{path}"])
        units, took = re.search(r"(\d+) requests in ([\d.]+)s", out).groups()
        failed = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", out)))
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
        failed += sum(map(int, errors.groups())) if errors else 0
        return result(int(units), float(took), failed, duration(out, "50%"), duration(out, "99%"))

    def h1(self, peer, seconds):
        return self.wrk(peer, seconds, "/1k", 32)

    def post(self, peer, seconds):
        return self.wrk(peer, seconds, "/1k", 32, "-s", self.script)

    def bulk(self, peer, seconds):
        """Not by wrk, which cannot ask a proxy: what stands between would receive for it."""
        return self.kept(peer, seconds, "--path", "/10m", "--connections", 4)

    def h2(self, peer, seconds):
        with tempfile.NamedTemporaryFile() as log:
            out = self.run(["h2load", "-c8", "-m16", "-t1", "-D", max(1, round(seconds)), f"--log-file={log.name}",
                            f"https://{peer.h2_name}/1k"])
            latencies = sorted(int(line.split()[2]) for line in open(log.name))
        took = duration(out, "finished in") / 1e6
        good = int(re.search(r"status codes: (\d+) 2xx", out).group(1))
        total, failed = map(int, re.search(r"requests: (\d+) total.* (\d+) failed", out).groups())
        at = lambda part: latencies[int((len(latencies) - 1) * part)] if latencies else 0
        return result(good, took, failed, at(0.5), at(0.99))

    def reach(self, peer):
        where = ["--address", f"10.0.1.1:{peer.proxy_port}", "--proxy"] if peer.proxy_port else ["--address", f"{peer.h1_address}:443"]
        return [*where, "--ca", self.world.folder / "ca.pem"]

    def generate(self, mode, peer, seconds, name, *more):
        out = self.run([self.generator, mode, *self.reach(peer), "--name", name, "--seconds", seconds, *more])
        found = json.loads(out)
        self.next_name = max(self.next_name, found["next"])
        return result(found["units"], found["seconds"], found["failed"], found["p50_us"], found["p99_us"])

    def kept(self, peer, seconds, *more):
        return self.generate("kept", peer, seconds, peer.h1_name, *more)

    def connect(self, peer, seconds):
        return self.generate("connect", peer, seconds, peer.h1_name)

    def names(self, peer, seconds):
        return self.generate("connect", peer, seconds, peer.any_name, "--first", self.next_name)

    def paced(self, peer, seconds, connections=32, rate=2000, *more):
        """What a request waits where there is room for it: the row without a gateway is what it waits anyway."""
        return self.generate("paced", peer, seconds, peer.h1_name, "--connections", connections, "--rate", rate, *more)

    def idle(self, peer, _):
        """KiB for each connection that has served a request and waits for the next."""
        # What the first request takes is no connection's.
        self.connect(peer, 0.2)
        before = peer.memory_kib()
        command = [self.generator, "idle", *self.reach(peer), "--name", peer.h1_name, "--connections", self.args.idle]
        process = subprocess.Popen(self.world.within(self.world.agent, [str(part) for part in command]),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        found = json.loads(process.stdout.readline() or '{"open": 0, "failed": 1}')
        after = peer.memory_kib()
        process.stdin.close()
        process.wait()
        measured = result(found["open"], 1, found["failed"], 0, 0)
        measured["kib_per_unit"] = (after - before) / max(1, found["open"])
        return measured


def result(units, seconds, failed, p50, p99):
    return {"units": units, "seconds": seconds, "failed": failed, "p50_us": p50, "p99_us": p99}


def duration(text, mark):
    """Microseconds in what wrk or h2load prints."""
    number, unit = re.search(rf"{mark}\s+([\d.]+)(us|ms|s|m)\b", text).groups()
    return round(float(number) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}[unit])


def once(load, row, peer, seconds):
    before = peer.cpu_seconds()
    measured = load.measure(row, peer, seconds)
    after = peer.cpu_seconds()
    units = max(1, measured["units"])
    user, system = (1e6 * (late - early) / units for early, late in zip(before, after))
    measured.update(cpu_us=user + system, user_us=user, system_us=system,
                    rate=measured["units"] / measured["seconds"], memory_kib=peer.memory_kib())
    return measured


def wait_ready(world, peer):
    """Until its ports take connections."""
    deadline = time.monotonic() + 60
    ports = [port for port in (peer.port, peer.proxy_port) if port]
    while ports:
        try:
            socket.create_connection(("10.0.1.1", ports[-1]), 1).close()
            ports.pop()
        except OSError:
            if time.monotonic() > deadline or peer.process.poll() is not None:
                log = (peer.folder / "output.log").read_text()
                raise SystemExit(f"{peer.name} does not listen; it says: {log[-2000:]}")
            time.sleep(0.005)


def start(world, peer):
    """Starts it, and measures until it takes connections."""
    begun = time.monotonic()
    peer.start(world)
    wait_ready(world, peer)
    peer.started, peer.start_cpu = time.monotonic() - begun, sum(peer.cpu_seconds())


def profile(folder, row, peer, work):
    """Runs `work` under perf."""
    path = Path(folder).resolve() / f"{row}.data"
    path.parent.mkdir(exist_ok=True)
    command = ["perf", "record", "-q", "-F", "1999", "--call-graph", "dwarf,16384", "-o", path, "-p", ",".join(map(str, peer.processes()))]
    recorder = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    done = work()
    recorder.send_signal(2)
    recorder.wait()
    return done


def instructions(folder, row, peer, work):
    """Runs `work` under callgrind; what it counted for each unit."""
    folder = Path(folder).resolve()
    folder.mkdir(exist_ok=True)
    control = lambda *what: subprocess.run(["callgrind_control", *what, str(peer.process.pid)], check=True,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    control("--zero")
    measured = work()
    control(f"--dump={row}")
    dump = max(peer.folder.glob("callgrind.out.*"), key=lambda path: path.stat().st_mtime)
    total = next(int(line.split()[1]) for line in dump.open() if line.startswith(("summary:", "totals:")))
    shutil.copy(dump, folder / f"{row}.callgrind")
    return {"units": measured["units"], "failed": measured["failed"], "instructions": total // max(1, measured["units"])}


def apart():
    """From now on everything but gateways runs on other processors than the first: how many are
    the gateway's, and which one."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        raise SystemExit("--apart needs two processors")
    os.sched_setaffinity(0, others)
    return 1, first


def main(args, made):
    made["rules"], made["instructions"] = args.rules, args.instructions
    wanted = None if args.peers == "all" else args.peers.split(",")
    peers = [kind() for kind in PEERS if wanted is None or kind.name in wanted]
    peers = scale.peers(args.scale.split(","), made) if args.scale else peers
    rows = list(ROWS) if args.rows == "all" else args.rows.split(",")
    for index, peer in enumerate(peers):
        peer.prepare(index, made, args.tools)
    missing = [peer.name for peer in peers if not peer.is_installed() and peer.name != "before"]
    if missing:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
    peers = [peer for peer in peers if peer.is_installed()]
    made["processors"], own = apart() if args.apart else (os.cpu_count(), None)
    world = World(made["folder"], peers, own)
    for peer in peers:
        start(world, peer)
    load = Load(world, made, args)
    if args.scale:
        return print(scale.run(load, peers, once, args.scale.split(",")))
    if args.soak:
        return print(soak.run(load, peers, args.soak))
    if args.instructions:
        for row in rows:
            load.measure(row, peers[0], args.seconds)
            print(row, instructions(args.instructions, row, peers[0], lambda: load.measure(row, peers[0], args.seconds)))
        return
    figures = {}
    for row in rows:
        able = [peer for peer in peers if row in peer.rows]
        runs = {peer.name: [] for peer in able}
        if row != "idle":
            for peer in able:
                load.measure(row, peer, 1)
        for turn in range(1 if row == "idle" else args.runs):
            for peer in able:
                work = lambda: once(load, row, peer, args.seconds)
                measured = profile(args.perf, row, peer, work) if args.perf else work()
                runs[peer.name].append(measured)
                print(f"{row} {turn + 1} {peer.name}: " + " ".join(
                    f"{key}={value:.1f}" if isinstance(value, float) else f"{key}={value}"
                    for key, value in measured.items()), file=sys.stderr)
        figures[row] = runs
    result = report.collect(figures, ROWS, peers, args, sys.argv[1:])
    text = report.markdown(result)
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")
    if args.markdown:
        Path(args.markdown).write_text(text)
    else:
        print(text)
