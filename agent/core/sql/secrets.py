"""Secrets in statements: found and replaced before anything is recorded.

What is known to carry one: `PASSWORD '…'` of roles and user mappings, `password=…` in connection strings
(subscriptions, dblink, foreign servers), passwords in connection URIs, and hoopctl's own tokens. A literal may be
quoted in any of PostgreSQL's ways, and stand inside another one (a DO block, dynamic SQL), which is why this looks at
text and not at tokens: it rather takes a word too much. Time is linear in the statement's length.
"""

from __future__ import annotations

import re
from typing import Final

REPLACEMENT: Final = "[secret]"

_WORD: Final = re.compile(r"passw(?:or)?d\w*", re.IGNORECASE)
_BETWEEN: Final = re.compile(r"(?:\s+|--[^\n]{0,200}\n|/\*[\s\S]{0,200}?\*/|\"){0,50}")
_GOES_ON: Final = re.compile(r"[^\S\n]*\n\s*(?=')")
_SEPARATOR: Final = re.compile(r":=|=>|=|,|:|")
_NAMED: Final = re.compile(r"'(?=\s*,)|")
_BARE: Final = re.compile(r"[^\s'\";&\\,()]+")
_PREFIX: Final = re.compile(r"[eEnN]?(?='')|[eEnN]?(?=')|[uU]&(?=')|")
_QUOTES: Final = re.compile(r"'+")
_DOLLAR: Final = re.compile(r"\$(?:[^\W\d]\w*)?\$")
_URI: Final = re.compile(r"(://[^\s/@':]{0,200}:)[^\s/@']{1,1000}@")
_TOKEN: Final = re.compile(r"hoop_(?:sa|cr)_\w+")


def redact(statement: str) -> str:
    """The statement with every secret in it replaced by `[secret]`."""
    lower = statement.lower()
    if "passw" in lower:
        statement = _without_passwords(statement)
    if "://" in lower:
        statement = _URI.sub(rf"\1{REPLACEMENT}@", statement)
    if "hoop_" in lower:
        statement = _TOKEN.sub(REPLACEMENT, statement)
    return statement


def _without_passwords(statement: str) -> str:
    kept: list[str] = []
    copied = 0
    at = 0
    while (word := _WORD.search(statement, at)) is not None:
        at = word.end()
        found = _value(statement, at)
        if found is not None:
            start, end = found
            kept.append(statement[copied:start])
            kept.append(REPLACEMENT)
            copied = at = end
    kept.append(statement[copied:])
    return "".join(kept)


def _value(statement: str, at: int) -> tuple[int, int] | None:
    """Where the value that belongs to the word ending at `at` begins and ends, inside its quotes."""
    at = _skip(_BETWEEN, statement, _skip(_NAMED, statement, at))  # set_config('x.password', '…')
    separated = _skip(_SEPARATOR, statement, at)
    separator = statement[at:separated]
    at = separated
    json = separator == ":" and statement[at : at + 20].lstrip()[:1] == '"'
    if json:
        start = statement.index('"', at) + 1
        return start, _closing(statement, start, '"', True)
    at = _skip(_BETWEEN, statement, at)
    escaped = statement[at : at + 1] in ("e", "E")
    at = _skip(_PREFIX, statement, at)
    quotes = _QUOTES.match(statement, at)
    if quotes is not None:
        return _quoted(statement, quotes.start(), quotes.end(), escaped)
    dollar = _DOLLAR.match(statement, at)
    if dollar is not None:
        end = statement.find(dollar.group(), dollar.end())
        return dollar.end(), len(statement) if end < 0 else end
    bare = _BARE.match(statement, at) if separator == "=" else None
    return None if bare is None else (bare.start(), bare.end())


def _skip(pattern: re.Pattern[str], statement: str, at: int) -> int:
    found = pattern.match(statement, at)
    return at if found is None else found.end()


def _quoted(statement: str, start: int, opened: int, escaped: bool) -> tuple[int, int] | None:
    """A literal whose quotes are doubled as often as it is nested in other literals: `'a'`, `''a''`, `''''a''''`."""
    mark = "'" * (opened - start)
    if len(mark) > 1 and statement[opened : opened + 1] in ("", " ", ",", ")", ";"):
        return None  # an empty literal
    end = _closing(statement, opened, mark, escaped)
    # literals on lines of their own are one: 'a' \n 'b' is 'ab'
    while (more := _GOES_ON.match(statement, end + len(mark))) is not None and statement.startswith(mark, more.end()):
        end = _closing(statement, more.end() + len(mark), mark, escaped)
    return opened, end


def _closing(statement: str, at: int, mark: str, escaped: bool) -> int:
    """Where the closing `mark` begins, or the statement's end: a doubled mark is part of the value, and so is one
    behind a backslash where that escapes."""
    while True:
        end = statement.find(mark, at)
        if end < 0:
            return len(statement)
        slashes = 0
        while escaped and end - slashes > at and statement[end - slashes - 1] == "\\":
            slashes += 1
        if slashes % 2 == 1:
            at = end + len(mark)
        elif statement.startswith(mark, end + len(mark)):
            at = end + 2 * len(mark)
        else:
            return end
