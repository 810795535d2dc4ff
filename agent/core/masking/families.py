"""What is known of PostgreSQL's built-in types: what family each is of, and a value of it that tells nothing.

OIDs are those of src/include/catalog/pg_type.dat, which never change. Binary forms are what the types' receive
functions (src/backend/utils/adt/*.c) accept. Types that aren't here, such as enums, composites and extensions', have no
value that is known to be valid but NULL.
"""

from __future__ import annotations

from typing import Final

OTHER: Final = 0
TEXT: Final = 1
INTEGER: Final = 2
NUMERIC: Final = 3
FLOAT: Final = 4
DATE: Final = 5
TIMESTAMP: Final = 6
TIME: Final = 7
UUID: Final = 8
BYTEA: Final = 9
JSON: Final = 10
XML: Final = 11
NETWORK: Final = 12
MAC: Final = 13
BITS: Final = 14
ARRAY: Final = 15

BPCHAR: Final = 1042
BYTEA_OID: Final = 17
JSONB: Final = 3802
CIDR: Final = 650
BIT: Final = 1560
VARBIT: Final = 1562
MONEY: Final = 790
TIMESTAMPTZ: Final = 1184

FAMILIES: Final[dict[int, int]] = {
    16: OTHER,  # bool
    17: BYTEA,
    18: TEXT,  # "char"
    19: TEXT,  # name
    20: INTEGER,
    21: INTEGER,
    23: INTEGER,
    25: TEXT,
    114: JSON,
    142: XML,
    650: NETWORK,
    700: FLOAT,
    701: FLOAT,
    705: TEXT,  # unknown
    774: MAC,
    829: MAC,
    869: NETWORK,
    1042: TEXT,
    1043: TEXT,
    1082: DATE,
    1083: TIME,
    1114: TIMESTAMP,
    1184: TIMESTAMP,
    1560: BITS,
    1562: BITS,
    1700: NUMERIC,
    1790: TEXT,  # refcursor
    2275: TEXT,  # cstring
    2950: UUID,
    3802: JSON,
}

WIDTHS: Final[dict[int, int]] = {20: 8, 21: 2, 23: 4, 700: 4, 701: 8, 774: 8, 829: 6}
"""Bytes of the numbers' and hardware addresses' binary forms."""

ELEMENTS: Final[dict[int, int]] = {
    143: 142,
    199: 114,
    271: 5069,
    629: 628,
    651: 650,
    719: 718,
    775: 774,
    791: 790,
    1000: 16,
    1001: 17,
    1002: 18,
    1003: 19,
    1005: 21,
    1006: 22,
    1007: 23,
    1008: 24,
    1009: 25,
    1010: 27,
    1011: 28,
    1012: 29,
    1013: 30,
    1014: 1042,
    1015: 1043,
    1016: 20,
    1017: 600,
    1018: 601,
    1019: 602,
    1020: 603,
    1021: 700,
    1022: 701,
    1027: 604,
    1028: 26,
    1034: 1033,
    1040: 829,
    1041: 869,
    1115: 1114,
    1182: 1082,
    1183: 1083,
    1185: 1184,
    1187: 1186,
    1231: 1700,
    1263: 2275,
    1270: 1266,
    1561: 1560,
    1563: 1562,
    2201: 1790,
    2207: 2202,
    2208: 2203,
    2209: 2204,
    2210: 2205,
    2211: 2206,
    2287: 2249,
    2949: 2970,
    2951: 2950,
    3221: 3220,
    3643: 3614,
    3645: 3615,
    3735: 3734,
    3770: 3769,
    3807: 3802,
    3905: 3904,
    3907: 3906,
    3909: 3908,
    3911: 3910,
    3913: 3912,
    3927: 3926,
    4073: 4072,
    4090: 4089,
    4097: 4096,
    4192: 4191,
    5039: 5038,
    6150: 4451,
    6151: 4532,
    6152: 4533,
    6153: 4534,
    6155: 4535,
    6157: 4536,
}
"""The element's type of the built-in array types."""

_EPOCH: Final = "1970-01-01"
_ZERO4: Final = bytes(4)
_ZERO8: Final = bytes(8)
_POINT: Final = bytes(16)
_ONE4: Final = b"\x00\x00\x00\x01"
_ONE8: Final = b"\x00\x00\x00\x00\x00\x00\x00\x01"
_DAYS: Final = b"\xff\xff\xd5\x33"  # from PostgreSQL's epoch, 2000-01-01, back to 1970-01-01
_MICROSECONDS: Final = b"\xff\xfc\xa2\xfe\xc4\xc8\x20\x00"

