"""policy.yaml while the agent runs: read at the start, and again whenever it changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from agent.core.policy.rulebook import Rules
from agent.net.poller import Reactor
from agent.store.policy import PolicyError, load

LOOK = 1.0
"""Seconds between looks at whether the file has changed."""

_log = Logger()

Note = Callable[[str, str | None, str | None, Mapping[str, object]], None]
_Stamp = tuple[int, int, int]


class PolicyFile:
    """The policy in force. `changed` is called when another one is."""

    def __init__(self, reactor: Reactor, path: Path | None, note: Note, changed: Callable[[], None]) -> None:
        """Raises PolicyError when the file can't be used."""
        self._path = path
        self._note = note
        self._changed = changed
        self._seen = self._stamp()
        self.rules = None if path is None else Rules(load(path))
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def start(self) -> None:
        """Says what is in force, and begins to look after the file."""
        if self.rules is not None:
            self._note("policy loaded", None, None, self._details(self.rules))
            self._looking.start(LOOK, now=False)

    def stop(self) -> None:
        if self._looking.running:
            self._looking.stop()

    def reload(self) -> None:
        """Takes the file as it is now. A bad one is refused, and the old policy stays."""
        if self._path is None:
            return
        self._seen = self._stamp()
        try:
            fresh = Rules(load(self._path))
        except PolicyError as error:
            _log.error("policy not loaded, the old one stays: {error}", error=error.message)
            self._note("policy refused", None, None, {"file": str(self._path), "error": error.message})
            return
        if self.rules is None or fresh.policy.version != self.rules.policy.version:
            self.rules = fresh
            self._note("policy loaded", None, None, self._details(fresh))
            self._changed()

    def _look(self) -> None:
        if self._stamp() != self._seen:
            self.reload()

    def _stamp(self) -> _Stamp | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _details(self, rules: Rules) -> Mapping[str, object]:
        policy = rules.policy
        return {"file": str(self._path), "version": policy.version, "rules": [rule.name for rule in policy.rules]}
