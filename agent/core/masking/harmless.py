"""What `redact` and `partial` leave of a value."""

from __future__ import annotations

from typing import Final

from agent.core.masking.families import (
    BIT,
    BPCHAR,
    ELEMENTS,
    NEUTRAL,
    NUMERIC,
    TEXT,
    characters,
    digits,
    family,
)
from agent.core.masking.families import MONEY as _MONEY

STARS: Final = "***"
SEPARATORS: Final = " -"
_LEAST: Final = 8
"""Characters, blanks and hyphens not counted, of a text of which `partial` shows the last four; of a shorter one that
would be too much."""
_SHOWN: Final = 4


def neutral(type_oid: int, modifier: int, binary: bool) -> tuple[bytes | None, bool]:
    """A value that tells nothing of the one it stands for, and whether it serves for every value of the type: bit(n)
    without a modifier has the length of each value, money the currency sign. None (NULL) where none is known."""
    kind = family(type_oid)
    if kind == TEXT:
        return stars(type_oid, modifier), True
    if type_oid in ELEMENTS:
        return bytes(8) + ELEMENTS[type_oid].to_bytes(4, "big") if binary else b"{}", True
    if type_oid == BIT:
        count = max(modifier, 0)
        return (count.to_bytes(4, "big") + bytes((count + 7) // 8) if binary else b"0" * count), modifier > 0
    if kind == NUMERIC:
        scale = max(0, digits(modifier)[1])
        return b"\0\0\0\0\0\0" + scale.to_bytes(2, "big") if binary else b"0." + b"0" * scale if scale else b"0", True
    found = NEUTRAL.get(type_oid)
    return (None, True) if found is None else (found[1 if binary else 0], binary or type_oid != _MONEY)


def stars(type_oid: int, modifier: int) -> bytes:
    """Stars, within what the column holds; with blanks behind them to the length of a char(n)."""
    limit = characters(type_oid, modifier)
    if limit < 0:
        return STARS.encode()
    return STARS[:limit].ljust(limit if type_oid == BPCHAR else 0).encode()


def zero_bits(value: bytes, binary: bool) -> bytes | None:
    """As many zeros as a bit string has bits."""
    if not binary:
        return b"0" * len(value)
    count = int.from_bytes(value[:4], "big")
    return value[:4] + bytes((count + 7) // 8) if len(value) == 4 + (count + 7) // 8 else None


def partial(text: str) -> str | None:
    """The last four characters of eight or more, the rest stars between the blanks and hyphens that a card number has;
    an e-mail address's first letter and domain. None for what is too short to show anything of."""
    name, at, domain = text.rpartition("@")
    if at and name and "." in domain and len(text.split()) == 1:
        return name[0] + STARS + "@" + domain
    if len(text) - sum([text.count(each) for each in SEPARATORS]) < _LEAST:
        return None
    start = len(text)
    shown = 0
    while shown < _SHOWN:
        start -= 1
        shown += 0 if text[start] in SEPARATORS else 1
    return "".join([letter if letter in SEPARATORS else "*" for letter in text[:start]]) + text[start:]
