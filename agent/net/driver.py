"""The only interpreter of commands: performs what a session answers, in the order of its list.

"Recorded before forwarded" is that order. Whatever follows an Append that failed is not performed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from twisted.internet.base import DelayedCall
from twisted.logger import Logger

from agent.core.commands import (
    Append,
    Cancel,
    CancelServer,
    Close,
    Command,
    Connect,
    OfferCancel,
    Prove,
    Reading,
    SecureClient,
    SecureServer,
    SendClient,
    SendServer,
)
from agent.core.events import (
    Admitted,
    CancelAsked,
    ClientData,
    ClientEnded,
    ClientGone,
    ClientSecured,
    Durable,
    Event,
    JournalLost,
    ServerConnected,
    ServerData,
    ServerGone,
    ServerSecured,
    ServerUnreachable,
    Stop,
)
from agent.core.limits import CLOSE_TIMEOUT, HIGH_WATER
from agent.core.session import Session
from agent.net.canceller import Canceller
from agent.net.commit import Waiting
from agent.net.dial import Dial
from agent.net.poller import Reactor
from agent.net.stream import Owner, Stream
from agent.net.tls import TlsFailed, end_point, for_server
from agent.store.journal import JournalFailed
from schemas.configuration import PgResource
from schemas.records import OperationStarted, Record, SessionStarted

_log = Logger()


class Recorder(Protocol):
    """Where records go; see agent.net.commit.Commit."""

    def append(self, record: Record) -> None: ...

    def append_and_tell(self, record: Record, session: Waiting, count: int) -> None: ...


class Host(Protocol):
    """What a connection asks of the agent that it runs in."""

    @property
    def commit(self) -> Recorder: ...

    reactor: Reactor

    def now(self) -> int: ...

    def prove(self, connection: Connection, request: Prove) -> None:
        """Answers, now or later, by calling the connection's `admit` or `feed` with Refused."""

    def dial(
        self, resource: PgResource, connected: Callable[[socket.socket], None], failed: Callable[[str], None]
    ) -> Dial: ...

    def stream(self, connected: socket.socket, connection: Owner) -> Stream: ...

    def secure_client(self, stream: Stream, received: bytes) -> None: ...

    def let_in(self, connection: Connection) -> None: ...

    def offer_cancel(self, key: bytes, connection: Connection) -> None: ...

    def find_cancel(self, key: bytes) -> Connection | None: ...

    def closed(self, connection: Connection) -> None: ...


