"""Sessions as records, and journals that hold them: what tests of the evidence are about."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from agent.store.journal import Journal
from schemas.records import (
    Event,
    OperationEnded,
    OperationStarted,
    Record,
    ResponseChunk,
    SessionEnded,
    SessionStarted,
)

NOON = 1_700_049_600_000_000
"""2023-11-15 12:00 UTC, in microseconds since 1970."""
SECOND = 1_000_000
DAY = 86_400 * SECOND


def message(kind: str, body: bytes = b"") -> bytes:
    """A backend message of PostgreSQL's protocol."""
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def described(*columns: tuple[str, int, int]) -> bytes:
    """RowDescription: name, type OID and format of each column."""
    body = struct.pack("!H", len(columns))
    for name, oid, form in columns:
        body += name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, form)
    return message("T", body)


def row(*values: bytes | None) -> bytes:
    """DataRow."""
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("D", body)


def completed(tag: str) -> bytes:
    """CommandComplete."""
    return message("C", tag.encode() + b"\0")


def failed(code: str, text: str) -> bytes:
    """ErrorResponse."""
    return message("E", b"SERROR\0VERROR\0C" + code.encode() + b"\0M" + text.encode() + b"\0\0")


def started(session_id: str, time: int = NOON, subject: str = "ann") -> SessionStarted:
    """A session begins."""
    return SessionStarted(
        time, session_id, subject, ("staff", "dba"), None, "run-7", "cr1", "pg/prod", "pg", "127.0.0.1:5000", "psql"
    )


def ended(session_id: str, time: int, operations: int = 0, reason: str = "client left") -> SessionEnded:
    """A session ends."""
    return SessionEnded(time, session_id, reason, operations, 100, 200)


def asked(session_id: str, sequence: int, time: int, statement: str, subject: str = "ann") -> OperationStarted:
    """A statement is sent."""
    return OperationStarted(
        time, session_id, sequence, subject, None, "run-7", "pg/prod", "pg", (), statement, ("5", None), "allow"
    )


def answered(
    session_id: str, sequence: int, time: int, content: Sequence[bytes], tag: str = "SELECT 1"
) -> list[Record]:
    """A statement is answered, in these chunks, the last of which comes with its end."""
    chunks: list[Record] = [
        ResponseChunk(time, session_id, sequence, chunk, piece) for chunk, piece in enumerate(content)
    ]
    size = sum(len(piece) for piece in content)
    return [*chunks, OperationEnded(time, session_id, sequence, "ok", (tag,), 1, size, 1500)]


def story(session_id: str, time: int = NOON, statements: int = 2, end: bool = True) -> list[Record]:
    """A whole session: it asks for a number, over and over, a second apart."""
    records: list[Record] = [started(session_id, time)]
    for sequence in range(1, statements + 1):
        moment = time + sequence * SECOND
        content = described(("n", 23, 0)) + row(str(sequence).encode()) + completed("SELECT 1")
        records.append(asked(session_id, sequence, moment, f"SELECT {sequence} AS n"))
        records += answered(session_id, sequence, moment + 1500, [content[:20], content[20:]])
    if end:
        records.append(ended(session_id, time + (statements + 1) * SECOND, statements))
    return records


def loaded(time: int = NOON) -> Event:
    """An event."""
    return Event(time, "configuration.loaded", None, None, '{"file":"hoop.yaml"}')


def write(journal: Path, *segments: Iterable[Record]) -> int:
    """Appends records to the journal, each group in a segment of its own; returns the first leaf of the next."""
    writer = Journal.open(journal, 4096)
    for records in segments:
        for record in records:
            writer.append(record)
        writer.rotate()
    writer.wait()
    leaf = writer.first_live_leaf
    writer.close()
    assert writer.failure is None
    return leaf


def home(directory: Path) -> Path:
    """Writes a hoop.yaml whose state and audit are in the directory, and returns it."""
    path = directory / "hoop.yaml"
    (directory / "state").mkdir(mode=0o700, exist_ok=True)
    path.write_text(
        "version: 1\n"
        "state: ./state\n"
        "listen: {pg: 127.0.0.1:0}\n"
        "audit: {path: ./audit}\n"
        "resources:\n"
        "  - {name: prod, type: pg, upstream: 'postgresql://app@127.0.0.1:5432/app'}\n"
    )
    return path
