"""A session as the driver sees it, whatever its protocol."""

from __future__ import annotations

from mypy_extensions import mypyc_attr

from agent.core.commands import Command
from agent.core.events import Event


@mypyc_attr(allow_interpreted_subclasses=True)
class Session:
    """Fed with what happens, answers with what to do.

    `feed` never waits and never fails: what a peer gets wrong becomes commands. Times are microseconds since
    1970-01-01T00:00:00Z and never run backwards within a session.
    """

    def feed(self, event: Event, now: int) -> list[Command]:
        raise AssertionError("every protocol has its own")

    @property
    def busy(self) -> bool:
        """Whether something runs that a stop should wait for."""
        raise AssertionError("every protocol has its own")
