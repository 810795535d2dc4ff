"""A tiny PostgreSQL client that hides nothing: what is sent and received are bytes and messages.

https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.endpoint import Endpoint

TIMEOUT = 15.0
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)
VERSION_3_0 = 3 << 16


@dataclass(frozen=True)
class Message:
    """One backend message; `raw` is all of it."""

    type: str
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.type.encode("latin-1") + struct.pack("!I", len(self.body) + 4) + self.body

    @property
    def fields(self) -> dict[str, str]:
        """The fields of an ErrorResponse or NoticeResponse."""
        return {part[:1].decode(): part[1:].decode() for part in self.body.split(b"\0") if part}

    def __repr__(self) -> str:
        if self.type in "EN" and len(self.body) > 1:
            return f"{self.type}{self.fields}"
        cut = self.body if len(self.body) <= 200 else self.body[:200] + b"..."
        return f"{self.type}{cut!r}"


def message(kind: str, body: bytes = b"") -> bytes:
    """A frontend message."""
    return kind.encode("latin-1") + struct.pack("!I", len(body) + 4) + body


def startup(parameters: dict[str, str], version: int = VERSION_3_0) -> bytes:
    words = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items())
    return struct.pack("!II", len(words) + 9, version) + words + b"\0"


def query(text: str) -> bytes:
    return message("Q", text.encode() + b"\0")


def parse(text: str, name: str = "", types: tuple[int, ...] = ()) -> bytes:
    body = f"{name}\0{text}\0".encode() + struct.pack(f"!H{len(types)}I", len(types), *types)
    return message("P", body)


def bind(
    *values: bytes | None,
    portal: str = "",
    name: str = "",
    formats: tuple[int, ...] = (),
    results: tuple[int, ...] = (),
) -> bytes:
    body = f"{portal}\0{name}\0".encode() + struct.pack(f"!H{len(formats)}H", len(formats), *formats)
    body += struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("B", body + struct.pack(f"!H{len(results)}H", len(results), *results))


def describe(kind: str = "P", name: str = "") -> bytes:
    return message("D", kind.encode() + name.encode() + b"\0")


def execute(portal: str = "", rows: int = 0) -> bytes:
    return message("E", portal.encode() + b"\0" + struct.pack("!I", rows))


def close(kind: str = "S", name: str = "") -> bytes:
    return message("C", kind.encode() + name.encode() + b"\0")


SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")
COPY_DONE = message("c")


def copy_data(data: bytes) -> bytes:
    return message("d", data)


def copy_fail(reason: str) -> bytes:
    return message("f", reason.encode() + b"\0")


class Wire:
    """One connection. `received` is every byte that came after AuthenticationOk."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket: socket.socket | ssl.SSLSocket = socket.create_connection((host, port), timeout=TIMEOUT)
        self.received = bytearray()
        self.key = b""
        self._buffer = bytearray()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exception: object) -> None:
        self.socket.close()

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes. Raises EOFError when the other side has closed."""
        while len(self._buffer) < count:
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError(f"closed by the other side ({len(self._buffer)} bytes left: {bytes(self._buffer)!r})")
            self._buffer += data
        result = bytes(self._buffer[:count])
        del self._buffer[:count]
        return result

    def receive(self) -> Message:
        head = self.exactly(5)
        found = Message(head[:1].decode("latin-1"), self.exactly(struct.unpack("!I", head[1:])[0] - 4))
        if found.type != "R":
            self.received += found.raw
        if found.type == "K":
            self.key = found.body
        return found

    def until(self, *types: str) -> list[Message]:
        """The messages up to and with the first of one of `types` (ReadyForQuery if none is given)."""
        result: list[Message] = []
        while not result or result[-1].type not in (types or ("Z",)):
            result.append(self.receive())
        return result

    def rest(self) -> list[Message]:
        """The messages until the other side closes; a reset counts as the end."""
        result = []
        while True:
            try:
                result.append(self.receive())
            except (EOFError, ConnectionResetError):
                return result

    def everything(self) -> bytes:
        """All bytes until the other side closes; a reset counts as the end."""
        data = bytes(self._buffer)
        while True:
            try:
                more = self.socket.recv(1 << 16)
            except ConnectionResetError:
                more = b""
            if not more:
                return data
            data += more

    def closed(self) -> bool:
        """Whether the other side closes without another byte."""
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def secure(self, root: Path, direct: bool = False) -> Wire:
        """TLS, asked for or at once (PostgreSQL 17's direct negotiation, ALPN `postgresql`)."""
        if not direct:
            self.send(SSL_REQUEST)
            answer = self.exactly(1)
            if answer != b"S":
                raise ConnectionError(f"SSLRequest was answered {answer!r}")
        context = ssl.create_default_context(cafile=str(root))
        context.set_alpn_protocols(["postgresql"])
        self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        return self

    def login(self, endpoint: Endpoint, version: int = VERSION_3_0, /, **parameters: str) -> list[Message]:
        """Starts up, answers a cleartext password request, and returns everything up to ReadyForQuery or an error."""
        words = {"user": endpoint.user, "database": endpoint.database} | parameters
        self.send(startup(words, version))
        result = self.until("R", "E")
        if result[-1].type == "R" and result[-1].body == struct.pack("!I", 3):
            self.send(message("p", endpoint.password.encode() + b"\0"))
            result += self.until("R", "E")
        return result if result[-1].type == "E" else result + self.until("Z", "E")


def connect(endpoint: Endpoint, **parameters: str) -> Wire:
    """A connection that is logged in."""
    wire = Wire(endpoint.port)
    messages = wire.login(endpoint, **parameters)
    if messages[-1].type != "Z":
        raise ConnectionError(f"not let in: {messages[-1]}")
    return wire


def cancel(port: int, key: bytes) -> None:
    """Sends a CancelRequest with `key` (the body of a BackendKeyData), and waits for the server to close."""
    with Wire(port) as wire:
        wire.send(struct.pack("!II", 8 + len(key), 80877102), key)
        wire.closed()


def messages(data: bytes) -> list[Message]:
    """The backend messages that `data` is. Raises ValueError when it ends in the middle of one."""
    result, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("!I", data, at + 1) if at + 5 <= len(data) else (0,)
        if length < 4 or at + 1 + length > len(data):
            raise ValueError(f"not a whole message: {data[at:]!r}")
        result.append(Message(data[at : at + 1].decode("latin-1"), data[at + 5 : at + 1 + length]))
        at += 1 + length
    return result


def plain(stream: list[Message]) -> list[Message]:
    """`stream` as comparable between two connections: without key data, process ids and the place in a source file
    of the server."""
    result = []
    for each in stream:
        if each.type == "K":
            result.append(Message("K", b"\0" * 4))
        elif each.type == "A":
            result.append(Message("A", each.body[4:]))
        else:
            result.append(each)
    return result
