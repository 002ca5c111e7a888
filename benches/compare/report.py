"""The tables: Markdown for people, JSON for programs."""

import os
import platform
import shlex
import statistics
from pathlib import Path

FIGURES = ("cpu_us", "user_us", "system_us", "rate", "p50_us", "p99_us", "memory_kib", "kib_per_unit")


def collect(figures, rows, peers, args, command):
    """Medians of all runs, with the lowest and highest CPU time beside them."""
    result = {
        "command": shlex.join(["benches/compare/run", *command]),
        "machine": machine(),
        "runs": args.runs,
        "seconds": args.seconds,
        "peers": {peer.name: {"version": peer.version(), "note": peer.note} for peer in peers},
        "rows": {},
    }
    for row, runs in figures.items():
        table = {}
        for peer, all_runs in runs.items():
            medians = {key: statistics.median(run[key] for run in all_runs)
                       for key in FIGURES if key in all_runs[0]}
            medians["cpu_us_range"] = [min(run["cpu_us"] for run in all_runs), max(run["cpu_us"] for run in all_runs)]
            medians["cpu_us_runs"] = [run["cpu_us"] for run in all_runs]
            medians["units"] = sum(run["units"] for run in all_runs)
            medians["failed"] = sum(run["failed"] for run in all_runs)
            table[peer] = medians
        result["rows"][row] = {"work": rows[row], "peers": table}
    return result


def machine():
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "load_average": round(os.getloadavg()[0], 1)}


def markdown(result):
    machine = result["machine"]
    lines = [
        f"{machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}, load {machine['load_average']} "
        f"at the end; medians of {result['runs']} interleaved runs of {result['seconds']:g} s each.", "",
        f"`{result['command']}`", "",
        "| gateway | version | what it does |", "|---|---|---|",
    ]
    lines += [f"| {name} | {peer['version']} | {peer['note']} |" for name, peer in result["peers"].items()]
    for row, table in result["rows"].items():
        lines += ["", f"**{row}** — {table['work']}", ""]
        if row == "idle":
            lines += ["| gateway | KiB a connection | connections | failed |", "|---|---|---|---|"]
            lines += [f"| {peer} | {figure['kib_per_unit']:.1f} | {figure['units']} | {figure['failed']} |"
                      for peer, figure in table["peers"].items()]
            continue
        lines += ["| gateway | CPU µs (lowest–highest) | user + system | a second | p50 µs | p99 µs | memory MiB | failed |",
                  "|---|---|---|---|---|---|---|---|"]
        for peer, figure in table["peers"].items():
            low, high = figure["cpu_us_range"]
            lines.append(
                f"| {peer} | **{figure['cpu_us']:.1f}** ({low:.1f}–{high:.1f}) | {figure['user_us']:.1f} + {figure['system_us']:.1f} "
                f"| {figure['rate']:.0f} | {figure['p50_us']:.0f} | {figure['p99_us']:.0f} | {figure['memory_kib'] / 1024:.0f} | {figure['failed']} |")
    return "\n".join(lines) + "\n"
