"""Whether a resource is reached, by really logging in to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred

from agent.core.events import Login
from agent.core.limits import LOGIN_TIMEOUT
from agent.core.pg import login as server
from agent.core.pg.messages import HEAD
from agent.net.dial import Dial
from agent.net.poller import Reactor
from agent.net.stream import Owner, Stream
from agent.net.tls import TlsFailed, end_point, for_server
from schemas.configuration import PgResource


class Dialler(Protocol):
    reactor: Reactor

    def dial(
        self, resource: PgResource, connected: Callable[[socket.socket], None], failed: Callable[[str], None]
    ) -> Dial: ...

    def stream(self, connected: socket.socket, connection: Owner) -> Stream: ...


class Check:
    """One login, ended as soon as it is there. `report` fires with what is shown: `reached`, `tls`,
    `server_version`, `error`, `hint`."""

    def __init__(self, host: Dialler, resource: PgResource, login: Login) -> None:
        self.report: Deferred[Mapping[str, object]] = Deferred()
        self._host = host
        self._resource = resource
        self._login = server.ServerLogin(login, (("application_name", "hoopctl resources check"),))
        self._parameters: dict[str, str] = {}
        self._stream: Stream | None = None
        self._done = False
        self._timer = host.reactor.callLater(LOGIN_TIMEOUT, self._failed, "timeout expired while logging in", None)
        self._dial: Dial | None = host.dial(resource, self._connected, self._undialled)

    def received(self, stream: Stream, data: bytes) -> None:
        self._perform(self._login.received(data))

    def secured(self, stream: Stream) -> None:
        self._perform(self._login.secured(None if stream.tls is None else end_point(stream.tls)))

    def ended(self, stream: Stream) -> None:
        stream.abort()
        self.lost(stream, "connection closed")

    def lost(self, stream: Stream, reason: str) -> None:
        if stream is self._stream:
            self._stream = None
            self._perform(self._login.gone(reason))

    def pressed(self, stream: Stream) -> None:
        pass

    def _connected(self, connected: socket.socket) -> None:
        self._dial = None
        self._stream = self._host.stream(connected, self)
        self._perform(self._login.connected())

    def _undialled(self, reason: str) -> None:
        self._dial = None
        self._failed(reason, None)

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
                self._dial = self._host.dial(self._resource, self._connected, self._undialled)
            elif isinstance(step, server.Tell):
                self._told(step.data)
            elif isinstance(step, server.Failed):
                self._failed(step.message, step.hint)
            elif isinstance(step, server.Ready):
                self._reached()

    def _secure(self) -> None:
        if self._stream is None:
            return
        upstream = self._resource.upstream
        try:
            self._stream.secure(for_server(upstream), False, upstream.host, b"")
        except TlsFailed as failure:
            self._failed(str(failure), None)

    def _told(self, message: bytes) -> None:
        words = message[HEAD:].split(b"\0")
        if message[:1] == b"S" and len(words) >= 2:
            self._parameters[words[0].decode("latin-1")] = words[1].decode("utf-8", "replace")

    def _reached(self) -> None:
        tls = None if self._stream is None or self._stream.tls is None else self._stream.tls.version()
        if self._stream is not None:
            self._stream.send(b"X\0\0\0\x04")
        self._finish({"reached": True, "tls": tls, "server_version": self._parameters.get("server_version")})

    def _failed(self, error: str, hint: str | None) -> None:
        self._finish({"reached": False, "error": error, "hint": hint})

    def _finish(self, found: Mapping[str, object]) -> None:
        if self._done:
            return
        self._done = True
        if self._timer.active():
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
        if self._stream is not None:
            self._stream.close()
        upstream = self._resource.upstream
        self.report.callback(
            {
                "resource": f"pg/{self._resource.name}",
                "upstream": f"{upstream.host}:{upstream.port}",
                "user": upstream.user,
                "sslmode": upstream.sslmode,
                "tls": None,
                "server_version": None,
                "error": None,
                "hint": None,
                **found,
            }
        )
