"""What a refusal looks like: to clients, in transactions and pipelines, in the evidence, and when the rules change."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.answers import kinds, refusals, run, steps
from tests.e2e.certificates import Authority
from tests.e2e.conftest import PASSWORD, resource
from tests.e2e.servers import Server
from tests.e2e.wire import SYNC, bind, close, connect, describe, execute, parse, query

POLICY = """\
version: 1
rules:
  - name: no-drop
    match: ["DROP *", "REASSIGN OWNED*"]
    effect: deny
  - name: keep-people
    match: ["DELETE public.people", "TRUNCATE public.people"]
    effect: deny
    message: People are never deleted; they leave.
  - name: ledger-needs-where
    match: ["UPDATE public.ledger"]
    when: "!operation.where"
    effect: deny
  - name: ask-first
    match: ["GRANT *", "REVOKE *"]
    effect: approve
    approvers: {groups: [dba], quorum: 1}
  - name: not-for-guests
    who: {groups: [guests]}
    match: ["INSERT public.ledger"]
    effect: deny
"""
DELETE = "DELETE FROM people WHERE id = -1"


@pytest.fixture(scope="module", params=["18", "system"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue("pg18" if request.param == "18" else "pg15")
    return found


@pytest.fixture(scope="module")
def agent(server: Server, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    directory = tmp_path_factory.mktemp("denial")
    (directory / "policy.yaml").write_text(POLICY)
    verified = f"sslmode=verify-full&sslrootcert={authority.ca}" if server.binaries.tls else ""
    made = AgentProcess(
        directory, [resource(server, query=verified)], {"APP_PASSWORD": PASSWORD}, policy="./policy.yaml"
    )
    yield made.start()
    made.stop()


@pytest.fixture
def ledger(server: Server) -> Iterator[Callable[[], list[int]]]:
    """The ids in the ledger, which is empty before and after."""
    server.sql("DELETE FROM ledger", database="app")
    yield lambda: [row[0] for row in server.sql("SELECT id FROM ledger ORDER BY id", database="app")]
    server.sql("DELETE FROM ledger", database="app")


def refused(connection: psycopg.Connection[Any], statement: str) -> psycopg.errors.Diagnostic:
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        connection.execute(statement.encode())
    return caught.value.diag


def test_error_names_rule_message_and_hint(agent: AgentProcess, server: Server) -> None:
    """A denial is an ERROR 42501 with the rule's name, its message and a hint; the session lives on."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        said = refused(connection, DELETE)
        assert (said.severity_nonlocalized, said.sqlstate) == ("ERROR", "42501")
        assert "keep-people" in str(said.message_primary)
        assert "People are never deleted; they leave." in str(said.message_primary)
        assert said.message_hint
        assert "no-drop" in str(refused(connection, "DROP TABLE ledger").message_primary)
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (500,)
    assert server.sql("SELECT count(*) FROM ledger", database="app") == [(0,)]


