"""A real agent in a process of its own."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

import agent
from agent.identity.accounts import Accounts
from agent.store.control import open_database, ready_directory
from tests.e2e.endpoint import Endpoint

STARTING = 30.0  # seconds until `ready`
STOPPING = 60.0  # seconds that SIGTERM may take: drain, seal, end
SETTLED = 5  # equal counts of descriptors in a row, a tenth of a second apart, that are no longer those of starting
T = TypeVar("T")

LISTENER = re.compile(r"^(\w+)\s+(\S+):(\d+)$")


def eventually(look: Callable[[], T], timeout: float = 10.0) -> T:
    """What `look` returns as soon as it is true, or what it returned last when `timeout` seconds are over."""
    deadline = time.monotonic() + timeout
    while not (result := look()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return result


@cache
def import_path() -> str:
    """What PYTHONPATH must be for `python -P` to run the very agent that the tests import."""
    return str(Path(next(iter(agent.__path__))).parent)


class AgentProcess:
    """An agent whose whole world (configuration, state, evidence, output) is in `directory`."""

    def __init__(
        self,
        directory: Path,
        resources: Sequence[Mapping[str, Any]],
        environment: Mapping[str, str] | None = None,
        python: str = sys.executable,
        **settings: Any,
    ) -> None:
        self.directory = directory
        self.state = directory / "state"
        self.audit = directory / "audit"
        self.config = directory / "hoop.yaml"
        directory.mkdir(parents=True, exist_ok=True)
        document = {
            "version": 1,
            "state": str(self.state),
            "listen": {"pg": "127.0.0.1:0", "control": "127.0.0.1:0"},
            "resources": [dict(resource) for resource in resources],
        }
        settings.setdefault("audit", {})
        settings["audit"] = {"path": str(self.audit)} | settings["audit"]
        self.config.write_text(yaml.safe_dump(document | settings, sort_keys=False))
        self.python = python
        self.environment = os.environ | {"PYTHONPATH": import_path()} | dict(environment or {})
        self.listeners: dict[str, tuple[str, int]] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._output = b""
        self._tokens: dict[str, str] = {}

    def start(self, before: Callable[[], None] | None = None) -> AgentProcess:
        """Starts it and waits for `ready` and its listeners. `before` runs in the new process (resource limits)."""
        with open(self.directory / "agent.log", "a") as log:
            self.process = subprocess.Popen(
                [self.python, "-P", "-m", "agent", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.directory,
                env=self.environment,
                preexec_fn=before,
            )
        self.listeners = {}
        self._output = b""
        deadline = time.monotonic() + STARTING
        if self._line(deadline) != "ready":
            raise AssertionError("the agent's first line is not `ready`")
        while not {"pg", "control"} <= self.listeners.keys():
            line = self._line(deadline)
            found = LISTENER.match(line)
            assert found, f"not a listener: {line!r}"
            self.listeners[found[1]] = (found[2], int(found[3]))
        return self

    def _line(self, deadline: float) -> str:
        assert self.process is not None and self.process.stdout is not None
        while b"\n" not in self._output:
            readable, _, _ = select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self.process.stdout.fileno(), 4096) if readable else b""
            if not data:
                code = self.process.poll()
                self.kill()
                raise AssertionError(f"the agent did not come up (exit status {code}):\n{self.log()[-4000:]}")
            self._output += data
        line, _, self._output = self._output.partition(b"\n")
        return line.decode()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def port(self) -> int:
        return self.listeners["pg"][1]

    @property
    def root(self) -> Path:
        """The certificate of the agent's own authority."""
        return self.state / "tls" / "ca.pem"

    def log(self) -> str:
        """What it wrote to standard error."""
        return (self.directory / "agent.log").read_text(errors="replace")

    def hoopctl(self, *arguments: str, check: bool = True, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs a hoopctl command on this agent's configuration."""
        done = subprocess.run(
            [self.python, "-P", "-m", "cli", "--config", str(self.config), *arguments],
            stdin=options.pop("stdin", subprocess.DEVNULL),
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment | {"COLUMNS": "200"},
            check=False,
            **options,
        )
        assert not check or done.returncode == 0, f"hoopctl {' '.join(arguments)}: {done.stderr}"
        return done

    def token(self, subject: str = "crew", group: str = "staff") -> str:
        """A service account's token, made once."""
        if subject not in self._tokens:
            ready_directory(self.state)
            with closing(open_database(self.state)) as database:
                self._tokens[subject] = Accounts(database, time.time).create(subject, [group], None)
        return self._tokens[subject]

    def endpoint(self, resource: str, subject: str = "crew") -> Endpoint:
        """How to connect to `resource`, without TLS (allowed on loopback)."""
        return Endpoint(self.port, subject, self.token(subject), resource)

    def query(self, statement: str) -> list[dict[str, Any]]:
        """The evidence's answer to `statement`, sealed and unsealed together. Binary columns: see `content`."""
        from agent.store.evidence import Evidence

        with Evidence(self.state, self.audit) as evidence:
            cursor = evidence.connection.execute(statement)
            names = [column[0] for column in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def settled_descriptors(self) -> int:
        """How many it has open once that has stayed the same for half a second: starting is over then."""
        seen = [self.descriptors()]
        while len(seen) < SETTLED or len(set(seen[-SETTLED:])) > 1:
            time.sleep(0.1)
            seen.append(self.descriptors())
        return seen[-1]

    def resident(self) -> int:
        """Bytes of memory resident now."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """Bytes of memory resident at most so far."""
        return self._status("VmHWM")

    def _status(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found
        return int(found[1]) * 1024

    def stop(self) -> None:
        """SIGTERM. It must end with status 0 and without a traceback in its log."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the agent did not end in {STOPPING:g} s:\n{self.log()[-4000:]}") from None
        self._close()
        log = self.log()
        assert status == 0, f"the agent ended with status {status}:\n{log[-4000:]}"
        assert "Traceback" not in log, log[-8000:]

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self._close()

    def _close(self) -> None:
        assert self.process is not None
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
