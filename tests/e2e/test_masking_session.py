"""Masked columns between real servers and real drivers: replaced wherever they arrive, everything else as it was."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import io
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from tests.e2e import servers
from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.conftest import PASSWORD, program, resource, straight
from tests.e2e.endpoint import Endpoint
from tests.e2e.servers import Server
from tests.e2e.test_psql import psql

POLICY = """
version: 1
masks:
  - {name: mail, columns: veiled.users.email, unless: "identity.subject == 'olga'"}
  - {name: phone, columns: veiled.users.phone, with: partial, unless: "identity.subject == 'olga'"}
  - {name: ssn, columns: [veiled.users.ssn, veiled.users.token], with: hash, unless: "identity.subject == 'olga'"}
  - {name: born, columns: [veiled.users.born, veiled.users.paid], with: fake, unless: "identity.subject == 'olga'"}
  - {name: doc, columns: veiled.users.doc, with: "null", unless: "identity.subject == 'olga'"}
  - {name: strict, columns: veiled.*.code, predicates: deny, unless: "identity.subject == 'olga'"}
  - {name: look, types: [email], unless: "identity.subject == 'olga'"}
"""
SCHEMA = """
    DROP SCHEMA IF EXISTS veiled CASCADE;
    CREATE SCHEMA veiled;
    CREATE TABLE veiled.users (id int PRIMARY KEY, name text, email text UNIQUE, phone text, ssn varchar(32),
        token uuid, born date, paid numeric(10, 2), doc jsonb, code text, note text, tags text[]);
    INSERT INTO veiled.users SELECT i, 'user ' || i, 'hiddenmail' || i || '@corp.example', '+1 202 555 ' || 7000 + i,
        '900-11-' || 4000 + i, ('deadbeef-0000-4000-8000-0000000a' || 1000 + i)::uuid, date '1963-04-05' + i,
        765432.10 + i, jsonb_build_object('hiddendoc', i), 'hiddencode' || i,
        CASE WHEN i % 2 = 0 THEN 'ask hiddennote' || i || '@corp.example' ELSE 'nothing' END, ARRAY['a', i::text]
        FROM generate_series(1, 20) i;
    CREATE TABLE veiled.later (id int, code text, UNIQUE (code) DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO veiled.later VALUES (1, 'hiddencode1'), (2, 'HIDDENCODE1');
    CREATE TABLE veiled.notes (id int);
    CREATE FUNCTION veiled.tells() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN RAISE EXCEPTION '%', (SELECT email FROM veiled.users WHERE id = 1); END$$;
    CREATE CONSTRAINT TRIGGER late AFTER INSERT ON veiled.notes DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION veiled.tells();
    CREATE MATERIALIZED VIEW veiled.kept AS SELECT id, upper(email) AS mail FROM veiled.users;
    CREATE VIEW veiled.contacts AS SELECT id, lower(email) AS mail, name FROM veiled.users;
    GRANT USAGE ON SCHEMA veiled TO app;
    GRANT ALL ON ALL TABLES IN SCHEMA veiled TO app;
"""
ALL = "SELECT id, name, email, phone, ssn, token, born, paid, doc, code, note, tags FROM veiled.users ORDER BY id"
COVERED = {"email", "phone", "ssn", "token", "born", "paid", "doc", "code"}
HIDDEN = re.compile(rb"hidden(mail|doc|code|note)|900-11-4|deadbeef-0000-4000-8000|202 555|76544\d|76545\d")


@pytest.fixture(scope="module", params=["pg18", "pg15"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(request.param)
    found.sql(SCHEMA, database="app")
    return found


@pytest.fixture(scope="module")
def agent(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    directory = tmp_path_factory.mktemp("veiled")
    (directory / "policy.yaml").write_text(POLICY)
    made = AgentProcess(
        directory / "agent", [resource(server)], {"APP_PASSWORD": PASSWORD}, policy=str(directory / "policy.yaml")
    ).start()
    yield made
    made.stop()


@pytest.fixture
def through(agent: AgentProcess) -> Endpoint:
    return agent.endpoint("app")


@pytest.fixture
def direct(server: Server) -> Endpoint:
    return straight(server)


def opened(endpoint: Endpoint, **words: Any) -> psycopg.Connection[Any]:
    return psycopg.connect(endpoint.dsn(**words), autocommit=True)


def copied(connection: psycopg.Connection[Any], statement: str) -> bytes:
    with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        return b"".join(bytes(piece) for piece in copy)


def told(error: psycopg.Error) -> list[str]:
    diag = error.diag
    return [str(error), str(diag.message_detail), str(diag.context), str(diag.message_hint), str(diag.constraint_name)]


def assert_masked(ours: list[tuple[Any, ...]], theirs: list[tuple[Any, ...]]) -> None:
    """Rows of ALL: each masked value in its own way and of its type, every other one the same."""
    assert len(ours) == len(theirs) > 0
    names = ALL.removeprefix("SELECT ").partition(" FROM")[0].split(", ")
    for mine, right in zip(ours, theirs, strict=True):
        got, real = dict(zip(names, mine, strict=True)), dict(zip(names, right, strict=True))
        for name in ("id", "name", "tags"):
            assert got[name] == real[name]
        assert got["email"] == got["code"] == "***"
        assert got["phone"].endswith(real["phone"][-4:]) and "202" not in got["phone"]
        assert re.fullmatch("[0-9a-f]{32}", got["ssn"])
        assert isinstance(got["token"], uuid.UUID) and got["token"] != real["token"]
        assert isinstance(got["born"], datetime.date) and got["born"] != real["born"]
        assert isinstance(got["paid"], decimal.Decimal) and got["paid"] != real["paid"]
        assert got["doc"] is None
        assert got["note"] == re.sub(r"hiddennote\d+@corp.example", "***", real["note"])
    assert len({row[4] for row in ours}) == len(ours)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("prepare", [False, True])
def test_psycopg(through: Endpoint, direct: Endpoint, binary: bool, prepare: bool) -> None:
    """Masked columns are replaced in each way with values valid for their types, in text and in binary, the first time
    and again; the others are the server's own."""
    with opened(direct) as connection:
        theirs = connection.execute(ALL).fetchall()
    with opened(through) as connection:
        first = connection.execute(ALL, binary=binary, prepare=prepare).fetchall()
        assert_masked(first, theirs)
        for _ in range(2):
            assert connection.execute(ALL, binary=binary, prepare=prepare).fetchall() == first


def test_text_and_binary_agree(through: Endpoint) -> None:
    """Hashed and invented values are the same in both formats, and in two sessions."""
    found = []
    for binary in (False, True):
        with opened(through) as connection:
            found.append(connection.execute(ALL, binary=binary).fetchall())
    assert found[0] == found[1]


def test_simple(through: Endpoint, direct: Endpoint) -> None:
    """So they are by a Query, alone and among several statements, and by a client cursor that asks so."""
    with opened(direct) as connection:
        theirs = connection.execute(ALL).fetchall()
    with opened(through) as connection, psycopg.ClientCursor(connection) as cursor:
        assert_masked(cursor.execute(ALL).fetchall(), theirs)
        cursor.execute(f"SELECT 1; {ALL}; SELECT email FROM veiled.users WHERE id = 3")
        assert cursor.nextset()
        assert_masked(cursor.fetchall(), theirs)
        assert cursor.nextset()
        assert cursor.fetchall() == [("***",)]


def test_server_side_cursors(through: Endpoint, direct: Endpoint) -> None:
    """What FETCH returns is masked by what the cursor was declared for, in pieces and in binary."""
    with opened(direct) as connection:
        theirs = connection.execute(ALL).fetchall()
    for binary in (False, True):
        with opened(through) as connection, connection.transaction():
            with connection.cursor("c", binary=binary) as cursor:
                cursor.execute(ALL)
                rows = cursor.fetchmany(3) + cursor.fetchmany(5) + cursor.fetchall()
            assert_masked(rows, theirs)


@pytest.mark.parametrize("options", ["", "(FORMAT csv, HEADER)", "(FORMAT csv, DELIMITER ';', QUOTE '''')", "BINARY"])
@pytest.mark.parametrize("source", ["veiled.users", f"({ALL})"])
def test_copy(through: Endpoint, direct: Endpoint, options: str, source: str) -> None:
    """COPY in its three forms holds no original, and what it holds is taken by COPY again: masked columns replaced, the
    others the same."""
    with opened(through) as connection:
        sent = copied(connection, f"COPY {source} TO STDOUT {options}")
    assert not HIDDEN.search(sent)
    with opened(direct) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE back (LIKE veiled.users)")
        with cursor.copy(f"COPY back FROM STDIN {options}".encode()) as copy:
            copy.write(sent)
        rows = connection.execute("SELECT id, name, tags FROM back ORDER BY id").fetchall()
        assert rows == connection.execute("SELECT id, name, tags FROM veiled.users ORDER BY id").fetchall()


async def _asyncpg(endpoint: Endpoint) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]], bytes]:
    connection = await asyncpg.connect(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        password=endpoint.password,
        database=endpoint.database,
        ssl=False,
    )
    try:
        rows = [tuple(row) for row in await connection.fetch(ALL)]
        statement = await connection.prepare(ALL)
        assert [tuple(row) for row in await statement.fetch()] == rows
        pieces: list[tuple[Any, ...]] = []
        async with connection.transaction():
            async for row in connection.cursor(ALL, prefetch=3):
                pieces.append(tuple(row))
        into = io.BytesIO()
        await connection.copy_from_query(ALL, output=into, format="csv")
        return rows, pieces, into.getvalue()
    finally:
        await connection.close()


