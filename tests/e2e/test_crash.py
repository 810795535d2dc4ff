"""The agent killed, the disk full, the agent stopped: nothing that ran is missing, and nothing runs unrecorded."""

from __future__ import annotations

import os
import re
import resource as limits
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg
import pytest

from tests.e2e import servers
from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.conftest import MakeAgent, program, resource
from tests.e2e.endpoint import Endpoint
from tests.e2e.servers import Server
from tests.e2e.wire import connect, query

CLIENTS = 8


def load(endpoint: Endpoint, directory: Path, mode: str) -> subprocess.Popen[str]:
    """pgbench that inserts rows with unique ids until it is stopped."""
    script = directory / "insert.sql"
    # The client's number and a random one: unique without asking the server.
    script.write_text(
        "\\set low random(0, 1000000000000)\n\\set id (:client_id + 1) * 1000000000000000 + :low\n"
        "INSERT INTO ledger VALUES (:id, 'load') ON CONFLICT DO NOTHING;\n"
    )
    return subprocess.Popen(
        [program(servers.embedded(), "pgbench"), "-n", "-c", str(CLIENTS), "-T", "60", "-M", mode, "-f", str(script)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=endpoint.environment(),
    )


def inserted(server: Server) -> set[str]:
    return {str(row[0]) for row in server.sql("SELECT id FROM ledger WHERE note = 'load'", database="app")}


def recorded(agent: AgentProcess) -> set[str]:
    """The ids of all INSERTs in the evidence."""
    ids = set()
    for row in agent.query("SELECT statement, parameters FROM operations WHERE statement LIKE 'INSERT INTO ledger%'"):
        found = re.search(r"VALUES \((\d+)", row["statement"])
        ids.add(found[1] if found else row["parameters"][0])
    return ids


@pytest.mark.parametrize("mode", ["simple", "prepared"])
def test_killed_under_load(make_agent: MakeAgent, pg18: Server, tmp_path: Path, mode: str) -> None:
    """SIGKILL in the middle of a load: every row that is in the database is in the evidence, and after a restart
    every session that was open has ended as `agent lost`, once."""
    pg18.sql("DELETE FROM ledger", database="app")
    agent = make_agent([resource(pg18)])
    process = load(agent.endpoint("app"), tmp_path, mode)
    assert eventually(lambda: len(inserted(pg18)) > 500, 20), process.poll()
    time.sleep(1)
    agent.kill()
    process.communicate(timeout=20)
    assert eventually(lambda: pg18.sessions("app") == 0)
    rows = inserted(pg18)
    assert len(rows) > 500
    assert not rows - recorded(agent)
    agent.start()
    assert not rows - recorded(agent)
    assert not agent.query("SELECT 1 FROM sessions WHERE ended_at IS NULL")
    assert not agent.query("SELECT 1 FROM operations WHERE outcome IS NULL")
    reasons = Counter(row["end_reason"] for row in agent.query("SELECT end_reason FROM sessions"))
    assert reasons.pop("agent lost") == CLIENTS
    assert reasons.total() == 1, "pgbench's first connection, which just looks"
    agent.stop()
    assert not rows - recorded(agent)
    assert len(agent.query("SELECT 1 FROM sessions")) == CLIENTS + 1
    pg18.sql("DELETE FROM ledger", database="app")


def test_killed_again_and_again(make_agent: MakeAgent, pg18: Server, tmp_path: Path) -> None:
    """Three kills with restarts between them, sealing under way: nothing is lost and nothing doubled."""
    pg18.sql("DELETE FROM ledger", database="app")
    agent = make_agent([resource(pg18)], started=False, audit={"seal": {"every": "1s", "size": "64kB"}})
    for _ in range(3):
        before = len(inserted(pg18))
        agent.start()
        process = load(agent.endpoint("app"), tmp_path, "simple")
        assert eventually(lambda before=before: len(inserted(pg18)) > before + 300, 20)  # type: ignore[misc]
        time.sleep(1.3)
        agent.kill()
        process.communicate(timeout=20)
    rows = inserted(pg18)
    agent.start()
    assert not rows - recorded(agent)
    agent.stop()
    assert not rows - recorded(agent)
    doubled = "SELECT session_id, sequence FROM operations GROUP BY ALL HAVING count(*) > 1"
    assert not agent.query(doubled)
    assert not agent.query("SELECT session_id FROM sessions GROUP BY ALL HAVING count(*) > 1")
    assert len(agent.query("SELECT 1 FROM sessions WHERE end_reason = 'agent lost'")) == 3 * CLIENTS
    pg18.sql("DELETE FROM ledger", database="app")


def test_sigterm(make_agent: MakeAgent, pg18: Server) -> None:
    """SIGTERM: idle sessions are told and ended, what is recorded is sealed, the status is 0, the socket is gone."""
    agent = make_agent([resource(pg18)])
    with connect(agent.endpoint("app"), application_name="stays") as wire:
        wire.send(query("SELECT 'sealed at the end'"))
        wire.until()
        agent.stop()
        last = wire.rest()
    assert last and last[-1].fields["C"] == "57P01", last
    assert list(agent.audit.glob("operations/date=*/*.parquet"))
    (row,) = agent.query("SELECT end_reason FROM sessions WHERE client_name = 'stays'")
    assert row["end_reason"] not in ("agent lost", None)
    assert [row["outcome"] for row in agent.query("SELECT outcome FROM operations")] == ["ok"]
    assert eventually(lambda: pg18.sessions("app") == 0)
    assert not (agent.state / "control.sock").exists()


def test_sigterm_while_a_statement_runs(make_agent: MakeAgent, pg18: Server) -> None:
    """Draining lets a statement that is under way end, within reason."""
    agent = make_agent([resource(pg18)])
    with connect(agent.endpoint("app")) as wire:
        wire.send(query("SELECT pg_sleep(1)"))
        time.sleep(0.3)
        agent.stop()
        answer = wire.rest()
    assert "".join(each.type for each in answer).startswith(("TDCZ", "E"))


def test_sealing(make_agent: MakeAgent, pg18: Server) -> None:
    """`audit seal` puts what is recorded into Parquet while sessions go on; the answers stay the same."""
    agent = make_agent([resource(pg18)])
    with connect(agent.endpoint("app"), application_name="before") as wire:
        wire.send(query("SELECT 1"))
        wire.until()
    with connect(agent.endpoint("app"), application_name="during") as wire:
        wire.send(query("SELECT 2"))
        wire.until()
        ask = "SELECT * FROM operations ORDER BY leaf"
        assert eventually(lambda: len(agent.query("SELECT 1 FROM sessions WHERE ended_at IS NOT NULL")) == 1)
        unsealed = agent.query(ask)
        agent.hoopctl("audit", "seal")
        assert list(agent.audit.glob("operations/date=*/*.parquet"))
        assert agent.query(ask) == unsealed
        wire.send(query("SELECT 3"))
        wire.until()
        assert len(agent.query(ask)) == 3
    agent.stop()
    assert [row["statement"] for row in agent.query(ask)] == ["SELECT 1", "SELECT 2", "SELECT 3"]
    assert not list((agent.state / "journal").glob("*.frames")) or agent.query(ask)


def test_restart_keeps_tokens(make_agent: MakeAgent, pg18: Server) -> None:
    """A token outlives the agent, and so does its authority: clients need nothing new."""
    agent = make_agent([resource(pg18)])
    endpoint, root = agent.endpoint("app"), agent.root.read_bytes()
    agent.stop()
    agent.start()
    assert agent.root.read_bytes() == root
    with psycopg.connect(endpoint.dsn(port=agent.port)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_only_one_agent(make_agent: MakeAgent, pg18: Server) -> None:
    """A second agent on the same state refuses to start, and says why; the first is not disturbed."""
    agent = make_agent([resource(pg18)])
    second = subprocess.run(
        [agent.python, "-P", "-m", "agent", "--config", str(agent.config)],
        env=agent.environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode != 0
    assert "Traceback" not in second.stderr
    assert second.stderr.strip()
    with connect(agent.endpoint("app")) as wire:
        wire.send(query("SELECT 1"))
        assert wire.until()[-1].type == "Z"


def test_disk_full(make_agent: MakeAgent, pg18: Server) -> None:
    """When the journal can't be written any more, statements get an error and don't run: what the server ran is
    what is recorded. A limit on the size of files stands for the full disk."""
    pg18.sql("DELETE FROM ledger", database="app")
    agent = make_agent([resource(pg18)], started=False)

    def limited() -> None:
        limits.setrlimit(limits.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    token = agent.token()
    try:
        agent.start(limited)
    except AssertionError:
        assert "Traceback" not in agent.log()  # a journal whose space can't be reserved is a clear refusal to start
        return
    assert token
    errors: list[psycopg.Error] = []
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        for number in range(3000):
            try:
                connection.execute("INSERT INTO ledger VALUES (%s, %s)", (number, "load"))
                connection.execute("SELECT repeat('z', 2000)")
            except psycopg.Error as error:
                errors.append(error)
                break
    assert errors, "3,000 statements of 2 kB fitted into 1 MiB"
    assert "journal" in str(errors[0]) or "record" in str(errors[0]) or "evidence" in str(errors[0])
    agent.kill()
    kept = {
        row["parameters"][0] for row in agent.query("SELECT parameters FROM operations WHERE statement LIKE 'INSERT%'")
    }
    assert inserted(pg18) <= kept
    pg18.sql("DELETE FROM ledger", database="app")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")
def test_file_system_full(make_agent: MakeAgent, pg18: Server, tmp_path: Path) -> None:
    """The same on a file system that is really full; after room was made and a restart, all is well."""
    small = tmp_path / "agent0" / "state"
    small.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        pg18.sql("DELETE FROM ledger", database="app")
        agent = make_agent([resource(pg18)], audit={"seal": {"every": "1h", "size": "8MB"}})
        endpoint = agent.endpoint("app")
        filler = small / "filler"
        failures = 0
        with psycopg.connect(endpoint.dsn(), autocommit=True) as connection:
            connection.execute("INSERT INTO ledger VALUES (1, 'load')")
            with open(filler, "wb") as file, pytest.raises(OSError):
                while True:
                    file.write(b"\0" * 65536)
                    file.flush()
            for number in range(2, 8000):
                try:
                    connection.execute("INSERT INTO ledger VALUES (%s, 'load')", (number,))
                    connection.execute("SELECT repeat('z', 4000)")
                except psycopg.Error:
                    failures += 1
                    break
        assert failures
        agent.kill()
        filler.unlink()
        agent.start()
        kept = agent.query("SELECT statement, parameters FROM operations WHERE statement LIKE 'INSERT%'")
        ids = {row["parameters"][0] if row["parameters"] else "1" for row in kept}
        assert inserted(pg18) <= ids
        with psycopg.connect(endpoint.dsn(port=agent.port)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        agent.stop()
    finally:
        pg18.sql("DELETE FROM ledger", database="app")
        subprocess.run(["umount", "-l", str(small)], check=False)


def test_durable_before_forwarded(make_agent: MakeAgent, pg18: Server) -> None:
    """A statement that writes is readable in the journal by the time the server shows it running."""
    agent = make_agent([resource(pg18)])
    thread = threading.Thread(target=lambda: connect_and_wait(agent))
    thread.start()
    assert eventually(
        lambda: pg18.sql(
            "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%INSERT%pg_sleep(1)%' AND query NOT LIKE '%stat%'"
        )
    )
    assert agent.query("SELECT 1 FROM operations WHERE statement LIKE '%pg_sleep(1)%'")
    thread.join()


def connect_and_wait(agent: AgentProcess) -> None:
    with connect(agent.endpoint("app")) as wire:
        wire.send(query("BEGIN; INSERT INTO ledger SELECT 5, 'x' FROM pg_sleep(1); ROLLBACK"))
        wire.until()