def test_prepared_by_the_driver(agent: AgentProcess) -> None:
    """A driver that prepares what it repeats gets the same error each time, with parameters too."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True, prepare_threshold=2) as connection:
        for number in range(6):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("DELETE FROM people WHERE id = %s", (-number,))
            assert connection.execute("SELECT %s::int + 1", (number,)).fetchone() == (number + 1,)


def test_simple_query(agent: AgentProcess) -> None:
    """One ErrorResponse and one ReadyForQuery, outside a transaction."""
    with connect(agent.endpoint("app")) as wire:
        for _ in range(3):
            found = run(wire, DELETE)
            assert kinds(found) == "EZ"
            assert found[-1].body == b"I"
        assert kinds(run(wire, "SELECT 1")) == "TDCZ"


@pytest.mark.parametrize("statement", [DELETE, "DO $$ BEGIN DELETE FROM people WHERE id = -1; END $$"])
def test_transaction_is_aborted(agent: AgentProcess, statement: str) -> None:
    """A denial in a transaction aborts it: all is 25P02 until it is rolled back, and COMMIT rolls back."""
    with connect(agent.endpoint("app")) as wire:
        for end in ("ROLLBACK", "COMMIT"):
            assert run(wire, "BEGIN")[-1].body == b"T"
            found = run(wire, statement)
            assert (refusals(found), found[-1].body) == (["42501"], b"E")
            found = run(wire, "SELECT 1")
            assert (refusals(found), found[-1].body) == (["25P02"], b"E")
            found = run(wire, end)
            assert (kinds(found), found[0].body, found[-1].body) == ("CZ", b"ROLLBACK\0", b"I")
        assert kinds(run(wire, "SELECT 1")) == "TDCZ"


def test_back_to_a_savepoint(agent: AgentProcess, ledger: Callable[[], list[int]]) -> None:
    """What was done before the savepoint and what is done after going back to it is committed, the denied is not."""
    with connect(agent.endpoint("app")) as wire:
        for text in ("BEGIN", "INSERT INTO ledger VALUES (1)", "SAVEPOINT s", "INSERT INTO ledger VALUES (2)"):
            assert refusals(run(wire, text)) == []
        assert refusals(run(wire, DELETE)) == ["42501"]
        for text in ("ROLLBACK TO SAVEPOINT s", "INSERT INTO ledger VALUES (3)", "COMMIT"):
            assert refusals(run(wire, text)) == []
    assert ledger() == [1, 3]


def test_several_statements_in_a_message(agent: AgentProcess, ledger: Callable[[], list[int]]) -> None:
    """A message with a denied statement ends with one error; what stood before it is rolled back."""
    with connect(agent.endpoint("app")) as wire:
        found = run(wire, f"INSERT INTO ledger VALUES (1); {DELETE}; INSERT INTO ledger VALUES (2)")
        assert kinds(found).endswith("EZ")
        assert (refusals(found), found[-1].body) == (["42501"], b"I")
    assert ledger() == []


def test_code_is_undone(agent: AgentProcess, ledger: Callable[[], list[int]]) -> None:
    """Code that does something forbidden has done nothing; its own errors are its own."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        statement = f"DO $$ BEGIN INSERT INTO ledger VALUES (1); {DELETE}; INSERT INTO ledger VALUES (2); END $$"
        assert "keep-people" in str(refused(connection, statement).message_primary)
        connection.execute("DO $$ BEGIN INSERT INTO ledger VALUES (3); END $$")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("DO $$ BEGIN INSERT INTO ledger VALUES (4); PERFORM 1 / 0; END $$")
        caught = "BEGIN UPDATE ledger SET note = 'x'; EXCEPTION WHEN OTHERS THEN INSERT INTO ledger VALUES (5); END"
        assert "ledger-needs-where" in str(refused(connection, f"DO $$ BEGIN {caught}; END $$").message_primary)
    assert ledger() == [3]


def test_notices_are_the_servers_own(agent: AgentProcess) -> None:
    """Of what the agent asks the client sees nothing, at whatever level it wants notices; of code it sees all."""
    with connect(agent.endpoint("app")) as wire:
        for level in ("notice", "log", "debug1", "error"):
            run(wire, f"SET client_min_messages = {level}")
            found = [each for text in ("SELECT 3", "SELECT count(*) FROM grown") for each in run(wire, text)]
            assert [each for each in found if each.type == "N" and "tree" in each.fields["M"]] == []
            heard = [each.fields["M"] for each in run(wire, "SELECT shout('x')") if each.type == "N"]
            assert [text for text in heard if "tree" in text] == []
            assert heard.count("hear: x") == (level != "error")