NEUTRAL: Final[dict[int, tuple[bytes, bytes]]] = {
    16: (b"f", b"\x00"),
    17: (b"\\x", b""),
    20: (b"0", _ZERO8),
    21: (b"0", b"\x00\x00"),
    22: (b"0", _ONE4 + _ZERO4 + b"\x00\x00\x00\x15" + _ONE4 + _ZERO4 + b"\x00\x00\x00\x02\x00\x00"),  # int2vector
    23: (b"0", _ZERO4),
    24: (b"-", _ZERO4),  # regproc
    26: (b"0", _ZERO4),
    27: (b"(0,0)", bytes(6)),
    28: (b"0", _ZERO4),
    29: (b"0", _ZERO4),
    30: (b"0", _ONE4 + _ZERO4 + b"\x00\x00\x00\x1a" + _ONE4 + _ZERO4 + _ZERO4[:3] + b"\x04" + _ZERO4),  # oidvector
    114: (b"null", b"null"),
    142: (b"<masked/>", b"<masked/>"),
    600: (b"(0,0)", _POINT),
    601: (b"[(0,0),(0,0)]", _POINT + _POINT),
    602: (b"((0,0))", b"\x01" + _ONE4 + _POINT),
    603: (b"(0,0),(0,0)", _POINT + _POINT),
    604: (b"((0,0))", _ONE4 + _POINT),
    628: (b"{1,0,0}", b"\x3f\xf0\x00\x00\x00\x00\x00\x00" + _POINT),
    650: (b"0.0.0.0/32", b"\x02\x20\x01\x04" + _ZERO4),
    700: (b"0", _ZERO4),
    701: (b"0", _ZERO8),
    718: (b"<(0,0),0>", _POINT + _ZERO8),
    774: (b"00:00:00:00:00:00:00:00", _ZERO8),
    790: (b"$0.00", _ZERO8),
    829: (b"00:00:00:00:00:00", bytes(6)),
    869: (b"0.0.0.0", b"\x02\x20\x00\x04" + _ZERO4),
    1082: (_EPOCH.encode(), _DAYS),
    1083: (b"00:00:00", _ZERO8),
    1114: (f"{_EPOCH} 00:00:00".encode(), _MICROSECONDS),
    1184: (f"{_EPOCH} 00:00:00+00".encode(), _MICROSECONDS),
    1186: (b"00:00:00", bytes(16)),
    1266: (b"00:00:00+00", bytes(12)),
    1562: (b"", _ZERO4),
    1700: (b"0", _ZERO8),
    2202: (b"0", _ZERO4),
    2203: (b"0", _ZERO4),
    2204: (b"0", _ZERO4),
    2205: (b"-", _ZERO4),
    2206: (b"-", _ZERO4),
    2278: (b"", b""),  # void
    2950: (b"00000000-0000-0000-0000-000000000000", bytes(16)),
    2970: (b"1:1:", _ZERO4 + _ONE8 + _ONE8),
    3220: (b"0/0", _ZERO8),
    3614: (b"", _ZERO4),
    3615: (b"'masked'", _ONE4 + b"\x01\x00\x00masked\x00"),  # the server doesn't take an empty tsquery in binary
    3734: (b"-", _ZERO4),
    3769: (b"-", _ZERO4),
    3802: (b"null", b"\x01null"),
    3904: (b"empty", b"\x01"),
    3906: (b"empty", b"\x01"),
    3908: (b"empty", b"\x01"),
    3910: (b"empty", b"\x01"),
    3912: (b"empty", b"\x01"),
    3926: (b"empty", b"\x01"),
    4072: (b"$", b"\x01$"),
    4089: (b"-", _ZERO4),
    4096: (b"-", _ZERO4),
    4191: (b"-", _ZERO4),
    4451: (b"{}", _ZERO4),
    4532: (b"{}", _ZERO4),
    4533: (b"{}", _ZERO4),
    4534: (b"{}", _ZERO4),
    4535: (b"{}", _ZERO4),
    4536: (b"{}", _ZERO4),
    5038: (b"1:1:", _ZERO4 + _ONE8 + _ONE8),
    5069: (b"0", _ZERO8),
}
"""A harmless value of each type, in text and in binary. Texts, bit strings and arrays are made as they are needed."""


def family(type_oid: int) -> int:
    """What family a type is of; OTHER for those that are only ever replaced by their harmless value."""
    if type_oid in ELEMENTS:
        return ARRAY
    return FAMILIES.get(type_oid, OTHER)


def characters(type_oid: int, modifier: int) -> int:
    """The most characters that a text type holds; -1 for any number. `modifier` is pg_attribute.atttypmod."""
    if type_oid in (1042, 1043) and modifier >= 4:
        return modifier - 4
    if type_oid == 18:
        return 1
    return 63 if type_oid == 19 else -1


def digits(modifier: int) -> tuple[int, int]:
    """Precision and scale of a numeric; (-1, 0) when it has none. The scale may be negative (PostgreSQL 15)."""
    if modifier < 4:
        return -1, 0
    scale = (modifier - 4) & 0x7FF
    return (modifier - 4) >> 16 & 0xFFFF, scale - 0x800 if scale & 0x400 else scale
