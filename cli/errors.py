"""How a command fails."""

from __future__ import annotations


class HoopError(Exception):
    """A failure that the user can read and act upon.

    `message` says what happened, in lower case, without a full stop, and what was got and expected where that
    applies; `hint` says what to do. `status` is the exit status: 1 refused, failed or found wrong; 2 wrong usage or
    configuration.
    """

    def __init__(self, message: str, hint: str | None = None, status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status
