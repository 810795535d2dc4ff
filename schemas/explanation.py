"""What the statements of a text would do, as a database told it without running them."""

from __future__ import annotations

from msgspec import Struct

from schemas.operation import Operation


class ServerError(Struct, frozen=True):
    """What the server said against a statement. `position` counts the characters of the text, from 1; None when the
    server names no place."""

    code: str
    message: str
    detail: str | None = None
    hint: str | None = None
    position: int | None = None


class Explained(Struct, frozen=True):
    """One statement. What was found of it is nothing where the server refused it (`error`)."""

    text: str
    """Without its semicolon."""
    start: int
    """Where it begins in the text, in characters."""
    tag: str = ""
    """PostgreSQL's command tag, as far as the first words tell it."""
    operations: tuple[Operation, ...] = ()
    opaque: bool = False
    """It runs code, and what that does shows only when it runs."""
    unsettled: bool = False
    """Statements before it change settings or the catalog: it was looked at as if they didn't."""
    notes: tuple[str, ...] = ()
    """Why something of it isn't known."""
    shown: tuple[str, ...] = ()
    """Columns, `schema.table.column`, of whose values it lets something out; only if they were asked for."""
    compared: tuple[str, ...] = ()
    """Columns that rows are only chosen, joined, grouped or sorted by."""
    defines: tuple[str, ...] = ()
    """Tables that it reads or alters as a whole, not by a query."""
    error: ServerError | None = None


class Explanation(Struct, frozen=True):
    """A whole text. `error`: the server refuses it as it stands, and nothing of it would run."""

    statements: tuple[Explained, ...] = ()
    error: ServerError | None = None
    role: str = ""
    """The role that was asked as: the agent's own."""
    search_path: str = ""
