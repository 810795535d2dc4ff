"""psycopg 3 can't tell the agent from the server: each scenario's observations are the same.

A scenario takes a libpq connection string and returns what it saw, without process ids and times.
"""

from __future__ import annotations

import datetime
import decimal
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tests.e2e.endpoint import Endpoint

Scenario = Callable[[str], Any]
SCENARIOS: list[Scenario] = []


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


def failure(connection: psycopg.Connection[Any], statement: str, *parameters: Any) -> tuple[Any, ...]:
    """The error that `statement` gets, as the client library tells it."""
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(statement.encode(), parameters or None)
    diag = caught.value.diag
    return (
        type(caught.value).__name__,
        diag.sqlstate,
        diag.message_primary,
        diag.message_detail,
        diag.statement_position,
    )


@scenario
def values_of_many_types(dsn: str) -> Any:
    """Parameters and results in text and in binary."""
    values = [
        1,
        -(2**40),
        2**80,
        1.5,
        float("inf"),
        decimal.Decimal("12.3400"),
        "text with ' and \\ and ✓",
        b"\0\xff binary",
        True,
        None,
        datetime.date(2026, 2, 28),
        datetime.datetime(2026, 2, 28, 12, 30, 1, 5, tzinfo=datetime.UTC),
        datetime.timedelta(days=3, seconds=5),
        uuid.UUID(int=7),
        [1, 2, None],
        ["a", "b"],
        Jsonb({"a": [1, None, "x"]}),
    ]
    seen = []
    with psycopg.connect(dsn) as connection:
        for binary in (False, True):
            for value in values:
                cursor = connection.cursor(binary=binary)
                marker = "%b" if binary and not isinstance(value, (type(None), decimal.Decimal)) else "%s"
                cursor.execute(f"SELECT {marker} AS value".encode(), (value,))
                seen.append(cursor.fetchall())
    return repr(seen)


@scenario
def transactions_and_errors(dsn: str) -> Any:
    """A failed statement aborts the transaction; savepoints bring it back."""
    seen: list[Any] = []
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TEMP TABLE t (a int PRIMARY KEY)")
        with connection.transaction():
            connection.execute("INSERT INTO t VALUES (1)")
            with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
                connection.execute("INSERT INTO t VALUES (1)")
            seen.append(connection.execute("SELECT count(*) FROM t").fetchone())
        seen.append(failure(connection, "SELECT 1/0"))
        seen.append(connection.info.transaction_status.name)
        seen.append(failure(connection, "SELECT 1"))
        connection.rollback()
        seen.append(failure(connection, "SELECT * FROM t WHERE x = %s", 1))
        connection.rollback()
        seen.append(failure(connection, "SELECT %s::int", "many"))
    return seen


@scenario
def pipeline(dsn: str) -> Any:
    """Many statements under way at once, one of them wrong, two syncs."""
    seen: list[Any] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        with connection.pipeline() as line:
            cursors = [connection.execute("SELECT %s::int * 2", (i,)) for i in range(300)]
            line.sync()
            seen.append(sum(row[0] for cursor in cursors for row in cursor))
        with pytest.raises(psycopg.errors.DivisionByZero), connection.pipeline() as line:
            connection.execute("SELECT 1")
            connection.execute("SELECT 1/0")
            connection.execute("SELECT 2")
            line.sync()
        seen.append(connection.execute("SELECT 'after'").fetchone())
    return seen


@scenario
def libpq_pipeline(dsn: str) -> Any:
    """libpq's pipeline mode by hand: an error between two syncs, and a request to flush."""
    seen: list[Any] = []
    connection = psycopg.connect(dsn, autocommit=True)
    libpq = connection.pgconn
    libpq.enter_pipeline_mode()
    for group in (
        [b"SELECT 1", b"SELECT 1/0", b"SELECT 3"],
        [b"SELECT 4"],
        [b"BEGIN", b"SELEC", b"SELECT 5"],
        [b"ROLLBACK"],
    ):
        for statement in group:
            libpq.send_query_params(statement, None)
        libpq.pipeline_sync()
    syncs = 0
    while syncs < 4:
        result = libpq.get_result()
        if result is None:
            continue
        syncs += result.status == psycopg.pq.ExecStatus.PIPELINE_SYNC
        message = result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY)
        seen.append((psycopg.pq.ExecStatus(result.status).name, message, result.ntuples and result.get_value(0, 0)))
    libpq.send_query_params(b"SELECT 6", None)
    libpq.send_flush_request()
    libpq.flush()
    first = libpq.get_result()
    seen.append(first and first.get_value(0, 0))
    libpq.pipeline_sync()
    while (result := libpq.get_result()) is None or result.status != psycopg.pq.ExecStatus.PIPELINE_SYNC:
        pass
    libpq.exit_pipeline_mode()
    seen.append(connection.execute("SELECT 7").fetchone())
    connection.close()
    return seen


