from __future__ import annotations

import typing

import pytest

from agent.core.journal import frame
from agent.store.rows import TABLES
from schemas import records
from tests.docs import pages

PAGE = (pages.ROOT / "docs" / "evidence.md").read_text()


@pytest.mark.parametrize("table", TABLES)
def test_columns_are_documented(table: str) -> None:
    """The page names every column of every view with its type, in order, and no other."""
    assert [row[:2] for row in pages.rows(pages.section(PAGE, table))] == [
        list(column) for column in TABLES[table].items()
    ]


def test_records_are_documented() -> None:
    """The page names every record with its tag and its fields in order, from which anybody can make canonical bytes."""
    documented = {
        row[1]: (row[0], row[3].split(", "))
        for row in pages.rows(pages.section(PAGE, "Records and their canonical bytes"))
    }
    actual = {
        kind.__name__: (str(kind.__struct_config__.tag), list(kind.__struct_fields__))
        for kind in typing.get_args(records.Record)
    }
    assert documented == actual


def test_frame_is_as_documented() -> None:
    """The page's sizes of a segment's header and a frame's head are the code's."""
    assert (frame.HEADER, frame.FRAME) == (32, 4 + 8)
    assert "(32 bytes)" in PAGE
    assert frame.header(7) == b"hoopjrnl" + b"\x00\x01" + bytes(6) + (7).to_bytes(8, "big") + bytes(8)
