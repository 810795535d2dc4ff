from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from tests.docs import pages
from tests.e2e.servers import Server, embedded, sweep

PAGE = (pages.ROOT / "docs" / "getting-started.md").read_text()
AGENT = "hoopctl agent"
STARTING = 30.0


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    """A database like the page's: a role `app` with a password, a database `app`."""
    server = Server(embedded(), hba=["host all all 127.0.0.1/32 scram-sha-256"]).start()
    try:
        server.sql("CREATE ROLE app LOGIN PASSWORD 'secret'")
        server.sql("CREATE DATABASE app OWNER app")
        yield server
    finally:
        server.remove()
        sweep()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody who does what the page says, in a folder of their own."""
    reader = Reader(tmp_path)
    try:
        yield reader
    finally:
        reader.leave()


class Reader:
    """Types the page's blocks one after another; `agent` keeps running in what is the other terminal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._agent: subprocess.Popen[bytes] | None = None
        self._port = ""
        commands = Path(sys.executable).parent
        unrelated = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPCTL_", "PG"))}
        self._environment = unrelated | {"PATH": f"{commands}:{os.environ['PATH']}", "HOME": str(folder)}

    def type(self, block: str) -> str:
        """Runs a block of the page in a shell; what it printed."""
        if AGENT in block:
            self._start(block)
            return ""
        block = block.replace("5439", self._port)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def _start(self, block: str) -> None:
        self._agent = subprocess.Popen(
            ["bash", "-c", f"exec env {block}"],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            bufsize=0,  # what is read ahead would be hidden from select
        )
        assert self._agent.stdout is not None
        while not self._port:
            readable, _, _ = select.select([self._agent.stdout], [], [], STARTING)
            line = self._agent.stdout.readline().decode() if readable else ""
            assert line, "the agent did not start"
            if line.startswith("pg "):
                self._port = line.strip().rpartition(":")[2]

    def leave(self) -> None:
        """Ends the agent, as Ctrl-C in its terminal does."""
        if self._agent is not None:
            self._agent.send_signal(signal.SIGTERM)
            self._agent.wait(60)
            if self._agent.stdout is not None:
                self._agent.stdout.close()


@pytest.mark.skipif(not which("psql"), reason="psql is not installed")
def test_page_works(reader: Reader, database: Server, tmp_path: Path) -> None:
    """Every command of the page, typed in order, does what the page says; only the database's address is ours."""
    (yaml,) = pages.fenced(PAGE, "yaml")
    for old, new in {
        "db.internal:5432": f"127.0.0.1:{database.port}",
        "?sslmode=verify-full": "",
        "127.0.0.1:5439": "127.0.0.1:0",
    }.items():
        assert old in yaml
        yaml = yaml.replace(old, new)
    first, *others = pages.fenced(PAGE, "sh")
    reader.type(first)
    assert (tmp_path / "hoop.yaml").read_text().strip()
    (tmp_path / "hoop.yaml").write_text(yaml)
    told = [reader.type(block) for block in others]
    everything = "\n".join(told)
    for expected in ("app", "nightly-report", "SELECT 42 AS n", "CREATE TEMP TABLE"):
        assert expected in everything
    assert list(tmp_path.glob("audit/operations/*/*.parquet"))
