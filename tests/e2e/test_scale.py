"""Large answers and many connections cost what they should."""

from __future__ import annotations

import resource as limits
import time

from tests.e2e.agent import eventually
from tests.e2e.conftest import MakeAgent, resource
from tests.e2e.servers import Server, embedded
from tests.e2e.test_psql import psql
from tests.e2e.wire import Wire, connect, query

IDLE = 300  # the benchmark has 1,000


def test_memory_of_a_large_answer(make_agent: MakeAgent, pg18: Server) -> None:
    """A million rows of 100 bytes pass through an agent that stays small, psql's memory or not."""
    agent = make_agent([resource(pg18)])
    endpoint = agent.endpoint("app")
    with connect(endpoint) as wire:
        wire.send(query("SELECT i, repeat('x', 90) FROM generate_series(1, 1000000) i"))
        remaining, last = 0, b""
        while not last.endswith(b"Z\0\0\0\5I"):
            data = wire.socket.recv(1 << 20)
            assert data
            remaining += len(data)
            last = (last + data)[-16:]
        assert remaining > 100_000_000
    assert agent.peak() < 150 << 20
    binary = str(embedded().directory / "psql")
    status, _, err = psql(
        binary, endpoint, "-o", "/dev/null", "-c", "COPY (SELECT generate_series(1, 1000000)) TO STDOUT"
    )
    assert (status, err) == (0, "")
    assert agent.peak() < 150 << 20


def test_idle_connections(make_agent: MakeAgent) -> None:
    """Hundreds of idle sessions; a new one is served at once, and all are let go of."""
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    limits.setrlimit(limits.RLIMIT_NOFILE, (min(hard, 8192), hard))
    server = Server(embedded(), ("host all app 127.0.0.1/32 trust",), max_connections=str(IDLE + 20)).start()
    try:
        server.sql("CREATE ROLE app LOGIN")
        server.sql("CREATE DATABASE app OWNER app")
        agent = make_agent([resource(server)])
        endpoint = agent.endpoint("app")
        before = agent.descriptors()
        sessions: list[Wire] = [connect(endpoint) for _ in range(IDLE)]
        began = time.monotonic()
        with connect(endpoint) as wire:
            wire.send(query("SELECT 1"))
            wire.until()
        assert time.monotonic() - began < 1
        assert agent.resident() < 200 << 20
        for each in sessions:
            each.send(query("SELECT 2"))
        for each in sessions:
            assert each.until()[-1].type == "Z"
        for each in sessions:
            each.socket.close()
        assert eventually(lambda: server.sessions("app") == 0)
        assert eventually(lambda: agent.descriptors() <= before + 1)
    finally:
        limits.setrlimit(limits.RLIMIT_NOFILE, (soft, hard))
        server.remove()
