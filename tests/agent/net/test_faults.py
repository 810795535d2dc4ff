"""A fault of ours ends one session and no other."""

from __future__ import annotations

from agent.core.commands import Command
from agent.core.events import ClientData, Event
from tests.agent.net.test_driver import House, Script, connection


class Faulty(Script):
    def feed(self, event: Event, now: int) -> list[Command]:
        self.events.append(event)
        raise ZeroDivisionError("a bug")


def test_session_that_raises_is_abandoned() -> None:
    """An exception in a session closes its connection, and reaches nobody else's."""
    house = House()
    made, _ = connection(house)
    made.session = Faulty()
    made.feed(ClientData(b"x"))
    assert house.done[-1] == "closed"
    assert made.over
