"""The poller: many sockets behind one reader, one call at the end of a batch."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from agent.net.poller import READABLE, WRITABLE, Poller
from tests.agent.net.loop import Loop


class Watched:
    """A socket that notes its events, and may do something on one."""

    def __init__(self, connected: socket.socket) -> None:
        self.connected = connected
        self.events: list[int] = []

    def fileno(self) -> int:
        return self.connected.fileno()

    def ready(self, events: int) -> None:
        self.events.append(events)
        if events & READABLE:
            self.connected.recv(100)


@pytest.fixture
def pairs() -> Iterator[list[tuple[Watched, socket.socket]]]:
    made = [socket.socketpair() for _ in range(5)]
    yield [(Watched(here), there) for here, there in made]
    for here, there in made:
        here.close()
        there.close()


def test_one_call_serves_all(pairs: list[tuple[Watched, socket.socket]]) -> None:
    """All sockets that are ready are served, then the batch's end is told."""
    ends: list[int] = []
    poller = Poller(Loop(), lambda: ends.append(sum(len(watched.events) for watched, _ in pairs)))
    for watched, there in pairs:
        poller.watch(watched, READABLE)
        there.send(b"x")
    poller.doRead()
    assert [watched.events for watched, _ in pairs] == [[READABLE]] * 5
    assert ends[-1] == 5
    poller.close()


def test_what_is_watched_for(pairs: list[tuple[Watched, socket.socket]]) -> None:
    """A socket is told of what it is watched for, and of nothing once it is forgotten."""
    poller = Poller(Loop(), lambda: None)
    watched, there = pairs[0]
    there.send(b"x")
    poller.watch(watched, 0)
    poller.doRead()
    assert watched.events == []
    poller.watch(watched, READABLE)
    poller.doRead()
    assert watched.events == [READABLE]
    poller.forget(watched.fileno())
    poller.forget(watched.fileno())
    there.send(b"x")
    poller.doRead()
    assert (len(watched.events), len(poller)) == (1, 0)
    poller.watch(watched, READABLE | WRITABLE)
    poller.doRead()
    assert watched.events[1] == READABLE | WRITABLE
    poller.close()


def test_closed_by_the_reactor() -> None:
    """A poller that the reactor gives up is its reader no more."""
    loop = Loop()
    poller = Poller(loop, lambda: None)
    assert loop.readers == [poller]
    poller.close()
    assert loop.readers == []
