"""asyncpg, which speaks the protocol itself and mostly in binary, can't tell the agent from the server."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import io
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from tests.e2e.endpoint import Endpoint

Scenario = Callable[[Any], Awaitable[Any]]
SCENARIOS: list[Scenario] = []


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


async def connect(endpoint: Endpoint, **extra: Any) -> Any:
    return await asyncpg.connect(
        host=endpoint.host,
        port=endpoint.port,
        user=endpoint.user,
        password=endpoint.password,
        database=endpoint.database,
        ssl=False,
        **extra,
    )


@scenario
async def values(connection: Any) -> Any:
    """Every common type, binary both ways, in arrays and composites too."""
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    row = await connection.fetchrow(
        "SELECT $1::int8, $2::float8, $3::numeric, $4::text, $5::bytea, $6::bool, $7::uuid, $8::timestamptz, $9::date,"
        " $10::interval, $11::int[], $12::text[][], $13::jsonb, $14::inet, $15::int4range, NULL::int, ROW(1, 'a'),"
        " (SELECT p FROM people p WHERE id = 3)",
        2**60,
        0.1,
        decimal.Decimal("-1.500"),
        "✓",
        b"\0\1",
        True,
        uuid.UUID(int=5),
        moment,
        moment.date(),
        datetime.timedelta(hours=5),
        [1, None, 3],
        [["a", "b"], ["c", "d"]],
        '{"a": [1]}',
        "10.0.0.1/8",
        asyncpg.Range(1, 5),
    )
    return repr(row)


@scenario
async def prepared(connection: Any) -> Any:
    """A statement described once and executed many times; its attributes and parameters."""
    statement = await connection.prepare("SELECT id, name FROM people WHERE id BETWEEN $1 AND $2 ORDER BY id")
    seen: list[Any] = [str(statement.get_attributes()), str(statement.get_parameters())]
    for i in range(1, 50, 7):
        seen.append([tuple(row) for row in await statement.fetch(i, i + 3)])
    seen.append(await statement.fetchval(5, 5, column=1))
    seen.append(statement.get_statusmsg())
    return seen


@scenario
async def cursors(connection: Any) -> Any:
    """Portals that suspend: iterated with prefetch, fetched, forwarded."""
    seen: list[Any] = []
    async with connection.transaction():
        async for row in connection.cursor("SELECT id FROM people ORDER BY id", prefetch=37):
            seen.append(row[0])
        cursor = await connection.cursor("SELECT id FROM people WHERE id > $1 ORDER BY id", 100)
        seen.append(await cursor.forward(50))
        seen.append([row[0] for row in await cursor.fetch(3)])
    return seen


@scenario
async def copies(connection: Any) -> Any:
    """COPY of a query, of records (binary) and of text."""
    await connection.execute("CREATE TEMP TABLE t (a int, b text, c timestamptz)")
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    seen: list[Any] = []
    seen.append(await connection.copy_records_to_table("t", records=[(i, str(i), moment) for i in range(5000)]))
    source = io.BytesIO(b"1\tx\t2026-01-01\n2\t\\N\t\\N\n")
    seen.append(await connection.copy_to_table("t", source=source))
    out = io.BytesIO()
    seen.append(await connection.copy_from_query("SELECT * FROM t WHERE a < $1", 100, output=out, format="binary"))
    seen.append(out.getvalue())
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.copy_to_table("t", source=io.BytesIO(b"x\ty\tz\n"))
    seen.append(str(caught.value))
    seen.append(await connection.fetchval("SELECT count(*) FROM t"))
    return seen


@scenario
async def many(connection: Any) -> Any:
    """executemany, whole and with a wrong row in it."""
    await connection.execute("CREATE TEMP TABLE t (a int PRIMARY KEY, b text)")
    seen: list[Any] = []
    await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(i, "x" * (i % 9)) for i in range(3000)])
    with pytest.raises(asyncpg.UniqueViolationError) as caught:
        await connection.executemany("INSERT INTO t VALUES ($1, $2)", [(i, "") for i in range(5000, 1000, -1)])
    seen.append((str(caught.value), caught.value.detail))
    seen.append(tuple(await connection.fetchrow("SELECT count(*), sum(a) FROM t")))
    rows = await connection.fetchmany("INSERT INTO t VALUES ($1, $2) RETURNING a", [(-1, "a"), (-2, "b")])
    seen.append([tuple(row) for row in rows])
    return seen


@scenario
async def listeners(connection: Any) -> Any:
    """Notifications and notices by callback."""
    heard: list[Any] = []
    arrived = asyncio.Event()

    def listen(_connection: Any, _pid: int, channel: str, payload: str) -> None:
        heard.append((channel, payload))
        if payload == "last":
            arrived.set()

    connection.add_log_listener(lambda _connection, notice: heard.append(str(notice)))
    await connection.execute("DO $$BEGIN RAISE NOTICE 'noticed'; END$$")
    await connection.add_listener("asy", listen)
    for payload in ("one", "two", "last"):
        await connection.execute(f"NOTIFY asy, '{payload}'")
    await asyncio.wait_for(arrived.wait(), 10)
    await connection.remove_listener("asy", listen)
    return heard


@scenario
async def cancellation(connection: Any) -> Any:
    """A timeout cancels the statement on the server; the connection stays usable."""
    seen: list[Any] = []
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await connection.execute("SELECT pg_sleep(30)", timeout=0.4)
        seen.append(await connection.fetchval("SELECT 'alive'"))
    task = asyncio.ensure_future(connection.fetch("SELECT pg_sleep(30)"))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    seen.append(await connection.fetchval("SELECT 'alive'"))
    return seen


@scenario
async def errors(connection: Any) -> Any:
    """Errors in statements, in parameters and in transactions."""
    seen: list[Any] = []
    for statement, arguments in [
        ("SELECT 1/$1::int", (0,)),
        ("SELEC", ()),
        ("SELECT * FROM nowhere", ()),
        ("SELECT $1::int", ("x",)),
    ]:
        with pytest.raises((asyncpg.PostgresError, asyncpg.DataError)) as caught:
            await connection.fetch(statement, *arguments)
        seen.append((type(caught.value).__name__, str(caught.value)))
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with connection.transaction():
            await connection.execute("CREATE TEMP TABLE gone (a int)")
            await connection.execute("SELECT 1/0")
    seen.append(await connection.fetchval("SELECT to_regclass('gone')"))
    async with connection.transaction(isolation="serializable", readonly=True):
        seen.append(await connection.fetchval("SHOW transaction_isolation"))
    await connection.reset()
    await connection.reload_schema_state()
    return seen


@pytest.mark.parametrize("function", SCENARIOS, ids=lambda function: function.__name__)
def test_same_as_direct(function: Scenario, direct: Endpoint, through: Endpoint) -> None:
    """asyncpg on PostgreSQL 18."""

    async def observe(endpoint: Endpoint) -> Any:
        connection = await connect(endpoint)
        try:
            return await function(connection)
        finally:
            await connection.close()

    assert asyncio.run(observe(through)) == asyncio.run(observe(direct))


def test_pool(through: Endpoint) -> None:
    """A pool resets its connections with the statements it always uses, and works under load."""

    async def crowd() -> int:
        words = {"host": through.host, "port": through.port, "user": through.user, "ssl": False}
        async with asyncpg.create_pool(**words, password=through.password, database=through.database) as pool:
            results = await asyncio.gather(*(pool.fetchval("SELECT $1::int", i) for i in range(500)))
        return sum(results)

    assert asyncio.run(crowd()) == sum(range(500))
