"""Random SELECTs over random schemas: what lineage says of each output, against what the server answers.

`HOOPCTL_LINEAGE_STATEMENTS` says how many are tried with each server; `HOOPCTL_LINEAGE_SEED` with which to begin.
"""

from __future__ import annotations

import os
import random
import re
from typing import Any

import psycopg
import pytest

from agent.core.sql.found import Output, Wanted
from agent.core.sql.nodes import read
from agent.core.sql.outputs import of_trees
from tests.e2e.lineage_statements import Schema, Writer
from tests.e2e.servers import Server
from tests.e2e.trees import MOST_ROUNDS, Refused, Shown

STATEMENTS = int(os.environ.get("HOOPCTL_LINEAGE_STATEMENTS", "300"))
SEED = int(os.environ.get("HOOPCTL_LINEAGE_SEED", "1"))
EACH = 50
"""Statements over one schema."""
_WORD = re.compile(r"[a-z]{9,13}|\d{8,9}")


class Database:
    """Two copies of a schema, `one` and `two`, that differ in the values of masked columns."""

    def __init__(self, server: Server, schema: Schema, seed: int) -> None:
        self.schema = schema
        self.server = server
        server.sql("CREATE DATABASE random")
        dsn = server.dsn(database="random")
        for name, values in (("one", 1), ("two", 2)):
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {name}".encode())
                connection.execute(f"SET search_path = {name}".encode())
                for statement in schema.statements(random.Random(seed * 3 + values), random.Random(seed * 3)):
                    connection.execute(statement.encode())
        self.shown = Shown(dsn)
        self.shown.run("SET search_path = one")
        self.other: psycopg.Connection[Any] = psycopg.connect(dsn, autocommit=True)
        self.other.execute("SET search_path = two")
        self.cells = self._cells()

    def _cells(self) -> dict[str, str]:
        """Which column each word that a table holds is kept in."""
        found: dict[str, str] = {}
        for table, columns in self.schema.tables.items():
            for name, _ in columns:
                for (value,) in self.shown.connection.execute(f"SELECT {name}::text FROM {table}".encode()):
                    found.update(dict.fromkeys(_WORD.findall(value or ""), f"one.{table}.{name}"))
        return found

    def close(self) -> None:
        self.shown.close()
        self.other.close()
        self.server.sql("DROP DATABASE random WITH (FORCE)")


def outputs(shown: Shown, statement: str) -> tuple[Output, ...]:
    trees = read(shown.tree(statement))
    rounds = 0
    while isinstance(found := of_trees(trees, shown.facts), Wanted):
        rounds += 1
        assert rounds < MOST_ROUNDS, found
        shown.ask(found)
    assert found.outputs is not None
    return found.outputs


def column(rows: list[tuple[Any, ...]], at: int) -> list[str]:
    return sorted(str(row[at]) for row in rows)


def answer(connection: psycopg.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode()).fetchall()


class Tally:
    def __init__(self) -> None:
        self.statements = 0
        self.refused = 0
        self.columns = 0
        self.masked = 0
        self.needless = 0
        """Columns that name a masked one, though the values of that make no difference to them here."""


def tried(database: Database, statement: str, tally: Tally) -> None:
    """Every word in an answer is of a column that its output names; a column that names no masked one is the same
    whatever masked ones hold."""
    masked = {f"one.{name}" for name in database.schema.masked}
    try:
        found = outputs(database.shown, statement)
    except Refused:
        tally.refused += 1
        return
    one, two = answer(database.shown.connection, statement), answer(database.other, statement)
    tally.statements += 1
    assert len(one) == len(two), statement
    for at, output in enumerate(found):
        named = {source.column for source in output.sources}
        for row in one:
            for word in _WORD.findall(str(row[at]).lower()):
                if word in database.cells:
                    assert database.cells[word] in named, (statement, output, word)
        same = column(one, at) == column(two, at)
        assert same or named & masked, (statement, output)
        assert not output.opaque, (statement, output)
        tally.columns += 1
        tally.masked += bool(named & masked)
        tally.needless += same and bool(named & masked)


@pytest.mark.parametrize("pg", ["pg15", "pg18"])
def test_random(pg: str, request: pytest.FixtureRequest, record_property: Any) -> None:
    """No value of a masked column, nor anything made of one, is in a column that doesn't name it."""
    server = request.getfixturevalue(pg)
    tally = Tally()
    for seed in range(SEED, SEED + -(-STATEMENTS // EACH)):
        database = Database(server, Schema(seed), seed)
        try:
            writer = Writer(random.Random(-seed), database.schema)
            for _ in range(EACH):
                statement, _columns = writer.query(2)
                tried(database, statement, tally)
        finally:
            database.close()
    assert tally.refused < tally.statements / 10, vars(tally)
    for name, value in vars(tally).items():
        record_property(name, value)
    print(vars(tally))
