"""When the server is the trouble: what the client reads names the resource, the evidence has it, nothing leaks."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.e2e import faults
from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.conftest import PASSWORD, MakeAgent, populate, resource
from tests.e2e.faults import Misbehaving, Script
from tests.e2e.servers import Server, embedded, free_port
from tests.e2e.wire import Message, Wire, connect, messages, query


def upstream(port: int, query_string: str = "", **extra: Any) -> dict[str, Any]:
    url = f"postgresql://app@127.0.0.1:{port}/app?sslmode=disable{query_string}"
    return {"name": "app", "type": "pg", "upstream": url, "password": {"env": "APP_PASSWORD"}} | extra


def refusal(agent: AgentProcess) -> Message:
    """The error that a client gets instead of a session."""
    endpoint = agent.endpoint("app")
    with Wire(agent.port) as wire:
        answer = wire.login(endpoint)
        assert answer[-1].type == "E", answer
        assert wire.closed()
    return answer[-1]


def idle(agent: AgentProcess, before: int) -> bool:
    """Whether the agent is back to the descriptors that it had, give or take a segment."""
    return bool(eventually(lambda: agent.descriptors() <= before + 1))


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A server that may be harmed."""
    server = populate(Server(embedded(), ("host all app 127.0.0.1/32 scram-sha-256",)).start())
    yield server
    server.remove()


def test_nobody_listens(make_agent: MakeAgent) -> None:
    """A refused connection is told as such: resource, address, 08001 or 08006; the record has it too."""
    agent = make_agent([upstream(free_port())])
    refusal(agent)
    before = agent.descriptors()
    error = refusal(agent)
    assert error.fields["S"] == "FATAL"
    assert error.fields["C"].startswith("08")
    assert "app" in error.fields["M"]
    assert "refused" in error.fields["M"].lower()
    assert PASSWORD not in str(error)
    assert idle(agent, before)
    kept = agent.query("SELECT subject, resource, end_reason FROM sessions")
    assert [row["subject"] for row in kept] == ["crew", "crew"]
    assert all("refused" in row["end_reason"].lower() for row in kept)


def test_unknown_host(make_agent: MakeAgent) -> None:
    """A host name that doesn't resolve is named."""
    words = upstream(5432)
    words["upstream"] = "postgresql://app@no-such-host.invalid:5432/app"
    error = refusal(make_agent([words]))
    assert error.fields["C"].startswith("08")
    assert "no-such-host.invalid" in error.fields["M"] + error.fields.get("D", "")


def test_wrong_upstream_password(make_agent: MakeAgent, pg18: Server, own_server: Server) -> None:
    """The agent's own wrong password is the resource's fault, not the client's: it is said so, without the password."""
    agent = make_agent([resource(own_server)], environment={"APP_PASSWORD": "not-the-password"})
    error = refusal(agent)
    assert error.fields["S"] == "FATAL"
    assert "app" in error.fields["M"]
    assert "not-the-password" not in str(error)
    assert "not-the-password" not in agent.log()
    assert eventually(lambda: own_server.sessions("app") == 0)


def test_missing_secret(make_agent: MakeAgent, pg18: Server) -> None:
    """A resource whose secret can't be had is refused, and the others work."""
    missing = resource(pg18, password={"env": "NOT_SET_ANYWHERE"})
    try:
        agent = make_agent([missing, resource(pg18, "other")])
    except AssertionError as refused:
        assert "NOT_SET_ANYWHERE" in str(refused)
        return
    assert "NOT_SET_ANYWHERE" not in refusal(agent).fields["M"] or "app" in refusal(agent).fields["M"]
    with connect(agent.endpoint("other")) as wire:
        wire.send(query("SELECT 1"))
        wire.until()


def test_server_full(make_agent: MakeAgent) -> None:
    """An error of the server during its startup reaches the client in the server's words and SQLSTATE."""
    with Misbehaving(faults.busy_with_too_many, greet=False) as server:
        error = refusal(make_agent([upstream(server.port)]))
    assert error.fields["C"] == "53300"
    assert "too many clients" in error.fields["M"]


@pytest.mark.parametrize("script", [faults.garbage, faults.dropped_mid_answer], ids=lambda script: script.__name__)
def test_no_server_at_all(make_agent: MakeAgent, script: Script) -> None:
    """Something that doesn't speak the protocol, before the login is over."""
    with Misbehaving(script, greet=False) as server:
        agent = make_agent([upstream(server.port)])
        error = refusal(agent)
    assert error.fields["S"] == "FATAL"
    assert error.fields["C"].startswith("08")
    assert "app" in error.fields["M"]


def test_server_that_says_nothing(make_agent: MakeAgent) -> None:
    """connect_timeout bounds the whole login to a server, as libpq's."""
    with Misbehaving(faults.silence, greet=False) as server:
        agent = make_agent([upstream(server.port, "&connect_timeout=2")])
        began = time.monotonic()
        error = refusal(agent)
        assert 1 < time.monotonic() - began < 8
    assert error.fields["C"].startswith("08")
    assert "app" in error.fields["M"]


