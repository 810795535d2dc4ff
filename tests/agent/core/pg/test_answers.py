"""A recorded answer read back."""

from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from agent.core.pg.answers import (
    AnswerReader,
    Completed,
    CopyBegun,
    CopyData,
    Notification,
    Report,
    Row,
    Suspended,
    Unreadable,
    parts,
    results,
)


def message(kind: str, body: bytes = b"") -> bytes:
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def described(*columns: tuple[str, int, int]) -> bytes:
    body = struct.pack("!H", len(columns))
    for name, oid, form in columns:
        body += name.encode() + b"\0" + struct.pack("!IhIhih", 0, 0, oid, -1, -1, form)
    return message("T", body)


def row(*values: bytes | None) -> bytes:
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value
    return message("D", body)


def error(text: str) -> bytes:
    return message("E", b"SERROR\0VERROR\0C42601\0M" + text.encode() + b"\0\0")


ANSWER = (
    described(("id", 23, 1), ("name", 25, 0))
    + row(b"\0\0\0\x05", b"ann")
    + row(None, "bö".encode())
    + message("N", b"SHINWEIS\0VNOTICE\0C00000\0Mlook\0\0")
    + message("C", b"SELECT 2\0")
    + message("H", b"\0\0\0")
    + message("d", b"1\ta\n")
    + message("d", b"2\tb\n")
    + message("c")
    + message("C", b"COPY 2\0")
    + message("A", struct.pack("!I", 7) + b"news\0hi\0")
    + message("I")
    + error("no")
    + message("Z", b"I")
)


def test_an_answer_becomes_its_results() -> None:
    """Rows, COPY data, notices and errors belong to the statement that they arrived with."""
    select, copy, empty, failed = results(ANSWER)
    assert select.columns is not None
    assert [column.name for column in select.columns] == ["id", "name"]
    assert select.rows == [("5", "ann"), (None, "bö")]
    assert select.tag == "SELECT 2"
    assert [(report.severity, report.message) for report in select.reports] == [("NOTICE", "look")]
    assert copy.copy == bytearray(b"1\ta\n2\tb\n")
    assert empty.notifications == [Notification("news", "hi", 7)]
    assert failed.tag is None
    assert failed.reports[0].fields["C"] == "42601"


@given(st.lists(st.integers(0, len(ANSWER)), max_size=8))
def test_chunk_borders_do_not_matter(cuts: list[int]) -> None:
    """However the recording is cut into chunks, the same parts are read."""
    at = [0, *sorted(cuts), len(ANSWER)]
    chunks = [ANSWER[start:end] for start, end in pairwise(at)]
    assert list(parts(chunks)) == list(parts([ANSWER]))


@given(st.integers(0, len(ANSWER)))
def test_a_cut_answer_is_read_to_its_last_whole_message(length: int) -> None:
    """What is missing is counted, what is there is read."""
    reader = AnswerReader()
    whole = list(parts([ANSWER]))
    read = reader.feed(ANSWER[:length])
    assert read == whole[: len(read)]
    rest = reader.finish()
    assert rest == [] or isinstance(rest[0], Unreadable)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_bytes_are_read_or_counted(chunks: list[bytes]) -> None:
    """Nothing raises, whatever was recorded."""
    list(parts(chunks))
    results(b"".join(chunks))


def test_rows_without_description_are_guessed() -> None:
    """A portal that was described elsewhere: text is shown as text, other bytes in hex."""
    assert list(parts([row(b"abc", b"\0\x01", None)])) == [Row(("abc", "\\x0001", None))]


def test_a_portal_that_is_suspended_keeps_its_columns() -> None:
    """The rows of a later Execute are read with the description that came before the first."""
    content = described(("n", 23, 1)) + row(b"\0\0\0\1") + message("s") + row(b"\0\0\0\2") + message("C", b"SELECT 1\0")
    rows = [part for part in parts([content]) if isinstance(part, Row | Suspended | Completed)]
    assert rows == [Row(("1",)), Suspended(), Row(("2",)), Completed("SELECT 1")]


def test_copy_in_is_told_from_copy_out() -> None:
    """What the server takes is not what it sends."""
    assert list(parts([message("G", b"\0\0\0"), message("d", b"x")])) == [CopyBegun(False, False), CopyData(b"x")]


def test_the_severity_is_not_the_localized_one() -> None:
    """The field V is preferred; servers before 9.6 have only S."""
    assert Report(True, {"S": "FEHLER"}).severity == "FEHLER"
    assert Report(False, {}).severity == "NOTICE"
