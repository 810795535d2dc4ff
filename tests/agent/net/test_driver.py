"""The driver performs commands in the order of their list, and stops it at a record that can't be kept."""

from __future__ import annotations

from contextlib import suppress
from socket import socketpair
from typing import Any

from agent.core.commands import Append, Close, Command, OfferCancel, SendClient
from agent.core.events import ClientData, Event, JournalLost
from agent.core.session import Session
from agent.net.driver import Connection
from agent.net.poller import Poller
from agent.net.stream import Stream
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
    """A host that writes down what is recorded, sent and closed, in order: before each of its own words it reads what
    the client got until then."""

    def __init__(self, fails_at: int = 0) -> None:
        self.done: list[str] = []
        self.reactor: Any = Loop()
        self.commit = self
        self.left = fails_at
        self.near, self.far = socketpair()
        self.far.setblocking(False)
        self.poller = Poller(self.reactor, lambda: None)

    def now(self) -> int:
        return 1

    def append(self, record: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.left = 1
            self.hear()
            raise JournalFailed("disk full")
        self.note("append")

    def offer_cancel(self, key: bytes, connection: Connection) -> None:
        self.note("offer")

    def closed(self, connection: Connection) -> None:
        self.note("closed")
        self.far.close()
        self.poller.close()

    def stream(self, connected: object, connection: Connection) -> Stream:
        return Stream(self.poller, self.near, connection)

    def note(self, word: str) -> None:
        self.hear()
        self.done.append(word)

    def hear(self) -> None:
        self.poller.send()
        with suppress(BlockingIOError):
            while data := self.far.recv(100):
                self.done.append(data.decode())
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
