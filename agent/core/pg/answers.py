"""A recorded answer of a PostgreSQL server, read back: from backend messages to columns, rows and what else was said.

https://www.postgresql.org/docs/current/protocol-message-formats.html
What is read was recorded, perhaps not to its end, so nothing here raises: what can't be read is counted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from agent.core.pg.values import hex_text, text_of

_HEAD = 5
_SEVERITY, _MESSAGE = "V", "M"


@dataclass(frozen=True)
class Column:
    """A column as RowDescription has it; `format` is 0 for text, 1 for binary."""

    name: str
    type_oid: int
    format: int
    table_oid: int = 0
    attribute: int = 0


@dataclass(frozen=True)
class Columns:
    """The columns of the rows that follow."""

    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Row:
    """A row; None is NULL."""

    values: tuple[str | None, ...]


@dataclass(frozen=True)
class Completed:
    """The command tag of a statement that ended well; empty for an empty statement."""

    tag: str


@dataclass(frozen=True)
class Suspended:
    """The client asked for no more rows for now."""


@dataclass(frozen=True)
class Report:
    """An error or a notice: `fields` by their letters, https://www.postgresql.org/docs/current/protocol-error-fields.html"""

    error: bool
    fields: dict[str, str]

    @property
    def severity(self) -> str:
        return self.fields.get(_SEVERITY) or self.fields.get("S") or ("ERROR" if self.error else "NOTICE")

    @property
    def message(self) -> str:
        return self.fields.get(_MESSAGE, "")


@dataclass(frozen=True)
class CopyBegun:
    """The server sends (`out`) or takes COPY data."""

    out: bool
    binary: bool


@dataclass(frozen=True)
class CopyData:
    """A piece of COPY data, a line as a rule."""

    data: bytes


@dataclass(frozen=True)
class Notification:
    """NOTIFY reached a session that listens."""

    channel: str
    payload: str
    process: int


@dataclass(frozen=True)
class FunctionResult:
    """The answer to a FunctionCall."""

    value: str | None


@dataclass(frozen=True)
class Unreadable:
    """The recording ends within a message, or isn't one of this protocol, `size` bytes before its end."""

    size: int


