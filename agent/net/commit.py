"""From the journal to the sessions: when their records are on the disk, they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from agent.net.poller import READABLE, Poller, Reactor
from agent.store.journal import Journal
from schemas.records import Record

LINGER = 0.005
"""Seconds that records nobody waits for may stay in memory: what they tell is not lost with the agent for longer."""


class Waiting(Protocol):
    """A session, as far as the disk is concerned."""

    def durable(self, count: int) -> None: ...


class Commit:
    """Group commit: what a batch of sockets had appended is flushed once, and whoever waits for it is told once.

    `failed` is called, once, when the journal can't be written any more.
    """

    def __init__(self, reactor: Reactor, poller: Poller, journal: Journal, failed: Callable[[str], None]) -> None:
        self.journal = journal
        self._reactor = reactor
        self._failed = failed
        self._failure_told = False
        self._waiting: dict[Waiting, int] = {}
        self._batches: deque[tuple[int, dict[Waiting, int]]] = deque()
        self._lingering = False
        self._poller = poller
        poller.watch(self, READABLE)

    def append(self, record: Record) -> None:
        """Adds a record that nobody waits for. Raises JournalFailed."""
        self.journal.append(record)

    def append_and_tell(self, record: Record, session: Waiting, count: int) -> None:
        """Adds a record; `session` is told `durable(count)` when it is on the disk. Raises JournalFailed."""
        self.journal.append(record)
        self._waiting[session] = count

    def batch_done(self) -> None:
        """The sockets that were ready have been served."""
        journal = self.journal
        if self._waiting:
            self._batches.append((journal.appended, self._waiting))
            self._waiting = {}
            journal.flush()
        elif journal.pending and not self._lingering:
            self._lingering = True
            self._reactor.callLater(LINGER, self._flush_lingering)

    def fileno(self) -> int:
        return self.journal.fileno()

    def ready(self, events: int) -> None:
        """The journal has news."""
        durable = self.journal.collect()
        batches = self._batches
        while batches and batches[0][0] <= durable:
            for session, count in batches.popleft()[1].items():
                session.durable(count)
        if self.journal.failure is not None and not self._failure_told:
            self._failure_told = True
            self._failed(self.journal.failure)

    def settle(self) -> None:
        """Returns when everything appended is on the disk or the journal has failed."""
        self.journal.wait()
        self.ready(READABLE)

    def close(self) -> None:
        self._poller.forget(self.journal.fileno())

    def _flush_lingering(self) -> None:
        self._lingering = False
        if self.journal.failure is None:
            self.journal.flush(sync=False)
