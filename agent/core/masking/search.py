"""What a session's answers are searched for: the masks in force that find values by their look."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from agent.core.masking.looks import Detector
from agent.core.masking.replacer import Replacer
from agent.core.masking.spotting import Several, Spotted
from schemas.policy import Mask

_TEXT: Final = 25
_TELLING: Final = (b"M", b"D", b"H", b"W", b"q", b"s", b"t", b"c", b"d", b"n")
"""Fields of an error or a notice that may quote a value: message, detail, hint, where, internal query, names."""


class _Sought(Struct, frozen=True):
    name: str
    way: str
    detector: Detector


class Search:
    """Of one policy and whom it is about. `masks` have types or patterns, all of them. Raises ValueError for what
    agent.store.policy would have refused."""

    def __init__(self, masks: list[Mask]) -> None:
        self._each = [_Sought(mask.name, mask.replacement, Detector(mask.types, mask.patterns)) for mask in masks]
        self.detectors: tuple[Detector, ...] = tuple([one.detector for one in self._each])
        self.names: tuple[str, ...] = tuple([mask.name for mask in masks])

    def suspects(self, value: bytes) -> bool:
        """Whether any of it may be in there. Cheap; says no only if there is nothing."""
        return any([detector.suspects(value) for detector in self.detectors])  # noqa: C419 - compiled, a list is as good

    def replacer(self, key: bytes, type_oid: int, modifier: int, binary: bool) -> Replacer:
        """For the values of one column. Of a type that isn't known they are searched as texts."""
        oid = type_oid or _TEXT
        found = [Spotted(one.detector, one.way, key, oid, modifier, binary) for one in self._each]
        return found[0] if len(found) == 1 else Several(found)

    def text(self, key: bytes, value: bytes) -> bytes:
        """A text that isn't a value of a column, without what is found in it; the same object if that is nothing."""
        if not self.suspects(value):
            return value
        return self.replacer(key, _TEXT, -1, False).replace(value) or b""

    def report(self, key: bytes, body: bytes) -> bytes:
        """The body of an ErrorResponse or NoticeResponse likewise."""
        if not self.suspects(body):
            return body
        made: list[bytes] = []
        for field in body.split(b"\0"):
            made.append(field[:1] + self.text(key, field[1:]) if field[:1] in _TELLING else field)
        return b"\0".join(made)

    def told(self, key: bytes, body: bytes, head: int) -> bytes:
        """The body of a message of strings behind `head` bytes likewise: the first of them is a name and stays."""
        if not self.suspects(body):
            return body
        name, _, value = body[head:].partition(b"\0")
        return body[:head] + name + b"\0" + self.text(key, value[:-1]) + b"\0"
