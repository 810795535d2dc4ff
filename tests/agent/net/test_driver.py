"""The driver performs commands in the order of their list, and stops it at a record that can't be kept."""

from __future__ import annotations

from typing import Any

from agent.core.commands import Append, Close, Command, OfferCancel, SendClient
from agent.core.events import ClientData, Event, JournalLost
from agent.core.session import Session
from agent.net.driver import Connection
from agent.store.journal import JournalFailed
from schemas.records import Event as Noted
from tests.agent.net.loop import Loop

RECORD = Noted(1, "test", None, None, "{}")


class Script(Session):
    """Answers each event with what was written down for it."""

    def __init__(self, *answers: list[Command]) -> None:
        self.answers = list(answers)
        self.events: list[Event] = []

    def feed(self, event: Event, now: int) -> list[Command]:
        self.events.append(event)
        return self.answers.pop(0) if self.answers else []

    @property
    def busy(self) -> bool:
        return False


class House:
    """A host whose journal, streams and list of connections write down what is done with them."""

    def __init__(self, fails_at: int = 0) -> None:
        self.done: list[str] = []
        self.reactor = Loop()
        self.commit = self
        self.left = fails_at
        self.waiting = 0

    def now(self) -> int:
        return 1

    def append(self, record: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.left = 1
            raise JournalFailed("disk full")
        self.done.append("append")

    def offer_cancel(self, key: bytes, connection: Connection) -> None:
        self.done.append("offer")

    def closed(self, connection: Connection) -> None:
        self.done.append("closed")

    def stream(self, connected: object, connection: object) -> House:
        return self

    def send(self, data: bytes) -> None:
        self.done.append(data.decode())

    def read(self, on: bool) -> None:
        pass

    def close(self) -> None:
        self.done.append("close")


def connection(house: House, *answers: list[Command]) -> tuple[Connection, Script]:
    host: Any = house
    script = Script(*answers)
    made = Connection(host, script, "127.0.0.1")
    socket: Any = None
    made.begin(socket)
    return made, script


def test_commands_are_performed_in_order() -> None:
    """Recorded before forwarded is the order of a list: the driver keeps it."""
    house = House()
    made, _ = connection(
        house, [Append(RECORD), SendClient(b"a"), OfferCancel(b"k"), Append(RECORD), SendClient(b"b"), Close("x")]
    )
    made.feed(ClientData(b"x"))
    assert house.done == ["append", "a", "offer", "append", "b", "close", "closed"]
    assert made.over


def test_nothing_follows_a_record_that_was_not_kept() -> None:
    """What stands behind a failed Append isn't performed; the session is told instead, and its last words are said."""
    house = House(fails_at=2)
    lost: list[Command] = [Append(RECORD), SendClient(b"sorry"), Append(RECORD), Close("lost")]
    made, script = connection(house, [Append(RECORD), SendClient(b"a"), Append(RECORD), SendClient(b"b")], lost)
    made.feed(ClientData(b"x"))
    assert house.done == ["append", "a", "sorry", "close", "closed"]
    assert script.events[1:] == [JournalLost("disk full")]


def test_session_that_ends_anyway() -> None:
    """A session whose last records can't be kept still says goodbye and closes, once."""
    house = House(fails_at=1)
    made, script = connection(house, [Append(RECORD), SendClient(b"bye"), Append(RECORD), Close("x")])
    made.feed(ClientData(b"x"))
    assert house.done == ["bye", "close", "closed"]
    assert len(script.events) == 1
