"""Measures decisions in one process; prints JSON: {name: [least, median]} in microseconds, or MB/s for `looks`.

    python -P bench/decisions.py ROUNDS

A decision that was made before is looked up in batches, so that the clock's own time doesn't count. Run by
bench.guarding with each implementation.
"""

from __future__ import annotations

import json
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent.parent))

from agent.core.masking.looks import Detector
from agent.core.pg.exchange import Exchange
from agent.core.pg.guard import Guard
from agent.core.pg.ledger import Ledger
from agent.core.pg.replies import Replies
from agent.core.pg.requests import Requests
from agent.core.policy.rulebook import Rules
from agent.core.sql.catalog import Catalog
from agent.core.sql.found import Found
from agent.core.sql.statements import split
from agent.store.policy import load
from bench.policy import document
from schemas.identity import Identity
from schemas.operation import Operation

BATCH = 300
WHO = Identity("ann", ("staff",))
SETTINGS = ("app", "app", "app", "on", "UTF8", "notice", "on")
STATEMENTS = {
    "key": "SELECT abalance FROM app.accounts WHERE aid = {}",
    "insert": "INSERT INTO app.orders (customer, item, price, note) VALUES ({}, 'a chair', 12.50, 'to the door')",
    "join": "SELECT o.id, c.name FROM app.orders AS o JOIN app.customers AS c ON c.id = o.customer"
    " WHERE o.state = 'open' AND c.region IN ('north', 'south') AND o.total > {} ORDER BY o.id LIMIT 20",
}
FOUND = Found((Operation("SELECT", "app.accounts"), Operation("SELECT", "app.customers")))
LOG = (
    b"2026-03-04 11:22:33 INFO worker 17 took order 1234567 of the queue, 12 items, weight 3.5 kg, and sent it to the"
    b" warehouse in the south; the next one waits for payment since yesterday, see the notes of the morning meeting.\n"
)


def timed(run: Callable[[], Any]) -> float:
    """Microseconds of one of a batch."""
    began = time.perf_counter_ns()
    for _ in range(BATCH):
        run()
    return (time.perf_counter_ns() - began) / BATCH / 1000


def sides(rulebook: Any, masked: Any) -> tuple[Guard, Requests, Exchange]:
    """What stands between a client and a server, with the settings known."""
    exchange = Exchange()
    ledger = Ledger("s" * 26, WHO, "pg/shop", 1 << 20)
    requests = Requests(ledger, exchange)
    guard = Guard(rulebook, masked, Catalog(), ledger, requests, Replies(ledger, exchange))
    guard._learn(SETTINGS)
    return guard, requests, exchange


def asked(text: str) -> bytes:
    raw = text.encode() + b"\0"
    return b"Q" + struct.pack("!I", len(raw) + 4) + raw


def decided(rules: Rules, text: str, rounds: int) -> dict[str, list[float]]:
    """A statement of the same text, then ones of the same shape: the whole way through the agent's requests, with a
    policy and without one. What is printed is the difference: the least of each, and the medians."""
    rulebook, masked = rules.rulebook(WHO, "pg/shop"), rules.masks.masked(WHO, "pg/shop")
    guard, _, exchange = sides(rulebook, masked)
    _, plain, other = sides(rulebook, masked)
    (statement,) = split(text.format(1))
    rulings = guard._rulings
    rulings.keep(statement, (), guard._setting, rulings.judge(FOUND, statement, 0))
    same = asked(text.format(1))
    varied = [asked(text.format(number)) for number in range(100_000, 100_000 + BATCH * 4)]
    others = cycle(varied)

    def through(data: bytes) -> None:
        out: list[Any] = []
        guard.add(data)
        if not guard.read(out, 0):
            raise SystemExit(f"it was not decided at once: {data!r}")
        exchange.pop()

    def past(data: bytes) -> None:
        out: list[Any] = []
        plain.add(data)
        plain.read(out, 0)
        other.pop()

    through(same)
    through(same)
    through(varied[0])
    seen: dict[str, list[float]] = {"text": [], "shape": [], "none": [], "none, varied": []}
    for _ in range(rounds):
        seen["text"].append(timed(lambda: through(same)))
        seen["none"].append(timed(lambda: past(same)))
        seen["shape"].append(timed(lambda: through(next(others))))
        seen["none, varied"].append(timed(lambda: past(next(others))))
    added: dict[str, list[float]] = {}
    for name, without in (("text", "none"), ("shape", "none, varied")):
        pairs = [one - two for one, two in zip(seen[name], seen[without], strict=True)]
        added[name] = [min(seen[name]) - min(seen[without]), statistics.median(pairs)]
    return added


def looks(rounds: int) -> list[float]:
    """Megabytes a second of ordinary text: the most, and the median."""
    detector = Detector(["email", "credit_card", "iban", "phone"])
    data = LOG * (4_000_000 // len(LOG))
    found: list[float] = []
    for _ in range(rounds):
        began = time.perf_counter()
        if detector.suspects(data):
            raise SystemExit("ordinary text looks like something")
        found.append(len(data) / 1e6 / (time.perf_counter() - began))
    return [max(found), statistics.median(found)]


def main() -> None:
    rounds = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "policy.yaml")
        path.write_text(document())
        rules = Rules(load(path))
    found = {}
    for name, text in STATEMENTS.items():
        for how, figures in decided(rules, text, rounds).items():
            found[f"{how}: {name}"] = figures
    print(json.dumps({"decisions": found, "looks": looks(max(3, rounds // 5))}))


main()
