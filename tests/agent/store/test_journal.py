"""The journal: what was appended is there again, whatever happened in between."""

from __future__ import annotations

import errno
import os
import select
from itertools import pairwise
from pathlib import Path

import pytest

from agent.core.journal.frame import JournalDamage
from agent.store.journal import Journal, JournalBusy, JournalFailed, read_segment, segments
from schemas.records import Event, decode


def event(number: int) -> Event:
    return Event(number, "test", None, None, "{}")


def recorded(directory: Path) -> list[int]:
    paths = segments(directory)
    return [decode(body).time for path in paths for body in read_segment(path, path == paths[-1])[1]]


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    """Records come back in order, over several segments, numbered without a gap."""
    journal = Journal.open(tmp_path, segment_size=4096)
    for number in range(500):
        journal.append(event(number))
        journal.write()
    journal.close()
    assert recorded(tmp_path) == list(range(500))
    firsts = [read_segment(path, False) for path in segments(tmp_path)]
    assert len(firsts) > 3
    for (first, bodies), (following, _) in pairwise(firsts):
        assert first + len(bodies) == following


def test_leaves_go_on_where_they_ended(tmp_path: Path) -> None:
    """A journal opened again numbers its records behind those that it holds."""
    for round_ in range(3):
        journal = Journal.open(tmp_path)
        assert journal.next_leaf == round_
        journal.append(event(round_))
        journal.close()
    assert recorded(tmp_path) == [0, 1, 2]


@pytest.mark.parametrize("at_once", [True, False])
def test_durable_counts_what_is_synced(tmp_path: Path, at_once: bool) -> None:
    """Nothing counts as durable before a sync, everything written before it afterwards."""
    journal = Journal.open(tmp_path)
    count = journal.append(event(1))
    journal.write()
    assert journal.collect() == 0
    journal.sync(at_once)
    while journal.collect() < count:
        select.select([journal], [], [], 5)
    assert journal.durable == count
    journal.close()


def test_one_process_writes(tmp_path: Path) -> None:
    """A journal that is open can't be opened again."""
    journal = Journal.open(tmp_path)
    with pytest.raises(JournalBusy):
        Journal.open(tmp_path)
    journal.close()
    Journal.open(tmp_path).close()


@pytest.mark.parametrize("cut", range(1, 20, 3))
def test_torn_record_is_cut_off(tmp_path: Path, cut: int) -> None:
    """A crash in the middle of a write loses that record and no other, and its bytes are counted."""
    journal = Journal.open(tmp_path)
    for number in range(3):
        journal.append(event(number))
    journal.close()
    path = segments(tmp_path)[0]
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size - cut)
        file.truncate(size + 1000)
    journal = Journal.open(tmp_path)
    assert journal.next_leaf == 2
    assert journal.torn_bytes > 0
    journal.append(event(9))
    journal.close()
    assert recorded(tmp_path) == [0, 1, 9]


def test_altered_byte_in_a_closed_segment_is_damage(tmp_path: Path) -> None:
    """A closed segment is whole or it is damaged, and the error names file and offset."""
    journal = Journal.open(tmp_path)
    journal.append(event(0))
    journal.append(event(1))
    journal.close()
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalDamage, match=path.name):
        read_segment(path, last=False)


def test_failed_write_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk fails the journal: what comes after is refused, and what was durable before is there again."""
    journal = Journal.open(tmp_path)
    journal.append(event(0))
    journal.wait()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        journal.append(event(1))
        journal.write()
    assert journal.failure is not None and "No space left" in journal.failure
    with pytest.raises(JournalFailed, match="No space left"):
        journal.append(event(2))
    journal.close()
    assert recorded(tmp_path) == [0]


def test_failed_sync_is_final(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync that failed once is not tried again: what it was to bring to the disk never counts as durable."""
    journal = Journal.open(tmp_path)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", broken)
        journal.append(event(0))
        journal.wait()
    assert journal.failure is not None
    assert journal.durable == 0
    journal.close()


def test_rotation_is_told(tmp_path: Path) -> None:
    """Segments before the leaf that `rotate` returns are closed once `closed_before` says so."""
    journal = Journal.open(tmp_path)
    journal.append(event(0))
    leaf = journal.rotate()
    journal.wait()
    assert leaf == journal.closed_before == 1
    assert read_segment(segments(tmp_path)[0], last=False)[0] == 0
    assert journal.rotate() == 1, "an empty segment is not rotated"
    journal.close()


def test_errors_tell_what_to_do(tmp_path: Path) -> None:
    """What keeps a journal from being opened carries a hint, compiled or not."""
    journal = Journal.open(tmp_path)
    with pytest.raises(JournalBusy) as busy:
        Journal.open(tmp_path)
    journal.close()
    assert busy.value.hint
    assert JournalFailed("x").hint
    assert JournalDamage("x").hint


def test_segment_sealed_while_recovering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sealing of an agent that is gone may delete a segment while the next agent recovers: its leaves go on."""
    journal = Journal.open(tmp_path)
    journal.append(event(0))
    journal.close()
    sealed = segments(tmp_path)[0]
    stat = Path.stat

    def deleted(path: Path, **options: bool) -> os.stat_result:
        if path == sealed and sealed in sealed.parent.iterdir():
            (tmp_path / "sealed.json").write_text('{"leaf": 1}')
            sealed.unlink()
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", deleted)
    journal = Journal.open(tmp_path)
    assert journal.next_leaf == 1
    journal.close()