def test_asyncpg(through: Endpoint, direct: Endpoint) -> None:
    """asyncpg decodes what it gets in binary: rows, prepared statements, portals read in pieces, COPY."""
    with opened(direct) as connection:
        theirs = connection.execute(ALL).fetchall()
    rows, pieces, written = asyncio.run(_asyncpg(through))
    assert_masked(rows, theirs)
    assert pieces == rows
    assert not HIDDEN.search(written)


def test_psql(through: Endpoint) -> None:
    """psql shows no original, neither of a query nor by \\copy, \\gdesc and FETCH_COUNT."""
    text = f"{ALL};\nTABLE veiled.users;\n\\copy veiled.users to stdout\nSELECT u FROM veiled.users u;\n"
    text += f"\\set FETCH_COUNT 3\n{ALL};\nSELECT email FROM veiled.users \\gdesc\nSELECT * FROM veiled.contacts;\n"
    _, out, error = psql(program(servers.embedded(), "psql"), through, text=text)
    assert not HIDDEN.search((out + error).encode())
    assert "user 20" in out and "***" in out and "email  | text" in out


STATEMENTS = [
    "SELECT mail FROM veiled.contacts",
    "SELECT reverse(email) FROM veiled.users",
    "SELECT u FROM veiled.users u",
    "SELECT to_jsonb(u) FROM veiled.users u",
    "SELECT array_agg(email) FROM veiled.users",
    "SELECT max(ssn), min(born)::text FROM veiled.users",
    "SELECT email x FROM veiled.users UNION ALL SELECT name FROM veiled.users",
    "SELECT (SELECT email FROM veiled.users LIMIT 1)",
    "WITH w AS (SELECT code FROM veiled.users) SELECT * FROM w",
    "UPDATE veiled.users SET name = name RETURNING email",
    "SELECT CAST(email AS int) FROM veiled.users",
    "INSERT INTO veiled.users (id, email) SELECT 999, email FROM veiled.users WHERE id = 1",
    "EXPLAIN ANALYZE SELECT * FROM veiled.users WHERE email > 'a'",
    "SELECT id FROM veiled.users WHERE code > 'a'",
    "CREATE TEMP TABLE leak AS SELECT email FROM veiled.users",
    "DO $$ DECLARE m text; BEGIN SELECT email INTO m FROM veiled.users LIMIT 1; RAISE NOTICE '%', m; END $$",
    "DO $$ DECLARE m text; BEGIN SELECT email INTO m FROM veiled.users LIMIT 1; RAISE EXCEPTION '%', m; END $$",
    "SELECT query_to_xml('SELECT * FROM veiled.users', true, true, '')",
    "SELECT most_common_vals FROM pg_stats WHERE tablename = 'users'",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_original_arrives(agent: AgentProcess, through: Endpoint, statement: str) -> None:
    """Whatever a statement makes of masked values, what arrives (rows, errors, notices) holds none of them."""
    heard: list[str] = []

    def noticed(notice: psycopg.errors.Diagnostic) -> None:
        heard.append(f"{notice.message_primary} {notice.message_detail} {notice.context}")

    for binary in (False, True):
        with opened(through) as connection:
            connection.add_notice_handler(noticed)
            with connection.transaction(force_rollback=True):
                try:
                    cursor = connection.execute(statement.encode(), binary=binary)
                    heard.append(repr(cursor.fetchall() if cursor.description else None))
                except psycopg.Error as error:
                    heard += told(error)
                    connection.execute("ROLLBACK")
    assert not HIDDEN.search("\n".join(heard).encode())
    assert not re.search("hiddenmail"[::-1], "\n".join(heard))


LATE = ["UPDATE veiled.later SET code = lower(code)", "INSERT INTO veiled.notes VALUES (1)"]


@pytest.mark.parametrize("statement", LATE)
@pytest.mark.parametrize("end", ["COMMIT", "SET CONSTRAINTS ALL IMMEDIATE", None])
def test_what_fails_at_the_end(through: Endpoint, statement: str, end: str | None) -> None:
    """Constraints and triggers that wait for the transaction's end tell no more than others."""
    with opened(through) as connection:
        with pytest.raises(psycopg.Error) as caught:
            if end is None:
                connection.execute(statement.encode())
            else:
                for each in ("BEGIN", statement, end):
                    connection.execute(each.encode())
        assert not HIDDEN.search("\n".join(told(caught.value)).encode())


def test_copy_of_what_is_kept(server: Server, through: Endpoint) -> None:
    """COPY of a materialized view, which PostgreSQL 18 knows, shows what the view shows: nothing of a masked column."""
    with opened(through) as connection:
        try:
            sent = copied(connection, "COPY veiled.kept TO STDOUT")
        except psycopg.errors.WrongObjectType:
            return
    assert sent.startswith(b"1\t") and b"HIDDENMAIL" not in sent


def test_error_keeps_its_state(through: Endpoint) -> None:
    """The error of a statement that reads masked columns has the server's SQLSTATE and not its text; that of another
    statement is as it was."""
    with opened(through) as connection:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="masked") as caught:
            connection.execute("SELECT email::int FROM veiled.users")
        assert "corp.example" not in str(caught.value)
        with pytest.raises(psycopg.errors.InvalidTextRepresentation, match='integer: "user 1"'):
            connection.execute("SELECT name::int FROM veiled.users")


