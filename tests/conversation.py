"""Conversations with sans-IO sessions: what is said to them and what they must answer, read from top to bottom.

    talk(session).when(DataReceived(...)).expect(Append(...), Send(...))

A session is anything with `feed(event) -> list[command]`; events and commands are msgspec structs or dataclasses. When
the answer is not the expected one, the failure shows the conversation so far and a diff of the commands, a field a
line. A field whose value doesn't matter is written `unittest.mock.ANY`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec
import pytest

LONGEST_BYTES = 400  # of one value in a failure; the rest is counted


class Session(Protocol):
    """What can be talked to."""

    def feed(self, event: Any) -> Sequence[Any]: ...


def talk(session: Session) -> Conversation:
    """Begins a conversation with `session`."""
    return Conversation(session)


class Conversation:
    """Feeds events, one `when` each, and holds the commands that nobody has expected yet."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.said: list[str] = []
        self.answer: list[Any] = []
        self.open = False

    def when(self, *events: Any) -> Conversation:
        """Says `events`. What the session answers must be taken by the next `expect`, `silence` or `ignore`."""
        __tracebackhide__ = True
        if self.open:
            self._compare([])
        for event in events:
            self.said.append(f"when   {brief(event)}")
            self.answer.extend(self.session.feed(event))
        self.open = True
        return self

    def expect(self, *commands: Any) -> Conversation:
        """The session answered exactly `commands`, in this order."""
        __tracebackhide__ = True
        self._compare(list(commands))
        self.said.extend(f"expect {brief(command)}" for command in commands)
        self.answer = []
        self.open = False
        return self

    def silence(self) -> Conversation:
        """The session answered nothing."""
        __tracebackhide__ = True
        return self.expect()

    def ignore(self) -> Conversation:
        """Whatever the session answered is of no interest here."""
        self.said.append(f"ignore {len(self.answer)} commands")
        self.answer = []
        self.open = False
        return self

    def take(self) -> list[Any]:
        """The commands that the session answered, for a test that looks closer."""
        answer = self.answer
        self.ignore()
        return answer

    def _compare(self, expected: list[Any]) -> None:
        __tracebackhide__ = True
        if self.answer != expected:
            pytest.fail("\n".join([*self.said, "", *difference(expected, self.answer)]), pytrace=False)


def difference(expected: Sequence[Any], seen: Sequence[Any]) -> list[str]:
    """A diff of two lists of commands, a field a line; fields that are equal read the same on both sides."""
    left: list[str] = []
    for place, command in enumerate(expected):
        other = seen[place] if place < len(seen) else None
        left.extend(lines(command, other))
    right = [line for command in seen for line in lines(command, None)]
    return list(difflib.unified_diff(left, right, "expected", "seen", lineterm="", n=10_000))


def lines(value: Any, other: Any, before: str = "", after: str = "") -> Iterator[str]:
    """`value` a field a line, written like `other` where the two are equal (ANY is equal to everything)."""
    if value == other:
        value = other
    names = fields(value)
    if not names:
        yield f"{before}{show(value)}{after}"
        return
    indent = " " * (len(before) - len(before.lstrip()))
    yield f"{before}{type(value).__name__}("
    for name in names:
        theirs = getattr(other, name) if type(value) is type(other) else None
        yield from lines(getattr(value, name), theirs, f"{indent}    {name}=", ",")
    yield f"{indent}){after}"


def fields(value: Any) -> tuple[str, ...]:
    """The names of `value`'s fields; none if it isn't a struct or dataclass."""
    if isinstance(value, msgspec.Struct):
        return value.__struct_fields__
    return tuple(field.name for field in dataclasses.fields(value)) if dataclasses.is_dataclass(value) else ()


def brief(value: Any) -> str:
    """`value` on one line."""
    names = fields(value)
    if not names:
        return show(value)
    return f"{type(value).__name__}({', '.join(f'{name}={brief(getattr(value, name))}' for name in names)})"


def show(value: Any) -> str:
    """The repr of `value`, long bytes cut and counted."""
    if isinstance(value, (bytes, bytearray, memoryview)) and len(value) > LONGEST_BYTES:
        return f"{bytes(value[:LONGEST_BYTES])!r}… ({len(value)} bytes)"
    return repr(value)
