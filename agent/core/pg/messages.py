"""Messages of PostgreSQL's protocol 3: their tags, their framing, and the few that the agent makes itself.

https://www.postgresql.org/docs/current/protocol-message-formats.html
A message is a tag byte, a length u32 that counts itself but not the tag, and a body.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

# Tags, both directions; https://www.postgresql.org/docs/current/protocol-message-formats.html
AUTHENTICATION: Final = 0x52  # R
BACKEND_KEY_DATA: Final = 0x4B  # K
BIND: Final = 0x42  # B
BIND_COMPLETE: Final = 0x32  # 2
CLOSE: Final = 0x43  # C
CLOSE_COMPLETE: Final = 0x33  # 3
COMMAND_COMPLETE: Final = 0x43  # C
COPY_DATA: Final = 0x64  # d
COPY_DONE: Final = 0x63  # c
COPY_FAIL: Final = 0x66  # f
COPY_IN: Final = 0x47  # G
COPY_OUT: Final = 0x48  # H
DATA_ROW: Final = 0x44  # D
DESCRIBE: Final = 0x44  # D
EMPTY_QUERY: Final = 0x49  # I
ERROR: Final = 0x45  # E
EXECUTE: Final = 0x45  # E
FLUSH: Final = 0x48  # H
FUNCTION_CALL: Final = 0x46  # F
FUNCTION_RESULT: Final = 0x56  # V
NEGOTIATE_VERSION: Final = 0x76  # v
NO_DATA: Final = 0x6E  # n
NOTICE: Final = 0x4E  # N
NOTIFICATION: Final = 0x41  # A
PARAMETER_DESCRIPTION: Final = 0x74  # t
PARAMETER_STATUS: Final = 0x53  # S
PARSE: Final = 0x50  # P
PARSE_COMPLETE: Final = 0x31  # 1
PASSWORD: Final = 0x70  # p
PORTAL_SUSPENDED: Final = 0x73  # s
QUERY: Final = 0x51  # Q
READY: Final = 0x5A  # Z
ROW_DESCRIPTION: Final = 0x54  # T
SYNC: Final = 0x53  # S
TERMINATE: Final = 0x58  # X

# What a ReadyForQuery says of the transaction
IDLE: Final = 0x49  # I
FAILED: Final = 0x45  # E

HEAD: Final = 5
"""Bytes before a message's body: tag and length."""


class ProtocolError(Exception):
    """The peer broke the protocol; `code` is the SQLSTATE that PostgreSQL itself would answer."""

    def __init__(self, message: str, code: str = "08P01") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def u32(data: bytes, at: i64) -> i64:
    """The four bytes from `at` as an unsigned number."""
    return (
        (i64(data[at]) << i64(24)) | (i64(data[at + 1]) << i64(16)) | (i64(data[at + 2]) << i64(8)) | i64(data[at + 3])
    )


def u16(data: bytes, at: i64) -> i64:
    """The two bytes from `at` as an unsigned number."""
    return (i64(data[at]) << i64(8)) | i64(data[at + 1])


def message(tag: int, body: bytes) -> bytes:
    """One message."""
    return bytes((tag,)) + (len(body) + 4).to_bytes(4, "big") + body


def text(value: str) -> bytes:
    """A protocol String. PostgreSQL has no NUL in text: what follows one is cut off rather than misread."""
    return value.split("\0", 1)[0].encode("utf-8", "replace") + b"\0"


def string_end(data: bytes, at: i64) -> i64:
    """Where the String that begins at `at` has its NUL. Raises ProtocolError when it has none."""
    end = data.find(b"\0", at)
    if end < 0:
        raise ProtocolError("invalid string in message (no terminating NUL byte)")
    return end


class Inbox:
    """Bytes that arrived and were not consumed yet: joined only when a whole message is there, so that a message
    that comes in a thousand pieces is not copied a thousand times."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size: i64 = 0
        self._needed: i64 = 0

    def __len__(self) -> int:
        return self._size

    def add(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def ready(self) -> bool:
        """Whether looking at it again is of use."""
        return self._size > 0 and self._size >= self._needed

    def take(self) -> bytes:
        """All of it, in one piece."""
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._needed = 0
        return data

    def put_back(self, data: bytes, needed: i64) -> None:
        """What could not be consumed, and how many bytes it takes to go on."""
        if data:
            self._parts.insert(0, data)
            self._size += len(data)
        self._needed = needed
