"""What is recorded is what was done and what was received."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.conftest import PASSWORD, MakeAgent, resource
from tests.e2e.servers import Server
from tests.e2e.test_wire_messages import CONVERSATIONS
from tests.e2e.wire import SYNC, Wire, bind, connect, execute, parse, query


@pytest.fixture(scope="module")
def agent(pg18: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    made = AgentProcess(tmp_path_factory.mktemp("evidence"), [resource(pg18)], {"APP_PASSWORD": PASSWORD}).start()
    yield made
    made.stop()


def content(agent: AgentProcess, session: str) -> bytes:
    """All that was recorded of a session's answers, in the order it was received."""
    chunks = agent.query(f"SELECT content FROM responses WHERE session_id = '{session}' ORDER BY leaf")
    return b"".join(bytes(chunk["content"]) for chunk in chunks)


def ended(agent: AgentProcess, name: str) -> dict[str, Any]:
    """The session of the client that called itself `name`, once it is over."""
    look = f"SELECT * FROM sessions WHERE client_name = '{name}' AND ended_at IS NOT NULL"
    rows = eventually(lambda: agent.query(look))
    assert len(rows) == 1, agent.query("SELECT * FROM sessions")
    return rows[0]


@pytest.mark.parametrize("name", [name for name in CONVERSATIONS if "large row" not in name])
def test_content_is_what_was_received(agent: AgentProcess, name: str) -> None:
    """The recorded contents of a session, put together, are the bytes that the client received after it was let in,
    but for those that no operation asked for at the login (parameters, key) if they aren't kept."""
    title = f"content {name}"
    with connect(agent.endpoint("app"), application_name=title) as wire:
        wire.received.clear()
        try:
            for step in CONVERSATIONS[name]:
                if isinstance(step, str):
                    wire.until(*step)
                else:
                    wire.send(step)
        except (EOFError, ConnectionError):
            pass
        wire.send(b"X\0\0\0\4") if wire.socket.fileno() >= 0 else None
        wire.rest()
        received = bytes(wire.received)
    session = ended(agent, title)
    kept = content(agent, session["session_id"])
    assert kept.endswith(received)
    before = kept[: len(kept) - len(received)]
    assert before == b"" or before.endswith(b"Z\0\0\0\5I")


