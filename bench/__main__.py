"""Prints direct, pgbouncer and hoopctl (compiled and interpreted) side by side, measured in one run.

    nox -s bench                         all of it
    nox -s bench -- --quick              a minute or two, to see that it works
    nox -s bench -- --only decisions     what a policy costs: also cold, guarded, masked
    nox -s bench -- --only transactions --clients 8 --seconds 10

The contestants take turns, round after round, so that a machine that slows down slows all of them; what is printed is
the median of the rounds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # at the end: an installed agent goes before the source beside us

from bench import guarding, measurements
from bench.contestants import Ring

PARTS: dict[str, Callable[[Ring, argparse.Namespace], str]] = {
    "transactions": measurements.transactions,
    "latency": measurements.latency,
    "transfer": measurements.transfer,
    "memory": measurements.memory,
    "idle": measurements.idle,
    "startup": measurements.startup,
    "decisions": guarding.decisions,
    "cold": guarding.cold,
    "guarded": guarding.guarded,
    "masked": guarding.masked,
}


def options() -> argparse.Namespace:
    words = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words.add_argument("--only", action="append", choices=PARTS, help="just this part (may be repeated)")
    words.add_argument("--contestants", default="direct,pgbouncer,compiled,interpreted", help="who takes part")
    words.add_argument("--clients", default="1,8,32", help="numbers of pgbench clients")
    words.add_argument("--modes", default="simple,prepared", help="pgbench's query modes")
    words.add_argument("--tls", choices=("both", "without", "with"), default="both")
    words.add_argument("--seconds", type=float, default=3, help="of each pgbench run")
    words.add_argument("--rounds", type=int, default=3, help="how often each is measured")
    words.add_argument("--rows", type=int, default=1_000_000, help="of the transfer")
    words.add_argument("--large", type=int, default=5_000_000, help="rows of the answer that memory is measured over")
    words.add_argument("--idle", type=int, default=1000, help="connections that do nothing")
    words.add_argument("--statements", type=int, default=300, help="that were never seen, of the part `cold`")
    words.add_argument("--guarded", type=int, default=8, help="number of pgbench clients under a policy")
    words.add_argument("--scale", type=int, default=10, help="of pgbench's tables")
    words.add_argument("--python", default=sys.executable, help="the interpreter that hoopctl is installed in")
    words.add_argument("--durability", choices=("strict", "group"), default="strict")
    words.add_argument("--quick", action="store_true", help="short runs, few rows: for trying this out")
    words.add_argument("--output", type=Path, help="append the tables to this file as well")
    found = words.parse_args()
    if found.quick:
        found.seconds, found.rounds, found.rows, found.large, found.idle = 1, 1, 100_000, 500_000, 100
        found.statements = 50
    return found


def main() -> None:
    words = options()
    with Ring(words) as ring:
        report([ring.description()], words.output)
        for name, part in PARTS.items():
            if not words.only or name in words.only:
                report([part(ring, words)], words.output)


def report(lines: list[str], output: Path | None) -> None:
    text = "\n".join(lines) + "\n"
    print(text, flush=True)
    if output is not None:
        with open(output, "a") as file:
            file.write(text + "\n")


main()
