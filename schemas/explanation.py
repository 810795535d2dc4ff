"""What the statements of a text would do, as a database told it without running them."""

from __future__ import annotations

from msgspec import Struct

from schemas.found import Found


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
    found: Found
    """Which columns it lets out is found only if it was asked for."""
    tag: str = ""
    """PostgreSQL's command tag, as far as the first words tell it."""
    unsettled: bool = False
    """Statements before it change settings or the catalog: it was looked at as if they didn't."""
    notes: tuple[str, ...] = ()
    """Why something of it isn't known."""
    error: ServerError | None = None


class Explanation(Struct, frozen=True):
    """A whole text. `error`: the server refuses it as it stands, and nothing of it would run."""

    statements: tuple[Explained, ...] = ()
    error: ServerError | None = None
    role: str = ""
    """The role that was asked as: the agent's own."""
    search_path: str = ""
