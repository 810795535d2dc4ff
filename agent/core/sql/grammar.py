"""The parser of libpg_query, for texts that it can't overflow the stack with."""

from __future__ import annotations

from typing import Any, Final

import postgast

from agent.core.sql.tokens import CLOSE, CLOSE_SQUARE, MAX_TOKENS, OPEN, OPEN_SQUARE, Unreadable, scan

MAX_PARSED: Final = 1_000
"""Tokens of a text that is parsed: the parser takes stack for every one of a chain of operators."""

MAX_NESTED: Final = 100
"""Brackets within one another in a text that is parsed."""


class Ungrammatical(Exception):
    """PostgreSQL 18 would not parse it."""


class TooLarge(Unreadable):
    """It isn't even tried to be parsed."""


def parse(text: str) -> list[Any]:
    """The statements in a text, as libpg_query's protobuf nodes. Raises Ungrammatical, or Unreadable (TooLarge when
    it might be grammatical)."""
    if len(text) > MAX_TOKENS:
        raise TooLarge("statement too long to be parsed")
    tokens = scan(text)
    if len(tokens.kinds) > MAX_PARSED:
        raise TooLarge(f"too many tokens (got {len(tokens.kinds)}, expected at most {MAX_PARSED})")
    depth = 0
    for kind in tokens.kinds:
        if kind == OPEN or kind == OPEN_SQUARE:
            depth += 1
            if depth > MAX_NESTED:
                raise TooLarge(f"too many brackets within one another (expected at most {MAX_NESTED})")
        elif kind == CLOSE or kind == CLOSE_SQUARE:
            depth -= 1
    try:
        return [one.stmt for one in postgast.parse(text).stmts]
    except postgast.PgQueryError as error:
        raise Ungrammatical(str(error)) from None
    except Exception as error:  # protobuf refuses what is nested deeper than it reads
        raise TooLarge(str(error)) from None
