"""What is measured; each function returns a section of Markdown."""

from __future__ import annotations

import argparse
import glob
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from bench.contestants import Contestant, Ring
from tests.e2e.agent import import_path
from tests.e2e.wire import Wire, connect, query

STARTS = 20  # of `hoopctl --help`
MEGABYTE = 1 << 20
END = b"Z\0\0\0\5I"  # ReadyForQuery, idle


def transactions(ring: Ring, words: argparse.Namespace) -> str:
    """pgbench -S: transactions a second."""
    rows = []
    names: list[str] = []
    for tls in encryptions(ring, words):
        contestants = ring.contestants(tls)
        names = [each.name for each in contestants]
        for mode in words.modes.split(","):
            for clients in map(int, words.clients.split(",")):
                figures = rounds(contestants, words.rounds, partial(tps, ring, words, mode, clients))
                rows.append([mode, "TLS" if tls else "plain", str(clients), *compared(figures, names)])
    ring.clear()
    heads = ["mode", "encryption", "clients", *names, *ratios(names)]
    return section("Transactions a second, `pgbench -S`", table(heads, rows))


def tps(ring: Ring, words: argparse.Namespace, mode: str, clients: int, who: Contestant) -> float:
    arguments = ["-S", "-n", "-c", str(clients), "-j", str(min(clients, os.cpu_count() or 1)), "-M", mode]
    report = ring.run("pgbench", *arguments, "-T", str(max(1, round(words.seconds))), endpoint=who.endpoint)
    found = re.search(r"tps = ([\d.]+) \(without", report)
    if found is None or re.search(r"failed transactions: [1-9]", report):
        raise SystemExit(f"pgbench through {who.name} said:\n{report}")
    return float(found[1])


def latency(ring: Ring, words: argparse.Namespace) -> str:
    """One client: the median and the 99th percentile of a transaction."""
    rows = []
    for tls in encryptions(ring, words):
        contestants = ring.contestants(tls)
        for mode in words.modes.split(","):
            seen: dict[str, list[int]] = defaultdict(list)
            for _ in range(words.rounds):
                for who in contestants:
                    seen[who.name] += latencies(ring, who, mode, words)
            for name, figures in seen.items():
                percent = statistics.quantiles(figures, n=100)
                cells = [f"{percent[49]:.0f}", f"{percent[98]:.0f}"]
                rows.append([mode, "TLS" if tls else "plain", name, *cells])
    ring.clear()
    return section("A single client, µs", table(["mode", "encryption", "", "p50", "p99"], rows))


def latencies(ring: Ring, who: Contestant, mode: str, words: argparse.Namespace) -> list[int]:
    with tempfile.TemporaryDirectory(prefix="hoop-latency-") as directory:
        arguments = ["-S", "-n", "-c", "1", "-M", mode, "-T", str(max(1, round(words.seconds)))]
        ring.run("pgbench", *arguments, "-l", "--log-prefix", f"{directory}/log", endpoint=who.endpoint)
        lines = [line for file in glob.glob(f"{directory}/log*") for line in Path(file).read_text().splitlines()]
    return [int(line.split()[2]) for line in lines]


def transfer(ring: Ring, words: argparse.Namespace) -> str:
    """psql copies and selects rows into nothing: rows a second."""
    ring.rows(words.rows)
    statements = {"COPY … TO STDOUT": "COPY bench_rows TO STDOUT", "SELECT": "SELECT * FROM bench_rows"}
    rows = []
    names: list[str] = []
    for tls in encryptions(ring, words):
        contestants = ring.contestants(tls)
        names = [each.name for each in contestants]
        for title, statement in statements.items():
            figures = rounds(contestants, words.rounds, partial(speed, ring, statement, words.rows))
            rows.append([title, "TLS" if tls else "plain", *compared(figures, names)])
    ring.clear()
    heads = ["statement", "encryption", *names, *ratios(names)]
    return section(f"Rows a second, {words.rows:,} rows by psql", table(heads, rows))


def speed(ring: Ring, statement: str, rows: int, who: Contestant) -> float:
    began = time.monotonic()
    ring.run("psql", "-X", "-A", "-t", "-o", "/dev/null", "-c", statement, endpoint=who.endpoint)
    return rows / (time.monotonic() - began)


def memory(ring: Ring, words: argparse.Namespace) -> str:
    """The peak of resident memory while one large answer passes."""
    rows = []
    statement = f"SELECT i, md5(i::text), now() FROM generate_series(1, {words.large}) i"
    for who in ring.contestants(tls=False):
        if who.pid:
            before, (size, seconds) = status(who.pid, "VmRSS"), drain(who, statement)
            peak = status(who.pid, "VmHWM")
            cells = [f"{size / MEGABYTE:.0f}", f"{seconds:.1f}", f"{before / MEGABYTE:.0f}", f"{peak / MEGABYTE:.0f}"]
            rows.append([who.name, *cells])
    ring.clear()
    heads = ["", "answer, MiB", "seconds", "resident before, MiB", "peak, MiB"]
    return section(f"Memory over an answer of {words.large:,} rows", table(heads, rows))


