"""Rows on their way into DuckDB: a table for each of the evidence's, times as numbers, because that appends fastest."""

from __future__ import annotations

import duckdb

from agent.store.rows import STARTS, TABLES, Row, start_of

DAY_US = 86_400_000_000
_ROWS_APPENDED = 4096
_BYTES_APPENDED = 8 << 20

_NUMBER, _TIME = "BIGINT", "TIMESTAMP"


class Staging:
    """Takes rows, of whatever table, and appends them to `SCHEMA.TABLE` many at a time."""

    def __init__(self, database: duckdb.DuckDBPyConnection, schema: str) -> None:
        """Makes the tables anew, in a schema that is made if need be."""
        self._database = database
        self._schema = schema
        self._buffers: dict[str, list[Row]] = {table: [] for table in STARTS}
        self._held = 0
        self.days: dict[str, set[int]] = {table: set() for table in STARTS}
        database.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        for table in STARTS:
            columns = ", ".join(
                f'"{name}" {_NUMBER if kind == _TIME else kind}' for name, kind in TABLES[table].items()
            )
            database.execute(f"CREATE OR REPLACE TABLE {schema}.{table} ({columns})")

    def add(self, table: str, row: Row) -> None:
        """Appends a row, now or with those that follow. `days` gets the day of its start, counted from 1970."""
        buffer = self._buffers[table]
        self.days[table].add(start_of(table, row) // DAY_US)
        buffer.append(row)
        if table == "responses":
            self._held += len(row[4])
        if len(buffer) >= _ROWS_APPENDED or self._held >= _BYTES_APPENDED:
            self.flush()

    def flush(self) -> None:
        """Appends what is still held."""
        for table, rows in self._buffers.items():
            if rows:
                with self._database.appender(f"{self._schema}.{table}") as appender:
                    appender.append_rows(rows)
                rows.clear()
        self._held = 0


def selection(table: str) -> str:
    """What selects the table's columns, with their right types, from its staging table."""
    return ", ".join(
        f'make_timestamp("{name}") AS "{name}"' if kind == _TIME else f'"{name}"'
        for name, kind in TABLES[table].items()
    )


def day_of(table: str) -> str:
    """What computes a row's day from its staging table."""
    return f"coalesce({', '.join(STARTS[table])}, 0) // {DAY_US}"
