"""Sealing loses and doubles nothing, whenever it is cut short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from agent.core.journal.frame import JournalDamage
from agent.store.evidence import Evidence
from agent.store.journal import Journal, segments
from agent.store.manifest import load
from agent.store.rows import STARTS, rebuild
from agent.store.seal import seal
from schemas.records import Record, encode
from tests.story import DAY, NOON, SECOND, answered, asked, ended, loaded, started, story, write

ROOT = Path(__file__).parents[3]


class Killed(BaseException):
    """Stands for a process that ends at this step: nothing may catch it."""


def leaves(state: Path, audit: Path) -> dict[int, bytes]:
    """Every leaf that the evidence holds, sealed or not; a leaf that is there twice fails."""
    found: dict[int, bytes] = {}
    with Evidence(state, audit) as evidence:
        for table in STARTS:
            relation = evidence.connection.sql(f"SELECT * FROM {table}")
            for values in relation.fetchall():
                row = dict(zip(relation.columns, values, strict=True))
                places = [row[name] for name in ("leaf", "end_leaf") if row.get(name) is not None]
                for leaf, body in zip(places, rebuild(table, row), strict=True):
                    assert leaf not in found
                    found[leaf] = body
    return found


def history() -> list[list[Record]]:
    """Segments in which a session and an operation begin and end in different ones, on different days."""
    long = "l" * 20
    return [
        [loaded(), started(long), *story("a" * 20), asked(long, 1, NOON + SECOND, "SELECT pg_sleep(100000)")],
        [*story("b" * 20, NOON + DAY), *answered(long, 1, NOON + DAY, [b"x", b"y"])],
        [ended(long, NOON + 2 * DAY, 1), started("o" * 20, NOON + 2 * DAY)],
        [asked("o" * 20, 1, NOON + 2 * DAY, "SELECT 1")],
    ]


def expected(recorded: list[list[Record]]) -> dict[int, bytes]:
    return dict(enumerate(encode(record) for group in recorded for record in group))


def test_sealed_rows_are_what_was_recorded(tmp_path: Path) -> None:
    """After sealing every record can be rebuilt, from Parquet files of the right dates, and the segments are gone."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    leaf = write(journal, *history())
    report = seal(journal, audit, leaf)
    assert (report.leaf, report.segments) == (leaf, 4)
    assert segments(journal) == []
    assert leaves(tmp_path, audit) == expected(history())
    dates = {path.parent.name for path in (audit / "sessions").glob("*/*")}
    assert dates == {"date=2023-11-15", "date=2023-11-16"}
    assert [path.name for path in journal.glob("open-*")] == [f"open-{leaf:016d}.frames"]
    assert not (journal / "sealing").exists()
    assert not list(audit.rglob(".*"))


