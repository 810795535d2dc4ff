"""A resource is asked something over a connection of the agent's own: a login, then what a machine of the core says."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from agent.core.events import Login
from agent.core.pg import login as server
from agent.core.pg.messages import HEAD, ProtocolError
from agent.net.check import Dialler
from agent.net.control import ControlError
from agent.net.dial import Dial
from agent.net.stream import Stream
from agent.net.tls import TlsFailed, end_point, for_server
from schemas.configuration import PgResource

_TERMINATE = b"X\0\0\0\x04"
_UNREACHED = "hoopctl resources check says what is wrong"

_log = Logger()

Answer = TypeVar("Answer")


class Machine(Protocol):
    """What is said, and what is made of the answers."""

    def parameter(self, name: str, value: str) -> None:
        """A setting that the server reports."""

    def begin(self) -> bytes:
        """What to say first."""

    def received(self, data: bytes) -> bytes:
        """Bytes of the server; what to say next. Raises ProtocolError."""


class Asker(Generic[Answer]):
    """One login and one conversation. `report` fires with what `answer` has then, or a ControlError when there is
    nothing within `timeout` seconds. `name` is what the server and the log are told."""

    def __init__(
        self,
        host: Dialler,
        resource: PgResource,
        login: Login,
        machine: Machine,
        answer: Callable[[], Answer | None],
        name: str,
        timeout: float,
    ) -> None:
        self.report: Deferred[Answer] = Deferred()
        self._host = host
        self._resource = resource
        parameters = (("application_name", f"hoopctl {name}"), ("client_encoding", "UTF8"))
        self._login: server.ServerLogin | None = server.ServerLogin(login, parameters)
        self._machine = machine
        self._answer = answer
        self._name = name
        self._timeout = timeout
        self._stream: Stream | None = None
        self._done = False
        self._timer = host.reactor.callLater(timeout, self._late)
        self._dial: Dial | None = host.dial(resource, self._connected, self._failed)

    def received(self, stream: Stream, data: bytes) -> None:
        """Bytes of the server."""
        if self._login is not None:
            self._perform(self._login.received(data))
        elif not self._done:
            self._ask(data)

    def secured(self, stream: Stream) -> None:
        """TLS is established."""
        if self._login is not None:
            self._perform(self._login.secured(None if stream.tls is None else end_point(stream.tls)))

    def ended(self, stream: Stream) -> None:
        """The server sends no more."""
        stream.abort()
        self.lost(stream, "connection closed")

    def lost(self, stream: Stream, reason: str) -> None:
        """The connection broke."""
        if stream is self._stream:
            self._stream = None
            if self._login is not None:
                self._perform(self._login.gone(reason))
            else:
                self._failed(reason)

    def pressed(self, stream: Stream) -> None:
        """What is asked is small, and the server answers it before more is."""

    def _connected(self, connected: socket.socket) -> None:
        self._dial = None
        self._stream = self._host.stream(connected, self)
        if self._login is not None:
            self._perform(self._login.connected())

    def _perform(self, steps: list[server.Step]) -> None:
        for step in steps:
            if self._done:
                return
            if isinstance(step, server.Say) and self._stream is not None:
                self._stream.send(step.data)
            elif isinstance(step, server.Secure):
                self._secure()
            elif isinstance(step, server.Again):
                if self._stream is not None:
                    self._stream.abort()
                self._dial = self._host.dial(self._resource, self._connected, self._failed)
            elif isinstance(step, server.Tell):
                self._told(step.data)
            elif isinstance(step, server.Failed):
                self._failed(step.message, step.hint)
            elif isinstance(step, server.Ready):
                self._begin(step.rest)

    def _secure(self) -> None:
        if self._stream is None:
            return
        upstream = self._resource.upstream
        try:
            self._stream.secure(for_server(upstream), False, upstream.host, b"")
        except TlsFailed as failure:
            self._failed(str(failure))

    def _told(self, message: bytes) -> None:
        words = message[HEAD:].split(b"\0")
        if message[:1] == b"S" and len(words) >= 2:
            self._machine.parameter(words[0].decode("latin-1"), words[1].decode("latin-1"))

    def _begin(self, rest: bytes) -> None:
        self._login = None
        if self._stream is not None:
            self._stream.send(self._machine.begin())
        if rest:
            self._ask(rest)

    def _ask(self, data: bytes) -> None:
        try:
            asks = self._machine.received(data)
        except ProtocolError as error:
            self._failed(f"the server broke the protocol ({error})")
            return
        except Exception:
            _log.failure("{name}", name=self._name)
            self._failed("the agent failed to read what the server told", "the agent's log says more")
            return
        if asks and self._stream is not None:
            self._stream.send(asks)
        found = self._answer()
        if found is not None:
            if self._stream is not None:
                self._stream.send(_TERMINATE)
            self._finish()
            self.report.callback(found)

    def _late(self) -> None:
        self._failed(f"the server did not answer (expected within {self._timeout:g} s)")

    def _failed(self, reason: str, hint: str | None = None) -> None:
        if not self._done:
            self._finish()
            message = f"pg/{self._resource.name} can't be asked: {reason}"
            self.report.errback(ControlError(502, message, hint or _UNREACHED))

    def _finish(self) -> None:
        self._done = True
        if self._timer.active():
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
        if self._stream is not None:
            self._stream.close()