def test_statements_and_outcomes(agent: AgentProcess) -> None:
    """Each statement is an operation with its text, tag, rows, error and duration, in order."""
    with psycopg.connect(agent.endpoint("app").dsn(application_name="outcomes"), autocommit=True) as connection:
        connection.execute("SELECT id FROM people LIMIT 7")
        connection.execute("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1), (2); SELECT * FROM t")
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT 1/0")
        with connection.cursor().copy("COPY t FROM STDIN") as copy:
            copy.write("5\n6\n7\n")
        connection.execute("SELECT pg_sleep(0.3)")
    session = ended(agent, "outcomes")
    rows = agent.query(f"SELECT * FROM operations WHERE session_id = '{session['session_id']}' ORDER BY sequence")
    assert [row["sequence"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["outcome"] for row in rows] == ["ok", "ok", "error", "ok", "ok"]
    assert [row["rows"] for row in rows] == [7, 4, 0, 3, 1]
    assert rows[0]["statement"] == "SELECT id FROM people LIMIT 7"
    assert rows[2]["error_code"] == "22012"
    assert "division by zero" in rows[2]["error_message"]
    assert rows[4]["duration_us"] >= 300_000
    assert all(row["subject"] == "crew" and row["decision"] == "allow" for row in rows)
    assert all(row["resource"] in ("app", "pg/app") and row["resource_type"] == "pg" for row in rows)
    assert (session["operations"], session["subject"], session["groups"]) == (5, "crew", ["staff"])
    assert session["bytes_in"] > 0 and session["bytes_out"] > 0


def test_parameters_in_text_and_binary(agent: AgentProcess) -> None:
    """Parameters are recorded in PostgreSQL's text form, whichever form they were sent in; NULL is NULL."""
    with connect(agent.endpoint("app"), application_name="parameters") as wire:
        wire.send(parse("SELECT $1, $2, $3, $4", types=(23, 25, 25, 701)))
        wire.send(bind(b"42", b"it's", None, b"1.5") + execute() + SYNC)
        wire.until()
        four = struct.pack("!i", -7)
        wire.send(bind(four, b"bin", None, struct.pack("!d", 2.25), formats=(1,)) + execute() + SYNC)
        wire.until()
        wire.send(parse("SELECT $1::int + $2::bigint") + bind(four, struct.pack("!q", 2**40), formats=(1,)))
        wire.send(execute() + SYNC)
        wire.until()
        wire.send(query("SELECT 1"))
        wire.until()
    session = ended(agent, "parameters")
    rows = agent.query(f"SELECT * FROM operations WHERE session_id = '{session['session_id']}' ORDER BY sequence")
    assert [row["parameters"] for row in rows[:2]] == [["42", "it's", None, "1.5"], ["-7", "bin", None, "2.25"]]
    assert rows[3]["parameters"] is None
    assert [row["outcome"] for row in rows] == ["ok"] * 4
    inferred = rows[2]["parameters"]
    assert inferred == ["-7", str(2**40)] or inferred == ["\\xfffffff9", "\\x0000010000000000"], inferred


def test_a_statement_run_a_moment_ago(agent: AgentProcess) -> None:
    """Evidence is there while the session goes on, at once, also from the command line."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        connection.execute("SELECT 'needle in the evidence'")
        look = "SELECT outcome FROM operations WHERE statement LIKE '%needle%' AND statement NOT LIKE '%LIKE%'"
        assert [row["outcome"] for row in agent.query(look)] == ["ok"]
        assert agent.hoopctl("sql", look, "--format", "csv").stdout.split() == ["outcome", "ok"]


def test_who_and_what_for(agent: AgentProcess) -> None:
    """hoop.run names a run; an unproven on_behalf_of is refused; another account is another subject."""
    token = agent.token("robot", "bots")
    endpoint = agent.endpoint("app", "robot")
    assert endpoint.password == token
    with connect(endpoint, application_name="who", options="-c hoop.run=nightly-7 -c work_mem=5MB") as wire:
        wire.send(query("SELECT current_setting('work_mem')"))
        assert b"5MB" in wire.until()[1].body
    session = ended(agent, "who")
    assert (session["subject"], session["groups"], session["run"]) == ("robot", ["bots"], "nightly-7")
    (row,) = agent.query(f"SELECT subject, run FROM operations WHERE session_id = '{session['session_id']}'")
    assert (row["subject"], row["run"]) == ("robot", "nightly-7")
    with Wire(agent.port) as wire:
        answer = wire.login(endpoint, options="-c hoop.on_behalf_of=somebody@example.com")
        assert answer[-1].type == "E"


def test_no_secrets(agent: AgentProcess) -> None:
    """Neither a password in a statement, nor a token, nor the upstream's password is anywhere in what is kept."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        for statement in (
            "ALTER ROLE app PASSWORD 'plain-hidden-1'",
            "CREATE ROLE other PASSWORD 'plain-hidden-2'",
            "ALTER USER app WITH ENCRYPTED PASSWORD E'plain-hidden-3'",
            "DO $$BEGIN EXECUTE 'ALTER ROLE app PASSWORD ''plain-hidden-4'''; END$$",
            "ALTER ROLE app PASSWORD $x$plain-hidden-5$x$; SELECT 1",
        ):
            with pytest.raises(psycopg.Error):
                connection.execute("BEGIN")
                connection.execute(statement.encode())
                connection.execute("SELECT 1/0")
            connection.rollback()
    with Wire(agent.port) as wire:
        wire.login(agent.endpoint("nowhere-at-all"))
    files = [path for path in agent.directory.rglob("*") if path.is_file() and path.name != "control.db-wal"]
    for path in files:
        data = path.read_bytes()
        assert b"plain-hidden" not in data, path
        assert agent.token().encode() not in data, path
        assert PASSWORD.encode() not in data, path


def test_refused_logins_are_recorded(agent: AgentProcess) -> None:
    """A wrong token is an event with the address it came from, never the token."""
    with Wire(agent.port) as wire:
        wire.login(agent.endpoint("app"))
    before = len(agent.query("SELECT 1 FROM events"))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(agent.endpoint("app").dsn(password="hoop_sa_wrongwrongwrong"))
    rows = eventually(lambda: agent.query("SELECT * FROM events ORDER BY leaf")[before:])
    assert rows
    assert "127.0.0.1" in str(rows[-1]["details"])
    assert "wrongwrong" not in str(rows)


