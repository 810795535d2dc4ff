"""Many sockets behind one reader of the reactor.

Twisted's reactor spends more on dispatching an event than a statement's bytes cost to move. An epoll set is itself
readable when one of its sockets is, so the data path has a set of its own, registered with the reactor as one reader:
any number of ready sockets costs one dispatch, and where nothing more is ready the journal is flushed for them all.
docs/decisions/0003 has the figures. Where there is no epoll, `selectors` does the same with kqueue.
"""

from __future__ import annotations

import select
import selectors
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.python.failure import Failure

# mypy can't read zope's interfaces
Reactor = Any

READABLE = 1  # EPOLLIN
WRITABLE = 4  # EPOLLOUT
BROKEN = 8  # EPOLLERR: told of in any case, but a socket that waits for nothing else has to be watched for something

BATCH = 256
ROUNDS = 16
"""Batches taken in a row, as long as more is ready, before the journal is flushed."""

PATIENCE = 0.001
"""Seconds to wait for the next socket before the reactor gets its turn; epoll can't wait for less."""

STAY = 0.01
"""Seconds that the reactor, with its timers and the control API, waits at most while sockets keep being ready."""

MAX_UNSENT = 1 << 20
"""Bytes that wait for the end of a batch; more of them end it."""


class Pollable(Protocol):
    def fileno(self) -> int: ...

    def ready(self, events: int) -> None:
        """Never raises. `events` has READABLE, WRITABLE, or whatever else an error sets."""


class Sender(Protocol):
    def send_now(self) -> None:
        """Sends what waited for the end of the batch. Never raises."""

    def withhold(self) -> None:
        """Drops it instead."""


class _Selectors:
    """The interface of select.epoll, as far as it is used here, over the platform's best selector."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        fileno: int = self._selector.fileno()
        return fileno

    def register(self, fd: int, events: int) -> None:
        if wanted := _to_selectors(events):  # a selector can't watch for nothing but an error
            self._selector.register(fd, wanted)

    def modify(self, fd: int, events: int) -> None:
        self.unregister(fd)
        self.register(fd, events)

    def unregister(self, fd: int) -> None:
        with suppress(KeyError):
            self._selector.unregister(fd)

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        ready = self._selector.select(timeout)[:limit]
        return [
            (key.fd, READABLE * bool(events & selectors.EVENT_READ) | WRITABLE * bool(events & selectors.EVENT_WRITE))
            for key, events in ready
        ]

    def close(self) -> None:
        self._selector.close()


def _to_selectors(events: int) -> int:
    return selectors.EVENT_READ * bool(events & READABLE) | selectors.EVENT_WRITE * bool(events & WRITABLE)


class Poller:
    """A reader of the reactor (IReadDescriptor). `after_batch` is called when the sockets that were ready have been
    served, and soon after anything is to be sent outside of a batch; it is to call `send` or `withhold`."""

    def __init__(self, reactor: Reactor, after_batch: Callable[[], None]) -> None:
        self._set = select.epoll() if hasattr(select, "epoll") else _Selectors()
        self._sockets: dict[int, Pollable] = {}
        self._events: dict[int, int] = {}
        self._after_batch = after_batch
        self._reactor = reactor
        self._senders: list[Sender] = []
        self.unsent = 0
        """Bytes that wait for the end of the batch."""
        self._serving = False
        self._called_later = False
        reactor.addReader(self)

    def watch(self, socket: Pollable, events: int) -> None:
        """Calls the socket's `ready` on these events from now on; none: forget it."""
        fd = socket.fileno()
        before = self._events.get(fd, 0)
        if events == before:
            return
        if not events:
            self.forget(fd)
        elif before:
            self._set.modify(fd, events)
            self._events[fd] = events
        else:
            self._sockets[fd] = socket
            self._events[fd] = events
            self._set.register(fd, events)

    def forget(self, fd: int) -> None:
        """To be called before a socket is closed."""
        if self._events.pop(fd, 0):
            del self._sockets[fd]
            self._set.unregister(fd)

    def send_later(self, sender: Sender) -> None:
        """Has the sender's `send_now` called at the end of the batch. It adds the bytes that it is about to send to
        `unsent`."""
        self._senders.append(sender)
        if not self._serving and not self._called_later:
            self._called_later = True
            self._reactor.callLater(0, self._batch_of_none)

    def send(self) -> None:
        """Has everything sent that waits for the end of the batch."""
        while self._senders:
            senders, self._senders = self._senders, []
            self.unsent = 0
            for sender in senders:
                sender.send_now()

    def withhold(self) -> None:
        """Has everything dropped that waits for the end of the batch."""
        senders, self._senders = self._senders, []
        self.unsent = 0
        for sender in senders:
            sender.withhold()

    def _batch_of_none(self) -> None:
        self._called_later = False
        self._after_batch()

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Has the reactor call this in so many seconds."""
        self._reactor.callLater(seconds, what)

    def __len__(self) -> int:
        return len(self._sockets)

    def fileno(self) -> int:
        return self._set.fileno()

    def logPrefix(self) -> str:
        return "data"

    def doRead(self) -> None:
        """Serves what is ready; and while sockets keep becoming ready, stays, since the way through the reactor costs
        more than a statement."""
        leave = time.monotonic() + STAY
        rounds = 0
        wait = 0.0
        while True:
            events = self._set.poll(wait, BATCH)
            if events:
                self._serve(events)
                rounds += 1
                wait = 0.0
                if rounds % ROUNDS and self.unsent < MAX_UNSENT:
                    continue
            elif wait:
                return
            self._after_batch()
            if time.monotonic() > leave:
                return
            wait = PATIENCE

    def _serve(self, events: list[tuple[int, int]]) -> None:
        sockets = self._sockets
        self._serving = True
        for fd, what in events:
            socket = sockets.get(fd)
            if socket is not None:
                socket.ready(what)
        self._serving = False

    def connectionLost(self, reason: Failure) -> None:
        self.close()

    def close(self) -> None:
        self._reactor.removeReader(self)
        self._set.close()
