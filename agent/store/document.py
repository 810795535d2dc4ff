"""A YAML file read value by value, so that every problem in it can be told at once with its line and column.

The file is composed into nodes, not into objects: a node still knows where it stands, and a scalar is the text that
was written (`no` stays `no`; there is no surprise from YAML's guesses). Anchors and aliases work; merge keys don't.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

import yaml

LIMIT = 1 << 20
"""Bytes: a configuration that a person wrote is a hundredth of it."""

DEPTH = 50
"""Levels of nesting: libyaml composes by recursion and has no bound of its own."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_SIZE = re.compile(r"(\d+)\s*([kMGT]?B)?", re.IGNORECASE)
_SIZES = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)")
_TIMES = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:.%]+)\]|([^\s\[\]:/@]+)):(\d{1,5})")


@dataclass(frozen=True)
class Problem:
    """What is wrong in a file; `line` and `column` count from 1, `key` is the path of keys to it."""

    file: str
    line: int
    column: int
    key: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.key}: {self.message}" if self.key else f"{where}: {self.message}"


@dataclass
class Document:
    """A file and the problems found in it so far."""

    file: str
    problems: list[Problem] = field(default_factory=list)

    def problem(self, line: int, column: int, key: str, message: str) -> None:
        """Notes a problem; control characters that the message quotes from the file don't reach a terminal."""
        self.problems.append(Problem(self.file, line, column, _printable(key), _printable(message)))

    def compose(self, content: bytes) -> Value | None:
        """The whole document as a value; None, and the problem noted, when it isn't one YAML document."""
        if len(content) > LIMIT:
            self.problem(1, 1, "", f"the file is too large (got {len(content)} bytes, expected at most {LIMIT})")
            return None
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            self.problem(content.count(b"\n", 0, error.start) + 1, 1, "", "the file is not UTF-8")
            return None
        try:
            node = _compose(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            self.problem(line, column, "", f"this is not YAML ({error.problem or error.context})")
        except _TooDeep as error:
            self.problem(error.line, 1, "", f"the nesting is too deep (expected at most {DEPTH} levels)")
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            self.problem(line, 1, "", "this is not YAML (a control character)")
        else:
            if node is not None:
                return Value(self, node, "")
            self.problem(1, 1, "", "the file is empty")
        return None


class _TooDeep(Exception):
    """More than DEPTH levels; says in which line."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _compose(text: str) -> yaml.Node | None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH:
            raise _TooDeep(event.start_mark.line + 1 if event.start_mark else 1)
    node: yaml.Node | None = yaml.compose(text, Loader=_Loader)
    return node


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def located(written: str, directory: Path) -> str:
    """The path that was written, absolute: relative to the directory, `~` expanded, nothing looked up."""
    path = Path(written)
    # A `~name` that is nobody's home is a file of that name, as in a shell.
    with suppress(RuntimeError):
        path = path.expanduser()
    return os.path.abspath(directory / path)


def duration(written: str) -> float | None:
    """The seconds that `60s`, `15m`, `12h` or `90d` stand for; None when it isn't written so."""
    match = _TIME.fullmatch(written)
    return float(match[1]) * _TIMES[match[2]] if match else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is spelt most like this one, if one comes near."""
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def suggestion(word: str, known: Sequence[str]) -> str:
    """` (got WORD, …)` for a word that isn't one of these: the nearest one, or all of them."""
    near = nearest(word, known)
    return f"got {word}, did you mean {near}?" if near else f"got {word}, expected one of {', '.join(known)}"


@dataclass(frozen=True)
class Value:
    """A place in the document. Each reading method returns what was asked for; when the value isn't that, it notes the
    problem and returns the fallback, so that reading goes on to the next problem."""

    document: Document
    node: yaml.Node
    key: str

    def problem(self, message: str) -> None:
        """Notes a problem that stands here."""
        mark = self.node.start_mark
        self.document.problem(mark.line + 1, mark.column + 1, self.key, message)

    @property
    def written(self) -> str:
        """The scalar as it was written; what kind of thing it is when it isn't one."""
        if isinstance(self.node, yaml.ScalarNode):
            return str(self.node.value)
        return "a list" if isinstance(self.node, yaml.SequenceNode) else "a mapping"

    def is_scalar(self) -> bool:
        return isinstance(self.node, yaml.ScalarNode)

    def below(self, key: str) -> str:
        """The path of a key of this mapping."""
        return f"{self.key}.{key}" if self.key else key

    def mapping(self, known: Sequence[str] | None, required: Sequence[str] = ()) -> dict[str, Value]:
        """The values of a mapping by their keys, without those that are left empty; `known` None: any key."""
        found: dict[str, Value] = {}
        if not isinstance(self.node, yaml.MappingNode):
            self.problem(
                f"this should be a mapping (got {self.written}, expected keys such as {', '.join(known or ('KEY',))})"
            )
            return found
        for key_node, node in self.node.value:
            plain = isinstance(key_node, yaml.ScalarNode)
            key = Value(self.document, key_node, self.below(str(key_node.value)) if plain else self.key)
            if not plain:
                key.problem(f"a key should be a word (got {key.written})")
            elif known is not None and key.written not in known:
                key.problem(f"unknown key ({suggestion(key.written, known)})")
            elif key.written in found:
                key.problem("this key stands here twice")
            elif node.tag != "tag:yaml.org,2002:null":
                found[key.written] = Value(self.document, node, key.key)
        for name in required:
            if name not in found:
                self.problem(f"the key {name} is missing")
        return found

    def items(self) -> list[Value]:
        """The values of a list."""
        if isinstance(self.node, yaml.SequenceNode):
            return [Value(self.document, node, f"{self.key}[{place}]") for place, node in enumerate(self.node.value)]
        self.problem(f"this should be a list (got {self.written})")
        return []

    def text(self, fallback: str = "") -> str:
        """A word or line of text; not empty."""
        if not self.is_scalar() or not self.written:
            self.problem(f"this should be text (got {self.written or 'nothing'})")
            return fallback
        if not self.written.isprintable():
            self.problem("control characters don't belong here")
            return fallback
        return self.written

    def choice(self, choices: Sequence[str], fallback: str) -> str:
        """One of these words."""
        if self.is_scalar() and self.written in choices:
            return self.written
        self.problem(f"unknown value ({suggestion(self.written, choices)})")
        return fallback

    def size(self, fallback: int, least: int = 0) -> int:
        """Bytes, written as `64MB`; kB, MB, GB and TB are powers of 1024, as in PostgreSQL's own configuration."""
        match = _SIZE.fullmatch(self.written) if self.is_scalar() else None
        if match is None:
            self.problem(f"this should be a size (got {self.written}, expected one such as 64MB)")
            return fallback
        size = int(match[1]) * _SIZES[(match[2] or "").lower()]
        if not least <= size < 1 << 62:
            self.problem(f"the size is out of range (got {self.written}, expected at least {least} bytes)")
            return fallback
        return size

    def duration(self, fallback: float, least: float = 0.0) -> float:
        """Seconds, written as `60s`, `15m`, `12h`, `90d`."""
        seconds = duration(self.written) if self.is_scalar() else None
        if seconds is None:
            self.problem(f"this should be a time (got {self.written}, expected one such as 60s, 15m or 90d)")
            return fallback
        if not least <= seconds <= 1e10:
            self.problem(f"the time is out of range (got {self.written}, expected at least {least:g}s)")
            return fallback
        return seconds

    def address(self) -> tuple[str, int] | None:
        """HOST:PORT; an IPv6 address in brackets. None when it isn't."""
        match = _ADDRESS.fullmatch(self.written) if self.is_scalar() else None
        if match is None or int(match[3]) > 65535:
            self.problem(f"this should be an address (got {self.written}, expected HOST:PORT such as 127.0.0.1:5439)")
            return None
        return match[1] or match[2], int(match[3])
