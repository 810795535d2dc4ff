"""Who is measured: a PostgreSQL server, and pgbouncer and hoopctl in front of it, each without and with TLS."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.e2e import servers
from tests.e2e.agent import AgentProcess
from tests.e2e.certificates import Authority, Pair
from tests.e2e.endpoint import Endpoint
from tests.e2e.servers import Server

DATABASE = "postgres"
USER = "bench"
FILES = 1 << 16
STARTING = 10.0

PGBOUNCER = """\
[databases]
{database} = host=127.0.0.1 port={upstream} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
pool_mode = session
max_client_conn = 5000
default_pool_size = {pool}
logfile = {directory}/log
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
"""
PGBOUNCER_TLS = """\
server_tls_sslmode = require
client_tls_sslmode = require
client_tls_key_file = {directory}/pgbouncer.key
client_tls_cert_file = {directory}/pgbouncer.pem
"""


class Contestant:
    """Something that answers like a PostgreSQL server. `pid` is its process, 0 for the server itself."""

    def __init__(self, name: str, endpoint: Endpoint, pid: int = 0) -> None:
        self.name = name
        self.endpoint = endpoint
        self.pid = pid


class Bouncer:
    """pgbouncer with session pooling, TLS on both sides or on neither."""

    def __init__(self, server: Server, tls: Pair | None, pool: int) -> None:
        self.directory = servers.scratch("hoop-bouncer-")
        self.port = servers.free_port()
        words = {"database": DATABASE, "user": USER, "upstream": server.port, "port": self.port, "pool": pool}
        text = PGBOUNCER
        if tls is not None:
            text += PGBOUNCER_TLS
            for source in (tls.certificate, tls.key):
                shutil.copy(source, self.directory / f"pgbouncer{source.suffix}")
        (self.directory / "ini").write_text(text.format(directory=self.directory, **words))
        (self.directory / "users").write_text(f'"{USER}" ""\n')
        servers.own(self.directory)
        program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
        assert program is not None
        self.process = subprocess.Popen(
            [program, "-q", str(self.directory / "ini")], stderr=subprocess.DEVNULL, **servers.as_unprivileged()
        )
        wait_for(self.port)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


class Ring:
    """All contestants on one server; those that can't be had are left out, and the description says so."""

    def __init__(self, words: argparse.Namespace) -> None:
        raise_limits()
        self._words = words
        self._scratch = Path(tempfile.mkdtemp(prefix="hoop-bench-"))
        self._closing: list[Any] = []
        self.binaries = servers.system() or servers.embedded()
        wanted = words.contestants.split(",")
        self.bouncer = "pgbouncer" in wanted and bool(
            shutil.which("pgbouncer") or os.path.exists("/usr/sbin/pgbouncer")
        )
        self.compiled = is_compiled(words.python)
        self.agents: dict[str, dict[str, str]] = {}  # name: environment
        if "compiled" in wanted and self.compiled:
            self.agents["hoopctl compiled"] = {}
        if "interpreted" in wanted:
            self.agents["hoopctl interpreted"] = {"PYTHONPATH": str(self._interpreted())}
        self.direct = "direct" in wanted
        authority = Authority(self._scratch)
        self._pair = authority.issue("server", "localhost", "localhost", "127.0.0.1")
        connections = str(max(words.idle, 100) + 50)
        hba = (f"host all {USER} 127.0.0.1/32 trust",)
        tls = self._pair if self.binaries.tls else None
        self.server = Server(self.binaries, hba, tls=tls, max_connections=connections, shared_buffers="512MB").start()

    def _interpreted(self) -> Path:
        """A copy of the installed packages with nothing compiled in it."""
        found = subprocess.run(
            [self._words.python, "-P", "-c", "import agent; print(list(agent.__path__)[0])"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        )
        source = Path(found.stdout.strip()).parent
        target = self._scratch / "interpreted"
        for name in ("agent", "bot", "cli", "schemas"):
            if (source / name).is_dir():
                shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        return target

    def __enter__(self) -> Self:
        self.server.sql(f"CREATE ROLE {USER} LOGIN SUPERUSER")
        self.run("pgbench", "-i", "-q", "-s", str(self._words.scale))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self.server.remove()
        servers.sweep()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def run(self, program: str, *arguments: str, endpoint: Endpoint | None = None) -> str:
        """The output of a client program, straight to the server unless told otherwise."""
        done = subprocess.run(
            [self.binaries.program(program), *arguments],
            env=(endpoint or self.straight(False)).environment(),
            capture_output=True,
            text=True,
            cwd=self._scratch,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{program} {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout

    def straight(self, tls: bool) -> Endpoint:
        return Endpoint(self.server.port, USER, "", DATABASE, "require" if tls else "disable")

    def contestants(self, tls: bool, **settings: Any) -> list[Contestant]:
        """Everybody, freshly started; `clear` ends them."""
        self.clear()
        result = [Contestant("direct", self.straight(tls))] if self.direct else []
        if self.bouncer:
            bouncer = Bouncer(self.server, self._pair if tls else None, max(self._words.idle, 100) + 10)
            self._closing.append(bouncer)
            result.append(Contestant("pgbouncer", replace(self.straight(tls), port=bouncer.port), bouncer.process.pid))
        for number, (name, environment) in enumerate(self.agents.items()):
            agent = self._agent(number, environment, tls, settings)
            endpoint = replace(agent.endpoint(DATABASE), sslmode="require" if tls else "disable")
            result.append(Contestant(name, endpoint, agent.pid))
        return result

    def variants(self, name: str, settings: dict[str, dict[str, Any]]) -> list[Contestant]:
        """Agents of one implementation that differ in their settings, without TLS; `clear` ends them."""
        self.clear()
        made = []
        for number, (variant, words) in enumerate(settings.items()):
            agent = self._agent(number, self.agents[name], False, words)
            endpoint = replace(agent.endpoint(DATABASE), sslmode="disable")
            made.append(Contestant(variant, endpoint, agent.pid))
        return made

    def policy(self, text: str) -> dict[str, str]:
        """The setting that puts this policy into force."""
        path = Path(tempfile.mkdtemp(dir=self._scratch, prefix="policy-")) / "policy.yaml"
        path.write_text(text)
        return {"policy": str(path)}

    def rows(self, count: int) -> None:
        """Makes the table that is transferred."""
        self.run(
            "psql",
            "-q",
            "-c",
            "SET client_min_messages = error; DROP TABLE IF EXISTS bench_rows; CREATE UNLOGGED TABLE bench_rows AS"
            " SELECT i AS id, 'customer ' || i AS name, md5(i::text) AS digest, now() AS created, i * 0.01 AS balance"
            f" FROM generate_series(1, {count}) i",
            "-c",
            "VACUUM ANALYZE bench_rows",
        )

    def _agent(self, number: int, environment: dict[str, str], tls: bool, settings: dict[str, Any]) -> AgentProcess:
        mode = "require" if tls else "disable"
        url = f"postgresql://{USER}@127.0.0.1:{self.server.port}/{DATABASE}?sslmode={mode}"
        words = {"audit": {"durability": self._words.durability}} | settings
        directory = Path(tempfile.mkdtemp(dir=self._scratch, prefix=f"agent{number}-"))
        resources = [{"name": DATABASE, "type": "pg", "upstream": url}]
        agent = AgentProcess(directory, resources, environment, python=self._words.python, **words)
        self._closing.append(agent)
        return agent.start()

    def clear(self) -> None:
        """Ends everybody but the server."""
        while self._closing:
            ending = self._closing.pop()
            ending.stop()
            shutil.rmtree(ending.directory, ignore_errors=True)

    def description(self) -> str:
        """The machine and who takes part."""
        processor = platform.processor() or platform.machine()
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
        lines = [f"{os.cpu_count()} cores ({processor}), Python {platform.python_version()}."]
        lines.append(f"PostgreSQL {self.binaries.major}; hoopctl with durability `{self._words.durability}`.")
        if not self.bouncer:
            lines.append("pgbouncer is not installed or was not asked for.")
        if "hoopctl compiled" not in self.agents:
            lines.append("No compiled hoopctl: its core is not compiled here or was not asked for.")
        if not self.binaries.tls:
            lines.append("Without TLS only: the system has no PostgreSQL, and the embedded one has none.")
        return "\n".join(lines)


def is_compiled(python: str) -> bool:
    """Whether `python` imports a compiled core."""
    code = "import agent.core.session as session; print(session.__file__)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([python, "-P", "-c", code], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip().endswith(".so")


def raise_limits() -> None:
    """Lets this process and what it starts have as many files as allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, FILES), hard))


def wait_for(port: int) -> None:
    """Until somebody listens on `port`."""
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nobody listens on port {port} after {STARTING:g} s")
