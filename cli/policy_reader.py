"""What a statement would do, asked of its database through the agent: nothing of it is run."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from agent.core.limits import MAX_EXPLAINED
from cli.client import Client, client
from cli.errors import HoopError
from schemas.explanation import Explanation, ServerError

INSTEAD = 'name what it does: --operation "DELETE app.users"'
"""What can be done without a database."""

PATIENCE = 90.0
"""Seconds for an answer: the agent's own time-out ends sooner and says more."""


class ReaderError(Exception):
    """What a statement would do can't be had; the message says why, `hint` what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Reader(Protocol):
    """Tells what the statements of a text would do, by asking their database."""

    def read(self, text: str, search_path: str | None, columns: bool) -> Explanation:
        """What they would do, names looked up along the search path; None: along that of the agent's role. `columns`:
        which columns they let out is asked too. Raises ReaderError."""


class AgentReader:
    """Asks the agent of this invocation, which asks the resource, TYPE/NAME, with its own login."""

    def __init__(self, resource: str) -> None:
        self._resource = resource
        self._client: Client | None = None
        self._known: dict[tuple[str, str | None, bool], Explanation] = {}

    def read(self, text: str, search_path: str | None, columns: bool) -> Explanation:
        """As Reader. What was asked already isn't asked again."""
        key = (text, search_path, columns)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._asked(text, search_path, columns)
        return known

    def _asked(self, text: str, search_path: str | None, columns: bool) -> Explanation:
        if len(text) > MAX_EXPLAINED:
            raise ReaderError(
                f"the statement is too long (got {len(text)} characters, expected at most {MAX_EXPLAINED})"
            )
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ReaderError("the statement is not UTF-8") from error
        body: dict[str, Any] = {"text": text, "search_path": search_path, "columns": columns}
        try:
            self._client = self._client or client()
            answer = self._client.post("resources", self._resource, "explain", body=body, timeout=PATIENCE)
            return msgspec.convert(answer, Explanation)
        except HoopError as error:
            raise ReaderError(error.message, error.hint) from error
        except msgspec.ValidationError as error:
            raise ReaderError(f"the agent's answer can't be read ({error})", "is it of the same version?") from error


def refusal(error: ServerError) -> str:
    """What the server says against a statement, in a line."""
    said = f"{error.message} (SQLSTATE {error.code})" if error.code else error.message
    return f"{said}; {error.detail}" if error.detail else said
