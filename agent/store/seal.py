"""Sealing: closed segments of the journal become Parquet files, and then go.

    python -P -m agent.store.seal --journal DIR --audit DIR --before-leaf N

A process of its own, so that neither DuckDB's memory nor its work burdens the agent. Files are

    AUDIT/TABLE/date=YYYY-MM-DD/{first:016d}-{last:016d}.parquet

for the leaves first to last that were sealed at once, by the date (UTC) of a row's start. They are written under
another name, synced and renamed before `sealed.json` says that these leaves are sealed (agent.store.manifest); until
then readers take no notice of them, and the next sealing removes them. So whenever a sealing is cut short, every row
is to be had once: from Parquet or from the journal.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import msgspec

from agent.core.journal.frame import JournalDamage
from agent.store.journal import read_segment, segments
from agent.store.manifest import Manifest, commit, load, load_open, sync
from agent.store.pairing import Pairing
from agent.store.rows import STARTS, row_of
from agent.store.staging import Staging, day_of, selection
from schemas.records import decode

MEMORY_LIMIT = "512MB"
"""What DuckDB may hold; beyond it spills to a file in the journal's directory."""

BATCH = 64 << 20
"""Bytes of segments that are sealed at once: larger files are read faster, but a batch is held by DuckDB."""

_SCRATCH = "sealing"
_LOCK = "seal.lock"
_STAGED = "staged"
_ROW_GROUP_BYTES = 32 << 20

Step = Callable[[str], None]


class SealReport(msgspec.Struct):
    """What a sealing did: `leaf` is the first that is not sealed; `rows` and `bytes` are those of the Parquet files."""

    leaf: int
    segments: int = 0
    rows: int = 0
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0


def _ignore(step: str) -> None:
    """Nobody wants to know."""


def seal(journal: Path, audit: Path, before_leaf: int, step: Step = _ignore) -> SealReport:
    """Seals every closed segment whose leaves are all below `before_leaf`, which is at most the first leaf of the live
    segment. Waits for another sealing to end first.

    `step` is told what was just done (tests stop there). Raises JournalDamage when a segment isn't whole, OSError and
    duckdb.Error; all but what was committed is then as before.
    """
    started = time.monotonic()
    with _alone(journal):
        manifest = load(journal)
        report = SealReport(manifest.leaf)
        _clear(journal, audit, manifest)
        _delete_sealed(journal, manifest, report)
        for paths in _batches(_closed(journal, before_leaf)):
            _Batch(journal, audit, report, step).seal(paths)
    report.seconds = round(time.monotonic() - started, 3)
    return report


