"""A CancelRequest to a server, on a connection of its own, encrypted when the session's is.

https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-CANCELING-REQUESTS
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from agent.core.limits import CANCEL_TIMEOUT
from agent.net.dial import Dial
from agent.net.poller import Reactor
from agent.net.stream import Owner, Stream
from agent.net.tls import TlsFailed, for_server
from schemas.configuration import PgResource

_CANCEL = (80_877_102).to_bytes(4, "big")
_SSL_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")


class Dialler(Protocol):
    reactor: Reactor

    def dial(
        self, resource: PgResource, connected: Callable[[socket.socket], None], failed: Callable[[str], None]
    ) -> Dial: ...

    def stream(self, connected: socket.socket, connection: Owner) -> Stream: ...


class Canceller:
    """Connects, asks, and waits for the server to close, which it does when the signal is on its way."""

    def __init__(
        self,
        host: Dialler,
        resource: PgResource,
        process: int,
        key: bytes,
        tls: bool,
        done: Callable[[], None] | None,
    ) -> None:
        self._host = host
        self._resource = resource
        self._request = (12 + len(key)).to_bytes(4, "big") + _CANCEL + process.to_bytes(4, "big") + key
        self._tls = tls
        self._done = done
        self._stream: Stream | None = None
        self._timer = host.reactor.callLater(CANCEL_TIMEOUT, self._finish)
        self._dial: Dial | None = host.dial(resource, self._connected, self._failed)

    def received(self, stream: Stream, data: bytes) -> None:
        if not self._tls or stream.tls is not None or data != b"S":
            self._finish()
            return
        try:
            stream.secure(for_server(self._resource.upstream), False, self._resource.upstream.host, b"")
        except TlsFailed:
            self._finish()

    def secured(self, stream: Stream) -> None:
        stream.send(self._request)

    def ended(self, stream: Stream) -> None:
        stream.abort()
        self.lost(stream, "connection closed")

    def lost(self, stream: Stream, reason: str) -> None:
        self._finish()

    def pressed(self, stream: Stream) -> None:
        pass

    def _connected(self, connected: socket.socket) -> None:
        self._dial = None
        self._stream = self._host.stream(connected, self)
        self._stream.send(_SSL_REQUEST if self._tls else self._request)

    def _failed(self, reason: str) -> None:
        self._dial = None
        self._finish()

    def _finish(self) -> None:
        if self._timer.active():
            self._timer.cancel()
        if self._dial is not None:
            self._dial.cancel()
        if self._stream is not None:
            self._stream.abort()
        done, self._done = self._done, None
        if done is not None:
            done()
