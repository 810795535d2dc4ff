"""Rows hold what records hold."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from agent.store.rows import TABLES, Pair, Row, fingerprint, rebuild, row_of
from agent.store.staging import Staging, selection
from schemas.records import (
    Event,
    OperationEnded,
    OperationStarted,
    Record,
    ResponseChunk,
    SessionEnded,
    SessionStarted,
    encode,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
MAYBE = st.none() | TEXT
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
NUMBER = st.integers(0, 2**63 - 1)
TIME = st.integers(0, 4_000_000_000_000_000)
ID = st.just("s" * 20)


def pairs() -> st.SearchStrategy[Pair]:
    """Pairs of every kind, with both records or one."""
    session_started = st.builds(SessionStarted, TIME, ID, TEXT, TEXTS, MAYBE, MAYBE, TEXT, TEXT, TEXT, TEXT, TEXT)
    session_ended = st.builds(SessionEnded, TIME, ID, TEXT, NUMBER, NUMBER, NUMBER)
    parameters = st.none() | st.lists(MAYBE, max_size=3).map(tuple)
    identity = (TEXT, MAYBE, MAYBE, TEXT, TEXT)
    started = st.builds(OperationStarted, TIME, ID, st.just(1), *identity, TEXTS, TEXT, parameters, TEXT, MAYBE, MAYBE)
    counts = (NUMBER, NUMBER, NUMBER)
    rest = (MAYBE, MAYBE, TEXTS, NUMBER, NUMBER, MAYBE, NUMBER, MAYBE)
    ended = st.builds(OperationEnded, TIME, ID, st.just(1), TEXT, TEXTS, *counts, *rest)
    chunk = st.builds(
        ResponseChunk, TIME, ID, NUMBER, NUMBER, st.binary(max_size=30), st.none() | st.binary(max_size=9)
    )
    event = st.builds(Event, TIME, TEXT, MAYBE, MAYBE, TEXT)
    leaf = NUMBER
    return st.one_of(
        st.builds(Pair, leaf, session_started, leaf, session_ended),
        st.builds(Pair, leaf, session_started, st.none(), st.none()),
        st.builds(Pair, st.none(), st.none(), leaf, session_ended),
        st.builds(Pair, leaf, started, leaf, ended),
        st.builds(Pair, leaf, started, st.none(), st.none()),
        st.builds(Pair, st.none(), st.none(), leaf, ended),
        st.builds(Pair, leaf, chunk, st.none(), st.none()),
        st.builds(Pair, leaf, event, st.none(), st.none()),
    )


def canonical(pair: Pair) -> list[bytes]:
    records: list[Record | None] = [pair.start, pair.end]
    return [encode(record) for record in records if record is not None]


def named(table: str, row: Row) -> dict[str, Any]:
    return dict(zip(TABLES[table], row, strict=True))


@given(pairs())
def test_a_row_rebuilds_its_records(pair: Pair) -> None:
    """The canonical bytes of a row's records can be made from the row."""
    table, row = row_of(pair)
    assert rebuild(table, named(table, row)) == canonical(pair)


@settings(max_examples=5, phases=[Phase.generate])
@given(st.lists(pairs(), min_size=20, max_size=60))
def test_parquet_rebuilds_its_records(tmp_path_factory: pytest.TempPathFactory, recorded: list[Pair]) -> None:
    """The canonical bytes can be made from a row that went through DuckDB and a Parquet file."""
    directory = tmp_path_factory.mktemp("parquet")
    with duckdb.connect() as database:
        staging = Staging(database, "staged")
        expected: dict[str, list[list[bytes]]] = {}
        for pair in recorded:
            table, row = row_of(pair)
            staging.add(table, row)
            expected.setdefault(table, []).append(canonical(pair))
        staging.flush()
        for table, records in expected.items():
            path = directory / f"{table}.parquet"
            database.execute(f"COPY (SELECT {selection(table)} FROM staged.{table}) TO '{path}' (COMPRESSION zstd)")
            rows = database.execute(f"SELECT * FROM '{path}'").fetchall()
            assert [rebuild(table, named(table, row)) for row in rows] == records


def test_every_field_of_a_record_is_a_column() -> None:
    """A field that is added to a record has to get a column, or its bytes can't be rebuilt."""
    for table, kinds in {
        "sessions": (SessionStarted, SessionEnded),
        "operations": (OperationStarted, OperationEnded),
        "responses": (ResponseChunk,),
        "events": (Event,),
    }.items():
        for kind in kinds:
            assert set(kind.__struct_fields__) - {"time"} <= set(TABLES[table])


def test_fingerprints_drop_constants() -> None:
    """Statements that differ in their constants have one fingerprint; what can't be parsed has none."""
    assert fingerprint("SELECT 1") == fingerprint("SELECT  2") == "50fde20626009aba"
    assert fingerprint("SELEKT 1") is None
    assert fingerprint("SELECT '" + "x" * (1 << 20) + "'") is None
