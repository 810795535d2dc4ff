"""The evidence, to be queried: Parquet and what isn't sealed yet, as one."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb

from agent.store.manifest import Manifest, SealedMeanwhile, load, load_open, unsealed
from agent.store.rows import STARTS, TABLES, empty, row_of
from agent.store.seal import first_leaf_of
from agent.store.staging import Staging, selection
from schemas.records import decode

MEMORY_LIMIT = "1GB"
"""What DuckDB may hold for a query; beyond it spills to a directory of its own."""

_ATTEMPTS = 40
_PAUSE = 0.05  # seconds
_SHOWN = 5  # sessions that an ambiguous id's error names
_UNSEALED = "unsealed"


class EvidenceError(Exception):
    """The evidence can't answer; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Evidence:
    """A DuckDB connection with the views sessions, operations, responses, approvals and events.

    Needs no agent, and disturbs none: files are only read. A row is there as soon as its first record is in the
    journal. The connection is for one thread. Raises JournalDamage, OSError and duckdb.Error.
    """

    def __init__(self, state: Path, audit: Path) -> None:
        self._journal = state / "journal"
        self._audit = audit
        self._spill = Path(tempfile.mkdtemp(prefix="hoopctl-"))
        self.connection = duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "python_enable_replacements": False})
        self.connection.execute("SET temp_directory = $1", [str(self._spill)])
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection and removes what it has spilled."""
        self.connection.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def refresh(self) -> None:
        """Makes the views show what is recorded by now."""
        for attempt in range(_ATTEMPTS):
            try:
                self._read()
                return
            except SealedMeanwhile:
                if attempt + 1 == _ATTEMPTS:
                    raise EvidenceError("the journal is being sealed all the time", "try again") from None
                time.sleep(_PAUSE)

    def restrict(self) -> None:
        """From now on queries reach no file but the evidence, and no network, and can't undo that.

        They could still write into the evidence's directory (COPY … TO): cli.sql lets no such statement pass.
        """
        self.connection.execute("SET allowed_directories = $1", [[f"{self._audit}/"]])
        self.connection.execute("SET enable_external_access = false")
        self.connection.execute("SET lock_configuration = true")

    def find_session(self, part: str) -> str:
        """The id of the one session whose id begins or ends so: ids of the same hour begin alike.

        Raises EvidenceError for none and for several.
        """
        found = self.connection.execute(
            "SELECT session_id FROM sessions WHERE starts_with(session_id, $1) OR ends_with(session_id, $1) "
            "ORDER BY started_at DESC LIMIT $2",
            [part.lower(), _SHOWN + 1],
        ).fetchall()
        if not part or not found:
            raise EvidenceError(f"no session with this id (got {part!r})", "hoopctl sessions list shows their ids")
        if len(found) > 1:
            shown = ", ".join(row[0] for row in found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
            raise EvidenceError(f"several sessions begin or end with {part!r} ({shown})", "add a few characters more")
        return str(found[0][0])

    def _read(self) -> None:
        manifest = load(self._journal)
        staging = Staging(self.connection, _UNSEALED)
        pairing = load_open(self._journal, manifest)
        for leaf, body in unsealed(self._journal, manifest):
            for pair in pairing.add(leaf, decode(body)):
                staging.add(*row_of(pair))
        for pair in pairing.unended():
            staging.add(*row_of(pair))
        staging.flush()
        for table in TABLES:
            self.connection.execute(f"CREATE OR REPLACE VIEW {table} AS {_shown(table, self._query(table, manifest))}")

    def _query(self, table: str, manifest: Manifest) -> str:
        """What a view is: files that the manifest doesn't cover belong to a sealing that isn't committed."""
        if table not in STARTS:
            return empty(table)
        query = f"SELECT {selection(table)} FROM {_UNSEALED}.{table}"
        files = [path for path in (self._audit / table).glob("date=*/*") if 0 <= first_leaf_of(path) < manifest.leaf]
        if not files:
            return query
        names = ", ".join("'" + str(path).replace("'", "''") + "'" for path in sorted(files))
        columns = ", ".join(f'"{name}"' for name in TABLES[table])
        return f"SELECT {columns} FROM read_parquet([{names}], hive_partitioning = false) UNION ALL {query}"


def _shown(table: str, query: str) -> str:
    """The rows of a table as their view shows them: everything that a statement did is in `operations`, and a statement
    that was undone was denied."""
    if table != "operations":
        return query
    return (
        "SELECT * REPLACE (list_concat(operations, operations_inside) AS operations, "
        "CASE WHEN denied_by IS NULL THEN decision ELSE 'deny' END AS decision, "
        f"coalesce(denied_by, rule) AS rule) FROM ({query})"
    )
