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

_STRING: Final = re.compile(rb"(?:(?<=[=(,<>])|(?<=[=(,<>] ))'[^'\\\x80-\xff]*'(?!')")
"""A string behind a sign that no type is written with: a type's name may stand before others, and is their meaning."""
_INTEGER: Final = re.compile(rb"(?<=[=(,<> ])[0-9]{1,9}(?=[ ),;]|\Z)")
"""What is an integer of four bytes wherever it stands as a word of its own."""
_UNCLEAR: Final = re.compile(rb"""['"$\\\x80-\xff]|--|/\*|\b(?:by|distinct)\b|;(?=[^;]*[^;\s])|;\s*;""", re.IGNORECASE)
"""Quotes that are left, comments, what isn't ASCII; integers that are the numbers of columns; several statements."""
_TYPED: Final = re.compile(rb"::|\bas\b", re.IGNORECASE)
"""A type may be written behind a string."""


def outline(raw: bytes) -> bytes:
    """The message, each plain constant replaced by its class; empty where it has none or can't have an outline."""
    if len(raw) > MAX_OUTLINED or b"\1" in raw:
        return b""
    made = _STRING.sub(b"\1s", raw) if b"'" in raw else raw
    made = _INTEGER.sub(b"\1i", made)
    return made if made is not raw else b""


def telling(outlined: bytes) -> bool:
    """Whether all messages of this outline are one statement of the same shape, if one of them is.

    That strings were taken out rightly shows in what is left: the first quote of a message opens a string if nothing
    before it is a comment or another quote, its string ends at the next one, and so on with the next. So if no quote
    is left, all that was taken out were strings, and what is left is all that was outside of them.
    """
    if not outlined or _UNCLEAR.search(outlined) is not None:
        return False
    return b"\1s" not in outlined or _TYPED.search(outlined) is None
