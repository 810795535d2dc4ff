"""One connected socket, with TLS or without: bytes in, bytes out, neither of them waiting."""

from __future__ import annotations

import ssl
from collections import deque
from socket import SHUT_WR, socket
from typing import Protocol

from agent.core.limits import HIGH_WATER, READ_SIZE
from agent.net.poller import BROKEN, READABLE, WRITABLE, Poller

_TLS_READ = 64 * 1024
_buffer = bytearray(READ_SIZE)
_view = memoryview(_buffer)


class Owner(Protocol):
    """Who is told what happens on a stream. None of its methods raises."""

    def received(self, stream: Stream, data: bytes) -> None: ...

    def secured(self, stream: Stream) -> None:
        """The TLS handshake is done."""

    def ended(self, stream: Stream) -> None:
        """The peer will send no more, but may still read."""

    def lost(self, stream: Stream, reason: str) -> None:
        """The connection broke, or TLS failed. The stream is closed by now."""

    def pressed(self, stream: Stream) -> None:
        """`waiting` has come above HIGH_WATER, or back to zero."""


class Stream:
    """A socket of the data path. Reads when told to; what it is to send leaves at the end of the poller's batch, when
    what was recorded in it is written, and it keeps what the kernel doesn't take."""

    def __init__(self, poller: Poller, connected: socket, owner: Owner) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._poller = poller
        self._owner = owner
        self._fresh: list[bytes] = []
        self._asked = False
        self._queue: deque[bytes] = deque()
        self._reading = True
        self._closing = False
        self._ended = False
        self._secured = False
        self._tls: ssl.SSLObject | None = None
        self._incoming = self._outgoing = _NO_BIO
        self.waiting = 0
        """Bytes that the kernel has not taken yet."""
        self.closed = False
        self._watch()

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def tls(self) -> ssl.SSLObject | None:
        return self._tls

    def secure(self, context: ssl.SSLContext, server_side: bool, server_name: str | None, received: bytes) -> None:
        """Begins TLS; `received` is what the peer sent of it already. The owner is told `secured` or `lost`."""
        if self._fresh:  # the word that TLS may begin, in the open
            self._send(b"".join(self._fresh))
            self._fresh.clear()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._secured = False
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)
        except (ssl.SSLError, ValueError) as error:
            self._lose(f"TLS: {error}")
            return
        if received:
            self._incoming.write(received)
        self._handshake()

    def send(self, data: bytes) -> None:
        """Sends this at the end of the batch, as far as the kernel takes it then, the rest when it can."""
        if self.closed or self._closing:
            return
        self._fresh.append(data)
        self._poller.unsent += len(data)
        if not self._asked:
            self._asked = True
            self._poller.send_later(self)

    def send_now(self) -> None:
        self._asked = False
        if self._fresh and not self.closed:
            data = self._fresh[0] if len(self._fresh) == 1 else b"".join(self._fresh)
            self._fresh.clear()
            if self._tls is not None:
                try:
                    self._tls.write(data)
                except ssl.SSLError as error:
                    self._lose(_tls_reason(error))
                    return
                data = self._outgoing.read()
            self._send(data)
            if self.waiting > HIGH_WATER and not self._closing:
                self._owner.pressed(self)
        if self._closing:
            self._finish()

    def withhold(self) -> None:
        self._asked = False
        self._fresh.clear()
        if self._closing:
            self._finish()

    def read(self, on: bool) -> None:
        """Goes on or stops reading."""
        if on != self._reading:
            self._reading = on
            self._watch()

    def close(self) -> None:
        """Closes when what was sent has left; nothing is read any more."""
        if self.closed or self._closing:
            return
        self._closing = True
        self._reading = False
        if self._fresh:
            self._watch()
        else:
            self._finish()

    def abort(self) -> None:
        """Closes now."""
        self._close()

    def ready(self, events: int) -> None:
        if events & WRITABLE:
            self._flush()
        if events & ~WRITABLE and not self.closed:
            if self._reading and not self._ended:
                self._receive()
            elif events & ~(READABLE | WRITABLE):
                self._lose("connection reset")

    def _receive(self) -> None:
        try:
            size = self._socket.recv_into(_view)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose((error.strerror or str(error)).lower())
            return
        if size == 0:
            self._end()
            return
        data = bytes(_view[:size])
        if self._tls is None:
            self._owner.received(self, data)
        else:
            self._incoming.write(data)
            if self._secured:
                self._decrypt()
            else:
                self._handshake()

    def _finish(self) -> None:
        """Everything that was to be sent is on its way: the rest of closing."""
        if self.closed:
            return
        if self._tls is not None and self._secured:
            try:
                self._tls.unwrap()
            except (ssl.SSLError, ValueError):
                pass  # the peer's own close_notify is not waited for
            self._send(self._outgoing.read())
        if self.waiting:
            self._watch()
        else:
            self._close()

    def _handshake(self) -> None:
        if self._tls is None:
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send(self._outgoing.read())
            return
        except ssl.SSLError as error:
            self._send(self._outgoing.read())
            self._lose(_tls_reason(error))
            return
        self._send(self._outgoing.read())
        self._secured = True
        self._owner.secured(self)
        if not self.closed:
            self._decrypt()

    def _decrypt(self) -> None:
        if self._tls is None:
            return
        pieces: list[bytes] = []
        failure: str | None = None
        ended = False
        try:
            while piece := self._tls.read(_TLS_READ):
                pieces.append(piece)
            ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            failure = _tls_reason(error)
        if self._outgoing.pending:
            self._send(self._outgoing.read())
        if pieces:
            self._owner.received(self, pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if failure is not None and not self.closed:
            self._lose(failure)
        elif ended:
            self._end()

    def _end(self) -> None:
        if self.closed or self._ended:
            return
        if self._tls is not None and not self._secured:
            self._lose("connection closed")
            return
        self._ended = True
        self._watch()
        self._owner.ended(self)

    def _send(self, data: bytes) -> None:
        if not data or self.closed:
            return
        if not self.waiting:
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # reading tells, and by then everything that arrived before has been read
            if sent == len(data):
                return
            data = data[sent:]
        self._queue.append(data)
        self.waiting += len(data)
        self._watch()

    def _flush(self) -> None:
        while self._queue:
            data = self._queue[0]
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose((error.strerror or str(error)).lower())
                return
            self.waiting -= sent
            if sent < len(data):
                self._queue[0] = data[sent:]
                return
            self._queue.popleft()
        if self._closing:
            if not self._fresh:
                self._close()
            return
        self._watch()
        self._owner.pressed(self)

    def _watch(self) -> None:
        if not self.closed:
            reading = self._reading and not self._ended
            self._poller.watch(self, BROKEN | READABLE * reading | WRITABLE * (self.waiting > 0))

    def _lose(self, reason: str) -> None:
        if not self.closed:
            told = not self._closing
            self._close()
            if told:
                self._owner.lost(self, reason)

    def _close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._fresh.clear()
        self._queue.clear()
        self.waiting = 0
        self._poller.forget(self._socket.fileno())
        try:
            self._socket.shutdown(SHUT_WR)
        except OSError:
            pass  # it is gone already
        self._socket.close()


_NO_BIO = ssl.MemoryBIO()


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError):
        return "connection closed"
    return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
