"""What two statements have in common that differ in their constants only: the key of a cached decision."""

from __future__ import annotations

from typing import Final

from agent.core.sql.tokens import (
    AS,
    BCONST,
    BETWEEN,
    BY,
    CLOSE,
    CLOSE_SQUARE,
    COMMA,
    DISTINCT,
    DOT,
    ESCAPE,
    EXCEPT,
    FCONST,
    FETCH,
    FOR,
    HAVING,
    ICONST,
    IDENT,
    ILIKE,
    INTERSECT,
    LIKE,
    LIMIT,
    OFFSET,
    ON,
    OPEN,
    OPEN_SQUARE,
    RESERVED,
    SCONST,
    TYPECAST,
    UNION,
    WINDOW,
    XCONST,
    ZONE,
    Unreadable,
    scan,
)

MAX_SHAPED: Final = 256 * 1024
"""Characters of a statement that has a shape: its key is about as long."""

_INT8: Final = 1 << 63
_INTEGER: Final = b"\1i"
_NO_TYPES: Final = frozenset((LIKE, ILIKE, BETWEEN, ESCAPE, ZONE))
"""Words that aren't reserved, and yet a literal behind them is no constant of a type called so."""
_AFTER_LIST: Final = frozenset((LIMIT, OFFSET, FETCH, FOR, HAVING, WINDOW, UNION, INTERSECT, EXCEPT))
"""Reserved words behind an ORDER BY, GROUP BY or PARTITION BY list."""


def shape(text: str) -> str | None:
    """The text without comments, its white space made even, each constant replaced by its class: an integer of four
    or of eight bytes, another number, a string, a string with escapes, in dollars, of bits or of hexadecimal digits.

    Constants that are part of the meaning stay: integers in ORDER BY, GROUP BY and DISTINCT ON, and literals that have
    a type written beside them. None for what can't be told, and for texts that are too long to be keys."""
    if len(text) > MAX_SHAPED:
        return None
    try:
        tokens = scan(text)
    except Unreadable:
        return None
    data = tokens.data
    kinds = tokens.kinds
    starts = tokens.starts
    ends = tokens.ends
    keywords = tokens.keywords
    parts: list[bytes] = []
    strings: list[int] = []  # replaced, by their place
    opened: list[int] = []  # brackets: how many strings were replaced before each
    listed = -1  # depth in which a list of positions is under way
    group = 0  # strings replaced before the bracket that was closed last
    before = 0
    for at in range(len(kinds)):
        kind = kinds[at]
        part = data[starts[at] : ends[at]]
        if kind == IDENT or kind == DOT or kind == COMMA:
            pass
        elif kind == ICONST or kind == FCONST:
            if listed < 0:
                part = _INTEGER if kind == ICONST else _number(part)
        elif kind == SCONST or kind == BCONST or kind == XCONST:
            if not _typed(kinds, keywords, at):
                strings.append(at)
                part = _string(kind, part)
        elif kind == OPEN or kind == OPEN_SQUARE:
            opened.append(len(strings))
        elif kind == CLOSE or kind == CLOSE_SQUARE:
            group = opened.pop() if opened else 0
            if len(opened) < listed:
                listed = -1
        elif kind == TYPECAST or kind == AS:
            first = group if before == CLOSE or before == CLOSE_SQUARE else len(strings) - (before in _CONSTANTS)
            for place in strings[max(first, 0) :]:
                parts[place] = data[starts[place] : ends[place]]
        elif kind == BY:
            listed = len(opened) if listed < 0 else listed
        elif kind == ON:
            if listed < 0 and before == DISTINCT:
                listed = len(opened) + 1
        elif listed >= 0 and listed == len(opened) and kind in _AFTER_LIST and before != DOT and before != AS:
            listed = -1
        before = kind
        parts.append(part)
    return b" ".join(parts).decode() if parts else None


_CONSTANTS: Final = frozenset((SCONST, BCONST, XCONST))


def _typed(kinds: list[int], keywords: list[int], at: int) -> bool:
    """Whether a literal may have a type written before it: `regclass 'x'`, `interval(3) '1'`, `int4[] '{1}'`."""
    if at == 0:
        return False
    before = kinds[at - 1]
    if before == IDENT or before == CLOSE or before == CLOSE_SQUARE:
        return True
    reserved = keywords[at - 1]
    return 0 < reserved < RESERVED and before not in _NO_TYPES


def _string(kind: int, part: bytes) -> bytes:
    """The class of a string."""
    if kind == SCONST:
        return b"\1e" if part[0] in b"eE" else b"\1d" if part[0] in b"$" else b"\1s"
    return b"\1b" if kind == BCONST else b"\1x"


def _number(part: bytes) -> bytes:
    """The class of a number that isn't an integer of four bytes."""
    if part.isdigit():
        digits = part.lstrip(b"0")
        return b"\1l" if len(digits) < 19 or (len(digits) == 19 and int(digits) < _INT8) else b"\1n"
    return b"\1n" if part[:1] == b"." or b"." in part or part[:2].lower() not in (b"0x", b"0o", b"0b") else part