def drain(who: Contestant, statement: str) -> tuple[int, float]:
    """Bytes of the answer, and seconds; nothing is kept."""
    began = time.monotonic()
    with connect(who.endpoint) as wire:
        wire.send(query(statement))
        wire.socket.settimeout(120)
        total, last = 0, b""
        buffer = bytearray(1 << 20)
        while last != END:
            count = wire.socket.recv_into(buffer)
            if not count:
                raise SystemExit(f"{who.name} closed in the middle of the answer")
            total += count
            last = (last + bytes(buffer[max(0, count - len(END)) : count]))[-len(END) :]
    return total, time.monotonic() - began


def idle(ring: Ring, words: argparse.Namespace) -> str:
    """Connections that do nothing: what they cost, and what a new one notices of them."""
    rows = []
    for who in ring.contestants(tls=False):
        if not who.pid:
            continue
        before = status(who.pid, "VmRSS")
        began = time.monotonic()
        sessions: list[Wire] = []
        try:
            for _ in range(words.idle):
                sessions.append(connect(who.endpoint))
            opened = time.monotonic() - began
            after = status(who.pid, "VmRSS")
            answer = statistics.median(ask(who) for _ in range(20))
            each = (after - before) / words.idle / 1024
            cells = [
                f"{after / MEGABYTE:.0f}",
                f"{each:.0f}",
                f"{opened / words.idle * 1000:.1f}",
                f"{answer * 1000:.1f}",
            ]
            rows.append([who.name, *cells])
        finally:
            for wire in sessions:
                wire.socket.close()
            wait_until_empty(ring)
    ring.clear()
    heads = ["", "resident, MiB", "a connection, KiB", "to open one, ms", "connect and SELECT 1 beside them, ms"]
    return section(f"{words.idle:,} idle connections", table(heads, rows))


def ask(who: Contestant) -> float:
    began = time.monotonic()
    with connect(who.endpoint) as wire:
        wire.send(query("SELECT 1"))
        wire.until()
    return time.monotonic() - began


def wait_until_empty(ring: Ring) -> None:
    deadline = time.monotonic() + 60
    while ring.server.sessions("bench") and time.monotonic() < deadline:
        time.sleep(0.2)


def startup(ring: Ring, words: argparse.Namespace) -> str:
    """How long `hoopctl --help` takes."""
    script = Path(words.python).parent / "hoopctl"
    command = [str(script)] if script.exists() else [words.python, "-P", "-m", "cli"]
    environment = os.environ | {"PYTHONPATH": import_path()}
    rows = []
    for arguments in (["--help"], ["--version"]):
        seen = [seconds([*command, *arguments], environment) for _ in range(STARTS)]
        rows.append([f"hoopctl {arguments[0]}", f"{statistics.median(seen) * 1000:.0f}"])
    bare = statistics.median(seconds([words.python, "-c", ""], environment) for _ in range(STARTS))
    rows.append(["python -c ''", f"{bare * 1000:.0f}"])
    return section(f"Start-up, ms (median of {STARTS})", table(["", "ms"], rows))


def seconds(command: list[str], environment: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    return time.monotonic() - began


def encryptions(ring: Ring, words: argparse.Namespace) -> list[bool]:
    wanted = {"both": [False, True], "without": [False], "with": [True]}[words.tls]
    return [tls for tls in wanted if ring.binaries.tls or not tls]


def rounds(contestants: Iterable[Contestant], count: int, measure: Callable[[Contestant], float]) -> dict[str, float]:
    """The median of `count` measurements of each, taken in turns."""
    seen: dict[str, list[float]] = defaultdict(list)
    everybody = list(contestants)
    for number in range(count):
        for who in everybody if number % 2 == 0 else reversed(everybody):
            seen[who.name].append(measure(who))
        print(".", end="", file=sys.stderr, flush=True)
    return {name: statistics.median(figures) for name, figures in seen.items()}


def ratios(names: list[str]) -> list[str]:
    """The heads of the columns that compare hoopctl with the others."""
    others = [name for name in names if not name.startswith("hoopctl")]
    ours = [name for name in names if name.startswith("hoopctl")]
    return [f"{mine.removeprefix('hoopctl ')} / {other}" for other in others for mine in ours]


def compared(figures: dict[str, float], names: list[str]) -> list[str]:
    """Cells: each figure, then the ratios as `ratios` names them."""
    others = [name for name in names if not name.startswith("hoopctl")]
    ours = [name for name in names if name.startswith("hoopctl")]
    quotients = [f"{figures[mine] / figures[other]:.2f}" for other in others for mine in ours]
    return [f"{figures[name]:,.0f}" for name in names] + quotients


def status(pid: int, name: str) -> int:
    """Bytes that /proc/PID/status tells."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def table(heads: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; columns of figures are aligned to the right."""
    right = [bool(rows) and all(re.match(r"[\d,.]+$", row[i]) for row in rows) for i in range(len(heads))]
    lines = [heads, ["---:" if each else "---" for each in right], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section(title: str, body: str) -> str:
    return f"\n### {title}\n\n{body}"