def test_only_closed_segments_are_sealed(tmp_path: Path) -> None:
    """The live segment stays, and what is in it is there nonetheless."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    writer = Journal.open(journal)
    try:
        for record in story("a" * 20):
            writer.append(record)
        leaf = writer.rotate()
        for record in story("b" * 20):
            writer.append(record)
        writer.wait()
        assert seal(journal, audit, leaf).leaf == leaf
        assert len(segments(journal)) == 1
        assert leaves(tmp_path, audit) == expected([story("a" * 20), story("b" * 20)])
    finally:
        writer.close()


def test_sealing_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Segment after segment, with the journal opened anew in between: nothing is lost or doubled."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    recorded = history()
    for done, group in enumerate(recorded, 1):
        leaf = write(journal, group)
        assert seal(journal, audit, leaf).leaf == leaf
        assert leaves(tmp_path, audit) == expected(recorded[:done])
    assert seal(journal, audit, load(journal).leaf).segments == 0


def killed_at(step: int, journal: Path, audit: Path, leaf: int) -> bool:
    """Seals up to a step; returns whether it came so far."""
    left = step

    def stop(name: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed(name)

    try:
        seal(journal, audit, leaf, stop)
    except Killed:
        return True
    return False


def test_killed_at_any_step(tmp_path: Path) -> None:
    """Wherever sealing ends, the evidence is whole before and after the next one, which may seal more than the first
    would have."""
    recorded = history()
    step, going = 0, True
    while going:
        step += 1
        state = tmp_path / str(step)
        journal, audit = state / "journal", state / "audit"
        leaf = write(journal, *recorded[:2])
        going = killed_at(step, journal, audit, leaf)
        assert leaves(state, audit) == expected(recorded[:2])
        leaf = write(journal, *recorded[2:])
        assert leaves(state, audit) == expected(recorded)
        seal(journal, audit, leaf)
        assert leaves(state, audit) == expected(recorded)
        assert load(journal).leaf == leaf
        assert segments(journal) == []
    assert step > 10


def test_killed_over_and_over(tmp_path: Path) -> None:
    """A sealing that is cut short at every step in turn, in the same journal, seals everything once in the end."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    leaf = write(journal, *history())
    step = 1
    while killed_at(step, journal, audit, leaf):
        assert leaves(tmp_path, audit) == expected(history())
        step += 1
    assert leaves(tmp_path, audit) == expected(history())


def test_a_damaged_segment_is_not_sealed(tmp_path: Path) -> None:
    """A record that is not what was written stops sealing, names the file, and changes nothing."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    leaf = write(journal, *history())
    path = segments(journal)[1]
    data = bytearray(path.read_bytes())
    data[80] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalDamage, match=path.name):
        seal(journal, audit, leaf)
    assert load(journal).leaf == 0
    assert len(segments(journal)) == 4


def test_a_missing_segment_is_told(tmp_path: Path) -> None:
    """A gap in the journal is damage, not a smaller journal."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    leaf = write(journal, *history())
    segments(journal)[1].unlink()
    with pytest.raises(JournalDamage, match="begins at another record"):
        seal(journal, audit, leaf)


def test_sealing_is_a_process(tmp_path: Path) -> None:
    """`python -m agent.store.seal` seals and prints its report as one line of JSON."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    leaf = write(journal, *history())
    command = [sys.executable, "-m", "agent.store.seal", "--journal", str(journal), "--audit", str(audit)]
    done = subprocess.run(
        [*command, "--before-leaf", str(leaf)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    assert json.loads(done.stdout)["leaf"] == leaf
    assert leaves(tmp_path, audit) == expected(history())


@pytest.mark.parametrize("delay", [0.1, 0.25, 0.4, 0.6])
def test_the_process_may_be_killed(tmp_path: Path, delay: float) -> None:
    """SIGKILL at some moment of a real sealing: the evidence is whole, and the next sealing goes on."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    recorded = history() + [story(f"{number:020d}", NOON + number * DAY) for number in range(20)]
    leaf = write(journal, *recorded)
    command = [sys.executable, "-m", "agent.store.seal", "--journal", str(journal), "--audit", str(audit)]
    with subprocess.Popen([*command, "--before-leaf", str(leaf)], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while not (journal / "sealing").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
    assert leaves(tmp_path, audit) == expected(recorded)
    seal(journal, audit, leaf)
    assert leaves(tmp_path, audit) == expected(recorded)


def test_parquet_is_plain_and_private(tmp_path: Path) -> None:
    """Any engine reads the files by their names, times are timestamps, and only the owner may."""
    journal, audit = tmp_path / "journal", tmp_path / "audit"
    seal(journal, audit, write(journal, *history()))
    with duckdb.connect() as database:
        found = database.execute(
            f"SELECT date::VARCHAR, started_at::VARCHAR FROM read_parquet('{audit}/sessions/*/*.parquet') ORDER BY 2"
        ).fetchone()
    assert found == ("2023-11-15", "2023-11-15 12:00:00")
    assert {path.stat().st_mode & 0o77 for path in audit.rglob("*")} == {0}
