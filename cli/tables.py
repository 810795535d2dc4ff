"""How every listing is printed: a table on a terminal, else CSV, or one JSON array."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from enum import StrEnum
from itertools import chain, islice
from typing import Any, TextIO

from cli.escape import escaped

_BLOCK = 500
"""Rows whose columns are aligned together, so that an answer of any size is printed in bounded memory."""

_UNBOUNDED = 4096
"""Columns of a table that isn't printed on a terminal."""


class Format(StrEnum):
    """The ways to print a listing."""

    table = "table"
    json = "json"
    csv = "csv"


def chosen(format_: Format | None) -> Format:
    """The format that is meant: without one, a table on a terminal, else CSV."""
    return format_ or (Format.table if sys.stdout.isatty() else Format.csv)


def show(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], format_: Format | None = None) -> None:
    """Prints these columns of the rows to standard output; a column that a row hasn't got is empty.

    JSON is one array of objects with values of their own types.
    """
    show_values(([row.get(column) for column in columns] for row in rows), columns, format_)


def show_values(rows: Iterable[Sequence[Any]], columns: Sequence[str], format_: Format | None = None) -> None:
    """As `show`, for rows whose values are in the order of the columns, which may have the same name twice."""
    terminal = sys.stdout.isatty()
    match chosen(format_):
        case Format.table:
            _table(rows, columns, terminal)
        case Format.json:
            _json(rows, columns, terminal)
        case Format.csv:
            _csv(rows, columns, terminal)


def text_of(value: Any) -> str:
    """A value as tables and CSV show it: nothing for None, lists as JSON, bytes in hex, times in UTC."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case bytes():
            return "\\x" + value.hex()
        case list() | tuple() | dict():
            return json.dumps(plain(value), ensure_ascii=False)
        case _:
            return str(value)


def plain(value: Any) -> Any:
    """A value of JSON's types: times as ISO 8601 (those without a zone are UTC), bytes in hex."""
    match value:
        case datetime():
            return value.isoformat() + ("Z" if value.tzinfo is None else "")
        case date() | time():
            return value.isoformat()
        case bytes():
            return "\\x" + value.hex()
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _json(rows: Iterable[Sequence[Any]], columns: Sequence[str], terminal: bool) -> None:
    out = sys.stdout
    out.write("[")
    for number, row in enumerate(rows):
        named = {column: plain(value) for column, value in zip(columns, row, strict=True)}
        text = json.dumps(named, ensure_ascii=terminal, allow_nan=True)
        out.write(("," if number else "") + "\n  " + (escaped(text) if terminal else text))
    out.write("\n]\n")


def _csv(rows: Iterable[Sequence[Any]], columns: Sequence[str], terminal: bool) -> None:
    writer = csv.writer(_Escaping(sys.stdout) if terminal else sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([text_of(value) for value in row])


class _Escaping:
    """A file whose control characters are escaped."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(escaped(text, layout=True))


def _table(rows: Iterable[Sequence[Any]], columns: Sequence[str], terminal: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if terminal else _UNBOUNDED, highlight=False)
    for block in _blocks(rows):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name, numeric in zip(columns, _numeric(block, len(columns)), strict=True):
            table.add_column(Text(escaped(name)), justify="right" if numeric else "left", overflow="fold")
        for row in block:
            table.add_row(*[Text(escaped(text_of(value), layout=True)) for value in row])
        console.print(table)


def _blocks(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """At least one, so that the heading of an empty listing is seen."""
    remaining = iter(rows)
    first = list(islice(remaining, _BLOCK))
    yield first
    for row in remaining:
        yield list(chain([row], islice(remaining, _BLOCK - 1)))


def _numeric(block: Sequence[Sequence[Any]], count: int) -> list[bool]:
    def numbers(position: int) -> bool:
        values = [row[position] for row in block if row[position] is not None]
        return bool(values) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)

    return [numbers(position) for position in range(count)]
