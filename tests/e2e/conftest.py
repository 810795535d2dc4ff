"""Servers, agents and endpoints that the end-to-end tests share.

`HOOPCTL_E2E_DIRECT=1` lets the agent's endpoints be the servers themselves: it tries the tests without the agent.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import servers
from tests.e2e.agent import AgentProcess
from tests.e2e.certificates import Authority
from tests.e2e.endpoint import Endpoint
from tests.e2e.servers import Server

DIRECT = bool(os.environ.get("HOOPCTL_E2E_DIRECT"))
PASSWORD = "correct-horse"  # of every role in the throwaway servers that has one

ROLES = f"""
    CREATE ROLE app LOGIN PASSWORD '{PASSWORD}';
    CREATE DATABASE app OWNER app;
"""
SCHEMA = """
    CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, born date, score numeric(8, 2), tags text[]);
    COMMENT ON TABLE people IS 'somebody';
    INSERT INTO people SELECT i, 'person ' || i, date '1970-01-01' + i, i * 1.25, ARRAY['a', i::text]
        FROM generate_series(1, 500) i;
    CREATE VIEW grown AS SELECT id, name FROM people WHERE born < '1971-01-01';
    CREATE INDEX ON people (name);
    CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT 2 * x';
    CREATE FUNCTION shout(x text) RETURNS text LANGUAGE plpgsql AS
        $$BEGIN RAISE NOTICE 'hear: %', x USING DETAIL = 'loud', HINT = 'cover your ears'; RETURN upper(x); END$$;
    CREATE TABLE ledger (id bigint PRIMARY KEY, note text);
    GRANT ALL ON ALL TABLES IN SCHEMA public TO app;
    GRANT ALL ON SCHEMA public TO app;
"""
HBA = ("host all app 127.0.0.1/32 password",)  # a server that asks as the agent does: raw streams can be compared


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session", autouse=True)
def _swept() -> Iterator[None]:
    yield
    servers.sweep()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of every server certificate."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def system_binaries() -> servers.Binaries:
    """The distribution's PostgreSQL, with TLS."""
    found = servers.system()
    if found is None:
        pytest.skip("the system has no PostgreSQL in /usr/lib/postgresql (nox -s e2e installs it)")
    return found


def populate(server: Server) -> Server:
    """Roles, the database `app` and what is in it."""
    for statement in ROLES.split(";"):
        if statement.strip():
            server.sql(statement)
    server.sql(SCHEMA, database="app")
    return server


@pytest.fixture(scope="session")
def pg18() -> Iterator[Server]:
    """PostgreSQL 18 without TLS, populated; `app` logs in with a cleartext password."""
    server = populate(Server(servers.embedded(), HBA).start())
    yield server
    server.remove()


@pytest.fixture(scope="session")
def pg15(system_binaries: servers.Binaries, authority: Authority) -> Iterator[Server]:
    """The system's PostgreSQL with TLS, populated; `app` logs in with a cleartext password."""
    pair = authority.issue("pg15", "localhost", "localhost", "127.0.0.1")
    server = populate(Server(system_binaries, HBA, tls=pair).start())
    yield server
    server.remove()


def resource(server: Server, name: str = "app", user: str = "app", query: str = "", **extra: Any) -> dict[str, Any]:
    """A resource of hoop.yaml for the database `app` of `server`; its password is in the environment."""
    suffix = f"?{query}" if query else ""
    upstream = f"postgresql://{user}@127.0.0.1:{server.port}/app{suffix}"
    return {"name": name, "type": "pg", "upstream": upstream, "password": {"env": "APP_PASSWORD"}} | extra


MakeAgent = Callable[..., AgentProcess]


@pytest.fixture
def make_agent(tmp_path: Path) -> Iterator[MakeAgent]:
    """Starts agents with the given resources and settings; each must end cleanly after the test."""
    made: list[AgentProcess] = []

    def make(
        resources: Sequence[Mapping[str, Any]],
        started: bool = True,
        environment: Mapping[str, str] = {},
        **settings: Any,
    ) -> AgentProcess:
        words = {"APP_PASSWORD": PASSWORD} | dict(environment)
        agent = AgentProcess(tmp_path / f"agent{len(made)}", resources, words, **settings)
        made.append(agent)
        return agent.start() if started else agent

    yield make
    problems = []
    for agent in made:
        try:
            agent.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n\n".join(problems)


@pytest.fixture(scope="session")
def shared(pg18: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """One agent in front of pg18 for all tests that don't harm it."""
    agent = AgentProcess(tmp_path_factory.mktemp("shared"), [resource(pg18)], {"APP_PASSWORD": PASSWORD})
    if not DIRECT:
        agent.start()
    yield agent
    agent.stop()


@pytest.fixture(scope="session")
def shared15(pg15: Server, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    """One agent in front of pg15, TLS verified on that side."""
    verified = resource(pg15, query=f"sslmode=verify-full&sslrootcert={authority.ca}")
    agent = AgentProcess(tmp_path_factory.mktemp("shared15"), [verified], {"APP_PASSWORD": PASSWORD})
    if not DIRECT:
        agent.start()
    yield agent
    agent.stop()


def straight(server: Server) -> Endpoint:
    """The server without the agent."""
    return Endpoint(server.port, "app", PASSWORD, "app")


@pytest.fixture(scope="session")
def direct(pg18: Server) -> Endpoint:
    """pg18 without the agent."""
    return straight(pg18)


@pytest.fixture(scope="session")
def through(shared: AgentProcess, pg18: Server) -> Endpoint:
    """pg18 through the agent."""
    return straight(pg18) if DIRECT else shared.endpoint("app")


@pytest.fixture(scope="session")
def direct15(pg15: Server, authority: Authority) -> Endpoint:
    """pg15 without the agent, over TLS."""
    return straight(pg15).over_tls(authority.ca)


@pytest.fixture(scope="session")
def through15(shared15: AgentProcess, pg15: Server, direct15: Endpoint) -> Endpoint:
    """pg15 through the agent, over TLS on both sides."""
    return direct15 if DIRECT else shared15.endpoint("app").over_tls(shared15.root)


def program(server_binaries: servers.Binaries, name: str) -> str:
    """A client program that comes with a server, or the one on PATH."""
    path = server_binaries.directory / name
    return str(path) if path.exists() else shutil.which(name) or name
