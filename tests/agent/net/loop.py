"""A reactor that goes only when told: a clock, the readers that were added, and threads that run at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from agent.net.poller import Poller


class Loop(Clock):
    """What the data path asks of Twisted's reactor."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        function(*arguments)

    def getThreadPool(self) -> Threads:
        return Threads()


class Threads:
    """A thread pool whose work is done at once."""

    def callInThreadWithCallback(
        self, done: Callable[[bool, Any], object], function: Callable[..., Any], *arguments: Any, **named: Any
    ) -> None:
        try:
            result = function(*arguments, **named)
        except Exception:
            from twisted.python.failure import Failure

            done(False, Failure())
        else:
            done(True, result)


def turn(poller: Poller, until: Callable[[], object]) -> None:
    """Serves the poller's sockets until something holds; fails after five seconds."""
    end = time.monotonic() + 5
    while not until():
        assert time.monotonic() < end, "it never came"
        poller.doRead()
        time.sleep(0.001)
