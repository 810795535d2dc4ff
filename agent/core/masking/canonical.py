"""A value in one form, however it was sent: what equal values have in common, for hashes and inventions to rest on."""

from __future__ import annotations

import re
import struct
from typing import Final

from agent.core.masking.calendar import (
    DATE_INFINITY,
    TIME_INFINITY,
    clock_microseconds,
    date_days,
    timestamp_microseconds,
)
from agent.core.masking.families import (
    BITS,
    BPCHAR,
    BYTEA,
    DATE,
    FLOAT,
    INTEGER,
    JSON,
    JSONB,
    MAC,
    NETWORK,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    UUID,
    WIDTHS,
    XML,
    family,
)
from agent.core.pg.numbers import Malformed, float4_text, float8_text, numeric_text
from agent.core.pg.values import text_of

_NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_INTEGER: Final = re.compile(r"-?[0-9]{1,19}")
_OCTAL: Final = re.compile(rb"\\(\\|[0-3][0-7]{2})")


def canonical(type_oid: int, value: bytes, binary: bool) -> bytes | None:
    """The value in the form that all equal values of its type share: texts and JSON as they are, bytea its bytes,
    numbers in their shortest text, dates and times as a count since 2000-01-01, UUIDs and hardware addresses as
    hexadecimal digits. None for what isn't of the type, is infinite or NaN, is in a DateStyle other than ISO, or has
    no such form."""
    try:
        kind = family(type_oid)
        if kind in (TEXT, XML):
            return value.rstrip(b" ") if type_oid == BPCHAR else value
        if kind == JSON:
            return _json(type_oid, value, binary)
        if kind == BYTEA:
            return value if binary else bytea_bytes(value)
        text = _number(kind, type_oid, value, binary)
        if text is None:
            text = _time(kind, value, binary)
        if text is None:
            text = _other(kind, type_oid, value, binary)
        return None if text is None else text.encode("ascii")
    except (Malformed, ValueError, OverflowError, struct.error):
        return None


def _json(type_oid: int, value: bytes, binary: bool) -> bytes | None:
    if binary and type_oid == JSONB:
        return value[1:] if value[:1] == b"\x01" else None
    return value


def bytea_bytes(value: bytes) -> bytes | None:
    """The bytes that a bytea's text form, hex or escape, stands for."""
    if value[:2] == b"\\x":
        return bytes.fromhex(value[2:].decode("ascii"))
    return _OCTAL.sub(_octal, value)


def _octal(found: re.Match[bytes]) -> bytes:
    return b"\\" if found[1] == b"\\" else bytes([int(found[1], 8)])


def _number(kind: int, type_oid: int, value: bytes, binary: bool) -> str | None:
    if kind == INTEGER:
        if binary:
            return str(int.from_bytes(value, "big", signed=True)) if len(value) == WIDTHS[type_oid] else None
        text = value.decode("ascii")
        return str(int(text)) if _INTEGER.fullmatch(text) else None
    if kind == NUMERIC:
        text = numeric_text(value) if binary else value.decode("ascii")
        if not _NUMBER.fullmatch(text):
            return None
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    if kind == FLOAT:
        width = WIDTHS[type_oid]
        packed = value if binary else struct.pack("!f" if width == 4 else "!d", float(value))
        text = float4_text(packed) if width == 4 else float8_text(packed)
        return None if text.endswith(("y", "N")) else "0" if text == "-0" else text
    return None


def _time(kind: int, value: bytes, binary: bool) -> str | None:
    if kind == DATE:
        days = _count(value, 4) if binary else date_days(value.decode("ascii"))
        return None if days is None or days in DATE_INFINITY else str(days)
    if kind == TIMESTAMP:
        if binary:
            count = _count(value, 8)
        else:
            found = timestamp_microseconds(value.decode("ascii"))
            count = None if found is None else found[0]
        return None if count is None or count in TIME_INFINITY else str(count)
    if kind == TIME:
        clock = _count(value, 8) if binary else clock_microseconds(value.decode("ascii"))
        return None if clock is None else str(clock)
    return None


def _count(value: bytes, width: int) -> int | None:
    return int.from_bytes(value, "big", signed=True) if len(value) == width else None


def _other(kind: int, type_oid: int, value: bytes, binary: bool) -> str | None:
    if kind not in (UUID, MAC, NETWORK, BITS):
        return None
    text = text_of(type_oid, value) if binary else value.decode("ascii")
    if text.startswith("\\x"):
        return None
    if kind == UUID:
        text = text.replace("-", "").lower()
        return text if len(text) == 32 and len(bytes.fromhex(text)) == 16 else None
    if kind == MAC:
        text = text.replace(":", "").lower()
        return text if len(bytes.fromhex(text)) == WIDTHS[type_oid] else None
    if kind == BITS:
        return text if not text.strip("01") else None
    return text
