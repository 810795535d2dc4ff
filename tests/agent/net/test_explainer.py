"""How statements are explained over a connection: what ends it, and what is told then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from agent.core.events import Login
from agent.core.limits import EXPLAIN_TIMEOUT
from agent.core.pg.interrogation import Interrogation
from agent.net.check import Dialler
from agent.net.control import ControlError
from agent.net.explainer import Explainer
from agent.net.stream import Stream
from schemas.configuration import PgResource, PgUpstream
from schemas.explanation import Explanation
from tests.agent.core.pg.dialogue import OK, error, msg, ready
from tests.agent.core.pg.test_interrogation import LEARN


class Wire:
    """A stream that keeps what was sent."""

    tls = None

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.closed = True

    abort = close


class Host:
    """Dials when told to; `wires` are the streams that were made."""

    def __init__(self) -> None:
        self.reactor = Clock()
        self.wires: list[Wire] = []
        self.cancelled = False
        self.connected: Callable[[Any], None] = lambda _: None
        self.failed: Callable[[str], None] = lambda _: None

    def dial(self, resource: PgResource, connected: Callable[[Any], None], failed: Callable[[str], None]) -> Host:
        self.connected, self.failed = connected, failed
        return self

    def cancel(self) -> None:
        self.cancelled = True

    def stream(self, connected: object, owner: object) -> Wire:
        self.wires.append(Wire())
        return self.wires[-1]


class Asked:
    """An explanation under way, and what came of it."""

    def __init__(self, sslmode: str = "disable") -> None:
        self.host = Host()
        resource = PgResource("prod", PgUpstream("h", 5432, "app", "db", sslmode))
        login = Login("app", "db", "pw", sslmode, "prefer", False, False, "nonce")
        self.explainer = Explainer(cast(Dialler, self.host), resource, login, Interrogation(" -- nothing"))
        self.found: list[Explanation] = []
        self.refused: list[ControlError] = []
        self.explainer.report.addCallbacks(self.found.append, self._refused)

    def _refused(self, failure: Failure) -> None:
        assert isinstance(failure.value, ControlError)
        self.refused.append(failure.value)

    @property
    def wire(self) -> Wire:
        return self.host.wires[-1]

    def hears(self, data: bytes) -> None:
        self.explainer.received(cast(Stream, self.wire), data)

    def logged_in(self) -> Asked:
        self.host.connected(None)
        self.hears(OK + msg("S", b"client_encoding\0UTF8\0") + msg("K", bytes(8)) + ready())
        return self


def test_explained() -> None:
    """It logs in, asks, tells what was found, says goodbye and leaves nothing waiting."""
    asked = Asked().logged_in()
    assert b"hoopctl policy explain" in asked.wire.sent[0]
    asked.hears(LEARN[1])
    assert [found.role for found in asked.found] == ["app"]
    assert asked.wire.sent[-1] == b"X\0\0\0\x04"
    assert asked.wire.closed
    assert asked.host.reactor.getDelayedCalls() == []


def test_answers_behind_the_login() -> None:
    """What the server sends in one piece with the end of the login is read."""
    asked = Asked()
    asked.host.connected(None)
    asked.hears(OK + ready() + LEARN[1])
    assert asked.found


@pytest.mark.parametrize("data", [ready(), b"HTTP/1.1 400 Bad Request\r\n\r\n", msg("D", b"\0\1")])
def test_broken_protocol(data: bytes) -> None:
    """A server that breaks the protocol is told of, once."""
    asked = Asked().logged_in()
    asked.hears(data)
    asked.hears(data)
    assert [(each.status, "broke the protocol" in each.message) for each in asked.refused] == [(502, True)]
    assert asked.wire.closed


def test_lost() -> None:
    """A connection that breaks, while logging in or later, is told of with what to do."""
    for asked in (Asked(), Asked().logged_in()):
        if not asked.host.wires:
            asked.host.connected(None)
        asked.explainer.ended(cast(Stream, asked.wire))
        (refused,) = asked.refused
        assert refused.message == "pg/prod can't be asked: connection closed"
        assert refused.hint == "hoopctl resources check says what is wrong"
        assert asked.host.reactor.getDelayedCalls() == []


def test_not_reached() -> None:
    """Nobody at the other end, or a login that is refused: the reason is told."""
    asked = Asked()
    asked.host.failed("connection refused")
    assert "connection refused" in asked.refused[0].message
    asked = Asked()
    asked.host.connected(None)
    asked.hears(error("28P01", "no", "FATAL"))
    assert asked.refused[0].message == "pg/prod can't be asked: no"


def test_too_late() -> None:
    """A server that doesn't answer is waited for no longer than the limit; what comes later is nobody's."""
    for asked in (Asked(), Asked().logged_in()):
        asked.host.reactor.advance(EXPLAIN_TIMEOUT)
        assert "did not answer" in asked.refused[0].message
        assert asked.host.cancelled or asked.wire.closed
        if asked.host.wires:
            asked.hears(LEARN[1])
        assert (len(asked.refused), asked.found) == (1, [])