def test_pipeline_of_a_driver(agent: AgentProcess) -> None:
    """What follows a denial in a pipeline is aborted up to its Sync; then the connection is usable."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.pipeline():
            first = connection.execute("SELECT 1")
            connection.execute(DELETE)
            after = connection.execute("SELECT 2")
        assert first.fetchone() == (1,)
        with pytest.raises(psycopg.Error):
            after.fetchone()
        assert connection.execute("SELECT 3").fetchone() == (3,)


@pytest.mark.parametrize("denied", [DELETE, "DO $$ BEGIN DELETE FROM people WHERE id = -1; END $$"])
def test_pipeline_on_the_wire(agent: AgentProcess, ledger: Callable[[], list[int]], denied: str) -> None:
    """After a denial everything up to Sync is passed over, with one ReadyForQuery for each Sync."""
    with connect(agent.endpoint("app")) as wire:
        first = steps("INSERT INTO ledger VALUES (1)") + steps(denied) + steps("SELECT 2") + describe() + SYNC
        wire.send(
            first, steps("SELECT 3"), SYNC, SYNC, steps(denied), close("S", "nothing"), SYNC, steps("SELECT 4"), SYNC
        )
        found = wire.until()
        assert (refusals(found), found[-1].body) == (["42501"], b"I")
        assert kinds(found).startswith("12C") and kinds(found).endswith("EZ")
        assert kinds(wire.until()) == "12DCZ"
        assert kinds(wire.until()) == "Z"
        found = wire.until()
        assert refusals(found) == ["42501"] and kinds(found).endswith("EZ")
        assert kinds(wire.until()) == "12DCZ"
    assert ledger() == []


def test_names_stay_consistent(agent: AgentProcess) -> None:
    """A prepared statement exists exactly if its Parse was answered so, for the server as well as for the client."""
    with connect(agent.endpoint("app")) as wire:
        wire.send(parse("SELECT 7", "kept") + parse(DELETE, "d") + SYNC)
        made = "d" if kinds(wire.until()) == "11Z" else ""
        names = "SELECT string_agg(name, ',' ORDER BY name) FROM pg_prepared_statements WHERE NOT from_sql"
        listed = next(each for each in run(wire, names) if each.type == "D")
        assert listed.body[6:].decode() == ("d,kept" if made else "kept")
        wire.send(bind(name="d") + execute() + SYNC)
        assert refusals(wire.until()) == ["42501" if made else "26000"]
        wire.send(parse("SELECT 8", "d") + SYNC)
        assert refusals(wire.until()) == (["42P05"] if made else [])
        wire.send(
            close("S", "d") + parse("SELECT 9", "d") + bind(name="d") + execute() + bind(name="kept") + execute() + SYNC
        )
        found = wire.until()
        assert kinds(found) == "312DC2DCZ"
        assert [each.body[6:] for each in found if each.type == "D"] == [b"9", b"7"]


def test_names_of_sql(agent: AgentProcess) -> None:
    """PREPARE and EXECUTE are no way around, and leave the session usable."""
    with connect(agent.endpoint("app")) as wire:
        made = refusals(run(wire, f"PREPARE d AS {DELETE}")) == []
        assert refusals(run(wire, "EXECUTE d")) == ["42501" if made else "26000"]
        assert refusals(run(wire, "PREPARE s AS SELECT 1")) == []
        assert kinds(run(wire, "EXECUTE s")) == "TDCZ"


def test_copy_and_cursors(agent: AgentProcess) -> None:
    """A COPY that would delete never begins; a cursor's denied DELETE aborts its transaction."""
    with connect(agent.endpoint("app")) as wire:
        assert kinds(run(wire, f"COPY ({DELETE} RETURNING id) TO STDOUT")) == "EZ"
        for text in ("BEGIN", "DECLARE c CURSOR FOR SELECT * FROM people FOR UPDATE", "MOVE c"):
            assert refusals(run(wire, text)) == []
        assert refusals(run(wire, "DELETE FROM people WHERE CURRENT OF c")) == ["42501"]
        assert run(wire, "ROLLBACK")[-1].body == b"I"


def test_who_and_approve(agent: AgentProcess) -> None:
    """A rule for others leaves one alone; what needs consent is denied for now, and it is said why."""
    guest = psycopg.connect(_guest(agent), autocommit=True)
    with guest, psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as staff:
        staff.execute("INSERT INTO ledger SELECT 1 WHERE false")
        assert "not-for-guests" in str(refused(guest, "INSERT INTO ledger SELECT 1 WHERE false").message_primary)
        said = refused(staff, "GRANT SELECT ON people TO public")
        assert "ask-first" in str(said.message_primary)
        assert "consent" in str(said.message_primary)


