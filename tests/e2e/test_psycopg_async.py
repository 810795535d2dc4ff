"""psycopg 3's asynchronous connections: the same as direct."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from tests.e2e.endpoint import Endpoint


async def observe(dsn: str) -> list[Any]:
    """Queries, a pipeline, COPY both ways, notifications, cancellation of a task."""
    seen: list[Any] = []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute("SELECT id, name FROM people WHERE id < %s ORDER BY id", (5,))
        seen.append(await cursor.fetchall())
        async with connection.pipeline():
            cursors = [await connection.execute("SELECT %s::int", (i,)) for i in range(100)]
        seen.append([await each.fetchone() for each in cursors])
        await connection.execute("CREATE TEMP TABLE t (a int)")
        async with connection.cursor().copy("COPY t FROM STDIN") as copy:
            for i in range(1000):
                await copy.write_row((i,))
        async with connection.cursor().copy("COPY t TO STDOUT") as copy:
            seen.append([row async for row in copy.rows()])
        await connection.execute("LISTEN bell")
        await connection.execute("NOTIFY bell, 'ding'")
        async for note in connection.notifies(timeout=5, stop_after=1):
            seen.append((note.channel, note.payload))
        try:
            await asyncio.wait_for(connection.execute("SELECT pg_sleep(30)"), 0.5)
        except TimeoutError:
            seen.append("timed out")
        seen.append(await (await connection.execute("SELECT 'alive'")).fetchone())
    return seen


async def crowd(dsn: str) -> int:
    """Forty connections at once."""

    async def one(number: int) -> int:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            row = await (await connection.execute("SELECT sum(i) FROM generate_series(1, %s) i", (number,))).fetchone()
            assert row
            return int(row[0])

    return sum(await asyncio.gather(*(one(number) for number in range(1, 41))))


def test_async(direct: Endpoint, through: Endpoint) -> None:
    """An asynchronous session sees the same as direct."""
    assert asyncio.run(observe(through.dsn())) == asyncio.run(observe(direct.dsn()))


def test_async_crowd(through: Endpoint) -> None:
    """Connections of one loop don't disturb each other."""
    assert asyncio.run(crowd(through.dsn())) == sum(n * (n + 1) // 2 for n in range(1, 41))
