"""What `resources check` tells of a server on which rules are to work, and the server's log while they do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.e2e import servers
from tests.e2e.agent import AgentProcess
from tests.e2e.servers import Server

POLICY = "version: 1\nrules:\n  - {name: r, match: ['DROP *'], effect: deny}\n"
GRANTABLE = 15
"""From this version on single parameters can be granted."""


@pytest.fixture(scope="module", params=["18", "system"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    binaries = servers.embedded()
    if request.param == "system":
        binaries = request.getfixturevalue("system_binaries")
    found = Server(binaries).start()
    found.sql("CREATE ROLE plain LOGIN")
    found.sql("CREATE ROLE quiet LOGIN")
    if found.binaries.major >= GRANTABLE:
        found.sql("GRANT SET ON PARAMETER log_min_messages TO quiet")
    yield found
    found.remove()


@pytest.fixture(scope="module")
def agent(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    home = tmp_path_factory.mktemp("trace")
    (home / "policy.yaml").write_text(POLICY)
    resources = [
        {
            "name": role,
            "type": "pg",
            "upstream": f"postgresql://{role}@127.0.0.1:{server.port}/postgres?sslmode=disable",
        }
        for role in ("postgres", "plain", "quiet")
    ]
    process = AgentProcess(home, resources, policy=str(home / "policy.yaml")).start()
    yield process
    process.stop()


def checked(agent: AgentProcess, name: str) -> dict[str, Any]:
    (row,) = json.loads(agent.hoopctl("resources", "check", name, "--format", "json").stdout)
    return dict(row)


def test_the_trace_is_there(agent: AgentProcess) -> None:
    """A superuser has it and keeps the log clean; no pooler is imagined where there is none."""
    found = checked(agent, "postgres")
    assert (found["trace"], found["log"], found["pooler"], found["hint"]) == ("yes", "clean", False, None)


def test_what_to_grant(agent: AgentProcess, server: Server) -> None:
    """Any role has the trace; what a superuser has to run, so that the log stays clean, is told."""
    found = checked(agent, "plain")
    assert (found["trace"], found["log"]) == ("yes", "gets every tree")
    grants = server.binaries.major >= GRANTABLE
    assert ("GRANT SET ON PARAMETER log_min_messages TO plain" in found["hint"]) == grants
    if grants:
        assert (checked(agent, "quiet")["log"], checked(agent, "quiet")["hint"]) == ("clean", None)


@pytest.mark.parametrize("role", ["postgres", "quiet"])
def test_the_log_stays_clean(agent: AgentProcess, server: Server, role: str) -> None:
    """What was granted is used: rules work, and no tree gets into the server's log; settings are put back."""
    if server.binaries.major < GRANTABLE and role == "quiet":
        pytest.skip("no parameter can be granted")
    before = len(server.log())
    dsn = f"host=127.0.0.1 port={agent.port} dbname={role} user=crew password={agent.token()}"
    with psycopg.connect(dsn, autocommit=True) as client:
        assert client.execute("SELECT count(*) FROM pg_class WHERE relname = 'pg_class'").fetchone() == (1,)
        client.execute("DO $$ BEGIN PERFORM count(*) FROM pg_class; END $$")
        assert client.execute("SHOW log_min_messages").fetchone() == ("warning",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            client.execute("DROP TABLE nothing")
    assert "QUERY" not in server.log()[before:]
