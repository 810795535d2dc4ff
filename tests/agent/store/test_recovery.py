"""What an agent that was lost has left open is ended."""

from __future__ import annotations

from pathlib import Path

from agent.store.recovery import closing_records
from agent.store.seal import seal
from schemas.records import OperationEnded, OperationStarted, Record, ResponseChunk, SessionEnded
from tests.story import NOON, SECOND, asked, started, story, write

LONG = "l" * 20


def test_nothing_open_nothing_to_record(tmp_path: Path) -> None:
    """A journal whose sessions ended, or that isn't there, needs no records."""
    assert closing_records(tmp_path / "nowhere", NOON) == []
    write(tmp_path, story("a" * 20))
    assert closing_records(tmp_path, NOON) == []


def test_open_sessions_and_operations_end(tmp_path: Path) -> None:
    """Operations end as lost, then their session as `agent lost`, with what the journal tells of its size."""
    running: list[Record] = [asked(LONG, 3, NOON, "SELECT 3"), ResponseChunk(NOON, LONG, 3, 0, b"12345")]
    write(tmp_path, [*story(LONG, end=False), *running])
    operation, session = closing_records(tmp_path, NOON + SECOND)
    assert isinstance(operation, OperationEnded)
    assert (operation.sequence, operation.outcome, operation.bytes) == (3, "lost", 5)
    assert isinstance(session, SessionEnded)
    answers = 2 * len(b"".join(r.content for r in story(LONG, statements=1) if isinstance(r, ResponseChunk)))
    assert (session.end_reason, session.operations, session.bytes_out) == ("agent lost", 3, answers + 5)


def test_what_was_sealed_meanwhile_counts(tmp_path: Path) -> None:
    """A session that was open when its segment was sealed is ended too, and its counts go on."""
    seal(tmp_path, tmp_path / "audit", write(tmp_path, story(LONG, end=False)))
    write(tmp_path, [asked(LONG, 3, NOON, "SELECT 3")])
    operation, session = closing_records(tmp_path, NOON)
    assert isinstance(session, SessionEnded)
    assert session.operations == 3
    assert isinstance(operation, OperationEnded)


def test_recorded_once(tmp_path: Path) -> None:
    """Once the closing records are in the journal there are none left, however often the agent is lost meanwhile."""
    write(tmp_path, [started(LONG), *[asked(LONG, number, NOON, "SELECT 1") for number in (1, 2)]])
    first, *rest = closing_records(tmp_path, NOON)
    write(tmp_path, [first])
    assert [type(record) for record in closing_records(tmp_path, NOON)] == [OperationEnded, SessionEnded]
    write(tmp_path, rest)
    assert closing_records(tmp_path, NOON) == []
    assert not any(isinstance(record, OperationStarted) for record in rest)
