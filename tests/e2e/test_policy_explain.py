"""Statements explained by the database that would run them: what is found, what is decided, and that nothing is run."""

from __future__ import annotations

import json
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.core.policy.rulebook import Rules
from agent.store.policy import load
from cli.client import Client
from cli.errors import HoopError
from cli.policy_decision import Court
from schemas.explanation import Explanation
from schemas.identity import Identity
from tests.e2e.agent import AgentProcess
from tests.e2e.certificates import Authority
from tests.e2e.conftest import PASSWORD, MakeAgent, resource
from tests.e2e.servers import Server
from tests.e2e.wire import connect, query

POLICY = """\
version: 1
rules:
  - name: keep-users
    who: {groups: [staff]}
    match: ["DELETE told.users", "TRUNCATE *", "DROP TABLE told.*"]
    effect: deny
    message: Users stay.
  - name: orders-need-where
    match: ["UPDATE told.orders"]
    when: "!operation.where"
    effect: deny
  - name: ask-first
    match: ["GRANT *"]
    effect: approve
  - name: nothing-unknown
    match: ["EXECUTE pg_catalog.pg_read_file"]
    effect: deny
"""
MASKS = """\
version: 1
masks:
  - name: personal
    columns: ["told.users.email"]
  - name: secret
    columns: ["told.users.pin"]
    predicates: deny
"""
OBJECTS = """
    CREATE SCHEMA told AUTHORIZATION app;
    SET ROLE app;
    CREATE TABLE told.users (id int PRIMARY KEY, email text, pin text);
    CREATE TABLE told.orders (id int, user_id int);
    CREATE TABLE told.notes (body text);
    CREATE SEQUENCE told.numbers;
    INSERT INTO told.users VALUES (1, 'ann@example.com', '0000');
    CREATE VIEW told.members AS SELECT id, email FROM told.users WHERE id > 0;
    CREATE FUNCTION told.clean() RETURNS void LANGUAGE plpgsql AS $$BEGIN DELETE FROM told.users; END$$;
    CREATE FUNCTION told.add(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
"""

ALIKE = [
    "SELECT 1",
    "SELECT id FROM told.members",
    "DELETE FROM told.members WHERE id = 7",
    'DELETE FROM "told"."users" WHERE false',
    "WITH gone AS (DELETE FROM told.users WHERE false RETURNING 1) SELECT * FROM gone",
    "EXPLAIN DELETE FROM told.users",
    "EXPLAIN ANALYZE DELETE FROM told.users WHERE false",
    "MERGE INTO told.users u USING told.orders o ON u.id = o.id WHEN MATCHED THEN DELETE",
    "UPDATE told.orders SET id = 1",
    "UPDATE told.orders SET id = 1 WHERE id = 2",
    "INSERT INTO told.notes VALUES ('x')",
    "TRUNCATE told.notes",
    "GRANT SELECT ON told.users TO app",
    "SELECT told.add(1, 2)",
    "SELECT count(*) FROM information_schema.tables WHERE table_name = 'é'",
    "SHOW search_path",
    "SET search_path = told",
    "COPY told.notes TO STDOUT",
    "CREATE TEMP TABLE kept AS SELECT * FROM told.members",
    "PREPARE p AS DELETE FROM told.users",
    "CREATE RULE r AS ON DELETE TO told.notes DO ALSO (DELETE FROM told.orders; DELETE FROM told.users)",
    "DROP TABLE told.orders, told.notes",
    "DROP VIEW told.members",
]

MASKED = [
    "SELECT id FROM told.users",
    "SELECT count(*) FROM told.users",
    "SELECT email FROM told.members",
    "SELECT id FROM told.users WHERE email > 'a'",
    "SELECT id FROM told.users WHERE pin = '1'",
    "COPY told.users TO STDOUT",
]


