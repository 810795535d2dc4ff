"""The control database, STATE/control.db: service accounts and the credentials issued to them. SQLite, because the
agent and a command beside it may both write.

Only digests of tokens are in it, so that who reads it (a backup, say) can't log in with what is there.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

NAME = "control.db"

BUSY = 2.0
"""Seconds to wait for another process's write. The agent's logins wait with it, so it is short."""

_VERSIONS = (
    """
    CREATE TABLE service_accounts (
        credential_id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        groups TEXT NOT NULL,
        acts_for TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        created_at REAL NOT NULL,
        expires_at REAL,
        revoked_at REAL
    ) STRICT;
    CREATE UNIQUE INDEX service_account_names ON service_accounts (name) WHERE revoked_at IS NULL;
    CREATE TABLE credentials (
        credential_id TEXT PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        subject TEXT NOT NULL,
        groups TEXT NOT NULL,
        actor TEXT,
        run TEXT,
        acts_for TEXT NOT NULL,
        issued_by TEXT NOT NULL,
        resource TEXT NOT NULL,
        created_at REAL NOT NULL,
        expires_at REAL NOT NULL,
        revoked_at REAL
    ) STRICT;
    CREATE INDEX credential_issuers ON credentials (issued_by);
    CREATE INDEX credential_expiry ON credentials (expires_at);
    """,
)
"""What brings a database from version N to N + 1 (PRAGMA user_version); only ever added to."""


class StateError(Exception):
    """The state directory or a file in it can't be used safely."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def ready_directory(directory: Path) -> None:
    """Makes a directory that only its owner may enter, with its parents, or checks that an existing one is ours and
    that nobody else may write there: a link planted in it would lead our writes elsewhere. Raises StateError."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        # The mode is given at creation, and mkdir takes the umask away from it, which can only narrow it.
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise StateError(
            f"the directory {directory} can't be made ({(error.strerror or str(error)).lower()})",
            "make it, or name another one as state in hoop.yaml",
        ) from error
    try:
        found = directory.stat()
        link = directory.lstat()
    except OSError as error:
        raise StateError(
            f"the directory {directory} can't be looked at ({(error.strerror or str(error)).lower()})",
            "name another one as state in hoop.yaml",
        ) from error
    if not stat.S_ISDIR(found.st_mode):
        raise StateError(f"{directory} is not a directory", "name another one as state in hoop.yaml")
    if {found.st_uid, link.st_uid} - {os.geteuid(), 0}:
        raise StateError(
            f"the directory {directory} belongs to another user (got uid {link.st_uid}, expected {os.geteuid()})",
            "run hoopctl as the user who owns it",
        )
    if found.st_mode & 0o022:
        raise StateError(
            f"the directory {directory} can be written by others (got mode {found.st_mode & 0o777:03o}, expected 700)",
            f"chmod 700 {directory}",
        )


def open_database(state: Path) -> sqlite3.Connection:
    """The control database of this state directory, made or brought to this version where needed; the file is the
    owner's alone (0600), and so are SQLite's own files beside it. Raises StateError."""
    ready_directory(state)
    file = state / NAME
    try:
        with _alone(state):
            _private_file(file)
            database = sqlite3.connect(file, timeout=BUSY, isolation_level=None, check_same_thread=False)
            try:
                _prepare(database)
            except BaseException:
                database.close()
                raise
    except sqlite3.Error as error:
        raise StateError(
            f"the control database {file} can't be used ({error})",
            "restore it from a backup; without it every service account is to be created anew",
        ) from error
    return database


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    # Changing a database to WAL doesn't wait for another process that is doing so: SQLite says "locked" at once.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _private_file(file: Path) -> None:
    # An existing file is looked at and not opened: closing it would drop the locks of every connection that this
    # process has to it (https://www.sqlite.org/howtocorrupt.html, 2.2).
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(file, flags, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise StateError(
            f"the file {file} can't be made ({(error.strerror or str(error)).lower()})",
            "the state directory should be the agent's user's",
        ) from error
    found = file.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise StateError(f"{file} is not a plain file with one name", "remove it, or restore it from a backup")
    if found.st_mode & 0o077:
        file.chmod(0o600)


def _prepare(database: sqlite3.Connection) -> None:
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "trusted_schema = OFF"):
        with closing(database.execute(f"PRAGMA {pragma}")) as cursor:
            cursor.fetchall()
    if _version(database) == len(_VERSIONS):
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        version = _version(database)
        if version > len(_VERSIONS):
            raise sqlite3.DatabaseError(
                f"it was written by a later hoopctl (got version {version}, expected at most {len(_VERSIONS)})"
            )
        for script in _VERSIONS[version:]:
            for statement in script.split(";"):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(_VERSIONS)}")
        database.execute("COMMIT")
    except BaseException:
        database.execute("ROLLBACK")
        raise


def _version(database: sqlite3.Connection) -> int:
    with closing(database.execute("PRAGMA user_version")) as cursor:
        return int(cursor.fetchone()[0])
