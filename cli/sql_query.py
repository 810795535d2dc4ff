"""A query over the evidence: checked, run, printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import duckdb

from agent.store.evidence import Evidence
from agent.store.rows import TABLES
from cli.tables import Format, show_values

_FETCHED = 1000

# Statements that read, or change only what is in the memory of this process.
_HARMLESS: Final = {"SELECT", "CREATE", "DROP", "INSERT", "UPDATE", "DELETE", "ALTER", "TRANSACTION"}

# The others answer with a count that nobody asked for.
_ANSWERING: Final = {"SELECT", "EXPLAIN"}

# EXPLAIN ANALYZE runs what it explains, a COPY too.
_EXPLAINED: Final = re.compile(r"\s*explain\s+(analyze\s+)?(select|from|with|values|describe|show|summarize)\b", re.I)


class QueryError(Exception):
    """The query can't be run, or failed."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Query:
    """Runs queries over the evidence as it is then. Without `allow_files` they reach nothing else."""

    def __init__(self, evidence: Evidence, format_: Format | None, allow_files: bool) -> None:
        self._evidence = evidence
        self._format = format_
        self._allow_files = allow_files
        if not allow_files:
            evidence.restrict()

    def words(self) -> list[str]:
        """What can be completed: SQL's keywords, the views and their columns."""
        rows = self._evidence.connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
        return [str(row[0]).upper() for row in rows]

    def refresh(self) -> None:
        """Makes what was recorded by now part of the answers."""
        self._evidence.refresh()

    def run(self, text: str) -> None:
        """Runs the statements in turn and prints what each answers. Raises QueryError."""
        try:
            for statement in self._evidence.connection.extract_statements(text):
                self._check(statement.type.name, statement.query)
                answer = self._evidence.connection.execute(statement)
                if statement.type.name in _ANSWERING or self._allow_files:
                    self._print(answer)
        except duckdb.PermissionException as error:
            raise QueryError(_first_line(error), "hoopctl sql --allow-files lets queries reach files") from error
        except duckdb.Error as error:
            views = ", ".join(TABLES)
            raise QueryError(str(error).strip(), f"the views are {views}; DESCRIBE shows the columns of one") from error

    def _check(self, kind: str, text: str) -> None:
        if self._allow_files or kind in _HARMLESS or (kind == "EXPLAIN" and _EXPLAINED.match(text)):
            return
        raise QueryError(
            f"{kind} is not for the evidence (expected SELECT and the like)",
            "hoopctl sql --allow-files lets statements reach files, and write them",
        )

    def _print(self, answer: duckdb.DuckDBPyConnection) -> None:
        columns = [str(column[0]) for column in answer.description or ()]
        if columns:
            show_values(_rows(answer), columns, self._format)


def _rows(answer: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := answer.fetchmany(_FETCHED):
        yield from rows


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
