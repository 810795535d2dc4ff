"""Statements by their text: where each begins and ends, what kind it is, and the query inside it.

A message is split where PostgreSQL's grammar would: a semicolon in brackets (CREATE RULE … DO (a; b)) or in the body of
a function (BEGIN ATOMIC … END) separates nothing. A message that isn't valid SQL may be split otherwise; the server
refuses it as a whole.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from agent.core.sql.inner import find_inner, selects_into
from agent.core.sql.shapes import shape
from agent.core.sql.tags import tag_of
from agent.core.sql.tokens import (
    ATOMIC,
    BEGIN_P,
    CLOSE,
    END_P,
    OPEN,
    PARAM,
    SCONST,
    SEMICOLON,
    Tokens,
    Unreadable,
    scan,
)

__all__ = ["EMPTY", "QUERY", "SETTING", "TRANSACTION", "UTILITY", "Statement", "Unreadable", "shape", "split"]

TRANSACTION: Final = "TRANSACTION"
SETTING: Final = "SETTING"
QUERY: Final = "QUERY"
UTILITY: Final = "UTILITY"
EMPTY: Final = "EMPTY"

_KINDS: Final[dict[str, str]] = {
    **dict.fromkeys("BEGIN START COMMIT END ROLLBACK ABORT SAVEPOINT RELEASE".split(), TRANSACTION),
    **dict.fromkeys("SET SHOW RESET".split(), SETTING),
    **dict.fromkeys("SELECT VALUES TABLE WITH INSERT UPDATE DELETE MERGE (".split(), QUERY),
}


class Statement(Struct, frozen=True):
    """One statement of a message."""

    text: str
    """Without the semicolon; comments and white space are kept."""
    start: int
    """Where it begins in the message, in characters."""
    kind: str
    """TRANSACTION, SETTING (SET, SHOW, RESET), QUERY (what the planner plans), EMPTY (comments at most), UTILITY."""
    tag: str = ""
    """PostgreSQL's command tag, as far as the first words tell it."""
    inner: str | None = None
    """The query inside it, which the server can parse by itself: of EXPLAIN, DECLARE, COPY, PREPARE, CREATE … AS, and
    what is inside of these; the arguments of EXECUTE and CALL as a SELECT."""
    inner_offset: int = 0
    """Where that begins in `text`."""
    parameters: bool = False
    """It has $1 or another parameter."""
    types: tuple[str, ...] = ()
    """The types that PREPARE gives its parameters, as written."""
    executes: bool = True
    """The query inside it is run, now or later; EXPLAIN without ANALYZE only plans it."""
    runs: str | None = None
    """The prepared statement that it executes, as written."""


def split(message: str, standard_conforming_strings: bool = True) -> list[Statement]:
    """The statements of a message, empty ones too. Raises Unreadable for what can't be read the way that the server
    would: the time that it takes is bounded whatever the message is."""
    tokens = scan(message)
    if not standard_conforming_strings:
        _refuse_backslashes(tokens)
    found: list[Statement] = []
    data = tokens.data
    ascii = len(data) == len(message)
    first = 0
    begin = 0  # in bytes
    start = 0  # in characters
    for separator in [*_separators(tokens), len(tokens.kinds)]:
        last = separator == len(tokens.kinds)
        end = len(data) if last else tokens.starts[separator]
        text = message[begin:end] if ascii else data[begin:end].decode()
        found.append(_statement(tokens, first, separator, text, start, begin))
        first = separator + 1
        begin = end + 1
        start += len(text) + 1
    return found


def _refuse_backslashes(tokens: Tokens) -> None:
    for at, kind in enumerate(tokens.kinds):
        if kind == SCONST:
            literal = tokens.text(at)
            if literal.startswith(b"'") and b"\\" in literal:
                raise Unreadable("literal with a backslash while standard_conforming_strings is off")


def _separators(tokens: Tokens) -> list[int]:
    """The semicolons that end a statement."""
    found: list[int] = []
    depth = 0
    first = 0  # token of this statement
    body = False  # between BEGIN ATOMIC and its END
    kinds = tokens.kinds
    for at in range(len(kinds)):
        kind = kinds[at]
        if kind == OPEN:
            depth += 1
        elif kind == CLOSE:
            if depth > 0:
                depth -= 1
        elif kind == SEMICOLON:
            if depth == 0 and not body:
                found.append(at)
                first = at + 1
        elif kind == ATOMIC:
            if depth == 0 and not body and at > first and kinds[at - 1] == BEGIN_P:
                body = _makes_routine(tokens, first)
        elif kind == END_P and body and depth == 0 and (kinds[at - 1] == SEMICOLON or kinds[at - 1] == ATOMIC):
            body = False  # where a statement would begin: elsewhere END is a CASE's, or a label
    return found


def _makes_routine(tokens: Tokens, first: int) -> bool:
    if tokens.word(first) != "CREATE":
        return False
    at = first + 3 if tokens.word(first + 1) == "OR" else first + 1
    return tokens.word(at) in ("FUNCTION", "PROCEDURE")


def _statement(tokens: Tokens, first: int, stop: int, text: str, start: int, begin: int) -> Statement:
    if first == stop:
        return Statement(text, start, EMPTY)
    word = tokens.word(first)
    kind = _KINDS.get(word, UTILITY)
    parameters = PARAM in tokens.kinds[first:stop]
    into = kind == QUERY and selects_into(tokens, first, stop) >= 0
    if kind == QUERY and not into:
        return Statement(text, start, QUERY, tag_of(tokens, first, stop), parameters=parameters)
    if word == "PREPARE" and tokens.word(first + 1) == "TRANSACTION":
        kind = TRANSACTION
    if kind != UTILITY and not into:
        return Statement(text, start, kind, tag_of(tokens, first, stop), parameters=parameters)
    inner = find_inner(tokens, first, stop)
    offset = 0
    if inner.text is not None:
        offset = len(tokens.data[begin : inner.begin].decode())
    tag = "SELECT INTO" if into else tag_of(tokens, first, stop)
    if tag == "CREATE TABLE" and inner.text is not None:
        tag = "CREATE TABLE AS"
    return Statement(text, start, UTILITY, tag, inner.text, offset, parameters, inner.types, inner.executes, inner.runs)
