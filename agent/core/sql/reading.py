"""Which statements can be told, by their text alone, to do nothing but read.

The record of any other is on the disk before it leaves for the database; that of a read while the database works on it.
So the answer errs on the side of writing: a second statement, a comment, a call of a function that isn't known, quoting
that takes a scanner to understand are enough. What no text shows, a view or an operator that calls a function that
writes, counts as a read.
"""

from __future__ import annotations

import re
from typing import Final

_BEGINS: Final = re.compile(
    r"\s*(?:select|table|values|show|begin|start\s+transaction|rollback|abort)\b", re.IGNORECASE | re.ASCII
)
_UNCLEAR: Final = ("\\", "--", "/*", '"', "&'", "into", "update", "share", "prepared", "execute")
_DOLLAR: Final = re.compile(r"\$(?!\d)", re.ASCII)
_SPACE: Final = " \t\n\r\v\f"
_WORD: Final = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_$."
_HARMLESS: Final = frozenset(
    (
        "abs all and any array as avg between by case cast ceil coalesce concat count date_part date_trunc "
        "dense_rank distinct else exists extract filter first_value floor from generate_series greatest group "
        "having in interval is join lag last_value lateral lead least left length like lower max min mod not "
        "now nullif numeric on or order over position rank replace right round row row_number select some "
        "string_agg substr substring sum then to_char trim union upper using values varchar when where"
    ).split()
)


def only_reads(statement: str) -> bool:
    """Whether the statement is one, and can only read as far as its own text tells."""
    if _BEGINS.match(statement) is None:
        return False
    lower = statement.lower()
    for sign in _UNCLEAR:
        if sign in lower:
            return False
    if ";" in lower and ";" in lower.rstrip()[:-1]:
        return False
    if "$" in lower and _DOLLAR.search(lower) is not None:
        return False
    return "(" not in statement or _calls_harmless(statement)


def _calls_harmless(statement: str) -> bool:
    """Whether what stands before every parenthesis is a word of SQL or a function known to only read, in time linear
    in the statement's length."""
    pieces = statement.split("(")
    pieces.pop()
    for piece in pieces:
        called = piece.rstrip(_SPACE)
        before = called.rstrip(_WORD)
        name = called[len(before) :]
        if name != "" and name.lower() not in _HARMLESS:
            return False
        if before[-1:] > "\x7f":
            return False  # to PostgreSQL every byte past ASCII is part of a word
        if name != "" and before.rstrip(_SPACE)[-1:] == ".":
            return False  # a schema's function: `evil . lower (…)`
    return True