def test_look_in_notices_and_settings(through: Endpoint) -> None:
    """An address is found wherever it is told: in a constant, a notice, a notification, an error, a parameter."""
    heard: list[str] = []
    with opened(through) as connection:
        connection.add_notice_handler(lambda notice: heard.append(str(notice.message_primary)))
        assert connection.execute("SELECT 'x hiddennote@corp.example y'").fetchone() == ("x *** y",)
        connection.execute("SELECT shout('hiddennote@corp.example')")
        connection.execute("LISTEN c")
        connection.execute("NOTIFY c, 'hiddennote@corp.example'")
        (note,) = list(connection.notifies(timeout=5, stop_after=1))
        assert note.payload == "***"
        connection.execute("SET application_name = 'hiddennote@corp.example'")
        assert connection.info.parameter_status("application_name") == "***"
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("SELECT 'hiddennote@corp.example'::int")
        heard.append(str(caught.value.diag.message_primary))
    assert any("hear: ***" in one for one in heard)
    assert not HIDDEN.search("\n".join(heard).encode())


def test_unless(agent: AgentProcess, direct: Endpoint) -> None:
    """For whom the policy lifts the masks everything is the server's own."""
    with opened(direct) as connection:
        theirs = connection.execute(ALL).fetchall()
    with opened(agent.endpoint("app", subject="olga")) as connection:
        assert connection.execute(ALL).fetchall() == theirs
        assert connection.execute("SELECT id FROM veiled.users WHERE code = 'hiddencode7'").fetchall() == [(7,)]


