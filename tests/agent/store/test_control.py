"""The control database: private, safe from planted links, made once."""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent.store.control import StateError, open_database, ready_directory


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_private(tmp_path: Path) -> None:
    """The state directory is 0700 and every file of the database 0600, whatever the umask."""
    before = os.umask(0)
    try:
        database = open_database(tmp_path / "a" / "state")
        database.execute("INSERT INTO service_accounts VALUES ('i', 'n', '[]', '[]', x'00', 0, NULL, NULL)")
        assert mode(tmp_path / "a" / "state") == 0o700
        files = sorted((tmp_path / "a" / "state").iterdir())
        assert [file.name for file in files] == ["control.db", "control.db-shm", "control.db-wal"]
        assert {mode(file) for file in files} == {0o600}
        database.close()
    finally:
        os.umask(before)


def test_widened_file_is_narrowed(tmp_path: Path) -> None:
    """A database that a restore made readable by others is private again once opened."""
    open_database(tmp_path / "state").close()
    (tmp_path / "state" / "control.db").chmod(0o644)
    open_database(tmp_path / "state").close()
    assert mode(tmp_path / "state" / "control.db") == 0o600


def test_links_are_refused(tmp_path: Path) -> None:
    """A symbolic or a hard link under the database's name is an error, and what it leads to stays as it was."""
    state = tmp_path / "state"
    ready_directory(state)
    victim = tmp_path / "victim"
    victim.write_text("x")
    (state / "control.db").symlink_to(victim)
    with pytest.raises(StateError, match="plain file"):
        open_database(state)
    (state / "control.db").unlink()
    (state / "control.db").hardlink_to(victim)
    with pytest.raises(StateError, match="plain file"):
        open_database(state)
    assert victim.read_text() == "x"


@pytest.mark.parametrize("bits", [0o777, 0o770, 0o702])
def test_directory_that_others_may_write(tmp_path: Path, bits: int) -> None:
    """A state directory that others may write is refused, with the command that mends it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(bits)
    with pytest.raises(StateError, match="can be written by others") as caught:
        open_database(tmp_path / "state")
    assert caught.value.hint == f"chmod 700 {tmp_path}/state"


def test_not_a_directory(tmp_path: Path) -> None:
    """A file, a dangling link and an unmakeable path under the directory's name are errors that say so."""
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file", "dangling", "file/below"):
        with pytest.raises(StateError):
            ready_directory(tmp_path / name)


def test_damage_is_told(tmp_path: Path) -> None:
    """A file that is not a database is an error, not a traceback, and is left as it is."""
    ready_directory(tmp_path / "state")
    (tmp_path / "state" / "control.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StateError, match="not a database"):
        open_database(tmp_path / "state")


def test_later_version(tmp_path: Path) -> None:
    """A database written by a later hoopctl is refused."""
    database = open_database(tmp_path / "state")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(StateError, match="got version 99"):
        open_database(tmp_path / "state")


def test_made_by_many_at_once(tmp_path: Path) -> None:
    """Several that open a new database at once all get it, made once."""

    def attempt(_: int) -> int:
        database = open_database(tmp_path / "state")
        try:
            return int(database.execute("SELECT count(*) FROM service_accounts").fetchone()[0])
        finally:
            database.close()

    ready_directory(tmp_path / "state")
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(attempt, range(12))) == [0] * 12


def test_opened_again(tmp_path: Path) -> None:
    """What was written is there when the database is opened again."""
    database = open_database(tmp_path / "state")
    database.execute("INSERT INTO service_accounts VALUES ('i', 'n', '[]', '[]', x'00', 0, NULL, NULL)")
    database.close()
    again = open_database(tmp_path / "state")
    with pytest.raises(sqlite3.IntegrityError):
        again.execute("INSERT INTO service_accounts VALUES ('j', 'n', '[]', '[]', x'01', 0, NULL, NULL)")
    again.close()
