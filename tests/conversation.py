"""Conversations with sans-IO sessions: what is said to them and what they must answer, read from top to bottom.

    talk(session).when(DataReceived(...)).expect(Append(...), Send(...))

A session is anything with `feed(event) -> list[command]`; events and commands are frozen dataclasses. When the answer
is not the expected one, the failure shows the conversation so far and a diff of the commands, a field a line. A field
whose value doesn't matter is written `unittest.mock.ANY`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Protocol

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


def lines(value: Any, other: Any) -> Iterator[str]:
    """`value` a field a line, written like `other` where the two are equal (ANY is equal to everything)."""
    if not is_dataclass(value):
        yield show(other if value == other else value)
        return
    yield f"{type(value).__name__}("
    for field in fields(value):
        mine = getattr(value, field.name)
        same = type(value) is type(other) and mine == getattr(other, field.name)
        yield f"    {field.name}={show(getattr(other, field.name) if same else mine)},"
    yield ")"


def brief(value: Any) -> str:
    """`value` on one line."""
    if not is_dataclass(value):
        return show(value)
    return f"{type(value).__name__}({', '.join(f'{f.name}={show(getattr(value, f.name))}' for f in fields(value))})"


def show(value: Any) -> str:
    """The repr of `value`, long bytes cut and counted."""
    if isinstance(value, (bytes, bytearray, memoryview)) and len(value) > LONGEST_BYTES:
        return f"{bytes(value[:LONGEST_BYTES])!r}… ({len(value)} bytes)"
    return repr(value)
