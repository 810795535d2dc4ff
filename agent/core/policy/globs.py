"""Globs: `*` is any run of characters, also none; `?` is one character; everything else is itself.

They are matched without regular expressions, because `*` has to mean line feeds too and because the time is bounded
whatever a policy and its clients write: what stands between two stars is looked for once, at its leftmost place, and
never again, which is at most the pattern's length times the text's. Most patterns need one comparison in C.
"""

from __future__ import annotations

from typing import Final

MAX_GLOB: Final = 1000
"""Characters of a glob. The longest name in PostgreSQL is 63 bytes, an operation's object two or three of those."""

_REFUSED: Final = "[]{}\\"


def fault(pattern: str) -> str | None:
    """What is wrong with a glob; None when nothing is."""
    if not pattern:
        return "the glob is empty"
    if len(pattern) > MAX_GLOB:
        return f"the glob is too long (got {len(pattern)} characters, expected at most {MAX_GLOB})"
    if not pattern.isprintable():
        return "control characters don't belong in a glob"
    for letter in _REFUSED:
        if letter in pattern:
            return f"a glob has * for any characters and ? for one, but no {letter} (write ? where it is meant itself)"
    if pattern != pattern.strip() or "  " in pattern:
        return "blanks at the ends or two in a row never match"
    return None


class Globs:
    """Several globs, of which any may match."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        literals: list[str] = []
        prefixes: list[str] = []
        within: list[str] = []
        others: list[str] = []
        for pattern in patterns:
            if "*" not in pattern and "?" not in pattern:
                literals.append(pattern)
            elif "?" not in pattern and pattern.find("*") == len(pattern) - 1:
                prefixes.append(pattern[:-1])
            elif "?" not in pattern and pattern[0] == "*" and pattern.find("*", 1) == len(pattern) - 1:
                within.append(pattern[1:-1])
            else:
                others.append(pattern)
        self._literals: frozenset[str] = frozenset(literals)
        self._prefixes: tuple[str, ...] = tuple(prefixes)
        self._within: tuple[str, ...] = tuple(within)
        self._others: tuple[str, ...] = tuple(others)

    def matches(self, text: str) -> bool:
        """Whether one of the globs matches the whole text."""
        if text in self._literals or text.startswith(self._prefixes):
            return True
        if self._within and any(piece in text for piece in self._within):
            return True
        return bool(self._others) and any(matches(pattern, text) for pattern in self._others)


def matches(pattern: str, text: str) -> bool:
    """Whether the glob matches the whole text."""
    pieces = pattern.split("*")
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return len(text) == len(pattern) and _stands(pattern, text, 0)
    end = len(text) - len(last)
    place = len(first)
    if end < place or not _stands(first, text, 0) or not _stands(last, text, end):
        return False
    for piece in pieces[1:-1]:
        found = _find(piece, text, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True


def _stands(piece: str, text: str, place: int) -> bool:
    if "?" not in piece:
        return text.startswith(piece, place)
    return all(piece[offset] in ("?", text[place + offset]) for offset in range(len(piece)))


def _find(piece: str, text: str, start: int, end: int) -> int:
    if "?" not in piece:
        return text.find(piece, start, end)
    for place in range(start, end - len(piece) + 1):
        if _stands(piece, text, place):
            return place
    return -1


def covers(wide: str, narrow: str) -> bool:
    """Whether all that `narrow` matches is matched by `wide`. May miss that it is so, never says so wrongly."""
    alive = {0}
    for letter in narrow:
        alive = _step(wide, alive, letter)
    return _ends(wide, alive)


def can_begin(pattern: str, beginning: str) -> bool:
    """Whether the glob matches any text that begins so."""
    alive = {0}
    for letter in beginning:
        alive = _step(pattern, alive, letter)
    return bool(alive)


def _step(pattern: str, places: set[int], letter: str) -> set[int]:
    """The places in the pattern after one more letter. A `*` in the letters is matched by a `*` alone."""
    reached: set[int] = set()
    for place in places:
        position = place
        while position < len(pattern) and pattern[position] == "*":
            reached.add(position)
            position += 1
        if letter != "*" and position < len(pattern) and pattern[position] in (letter, "?"):
            reached.add(position + 1)
    return reached


def _ends(pattern: str, places: set[int]) -> bool:
    return any(not pattern[place:].strip("*") for place in places)
