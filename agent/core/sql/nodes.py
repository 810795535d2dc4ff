"""PostgreSQL's text form of its trees, as `debug_print_rewritten` shows them.

    node      = "{" NAME (":" field value)* "}"
    value     = node | "(" value* ")" | "<>" | token | token "[" byte* "]"
    list      may begin with i (integers), o (OIDs), b (a bit set) or x (transaction ids)

Tokens are separated by white space; a backslash takes the next character as it is; a String node is in double quotes.
src/backend/nodes/outfuncs.c and read.c of PostgreSQL 13 to 18. Most of a tree is never looked at: a node keeps the text
of its plain fields and takes it apart when one of them is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

MAX_TREE: Final = 8 << 20
"""Characters of a tree that is read; a statement with a larger one is not understood."""

_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_HIDDEN: Final = 0xDC00
"""A character behind a backslash is kept as the lone surrogate of its number while the tree is taken apart: no text
that was decoded has one, and none is a bracket or a space."""
_SHOWN: Final = {_HIDDEN + number: chr(number) for number in range(128)}
_SPACES: Final = re.compile(" {2,}")
_BRACKET: Final = re.compile("([{}()])")
_PAIR: Final = re.compile(r":([^ ]+) ([^ ]+)(?: (\[[^\]]*\]))?")

_COMMAND: Final = re.compile(r":commandType (\d)")

_LARGE: Final = 1 << 20
_LONG_CONSTANT: Final = re.compile(r"\[(?:\s+-?[0-9]+){256,}\s+\]")
"""The bytes of a constant that is too long to be a name: of a large tree nothing else is large."""


class TreeError(Exception):
    """The text is not a tree; what it says is not known then."""


class Node:
    """A node: its name, and its fields by name. A field is a str (a token as it stands, "<>" for none), a Node, or a
    list of these; a constant's bytes are a list of their tokens behind its length."""

    __slots__ = ("_fields", "name", "plain", "within")

    def __init__(self, name: str) -> None:
        self.name = name
        self.plain = ""
        """The text of the fields whose values are tokens."""
        self.within: dict[str, object] = {}
        """The fields whose values are nodes or lists."""
        self._fields: dict[str, object] | None = None

    def __repr__(self) -> str:
        return f"Node({self.name}, {', '.join(self.fields)})"

    @property
    def fields(self) -> dict[str, object]:
        found = self._fields
        if found is None:
            found = {}
            if self.plain:
                _take_apart(self.plain, found)
            found.update(self.within)
            self._fields = found
        return found

    def token(self, field: str) -> str:
        """A field that is a token; empty when it is none, or not there."""
        value = self.fields.get(field)
        return value if isinstance(value, str) and value != "<>" else ""

    def number(self, field: str) -> int:
        """A field that is a number; 0 when it is none."""
        return _number(self.token(field))

    def true(self, field: str) -> bool:
        return self.token(field) == "true"

    def text(self, field: str) -> str:
        """A field that is a name, its escapes undone."""
        return unescape(self.token(field))

    def node(self, field: str) -> Node | None:
        value = self.within.get(field)
        return value if isinstance(value, Node) else None

    def items(self, field: str) -> list[object]:
        """A field that is a list; empty when it is none."""
        value = self.fields.get(field)
        return value if isinstance(value, list) else []

    def nodes(self, field: str) -> list[Node]:
        value = self.within.get(field)
        return [item for item in value if isinstance(item, Node)] if isinstance(value, list) else []

    def strings(self, field: str) -> list[str]:
        """A list of String nodes, as they were written."""
        return [string(item) for item in self.items(field) if isinstance(item, str) and item.startswith('"')]

    def numbers(self, field: str) -> list[int]:
        """A list of integers or OIDs, or a bit set."""
        return [_number(item) for item in self.items(field) if isinstance(item, str) and _is_number(item)]

    def walk(self) -> Iterator[Node]:
        """This node and every node below it, each before what is below it."""
        waiting: list[object] = [self]
        while waiting:
            at = waiting.pop()
            if isinstance(at, Node):
                yield at
                waiting.extend(reversed(list(at.within.values())))
            elif isinstance(at, list):
                waiting.extend(reversed(at))


