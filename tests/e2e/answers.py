"""What tests ask of answers on the wire."""

from __future__ import annotations

from tests.e2e.wire import Message, Wire, bind, execute, parse, query


def kinds(messages: list[Message]) -> str:
    """The types of the messages, but for what a server may send at any time."""
    return "".join(each.type for each in messages if each.type not in "NSA")


def refusals(messages: list[Message]) -> list[str]:
    """The SQLSTATE codes of the errors."""
    return [each.fields["C"] for each in messages if each.type == "E"]


def run(wire: Wire, text: str) -> list[Message]:
    """What a Query is answered."""
    wire.send(query(text))
    return wire.until()


def steps(text: str, name: str = "") -> bytes:
    """A statement in the extended protocol."""
    return parse(text, name) + bind(name=name) + execute()