def test_revocation_ends_live_sessions(make_agent: MakeAgent, pg18: Server) -> None:
    """Revoking a service account ends its sessions, and only its; the record says why."""
    agent = make_agent([resource(pg18)])
    with connect(agent.endpoint("app", "leaver")) as leaver, connect(agent.endpoint("app", "stayer")) as stayer:
        agent.hoopctl("service-account", "revoke", "leaver")
        last = leaver.rest()
        assert last[-1].type == "E"
        assert last[-1].fields["S"] == "FATAL"
        stayer.send(query("SELECT 1"))
        assert stayer.until()[-1].type == "Z"
    (row,) = eventually(
        lambda: agent.query("SELECT end_reason FROM sessions WHERE subject = 'leaver' AND ended_at IS NOT NULL")
    )
    assert "revoked" in row["end_reason"]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(agent.endpoint("app", "leaver").dsn())


def test_revocation_in_the_middle_of_a_row(make_agent: MakeAgent, pg18: Server) -> None:
    """A session that is ended while half a row is on its way ends there: no error message is put where the client
    would read it as the rest of the row; what is recorded is what was received."""
    agent = make_agent([resource(pg18)])
    with connect(agent.endpoint("app", "leaver"), application_name="half a row") as wire:
        wire.received.clear()
        wire.send(query("SELECT repeat('x', 30000000) FROM generate_series(1, 5)"))
        first = wire.exactly(1000)
        agent.hoopctl("service-account", "revoke", "leaver")
        received = first + wire.everything()
    rest = received
    while len(rest) >= 5 and (length := struct.unpack_from("!I", rest, 1)[0]) < len(rest):
        assert rest[:1] in (b"T", b"D", b"E"), rest[:100]
        rest = rest[length + 1 :]
    assert b"FATAL" not in rest
    session = ended(agent, "half a row")
    assert content(agent, session["session_id"]).endswith(received)


def test_kill(make_agent: MakeAgent, pg18: Server) -> None:
    """`sessions kill` ends a session, also one whose statement is running."""
    agent = make_agent([resource(pg18)])
    with connect(agent.endpoint("app"), application_name="victim") as wire:
        wire.send(query("SELECT pg_sleep(30)"))
        (row,) = eventually(lambda: agent.query("SELECT session_id FROM sessions WHERE client_name = 'victim'"))
        agent.hoopctl("sessions", "kill", row["session_id"])
        assert wire.rest()[-1].type == "E"
    assert eventually(lambda: pg18.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(30)'") == [])


def test_answers_beyond_the_limit(make_agent: MakeAgent, pg18: Server) -> None:
    """Of an answer larger than audit.responses the first part is kept, the rest counted and hashed."""
    import hashlib

    agent = make_agent([resource(pg18)], audit={"responses": "64kB"})
    with connect(agent.endpoint("app"), application_name="large") as wire:
        wire.received.clear()
        wire.send(query("SELECT repeat('x', 100) FROM generate_series(1, 20000)"))
        wire.until()
        received = bytes(wire.received)
    session = ended(agent, "large")
    where = f"WHERE session_id = '{session['session_id']}' AND sequence = 1"
    (row,) = agent.query(f"SELECT * FROM operations {where}")
    chunks = agent.query(f"SELECT content FROM responses {where} ORDER BY chunk")
    kept = b"".join(bytes(chunk["content"]) for chunk in chunks)
    assert received.startswith(kept)
    assert len(kept) + (64 << 10) >= 64 << 10 and len(kept) <= 128 << 10
    assert row["rows"] == 20_000
    whole = [received, received[:-6]]  # with or without ReadyForQuery
    assert row["bytes"] in [len(each) for each in whole]
    rest = received[len(kept) : row["bytes"]]
    assert row["rest_bytes"] == len(rest)
    assert row["rest_sha256"] == hashlib.sha256(rest).hexdigest()


def test_many_sessions_at_once(agent: AgentProcess) -> None:
    """Operations of sessions that run side by side are not mixed up."""

    def work(number: int) -> None:
        with connect(agent.endpoint("app"), application_name=f"side {number}") as wire:
            for i in range(50):
                wire.send(query(f"SELECT {number} * 1000 + {i}"))
                wire.until()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        session = ended(agent, f"side {number}")
        rows = agent.query(
            f"SELECT statement FROM operations WHERE session_id = '{session['session_id']}' ORDER BY sequence"
        )
        assert [row["statement"] for row in rows] == [f"SELECT {number} * 1000 + {i}" for i in range(50)]
