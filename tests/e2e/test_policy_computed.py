"""What the server computes though nothing uses it: an error that quotes a value is always foreseen."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from agent.core.sql.columns import Used, uses
from agent.core.sql.found import Wanted
from agent.core.sql.nodes import read
from tests.e2e.servers import Server
from tests.e2e.trees import Shown

SECRET = "912-84-7731"
SCHEMA = f"""
    CREATE SCHEMA a;
    CREATE TABLE a.t (id int PRIMARY KEY, n text, m text);
    CREATE TABLE a.o (id int PRIMARY KEY, x text);
    CREATE VIEW a.v AS SELECT id, m AS mm FROM a.t;
    INSERT INTO a.t SELECT i, 'n', '{SECRET}' FROM generate_series(1, 3) i;
    INSERT INTO a.o SELECT i, 'x' FROM generate_series(1, 3) i;
"""
STATEMENTS = """
select count(*) from (select id from a.t u, lateral (select u.m::int offset 0) x) q
select count(*) from (select id from a.t u, lateral (select u.m::int as v where u.id > 0 limit 1) x) q
select count(*) from (select id from a.t u left join lateral (select u.m::int as v from a.o) x on true) q
select id from (select id, m::int from a.t limit 2) s
select id from (select id, max(m::int) from a.t group by id) s
select id from (select id, max(m::int) over () from a.t) s
select id from (select id, v from (select id, m::int as v from a.t offset 0) s offset 0) t
with w as (select id, m::int from a.t offset 0) select id from w
select id from (with w as (select id, m::int as v from a.t) select id, v from w offset 0) s
select a.id from (select id, m::int as v from a.t) a full join (select id, m::int as v from a.t) b on a.id = b.id
select a.id from a.t a left join (select id, coalesce(m::int, 1) as v from a.t offset 0) b on a.id = b.id
with w as not materialized (select id, m::int as v from a.t) select a.id from w a, w b where a.id=b.id
select id from (select id, m::int as v from a.t for update) s
select a from (values (1, (select m::int from a.t where id=1))) v(a, b)
select id from (select id, m::int as v, generate_series(1,2) from a.t) s
select id from (select id, m::int as v, random() from a.t) s
select id from (select id, m::int as v from a.t order by n) s
select count(s) from (select id, m::int as v from a.t offset 0) s
select id from (select id, m::int as v from a.t offset 0) s for update
update a.o set x = 'q' from (select id, m::int as v from a.t offset 0) s where s.id = o.id
delete from a.o using (select id, m::int as v from a.t) s where s.id = o.id
merge into a.o n using (select id, m::int as v from a.t) s on s.id = n.id when matched then do nothing
insert into a.o (id) select id + 50 from (select id, m::int as v from a.t offset 0) s
with w as (select id, m::int as v from a.t) delete from a.o using w where w.id = o.id
with w as (select id from (select id, m::int as v from a.t) x union all select 1) select id from w
select id from a.t where id in (select id from (select id, m::int v from a.t offset 0) s)
select x.id from (select id, (select m::int) as s from a.t offset 0) x
select distinct id from (select id, m::int as v from a.t offset 0) s
with recursive r as (select id, m::int as v from a.t) select id from r
select id from (select id, m::int as v from a.t offset 0) a join a.o b using (id)
with w as (select id, m::int as v from a.t) select id from w for share
with w as (select id, m::int as v from a.t) update a.o set x='z' from w where w.id=o.id
select 1 where exists (select s from (select id, m::int v from a.t offset 0) s)
select id from (select id, m::int as v from a.t offset 0) s union select id from a.o
select count(*) from (select id, m::int as v from a.t offset 0) s
select exists (select id from (select id, m::int as v from a.t offset 0) s)
select exists (select id, m::int from a.t limit 1)
select 1 where 99 not in (select id from (select id, m::int as v from a.t offset 0) s)
select array(select id from (select id, m::int as v from a.t offset 0) s)
select id from (select id, m::int as v from a.t group by id, m) s
select id from (select id, m::int as v from a.t group by id, m::int) s
with w as (select distinct on (id) id, m::int v from a.t) select id from w
select 1 from a.t u, lateral (select * from generate_series(1, 1) g where u.m::int > 0 offset 0) x
select id from (select id, m::int as v from a.t union all select id, 1 from a.o) s
select id from (select id, m::int as v from a.t union all (select id, 1 from a.o limit 1) offset 0) s
select s is null from (select id, m::int as v from a.t offset 0) s
select (s).id from (select id, m::int as v from a.t offset 0) s
select row_to_json(s)->'id' from (select id, m::int as v from a.t offset 0) s
select id from (select id, m::int as v from a.t offset 0) s group by rollup(id)
select 1 from a.o n where exists (select 1 from (select id, m::int v from a.t offset 0) s where s.id = n.id)
select id from (select id, m::int as v from a.t order by m::int offset 0) s
select (v is null) from (select id, m::int as v from a.t offset 0) s
select id from a.v c, lateral (select c.mm::int offset 0) d
select case when false then m::int else 1 end from a.t
select id from (select id, row_number() over w from a.t window w as (order by m::int)) s
select id from a.t window w as (order by m::int)
select a from (values (1, (select max(m::int) from a.t)), (2, 3)) v(a, b)
with recursive w(n, v) as (select 1, m::int from a.t union all select n + 1, v from w where n < 2) select n from w
with w as (insert into a.o (id) values (90) returning id, (select max(m::int) from a.t)) select id from w
select count(*) from (select m::int as v, id from a.t) a join a.o b using (id)
with w as (select id, m::int v from a.t where id in (select g from generate_series(1,2) g)) select count(*) from w
with w as materialized (select id, m::int v from a.t) select count(*) from w
with w as materialized (select id, m::int v from a.t) select exists (select 1 from w)
"""


@pytest.fixture(scope="module", params=["pg15", "pg18"])
def shown(request: pytest.FixtureRequest) -> Iterator[Shown]:
    server = request.getfixturevalue(request.param)
    assert isinstance(server, Server)
    server.sql("CREATE DATABASE computed")
    server.sql(SCHEMA, database="computed")
    shown = Shown(server.dsn(database="computed"))
    yield shown
    shown.close()
    server.sql("DROP DATABASE computed WITH (FORCE)")


def told(shown: Shown, statement: str) -> Used:
    nodes = read(shown.tree(statement))
    while isinstance(found := uses(nodes, shown.facts), Wanted):
        shown.ask(found)
    return found


@pytest.mark.parametrize("statement", STATEMENTS.strip().split("\n"))
def test_errors_are_foreseen(shown: Shown, statement: str) -> None:
    """A statement whose error quotes a column's value lets something out of that column, whichever part of it the
    server computes or leaves out."""
    foreseen = "a.t.m" in told(shown, statement).shown
    error = ""
    try:
        with shown.connection.transaction(force_rollback=True):
            shown.run(statement)
    except psycopg.Error as problem:
        error = str(problem)
    assert foreseen or SECRET not in error
