"""Names as statements write them, and literals that any setting of the server reads the same way."""

from __future__ import annotations

import re
from typing import Final

MAX_NAME: Final = 63
"""Bytes of a name that PostgreSQL keeps (NAMEDATALEN - 1)."""

_PART: Final = re.compile(r'"((?:[^"\0]|"")+)"|([A-Za-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*)', re.ASCII)
_UPPER: Final = {ord(letter): letter.lower() for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def parts(name: str) -> list[str] | None:
    """The parts of a name with dots, each as PostgreSQL keeps it: folded unless quoted, cut at 63 bytes. None when it
    is no name."""
    found: list[str] = []
    at = 0
    while True:
        part = _PART.match(name, at)
        if part is None:
            return None
        quoted = part.group(1)
        kept = part.group(2).translate(_UPPER) if quoted is None else quoted.replace('""', '"')
        found.append(_cut(kept))
        at = part.end()
        if at == len(name):
            return found
        if name[at] != ".":
            return None
        at += 1


def _cut(name: str) -> str:
    if len(name) * 4 <= MAX_NAME:
        return name
    return name.encode("utf-8", "replace")[:MAX_NAME].decode("utf-8", "ignore")


def quoted(name: str) -> str:
    """A name as a statement may write it, always quoted."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string literal, whatever standard_conforming_strings is. `text` has no NUL."""
    body = text.replace("'", "''")
    return "E'" + body.replace("\\", "\\\\") + "'" if "\\" in body else f"'{body}'"
