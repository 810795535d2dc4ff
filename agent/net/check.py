"""Whether a resource is reached, by really logging in to it, and what its server lets the agent see."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred

from agent.core.events import Login
from agent.core.limits import LOGIN_TIMEOUT
from agent.core.pg import login as server
from agent.core.pg.messages import HEAD, ProtocolError
from agent.core.pg.sounding import Depth, Sounding
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


_TERMINATE = b"X\0\0\0\x04"


class Check:
    """One login, and a few questions. `report` fires with what is shown: `reached`, `tls`, `server_version`, `trace`
    (whether the trees that rules need are to be had), `log` (whether the server's log stays free of them), `pooler`,
    `error`, `hint`."""

    def __init__(self, host: Dialler, resource: PgResource, login: Login) -> None:
        self.report: Deferred[Mapping[str, object]] = Deferred()
        self._host = host
        self._resource = resource
        self._login = server.ServerLogin(login, (("application_name", "hoopctl resources check"),))
        self._parameters: dict[str, str] = {}
        self._stream: Stream | None = None
        self._done = False
        self._sounding: Sounding | None = None
        self._timer = host.reactor.callLater(LOGIN_TIMEOUT, self._failed, "timeout expired while logging in", None)
        self._dial: Dial | None = host.dial(resource, self._connected, self._undialled)

    def received(self, stream: Stream, data: bytes) -> None:
        if self._sounding is not None:
            self._sound(data)
        else:
            self._perform(self._login.received(data))

    def secured(self, stream: Stream) -> None:
        self._perform(self._login.secured(None if stream.tls is None else end_point(stream.tls)))

    def ended(self, stream: Stream) -> None:
        stream.abort()
        self.lost(stream, "connection closed")

    def lost(self, stream: Stream, reason: str) -> None:
        if stream is self._stream:
            self._stream = None
            if self._sounding is not None:
                self._reached(Depth(False, reason))
                return
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
                self._sounding = Sounding(step.process)
                if self._stream is not None:
                    self._stream.send(self._sounding.begin())
                if step.rest:
                    self._sound(step.rest)

    def _sound(self, data: bytes) -> None:
        sounding = self._sounding
        if sounding is None or self._done:
            return
        try:
            asks = sounding.received(data)
        except (ProtocolError, IndexError) as error:
            self._reached(Depth(False, f"the server broke the protocol ({error})"))
            return
        if asks and self._stream is not None:
            self._stream.send(asks)
        if sounding.depth is not None:
            self._reached(sounding.depth)

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

    def _reached(self, depth: Depth) -> None:
        tls = None if self._stream is None or self._stream.tls is None else self._stream.tls.version()
        if self._stream is not None:
            self._stream.send(_TERMINATE)
        self._finish(
            {
                "reached": True,
                "tls": tls,
                "server_version": self._parameters.get("server_version"),
                "trace": "yes" if depth.trace else f"no: {depth.why}",
                "log": "clean" if depth.quiet or not depth.trace else "gets every tree",
                "pooler": depth.pooler,
                "hint": _advice(depth),
            }
        )

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
                "trace": None,
                "log": None,
                "pooler": None,
                "error": None,
                "hint": None,
                **found,
            }
        )


def _advice(depth: Depth) -> str | None:
    """What would mend it."""
    if not depth.trace and depth.pooler:
        return "rules need the server's notices, and a pooler stands in between: let the agent connect to PostgreSQL"
    if not depth.trace:
        return "rules need debug_print_rewritten and client_min_messages; without them all is UNKNOWN to them"
    if depth.grant:
        return f"each statement's tree goes into the server's log; as a superuser: {depth.grant}"
    return None
