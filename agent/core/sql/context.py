"""Which statement a NOTICE is about, by its context (field W), when it came from inside another one.

    SQL statement "drop table x"                       SPI: PL/pgSQL, query_to_xml and the like
    PL/pgSQL function app.clean() line 3 at EXECUTE    where that came from
    SQL statement "SELECT app.clean()"                 and so on outward

PostgreSQL quotes nothing in there, so that a statement may hold what looks like its end. Of all places where it might
end there is one behind which it can be parsed, or the answer is that nobody knows.
"""

from __future__ import annotations

from typing import Final

from agent.core.sql.grammar import TooLarge, Ungrammatical, parse
from agent.core.sql.tokens import Unreadable

_BEGINS: Final = 'SQL statement "'
_ENDS: Final = '"\n'
_MAX_ENDS: Final = 40
"""Places where a statement may end that are tried; functions rarely call one another deeper."""


def context_statement(context: str) -> str | None:
    """The text of the innermost statement. None when it isn't SQL that came through SPI (the body of a function in
    SQL has no text here), or can't be told for certain."""
    if not context.startswith(_BEGINS):
        return None
    ends: list[int] = []
    at = context.find(_ENDS, len(_BEGINS))
    while at >= 0:
        ends.append(at)
        if len(ends) > _MAX_ENDS:
            return None
        at = context.find(_ENDS, at + 1)
    if context.endswith('"'):
        ends.append(len(context) - 1)
    found: str | None = None
    for end in ends:
        text = context[len(_BEGINS) : end]
        try:
            parse(text)
        except TooLarge:
            return None
        except (Ungrammatical, Unreadable):
            continue
        if found is not None:
            return None
        found = text
    return found
