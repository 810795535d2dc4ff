"""Listings are printed alike, and drive no terminal."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.escape import escaped
from cli.tables import Format, show, show_values

ROWS = [
    {
        "name": "ann",
        "groups": ["a", "b"],
        "at": datetime(2023, 11, 15, 12, 0, 0, 5),
        "n": 1,
        "raw": b"\x01",
        "none": None,
    },
    {"name": "evil\x1b[2J,\n\u202e", "n": 22},
]
COLUMNS = ("name", "groups", "at", "n", "raw", "none")


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, format_: Format | None, terminal: bool) -> str:
    out = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    show(ROWS, COLUMNS, format_)
    return out.getvalue()


def test_json_is_one_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values keep their types; a column that a row hasn't got is null."""
    first, second = json.loads(printed(monkeypatch, Format.json, False))
    assert first == {
        "name": "ann",
        "groups": ["a", "b"],
        "at": "2023-11-15T12:00:00.000005Z",
        "n": 1,
        "raw": "\\x01",
        "none": None,
    }
    assert second["name"] == ROWS[1]["name"]
    assert second["groups"] is None


def test_csv_is_what_a_pipe_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal a listing is CSV, with the values as they are."""
    heading, first, second = csv.reader(io.StringIO(printed(monkeypatch, None, False)))
    assert tuple(heading) == COLUMNS
    assert first == ["ann", '["a", "b"]', "2023-11-15 12:00:00.000005", "1", "\\x01", ""]
    assert second[0] == ROWS[1]["name"]


@pytest.mark.parametrize("format_", [None, *Format])
def test_no_control_character_reaches_a_terminal(monkeypatch: pytest.MonkeyPatch, format_: Format | None) -> None:
    """Whatever the format, recorded escape sequences are shown, not obeyed."""
    out = printed(monkeypatch, format_, True)
    assert "\x1b" not in re.sub(r"\x1b\[\d*m", "", out)  # a table's own heading is bold
    assert "\u202e" not in out
    assert "evil" in out


def test_a_table_is_what_a_terminal_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a listing is a table, numbers to the right."""
    out = printed(monkeypatch, None, True)
    assert "name" in out.splitlines()[1]
    assert "evil\\x1b[2J" in out


def test_columns_may_have_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A query's columns are told apart by their place."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    show_values([(1, 2)], ["a", "a"], Format.csv)
    assert out.getvalue() == "a,a\n1,2\n"


def test_many_rows_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of many rows is printed in blocks, none of which is lost."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    show_values(((number,) for number in range(1201)), ["n"], Format.table)
    assert [int(line) for line in out.getvalue().split() if line.isdecimal()] == list(range(1201))


@given(st.text())
def test_escaped_text_holds_no_controls(text: str) -> None:
    """No character that drives a terminal is left, and what is printable is unchanged."""
    shown = escaped(text)
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in shown)
    if text.isprintable():
        assert shown == text
