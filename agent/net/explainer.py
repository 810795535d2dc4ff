"""What statements would do, asked of a resource over a connection of the agent's own."""

from __future__ import annotations

import socket

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from agent.core.events import Login
from agent.core.limits import EXPLAIN_TIMEOUT
from agent.core.pg import login as server
from agent.core.pg.interrogation import Interrogation
from agent.core.pg.messages import HEAD, ProtocolError
from agent.core.sql.explanation import Explanation
from agent.net.check import Dialler
from agent.net.control import ControlError
from agent.net.dial import Dial
from agent.net.stream import Stream
from agent.net.tls import TlsFailed, end_point, for_server
from schemas.configuration import PgResource

_PARAMETERS = (("application_name", "hoopctl policy explain"), ("client_encoding", "UTF8"))
_TERMINATE = b"X\0\0\0\x04"
_UNREACHED = "hoopctl resources check says what is wrong"

_log = Logger()


class Explainer:
    """One login and one interrogation. `report` fires with an Explanation, or a ControlError when there is none."""

    def __init__(self, host: Dialler, resource: PgResource, login: Login, interrogation: Interrogation) -> None:
        self.report: Deferred[Explanation] = Deferred()
        self._host = host
        self._resource = resource
        self._login: server.ServerLogin | None = server.ServerLogin(login, _PARAMETERS)
        self._interrogation = interrogation
        self._stream: Stream | None = None
        self._done = False
        self._timer = host.reactor.callLater(EXPLAIN_TIMEOUT, self._late)
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
            self._interrogation.parameter(words[0].decode("latin-1"), words[1].decode("latin-1"))

    def _begin(self, rest: bytes) -> None:
        self._login = None
        if self._stream is not None:
            self._stream.send(self._interrogation.begin())
        if rest:
            self._ask(rest)

    def _ask(self, data: bytes) -> None:
        try:
            asks = self._interrogation.received(data)
        except ProtocolError as error:
            self._failed(f"the server broke the protocol ({error})")
            return
        except Exception:
            _log.failure("policy explain")
            self._failed("the agent failed to read what the server told of the statement", "the agent's log says more")
            return
        if asks and self._stream is not None:
            self._stream.send(asks)
        found = self._interrogation.explanation
        if found is not None:
            if self._stream is not None:
                self._stream.send(_TERMINATE)
            self._finish()
            self.report.callback(found)

    def _late(self) -> None:
        self._failed(f"the server did not answer (expected within {EXPLAIN_TIMEOUT:g} s)")

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