class Connection:
    """One client's connection and what belongs to it."""

    def __init__(self, host: Host, session: Session, address: str) -> None:
        self.host = host
        self.session = session
        self.address = address
        self.admitted: Admitted | None = None
        self.resource: PgResource | None = None
        self.started = host.now()
        self.over = False
        self._client: Stream | None = None
        self._server: Stream | None = None
        self._dial: Dial | None = None
        self._reading = Reading(True, True)
        self._appended = 0
        self._cancelling: Canceller | None = None
        self._server_tls = False
        self.cancel_keys: list[bytes] = []
        self.timer: DelayedCall | None = None
        self._login_timer: DelayedCall | None = None

    def begin(self, client: socket.socket) -> None:
        self._client = self.host.stream(client, self)

    def feed(self, event: Event) -> None:
        """Tells the session, and does what it wants done. A fault of ours ends this session and no other."""
        try:
            commands = self.session.feed(event, self.host.now())
            if commands:
                self._perform(commands)
        except Exception as fault:
            _log.error("a session fails on {event}: {fault!r}", event=type(event).__name__, fault=fault)
            self._abandon(event)

    def _abandon(self, event: Event) -> None:
        """Ends a session that can't be trusted to end itself, telling the client if that still works."""
        if not isinstance(event, Stop) and not self.over:
            self.stop("XX000", "hoopctl: internal error, the session ends", "internal error")
        if not self.over:
            self._close()
        for stream in (self._client, self._server):
            if stream is not None:
                stream.abort()

    def admit(self, admitted: Admitted, resource: PgResource) -> None:
        """The client's credential is good for this resource."""
        self.admitted = admitted
        self.resource = resource
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self.host.let_in(self)
        self.feed(admitted)

    def durable(self, count: int) -> None:
        self.feed(Durable(count))

    def stop(self, code: str, message: str, reason: str) -> None:
        """Ends the session, telling the client why."""
        self.feed(Stop(code, message, reason))

    def journal_lost(self, reason: str) -> None:
        self.feed(JournalLost(reason))

    # Streams tell

    def received(self, stream: Stream, data: bytes) -> None:
        self.feed(ClientData(data) if stream is self._client else ServerData(data))

    def secured(self, stream: Stream) -> None:
        tls = stream.tls
        if stream is self._client:
            self.feed(ClientSecured(None if tls is None else tls.selected_alpn_protocol()))
        else:
            self._server_tls = True
            self.feed(ServerSecured(None if tls is None else end_point(tls)))

    def ended(self, stream: Stream) -> None:
        if stream is self._client:
            self.feed(ClientEnded())
        else:
            stream.abort()
            self.lost(stream, "connection closed")

    def lost(self, stream: Stream, reason: str) -> None:
        if stream is self._client:
            self.feed(ClientGone(f"client gone: {reason}"))
        elif stream is self._server:
            self._server = None
            self.feed(ServerGone(reason))

    def pressed(self, stream: Stream) -> None:
        self._throttle()

    # Commands

    def _perform(self, commands: list[Command]) -> None:
        for at, command in enumerate(commands):
            if isinstance(command, SendClient):
                self._send_client(command.data)
            elif isinstance(command, SendServer):
                self._send_server(command.data)
            elif isinstance(command, Append):
                try:
                    self._append(command)
                except JournalFailed as failure:
                    if not isinstance(commands[-1], Close):
                        self.feed(JournalLost(str(failure)))
                        return
                    self._perform([left for left in commands[at:] if not isinstance(left, Append)])
                    return
            else:
                self._perform_rare(command)

    def _perform_rare(self, command: Command) -> None:
        if isinstance(command, Reading):
            self._reading = command
            self._throttle()
        elif isinstance(command, SecureClient):
            if self._client is not None:
                self.host.secure_client(self._client, command.received)
        elif isinstance(command, SecureServer):
            self._secure_server()
        elif isinstance(command, Prove):
            self.host.prove(self, command)
        elif isinstance(command, Connect):
            self._connect()
        elif isinstance(command, OfferCancel):
            self._logged_in()
            self.host.offer_cancel(command.key, self)
        elif isinstance(command, Cancel):
            self._cancel(command.key)
        elif isinstance(command, CancelServer):
            self.cancel_server(command, None)
        elif isinstance(command, Close):
            self._close()

    def _append(self, command: Append) -> None:
        record = command.record
        self._appended += 1
        if isinstance(record, OperationStarted | SessionStarted):
            self.host.commit.append_and_tell(record, self, self._appended)
        else:
            self.host.commit.append(record)

    def _send_client(self, data: bytes) -> None:
        if self._client is not None:
            self._client.send(data)

    def _send_server(self, data: bytes) -> None:
        if self._server is not None:
            self._server.send(data)

    def _throttle(self) -> None:
        """Reads of each side only as fast as the other side and the session take it."""
        client, server = self._client, self._server
        if client is not None:
            waiting = 0 if server is None else server.waiting
            client.read(self._reading.client and waiting <= HIGH_WATER)
        if server is not None:
            waiting = 0 if client is None else client.waiting
            server.read(self._reading.server and waiting <= HIGH_WATER)

    def _connect(self) -> None:
        if self._server is not None:
            self._server.abort()
            self._server = None
        if self.resource is not None:
            if self._login_timer is None:
                timeout = self.resource.upstream.connect_timeout
                self._login_timer = self.host.reactor.callLater(timeout, self._server_slow)
            self._dial = self.host.dial(self.resource, self._connected, self._unreachable)

    def _connected(self, connected: socket.socket) -> None:
        self._dial = None
        self._server = self.host.stream(connected, self)
        self.feed(ServerConnected())

    def _unreachable(self, reason: str) -> None:
        self._dial = None
        self.feed(ServerUnreachable(reason))

    def _server_slow(self) -> None:
        """connect_timeout bounds the whole login, as libpq's."""
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._server is not None:
            self._server.abort()
            self._server = None
        self.feed(ServerUnreachable("timeout expired"))

    def _logged_in(self) -> None:
        if self._login_timer is not None and self._login_timer.active():
            self._login_timer.cancel()

    def _secure_server(self) -> None:
        if self._server is None or self.resource is None:
            return
        upstream = self.resource.upstream
        try:
            context = for_server(upstream)
        except TlsFailed as failure:
            self._server.abort()
            self._server = None
            self.feed(ServerUnreachable(str(failure)))
            return
        self._server.secure(context, False, upstream.host, b"")

    def _cancel(self, key: bytes) -> None:
        """This connection asks to cancel another: it stays open until that is done, as with PostgreSQL itself."""
        other = self.host.find_cancel(key)
        if other is None:
            return
        for command in other.session.feed(CancelAsked(), self.host.now()):
            if isinstance(command, CancelServer):
                self._cancelling = other.cancel_server(command, self._cancelled)

    def _cancelled(self) -> None:
        self._cancelling = None
        if self.over:
            self._close()

    def cancel_server(self, command: CancelServer, done: Callable[[], None] | None) -> Canceller | None:
        """Asks the server to cancel what this session runs; `done` is called when it has read that."""
        if self.resource is None:
            return None
        return Canceller(self.host, self.resource, command.process, command.key, self._server_tls, done)

    def _close(self) -> None:
        self.over = True
        if self.timer is not None and self.timer.active():
            self.timer.cancel()
        self._logged_in()
        if self._cancelling is not None:
            return
        if self._dial is not None:
            self._dial.cancel()
            self._dial = None
        if self._server is not None:
            self._server.close()
        if self._client is not None:
            self._client.close()
            if not self._client.closed:
                self.host.reactor.callLater(CLOSE_TIMEOUT, self._client.abort)
        self.host.closed(self)
