"""The evidence answers over sealed and unsealed together."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest

from agent.store.evidence import Evidence, EvidenceError
from agent.store.journal import Journal
from agent.store.rows import TABLES
from agent.store.seal import seal
from tests.story import NOON, asked, started, story, write


def test_an_empty_evidence_has_its_views(tmp_path: Path) -> None:
    """Before anything is recorded the views are there, with the right columns and types, and no rows."""
    with Evidence(tmp_path / "state", tmp_path / "audit") as evidence:
        for table, columns in TABLES.items():
            relation = evidence.connection.sql(f"SELECT * FROM {table}")
            assert dict(zip(relation.columns, map(str, relation.types), strict=True)) == columns
            assert relation.fetchall() == []


def test_sealed_and_unsealed_have_the_same_columns(tmp_path: Path) -> None:
    """Sealing changes neither names nor types."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    seal(journal, audit, write(journal, story("a" * 20)))
    with Evidence(tmp_path, audit) as evidence:
        for table, columns in TABLES.items():
            relation = evidence.connection.sql(f"SELECT * FROM {table}")
            assert dict(zip(relation.columns, map(str, relation.types), strict=True)) == columns


def test_a_statement_of_a_moment_ago_is_there(tmp_path: Path) -> None:
    """What the live segment holds is seen while it is written, and after a refresh what came since."""
    writer = Journal.open(tmp_path / "journal")
    try:
        writer.append(started("a" * 20))
        writer.append(asked("a" * 20, 1, NOON, "SELECT 1"))
        writer.wait()
        with Evidence(tmp_path, tmp_path / "audit") as evidence:
            query = "SELECT statement, outcome, parameters FROM operations ORDER BY sequence"
            assert evidence.connection.execute(query).fetchall() == [("SELECT 1", None, ["5", None])]
            writer.append(asked("a" * 20, 2, NOON, "SELECT 2"))
            writer.wait()
            evidence.refresh()
            assert len(evidence.connection.execute(query).fetchall()) == 2
    finally:
        writer.close()


def test_sealing_meanwhile_changes_no_answer(tmp_path: Path) -> None:
    """Queries that are asked while segments are written and sealed see every session once, and never fewer."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    writer = Journal.open(journal, 4096)
    sealed = threading.Event()

    def work() -> None:
        try:
            for number in range(12):
                for record in story(f"{number:020d}"):
                    writer.append(record)
                leaf = writer.rotate()
                writer.wait()
                seal(journal, audit, leaf)
        finally:
            sealed.set()

    thread = threading.Thread(target=work)
    thread.start()
    seen = 0
    try:
        while not sealed.is_set():
            with Evidence(tmp_path, audit) as evidence:
                rows = evidence.connection.execute("SELECT session_id FROM sessions").fetchall()
            assert len(rows) == len(set(rows)) >= seen
            seen = len(rows)
    finally:
        thread.join()
        writer.close()
    assert len(list((audit / "sessions").rglob("*.parquet"))) == 12


def test_a_session_id_may_be_shortened(tmp_path: Path) -> None:
    """A prefix names its session; one that names none or several says so, with what would."""
    write(tmp_path / "journal", story("abc" + "0" * 17), story("abd" + "0" * 17), story("0" * 18 + "7c"))
    with Evidence(tmp_path, tmp_path / "audit") as evidence:
        assert evidence.find_session("ABC") == "abc" + "0" * 17
        assert evidence.find_session("7c") == "0" * 18 + "7c"
        with pytest.raises(EvidenceError, match=r"several sessions begin or end with 'ab' \(ab.0+, ab"):
            evidence.find_session("ab")
        for unknown in ("x", "", "ab%"):
            with pytest.raises(EvidenceError, match="no session with this id"):
                evidence.find_session(unknown)


def test_restricted_queries_reach_nothing_else(tmp_path: Path) -> None:
    """After `restrict` the evidence can be read, other files can't, and the setting stays."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    seal(journal, audit, write(journal, story("a" * 20)))
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    with Evidence(tmp_path, audit) as evidence:
        evidence.restrict()
        evidence.refresh()
        assert evidence.connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
        for query in (f"SELECT * FROM '{secret}'", "SET enable_external_access = true", f"ATTACH '{tmp_path}/x.db'"):
            with pytest.raises(duckdb.Error):
                evidence.connection.execute(query)
