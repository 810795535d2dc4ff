"""Code under rules: called by its OID, committing by itself, in a pipeline that nothing has ended; messages of several
statements, one of which is a mistake."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.agent import AgentProcess
from tests.e2e.answers import kinds, refusals, run, steps
from tests.e2e.certificates import Authority
from tests.e2e.conftest import PASSWORD, resource, straight
from tests.e2e.endpoint import Endpoint
from tests.e2e.servers import Server
from tests.e2e.wire import SYNC, Message, bind, connect, describe, execute, message, parse, query

POLICY = """\
version: 1
rules:
  - name: all-for-owners
    who: {groups: [owners]}
    match: ["*"]
    effect: allow
  - name: keep-people
    who: {groups: [staff]}
    match: ["DELETE public.people", "EXECUTE public.forbidden", "EXECUTE pg_catalog.lo_unlink"]
    effect: deny
"""
SETUP = """
CREATE FUNCTION kill(x int) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN DELETE FROM people WHERE id = -x; INSERT INTO ledger VALUES (x); RETURN x; END $$;
CREATE FUNCTION note(x int) RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO ledger VALUES (x); RETURN x + 1; END $$;
CREATE FUNCTION forbidden(x int) RETURNS int LANGUAGE sql AS 'SELECT x';
CREATE FUNCTION fails(x int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN x / 0; END $$;
CREATE PROCEDURE batch(x int) LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO ledger VALUES (x); COMMIT; INSERT INTO ledger VALUES (x + 1); END $$;
CREATE PROCEDURE plain(x int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO ledger VALUES (x); END $$;
CREATE FUNCTION ends() RETURNS int LANGUAGE plpgsql AS $$ BEGIN COMMIT; RETURN 1; END $$;
GRANT ALL ON ALL TABLES IN SCHEMA public TO public;
"""
GONE = "DROP FUNCTION kill, note, forbidden, fails, ends; DROP PROCEDURE batch, plain"
BATCH = "DO $$ BEGIN INSERT INTO ledger VALUES (1); COMMIT; INSERT INTO ledger VALUES (2); ROLLBACK; END $$"
KILL = "DO $$ BEGIN DELETE FROM people WHERE id = -1; END $$"
Rows = Callable[[], list[int]]


@pytest.fixture(scope="module", params=["18", "system"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    found: Server = request.getfixturevalue("pg18" if request.param == "18" else "pg15")
    found.sql(SETUP, database="app")
    yield found
    found.sql(GONE, database="app")


@pytest.fixture(scope="module")
def agent(server: Server, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    directory = tmp_path_factory.mktemp("code")
    (directory / "policy.yaml").write_text(POLICY)
    verified = f"sslmode=verify-full&sslrootcert={authority.ca}" if server.binaries.tls else ""
    made = AgentProcess(
        directory, [resource(server, query=verified)], {"APP_PASSWORD": PASSWORD}, policy="./policy.yaml"
    )
    yield made.start()
    made.stop()


@pytest.fixture
def staff(agent: AgentProcess) -> Endpoint:
    agent.token("crew", "staff")
    return agent.endpoint("app", "crew")


@pytest.fixture
def ledger(server: Server) -> Iterator[Rows]:
    """The ids in the ledger, which is empty before and after."""
    server.sql("DELETE FROM ledger", database="app")
    yield lambda: [row[0] for row in server.sql("SELECT id FROM ledger ORDER BY id", database="app")]
    server.sql("DELETE FROM ledger", database="app")


def number(value: int) -> bytes:
    return struct.pack("!i", value)


def call(oid: int, *arguments: bytes) -> bytes:
    body = struct.pack("!IHHH", oid, 1, 1, len(arguments))
    for argument in arguments:
        body += struct.pack("!I", len(argument)) + argument
    return message("F", body + struct.pack("!H", 1))


def oid(server: Server, name: str) -> int:
    found: int = server.sql(f"SELECT '{name}'::regproc::oid", database="app")[0][0]
    return found


def told(messages: list[Message]) -> list[tuple[str, str]]:
    """Types, values and states, and of errors the SQLSTATE."""
    return [
        (each.type, each.fields["C"] if each.type == "E" else repr(each.body))
        for each in messages
        if each.type not in "NSA"
    ]


@pytest.mark.parametrize("name", ["note", "fails", "twice", "int4inc", "nothing"])
@pytest.mark.parametrize("around", ["", "BEGIN"])
def test_a_call_by_oid_is_answered_as_by_the_server(
    staff: Endpoint, server: Server, ledger: Rows, name: str, around: str
) -> None:
    """What rules don't forbid gives the same results and errors, in a transaction and outside, code or not."""
    called = 4_000_000_000 if name == "nothing" else oid(server, name)
    heard, left = [], []
    for endpoint in (straight(server), staff):
        with connect(endpoint) as wire:
            answers = [run(wire, around)] if around else []
            for _ in range(2):
                wire.send(call(called, number(7 + len(answers))))
                answers.append(wire.until())
            answers.append(run(wire, "ROLLBACK" if around else "SELECT 1"))
        heard.append([told(each) for each in answers])
        left.append(ledger())
        server.sql("DELETE FROM ledger", database="app")
    assert heard[0] == heard[1]
    assert left[0] == left[1]


@pytest.mark.parametrize("name", ["kill", "forbidden", "lo_unlink"])
@pytest.mark.parametrize("around", ["", "BEGIN"])
def test_a_call_by_oid_is_no_way_around(staff: Endpoint, server: Server, ledger: Rows, name: str, around: str) -> None:
    """What a function does counts however it is called: denied by name or by what it did, and undone."""
    with connect(staff) as wire:
        if around:
            run(wire, around)
        for _ in range(2):
            wire.send(call(oid(server, name), number(1)))
            found = wire.until()
            assert (kinds(found), refusals(found)) == ("EZ", ["42501"])
            assert found[-1].body == (b"E" if around else b"I")
            run(wire, "ROLLBACK; BEGIN" if around else "SELECT 1")
    assert ledger() == []


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("statement", [BATCH, "CALL batch(1)"])
def test_code_that_commits(agent: AgentProcess, staff: Endpoint, ledger: Rows, statement: str, extended: bool) -> None:
    """It can't be judged before it commits: where something may be denied it is refused with a reason, and has done
    nothing; where nothing can it runs. The client's own transaction is the server's business."""
    asked = steps(statement) + SYNC if extended else query(statement)
    with connect(staff) as wire:
        for _ in range(2):
            wire.send(asked)
            found = wire.until()
            assert (refusals(found), found[-1].body) == (["42501"], b"I")
            (error,) = [each.fields for each in found if each.type == "E"]
            assert 'rule "keep-people"' in error["M"] and "commits" in error["M"] and "COMMIT" in error["H"]
            assert ledger() == []
        run(wire, "BEGIN")
        wire.send(asked)
        found = wire.until()
        assert (refusals(found), found[-1].body) == (["2D000"], b"E")
        assert refusals(run(wire, "ROLLBACK")) == []
        wire.send(steps("CALL plain(3)") + SYNC if extended else query("CALL plain(3)"))
        assert refusals(wire.until()) == []
        caught = "BEGIN COMMIT; EXCEPTION WHEN OTHERS THEN INSERT INTO ledger VALUES (4); END"
        assert refusals(run(wire, f"DO $$ BEGIN {caught}; END $$")) == []
        said = run(wire, "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '2D000'; END $$")
        assert refusals(said) == ["2D000"]
        wire.send(steps("SELECT ends()") + SYNC if extended else query("SELECT ends()"))
        assert refusals(wire.until()) == ["2D000"]  # no function may, with or without the agent
    assert ledger() == [3, 4]
    agent.token("boss", "owners")
    with connect(agent.endpoint("app", "boss")) as wire:
        wire.send(asked)
        found = wire.until()
        assert (refusals(found), found[-1].body) == ([], b"I")
    assert ledger() == [1, 2, 3, 4] if "CALL" in statement else [1, 3, 4]


@pytest.mark.parametrize("last", [query(KILL), query("CALL plain(9); " + KILL)], ids=["one", "several"])
@pytest.mark.parametrize("before", ["INSERT INTO ledger VALUES (1)", "CALL plain(1)", "SELECT 1"])
def test_a_query_in_an_open_pipeline(staff: Endpoint, ledger: Rows, before: str, last: bytes) -> None:
    """A Query that follows a pipeline without a Sync commits both: what it does is judged before, and undone with what
    the pipeline did."""
    with connect(staff) as wire:
        wire.send(steps(before) + last)
        found = wire.until()
        assert (refusals(found), found[-1].body) == (["42501"], b"I")
        assert ledger() == []
        wire.send(SYNC)
        assert kinds(wire.until()) == "Z"
        wire.send(steps(before) + query("CALL plain(2)"))
        found = wire.until()
        assert (refusals(found), found[-1].body) == ([], b"I")
        assert ledger() == ([2] if before == "SELECT 1" else [1, 2])
        wire.send(steps("SELECT 5") + SYNC)
        assert kinds(wire.until()) == "12DCZ"


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_a_mistake_in_a_message_of_several(server: Server, staff: Endpoint, ledger: Rows, end: str) -> None:
    """If one statement of a message can't be parsed none of them is run, in a transaction as outside of one; where all
    can, the transaction goes on, and may still be given an isolation level."""
    script = [
        "BEGIN",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; SELECT 1",
        "INSERT INTO ledger VALUES (1); SELECT 2",
        "SHOW transaction_isolation",
        "SAVEPOINT s",
        "INSERT INTO ledger VALUES (2); SELEC 3",
        "SELECT 4; SELEC 5",
        "ROLLBACK TO s; SELEC 6",
        "ROLLBACK TO s; SELECT 7",
        "INSERT INTO ledger VALUES (3); RELEASE s",
        f"{end}; SELECT 8",
        "INSERT INTO ledger VALUES (4); SELEC 9",
    ]
    heard, left = [], []
    for endpoint in (straight(server), staff):
        with connect(endpoint) as wire:
            heard.append([told(run(wire, text)) for text in script])
        left.append(ledger())
        server.sql("DELETE FROM ledger", database="app")
    assert heard[0] == heard[1]
    assert left[0] == left[1]


@pytest.mark.parametrize("around", ["", "BEGIN"])
def test_what_fails_only_when_it_runs(server: Server, staff: Endpoint, around: str) -> None:
    """A utility statement whose query the server will refuse can be parsed, as without the agent; the error is the
    same, at its Bind where the server has it at the Execute."""
    heard = []
    for endpoint in (straight(server), staff):
        with connect(endpoint) as wire:
            if around:
                run(wire, around)
            wire.send(parse("CREATE VIEW v AS SELECT nothing FROM people", "v") + describe("S", "v") + SYNC)
            first = told(wire.until())
            wire.send(bind(name="v") + describe() + execute() + SYNC)
            found = wire.until()
            heard.append((first, refusals(found), found[-1].body, kinds(run(wire, "SELECT 1"))))
    assert heard[0] == heard[1]
    with connect(staff) as wire:
        wire.send(parse("CREATE VIEW v AS SELEC", "v") + SYNC)
        assert refusals(wire.until()) == ["42601"]
