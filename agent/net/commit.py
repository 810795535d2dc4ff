"""From the journal to the sessions: when their records are on the disk, they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from agent.net.poller import READABLE, Poller
from agent.store.journal import Journal
from schemas.records import Record

LATER = 0.2
"""Seconds until what nobody waits for is brought to the disk as well."""


class Waiting(Protocol):
    """A session, as far as the disk is concerned."""

    def durable(self, count: int) -> None: ...


class Commit:
    """Group commit: what a batch of sockets had appended is flushed once, and whoever waits for it is told once.

    `failed` is called, once, when the journal can't be written any more. Without `strict` (`audit.durability: group`)
    nobody waits: everything is on the disk a moment later.
    """

    def __init__(self, poller: Poller, journal: Journal, failed: Callable[[str], None], strict: bool = True) -> None:
        self.journal = journal
        self._strict = strict
        self._later = False
        self._closed = False
        self._failed = failed
        self._failure_told = False
        self._waiting: dict[Waiting, int] = {}
        self._batches: deque[tuple[int, dict[Waiting, int]]] = deque()
        self._poller = poller
        poller.watch(self, READABLE)

    def append(self, record: Record) -> None:
        """Adds a record that nobody waits for. Raises JournalFailed."""
        self.journal.append(record)

    def append_and_tell(self, record: Record, session: Waiting, count: int) -> None:
        """Adds a record; `session` is told `durable(count)` when it is on the disk. Raises JournalFailed."""
        self.journal.append(record)
        if self._strict:
            self._waiting[session] = count

    def batch_done(self) -> None:
        """The sockets that were ready have been served: what they appended is written, what they send leaves then, and
        what was written is synced if anyone waits. So nothing leaves that the agent's end could make unrecorded."""
        journal, poller = self.journal, self._poller
        journal.write()
        while self._waiting and journal.failure is None:
            poller.send()
            waiting, self._waiting = self._waiting, {}
            self._batches.append((journal.appended, waiting))
            journal.sync(at_once=True)
            self._tell(journal.durable)
            journal.write()
        if journal.failure is not None:
            self._fail(journal.failure)
        poller.send()
        if journal.failure is None and not self._later and journal.durable < journal.appended:
            self._later = True
            self._poller.later(LATER, self._sync_later)

    def fileno(self) -> int:
        return self.journal.fileno()

    def ready(self, events: int) -> None:
        """The journal has news."""
        self._tell(self.journal.collect())
        if self.journal.failure is not None:
            self._fail(self.journal.failure)

    def close(self) -> None:
        self._closed = True
        self._poller.forget(self.journal.fileno())

    def _sync_later(self) -> None:
        self._later = False
        if not self._closed:
            self.journal.sync(at_once=False)

    def _tell(self, durable: int) -> None:
        batches = self._batches
        while batches and batches[0][0] <= durable:
            for session, count in batches.popleft()[1].items():
                session.durable(count)

    def _fail(self, failure: str) -> None:
        if not self._failure_told:
            self._failure_told = True
            self._poller.withhold()  # what follows is known to be recorded, or tells that nothing can be
            self._waiting.clear()
            self._failed(failure)
