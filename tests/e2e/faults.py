"""A PostgreSQL server that misbehaves on purpose."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType

from tests.e2e.wire import Message

Script = Callable[[socket.socket], None]

OK = Message("R", struct.pack("!I", 0)).raw
KEY = Message("K", struct.pack("!II", 4711, 815)).raw
READY = Message("Z", b"I").raw
WELCOME = (
    OK + Message("S", b"server_version\x0018.0\0").raw + Message("S", b"client_encoding\0UTF8\0").raw + KEY + READY
)
ROW_DESCRIPTION = Message("T", struct.pack("!H", 1) + b"a\0" + struct.pack("!IHIhih", 0, 0, 25, -1, -1, 0)).raw
ROW = Message("D", struct.pack("!Hi", 1, 100) + b"x" * 100).raw


class Misbehaving:
    """Listens on 127.0.0.1; every connection that gets past its startup message is handed to `script`, which ends
    it by returning. `greet` answers the startup and waits for the first message before that."""

    def __init__(self, script: Script, greet: bool = True) -> None:
        self._script = script
        self._greet = greet
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sessions = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Misbehaving:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            each.close()
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(20)
            while True:
                (length,) = struct.unpack("!I", exactly(connection, 4))
                body = exactly(connection, length - 4)
                code = struct.unpack("!I", body[:4])[0]
                if code in (80877103, 80877104):
                    connection.sendall(b"N")
                    continue
                break
            if code == 80877102:
                return
            self.sessions += 1
            if self._greet:
                connection.sendall(WELCOME)
                connection.recv(65536)
            self._script(connection)


def exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def dropped_mid_answer(connection: socket.socket) -> None:
    connection.sendall(ROW_DESCRIPTION + ROW * 3 + ROW[:20])


def reset_mid_answer(connection: socket.socket) -> None:
    connection.sendall(ROW_DESCRIPTION + ROW * 3)
    time.sleep(0.1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n" + b"\xff" * 100)
    connection.recv(1)


def absurd_length(connection: socket.socket) -> None:
    connection.sendall(b"D\xff\xff\xff\xff" + b"x" * 1000)
    connection.recv(1)


def unknown_message(connection: socket.socket) -> None:
    connection.sendall(ROW_DESCRIPTION + Message("!", b"what").raw + READY)
    connection.recv(1)


def silence(connection: socket.socket) -> None:
    connection.recv(1)


def slow(connection: socket.socket) -> None:
    """The answer a byte at a time."""
    for byte in ROW_DESCRIPTION + ROW * 2 + Message("C", b"SELECT 2\0").raw + READY:
        connection.sendall(bytes([byte]))
        time.sleep(0.001)
    connection.recv(1)


def busy_with_too_many(connection: socket.socket) -> None:
    fields = b"SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0"
    connection.sendall(Message("E", fields).raw)
