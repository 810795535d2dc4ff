"""Replaced values and rewritten rows, given to real servers: PostgreSQL 18 and the system's own take every one."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import pq

from agent.core.masking.copies import BinaryCopy, Copy, CsvCopy, TextCopy
from agent.core.masking.replacement import WAYS, Replacement
from agent.core.masking.rows import Plan
from agent.core.pg.values import text_of
from tests.e2e.servers import Server

KEY = b"the key of a test"

VALUES = {
    "bool": "t",
    "bytea": "\\xdeadbeef",
    '"char"': "x",
    "name": "somebody",
    "int8": "-9223372036854775808",
    "int2": "-32768",
    "int4": "2147483647",
    "text": "alice@corp.example",
    "oid": "4294967295",
    "json": '{"a": [1, "x\\u0041"]}',
    "jsonb": '{"a": [1.50, "x"], "b": null}',
    "xml": "<a>text</a>",
    "point": "(1,2)",
    "lseg": "[(1,2),(3,4)]",
    "path": "[(1,2),(3,4)]",
    "box": "(3,4),(1,2)",
    "polygon": "((1,2),(3,4))",
    "line": "{1,2,3}",
    "circle": "<(1,2),3>",
    "float4": "-1.5e-20",
    "float8": "1.7976931348623157e+308",
    "money": "$12.50",
    "macaddr": "08:00:2b:01:02:03",
    "macaddr8": "08:00:2b:01:02:03:04:05",
    "inet": "10.1.2.3/8",
    "cidr": "2001:db8::/32",
    "char(8)": "ab",
    "varchar(2)": "ab",
    "varchar(20)": "alice@corp.example",
    "date": "infinity",
    "date[]": "{2024-02-29}",
    "time": "24:00:00",
    "timestamp": "0044-03-15 12:00:00 BC",
    "timestamptz": "2024-02-29 09:00:00.5+00",
    "interval": "1 year 2 mons -3 days 04:05:06.7",
    "timetz": "12:34:56.7+05:30",
    "bit(5)": "10110",
    "varbit": "101",
    "numeric": "-12345678901234567890.00012345",
    "numeric(6,2)": "-1234.50",
    "numeric(2,2)": "0.99",
    "uuid": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "pg_lsn": "16/B374D848",
    "tsvector": "'a':1 'b':2",
    "tsquery": "'a' & 'b'",
    "jsonpath": '$."a"[*]',
    "tid": "(5,6)",
    "xid": "7",
    "xid8": "7",
    "regclass": "pg_class",
    "regtype": "integer",
    "regproc": "now",
    "int2vector": "1 2",
    "oidvector": "1 2",
    "pg_snapshot": "10:20:10,14",
    "int4range": "[1,5)",
    "numrange": "(,1.5]",
    "tsrange": "[2024-01-01 00:00:00,)",
    "tstzrange": "[2024-01-01 00:00:00+00,)",
    "daterange": "[2024-01-01,2024-02-01)",
    "int8range": "empty",
    "int4multirange": "{[1,5),[8,9)}",
    "datemultirange": "{}",
    "int4[]": "{1,NULL,3}",
    "text[]": '{a,"b c",NULL}',
    "varchar(3)[]": "{a,b}",
    "jsonb[]": '{"{\\"a\\": 1}"}',
    "numeric[]": "{{1.5,2},{3,4}}",
    "uuid[]": "{3f2504e0-4f89-41d3-9a0c-0305e82c3301}",
    "mood": "glad",
    "mood[]": "{glad}",
    "pair": "(1,x)",
}
"""A literal of each type. The last three are types that the test makes."""


@pytest.fixture(scope="module", params=["pg18", "pg15"])
def connection(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection]:
    """A server's own superuser session, in which types of our own are made."""
    server: Server = request.getfixturevalue(request.param)
    with psycopg.connect(server.dsn(), autocommit=True) as opened:
        opened.execute("CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE pair AS (a int, b text)")
        yield opened
        opened.execute("DROP TYPE mood; DROP TYPE pair")


def asked(
    connection: psycopg.Connection,
    statement: str,
    parameter: bytes | None = None,
    oid: int = 0,
    form: int = 0,
    result: int = 0,
) -> tuple[bytes | None, int, int]:
    """The one value of a statement's answer, its type and modifier."""
    parameters = [parameter] if oid else []
    answer = connection.pgconn.exec_params(
        statement.encode(), parameters, [oid] * len(parameters), [form] * len(parameters), result
    )
    assert answer.status == pq.ExecStatus.TUPLES_OK, (answer.error_message.decode(), statement, parameter)
    return answer.get_value(0, 0), answer.ftype(0), answer.fmod(0)


