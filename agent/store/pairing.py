"""Which start belongs to which end: records in the order of their leaves are paired when both are there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import assert_never

import msgspec

from agent.core.journal.frame import JournalDamage, frame, frames
from agent.store.rows import Pair
from schemas.records import (
    Event,
    OperationEnded,
    OperationStarted,
    Record,
    ResponseChunk,
    SessionEnded,
    SessionStarted,
    decode,
    encode,
)


@dataclass(slots=True)
class OpenSession:
    """A session that hasn't ended: how many operations it started, and the bytes of those answers that ended."""

    leaf: int
    started: SessionStarted
    operations: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class OpenOperation:
    """An operation that hasn't ended, and how many bytes of its answer are recorded."""

    leaf: int
    started: OperationStarted
    bytes_out: int = 0


class _Carried(msgspec.Struct, frozen=True, array_like=True):
    """An open session or operation in a file: its leaf, its counts, its canonical bytes."""

    leaf: int
    operations: int
    bytes_out: int
    body: bytes


_decode_carried = msgspec.msgpack.Decoder(_Carried).decode


class Pairing:
    """What has started and not ended, by session id, and by session id and sequence."""

    def __init__(self) -> None:
        self.sessions: dict[str, OpenSession] = {}
        self.operations: dict[tuple[str, int], OpenOperation] = {}

    def add(self, leaf: int, record: Record) -> Iterator[Pair]:
        """Takes the next record; yields what it completes.

        An end without a start is a row of its own, and so is a start whose place another one takes: neither is ever
        written, but what the journal holds mustn't be lost for it.
        """
        match record:
            case SessionStarted():
                replaced = self.sessions.pop(record.session_id, None)
                if replaced is not None:
                    yield Pair(replaced.leaf, replaced.started)
                self.sessions[record.session_id] = OpenSession(leaf, record)
            case SessionEnded():
                session = self.sessions.pop(record.session_id, None)
                yield _ended(session, leaf, record)
            case OperationStarted():
                yield from self._start_operation(leaf, record)
            case OperationEnded():
                yield self._end_operation(leaf, record)
            case ResponseChunk():
                operation = self.operations.get((record.session_id, record.sequence))
                if operation is not None:
                    operation.bytes_out += len(record.content)
                yield Pair(leaf, record)
            case Event():
                yield Pair(leaf, record)
            case _ as never:
                assert_never(never)

    def _start_operation(self, leaf: int, record: OperationStarted) -> Iterator[Pair]:
        key = (record.session_id, record.sequence)
        replaced = self.operations.pop(key, None)
        if replaced is not None:
            yield Pair(replaced.leaf, replaced.started)
        session = self.sessions.get(record.session_id)
        if session is not None:
            session.operations += 1
        self.operations[key] = OpenOperation(leaf, record)

    def _end_operation(self, leaf: int, record: OperationEnded) -> Pair:
        session = self.sessions.get(record.session_id)
        if session is not None:
            session.bytes_out += record.bytes
        operation = self.operations.pop((record.session_id, record.sequence), None)
        return _ended(operation, leaf, record)

    def unended(self) -> Iterator[Pair]:
        """What hasn't ended."""
        for session in self.sessions.values():
            yield Pair(session.leaf, session.started)
        for operation in self.operations.values():
            yield Pair(operation.leaf, operation.started)

    def dump(self) -> Iterable[bytes]:
        """Frames from which `load` makes the same again."""
        for session in self.sessions.values():
            yield _frame(session.leaf, session.operations, session.bytes_out, session.started)
        for operation in self.operations.values():
            yield _frame(operation.leaf, 0, operation.bytes_out, operation.started)

    @classmethod
    def load(cls, data: bytes, name: str) -> Pairing:
        """What `dump` wrote into the file `name`. Raises JournalDamage when it isn't that, whole."""
        pairing = cls()
        bodies, end, torn = frames(data, 0)
        if torn or end != len(data):
            raise JournalDamage(f"{name}: damaged at offset {end}", end)
        for body in bodies:
            carried = _decode_carried(body)
            record = decode(carried.body)
            if isinstance(record, SessionStarted):
                pairing.sessions[record.session_id] = OpenSession(
                    carried.leaf, record, carried.operations, carried.bytes_out
                )
            elif isinstance(record, OperationStarted):
                key = (record.session_id, record.sequence)
                pairing.operations[key] = OpenOperation(carried.leaf, record, carried.bytes_out)
            else:
                raise JournalDamage(f"{name}: holds a record that starts nothing (got {type(record).__name__})")
        return pairing


def _ended(opened: OpenSession | OpenOperation | None, leaf: int, record: Record) -> Pair:
    return Pair(None, None, leaf, record) if opened is None else Pair(opened.leaf, opened.started, leaf, record)


def _frame(leaf: int, operations: int, bytes_out: int, record: Record) -> bytes:
    return frame(msgspec.msgpack.encode(_Carried(leaf, operations, bytes_out, encode(record))))
