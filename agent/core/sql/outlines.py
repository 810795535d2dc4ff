"""A message without its plain constants, by its bytes alone: what is looked up before any of it is read.

Reading a message takes PostgreSQL's scanner; this takes two passes of a regular expression. It knows less, so it is
asked only about what was read before: messages of one outline that is `telling` have one shape, so that what was
decided about one holds for all.
"""

from __future__ import annotations

import re
from typing import Final

MAX_OUTLINED: Final = 4096
"""Bytes of a message that has an outline."""

_STRING: Final = re.compile(rb"'(?:(?<=[=(,<>]')|(?<=[=(,<>] '))[^'\\\x80-\xff]*'(?!')")
"""A string behind a sign that no type is written with: a type's name may stand before others, and is their meaning.
That what is looked for begins with one certain sign, and looks back from there, makes it cheap."""
_INTEGER: Final = re.compile(rb"[0-9](?<=[=(,<> ][0-9])[0-9]{0,8}(?=[ ),;]|\Z)")
"""What is an integer of four bytes wherever it stands as a word of its own."""
_UNCLEAR: Final = re.compile(rb"""['"$\\\x80-\xff]|--|/\*|\bdistinct\s+on\b|;(?=[^;]*[^;\s])|;\s*;""", re.IGNORECASE)
"""Quotes that are left, comments, what isn't ASCII, several statements; integers that are the numbers of columns."""
_TYPED: Final = re.compile(rb"(?:\x01|[)\]])\s*(?:::|as\b)", re.IGNORECASE)
"""A type may be written behind a string, or behind several in brackets."""
_LIST: Final = re.compile(
    rb"\bby\b[^()\[\]\x01\x02]*?(?:(?=\))|;?\s*\Z|(?<=[^\s.])(?<!\sas)\s+"
    rb"(?:limit|offset|fetch|for|having|window|union|intersect|except)\b)",
    re.IGNORECASE,
)
"""What is sorted or grouped by, to its end, with nothing in it that was left out."""
_BY: Final = re.compile(rb"\bby\b", re.IGNORECASE)

_BRACKET: Final = re.compile(rb"[][()]")


def outline(raw: bytes) -> bytes:
    """The message, each plain constant replaced by its class; empty where it has none or can't have an outline."""
    if len(raw) > MAX_OUTLINED or b"\1" in raw or b"\2" in raw:
        return b""
    made = _STRING.sub(b"\1", raw) if b"'" in raw else raw
    made = _INTEGER.sub(b"\2", made)
    return made if made is not raw else b""


def telling(outlined: bytes) -> bool:
    """Whether all messages of this outline are one statement of the same shape, if one of them is.

    That strings were taken out rightly shows in what is left: the first quote of a message opens a string if nothing
    before it is a comment or another quote, its string ends at the next one, and so on with the next. So if no quote
    is left, all that was taken out were strings, and what is left is all that was outside of them.
    """
    if not outlined or _UNCLEAR.search(outlined) is not None or not _balanced(outlined):
        return False
    if b"\1" in outlined and _TYPED.search(outlined) is not None:
        return False
    return _BY.search(outlined) is None or _BY.search(_LIST.sub(b" ", outlined)) is None


def _balanced(outlined: bytes) -> bool:
    """Whether no bracket is closed that wasn't opened: only then is a list's end what it seems to be."""
    depth = 0
    for sign in _BRACKET.findall(outlined):
        depth += 1 if sign in b"([" else -1
        if depth < 0:
            return False
    return True
