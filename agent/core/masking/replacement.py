"""One value, replaced in the way that a mask names, and valid for its type in its format afterwards.

redact   a constant that tells nothing: `***`, 0, 1970-01-01, an empty range …
partial  of texts of eight characters and more the last four, of e-mail addresses the first letter and the domain;
         anything else is redacted
hash     HMAC-SHA256 with the agent's key: equal values stay equal, in whichever format they come
fake     a value of the same shape, out of the same HMAC
null     NULL

Types that have no value known to be valid (enums, composites, what extensions bring) become NULL.
"""

from __future__ import annotations

import struct
from typing import Final

from agent.core.masking.calendar import DAY, numeric_binary, timestamp_microseconds
from agent.core.masking.canonical import canonical
from agent.core.masking.documents import Editor, rewrite_json
from agent.core.masking.families import (
    ARRAY,
    BIT,
    BITS,
    BPCHAR,
    BYTEA,
    CIDR,
    DATE,
    FLOAT,
    INTEGER,
    JSON,
    JSONB,
    MAC,
    MONEY,
    NETWORK,
    NUMERIC,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    VARBIT,
    WIDTHS,
    XML,
    characters,
    digits,
    family,
)
from agent.core.masking.harmless import neutral, partial, zero_bits
from agent.core.masking.invention import decimal_like, digits_like, drawn, integer_like, seed, text_like
from agent.core.masking.replacer import Replacer
from agent.core.pg.numbers import float4_text, float8_text
from agent.core.pg.times import clock_text, date_text, timestamp_text
from agent.core.pg.values import text_of

WAYS: Final = ("redact", "partial", "hash", "null", "fake")
HASH_DIGITS: Final = 32
"""Hexadecimal digits of a text's hash: 128 bits, so that two texts don't meet by accident."""

_KINDS: Final = ("", "text", "integer", "numeric", "float", "date", "timestamp", "time", "uuid", "bytea", "json", "xml")
_FIRST_DAY: Final = -36_524  # 1900-01-01
_DAYS: Final = 73_049  # to 2099-12-31
_SHIFT: Final = 365
_TRIES: Final = 8


