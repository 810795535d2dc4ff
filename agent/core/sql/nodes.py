"""PostgreSQL's text form of its trees, as `debug_print_rewritten` shows them.

    node      = "{" NAME (":" field value)* "}"
    value     = node | "(" value* ")" | "<>" | token | token "[" byte* "]"
    list      may begin with i (integers), o (OIDs), b (a bit set) or x (transaction ids)

Tokens are separated by white space; a backslash takes the next character as it is; a String node is in double quotes.
src/backend/nodes/outfuncs.c and read.c of PostgreSQL 15 to 18.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_TREE: Final = 8 << 20
"""Bytes of a tree that is read; a statement with a larger one is not understood."""

_TOKEN: Final = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


class TreeError(Exception):
    """The text is not a tree; what it says is not known then."""


class Node:
    """A node: its name, and its fields by name. A field is a str (a token as it stands, "<>" for none), a Node, or a
    list of these; a constant's bytes are a list of their tokens behind its length."""

    __slots__ = ("fields", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.fields: dict[str, object] = {}

    def __repr__(self) -> str:
        return f"Node({self.name}, {', '.join(self.fields)})"

    def token(self, field: str) -> str:
        """A field that is a token; empty when it is none, or not there."""
        value = self.fields.get(field)
        return value if isinstance(value, str) and value != "<>" else ""

    def number(self, field: str) -> int:
        """A field that is a number; 0 when it is none."""
        value = self.token(field)
        return int(value) if value.lstrip("-").isdecimal() else 0

    def true(self, field: str) -> bool:
        return self.token(field) == "true"

    def text(self, field: str) -> str:
        """A field that is a name, its escapes undone."""
        return unescape(self.token(field))

    def node(self, field: str) -> Node | None:
        value = self.fields.get(field)
        return value if isinstance(value, Node) else None

    def items(self, field: str) -> list[object]:
        """A field that is a list; empty when it is none."""
        value = self.fields.get(field)
        return value if isinstance(value, list) else []

    def nodes(self, field: str) -> list[Node]:
        return [item for item in self.items(field) if isinstance(item, Node)]

    def strings(self, field: str) -> list[str]:
        """A list of String nodes, as they were written."""
        return [string(item) for item in self.items(field) if isinstance(item, str) and item.startswith('"')]

    def numbers(self, field: str) -> list[int]:
        """A list of integers or OIDs, or a bit set."""
        return [int(item) for item in self.items(field) if isinstance(item, str) and item.lstrip("-").isdecimal()]

    def walk(self) -> Iterator[Node]:
        """This node and every node below it, each before what is below it."""
        waiting: list[object] = [self]
        while waiting:
            at = waiting.pop()
            if isinstance(at, Node):
                yield at
                waiting.extend(reversed(list(at.fields.values())))
            elif isinstance(at, list):
                waiting.extend(reversed(at))


def unescape(token: str) -> str:
    return _ESCAPE.sub(r"\1", token) if "\\" in token else ("" if token == '""' else token)


def string(token: str) -> str:
    """The text of a String node's token."""
    return unescape(token[1:-1]) if len(token) >= 2 else ""


def read(text: str) -> list[Node]:
    """The trees that a text stands for: what one statement was rewritten to, none or several. Raises TreeError;
    however deep a tree is, that takes no stack."""
    if len(text) > MAX_TREE:
        raise TreeError(f"tree too large (got {len(text)} characters, expected at most {MAX_TREE})")
    tokens = _TOKEN.findall(text)
    top: list[object] = []
    stack: list[tuple[Node | list[object], str]] = []  # what is open, and the field of a node that is filled next
    place: Node | list[object] = top
    field = ""
    at = 0
    count = len(tokens)
    while at < count:
        token = tokens[at]
        at += 1
        value: object
        if token == "{":
            if at >= count:
                raise TreeError("node without a name")
            stack.append((place, field))
            place, field = Node(tokens[at]), ""
            at += 1
            continue
        if token == "(":
            stack.append((place, field))
            place, field = [], ""
            continue
        if token == "}" or token == ")":
            if not stack or isinstance(place, Node) != (token == "}"):
                raise TreeError(f"{token} out of turn")
            value = place
            place, field = stack.pop()
        elif isinstance(place, Node) and token.startswith(":") and (not field or field in place.fields):
            field = token[1:]
            continue
        else:
            value = token
        if isinstance(place, list):
            place.append(value)
        elif not field:
            raise TreeError(f"value without a field in {place.name}")
        elif field not in place.fields:
            place.fields[field] = value
        else:  # a constant's bytes behind its length
            before = place.fields[field]
            if isinstance(before, list):
                before.append(value)
            else:
                place.fields[field] = [before, value]
    if stack or len(top) != 1:
        raise TreeError("not one tree or one list of trees")
    if isinstance(top[0], Node):
        return [top[0]]
    trees = top[0] if isinstance(top[0], list) else []
    nodes = [tree for tree in trees if isinstance(tree, Node)]
    if len(nodes) != len(trees):
        raise TreeError("a list of something else than trees")
    return nodes
