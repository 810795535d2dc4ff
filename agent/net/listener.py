"""Accepts clients."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from twisted.logger import Logger

from agent.net.poller import READABLE, Poller, Reactor
from schemas.configuration import Address

BACKLOG = 512
TAKEN_AT_ONCE = 64
PAUSE = 0.5
"""Seconds without accepting after the system ran out of descriptors."""

_log = Logger()


class ListenFailed(Exception):
    """An address can't be listened on."""

    hint = "another program may listen there; `listen` in hoop.yaml names the addresses"


class Listener:
    """One listening TCP socket. `accepted` is called with each client's socket and address."""

    def __init__(
        self, reactor: Reactor, poller: Poller, address: Address, accepted: Callable[[socket.socket, str], None]
    ) -> None:
        self._reactor = reactor
        self._poller = poller
        self._accepted = accepted
        self._socket = _listening(address)
        poller.watch(self, READABLE)

    @property
    def address(self) -> Address:
        """Where it listens, the port as the system picked it."""
        name = self._socket.getsockname()
        return Address(name[0], name[1])

    def fileno(self) -> int:
        return self._socket.fileno()

    def ready(self, events: int) -> None:
        for _ in range(TAKEN_AT_ONCE):
            try:
                client, address = self._socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    _log.error("cannot accept clients: {error}", error=error)
                    self._poller.watch(self, 0)
                    self._reactor.callLater(PAUSE, self._resume)
                    return
                continue  # that client is gone already
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._accepted(client, address[0])

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            self._poller.forget(self._socket.fileno())
            self._socket.close()

    def _resume(self) -> None:
        if self._socket.fileno() >= 0:
            self._poller.watch(self, READABLE)


def _listening(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(where)
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise ListenFailed(f"cannot listen on {address.host}:{address.port} ({error.strerror or error})") from error
    return listening
