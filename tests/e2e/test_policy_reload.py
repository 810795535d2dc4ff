"""The rules change while the agent runs: for sessions under way as well, and never for a file that is wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psycopg
import pytest

from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.conftest import MakeAgent, resource
from tests.e2e.servers import Server

RULE = 'version: 1\nrules:\n  - {name: %s, match: ["%s"], effect: deny}\n'
NOTHING = RULE % ("other", "TRUNCATE public.ledger")
DELETE = "DELETE FROM people WHERE id = -1"
BAD = [
    ("not yaml", "version: 1\nrules: [\n"),
    ("unknown key", RULE % ("x", "DROP *") + "ruels: []\n"),
    (
        "misspelt name in CEL",
        'version: 1\nrules:\n  - {name: x, match: ["*"], when: "!operation.were", effect: deny}\n',
    ),
    ("unknown effect", 'version: 1\nrules:\n  - {name: x, match: ["*"], effect: forbid}\n'),
    ("same name twice", RULE % ("x", "DROP *") + '  - {name: x, match: ["DELETE *"], effect: deny}\n'),
    ("empty", ""),
]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(NOTHING)
    return path


@pytest.fixture
def agent(pg18: Server, make_agent: MakeAgent, policy: Path) -> AgentProcess:
    return make_agent([resource(pg18)], policy=str(policy))


def denied(connection: psycopg.Connection[object], statement: str = DELETE) -> bool:
    try:
        connection.execute(statement.encode())
    except psycopg.errors.InsufficientPrivilege:
        return True
    return False


def kinds(agent: AgentProcess) -> list[str]:
    return [row["kind"] for row in agent.query("SELECT kind FROM events WHERE kind LIKE 'policy%' ORDER BY time")]


def replace(policy: Path, text: str) -> None:
    """As editors do it: the name has either the old content or the new."""
    fresh = policy.with_suffix(".new")
    fresh.write_text(text)
    os.replace(fresh, policy)


def test_a_changed_file_is_taken(agent: AgentProcess, policy: Path) -> None:
    """A rule that is added holds for a session that was there before, though it knew the statement; one that is taken
    out no longer does."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        assert [denied(connection) for _ in range(3)] == [False] * 3
        replace(policy, RULE % ("keep", "DELETE public.people"))
        assert eventually(lambda: denied(connection))
        policy.write_text(NOTHING)
        assert eventually(lambda: not denied(connection))
    assert kinds(agent) == ["policy loaded"] * 3


def test_sighup(agent: AgentProcess, policy: Path) -> None:
    """SIGHUP reads the file at once."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        replace(policy, RULE % ("keep", "DELETE public.people"))
        os.kill(agent.pid, signal.SIGHUP)
        assert eventually(lambda: denied(connection), timeout=1.0)


@pytest.mark.parametrize("text", [text for _, text in BAD], ids=[name for name, _ in BAD])
def test_a_bad_file_is_refused(agent: AgentProcess, policy: Path, text: str) -> None:
    """A file that is wrong is reported, and the rules stay as they were."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        replace(policy, RULE % ("keep", "DELETE public.people"))
        assert eventually(lambda: denied(connection))
        replace(policy, text)
        assert eventually(lambda: "policy refused" in kinds(agent))
        assert denied(connection)
        assert not denied(connection, "SELECT 1")


def test_a_file_that_is_gone(agent: AgentProcess, policy: Path) -> None:
    """Taking the file away takes no rule away."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        replace(policy, RULE % ("keep", "DELETE public.people"))
        assert eventually(lambda: denied(connection))
        policy.unlink()
        os.kill(agent.pid, signal.SIGHUP)
        assert eventually(lambda: "policy refused" in kinds(agent))
        assert denied(connection)


@pytest.mark.parametrize("text", [text for _, text in BAD], ids=[name for name, _ in BAD])
def test_a_bad_file_at_the_start(pg18: Server, make_agent: MakeAgent, policy: Path, text: str) -> None:
    """The agent doesn't come up without the rules that it was told to keep."""
    policy.write_text(text)
    made = make_agent([resource(pg18)], started=False, policy=str(policy))
    with pytest.raises(AssertionError, match="did not come up"):
        made.start()
    assert "policy.yaml" in made.log()
    assert "Traceback" not in made.log()


def test_default_deny(pg18: Server, make_agent: MakeAgent, policy: Path) -> None:
    """Under `default: deny` what no rule allows is denied; the refusal says that it was the default."""
    allow = 'version: 1\ndefault: deny\nrules:\n  - {name: read, match: ["SELECT public.people"], effect: allow}\n'
    policy.write_text(allow)
    agent = make_agent([resource(pg18)], policy=str(policy))
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (500,)
        for statement in ("SELECT count(*) FROM ledger", DELETE, "CREATE TABLE t (a int)", "DO $$ BEGIN NULL; END $$"):
            assert denied(connection, statement), statement
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="default"):
            connection.execute("TABLE ledger")
