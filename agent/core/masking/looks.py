"""Values found in any text by what they look like.

First all that is looked for at once and cheaply, over whole buffers: ordinary text has nothing of it and is done. Only
where that finds something each kind is looked for in earnest. Both are regular expressions of RE2, which take time
linear in the text's length whatever the pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import re2

from agent.core.masking.kinds import KINDS, Kind, anything, next_word
from agent.core.masking.national import NATIONAL

Span = tuple[int, int, str]
"""Where a value begins and ends, and of what kind it is."""

TYPES: Final[tuple[str, ...]] = (*KINDS, "national_id", *NATIONAL)
"""The names that a mask's `types:` know."""

PATTERN: Final = "pattern"
"""The kind of what a pattern of the policy's own finds."""

# An e-mail's @ in JSON may be written \u0040, in XML &#64;.
_ESCAPES: Final = (r"\\u00[2-7]", r"&#")
_MEMORY: Final = 32 * 1024 * 1024
"""Bytes of automaton that one expression may build; past that RE2 begins anew, more slowly."""


def compiled(pattern: str, latin: bool = False) -> Any:
    """A regular expression of RE2 that writes nothing to standard error. Raises ValueError saying what is wrong."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    if latin:
        options.encoding = re2.Options.Encoding.LATIN1
    try:
        return re2.compile(pattern.encode("latin-1" if latin else "utf-8"), options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        raise ValueError(said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)) from None


class _Search:
    """One kind, ready to be looked for."""

    def __init__(self, name: str, kind: Kind, expression: Any) -> None:
        self.name: Final = name
        self.kind: Final = kind
        self.expression: Final = expression
        self.group: Final[int] = 1 if expression.groups and name != PATTERN else 0

    def spans(self, text: bytes, found: list[Span]) -> None:
        """Adds what of this kind is in the text."""
        at = 0
        while at < len(text):
            match = self.expression.search(text, at)
            if match is None:
                return
            start, end = match.span()
            if self.group and match.span(1)[0] >= 0:
                start, end = match.span(1)
            stop = self.kind.check(text, start, end) if end > start else -1
            if stop >= 0:
                found.append((start, stop, self.name))
                at = max(stop, at + 1)
            else:
                at = next_word(text, start + 1) if self.kind.bounded else max(end, at + 1)


class Detector:
    """Looks for the types of these names and for patterns in RE2's syntax. Raises ValueError for what isn't either."""

    def __init__(self, types: Sequence[str], patterns: Sequence[str] = ()) -> None:
        names: list[str] = []
        for name in types:
            if name not in TYPES:
                raise ValueError(f"there is no such type of value (got {name})")
            names.extend(NATIONAL if name == "national_id" else [name])
        self._searches: Final[list[_Search]] = []
        cheap: list[str] = []
        for name in dict.fromkeys(names):
            kind = KINDS[name] if name in KINDS else NATIONAL[name]
            self._searches.append(_Search(name, kind, compiled(kind.pattern, kind.latin)))
            cheap.extend(kind.cheap)
        own = Kind((), "", anything)
        for pattern in dict.fromkeys(patterns):
            self._searches.append(_Search(PATTERN, own, compiled(pattern)))
        self._first: Final[list[Any]] = _combined([*dict.fromkeys(cheap), *_ESCAPES], True) if cheap or patterns else []
        loose = [loosened(pattern) for pattern in dict.fromkeys(patterns)]
        self._blind: Final = any([pattern is None for pattern in loose])  # noqa: C419 - compiled, a list is as good
        if patterns:
            self._first.extend(_combined([pattern for pattern in loose if pattern is not None], False))

    def suspects(self, data: bytes) -> bool:
        """Whether anything that is looked for may be in these bytes, text or messages with texts in them. Cheap; says
        no only if there is nothing."""
        return self._blind or any(first.search(data) is not None for first in self._first)

    def marks(self, data: bytes) -> list[tuple[int, int]]:
        """Where in these bytes anything that is looked for may be: it overlaps one of these parts, which are in order
        and apart from one another."""
        if self._blind:
            return [(0, len(data))]
        found: list[tuple[int, int]] = []
        for first in self._first:
            for match in first.finditer(data):
                found.append(match.span())
        return joined(found)

    def find(self, text: bytes) -> list[Span]:
        """Where in a text what is looked for stands: in order, nothing twice; what overlaps is one, of the kind of the
        first of it."""
        if not self.suspects(text):
            return []
        found: list[Span] = []
        for search in self._searches:
            search.spans(text, found)
        if len(found) < 2:
            return found
        found.sort(key=_order)
        apart: list[Span] = [found[0]]
        for start, end, name in found[1:]:
            before = apart[-1]
            if start >= before[1]:
                apart.append((start, end, name))
            elif end > before[1]:
                apart[-1] = (before[0], end, before[2])
        return apart


def loosened(pattern: str) -> str | None:
    """A pattern that finds all that this one does without looking at what is around it, as a value's surroundings in a
    message aren't those of its own: without `^`, `$`, `\\b` and their like. None where that can't be told."""
    kept: list[str] = []
    at = 0
    within = -1  # where a class in brackets began
    while at < len(pattern):
        letter = pattern[at : at + 2] if pattern[at] == "\\" else pattern[at]
        if letter[-1] in "QE" and len(letter) == 2:
            return None
        dropped = within < 0 and letter in ("^", "$", "\\b", "\\B", "\\A", "\\z")
        if letter == "[" and within < 0:
            within = at + (2 if pattern[at + 1 : at + 2] == "^" else 1)
        elif letter == "[" and pattern[at + 1 : at + 2] == ":":
            letter = pattern[at : pattern.find(":]", at) + 2] or letter
        elif letter == "]" and at > within:
            within = -1
        at += len(letter)
        if not dropped:
            kept.append(letter)
        elif pattern[at : at + 1] in ("*", "+", "?", "{"):
            return None
    loose = "".join(kept)
    try:
        return None if compiled(loose).match("") is not None else loose
    except ValueError:
        return None


def joined(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts in order, those that touch as one."""
    parts.sort()
    made: list[tuple[int, int]] = []
    for start, end in parts:
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(end, made[-1][1]))
        else:
            made.append((start, end))
    return made


def _order(span: Span) -> tuple[int, int]:
    return span[0], -span[1]


def _combined(patterns: list[str], latin: bool) -> list[Any]:
    """One expression for all of them, or one for each where they can't be combined (two groups of one name)."""
    if not patterns:
        return []
    try:
        return [compiled("|".join([f"(?:{pattern})" for pattern in patterns]), latin)]
    except ValueError:
        return [compiled(pattern, latin) for pattern in patterns]
