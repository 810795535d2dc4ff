"""Answers as text: rows as tables, the rest as psql says it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import assert_never

from agent.core.pg.answers import (
    Column,
    Columns,
    Completed,
    CopyBegun,
    CopyData,
    FunctionResult,
    Notification,
    Part,
    Report,
    Row,
    Suspended,
    Unreadable,
    guess_text,
)
from cli.escape import escaped

BOLD, DIM, RED, YELLOW = "1", "2", "31", "33"

Paint = Callable[[str, str], str]
"""Gives a text an attribute (an SGR code of ECMA-48), or leaves it."""

_NUMBERS = frozenset([20, 21, 23, 26, 700, 701, 1700])
_ALIGNED = 100
"""Rows that a table's columns are measured by; later ones may stick out."""

_WIDEST = 100
"""Cells of a value where rows are limited; a longer one is cut."""

_CONTEXT = {"D": "DETAIL", "H": "HINT", "W": "CONTEXT", "s": "SCHEMA", "t": "TABLE", "n": "CONSTRAINT"}


class ResultText:
    """Turns the parts of one answer into text, as they come; shows at most `limit` rows of each result."""

    def __init__(self, paint: Paint, limit: int | None) -> None:
        self._paint = paint
        self._limit = limit
        self._columns: tuple[Column, ...] = ()
        self._widths: list[int] = []
        self._held: list[list[str | None]] = []
        self._shown = 0
        self._hidden = 0

    def add(self, parts: Sequence[Part]) -> Iterator[str]:
        """The text of these parts, which are shown at once."""
        for part in parts:
            if isinstance(part, Row):
                yield from self._row(part.values)
            else:
                yield from self._flush()
                yield from self._other(part)
        yield from self._flush()

    def finish(self) -> Iterator[str]:
        """What is still to be said when no more parts come."""
        yield from self._flush()
        if self._hidden:
            yield self._paint(DIM, f"… {self._hidden:,} more") + "\n"
        self._columns, self._widths, self._shown, self._hidden = (), [], 0, 0

    def _row(self, values: Sequence[str | None]) -> Iterator[str]:
        if self._limit is not None and self._shown >= self._limit:
            self._hidden += 1
            return
        self._shown += 1
        self._held.append([self._cell(value) for value in values])
        if len(self._held) >= _ALIGNED:
            yield from self._flush()

    def _cell(self, value: str | None) -> str | None:
        if value is None:
            return None
        text = escaped(value)
        return text if self._limit is None or len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"

    def _flush(self) -> Iterator[str]:
        if not self._held:
            return
        if not self._widths:
            yield from self._heading()
        for row in self._held:
            yield self._line(row)
        self._held.clear()

    def _heading(self) -> Iterator[str]:
        """Measures the columns by what is held, and names them if they were described."""
        count = max(len(row) for row in self._held) if self._held else len(self._columns)
        described = len(self._columns) == count
        names = [escaped(column.name) for column in self._columns] if described else [""] * count
        self._widths = [_width(name) for name in names]
        for row in self._held:
            for place, value in enumerate(row):
                self._widths[place] = max(self._widths[place], 4 if value is None else _width(value))
        if described and count:
            cells = [name + " " * (width - _width(name)) for name, width in zip(names, self._widths, strict=True)]
            yield " " + " │ ".join(self._paint(BOLD, cell) for cell in cells) + "\n"
            yield "─" + "─┼─".join("─" * width for width in self._widths) + "─\n"

    def _line(self, row: Sequence[str | None]) -> str:
        cells: list[str] = []
        for place, value in enumerate(row):
            text = self._paint(DIM, "NULL") if value is None else value
            width = self._widths[place] if place < len(self._widths) else 0
            padding = " " * (width - (4 if value is None else _width(value)))
            right = len(self._columns) == len(row) and self._columns[place].type_oid in _NUMBERS
            cells.append(padding + text if right else text + padding)
        return " " + " │ ".join(cells).rstrip(" ") + "\n"

    def _other(self, part: Part) -> Iterator[str]:
        match part:
            case Columns(columns):
                self._columns, self._widths = columns, []
            case Row():
                pass  # handled by `add`
            case Completed(tag):
                if not self._widths and self._columns:
                    yield from self._heading()
                yield from self.finish()
                yield self._paint(DIM, escaped(tag) or "(empty statement)") + "\n"
            case Suspended():
                yield self._paint(DIM, "(more rows were not asked for then)") + "\n"
            case Report():
                yield from self._report(part)
            case CopyBegun(out, binary):
                yield self._paint(DIM, f"COPY {'out' if out else 'in'}, {'binary' if binary else 'text'}") + "\n"
            case CopyData(data):
                yield from self._copied(data)
            case Notification(channel, payload, process):
                text = f"notification {channel!r} with payload {payload!r} from server process {process}"
                yield self._paint(DIM, escaped(text)) + "\n"
            case FunctionResult(value):
                yield "function result: " + ("NULL" if value is None else escaped(value)) + "\n"
            case Unreadable(size):
                yield self._paint(YELLOW, f"({size:,} bytes more can't be read: the recording ends there)") + "\n"
            case _ as never:
                assert_never(never)

    def _copied(self, data: bytes) -> Iterator[str]:
        if self._limit is not None and self._shown >= self._limit:
            self._hidden += 1
            return
        self._shown += 1
        text = guess_text(data)
        yield (
            escaped(text.removesuffix("\n")) if self._limit is None else self._cell(text.removesuffix("\n")) or ""
        ) + "\n"

    def _report(self, report: Report) -> Iterator[str]:
        colour = RED if report.error else YELLOW
        code = report.fields.get("C", "")
        shown = f"{report.severity}:  {report.message}" + (f" ({code})" if report.error and code else "")
        yield self._paint(colour, escaped(shown, layout=True)) + "\n"
        for letter, name in _CONTEXT.items():
            if letter in report.fields and letter in "DHW":
                yield escaped(f"{name}:  {report.fields[letter]}", layout=True) + "\n"


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
