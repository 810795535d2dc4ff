"""A policy held against what was recorded: what it would have decided, where that differs from what was decided.

The evidence names the operations of a statement, but not whether an UPDATE or DELETE had a WHERE. Where a decision
turns on that it is told as `unclear`. Statements of sessions that no rule was about are recorded without operations:
they are counted, not decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agent.core.policy.rulebook import Rulebook, Rules
from agent.core.policy.verbs import operation
from schemas.identity import Identity
from schemas.operation import Operation
from schemas.policy import Policy

if TYPE_CHECKING:
    import duckdb

COLUMNS = (
    "statements",
    "subject",
    "actor",
    "resource",
    "operations",
    "was",
    "was_by",
    "would_be",
    "by",
    "first",
    "last",
)
UNCLEAR = "unclear"
MAX_SESSIONS = 10_000
"""Rulebooks kept at a time."""

_FETCHED = 1000
_RECORDED = """
SELECT o.subject, s.groups, o.actor, o.run, o.resource, s.client_address, s.client_name, o.operations, {text},
       o.fingerprint, o.tags, epoch_us(o.time), o.time, o.decision, o.rule
FROM operations o LEFT JOIN sessions s USING (session_id)
WHERE o.time >= $1 AND (len(o.operations) > 0 OR o.policy IS NOT NULL)
"""
_COUNTED = (
    "SELECT count(*), count(*) FILTER (len(operations) > 0 OR policy IS NOT NULL) FROM operations WHERE time >= $1"
)


@dataclass
class Change:
    """A kind of change, and the statements that it is seen in."""

    first: datetime
    last: datetime
    statements: int = 0


@dataclass
class Backtest:
    """What came of it: how many statements were recorded, how many of them decided anew, and what changed."""

    recorded: int = 0
    decided: int = 0
    changes: dict[tuple[Any, ...], Change] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        """Statements that would have been decided otherwise, or may have been."""
        return sum(change.statements for change in self.changes.values())

    @property
    def unclear(self) -> int:
        """Statements of which that can't be said."""
        return sum(change.statements for key, change in self.changes.items() if UNCLEAR in key)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The changes as a listing, the most frequent first."""
        for key, change in sorted(self.changes.items(), key=lambda item: (-item[1].statements, item[1].first)):
            values = (change.statements, *key, change.first, change.last)
            yield dict(zip(COLUMNS, values, strict=True))


def backtest(connection: duckdb.DuckDBPyConnection, policy: Policy, since: datetime) -> Backtest:
    """Decides every statement recorded since then by this policy."""
    counted = connection.execute(_COUNTED, [since]).fetchone() or (0, 0)
    found = Backtest(int(counted[0]), int(counted[1]))
    rules = Rules(policy)
    books: dict[tuple[Any, ...], Rulebook] = {}
    # Statements are long, and few policies look at them.
    text = "o.statement" if rules.ask_for("statement.text") else "''"
    recorded = connection.execute(_RECORDED.format(text=text), [since])
    while rows := recorded.fetchmany(_FETCHED):
        for row in rows:
            subject, groups, actor, run, resource, address, client, operations, *statement, time, was, was_by = row
            session = (subject, tuple(groups or ()), actor, run, resource, address, client)
            book = books.get(session)
            if book is None:
                if len(books) >= MAX_SESSIONS:
                    books.clear()
                identity = Identity(subject, tuple(groups or ()), actor, run)
                book = books[session] = rules.rulebook(identity, resource, address or "", client or "")
            would_be, by = _decided(book, tuple(operations), *statement)
            # A rule that asks for consent denies where nobody can be asked: that is no change.
            if would_be != was and not (would_be == "approve" and was == "deny" and by == was_by):
                key = (subject, actor, resource, tuple(operations), was, was_by, would_be, by)
                change = found.changes.setdefault(key, Change(time, time))
                change.statements += 1
                change.first, change.last = min(change.first, time), max(change.last, time)
    return found


def _decided(
    book: Rulebook, operations: tuple[str, ...], text: str, fingerprint: str | None, tags: list[str] | None, now: int
) -> tuple[str, str | None]:
    tag = _tag(tags[0]) if tags else ""
    with_where, without = _read(operations)
    verdict = book.decide(with_where, text, fingerprint, tag, now)
    if without != with_where:
        other = book.decide(without, text, fingerprint, tag, now)
        if other.effect != verdict.effect:
            return UNCLEAR, other.rule if verdict.effect == "allow" else verdict.rule
    return verdict.effect, verdict.rule


@lru_cache(MAX_SESSIONS)
def _read(operations: tuple[str, ...]) -> tuple[tuple[Operation, ...], tuple[Operation, ...]]:
    """The operations, as if every UPDATE and DELETE had a WHERE, and as if none had."""
    return tuple(operation(each) for each in operations), tuple(operation(each, where=False) for each in operations)


def _tag(answered: str) -> str:
    """The command tag without its counts: `INSERT` of `INSERT 0 1`."""
    return " ".join(word for word in answered.split(" ") if not word.isdigit())
