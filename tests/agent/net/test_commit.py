"""Group commit: who waits for the disk is told, once, how far it has come."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.net.commit import Commit
from agent.net.poller import Poller
from agent.store.journal import Journal, JournalFailed, read_segment, segments
from schemas.records import Event
from tests.agent.net.loop import Loop, turn

RECORD = Event(1, "test", None, None, "{}")


class Waiter:
    """A session that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def durable(self, count: int) -> None:
        self.told.append(count)


class Messenger:
    """A stream that notes how many records were in the journal's file when it was to send."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.sent: list[int] = []
        self.withheld = 0

    def send_now(self) -> None:
        (segment,) = segments(self.journal.directory)
        self.sent.append(len(read_segment(segment, last=True)[1]))

    def withhold(self) -> None:
        self.withheld += 1


class House:
    """A journal with its commit."""

    def __init__(self, directory: Path) -> None:
        self.poller = Poller(Loop(), lambda: self.commit.batch_done())
        self.journal = Journal.open(directory)
        self.failures: list[str] = []
        self.commit = Commit(self.poller, self.journal, self.failures.append)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.commit.close()
    made.journal.close()
    made.poller.close()


@pytest.mark.parametrize("sessions", [1, 2, 3, 20])
def test_each_is_told_once(house: House, sessions: int) -> None:
    """Every session that waits is told its last count once per batch, however many there are and whoever syncs."""
    waiters = [Waiter() for _ in range(sessions)]
    for number, waiter in enumerate(waiters):
        house.commit.append_and_tell(RECORD, waiter, number)
        house.commit.append_and_tell(RECORD, waiter, number + 1)
    assert not any(waiter.told for waiter in waiters)
    house.commit.batch_done()
    turn(house.poller, lambda: all(waiter.told for waiter in waiters))
    assert [waiter.told for waiter in waiters] == [[number + 1] for number in range(sessions)]
    assert house.journal.durable == 2 * sessions


def test_who_does_not_wait_is_not_told(house: House) -> None:
    """Records that nobody waits for are written with the batch, and nobody is told."""
    house.commit.append(RECORD)
    house.commit.batch_done()
    assert house.journal.appended == 1
    assert house.failures == []


def test_written_before_anything_is_sent(house: House) -> None:
    """What a session sends leaves when its records are in the journal's file: an agent that is killed has sent nothing
    that isn't there. So it is with what it sends because its records are durable."""
    messenger = Messenger(house.journal)

    class Answering(Waiter):
        def durable(self, count: int) -> None:
            super().durable(count)
            house.commit.append(RECORD)
            house.poller.send_later(messenger)

    waiter = Answering()
    house.commit.append_and_tell(RECORD, waiter, 1)
    house.poller.send_later(messenger)
    house.commit.batch_done()
    turn(house.poller, lambda: waiter.told)
    house.commit.batch_done()
    assert (messenger.sent, messenger.withheld) == ([1, 2], 0)


def test_what_could_not_be_written_is_not_sent(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited to leave when the journal failed is dropped; what is sent after that was told leaves."""
    messenger, last_words = Messenger(house.journal), Messenger(house.journal)
    house.commit.append_and_tell(RECORD, Waiter(), 1)
    house.poller.send_later(messenger)

    def full(*_: object) -> int:
        house.poller.send_later(messenger)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        house.commit.batch_done()
    house.poller.send_later(last_words)
    house.commit.batch_done()
    assert (messenger.sent, messenger.withheld) == ([], 2)
    assert (last_words.sent, last_words.withheld) == ([0], 0)


def test_failure_is_told_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the journal can't be written that is told once, nobody is told `durable`, and what comes after is
    refused."""
    waiter = Waiter()
    house.commit.append_and_tell(RECORD, waiter, 1)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        house.commit.batch_done()
        house.commit.batch_done()
    assert waiter.told == []
    assert len(house.failures) == 1
    assert "No space left" in house.failures[0]
    with pytest.raises(JournalFailed):
        house.commit.append(RECORD)
