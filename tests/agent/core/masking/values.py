"""Values of PostgreSQL's types in both formats, for tests."""

from __future__ import annotations

import struct

from hypothesis import strategies as st

from agent.core.masking.calendar import numeric_binary
from agent.core.pg.values import text_of

KEY = bytes(range(32))
WAYS = ("redact", "partial", "hash", "fake")


def packed(oid: int, value: bytes) -> tuple[int, bytes, bytes]:
    """A type's OID, a value's text and its binary form."""
    return oid, text_of(oid, value).encode(), value


def _numeric(text: str) -> tuple[int, bytes, bytes]:
    return 1700, text.encode(), numeric_binary(text)


def array(elements: list[str | None]) -> bytes:
    """text[] in binary."""
    head = struct.pack("!iii", 1 if elements else 0, int(None in elements), 25)
    head += struct.pack("!ii", len(elements), 1) if elements else b""
    items = [None if each is None else each.encode() for each in elements]
    return head + b"".join([b"\xff" * 4 if each is None else struct.pack("!i", len(each)) + each for each in items])


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
_JSON = st.sampled_from(['{"a": [1, -2.5e3, true]}', '"x\\u0041\\n"', "[]", "12", "null", '{"k\\"": "\\\\"}'])

ANY = st.one_of(
    st.integers(-(2**15), 2**15 - 1).map(lambda n: packed(21, struct.pack("!h", n))),
    st.integers(-(2**31), 2**31 - 1).map(lambda n: packed(23, struct.pack("!i", n))),
    st.integers(-(2**63), 2**63 - 1).map(lambda n: packed(20, struct.pack("!q", n))),
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**20), max_value=10**20).map(
        lambda number: _numeric(f"{number:f}".replace("-0.000", "0.000"))
    ),
    st.floats(width=32).map(lambda number: packed(700, struct.pack("!f", number))),
    st.floats().map(lambda number: packed(701, struct.pack("!d", number))),
    st.integers(-2_400_000, 3_000_000).map(lambda days: packed(1082, struct.pack("!i", days))),
    st.sampled_from([2**31 - 1, -(2**31)]).map(lambda days: packed(1082, struct.pack("!i", days))),
    st.integers(-2 * 10**17, 9 * 10**18).map(lambda count: packed(1114, struct.pack("!q", count))),
    st.integers(-2 * 10**17, 9 * 10**18).map(lambda count: packed(1184, struct.pack("!q", count))),
    st.integers(0, 86_399_999_999).map(lambda count: packed(1083, struct.pack("!q", count))),
    st.integers(-(10**15), 10**15).map(lambda count: packed(1186, struct.pack("!qii", count, 5, 7))),
    st.booleans().map(lambda flag: packed(16, bytes([flag]))),
    st.binary(min_size=16, max_size=16).map(lambda value: packed(2950, value)),
    st.binary(max_size=40).map(lambda value: packed(17, value)),
    st.binary(min_size=6, max_size=6).map(lambda value: packed(829, value)),
    st.binary(min_size=8, max_size=8).map(lambda value: packed(774, value)),
    st.binary(min_size=4, max_size=4).map(lambda value: packed(869, b"\x02\x20\x00\x04" + value)),
    st.binary(min_size=16, max_size=16).map(lambda value: packed(869, b"\x03\x80\x00\x10" + value)),
    st.integers(0, 2**11 - 1).map(lambda bits: packed(1560, struct.pack("!iH", 11, bits << 5))),
    TEXTS.map(lambda text: packed(25, text.encode())),
    TEXTS.map(lambda text: packed(1043, text.encode())),
    _JSON.map(lambda text: packed(114, text.encode())),
    _JSON.map(lambda text: packed(3802, b"\x01" + text.encode())),
    st.lists(st.one_of(st.none(), TEXTS), max_size=4).map(lambda each: packed(1009, array(each))),
    st.sampled_from([packed(3904, b"\x01"), packed(3904, struct.pack("!BiIiI", 2, 4, 3, 4, 9))]),
)
"""(OID, text, binary) of any value."""