@pytest.mark.parametrize("declared", VALUES)
@pytest.mark.parametrize("way", WAYS)
def test_the_server_takes_it(connection: psycopg.Connection, declared: str, way: str) -> None:
    """Each type's value, replaced in each way, is a value of the type to the server, as text and in binary, and
    the same in both."""
    if (
        declared == "xml"
        and not connection.execute("SELECT 1 FROM pg_config WHERE setting LIKE '%with-libxml%'").fetchone()
    ):
        pytest.skip("this server knows no XML")
    shown: list[bytes | None] = []
    for form in (0, 1):
        literal = VALUES[declared].replace("'", "''")
        value, oid, modifier = asked(connection, f"SELECT '{literal}'::{declared}", result=form)
        assert value is not None
        made = Replacement(way, KEY, oid, modifier, bool(form)).replace(value)
        assert made != value or declared in ("int8range", "datemultirange")
        back, _, _ = asked(connection, f"SELECT $1::{declared}::text", made, oid, form)
        shown.append(back)
        # The server neither cuts it nor reads it as something else.
        if made is not None and not form:
            same, _, _ = asked(connection, f"SELECT $1::{declared}", made, oid)
            assert same == made
    assert shown[0] == shown[1]
    if way != "null" and declared not in ("mood", "mood[]", "pair"):
        assert shown[0] is not None


TABLE = "id int8, mail varchar(20), born date, paid numeric(8,2), notes text, tags text[], doc jsonb"
ROWS = """SELECT i, 'p' || i || '@corp.example', date '1950-01-01' + i, i * 1.25,
    CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN E'tab\\t "quoted",\\n\\\\ line' WHEN 2 THEN '' ELSE '\\.' END,
    ARRAY['a', i::text], jsonb_build_object('n', i) FROM generate_series(1, 50) i"""
COPIES: dict[str, str] = {
    "text": "(FORMAT text)",
    "bars": "(FORMAT text, DELIMITER '|', NULL 'nil')",
    "csv": "(FORMAT csv)",
    "semicolons": "(FORMAT csv, DELIMITER ';', NULL 'NULL', QUOTE '''', ESCAPE '\\', FORCE_QUOTE *, HEADER)",
    "binary": "(FORMAT binary)",
}


def copying(which: str, plan: Plan) -> Copy:
    match which:
        case "text":
            return TextCopy(plan)
        case "bars":
            return TextCopy(plan, b"|", b"nil")
        case "csv":
            return CsvCopy(plan)
        case "semicolons":
            return CsvCopy(plan, b";", b"NULL", b"'", b"\\", header=True)
    return BinaryCopy(plan)


@pytest.mark.parametrize("which", COPIES)
@pytest.mark.parametrize("way", ["redact", "hash", "fake", "null"])
def test_copies_are_read_again(connection: psycopg.Connection, which: str, way: str) -> None:
    """What COPY sends, rewritten, is taken by COPY FROM: masked columns are replaced, the others are the same."""
    connection.execute("DROP TABLE IF EXISTS before, after")
    connection.execute(f"CREATE TEMP TABLE before ({TABLE}); CREATE TEMP TABLE after ({TABLE})")
    connection.execute("INSERT INTO before " + ROWS)
    form = which == "binary"
    plan = Plan(
        [
            None,
            Replacement(way, KEY, 1043, 24, form),
            Replacement(way, KEY, 1082, -1, form),
            Replacement(way, KEY, 1700, ((8 << 16) | 2) + 4, form),
            None,
            None,
            Replacement(way, KEY, 3802, -1, form),
        ]
    )
    copy = copying(which, plan)
    messages = []
    with connection.cursor().copy(f"COPY before TO STDOUT {COPIES[which]}") as source:
        for piece in source:
            made = copy.feed(b"d" + struct.pack("!I", len(piece) + 4) + bytes(piece))
            messages.append(made[5:])
            assert len(made) == 1 + int.from_bytes(made[1:5], "big")
    assert copy.finish() == b""
    options = COPIES[which].replace("FORCE_QUOTE *, ", "")
    with connection.cursor().copy(f"COPY after FROM STDIN {options}") as target:
        for message in messages:
            target.write(message)
    joined = "FROM before b FULL JOIN after a USING (id)"
    counted = connection.execute(
        f"SELECT count(*), count(*) FILTER (WHERE b.notes IS NOT DISTINCT FROM a.notes AND b.tags = a.tags), "
        f"count(*) FILTER (WHERE b.mail = a.mail OR b.born = a.born OR b.paid = a.paid OR b.doc = a.doc) {joined}"
    ).fetchone()
    assert counted == (50, 50, 0)
    assert plan.counts == [0, 50, 50, 50, 0, 0, 50]
    if way == "hash":
        mails = connection.execute("SELECT count(DISTINCT mail) FROM after").fetchone()
        assert mails == (50,)


def test_text_and_binary_are_the_same(connection: psycopg.Connection) -> None:
    """Values that the server sends in both formats have the same hash and the same fake."""
    for literal, declared in (
        ("7", "int4"),
        ("7.50", "numeric"),
        ("2024-01-01 10:00+02", "timestamptz"),
        ("x", "text"),
    ):
        statement = f"SELECT '{literal}'::{declared}"
        (shown, oid, _), (packed, _, _) = asked(connection, statement), asked(connection, statement, result=1)
        assert shown is not None and packed is not None
        for way in ("hash", "fake"):
            made = Replacement(way, KEY, oid, -1, True).replace(packed)
            assert made is not None
            assert text_of(oid, made).encode() == Replacement(way, KEY, oid).replace(shown)
