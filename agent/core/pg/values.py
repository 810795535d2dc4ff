"""PostgreSQL's binary value formats, as the text form that the server itself would send.

The binary formats are those of the types' send functions (src/backend/utils/adt/*.c). Settings that would change a
text form are taken at their usual values: DateStyle ISO, IntervalStyle postgres, bytea_output hex, time zone UTC.
What is of another type, or isn't what its type says, becomes bytea's hex form: `\\x` and the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from agent.core.limits import VALUE_NESTING
from agent.core.pg.numbers import Malformed, float4_text, float8_text, numeric_text
from agent.core.pg.times import clock_text, date_text, interval_text, timestamp_text, zone_text

_SPACE = " \t\n\r\v\f"
_MAX_DIMENSIONS = 6  # MAXDIM of src/include/utils/array.h


def _text(value: bytes) -> str:
    return value.decode("utf-8")


def hex_text(value: bytes) -> str:
    """bytea's text form."""
    return "\\x" + value.hex()


def _int(value: bytes, size: int, signed: bool) -> int:
    if len(value) != size:
        raise Malformed
    return int.from_bytes(value, "big", signed=signed)


def _bool(value: bytes) -> str:
    return "t" if _int(value, 1, False) else "f"


def _int2(value: bytes) -> str:
    return str(_int(value, 2, True))


def _int4(value: bytes) -> str:
    return str(_int(value, 4, True))


def _int8(value: bytes) -> str:
    return str(_int(value, 8, True))


def _oid(value: bytes) -> str:
    return str(_int(value, 4, False))


def _xid8(value: bytes) -> str:
    return str(_int(value, 8, False))


def _pg_lsn(value: bytes) -> str:
    place = _int(value, 8, False)
    return f"{place >> 32:X}/{place & 0xFFFFFFFF:X}"


def _tid(value: bytes) -> str:
    if len(value) != 6:
        raise Malformed
    return f"({int.from_bytes(value[:4], 'big')},{int.from_bytes(value[4:], 'big')})"


def _char(value: bytes) -> str:
    """The one-byte type "char": bytes past 0x7f are shown in octal."""
    byte = _int(value, 1, False)
    return "" if byte == 0 else chr(byte) if byte < 0x80 else f"\\{byte:03o}"


def _date(value: bytes) -> str:
    return date_text(_int(value, 4, True))


def _time(value: bytes) -> str:
    return clock_text(_int(value, 8, True))


def _timetz(value: bytes) -> str:
    return clock_text(_int(value[:8], 8, True)) + zone_text(_int(value[8:], 4, True))


def _timestamp(value: bytes) -> str:
    return timestamp_text(_int(value, 8, True), "")


def _timestamptz(value: bytes) -> str:
    return timestamp_text(_int(value, 8, True), "+00")


def _interval(value: bytes) -> str:
    if len(value) != 16:
        raise Malformed
    microseconds, days, months = struct.unpack("!qii", value)
    return interval_text(microseconds, days, months)


def _uuid(value: bytes) -> str:
    if len(value) != 16:
        raise Malformed
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _versioned(value: bytes) -> str:
    """jsonb and jsonpath: text after a version byte."""
    if value[:1] != b"\x01":
        raise Malformed
    return _text(value[1:])


def _macaddr(value: bytes) -> str:
    if len(value) not in (6, 8):
        raise Malformed
    return value.hex(":")


def _bit(value: bytes) -> str:
    length = _int(value[:4], 4, True)
    if length < 0 or len(value) != 4 + (length + 7) // 8:
        raise Malformed
    return "".join([f"{byte:08b}" for byte in value[4:]])[:length]


def _void(value: bytes) -> str:
    return ""


def _ipv6(address: bytes) -> str:
    """As src/port/inet_net_ntop.c writes it: the first longest run of two zero words or more is `::`, and what
    may be an embedded IPv4 address is shown as one."""
    words = struct.unpack("!8H", address)
    start, length = -1, 1
    for first in range(8):
        end = first
        while end < 8 and words[end] == 0:
            end += 1
        if end - first > length:
            start, length = first, end - first
    dotted = start == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF))
    texts = [f"{word:x}" for word in words[: 6 if dotted else 8]]
    if dotted:
        texts.append(".".join([str(byte) for byte in address[12:]]))
    if start < 0:
        return ":".join(texts)
    return ":".join(texts[:start]) + "::" + ":".join(texts[start + length :])


def _network(value: bytes) -> str:
    """inet and cidr: family, bits, is it a cidr, length, address."""
    if len(value) not in (8, 20) or value[3] != len(value) - 4 or value[0] not in (2, 3):
        raise Malformed
    address, bits = value[4:], value[1]
    text = ".".join([str(byte) for byte in address]) if len(address) == 4 else _ipv6(address)
    return f"{text}/{bits}" if value[2] or bits != 8 * len(address) else text


_SCALARS: dict[int, Callable[[bytes], str]] = {
    16: _bool,
    17: hex_text,
    18: _char,
    19: _text,  # name
    20: _int8,
    21: _int2,
    23: _int4,
    24: _oid,  # regproc
    25: _text,
    26: _oid,
    27: _tid,
    28: _oid,  # xid
    29: _oid,  # cid
    114: _text,  # json
    142: _text,  # xml
    700: float4_text,
    701: float8_text,
    705: _text,  # unknown
    774: _macaddr,  # macaddr8
    829: _macaddr,
    650: _network,  # cidr
    869: _network,  # inet
    1042: _text,  # bpchar
    1043: _text,  # varchar
    1082: _date,
    1083: _time,
    1114: _timestamp,
    1184: _timestamptz,
    1186: _interval,
    1266: _timetz,
    1560: _bit,
    1562: _bit,  # varbit
    1700: numeric_text,
    1790: _text,  # refcursor
    2275: _text,  # cstring
    2278: _void,
    2950: _uuid,
    3220: _pg_lsn,
    3802: _versioned,  # jsonb
    4072: _versioned,  # jsonpath
    5069: _xid8,
}

