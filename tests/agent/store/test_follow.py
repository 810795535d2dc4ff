"""The journal, followed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from agent.core.journal.frame import JournalDamage
from agent.store.follow import Follower
from agent.store.journal import Journal
from agent.store.seal import seal
from schemas.records import Record, ResponseChunk
from tests.story import NOON, loaded, story, write


def test_every_record_once(tmp_path: Path) -> None:
    """Records are read as they come, over segments that are rotated and sealed meanwhile, large ones too."""
    journal = tmp_path / "journal"
    recorded: list[Record] = []
    writer = Journal.open(journal, 4096)
    seen: list[tuple[int, Record]] = []
    with closing(Follower(journal)) as follower:
        for number in range(8):
            records = [*story(f"{number:020d}"), ResponseChunk(NOON, "s" * 20, 0, number, bytes(number) * 400_000)]
            for record in records:
                writer.append(record)
            recorded += records
            writer.wait()
            writer.wait()
            seen += follower.poll()
            if number % 2:
                leaf = writer.rotate()
                writer.wait()
                seal(journal, tmp_path / "audit", leaf)
        writer.append(loaded())
        writer.wait()
        seen += follower.poll()
    writer.close()
    assert seen == list(enumerate([*recorded, loaded()]))


def test_missed_records_are_told(tmp_path: Path) -> None:
    """When records that were never read are sealed, that is an error rather than a gap."""
    write(tmp_path, [loaded()])
    with closing(Follower(tmp_path)) as follower:
        assert len(list(follower.poll())) == 1
        leaf = write(tmp_path, [loaded()])
        seal(tmp_path, tmp_path / "audit", leaf)
        write(tmp_path, [loaded()])
        with pytest.raises(JournalDamage, match="records 1 to 1 are gone"):
            list(follower.poll())


def test_a_journal_that_is_not_there_yet(tmp_path: Path) -> None:
    """Nothing is read until there is something."""
    with closing(Follower(tmp_path / "journal")) as follower:
        assert list(follower.poll()) == []
        write(tmp_path / "journal", [loaded()])
        assert len(list(follower.poll())) == 1
