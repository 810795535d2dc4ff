"""What happened in a session, in order, read from the evidence piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.core.pg.answers import AnswerReader, Part

if TYPE_CHECKING:
    import duckdb

    from agent.store.evidence import Evidence

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Began:
    """The session began; `at` is in microseconds since 1970, here and below."""

    at: int
    session: Row


@dataclass(frozen=True)
class Asked:
    """A statement was sent; the row of the view `operations`."""

    at: int
    operation: Row


@dataclass(frozen=True)
class Said:
    """The server said something: to the statement before, or (sequence 0) unasked."""

    at: int
    sequence: int
    parts: list[Part]


@dataclass(frozen=True)
class Done:
    """The statement's answer is over; `at` is when, or when the last of it came if its end isn't recorded."""

    at: int
    operation: Row


@dataclass(frozen=True)
class Left:
    """The session ended."""

    at: int
    session: Row


Scene = Began | Asked | Said | Done | Left

_OPERATIONS = """
    SELECT *, epoch_us(time) AS at, epoch_us(ended_at) AS end_at FROM operations
    WHERE session_id = $1 ORDER BY sequence, leaf"""
_CHUNKS = """
    SELECT sequence, epoch_us(time) AS at, content FROM responses
    WHERE session_id = $1 AND (sequence = 0) = $2 ORDER BY sequence, chunk"""


def read(evidence: Evidence, session_id: str) -> Iterator[Scene]:
    """The session's scenes; of its answers no more than a few chunks are held at a time."""
    asked = evidence.connection.cursor()
    asked.execute(
        "SELECT *, epoch_us(started_at) AS at, epoch_us(ended_at) AS end_at FROM sessions WHERE session_id = $1",
        [session_id],
    )
    (session,) = _rows(asked, 1)
    yield Began(session["at"] or session["end_at"], session)
    answers = _Chunks(evidence, session_id, unasked=False)
    unasked = _Chunks(evidence, session_id, unasked=True)
    reader = AnswerReader()
    operations = evidence.connection.cursor()
    operations.execute(_OPERATIONS, [session_id])
    for operation in _rows(operations, 16):
        at = operation["at"] if operation["at"] is not None else operation["end_at"]
        for moment, content in unasked.until(at):
            yield from _said(moment, 0, reader.feed(content))
        yield Asked(at, operation)
        yield from _answer(operation, at, answers)
    for moment, content in unasked.until(None):
        yield from _said(moment, 0, reader.feed(content))
    if session["end_at"] is not None:
        yield Left(session["end_at"], session)


def _answer(operation: Row, at: int, answers: _Chunks) -> Iterator[Scene]:
    reader = AnswerReader()
    sequence = operation["sequence"]
    for moment, content in answers.of(sequence):
        at = max(at, moment)
        yield from _said(at, sequence, reader.feed(content))
    yield from _said(at, sequence, reader.finish())
    yield Done(operation["end_at"] if operation["end_at"] is not None else at, operation)


def _said(at: int, sequence: int, parts: list[Part]) -> Iterator[Said]:
    if parts:
        yield Said(at, sequence, parts)


class _Chunks:
    """Chunks of a session's answers, one after another."""

    def __init__(self, evidence: Evidence, session_id: str, unasked: bool) -> None:
        cursor = evidence.connection.cursor()
        cursor.execute(_CHUNKS, [session_id, unasked])
        self._rows = _rows(cursor, 16)
        self._next = next(self._rows, None)

    def of(self, sequence: int) -> Iterator[tuple[int, bytes]]:
        """Time and content of an operation's chunks; those of earlier ones, which aren't there, are passed over."""
        while self._next is not None and self._next["sequence"] <= sequence:
            found, self._next = self._next, next(self._rows, None)
            if found["sequence"] == sequence:
                yield found["at"], found["content"]

    def until(self, moment: int | None) -> Iterator[tuple[int, bytes]]:
        """Time and content of what came up to a moment, or of all the rest."""
        while self._next is not None and (moment is None or self._next["at"] <= moment):
            found, self._next = self._next, next(self._rows, None)
            yield found["at"], found["content"]


def _rows(cursor: duckdb.DuckDBPyConnection, held: int) -> Iterator[Row]:
    names = [str(column[0]) for column in cursor.description]
    while rows := cursor.fetchmany(held):
        for row in rows:
            yield dict(zip(names, row, strict=True))