def _guest(agent: AgentProcess) -> str:
    agent.token("visitor", "guests")
    return agent.endpoint("app", "visitor").dsn()


DROPS = """TABLE nothing|TABLE IF EXISTS nothing, ledger|VIEW grown|FUNCTION twice|FUNCTION twice(int)|PROCEDURE nothing
ROUTINE twice|AGGREGATE nothing(*)|INDEX people_name_idx|INDEX CONCURRENTLY people_name_idx|SEQUENCE nothing
TYPE nothing|DOMAIN nothing|SCHEMA public|DATABASE app|DATABASE IF EXISTS app WITH (FORCE)|ROLE app|USER app|GROUP app
OWNED BY app CASCADE|OWNED BY CURRENT_USER|EXTENSION plpgsql|LANGUAGE plpgsql|CAST (int AS text)|OPERATOR + (int, int)
OPERATOR CLASS nothing USING btree|OPERATOR FAMILY nothing USING btree|COLLATION nothing|CONVERSION nothing
ACCESS METHOD nothing|EVENT TRIGGER nothing|TRIGGER nothing ON people|RULE nothing ON people|POLICY nothing ON people
STATISTICS nothing|PUBLICATION nothing|SUBSCRIPTION nothing|SERVER nothing|FOREIGN TABLE nothing
FOREIGN DATA WRAPPER nothing|USER MAPPING FOR app SERVER nothing|MATERIALIZED VIEW nothing|TABLESPACE nothing
TEXT SEARCH PARSER nothing|TEXT SEARCH DICTIONARY nothing|TEXT SEARCH TEMPLATE nothing|TEXT SEARCH CONFIGURATION nothing
TRANSFORM FOR int LANGUAGE plpgsql""".replace("\n", "|").split("|")
LIKE_DROPS = [
    "ALTER TABLE people DROP COLUMN score",
    "ALTER TABLE people DROP IF EXISTS tags",
    "REASSIGN OWNED BY app TO app",
]


@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_every_kind_of_drop(agent: AgentProcess, extended: bool) -> None:
    """DROP * means everything that DROP can be said of, whether it exists or not, and columns."""
    allowed = []
    with connect(agent.endpoint("app")) as wire:
        for statement in [*(f"DROP {what}" for what in DROPS), *LIKE_DROPS]:
            wire.send(steps(statement) + SYNC if extended else query(statement))
            errors = [each.fields for each in wire.until() if each.type == "E"]
            if not errors or errors[0]["C"] != "42501" or "no-drop" not in errors[0]["M"]:
                allowed.append((statement, errors))
    assert allowed == []


MADE = {
    "TABLE mine": "TABLE mine (a int)",
    "VIEW mine": "VIEW mine AS SELECT 1",
    "MATERIALIZED VIEW mine": "MATERIALIZED VIEW mine AS SELECT 1",
    "SEQUENCE mine": "SEQUENCE mine",
    "TYPE mine": "TYPE mine AS (a int)",
    "DOMAIN mine": "DOMAIN mine AS int",
    "SCHEMA mine": "SCHEMA mine",
    "FUNCTION mine": "FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "PROCEDURE mine": "PROCEDURE mine() LANGUAGE sql AS 'SELECT 1'",
    "AGGREGATE mine(int)": "AGGREGATE mine(int) (SFUNC = int4pl, STYPE = int)",
    "OPERATOR @@@ (int, int)": "OPERATOR @@@ (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)",
    "COLLATION mine": 'COLLATION mine FROM "C"',
    "TEXT SEARCH CONFIGURATION mine": "TEXT SEARCH CONFIGURATION mine (COPY = simple)",
}


@pytest.mark.parametrize("what", list(MADE))
def test_drop_in_code(agent: AgentProcess, what: str) -> None:
    """What code makes, code may not drop either; it is as if it had not been made."""
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        for _ in range(2):
            said = refused(connection, f"DO $code$ BEGIN CREATE {MADE[what]}; DROP {what}; END $code$")
            assert "no-drop" in str(said.message_primary)