Part = (
    Columns | Row | Completed | Suspended | Report | CopyBegun | CopyData | Notification | FunctionResult | Unreadable
)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def guess_text(value: bytes) -> str:
    """A value of unknown type and format: its text if it reads as text, else its bytes in hex."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return hex_text(value)
    return (
        text if text.isprintable() or all(char.isprintable() or char in "\t\n\r" for char in text) else hex_text(value)
    )


def _string(body: bytes, at: int) -> tuple[str, int]:
    end = body.index(b"\0", at)
    return _text(body[at:end]), end + 1


def _columns(body: bytes) -> Columns:
    count = int.from_bytes(body[:2], "big")
    columns: list[Column] = []
    at = 2
    for _ in range(count):
        name, at = _string(body, at)
        table, attribute, oid, _, _, form = struct.unpack_from("!IhIhih", body, at)
        at += 18
        columns.append(Column(name, oid, form, table, attribute))
    return Columns(tuple(columns))


def _row(body: bytes, columns: tuple[Column, ...]) -> Row:
    count = int.from_bytes(body[:2], "big")
    known = len(columns) == count
    values: list[str | None] = []
    at = 2
    for position in range(count):
        (size,) = struct.unpack_from("!i", body, at)
        at += 4
        if size < 0:
            values.append(None)
            continue
        value = body[at : at + size]
        if len(value) != size:
            raise ValueError
        at += size
        if not known:
            values.append(guess_text(value))
        elif columns[position].format == 0:
            values.append(_text(value))
        else:
            values.append(text_of(columns[position].type_oid, value))
    return Row(tuple(values))


def _report(body: bytes, error: bool) -> Report:
    fields: dict[str, str] = {}
    at = 0
    while at < len(body) and body[at] != 0:
        letter = chr(body[at])
        fields[letter], at = _string(body, at + 1)
    return Report(error, fields)


def _notification(body: bytes) -> Notification:
    channel, at = _string(body, 4)
    payload, _ = _string(body, at)
    return Notification(channel, payload, int.from_bytes(body[:4], "big"))


def _function_result(body: bytes) -> FunctionResult:
    (size,) = struct.unpack_from("!i", body)
    return FunctionResult(None if size < 0 else guess_text(body[4 : 4 + size]))


class AnswerReader:
    """Reads an answer piece by piece, holding no more of it than one message."""

    def __init__(self) -> None:
        self._rest = b""
        self._columns: tuple[Column, ...] = ()
        self._lost = 0

    def feed(self, content: bytes) -> list[Part]:
        """The parts that are whole with this piece."""
        if self._lost:
            self._lost += len(content)
            return []
        data = self._rest + content if self._rest else content
        parts: list[Part] = []
        at = 0
        while len(data) - at >= _HEAD:
            end = at + 1 + int.from_bytes(data[at + 1 : at + 5], "big")
            if end < at + _HEAD:
                self._lost = len(data) - at
                break
            if end > len(data):
                break
            try:
                part = self._part(data[at], data[at + _HEAD : end])
            except (ValueError, struct.error):
                self._lost = len(data) - at
                break
            if part is not None:
                parts.append(part)
            at = end
        self._rest = b"" if self._lost else data[at:]
        return parts

    def finish(self) -> list[Part]:
        """What is left when no more will come."""
        size = self._lost or len(self._rest)
        return [Unreadable(size)] if size else []

    def _part(self, kind: int, body: bytes) -> Part | None:
        """Raises ValueError or struct.error for a message that isn't what its type says."""
        match chr(kind):
            case "T":
                described = _columns(body)
                self._columns = described.columns
                return described
            case "D":
                return _row(body, self._columns)
            case "C":
                self._columns = ()
                return Completed(_string(body, 0)[0])
            case "I":
                return Completed("")
            case "s":
                return Suspended()
            case "E" | "N":
                return _report(body, kind == ord("E"))
            case "G" | "H" | "W":
                return CopyBegun(kind != ord("G"), body[:1] == b"\x01")
            case "d":
                return CopyData(body)
            case "A":
                return _notification(body)
            case "V":
                return _function_result(body)
            case _:
                return None  # ReadyForQuery, ParseComplete and the like say nothing to a reader


@dataclass
class Result:
    """What one statement answered. `columns` is None when it returns no rows (or they were described elsewhere),
    `tag` when it failed, was suspended or isn't recorded to its end; `unreadable` counts bytes."""

    columns: tuple[Column, ...] | None = None
    rows: list[tuple[str | None, ...]] = field(default_factory=list)
    tag: str | None = None
    reports: list[Report] = field(default_factory=list)
    copy: bytearray | None = None
    notifications: list[Notification] = field(default_factory=list)
    suspended: bool = False
    unreadable: int = 0


def parts(contents: Iterable[bytes]) -> Iterator[Part]:
    """The parts of an answer, as its pieces come."""
    reader = AnswerReader()
    for content in contents:
        yield from reader.feed(content)
    yield from reader.finish()


def results(content: bytes) -> list[Result]:
    """A whole recorded answer: one result for every statement in it. Holds it all; `parts` streams."""
    done: list[Result] = []
    open_result: Result | None = None
    for part in parts([content]):
        result = open_result if open_result is not None else Result()
        open_result = None if _add(part, result) else result
        if open_result is None:
            done.append(result)
    return done if open_result is None else [*done, open_result]


def _add(part: Part, result: Result) -> bool:
    """Adds to the result; returns whether that was its end."""
    match part:
        case Columns(columns):
            result.columns = columns
        case Row(values):
            result.rows.append(values)
        case Completed(tag):
            result.tag = tag
            return True
        case Suspended():
            result.suspended = True
            return True
        case Report(error, _):
            result.reports.append(part)
            return error
        case CopyBegun(out, _):
            result.copy = bytearray() if out else None
        case CopyData(data):
            result.copy = result.copy if result.copy is not None else bytearray()
            result.copy += data
        case Notification():
            result.notifications.append(part)
        case FunctionResult(value):
            result.rows.append((value,))
        case Unreadable(size):
            result.unreadable = size
    return False
