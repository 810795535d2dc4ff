"""Attacks that read masked columns, and ordinary work beside them: what lineage says of each output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psycopg
import pytest

from agent.core.policy.globs import Globs
from agent.core.sql.found import Found
from agent.core.sql.statements import EMPTY, split
from tests.e2e.servers import Server
from tests.e2e.test_policy_columns import PERSONAL, SHARED, corpus
from tests.e2e.test_policy_lineage import judged
from tests.e2e.trade_statements import MASKED as PRIVATE
from tests.e2e.trade_statements import REPORTS, TRADE
from tests.e2e.trees import Refused, Shown

MASKED = Globs(PERSONAL.columns)
NOT_BY_OUTPUTS = {  # what these let out isn't in their rows, or the column has another name by then
    "row in a constraint error": "the error quotes the row that was to be written",
    "value in a unique error": "the value is written to the column that it comes from",
    "renamed column": "the column has another name by then",
    "renamed table": "the table has another name by then",
    "guess by count": "its condition is told as compared",
}


@pytest.fixture(scope="module", params=["pg15", "pg18"])
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture(scope="module")
def attacked(server: Server) -> Iterator[str]:
    if not (SHARED / "schema.sql").exists():
        pytest.skip("the corpora aren't here")
    server.sql("CREATE DATABASE outputs")
    server.sql((SHARED / "schema.sql").read_text(), database="outputs")
    yield server.dsn(database="outputs")
    server.sql("DROP DATABASE outputs WITH (FORCE)")


def hidden(name: str) -> bool:
    return name == "*" or MASKED.matches(name)


def told(found: Found) -> str:
    """Why what it returns, or moves elsewhere, isn't to be passed on as it is; empty when it is."""
    if found.outputs is None:
        return "unknown"
    columns = [one for output in found.outputs for one in output.sources]
    columns += [one for move in found.moves for one in move.sources]
    for one in columns:
        if hidden(one.column):
            return one.column
    return "opaque" if found.opaque or any(output.opaque for output in found.outputs) else ""


def answers(dsn: str, statements: list[str]) -> list[tuple[str, Found]]:
    """Judges each statement, then runs it. What a cursor returns was told when it was declared."""
    session = Shown(dsn)
    session.facts.columns = True
    cursors: dict[str, Found] = {}
    found: list[tuple[str, Found]] = []
    try:
        for one in [one for text in statements for one in split(text) if one.kind != EMPTY]:
            session.facts.forget()
            try:
                one_found = judged(session, one.text)
            except Refused:
                continue
            if one_found.cursor and one.tag == "FETCH":
                one_found = cursors[one_found.cursor]
            elif one_found.cursor:
                cursors[one_found.cursor] = one_found
            found.append((one.text, one_found))
            if not one.text.startswith("copy "):
                with suppress(psycopg.Error):
                    session.run(one.text)
    finally:
        session.close()
    return found


@pytest.mark.parametrize("case", corpus("masking.toml"), ids=lambda case: str(case["name"]))
def test_masking_corpus(server: Server, attacked: str, case: dict[str, Any]) -> None:
    """Each way to read a masked column is told by an output or a move, or isn't known, or is code that is traced."""
    if case["name"] == "table to xml" and server.binaries.name == "embedded":
        pytest.skip("this server is built without XML")
    if "standard_conforming_strings" in case["sql" if "sql" in case else "pair"][0]:
        pytest.skip("a session that reads literals so is judged as such")
    for statements in [[each] for each in case["pair"]] if "pair" in case else [case["sql"]]:
        reasons = [told(found) for _, found in answers(attacked, statements)]
        assert any(reasons) != (case["name"] in NOT_BY_OUTPUTS), reasons


@pytest.mark.parametrize("case", corpus("benign.toml"), ids=lambda case: str(case["name"]))
def test_benign_corpus(attacked: str, case: dict[str, Any]) -> None:
    """Ordinary work returns and moves nothing that derives from a masked column."""
    for statement, found in answers(attacked, case["sql"]):
        assert not told(found), statement


@pytest.fixture(scope="module")
def trade(server: Server) -> Iterator[Shown]:
    server.sql("CREATE DATABASE trade")
    server.sql(TRADE, database="trade")
    session = Shown(server.dsn(database="trade"))
    session.facts.columns = True
    session.run("SET search_path = trade")
    yield session
    session.close()
    server.sql("DROP DATABASE trade WITH (FORCE)")


@pytest.mark.parametrize("report", REPORTS)
def test_reports(trade: Shown, report: str) -> None:
    """Of an analyst's reports and a shop's transactions, those columns derive from a customer's name, phone or address
    that show it, and no other."""
    statement, private = REPORTS[report]
    found = judged(trade, statement)
    assert found.outputs is not None
    names = [output.name for output in found.outputs if {one.column for one in output.sources} & set(PRIVATE)]
    assert set(names) == private
    assert len(names) == len(private)
    assert not any(output.opaque for output in found.outputs)
    assert not {one.column for move in found.moves for one in move.sources} & set(PRIVATE)