class Replacement(Replacer):
    """The replacement of one column's values. `type_modifier` is pg_attribute.atttypmod, -1 if there is none; domains
    come as the types that they are made of. Raises ValueError for a way that there isn't."""

    def __init__(self, way: str, key: bytes, type_oid: int, type_modifier: int = -1, binary: bool = False) -> None:
        if way not in WAYS:
            raise ValueError(f"there is no such way to mask (got {way}, expected one of {', '.join(WAYS)})")
        kind = family(type_oid)
        constant, fixed = neutral(type_oid, type_modifier, binary)
        keyed = way in ("hash", "fake") and kind != 0 and kind != ARRAY
        if way == "null":
            constant, fixed = None, True
        elif keyed or (way == "partial" and kind == TEXT):
            fixed = False
        super().__init__(fixed, constant)
        self.way: Final = way
        self.type_oid: Final = type_oid
        self.binary: Final = binary
        self._key: Final = key
        self._modifier: Final = type_modifier
        self._kind: Final = kind

    def replace(self, value: bytes) -> bytes | None:
        """The value to send instead, in the same format; None is NULL. Never raises."""
        if self.fixed:
            return self.constant
        made: bytes | None = None
        if self.way == "partial" and self._kind == TEXT:
            made = self._partial(value)
        elif self.way in ("hash", "fake"):
            made = self._keyed(value)
        return self._redacted(value) if made is None else made

    def _redacted(self, value: bytes) -> bytes | None:
        if self.type_oid in (BIT, VARBIT):
            return zero_bits(value, self.binary)
        if self.type_oid == MONEY and not self.binary and b"$" not in value:
            return b"0.00"  # a locale's own currency sign isn't known; this is read in any
        return self.constant

    def _text(self, text: str) -> bytes | None:
        """A text within what the column holds; blanks at the end of char(n), as the server would send it."""
        limit = characters(self.type_oid, self._modifier)
        if limit >= 0:
            text = text[:limit]
            if self.type_oid == BPCHAR:
                text = text.ljust(limit)
        return text.encode()

    def _partial(self, value: bytes) -> bytes | None:
        try:
            text = (value.rstrip(b" ") if self.type_oid == BPCHAR else value).decode("utf-8")
        except UnicodeDecodeError:
            return None
        shown = partial(text)
        return None if shown is None else self._text(shown)

    def _keyed(self, value: bytes) -> bytes | None:
        plain = canonical(self.type_oid, value, self.binary)
        if plain is None:
            return None
        kind = _KINDS[self._kind] if self._kind < len(_KINDS) else str(self._kind)
        if self.way == "hash":
            return self._hashed(plain, seed(self._key, "hash " + kind, plain))
        for attempt in range(_TRIES):
            made = self._invented(plain, seed(self._key, f"fake {kind} {attempt}", plain), value)
            # One that happens to be what it stands for is made anew: as stably as the first.
            if made != value:
                return made
        return None

    def _hashed(self, plain: bytes, chance: bytes) -> bytes | None:
        kind = self._kind
        if kind == TEXT:
            return self._text(chance.hex()[:HASH_DIGITS])
        if kind == JSON:
            return self._json(b'"' + chance.hex()[:HASH_DIGITS].encode() + b'"')
        if kind == XML:
            return b"<masked>" + chance.hex()[:HASH_DIGITS].encode() + b"</masked>"
        if kind == BYTEA:
            return chance if self.binary else b"\\x" + chance.hex().encode()
        number = int.from_bytes(chance[:16], "big")
        if kind == INTEGER:
            return self._integer(number & ((1 << (WIDTHS[self.type_oid] * 8 - 1)) - 1))
        if kind == NUMERIC:
            precision, scale = digits(self._modifier)
            places = 15 if precision < 0 else min(15, precision - scale)
            return None if places <= 0 else self._numeric(str(number % 10**places))
        if kind == FLOAT:
            return self._float(str(number & ((1 << (24 if WIDTHS[self.type_oid] == 4 else 53)) - 1)))
        if kind == DATE:
            return self._date(_FIRST_DAY + number % _DAYS)
        if kind == TIMESTAMP:
            return self._timestamp((_FIRST_DAY * 86_400 + number % (_DAYS * 86_400)) * 1_000_000, 0, "+00")
        return self._any(plain, chance)

    def _invented(self, plain: bytes, chance: bytes, value: bytes) -> bytes | None:
        kind = self._kind
        if kind == TEXT:
            text = plain.decode("utf-8", "replace")
            return self._text(text_like(text, chance, characters(self.type_oid, self._modifier)))
        if kind == JSON:
            made = rewrite_json(plain, _Inventor(self._key))
            return None if made is None else self._json(made)
        if kind == BYTEA:
            made = drawn(chance, len(plain))
            return made if self.binary else b"\\x" + made.hex().encode()
        if kind == XML:
            return None
        text = plain.decode("ascii")
        if kind == INTEGER:
            return self._integer(integer_like(int(text), chance, (1 << (WIDTHS[self.type_oid] * 8 - 1)) - 1))
        if kind == NUMERIC:
            made_text = digits_like(text, chance) if text.isdigit() else decimal_like(text, chance)
            return self._numeric(made_text, value)
        if kind == FLOAT:
            return self._float(decimal_like(text, chance))
        shift = int.from_bytes(chance[:8], "big") % (2 * _SHIFT) - _SHIFT
        shift = shift + 1 if shift >= 0 else shift
        if kind == DATE:
            return self._date(int(text) + shift)
        if kind == TIMESTAMP:
            return self._shifted(int(text), shift, int.from_bytes(chance[8:16], "big") % 86_400, value)
        return self._any(plain, chance)

    def _any(self, plain: bytes, chance: bytes) -> bytes | None:
        """What hash and fake do alike."""
        kind = self._kind
        if kind == TIME:
            count = int.from_bytes(chance[:8], "big") % 86_400 * 1_000_000
            return count.to_bytes(8, "big") if self.binary else clock_text(count).encode()
        if kind == UUID:
            given = bytes.fromhex(plain.decode("ascii"))
            made = chance[:6] + bytes(
                [given[6] & 0xF0 | chance[6] & 0x0F, chance[7], given[8] & 0xC0 | chance[8] & 0x3F]
            )
            return self._either(made + chance[9:16])
        if kind == MAC:
            return self._either(b"\x02" + chance[: WIDTHS[self.type_oid] - 1])
        if kind == NETWORK:
            six = b":" in plain
            address = b"\xfd" + chance[:15] if six else b"\x0a" + chance[:3]
            head = bytes([3 if six else 2, 128 if six else 32, 1 if self.type_oid == CIDR else 0, len(address)])
            return self._either(head + address)
        if kind == BITS:
            count = len(plain)
            made = drawn(chance, (count + 7) // 8)
            spare = -count % 8
            if spare:
                made = made[:-1] + bytes([made[len(made) - 1] >> spare << spare])
            return self._either(count.to_bytes(4, "big") + made)
        return None

    def _either(self, packed: bytes) -> bytes:
        """A value in binary form, in the column's format."""
        return packed if self.binary else text_of(self.type_oid, packed).encode()

    def _json(self, text: bytes) -> bytes:
        return b"\x01" + text if self.binary and self.type_oid == JSONB else text

    def _integer(self, number: int) -> bytes:
        return number.to_bytes(WIDTHS[self.type_oid], "big", signed=True) if self.binary else str(number).encode()

    def _numeric(self, text: str, value: bytes | None = None) -> bytes:
        """A number with as many decimal places as the column shows, or the value had."""
        scale = max(0, digits(self._modifier)[1])
        if value is not None and digits(self._modifier)[0] < 0:
            shown = text_of(self.type_oid, value) if self.binary else value.decode("ascii")
            scale = len(shown.partition(".")[2])
        whole, _, part = text.partition(".")
        text = whole + "." + part.ljust(scale, "0") if scale or part else whole
        return numeric_binary(text) if self.binary else text.encode()

    def _float(self, text: str) -> bytes | None:
        wide = WIDTHS[self.type_oid] == 8
        try:
            packed = struct.pack("!d" if wide else "!f", float(text))
        except OverflowError:
            return None
        if self.binary:
            return packed
        return (float8_text(packed) if wide else float4_text(packed)).encode()

    def _date(self, days: int) -> bytes | None:
        if not -2_451_507 <= days < 2_145_031_949:
            return None
        return days.to_bytes(4, "big", signed=True) if self.binary else date_text(days).encode()

    def _shifted(self, count: int, days: int, seconds: int, value: bytes) -> bytes | None:
        """Another day and time of day, in the time zone that the value was shown in."""
        made = (count // DAY + days) * DAY + seconds * 1_000_000
        if self.binary or self.type_oid != TIMESTAMPTZ:
            return self._timestamp(made, 0, "")
        zone = timestamp_microseconds(value.decode("ascii"))
        if zone is None:
            return None
        return self._timestamp(made, zone[1], zone[2])

    def _timestamp(self, count: int, offset: int, zone: str) -> bytes | None:
        if not -211_813_488_000_000_000 <= count < 9_223_371_331_200_000_000:
            return None
        if self.binary:
            return count.to_bytes(8, "big", signed=True)
        return timestamp_text(count + offset, zone if self.type_oid == TIMESTAMPTZ else "").encode()


class _Inventor(Editor):
    """What stands in a document, replaced by something of the same shape."""

    def __init__(self, key: bytes) -> None:
        self._key: Final = key

    def string(self, text: str) -> str:
        return text_like(text, seed(self._key, "fake text 0", text.encode("utf-8", "surrogatepass")))

    def number(self, text: str) -> str:
        return decimal_like(text.lower(), seed(self._key, "fake number", text.encode()))
