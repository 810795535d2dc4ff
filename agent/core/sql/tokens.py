"""A text's tokens as PostgreSQL's own scanner finds them (libpg_query), in bounded time and without its parser.

The scanner is that of PostgreSQL 18 with standard_conforming_strings on; it takes no stack, whatever the text. What
libpg_query answers is read here from its protobuf form: as Python objects the tokens would take five times as long.
"""

from __future__ import annotations

import ctypes
import re
from typing import Final

from mypy_extensions import i64
from postgast.native import lib

MAX_JUDGED: Final = 16 << 20
"""Characters of a text that is scanned at all."""

MAX_TOKENS: Final = 300_000
"""Tokens of a text that is scanned: about 100 ms. A text with more words and signs than this isn't begun with."""

MAX_RESCANNED: Final = 4_000_000
"""Sum of the squares of the lengths of runs of operator signs: the scanner puts back all but one `+` of a run, and
reads it again."""

ICONST: Final = 266
FCONST: Final = 260
SCONST: Final = 261
USCONST: Final = 262
BCONST: Final = 263
XCONST: Final = 264
IDENT: Final = 258
UIDENT: Final = 259
PARAM: Final = 267
TYPECAST: Final = 268
SQL_COMMENT: Final = 275
C_COMMENT: Final = 276

AS: Final = 295
ATOMIC: Final = 301
BEGIN_P: Final = 308
BETWEEN: Final = 309
BY: Final = 316
DISTINCT: Final = 392
END_P: Final = 404
ESCAPE: Final = 408
EXCEPT: Final = 410
FETCH: Final = 423
FOR: Final = 429
HAVING: Final = 448
ILIKE: Final = 454
INTERSECT: Final = 478
INTO: Final = 480
LIKE: Final = 510
LIMIT: Final = 511
OFFSET: Final = 563
ON: Final = 567
UNION: Final = 722
WINDOW: Final = 749
ZONE: Final = 770
"""Numbers of tokens, as libpg_query has them; keywords by their names there."""

OPEN: Final = 40
CLOSE: Final = 41
OPEN_SQUARE: Final = 91
CLOSE_SQUARE: Final = 93
COMMA: Final = 44
DOT: Final = 46
SEMICOLON: Final = 59
EQUALS: Final = 61

NO_KEYWORD: Final = 0
RESERVED: Final = 4

_PIECE: Final = re.compile(r"[\w\u0080-\U0010ffff]+|[^\w\s]", re.ASCII)
_SIGNS: Final = re.compile(r"[-+*/<>=~!@#%^&|`?]{16,}")


class Unreadable(Exception):
    """The text can't be taken apart, so that what it says is not known; the reason is for people."""


class Tokens:
    """Tokens in their order, comments left out: `data[starts[i]:ends[i]]` is the i-th in UTF-8, `kinds[i]` its number
    in libpg_query (a single character's own code), `keywords[i]` how reserved a word it is (0: none)."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.kinds: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.keywords: list[int] = []

    def text(self, at: int) -> bytes:
        return self.data[self.starts[at] : self.ends[at]]

    def word(self, at: int) -> str:
        """The token's text in capitals if it is a keyword, or may be one that PostgreSQL doesn't know yet; a sign as it
        stands; empty for anything else, and beyond the end."""
        if at < 0 or at >= len(self.kinds):
            return ""
        if self.keywords[at] or self.kinds[at] < 128:
            return self.data[self.starts[at] : self.ends[at]].decode("ascii", "replace").upper()
        return ""


def scan(text: str) -> Tokens:
    """The tokens of a text. Raises Unreadable."""
    if len(text) > 1000:
        _bound(text)
    if "\0" in text:
        raise Unreadable("statement has a NUL character")
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise Unreadable("statement is not valid text in its encoding") from None
    result = lib.pg_query_scan(data)
    try:
        if result.error:
            message = result.error.contents.message or b""
            raise Unreadable(message.decode("utf-8", "replace")[:200])
        found = ctypes.string_at(result.pbuf.data, result.pbuf.len)
    finally:
        lib.pg_query_free_scan_result(result)
    tokens = Tokens(data)
    _decode(found, tokens)
    return tokens


def _bound(text: str) -> None:
    if len(text) > MAX_JUDGED:
        raise Unreadable(f"statement too long (got {len(text)} characters, expected at most {MAX_JUDGED})")
    if len(text) > MAX_TOKENS:
        for count, _ in enumerate(_PIECE.finditer(text)):
            if count >= MAX_TOKENS:
                raise Unreadable(f"statement has too many words and signs (expected at most {MAX_TOKENS})")
    again = 0
    for run in _SIGNS.finditer(text):
        again += (run.end() - run.start()) ** 2
        if again > MAX_RESCANNED:
            raise Unreadable("statement has too many operator signs in a row")


def _decode(found: bytes, tokens: Tokens) -> None:
    """Reads ScanResult {version = 1, tokens = 2 {start = 1, end = 2, token = 4, keyword_kind = 5}}: varints all."""
    kinds, starts, ends, keywords = tokens.kinds, tokens.starts, tokens.ends, tokens.keywords
    at: i64 = 0
    count: i64 = len(found)
    while at < count:
        tag: i64 = found[at]
        at += 1
        value: i64 = 0
        shift: i64 = 0
        while found[at] >= 128:
            value |= (i64(found[at]) & 127) << shift
            shift += 7
            at += 1
        value |= i64(found[at]) << shift
        at += 1
        if tag != 0x12:
            continue
        stop = at + value
        start: i64 = 0
        end: i64 = 0
        kind: i64 = 0
        keyword: i64 = 0
        while at < stop:
            tag = found[at]
            at += 1
            value = found[at]
            at += 1
            if value >= 128:
                value &= 127
                shift = 7
                while found[at] >= 128:
                    value |= (i64(found[at]) & 127) << shift
                    shift += 7
                    at += 1
                value |= i64(found[at]) << shift
                at += 1
            if tag == 0x10:
                end = value
            elif tag == 0x08:
                start = value
            elif tag == 0x20:
                kind = value
            else:
                keyword = value
        if kind != SQL_COMMENT and kind != C_COMMENT:
            kinds.append(int(kind))
            starts.append(int(start))
            ends.append(int(end))
            keywords.append(int(keyword))
