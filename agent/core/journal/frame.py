"""Frames of a journal segment.

    segment = header frame* [zeros]
    header  = "hoopjrnl" | version u16 | 6 zero bytes | first leaf u64 | 8 zero bytes           (32 bytes, big endian)
    frame   = length u32 | checksum 8 bytes | body

The checksum is the beginning of the body's leaf hash, SHA-256(0x00 | body) as RFC 9162 section 2.1.1 defines it, so one
hash serves recovery and the hash tree. The live segment is preallocated with zeros: a length of 0 ends it.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import ClassVar, Final

from agent.core.limits import MAX_RECORD

HEADER: Final = 32
FRAME: Final = 12
VERSION: Final = 1
_MAGIC: Final = b"hoopjrnl"
_LEAF: Final = sha256(b"\x00")
"""Begun once and copied: a third faster than a hash made anew for every record."""
_HEADER = Struct("!8sH6xQ8x")
_LENGTH = Struct("!I")


class JournalDamage(Exception):
    """The journal's bytes are not what was written. `offset` is where, in the segment."""

    hint: ClassVar[str] = "restore the file from a copy; if there is none, keep it for inquiry outside of the journal"

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


def leaf_hash(body: bytes) -> bytes:
    """The 32 bytes that stand for a record in the hash tree (RFC 9162 section 2.1.1)."""
    digest = _LEAF.copy()
    digest.update(body)
    return digest.digest()


def header(first_leaf: int) -> bytes:
    """The 32 bytes that begin a segment whose first record is leaf `first_leaf`."""
    return _HEADER.pack(_MAGIC, VERSION, first_leaf)


def first_leaf(head: bytes) -> int:
    """The number of a segment's first leaf. Raises JournalDamage when `head` does not begin a segment."""
    if len(head) < HEADER:
        raise JournalDamage(f"segment header cut short (got {len(head)} bytes, expected {HEADER})")
    magic, version, leaf = _HEADER.unpack_from(head)
    if magic != _MAGIC:
        raise JournalDamage(f"not a journal segment (got {bytes(head[:8])!r}, expected {_MAGIC!r})")
    if version != VERSION:
        raise JournalDamage(f"journal segment of an unknown version (got {version}, expected {VERSION})", 8)
    return int(leaf)


def frame(body: bytes) -> bytes:
    """One record, framed."""
    return _LENGTH.pack(len(body)) + leaf_hash(body)[:8] + body


def frames(data: bytes, start: int = HEADER) -> tuple[list[bytes], int, bool]:
    """The whole records of `data` from offset `start`.

    Returns their bodies, the offset behind the last of them, and whether what follows is a torn record rather than
    the end (zeros or nothing).
    """
    bodies: list[bytes] = []
    at = start
    end = len(data)
    while at + 4 <= end:
        length = int.from_bytes(data[at : at + 4], "big")
        if length == 0:
            return bodies, at, _written(data, at)
        stop = at + FRAME + length
        if length > MAX_RECORD or stop > end:
            return bodies, at, True
        body = data[at + FRAME : stop]
        if leaf_hash(body)[:8] != data[at + 4 : at + FRAME]:
            return bodies, at, True
        bodies.append(body)
        at = stop
    return bodies, at, _written(data, at)


def _written(data: bytes, at: int) -> bool:
    """Whether anything but preallocated zeros follows `at`: writes reach the disk in any order, so the length of a torn
    record may be missing while its body is there."""
    return data.count(0, at) != len(data) - at