@contextmanager
def _alone(journal: Path) -> Iterator[None]:
    lock = os.open(journal / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _clear(journal: Path, audit: Path, manifest: Manifest) -> None:
    """Removes what a sealing that was cut short has left. The scratch directory tells that there was one, so that the
    many files of the evidence needn't be looked through otherwise."""
    scratch = journal / _SCRATCH
    if not scratch.exists():
        return
    for table in STARTS:
        for path in (audit / table).glob("date=*/*"):
            if path.name.endswith(".tmp") or first_leaf_of(path) >= manifest.leaf:
                path.unlink()
                sync(path.parent)
    for path in [*journal.glob("open-*.frames"), *journal.glob(".*.tmp")]:
        if path.name != manifest.open:
            path.unlink()
    shutil.rmtree(scratch)
    sync(journal)


def first_leaf_of(path: Path) -> int:
    """The first leaf of those that were sealed into a Parquet file; -1 for files of another name."""
    first, _, last = path.stem.partition("-")
    return int(first) if path.suffix == ".parquet" and first.isdecimal() and last.isdecimal() else -1


def _first(path: Path) -> int:
    return int(path.stem)


def _closed(journal: Path, before_leaf: int) -> list[Path]:
    """The segments that hold no leaf from `before_leaf` on."""
    paths = segments(journal)
    closed = [path for path, following in pairwise(paths) if _first(following) <= before_leaf]
    # With no segment behind it the last may be live; the journal is closed if all its leaves are to be sealed.
    if len(closed) == len(paths) - 1 and _first(paths[-1]) < before_leaf:
        first, bodies = read_segment(paths[-1], last=True)
        if first + len(bodies) == before_leaf:
            closed.append(paths[-1])
    return closed


def _delete_sealed(journal: Path, manifest: Manifest, report: SealReport) -> None:
    """Deletes segments that were sealed by a sealing that ended before it deleted them."""
    for path in _closed(journal, manifest.leaf):
        path.unlink()
        report.segments += 1
    sync(journal)


def _batches(paths: list[Path]) -> Iterator[list[Path]]:
    batch: list[Path] = []
    size = 0
    for path in paths:
        batch.append(path)
        size += path.stat().st_size
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


class _Batch:
    """Segments that are sealed at once."""

    def __init__(self, journal: Path, audit: Path, report: SealReport, step: Step) -> None:
        self._journal = journal
        self._audit = audit
        self._report = report
        self._step = step
        self._scratch = journal / _SCRATCH

    def seal(self, paths: list[Path]) -> None:
        """Seals these, which are consecutive and begin at the manifest's leaf."""
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        sync(self._journal)
        manifest = load(self._journal)
        with duckdb.connect(config={"memory_limit": MEMORY_LIMIT, "threads": 1}) as database:
            database.execute("SET temp_directory = $1", [str(self._scratch / "spill")])
            staging = Staging(database, _STAGED)
            pairing, leaf = self._stage(staging, manifest, paths)
            self._step("staged")
            for table in STARTS:
                for day in sorted(staging.days[table]):
                    self._write(database, table, day, f"{manifest.leaf:016d}-{leaf - 1:016d}.parquet")
        commit(self._journal, leaf, pairing)
        self._step("committed")
        self._delete(paths, manifest)
        self._report.leaf = leaf
        self._report.segments += len(paths)

    def _stage(self, staging: Staging, manifest: Manifest, paths: list[Path]) -> tuple[Pairing, int]:
        """Hands on every row that is complete; returns what is open, and the next leaf."""
        pairing = load_open(self._journal, manifest)
        expected = manifest.leaf
        for path in paths:
            first, bodies = read_segment(path, last=False)
            if first != expected:
                raise JournalDamage(f"{path}: begins at another record (got {first}, expected {expected})")
            for leaf, body in enumerate(bodies, first):
                for pair in pairing.add(leaf, decode(body)):
                    staging.add(*row_of(pair))
            expected += len(bodies)
        staging.flush()
        return pairing, expected

    def _write(self, database: duckdb.DuckDBPyConnection, table: str, day: int, name: str) -> None:
        """Writes the rows of a day and makes their file durable."""
        date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
        directory = self._audit / table / f"date={date:%Y-%m-%d}"
        _make(directory)
        unfinished, path = directory / f".{name}.tmp", directory / name
        rows = f"SELECT {selection(table)} FROM {_STAGED}.{table} WHERE {day_of(table)} = {day}"
        size = _row_group(database, table)
        copied = database.execute(
            f"COPY ({rows}) TO '{_quoted(unfinished)}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {size})"
        ).fetchone()
        self._step(f"wrote {table}")
        unfinished.chmod(0o600)
        sync(unfinished)
        unfinished.rename(path)
        sync(directory)
        self._step(f"renamed {table}")
        self._report.files += 1
        self._report.rows += int(copied[0]) if copied else 0
        self._report.bytes += path.stat().st_size

    def _delete(self, paths: list[Path], before: Manifest) -> None:
        for path in paths:
            path.unlink()
            self._step("deleted")
        if before.open is not None:
            (self._journal / before.open).unlink()
        shutil.rmtree(self._scratch)
        sync(self._journal)
        self._step("cleared")


def _row_group(database: duckdb.DuckDBPyConnection, table: str) -> int:
    """Rows of a row group: a reader holds one, so there are fewer where rows are large."""
    if table != "responses":
        return 122_880
    found = database.execute(f"SELECT avg(octet_length(content)) FROM {_STAGED}.responses").fetchone()
    mean = float(found[0]) if found and found[0] else 1.0
    return int(min(122_880, max(2048, _ROW_GROUP_BYTES / mean)))


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _make(directory: Path) -> None:
    """Makes a directory, and durable that it is there."""
    if not directory.exists():
        _make(directory.parent)
        directory.mkdir(mode=0o700)
        sync(directory.parent)


def main() -> None:
    """Seals, and prints the report as a line of JSON."""
    parser = argparse.ArgumentParser(prog="agent.store.seal", description="Seal closed segments of a journal.")
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--audit", type=Path, required=True)
    parser.add_argument("--before-leaf", type=int, required=True)
    options = parser.parse_args()
    os.nice(19)  # the agent's sessions come first
    report = seal(options.journal, options.audit, options.before_leaf)
    print(msgspec.json.encode(report).decode(), flush=True)


if __name__ == "__main__":
    main()
