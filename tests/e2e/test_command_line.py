"""The commands beside a running agent: connect, sessions, replay, sql, resources, revoke."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from tests.e2e import servers
from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.conftest import PASSWORD, resource
from tests.e2e.servers import Server


@pytest.fixture(scope="module")
def agent(pg18: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    resources = [resource(pg18), resource(pg18, "wrong", user="nobody_here")]
    made = AgentProcess(tmp_path_factory.mktemp("commands"), resources, {"APP_PASSWORD": PASSWORD}).start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def psql_path(system_binaries: servers.Binaries) -> dict[str, str]:
    """An environment whose psql can TLS."""
    return {"PATH": f"{system_binaries.directory}:{os.environ['PATH']}", "HOME": "/nonexistent", "PSQLRC": "/dev/null"}


def connect(
    agent: AgentProcess, path: dict[str, str], *arguments: str, text: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [agent.python, "-P", "-m", "cli", "--config", str(agent.config), "connect", "pg", "app", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        env=agent.environment | path,
        check=False,
    )


def test_connect_runs_psql(agent: AgentProcess, psql_path: dict[str, str]) -> None:
    """psql opens by itself, verified against the agent's authority; arguments, streams and exit status are its own."""
    done = connect(agent, psql_path, "--", "-AtX", "-c", "SELECT 6 * 7", "-c", "\\conninfo")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("42\n")
    assert "SSL connection" in done.stdout
    assert connect(agent, psql_path, "--", "-Xc", "SELECT 1/0").returncode == 1
    failed = connect(agent, psql_path, "--", "-X", "-v", "ON_ERROR_STOP=1", "-f", "-", text="SELECT 1/0;\n")
    assert failed.returncode == 3
    assert "division by zero" in failed.stderr
    piped = connect(agent, psql_path, "--", "-AtX", text="SELECT 'from standard input';\n")
    assert piped.stdout == "from standard input\n"


def test_connect_names_a_run(agent: AgentProcess, psql_path: dict[str, str]) -> None:
    """--run RUN is in the evidence."""
    assert connect(agent, psql_path, "--run", "release-9", "--", "-AtXc", "SELECT 1").returncode == 0
    (row,) = agent.query("SELECT subject, run FROM sessions WHERE run = 'release-9'")
    assert row["subject"].startswith("local:")


def test_connect_print(agent: AgentProcess, psql_path: dict[str, str]) -> None:
    """--print gives a URI that any libpq client takes, verified, with a credential that works."""
    uri = connect(agent, psql_path, "--print").stdout.strip()
    assert uri.startswith("postgresql://")
    assert parse_qs(urlsplit(uri).query)["sslmode"] == ["verify-full"]
    with psycopg.connect(uri) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.pgconn.ssl_in_use


def test_connect_with_another_client(agent: AgentProcess, tmp_path: Path) -> None:
    """--client runs any program; the credential is in its environment, never in its arguments."""
    program = tmp_path / "myclient"
    program.write_text('#!/bin/sh\necho "args: $*"\nenv | grep ^PG\nexit 7\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    done = connect(agent, {}, "--client", str(program), "--", "one", "two")
    assert done.returncode == 7
    lines = dict(line.partition("=")[::2] for line in done.stdout.splitlines()[1:])
    assert lines["PGPASSWORD"].startswith("hoop_cr_")
    assert lines["PGSSLMODE"] == "verify-full"
    assert Path(lines["PGSSLROOTCERT"]).is_file()
    assert lines["PGPASSWORD"] not in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[0].endswith("one two")


def test_connect_without_the_client(agent: AgentProcess) -> None:
    """A client that isn't there is an error with a hint, not a traceback."""
    done = connect(agent, {}, "--client", "no-such-client-anywhere")
    assert done.returncode in (1, 2, 127)
    assert done.stderr.startswith("hoopctl: error:")
    assert "hoopctl: hint:" in done.stderr


def test_a_credential_is_for_one_resource(agent: AgentProcess, psql_path: dict[str, str]) -> None:
    """What `connect pg app` got opens `app` and nothing else."""
    uri = connect(agent, psql_path, "--print").stdout.strip()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(uri, dbname="wrong")


def test_sessions_and_replay(agent: AgentProcess) -> None:
    """A session is listed, shown by a shortened id, and replayed in each format."""
    with psycopg.connect(agent.endpoint("app").dsn(application_name="replayed"), autocommit=True) as connection:
        connection.execute("SELECT id, name FROM people WHERE id = 3")
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1/0")
        connection.execute("SELECT %s::int + 1 AS sum", (41,))
        listed = json.loads(agent.hoopctl("sessions", "list", "--format", "json").stdout)
        assert any(row["subject"] == "crew" for row in listed)
    (row,) = eventually(
        lambda: agent.query("SELECT session_id FROM sessions WHERE client_name = 'replayed' AND ended_at IS NOT NULL")
    )
    session = row["session_id"]
    assert session in agent.hoopctl("sessions", "show", session).stdout
    text = agent.hoopctl("replay", session, "--format", "text").stdout
    assert "SELECT id, name FROM people WHERE id = 3" in text
    assert "person 3" in text
    assert "division by zero" in text
    assert "42" in text
    assert json.loads(agent.hoopctl("replay", session, "--format", "json").stdout)
    cast = agent.hoopctl("replay", session, "--format", "asciicast").stdout.splitlines()
    assert json.loads(cast[0])["version"] in (2, 3)
    assert all(json.loads(line) for line in cast[1:] if line)
    assert "person 3" in agent.hoopctl("replay", session, "--speed", "1000").stdout


def test_resources_check(agent: AgentProcess) -> None:
    """`resources check` tells what is reached and how, and is 1 if anything isn't."""
    good = agent.hoopctl("resources", "check", "app")
    assert "app" in good.stdout
    bad = agent.hoopctl("resources", "check", "wrong", check=False)
    assert bad.returncode == 1
    listed = json.loads(agent.hoopctl("resources", "list", "--format", "json").stdout)
    assert {row["name"].removeprefix("pg/") for row in listed} == {"app", "wrong"}


def test_health_and_metrics(agent: AgentProcess) -> None:
    """The control listener answers /healthz and /metrics, and nothing that needs an identity."""
    host, port = agent.listeners["control"]
    with urllib.request.urlopen(f"http://{host}:{port}/healthz", timeout=10) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    assert "# TYPE" in text or "hoop" in text
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://{host}:{port}/v1/sessions", timeout=10)
    assert caught.value.code in (401, 403, 404)
    caught.value.close()


def test_service_accounts(agent: AgentProcess) -> None:
    """`create` prints the token once and alone; `list` doesn't."""
    done = agent.hoopctl("service-account", "create", "lister", "--group", "staff", "--expires", "90d")
    token = done.stdout.strip()
    assert token.startswith("hoop_sa_") and "\n" not in token
    listed = agent.hoopctl("service-account", "list", "--format", "json").stdout
    assert "lister" in listed and token not in listed


def test_agent_command(agent: AgentProcess, pg18: Server, tmp_path: Path) -> None:
    """`hoopctl agent` is the same agent."""
    shutil.copy(agent.config, tmp_path / "hoop.yaml")
    text = (tmp_path / "hoop.yaml").read_text().replace(str(agent.directory), str(tmp_path))
    (tmp_path / "hoop.yaml").write_text(text)
    process = subprocess.Popen(
        [agent.python, "-P", "-m", "cli", "--config", str(tmp_path / "hoop.yaml"), "agent"],
        stdout=subprocess.PIPE,
        text=True,
        env=agent.environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