@pytest.mark.parametrize(
    "script",
    [
        faults.dropped_mid_answer,
        faults.reset_mid_answer,
        faults.garbage,
        faults.absurd_length,
        faults.unknown_message,
    ],
    ids=lambda script: script.__name__,
)
def test_broken_in_mid_answer(make_agent: MakeAgent, script: Script) -> None:
    """The client gets a last error that names the resource, then the end; the evidence has the statement with its
    outcome, and what was received of the answer."""
    with Misbehaving(script) as server:
        agent = make_agent([upstream(server.port)])
        with connect(agent.endpoint("app")) as wire:
            before = agent.descriptors() - 2
            wire.send(query("SELECT 'answer me'"))
            received = wire.everything()
        answer = messages(received)
        assert answer and answer[-1].type == "E", answer
        assert answer[-1].fields["S"] == "FATAL"
        assert answer[-1].fields["C"][:2] in ("08", "57")
        assert "app" in answer[-1].fields["M"]
        assert idle(agent, before)
    ended = eventually(
        lambda: agent.query("SELECT outcome, error_message, session_id FROM operations WHERE outcome IS NOT NULL")
    )
    assert [row["outcome"] for row in ended] in (["lost"], ["error"])
    chunks = agent.query("SELECT content FROM responses ORDER BY leaf")
    assert b"".join(bytes(chunk["content"]) for chunk in chunks).endswith(received)
    if script in (faults.dropped_mid_answer, faults.reset_mid_answer):
        assert [each.type for each in answer] == list("TDDDE")
    (session,) = agent.query("SELECT end_reason, ended_at FROM sessions")
    assert session["ended_at"] is not None


def test_slow_server(make_agent: MakeAgent) -> None:
    """An answer that drips is passed on as it comes."""
    with Misbehaving(faults.slow) as server:
        agent = make_agent([upstream(server.port)])
        with connect(agent.endpoint("app")) as wire:
            wire.send(query("SELECT 'slowly'"))
            assert [each.type for each in wire.until()] == list("TDDCZ")


def test_backend_terminated(make_agent: MakeAgent, own_server: Server) -> None:
    """A backend that is terminated: the client gets the server's own FATAL, and the session's end is recorded."""
    agent = make_agent([resource(own_server)])
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row
        own_server.sql("SELECT pg_terminate_backend(%s)", row[0])
        with pytest.raises(psycopg.errors.AdminShutdown, match="terminating connection due to administrator command"):
            connection.execute("SELECT 1")
    assert eventually(lambda: agent.query("SELECT 1 FROM sessions WHERE ended_at IS NOT NULL"))


def test_server_restarts(make_agent: MakeAgent, own_server: Server) -> None:
    """After the server came back, new sessions work; the old ones ended with an error."""
    agent = make_agent([resource(own_server)])
    with connect(agent.endpoint("app")) as wire:
        own_server.stop()
        answer = wire.rest()
        assert answer[-1].type == "E" and answer[-1].fields["C"][:2] in ("57", "08")
    assert refusal(agent).fields["C"].startswith("08")
    own_server.start()
    with connect(agent.endpoint("app")) as wire:
        wire.send(query("SELECT 1"))
        assert wire.until()[-1].type == "Z"


def test_client_gone_in_mid_answer(make_agent: MakeAgent, own_server: Server) -> None:
    """Clients that vanish while their answers flow leave no session on the server and no descriptor in the agent."""
    agent = make_agent([resource(own_server)])
    endpoint = agent.endpoint("app")
    with connect(endpoint) as wire:
        wire.send(query("SELECT 1"))
        wire.until()
    assert eventually(lambda: own_server.sessions("app") == 0)
    before = agent.descriptors()
    for number in range(10):
        with connect(endpoint) as wire:
            wire.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)"))
            wire.exactly(10_000 * (number + 1))
    assert eventually(lambda: own_server.sessions("app") == 0)
    assert idle(agent, before)
    assert eventually(
        lambda: agent.query("SELECT count(*) AS n FROM sessions WHERE ended_at IS NOT NULL")[0]["n"] == 11
    )
    lost = agent.query("SELECT outcome, bytes FROM operations WHERE statement LIKE '%repeat%'")
    assert [row["outcome"] for row in lost] == ["lost"] * 10


def test_client_gone_while_the_server_works(make_agent: MakeAgent, own_server: Server) -> None:
    """A client that goes away during a long statement leaves no session behind when that has ended (PostgreSQL
    itself doesn't look before), and none at all once it is reset."""
    agent = make_agent([resource(own_server)])
    with connect(agent.endpoint("app")) as wire:
        wire.send(query("SELECT pg_sleep(2)"))
        assert eventually(lambda: own_server.sessions("app") == 1)
    assert eventually(lambda: own_server.sessions("app") == 0)
    with connect(agent.endpoint("app")) as wire:
        wire.send(query("SELECT pg_sleep(60)"))
        assert eventually(lambda: own_server.sessions("app") == 1)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: own_server.sessions("app") == 0)


def test_client_that_does_not_read(make_agent: MakeAgent, own_server: Server) -> None:
    """Backpressure: a client that asks for 300 MB and reads nothing costs the agent little memory, and others work."""
    agent = make_agent([resource(own_server)])
    endpoint = agent.endpoint("app")
    with connect(endpoint) as wire:
        wire.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 300000)"))
        time.sleep(2)
        assert agent.resident() < 200 << 20
        with connect(endpoint) as other:
            other.send(query("SELECT 1"))
            assert other.until()[-1].type == "Z"
    assert eventually(lambda: own_server.sessions("app") == 0)


def test_server_that_does_not_read(make_agent: MakeAgent) -> None:
    """Backpressure the other way: a server that reads nothing makes the client wait, not the agent grow."""
    with Misbehaving(lambda connection: time.sleep(4)) as server:
        agent = make_agent([upstream(server.port)])
        with connect(agent.endpoint("app")) as wire:
            wire.socket.settimeout(1)
            with pytest.raises(TimeoutError):
                for _ in range(400):
                    wire.send(query("SELECT '" + "x" * 1_000_000 + "'"))
            assert agent.resident() < 250 << 20
