"""`hoopctl sql`."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from agent.store.evidence import Evidence
from agent.store.journal import Journal
from agent.store.seal import seal
from cli.main import run
from cli.sql_prompt import Words, converse, finished, history_file
from cli.sql_query import Query
from cli.tables import Format
from tests.story import home, started, story, write


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with one session sealed and one not."""
    monkeypatch.setenv("HOOPCTL_CONFIG", str(home(tmp_path)))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user"))
    journal = tmp_path / "state" / "journal"
    seal(journal, tmp_path / "audit", write(journal, story("a" * 20)))
    write(journal, story("b" * 20))
    return tmp_path


def test_sealed_and_unsealed_answer_together(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A query sees what is in Parquet and what is in the journal."""
    assert run(["sql", "SELECT session_id, sequence FROM operations ORDER BY ALL", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["session_id"][0], row["sequence"]) for row in found] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]


def test_a_query_from_standard_input(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without QUERY and without a terminal the query is read from standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("SELECT count(*) AS n FROM sessions; SELECT 5 AS five;"))
    assert run(["sql"]) == 0
    assert capsys.readouterr().out == "n\n2\nfive\n5\n"


@pytest.mark.parametrize(
    "query",
    [
        "COPY sessions TO '{place}/audit/sessions/x.parquet'",
        "EXPLAIN ANALYZE COPY sessions TO '{place}/audit/sessions/x.parquet'",
        "EXPLAIN (ANALYZE) COPY sessions TO '{place}/audit/sessions/x.parquet'",
        "PREPARE p AS COPY sessions TO '{place}/audit/sessions/x.parquet'; EXECUTE p",
        "SELECT 1; COPY sessions TO '{place}/audit/sessions/x.parquet'",
        "EXPORT DATABASE '{place}/audit/x'",
        "ATTACH '{place}/audit/x.db'",
        "SET enable_external_access = true",
        "PRAGMA database_list",
        "CALL checkpoint()",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM read_text('{place}/hoop.yaml')",
        "SELECT * FROM read_text('{place}/audit/../hoop.yaml')",
        "CREATE TABLE t AS SELECT * FROM '{place}/hoop.yaml'",
    ],
)
def test_a_query_alters_and_reaches_nothing(place: Path, capsys: pytest.CaptureFixture[str], query: str) -> None:
    """What writes files, or reads others than the evidence, is refused with a hint, and the evidence is as before."""
    before = {path: path.read_bytes() for path in (place / "audit").rglob("*.parquet")}
    assert run(["sql", query.format(place=place)]) == 1
    assert "hoopctl: hint: " in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (place / "audit").rglob("*") if path.is_file()} == before


def test_files_when_asked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --allow-files a query may export what it found."""
    assert run(["sql", f"COPY sessions TO '{place}/out.csv'", "--allow-files"]) == 0
    assert len((place / "out.csv").read_text().splitlines()) == 3


def test_scratch_tables_are_fine(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tables in memory help with longer questions, and print nothing of their own."""
    assert run(["sql", "CREATE TABLE t AS SELECT * FROM sessions; SELECT count(*) AS n FROM t"]) == 0
    assert capsys.readouterr().out == "n\n2\n"


def test_a_wrong_query_says_where(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error shows DuckDB's own text, the views in the hint, and no traceback."""
    assert run(["sql", "SELECT nope FROM sessions"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("hoopctl: error: Binder Error:")
    assert "hoopctl: hint: the views are sessions, operations" in err
    assert "Traceback" not in err


def test_the_prompt_answers_until_it_is_left(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Queries over several lines, an error in between, a statement recorded meanwhile; what was typed is kept."""
    writer = Journal.open(place / "state" / "journal")
    try:
        with (
            create_pipe_input() as keys,
            create_app_session(input=keys, output=DummyOutput()),
            Evidence(place / "state", place / "audit") as evidence,
        ):
            writer.append(started("c" * 20))
            writer.wait()
            keys.send_text("SELECT count(*) AS n\rFROM sessions;\rSELECT nope;\r\\d\rSELECT 7 AS seven;\r\\q\r")
            converse(Query(evidence, Format.csv, False))
    finally:
        writer.close()
    out, err = capsys.readouterr()
    assert out.startswith("n\n3\n")
    assert "sessions: session_id, started_at" in out
    assert out.endswith("seven\n7\n")
    assert "error: Binder Error" in err
    assert history_file().stat().st_mode & 0o777 == 0o600
    assert "+SELECT count(*) AS n" in history_file().read_text()


def completions(text: str) -> list[str]:
    words = Words(["SELECT", "FROM"])
    return [found.text for found in words.get_completions(Document(text), CompleteEvent())]


def test_completion_knows_views_and_columns() -> None:
    """Names of views and columns come before keywords; after a view's name its columns."""
    assert completions("SELECT * FROM sess")[0] == "sessions"
    assert completions("sel") == ["SELECT"]
    assert completions("events.") == ["time", "kind", "subject", "resource", "details", "leaf"]
    assert completions("SELECT ") == []


def test_enter_ends_a_query_at_its_semicolon() -> None:
    """Enter goes to a new line until then."""
    assert not finished("SELECT 1")
    assert finished("SELECT 1; ")
    assert finished("\\q")
    assert finished("  ")
