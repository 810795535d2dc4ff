"""Connections to servers: every address of a name in turn, each with its share of patience."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from agent.net.poller import WRITABLE, Poller, Reactor
from schemas.configuration import PgUpstream

_Address = tuple[int, Any]


class Dial:
    """One attempt to connect. Ends by calling `connected` with a socket or `failed` with a reason; `cancel` ends it
    with neither."""

    def __init__(
        self,
        reactor: Reactor,
        threads: ThreadPool,
        poller: Poller,
        upstream: PgUpstream,
        connected: Callable[[socket.socket], None],
        failed: Callable[[str], None],
    ) -> None:
        self._reactor = reactor
        self._poller = poller
        self._upstream = upstream
        self._connected = connected
        self._failed = failed
        self._addresses: list[_Address] = []
        self._socket: socket.socket | None = None
        self._timer: DelayedCall | None = None
        self._reason = "no address"
        self._done = False
        if upstream.host.startswith("/"):
            self._addresses = [(socket.AF_UNIX, f"{upstream.host}/.s.PGSQL.{upstream.port}")]
            self._timer = reactor.callLater(0, self._next)
        else:
            resolved = deferToThreadPool(reactor, threads, _resolve, upstream.host, upstream.port)
            resolved.addCallbacks(self._resolved, self._unresolved)

    def cancel(self) -> None:
        self._done = True
        self._drop()

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def ready(self, events: int) -> None:
        """The connection is there or has failed."""
        connected = self._socket
        if connected is None:
            return
        error = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._refused(os.strerror(error))
            return
        self._socket = None
        self._poller.forget(connected.fileno())
        self._drop()
        self._done = True
        if connected.family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._connected(connected)

    def _resolved(self, addresses: list[_Address]) -> None:
        self._addresses = addresses
        self._next()

    def _unresolved(self, failure: Failure) -> None:
        if not self._done:
            self._done = True
            self._failed(f'could not translate host name "{self._upstream.host}" to address: {_said(failure.value)}')

    def _next(self) -> None:
        self._timer = None
        if self._done:
            return
        if not self._addresses:
            self._done = True
            self._failed(self._reason)
            return
        family, address = self._addresses.pop(0)
        try:
            self._socket = attempt = socket.socket(family, socket.SOCK_STREAM)
            attempt.setblocking(False)
            error = attempt.connect_ex(address)
        except OSError as failure:  # no descriptor left, no such address family, a path that is too long
            self._refused(_said(failure))
            return
        self._timer = self._reactor.callLater(self._upstream.connect_timeout, self._refused, "timeout expired")
        if error in (0, errno.EINPROGRESS):
            self._poller.watch(self, WRITABLE)
        else:
            self._refused(os.strerror(error))

    def _refused(self, reason: str) -> None:
        where = self._upstream.host
        self._reason = f'connection to server at "{where}", port {self._upstream.port} failed: {reason}'
        self._drop()
        self._next()

    def _drop(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self._socket is not None:
            self._poller.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None


def _resolve(host: str, port: int) -> list[_Address]:
    return [(family, address) for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _said(error: BaseException | None) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