# The array types of the scalars above, of record and of the ranges; the element's type is in the value itself.
_ARRAYS = (
    frozenset(range(1000, 1017)) - {1004}
    | frozenset(
        (
            143,
            199,
            271,
            651,
            775,
            1021,
            1022,
            1028,
            1040,
            1041,
            1115,
            1182,
            1183,
            1185,
            1187,
            1231,
            1263,
            1270,
            1561,
            1563,
        )
    )
    | {2201, 2287, 2951, 3221, 3807, 3905, 3907, 3909, 3911, 3913, 3927, 4073}
)
_VECTORS = frozenset([22, 30])  # int2vector, oidvector: sent as arrays, written without braces
_RANGES = {3904: 23, 3906: 1700, 3908: 1114, 3910: 1184, 3912: 1082, 3926: 20}
_RECORD = 2249


def _element(value: bytes, at: int) -> tuple[bytes | None, int]:
    """A value with its length before it, and where the next begins."""
    size = _int(value[at : at + 4], 4, True)
    if size < -1 or at + 4 + size > len(value):
        raise Malformed
    return (None, at + 4) if size < 0 else (value[at + 4 : at + 4 + size], at + 4 + size)


def _array(value: bytes, depth: int) -> tuple[list[str | None], list[tuple[int, int]]]:
    """The elements in row-major order, and each dimension's length and lower bound."""
    if len(value) < 12:
        raise Malformed
    count, _, element_oid = struct.unpack_from("!iiI", value)
    if not 0 <= count <= _MAX_DIMENSIONS or len(value) < 12 + 8 * count:
        raise Malformed
    dimensions: list[tuple[int, int]] = []
    total = 1 if count else 0
    for dimension in range(count):
        length, lower = struct.unpack_from("!ii", value, 12 + 8 * dimension)
        dimensions.append((length, lower))
        total *= length
    at = 12 + 8 * count
    if total < 0 or 4 * total > len(value) - at or (count and total == 0):
        raise Malformed
    elements: list[str | None] = []
    for _ in range(total):
        item, at = _element(value, at)
        elements.append(None if item is None else _convert(element_oid, item, depth - 1))
    if at != len(value):
        raise Malformed
    return elements, dimensions


def _array_item(text: str | None) -> str:
    if text is None:
        return "NULL"
    if text and text.upper() != "NULL" and not any(character in '"\\{},' + _SPACE for character in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _array_text(value: bytes, depth: int) -> str:
    elements, dimensions = _array(value, depth)
    if not dimensions:
        return "{}"
    texts = [_array_item(element) for element in elements]
    for length, _ in reversed(dimensions):
        texts = ["{" + ",".join(texts[at : at + length]) + "}" for at in range(0, len(texts), length)]
    if any(lower != 1 for _, lower in dimensions):
        bounds = "".join([f"[{lower}:{lower + length - 1}]" for length, lower in dimensions])
        return bounds + "=" + texts[0]
    return texts[0]


def _vector_text(value: bytes, depth: int) -> str:
    elements, _ = _array(value, depth)
    return " ".join([element or "" for element in elements])


def _field(text: str, special: str) -> str:
    """A field of a record or a bound of a range: quotes and backslashes are doubled."""
    if text and not any(character in special + _SPACE for character in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def _record_text(value: bytes, depth: int) -> str:
    count = _int(value[:4], 4, True)
    at = 4
    texts: list[str] = []
    for _ in range(count):
        oid = _int(value[at : at + 4], 4, False)
        item, at = _element(value, at + 4)
        texts.append("" if item is None else _field(_convert(oid, item, depth - 1), '"\\(),'))
    if at != len(value):
        raise Malformed
    return "(" + ",".join(texts) + ")"


def _range_text(element_oid: int, value: bytes, depth: int) -> str:
    flags = _int(value[:1], 1, False)
    if flags & 0x01:
        return "empty"
    at = 1
    bounds = ["", ""]
    for which, infinite in ((0, 0x08), (1, 0x10)):
        if not flags & infinite:
            item, at = _element(value, at)
            if item is None:
                raise Malformed
            bounds[which] = _field(_convert(element_oid, item, depth - 1), '"\\()[],')
    if at != len(value):
        raise Malformed
    return ("[" if flags & 0x02 else "(") + ",".join(bounds) + ("]" if flags & 0x04 else ")")


def _convert(type_oid: int, value: bytes, depth: int) -> str:
    """Raises Malformed or UnicodeDecodeError; arrays and records may be nested `depth` deep."""
    if depth < 0:
        raise Malformed
    scalar = _SCALARS.get(type_oid)
    if scalar is not None:
        return scalar(value)
    if type_oid in _ARRAYS:
        return _array_text(value, depth)
    if type_oid in _VECTORS:
        return _vector_text(value, depth)
    if type_oid in _RANGES:
        return _range_text(_RANGES[type_oid], value, depth)
    if type_oid == _RECORD:
        return _record_text(value, depth)
    return hex_text(value)


def text_of(type_oid: int, value: bytes) -> str:
    """The text form of a value in binary format; `\\x…` when the type isn't known here or the bytes aren't of it.

    Never raises, and takes time and memory linear in the value's size."""
    try:
        return _convert(type_oid, value, VALUE_NESTING)
    except (Malformed, UnicodeDecodeError):
        return hex_text(value)
