"""In which form a COPY … TO STDOUT sends its rows.

https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from agent.core.sql.grammar import Ungrammatical
from agent.core.sql.statements import Statement
from agent.core.sql.tokens import Unreadable
from agent.core.sql.utility import parsed

_UTF8: Final = ("utf8", "utf-8", "unicode", "sql_ascii")


class CopyForm(Struct, frozen=True):
    """`form` is text, csv or binary; the rest as in the manual, None where it is that form's own default."""

    form: str = "text"
    delimiter: str | None = None
    null: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: bool = False


def copy_form(statement: Statement) -> CopyForm | None:
    """The form that a COPY statement names; None where it can't be told, or is in an encoding of its own."""
    try:
        nodes = parsed(statement)
    except (Ungrammatical, Unreadable):
        return None
    if len(nodes) != 1 or not nodes[0].HasField("copy_stmt"):
        return None
    options: dict[str, str] = {}
    for option in nodes[0].copy_stmt.options:
        options[option.def_elem.defname.lower()] = _argument(option.def_elem.arg)
    if options.get("encoding", "utf8").lower() not in _UTF8:
        return None
    form = options.get("format", "text").lower()
    if form not in ("text", "csv", "binary"):
        return None
    return CopyForm(
        form,
        options.get("delimiter"),
        options.get("null"),
        options.get("quote"),
        options.get("escape"),
        options.get("header", "false").lower() not in ("false", "off", "0"),
    )


def _argument(argument: Any) -> str:
    """Of an option, as text; one without an argument is switched on."""
    for name, field in (("string", "sval"), ("boolean", "boolval"), ("integer", "ival")):
        if argument.HasField(name):
            return (
                str(getattr(getattr(argument, name), field)).lower()
                if name == "boolean"
                else str(getattr(getattr(argument, name), field))
            )
    return "true"
