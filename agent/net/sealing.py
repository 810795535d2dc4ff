"""When the journal is sealed into Parquet, and the process that does it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.internet.utils import getProcessOutputAndValue
from twisted.logger import Logger
from twisted.python.failure import Failure

import agent
from agent.net.commit import Commit
from agent.net.poller import Reactor
from agent.store.journal import JournalFailed
from schemas.configuration import Audit

_LOOK = 0.5
"""Seconds between looks at age and size."""

_log = Logger()
Report = Mapping[str, object]


class SealFailed(Exception):
    """The sealing process failed; nothing is lost, the journal still holds it all."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = "the records are safe in the journal; `hoopctl audit seal` tries again"


class Sealing:
    """Seals what is old enough or large enough, one process at a time."""

    def __init__(self, reactor: Reactor, commit: Callable[[], Commit], audit: Audit) -> None:
        self.failures = 0
        self._reactor = reactor
        self._commit = commit
        self._audit = audit
        self._sealed_at = reactor.seconds()
        self._sealed_leaf = commit().journal.next_leaf
        self._sealed_bytes = 0
        self._running: Deferred[Report] | None = None
        self._timer = LoopingCall(self._look)
        self._timer.clock = reactor
        self._timer.start(_LOOK, now=False)

    def stop(self) -> None:
        if self._timer.running:
            self._timer.stop()

    def seal(self) -> Deferred[Report]:
        """Seals everything recorded so far; fires with the report. Errbacks with SealFailed, JournalFailed."""
        done: Deferred[Report] = Deferred()
        if self._running is not None:
            self._running.addBoth(lambda _: self.seal().chainDeferred(done))
            return done
        self._running = Deferred()
        self._begin().addBoth(self._ended, done)
        return done

    def _look(self) -> None:
        journal = self._commit().journal
        if self._running is not None or journal.failure is not None or journal.next_leaf == self._sealed_leaf:
            return
        old = self._reactor.seconds() - self._sealed_at >= self._audit.seal.every
        if old or journal.bytes - self._sealed_bytes >= self._audit.seal.size:
            self.seal().addErrback(lambda failure: _log.error("sealing: {error}", error=failure.getErrorMessage()))

    def _begin(self) -> Deferred[Report]:
        try:
            journal = self._commit().journal
            before_leaf = journal.rotate()
            self._sealed_at = self._reactor.seconds()
            self._sealed_leaf = journal.next_leaf
            self._sealed_bytes = journal.bytes
            return self._closed(before_leaf).addCallback(lambda _: self._run(journal.directory, before_leaf))
        except JournalFailed as failure:
            return fail(failure)

    def _closed(self, before_leaf: int) -> Deferred[None]:
        """Fires when the journal's thread has closed the segments in question."""
        journal = self._commit().journal
        if journal.closed_before >= before_leaf or journal.failure is not None:
            return succeed(None)
        later: Deferred[None] = Deferred()
        self._reactor.callLater(0.01, later.callback, None)
        return later.addCallback(lambda _: self._closed(before_leaf))

    def _run(self, journal: Path, before_leaf: int) -> Deferred[Report]:
        arguments = ["-P", "-m", "agent.store.seal", "--journal", str(journal), "--audit", self._audit.path]
        arguments += ["--before-leaf", str(before_leaf)]
        environment = dict(os.environ)
        home = str(Path(agent.__path__[0]).parent)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [home, environment.get("PYTHONPATH")]))
        ran: Deferred[tuple[bytes, bytes, int]]
        ran = getProcessOutputAndValue(sys.executable, arguments, environment, reactor=self._reactor)
        return ran.addCallback(_report)

    def _ended(self, result: Report | Failure, done: Deferred[Report]) -> None:
        running, self._running = self._running, None
        if isinstance(result, Failure):
            self.failures += 1
        done.callback(result)  # a Failure goes down the errback side
        if running is not None:
            running.callback({})


def _report(ran: tuple[bytes, bytes, int]) -> Report:
    out, err, code = ran
    if code != 0:
        lines = err.decode("utf-8", "replace").strip().splitlines()
        raise SealFailed(f"sealing failed with status {code}: {lines[-1] if lines else 'no word'}")
    report: dict[str, object] = msgspec.json.decode(out)
    return report