def test_evidence(server: Server, tmp_path: Path) -> None:
    """The record says which columns were masked and how many values, holds what the client got, and nowhere, neither
    in the journal nor when it is sealed, an original."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    agent = AgentProcess(
        tmp_path / "agent",
        [resource(server)],
        {"APP_PASSWORD": PASSWORD},
        policy=str(tmp_path / "policy.yaml"),
        audit={"seal": {"every": "1s"}},
    ).start()
    try:
        with opened(agent.endpoint("app")) as connection:
            connection.execute("SELECT id, email, note FROM veiled.users WHERE id < 5 ORDER BY id")
            connection.execute("SELECT id FROM veiled.users")
            sent = copied(connection, "COPY (SELECT id, phone FROM veiled.users) TO STDOUT")
            with pytest.raises(psycopg.Error):
                connection.execute("SELECT email::int FROM veiled.users")
        sealed = agent.audit.rglob("*.parquet")
        assert eventually(lambda: any(agent.audit.rglob("responses/**/*.parquet")) or any(sealed), timeout=30)
        rows = agent.query("SELECT statement, masked, masked_values, rows, outcome FROM operations ORDER BY sequence")
        found = [(sorted(row["masked"] or ()), row["masked_values"], row["outcome"]) for row in rows]
        assert found == [
            (["look", "veiled.users.email"], 6, "ok"),
            ([], 0, "ok"),
            (["veiled.users.phone"], 20, "ok"),
            ([], 0, "error"),
        ]
        contents = [bytes(row["content"]) for row in agent.query("SELECT content FROM responses ORDER BY leaf")]
        assert sent.split(b"\n")[0] in b"".join(contents)
        tables = [row["name"] for row in agent.query("SELECT table_name AS name FROM information_schema.tables")]
        kept = [repr(row).encode() for table in tables for row in agent.query(f'SELECT * FROM "{table}"')]
    finally:
        agent.stop()
    files = [file.read_bytes() for root in (agent.state, agent.audit) for file in root.rglob("*") if file.is_file()]
    for content in [*contents, *kept, *files]:
        assert not HIDDEN.search(content.replace(b"::int", b""))
