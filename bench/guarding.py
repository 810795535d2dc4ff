"""What a policy costs: a decision made before, a new one, transactions, large answers; sections of Markdown."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

from bench.contestants import Contestant, Ring
from bench.measurements import rounds, section, speed, table, tps
from bench.policy import ELSEWHERE, document, hiding
from tests.e2e.agent import import_path
from tests.e2e.wire import Wire, connect, query

COLUMNS = 10
WITHOUT, WITH = "without", "50 rules"


def decisions(ring: Ring, words: argparse.Namespace) -> str:
    """What the agent adds to a statement that it has decided before, in its own process: see bench.decisions."""
    rows, found = [], []
    for name, environment in ring.agents.items():
        said = json.loads(_run(words, environment, "decisions.py", str(words.rounds * 10)))
        for what, (least, median) in said["decisions"].items():
            rows.append([name, *what.split(": "), f"{least:.1f}", f"{median:.1f}"])
        most, usual = said["looks"]
        found.append([name, f"{most:.0f}", f"{usual:.0f}"])
    heads = ["", "known by", "statement", "least, µs", "median, µs"]
    text = section("A decision made before, with 50 rules", table(heads, rows))
    return text + "\n" + section("Ordinary text looked through, MB/s", table(["", "most", "median"], found))


def _run(words: argparse.Namespace, environment: dict[str, str], script: str, *arguments: str) -> str:
    path = environment.get("PYTHONPATH", import_path())
    command = [words.python, "-P", str(Path(__file__).parent / script), *arguments]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{script} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def cold(ring: Ring, words: argparse.Namespace) -> str:
    """Statements that were never seen: what one takes with a policy, less what it takes without one."""
    count = words.statements
    columns = ", ".join(f"c{number} int" for number in range(COLUMNS))
    making = "; ".join(f"CREATE TABLE IF NOT EXISTS cold_{n} (id int PRIMARY KEY, {columns})" for n in range(count))
    ring.run("psql", "-q", "-c", f"SET client_min_messages = error; {making}")
    rows = []
    for name in ring.agents:
        without, ruled = ring.variants(name, {WITHOUT: {}, WITH: ring.policy(document())})
        pairs: dict[str, list[tuple[float, float]]] = {
            "first of a session": [],
            "first of its table": [],
            "its table known": [],
        }
        for turn in range(min(count, 50)):
            with connect(without.endpoint) as one, connect(ruled.endpoint) as other:
                pairs["first of a session"].append(both(one, other, "SELECT c1 FROM cold_0 WHERE id = 1", turn % 2))
        with connect(without.endpoint) as one, connect(ruled.endpoint) as other:
            both(one, other, "SELECT 1")
            for n in range(count):
                first, second = (f"SELECT c{i} FROM cold_{n} WHERE id = {n}" for i in (1, 2))
                pairs["first of its table"].append(both(one, other, first, n % 2))
                pairs["its table known"].append(both(one, other, second, n % 2))
        for what, seen in pairs.items():
            less, more = (statistics.median(pair[i] for pair in seen) * 1e6 for i in (0, 1))
            added = statistics.median(pair[1] - pair[0] for pair in seen) * 1e6
            rows.append([name, what, f"{less:.0f}", f"{more:.0f}", f"{added:.0f}"])
    ring.clear()
    heads = ["", "statement", "without, µs", "with 50 rules, µs", "added, median µs"]
    return section(f"A statement not seen before ({count} of them)", table(heads, rows))


def both(one: Wire, other: Wire, statement: str, first: int = 0) -> tuple[float, float]:
    """Seconds that a statement takes on each; they take turns in going first."""
    found = [0.0, 0.0]
    for turn in (first, 1 - first):
        wire = (one, other)[turn]
        began = time.perf_counter()
        wire.send(query(statement))
        wire.until()
        found[turn] = time.perf_counter() - began
    return found[0], found[1]


def guarded(ring: Ring, words: argparse.Namespace) -> str:
    """pgbench -S through an agent without a policy, with fifty rules, and with masks of other tables, too."""
    rows = []
    names = [WITHOUT, WITH, "50 rules, masks"]
    for name in ring.agents:
        settings = [{}, ring.policy(document()), ring.policy(document(50, ELSEWHERE))]
        contestants = ring.variants(name, dict(zip(names, settings, strict=True)))
        for mode in words.modes.split(","):
            figures = rounds(contestants, words.rounds, partial(tps, ring, words, mode, words.guarded))
            shares = [f"{figures[each] / figures[WITHOUT]:.2f}" for each in names[1:]]
            rows.append([name, mode, *(f"{figures[each]:,.0f}" for each in names), *shares])
    ring.clear()
    heads = ["", "mode", *names, *(f"{each} / without" for each in names[1:])]
    return section(f"Transactions a second under a policy, `pgbench -S`, {words.guarded} clients", table(heads, rows))


def masked(ring: Ring, words: argparse.Namespace) -> str:
    """Rows a second of a large answer, three of its five columns masked."""
    ring.rows(words.rows)
    rows = []
    ways = ["redact", "hash"]
    for name in ring.agents:
        settings: dict[str, dict[str, Any]] = {WITHOUT: {}} | {
            way: ring.policy(document(0, hiding(way))) for way in ways
        }
        contestants = [Contestant("direct", ring.straight(False)), *ring.variants(name, settings)]
        figures = rounds(contestants, words.rounds, partial(speed, ring, "SELECT * FROM bench_rows", words.rows))
        shares = [f"{figures[way] / figures['direct']:.2f}" for way in ways]
        rows.append([name, *(f"{figures[each.name]:,.0f}" for each in contestants), *shares])
    ring.clear()
    heads = ["", "direct", "no masks", *ways, *(f"{way} / direct" for way in ways)]
    return section(f"Rows a second, {words.rows:,} rows, three columns masked", table(heads, rows))
