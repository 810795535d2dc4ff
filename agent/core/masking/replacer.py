"""What a column's values are given to, whatever becomes of them."""

from __future__ import annotations

from typing import Final


class Replacer:
    """What gives another value for a value. `fixed`: it is `constant` whatever the value. `selective`: a value may
    come back as it was, the same object; `shows`: what makes it do otherwise is to be seen in the message's bytes."""

    def __init__(self, fixed: bool, constant: bytes | None, selective: bool = False, shows: bool = False) -> None:
        self.fixed: Final = fixed
        self.constant: Final = constant
        self.selective: Final = selective
        self.shows: Final = shows

    def replace(self, value: bytes) -> bytes | None:
        """The value to send instead; None is NULL. Never raises."""
        return self.constant