@scenario
def copy_out(dsn: str) -> Any:
    """COPY TO STDOUT as text and binary, by rows and by blocks, and one that fails on its way."""
    seen: list[Any] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.cursor()
        query = "COPY (SELECT i, 'row ' || i, i * 0.5 FROM generate_series(1, 20000) i) TO STDOUT"
        with cursor.copy(query) as copy:
            seen.append(sum(len(block) for block in copy))
        with cursor.copy(query + " (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "numeric"])
            rows = list(copy.rows())
            seen += [len(rows), rows[0], rows[-1]]
        with (
            pytest.raises(psycopg.errors.DivisionByZero),
            cursor.copy("COPY (SELECT 1 / (5000 - i) FROM generate_series(1, 10000) i) TO STDOUT") as copy,
        ):
            seen.append(sum(1 for _ in copy.rows()))
        seen.append(connection.execute("SELECT 'after'").fetchone())
    return seen


@scenario
def copy_in(dsn: str) -> Any:
    """COPY FROM STDIN as text and binary, refused by the server, and given up by the client."""
    seen: list[Any] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TEMP TABLE t (a int, b text)")
        with cursor.copy("COPY t FROM STDIN") as copy:
            for i in range(20_000):
                copy.write_row((i, f"row {i}" if i % 3 else None))
        seen.append(cursor.rowcount)
        with cursor.copy("COPY t FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            for i in range(1000):
                copy.write_row((i, "x" * (i % 50)))
        seen.append(cursor.rowcount)
        with (
            pytest.raises(psycopg.errors.InvalidTextRepresentation) as caught,
            cursor.copy("COPY t FROM STDIN") as copy,
        ):
            copy.write("nonsense\tx\n" * 100_000)
        seen.append(caught.value.diag.context)
        with pytest.raises(RuntimeError), cursor.copy("COPY t FROM STDIN") as copy:
            copy.write("1\tx\n")
            raise RuntimeError("the client gave up")
        seen.append(connection.execute("SELECT count(*), sum(a), sum(length(b)) FROM t").fetchall())
    return seen


@scenario
def server_side_cursors(dsn: str) -> Any:
    """Named cursors, scrollable, holdable; and client cursors that stream."""
    seen: list[Any] = []
    with psycopg.connect(dsn) as connection:
        with connection.cursor("named", scrollable=True) as named:
            named.itersize = 7
            named.execute("SELECT id, name FROM people ORDER BY id")
            seen.append([row[0] for row in named][:20])
            named.scroll(10, mode="absolute")
            seen.append(named.fetchmany(3))
        with connection.cursor("held", withhold=True) as held:
            held.execute("SELECT id FROM people WHERE id < 5 ORDER BY id")
            connection.commit()
            seen.append(held.fetchall())
        seen.append(sum(row[0] for row in connection.cursor().stream("SELECT * FROM generate_series(1, 3000)")))
    return seen


@scenario
def prepared_statements(dsn: str) -> Any:
    """Statements prepared by the driver, executed often, invalidated by a change of the table."""
    seen: list[Any] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.prepare_threshold = 2
        connection.execute("CREATE TEMP TABLE t AS SELECT i AS a FROM generate_series(1, 9) i")
        for i in range(8):
            seen.append(connection.execute("SELECT * FROM t WHERE a > %s ORDER BY a", (i,)).fetchall())
        connection.execute("ALTER TABLE t ADD b int DEFAULT 5")
        try:
            seen.append(connection.execute("SELECT * FROM t WHERE a > %s ORDER BY a", (7,)).fetchall())
        except psycopg.Error as error:
            seen.append(error.diag.message_primary)
        names = connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        seen.append(names)
        seen.append(connection.execute("SELECT %s", ("forced",), prepare=True).fetchone())
        connection.execute("DEALLOCATE ALL")
        seen.append(connection.execute("SELECT %s", ("again",), prepare=True).fetchone())
    return seen


@scenario
def many_at_once(dsn: str) -> Any:
    """executemany with and without results, and several statements in one string."""
    seen: list[Any] = []
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TEMP TABLE t (a int, b text)")
        cursor.executemany("INSERT INTO t VALUES (%s, %s)", [(i, str(i)) for i in range(500)])
        seen.append(cursor.rowcount)
        cursor.executemany("SELECT b FROM t WHERE a = %s", [(1,), (2,), (900,)], returning=True)
        while True:
            seen.append(cursor.fetchall())
            if not cursor.nextset():
                break
        cursor.execute("SELECT 1 AS a; SELECT 2 AS b; SET work_mem = '5MB'; SELECT current_setting('work_mem') AS c")
        while True:
            seen.append((cursor.statusmessage, cursor.fetchall() if cursor.description else None))
            if not cursor.nextset():
                break
        statement = sql.SQL("SELECT {} AS {}").format(sql.Literal("it's"), sql.Identifier('a "name"'))
        seen.append(connection.execute(statement).fetchone())
        seen.append(connection.execute("").statusmessage)
    return seen


@scenario
def notices_and_notifications(dsn: str) -> Any:
    """Notices arrive with all their fields; notifications at once, also without a statement under way."""
    seen: list[Any] = []
    with psycopg.connect(dsn, autocommit=True) as connection, psycopg.connect(dsn, autocommit=True) as other:
        connection.add_notice_handler(lambda d: seen.append((d.severity, d.message_primary, d.message_hint, d.context)))
        connection.execute("SELECT shout('hey')")
        connection.execute("LISTEN alarm")
        other.execute("SELECT pg_notify('alarm', 'number ' || i) FROM generate_series(1, 50) i")
        for note in connection.notifies(timeout=10, stop_after=50):
            seen.append((note.channel, note.payload))
        threading.Timer(0.3, lambda: other.execute("NOTIFY alarm, 'late'")).start()
        for note in connection.notifies(timeout=10, stop_after=1):
            seen.append((note.channel, note.payload))
    return seen


@scenario
def cancelling(dsn: str) -> Any:
    """Cancelling by the old request and by the safe one; the session lives on."""
    seen: list[Any] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for cancel in (connection.cancel, connection.cancel_safe):
            timer = threading.Timer(0.3, cancel)
            timer.start()
            began = time.monotonic()
            seen.append(failure(connection, "SELECT pg_sleep(20)"))
            timer.join()
            seen.append(time.monotonic() - began < 10)
            seen.append(connection.execute("SELECT 'alive'").fetchone())
    return seen


@scenario
def large_objects(dsn: str) -> Any:
    """Large objects by libpq's fast path would be FunctionCall; here by SQL, 1 MiB there and back."""
    data = bytes(range(256)) * 4096
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT lo_from_bytea(0, %b)", (data,)).fetchone()
        assert found
        cursor = connection.cursor(binary=True)
        back = cursor.execute("SELECT lo_get(%s::oid)", found).fetchone()
        size = connection.execute("SELECT length(lo_get(%s::oid, 1000, 50))", found).fetchone()
        connection.execute("SELECT lo_unlink(%s::oid)", found)
    return back == (data,), size


@scenario
def large_values(dsn: str) -> Any:
    """A parameter and a result of 20 MB, and a row of 1,600 columns."""
    seen: list[Any] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        text = "0123456789" * 2_000_000
        seen.append(connection.execute("SELECT length(%s), md5(%s)", (text, text)).fetchone())
        row = connection.execute("SELECT repeat('x', 20000000)").fetchone()
        assert row
        seen.append(len(row[0]))
        columns = ", ".join(f"{i} AS c{i}" for i in range(1600))
        seen.append(connection.execute(f"SELECT {columns}".encode()).fetchone())
        long = "SELECT " + " + ".join(["1"] * 2_000)
        seen.append(failure(connection, "SELECT '" + "y" * 3_000_000))
        seen.append(connection.execute(long.encode()).fetchone())
    return seen


@scenario
def connection_information(dsn: str) -> Any:
    """What the server reports at the start and on a change."""
    with psycopg.connect(
        dsn, autocommit=True, application_name="mine", options="-c geqo=off -c work_mem=7MB"
    ) as connection:
        names = ["server_version", "server_encoding", "client_encoding", "application_name", "is_superuser"]
        names += ["session_authorization", "DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes"]
        names += ["standard_conforming_strings", "in_hot_standby", "default_transaction_read_only", "search_path"]
        seen = {name: connection.info.parameter_status(name) for name in names}
        asked = connection.execute("SELECT current_setting('geqo'), current_setting('work_mem')").fetchone()
        connection.execute("SET application_name = 'changed'; SET client_encoding = 'LATIN1'")
        latin = connection.execute("SELECT 'ü'::text").fetchone()
        later = [connection.info.parameter_status(name) for name in ("application_name", "client_encoding")]
    return seen, asked, later, latin


@pytest.mark.parametrize("function", SCENARIOS, ids=lambda function: function.__name__)
def test_same_as_direct(function: Scenario, direct: Endpoint, through: Endpoint) -> None:
    """psycopg, plain text, PostgreSQL 18."""
    assert function(through.dsn()) == function(direct.dsn())


@pytest.mark.parametrize("function", [cancelling, copy_in, copy_out, pipeline], ids=lambda function: function.__name__)
def test_same_over_tls(function: Scenario, direct15: Endpoint, through15: Endpoint) -> None:
    """psycopg, TLS on both sides, PostgreSQL 15."""
    assert function(through15.dsn()) == function(direct15.dsn())


@pytest.mark.parametrize("binding", ["disable", "prefer"])
def test_tls_negotiations(through15: Endpoint, binding: str) -> None:
    """TLS asked for and TLS at once (sslnegotiation=direct) both end in an encrypted, verified session."""
    words = {"channel_binding": binding}
    for extra in ({}, {"sslnegotiation": "direct"}) if "hoop_sa" in through15.password else ({},):
        with psycopg.connect(through15.dsn(**words, **extra)) as connection:
            assert connection.pgconn.ssl_in_use
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_two_threads(through: Endpoint) -> None:
    """Sixteen connections at once, each with its own results."""
    wrong: list[object] = []

    def work(number: int) -> None:
        with psycopg.connect(through.dsn(), autocommit=True) as connection:
            for i in range(30):
                row = connection.execute("SELECT %s, %s, repeat('z', 5000)", (number, i)).fetchone()
                if row is None or row[:2] != (number, i):
                    wrong.append(row)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