def command(query: Node) -> str:
    """A QUERY's kind of command, as PostgreSQL 15 and newer number it: 1 SELECT, 2 UPDATE, 3 INSERT, 4 DELETE, 5 MERGE,
    6 a utility statement, 7 nothing. Older ones have no MERGE, and go on with 5."""
    found = _COMMAND.search(query.plain)
    kind = found[1] if found is not None else ""
    if kind == "5" or kind == "6":
        plain = " :utilityStmt <> " in f"{query.plain} "
        return kind if plain == (kind == "5") else "7" if plain else "6"
    return kind


def _is_number(token: str) -> bool:
    return len(token) <= 20 and token.isascii() and token.removeprefix("-").isdigit()


def _number(token: str) -> int:
    return int(token) if _is_number(token) else 0


def _take_apart(plain: str, found: dict[str, object]) -> None:
    """Plain fields by name. Those of nearly every node are words between single spaces."""
    if not plain.startswith(":"):  # {A_EXPR IN :name …}, {A_CONST NULL …}: a word that has no field
        word, _, plain = plain.partition(" ")
        found[""] = word
    if "[" in plain:
        for name, token, more in _PAIR.findall(plain):
            found[name] = [token, *more.split()] if more else token
        return
    words = plain.split(" ")
    for at in range(1, len(words), 2):
        found[words[at - 1][1:]] = words[at]


def unescape(token: str) -> str:
    """A name, as it is, of the token that stands for it."""
    if token == '""':
        return ""
    return token if token.isascii() else token.translate(_SHOWN)


def string(token: str) -> str:
    """The text of a String node's token."""
    return unescape(token[1:-1]) if len(token) > 2 else ""


def _hide(escaped: re.Match[str]) -> str:
    number = ord(escaped[1])
    return chr(_HIDDEN + number) if number < 128 else escaped[1]


def read(text: str) -> list[Node]:
    """The trees that a text stands for: what one statement was rewritten to, none or several. Raises TreeError;
    however deep a tree is, that takes no stack."""
    if len(text) > _LARGE:
        text = _LONG_CONSTANT.sub("[ ]", text)
    if len(text) > MAX_TREE:
        raise TreeError(f"tree too large (got {len(text)} characters, expected at most {MAX_TREE})")
    if "\\" in text:
        text = _ESCAPE.sub(_hide, text)
    text = text.replace("\n", " ").replace("\t", " ")
    if "  " in text:
        text = _SPACES.sub(" ", text)
    top = _assemble(_BRACKET.split(text))
    if len(top) != 1:
        raise TreeError("not one tree or one list of trees")
    first = top[0]
    if isinstance(first, Node):
        return [first]
    if first == "<>":
        return []
    trees = first if isinstance(first, list) else [first]
    nodes = [tree for tree in trees if isinstance(tree, Node)]
    if len(nodes) != len(trees):
        raise TreeError("a list of something else than trees")
    return nodes


def _assemble(pieces: list[str]) -> list[object]:
    """What stands at the top, of what stands between brackets, and the brackets. `node` is what is open, or `items`
    where it is None; `field` of the node is filled next."""
    top: list[object] = []
    stack: list[tuple[Node | None, list[object], str]] = []
    node: Node | None = None
    items = top
    field = ""
    opened = False
    for at in range(0, len(pieces), 2):
        piece = pieces[at].strip(" ")
        bracket = pieces[at + 1] if at + 1 < len(pieces) else ""
        opens = bracket == "{" or bracket == "("
        if node is None:
            if piece:
                items.extend(piece.split(" "))
        else:
            if opened:
                node.name, _, piece = piece.partition(" ")
            if opens:
                piece, _, field = piece.rpartition(" ")
                if not field.startswith(":"):
                    raise TreeError(f"value without a field in {node.name} (got {field!r})")
            if piece:
                node.plain = f"{node.plain} {piece}" if node.plain else piece
        opened = bracket == "{"
        if opens:
            stack.append((node, items, field))
            if opened:
                node = Node("")
            else:
                node, items = None, []
        elif bracket:
            if not stack or (node is None) == (bracket == "}"):
                raise TreeError(f"{bracket} out of turn")
            value: object = items if node is None else node
            node, items, field = stack.pop()
            if node is None:
                items.append(value)
            else:
                node.within[field[1:]] = value
    if stack:
        raise TreeError("the tree has no end")
    return top