def ended(agent: AgentProcess, name: str) -> list[dict[str, Any]]:
    """The operations of the session of the client that called itself `name`, once it is over."""
    look = f"SELECT session_id FROM sessions WHERE client_name = '{name}' AND ended_at IS NOT NULL"
    (session,) = eventually(lambda: agent.query(look))
    return agent.query(f"SELECT * FROM operations WHERE session_id = '{session['session_id']}' ORDER BY sequence")


def test_evidence(agent: AgentProcess) -> None:
    """Each statement's record says what was decided, by which rule of which policy, and what the statement would do."""
    texts = [
        "SELECT count(*) FROM grown",
        DELETE,
        "UPDATE ledger SET note = 'x'",
        "UPDATE ledger SET note = 'x' WHERE id = 0",
    ]
    with connect(agent.endpoint("app"), application_name="decided") as wire:
        for text in texts:
            run(wire, text)
        wire.send(steps(DELETE) + SYNC)
        wire.until()
    rows = ended(agent, "decided")
    assert [row["statement"] for row in rows] == [*texts, DELETE]
    assert [row["decision"] for row in rows] == ["allow", "deny", "deny", "allow", "deny"]
    assert [row["rule"] for row in rows] == [None, "keep-people", "ledger-needs-where", None, "keep-people"]
    assert [row["outcome"] for row in rows] == ["ok", "denied", "denied", "ok", "denied"]
    assert [row["error_code"] for row in rows] == [None, "42501", "42501", None, "42501"]
    done = [set(row["operations"]) for row in rows]
    assert "SELECT public.people" in done[0] and "DELETE public.people" in done[1] and "UPDATE public.ledger" in done[3]
    (event,) = agent.query("SELECT * FROM events WHERE kind = 'policy loaded'")
    details = event["details"] if isinstance(event["details"], dict) else json.loads(event["details"])
    assert {row["policy"] for row in rows} == {details["version"]}


def test_evidence_of_code(agent: AgentProcess) -> None:
    """A statement that ran code is recorded with what the code did, whether it was let or not."""
    texts = ["DO $$ BEGIN PERFORM name FROM people; END $$", f"DO $$ BEGIN {DELETE}; END $$"]
    with connect(agent.endpoint("app"), application_name="code") as wire:
        for text in texts:
            run(wire, text)
    rows = ended(agent, "code")
    assert [(row["statement"], row["decision"], row["rule"], row["outcome"]) for row in rows] == [
        (texts[0], "allow", None, "ok"),
        (texts[1], "deny", "keep-people", "denied"),
    ]
    assert "SELECT public.people" in rows[0]["operations"]
    assert "DELETE public.people" in rows[1]["operations"]


def test_large_statements(agent: AgentProcess, ledger: Callable[[], list[int]]) -> None:
    """A statement that is larger than what a session holds back is decided like any other; one that is cut off by the
    end of the connection is never run."""
    text = "x" * 3_000_000
    with psycopg.connect(agent.endpoint("app").dsn(), autocommit=True) as connection:
        assert connection.execute(f"SELECT length('{text}')", prepare=False).fetchone() == (3_000_000,)
        assert connection.execute("SELECT length(%s)", (text,)).fetchone() == (3_000_000,)
    for missing in (1, 2, 5):
        with connect(agent.endpoint("app")) as wire:
            wire.send(query("INSERT INTO ledger VALUES (4711, 'cut off')")[:-missing])
            wire.socket.shutdown(socket.SHUT_WR)
            wire.rest()
    assert ledger() == []


def test_goodbye_in_its_turn(agent: AgentProcess, ledger: Callable[[], list[int]]) -> None:
    """What a client asked before it closed its side is decided and done."""
    with connect(agent.endpoint("app")) as wire:
        wire.send(
            query("INSERT INTO ledger VALUES (1, 'a')") + query(DELETE) + query("INSERT INTO ledger VALUES (2, 'b')")
        )
        wire.socket.shutdown(socket.SHUT_WR)
        messages = wire.rest()
    assert (kinds(messages), refusals(messages)) == ("CZEZCZ", ["42501"])
    assert ledger() == [1, 2]