@pytest.fixture(scope="module", params=["18", "system"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    found: Server = request.getfixturevalue("pg18" if request.param == "18" else "pg15")
    found.sql(OBJECTS, database="app")
    yield found
    found.sql("DROP SCHEMA told CASCADE", database="app")


@pytest.fixture(scope="module")
def agent(server: Server, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    directory = tmp_path_factory.mktemp("explain")
    (directory / "policy.yaml").write_text(POLICY)
    (directory / "masks.yaml").write_text(MASKS)
    verified = f"sslmode=verify-full&sslrootcert={authority.ca}" if server.binaries.tls else ""
    resources = [resource(server, query=verified), resource(server, "wrong", user="nobody_here", query=verified)]
    made = AgentProcess(directory, resources, {"APP_PASSWORD": PASSWORD}, policy="./policy.yaml")
    yield made.start()
    made.stop()


def asked(agent: AgentProcess, text: str, token: str | None = None, **more: Any) -> Explanation:
    """The agent's own answer."""
    client = Client(agent.state / "control.sock", token)
    return msgspec.convert(client.post("resources", "app", "explain", body={"text": text, **more}), Explanation)


def explained(agent: AgentProcess, *arguments: str) -> list[dict[str, Any]]:
    done = agent.hoopctl("policy", "explain", *arguments, "--resource", "app", "--group", "staff", "--format", "json")
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def deciding(rows: list[dict[str, Any]]) -> list[tuple[str, str, str | None]]:
    return [(row["operation"], row["effect"], row["rule"]) for row in rows if row["decides"]]


def count(server: Server, table: str) -> Any:
    return server.sql(f"SELECT count(*) FROM {table}", database="app")[0][0]


def test_found_and_decided_as_in_a_session(agent: AgentProcess, server: Server) -> None:
    """What is told of a statement is what a session of that identity meets: the operations that are recorded, the
    decision, and the rule."""
    court = Court(Rules(load(agent.directory / "policy.yaml")), Identity("crew", ("staff",)), "pg/app")
    told = []
    for text in ALIKE:
        (statement,) = asked(agent, text).statements
        assert statement.error is None, text
        verdict = court.decide(statement, 0)
        decision = "deny" if verdict.effect == "approve" else verdict.effect
        told.append((text, [str(one) for one in statement.found.operations], decision, verdict.rule))
    for text, *_ in told:
        with connect(agent.endpoint("app")) as wire:
            for message in ("BEGIN", text):
                wire.send(query(message))
                wire.until()
    recorded = agent.query("SELECT statement, operations, decision, rule FROM operations ORDER BY time")
    met = [tuple(row.values()) for row in recorded if row["statement"] in ALIKE]
    assert met == told


def test_rule_inside_of_a_view(agent: AgentProcess, server: Server) -> None:
    """A rule about a table holds against a view of it: rule by rule why not, then why."""
    rows = explained(agent, "DELETE FROM told.members WHERE id = 1")
    decided = deciding(rows)
    assert ("DELETE told.members", "allow", None) in decided
    assert [one for one in decided if one[1] != "allow"] == [("DELETE told.users", "deny", "keep-users")]
    assert {row["why"] for row in rows if row["operation"] == "DELETE told.members"} >= {
        "it matches only DELETE told.users, TRUNCATE *, DROP TABLE told.*",
        "no rule matches, so the policy's default decides",
    }
    done = agent.hoopctl("policy", "explain", "DELETE FROM told.members", "--resource", "pg/app", "--as", "etl")
    assert done.stderr.splitlines()[-1] == "allow by default"
    assert count(server, "told.users") == 1


def test_hint_of_a_denial(agent: AgentProcess) -> None:
    """What a denial's hint says is a command that works, once the capitals are filled in."""
    text = "DELETE FROM told.users"
    with connect(agent.endpoint("app")) as wire:
        wire.send(query(text))
        (refused,) = [message.fields for message in wire.until() if message.type == "E"]
    command, says, _ = refused["H"].partition(" says ")
    assert says
    words = [
        {"STATEMENT": text, "pg/NAME": "pg/app", "GROUP": "staff"}.get(word, word) for word in shlex.split(command)
    ]
    assert words[0] == "hoopctl"
    assert "deny by keep-users for DELETE told.users: Users stay.\n" in agent.hoopctl(*words[1:]).stderr


def test_code_is_opaque(agent: AgentProcess, server: Server) -> None:
    """What code does isn't run to be told: it is said that it shows only when it runs."""
    for text in ("DO $$BEGIN DELETE FROM told.users; END$$", "SELECT told.clean()"):
        rows = explained(agent, text)
        assert [effect for _, effect, _ in deciding(rows)] == ["allow"]
        assert "it runs code, and what that does is decided when it runs" in [row["why"] for row in rows]
    assert count(server, "told.users") == 1


def test_nothing_is_run(agent: AgentProcess, server: Server) -> None:
    """No statement is executed, nor is anything of it left behind."""
    before = server.sql("SELECT count(*) FROM pg_class", database="app")
    text = "DROP TABLE told.users; SELECT nextval('told.numbers'); INSERT INTO told.notes VALUES ('x'); COMMIT; BEGIN;"
    found = asked(agent, text + "CREATE TABLE told.made (); COPY told.notes FROM STDIN; VACUUM; COMMIT")
    assert [one.error for one in found.statements] == [None] * 9
    assert server.sql("SELECT count(*) FROM pg_class", database="app") == before
    assert server.sql("SELECT is_called FROM told.numbers", database="app") == [(False,)]
    assert count(server, "told.notes") == 0
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hoopctl policy explain' AND state <> 'idle'"
    assert server.sql(ours) == [(0,)]


def test_search_path(agent: AgentProcess) -> None:
    """Names are looked up where the agent's role looks, or where it is said."""
    rows = explained(agent, "DELETE FROM users", "--search-path", "told, public")
    assert ("DELETE told.users", "deny", "keep-users") in deciding(rows)
    done = agent.hoopctl("policy", "explain", "DELETE FROM users", "--resource", "app", check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-3:] == [
        "DELETE FROM users",
        "            ^",
        'hoopctl: error: the server refuses it: relation "users" does not exist (SQLSTATE 42P01)',
    ]
    done = agent.hoopctl("policy", "explain", "SELECT 1", "--resource", "app", "--search-path", "a b", check=False)
    assert done.returncode == 1
    assert 'invalid value for parameter "search_path"' in done.stderr


def test_syntax_error(agent: AgentProcess) -> None:
    """What is no statement gets the server's own error, with a caret; of several statements none is told then."""
    for text, caret in (("SELEC 1", 0), ("SELECT 1;\nSELECT 'é', FROM told.users;", 12)):
        done = agent.hoopctl("policy", "explain", text, "--resource", "app", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"\n{' ' * caret}^\n" in done.stderr
        assert "syntax error at or near" in done.stderr
        assert "SQLSTATE 42601" in done.stderr


def test_several_statements(agent: AgentProcess) -> None:
    """Each statement is told by itself, the server's errors too; what may be otherwise after what comes before it is
    marked."""
    text = "BEGIN; SELECT id FROM told.orders; SET search_path = told; SELECT 1; TABLE nowhere; COMMIT"
    found = asked(agent, text)
    assert [one.unsettled for one in found.statements] == [False, False, False, True, True, True]
    assert [one.error is None for one in found.statements] == [True, True, True, True, False, True]
    done = agent.hoopctl("policy", "explain", text, "--resource", "app", "--format", "json", check=False)
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    assert [row["why"] for row in rows if row["statement"] == 5] == [
        'the server refuses it: relation "nowhere" does not exist (SQLSTATE 42P01)'
    ]
    assert [row["operation"] for row in rows if row["statement"] == 2 and row["decides"]] == ["SELECT told.orders"]


def test_what_only_a_session_knows(agent: AgentProcess) -> None:
    """Prepared statements and cursors are of a session: what they do isn't guessed."""
    (found,) = asked(agent, "EXECUTE p(1)").statements
    assert "UNKNOWN" in [str(one) for one in found.found.operations]
    assert found.notes == ("it runs a prepared statement, and only its own session knows which",)
    (found,) = asked(agent, "FETCH c").statements
    assert found.found.opaque


def test_masked_columns(agent: AgentProcess) -> None:
    """Where columns are masked it is told which columns a statement returns, where they come from and which mask hides
    them; and by which it chooses rows."""
    policy = ("--policy", str(agent.directory / "masks.yaml"))
    rows = explained(agent, "SELECT m.id, upper(m.email) FROM told.members m", *policy)
    columns = {row["column"]: (row["rule"], row["effect"], row["why"]) for row in rows if row["column"]}
    assert columns["upper"] == ("personal", "mask", "upper ← view told.members ← told.users.email, with redact")
    assert columns["id"][:2] == (None, "allow")
    rows = explained(agent, "SELECT id FROM told.users WHERE email > 'a' AND pin = '1'", *policy)
    why = {row["column"]: (row["rule"], row["why"]) for row in rows if row["column"]}
    assert why["told.users.email"][0] is None
    assert why["told.users.email"][1].endswith("which its mask allows")
    assert why["told.users.pin"][0] == "secret"


def test_who_may_ask(agent: AgentProcess) -> None:
    """It is the agent's own login that asks, so only who runs the agent may have it asked."""
    with pytest.raises(HoopError, match="for the agent's own user"):
        asked(agent, "SELECT 1", agent.token())


def test_what_cannot_be_asked(agent: AgentProcess, make_agent: MakeAgent, tmp_path: Path) -> None:
    """No such resource, a login that fails, nobody at the other end, no agent: an error that says so, and a hint."""
    done = agent.hoopctl("policy", "explain", "SELECT 1", "--resource", "pg/ap", check=False)
    assert (done.returncode, "did you mean pg/app?" in done.stderr) == (1, True)
    done = agent.hoopctl("policy", "explain", "SELECT 1", "--resource", "wrong", check=False)
    assert done.returncode == 1
    assert "pg/wrong can't be asked: " in done.stderr
    done = agent.hoopctl("policy", "explain", "SELECT 1", check=False)
    assert (done.returncode, "--resource pg/app" in done.stderr) == (2, True)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        upstream = f"postgresql://app@127.0.0.1:{nobody.getsockname()[1]}/app"
        (tmp_path / "agent0").mkdir()
        (tmp_path / "agent0" / "policy.yaml").write_text(POLICY)
        alone = make_agent([{"name": "app", "type": "pg", "upstream": upstream}], policy="./policy.yaml")
        done = alone.hoopctl("policy", "explain", "SELECT 1", check=False)
        assert done.returncode == 1
        assert "pg/app can't be asked: connection to server" in done.stderr
        assert "hoopctl: hint: hoopctl resources check" in done.stderr
        alone.stop()
        done = alone.hoopctl("policy", "explain", "SELECT 1", check=False)
        assert (done.returncode, "start it: hoopctl agent" in done.stderr) == (1, True)


def test_cases_with_statements(agent: AgentProcess) -> None:
    """`policy test` has statements understood by their database and decides by the policy under test."""
    (agent.directory / "statements.test.yaml").write_text("""\
resource: pg/app
identity: {subject: ann, groups: [staff]}
search_path: told
cases:
  - {statement: DELETE FROM members WHERE id = 1, decision: deny, rule: keep-users}
  - {statement: DELETE FROM users, search_path: public, decision: deny}
  - {statement: "DO $$BEGIN DELETE FROM told.users; END$$", decision: allow}
  - {statement: UPDATE orders SET id = 1, decision: deny, rule: orders-need-where}
  - {statement: UPDATE orders SET id = 1 WHERE id = 2, decision: allow}
  - {statement: GRANT SELECT ON users TO app, decision: approve}
  - {statement: "SELECT 1; DELETE FROM users; SELECT 2", decision: deny, rule: keep-users}
  - {statement: "SET search_path = public; DELETE FROM people", decision: allow}
  - {statement: SELEC 1, decision: allow}
  - {statement: SELECT id FROM users, identity: {subject: bob}, decision: deny}
""")
    done = agent.hoopctl("policy", "test", str(agent.directory), check=False)
    assert done.returncode == 1
    lines = done.stdout.splitlines()[1:]
    kinds = [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("    ")]
    assert kinds == ["ok", "ERROR", "ok", "ok", "ok", "ok", "ok", "ERROR", "ERROR", "FAIL"]
    assert lines[2].strip() == 'the server refuses it: relation "users" does not exist (SQLSTATE 42P01)'
    assert lines[4].strip() == "it runs code, and what that does is decided when it runs"
    assert done.stdout.endswith("6 passed, 1 failed, 3 errors\n")


def test_masks_in_a_session(server: Server, authority: Authority, make_agent: MakeAgent, tmp_path: Path) -> None:
    """Where masks refuse what rules allow, the verdict on a statement is what a session meets, and the mask is named
    in both."""
    (tmp_path / "agent0").mkdir()
    (tmp_path / "agent0" / "policy.yaml").write_text(MASKS)
    verified = f"sslmode=verify-full&sslrootcert={authority.ca}" if server.binaries.tls else ""
    agent = make_agent([resource(server, query=verified)], policy="./policy.yaml")
    court = Court(Rules(load(tmp_path / "agent0" / "policy.yaml")), Identity("crew", ("staff",)), "pg/app")
    told, met = [], []
    for text in MASKED:
        (statement,) = asked(agent, text, columns=True).statements
        verdict = court.decide(statement, 0)
        told.append((text, verdict.effect, verdict.rule))
        with connect(agent.endpoint("app")) as wire:
            wire.send(query(text))
            wire.until()
    for row in agent.query("SELECT statement, decision, rule FROM operations ORDER BY time"):
        met.append(tuple(row.values()))
    assert met == told
    assert {effect for _, effect, _ in told} == {"allow", "deny"}
