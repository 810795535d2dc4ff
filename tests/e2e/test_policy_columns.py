"""Which columns statements let something out of, by the trees of real servers."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent.core.policy.masks import Masks
from agent.core.sql.columns import UNKNOWN_COLUMN, Used, of_table, uses
from agent.core.sql.found import Wanted
from agent.core.sql.nodes import read
from agent.core.sql.statements import EMPTY, Unreadable, split
from schemas.identity import Identity
from schemas.policy import Mask, Policy
from tests.e2e.servers import Server
from tests.e2e.trees import MOST_ROUNDS, Shown

SHARED = Path(os.environ.get("HOOPCTL_SHARED") or Path(__file__).parents[3] / "shared") / "bypass"
SCHEMA = """
    CREATE SCHEMA a;
    CREATE TABLE a.t (id int PRIMARY KEY, n text, m text UNIQUE, j jsonb, arr text[], d date, k int);
    CREATE TABLE a.o (id int PRIMARY KEY, t int, x text);
    CREATE TYPE a.pair AS (p text, q text);
    CREATE TABLE a.c (id int, v a.pair);
    CREATE VIEW a.v AS SELECT id, n, m AS mm, upper(m) AS um FROM a.t;
    CREATE VIEW a.vv AS SELECT id, n, mm FROM a.v WHERE id > 0;
    CREATE VIEW a.vq AS SELECT id FROM a.t WHERE m > 'a';
    CREATE VIEW a.vall AS SELECT id, n, m FROM a.t UNION ALL SELECT id, x, x FROM a.o;
    CREATE VIEW a.noisy AS SELECT id, random()::text || m AS r FROM a.t;
    CREATE VIEW a.rows AS SELECT id, generate_series(1, length(m)) AS g FROM a.t;
    CREATE MATERIALIZED VIEW a.mv AS SELECT v.id, v.n || x AS nx, v.um FROM a.v JOIN a.o ON o.x = v.mm;
    CREATE FUNCTION a.other(int) RETURNS text LANGUAGE sql STABLE AS 'SELECT m FROM a.t WHERE id = $1';
    CREATE MATERIALIZED VIEW a.deep AS SELECT id, a.other(id) AS o, lower(n) AS n, (SELECT a.other(o.id)) AS s,
        (SELECT max(m) FROM a.t WHERE k = o.t) AS q FROM a.o LEFT JOIN LATERAL (SELECT x AS n) l ON true;
    CREATE VIEW a.over AS SELECT id, um AS z FROM a.mv;
    CREATE TABLE a.g (id int, m text, up text GENERATED ALWAYS AS (upper(m)) STORED);
    CREATE TABLE a.p (id int, m text) PARTITION BY LIST (id);
    CREATE TABLE a.p1 PARTITION OF a.p FOR VALUES IN (1);
    CREATE TABLE a.e (own text) INHERITS (a.o);
    CREATE VIEW a.ins AS SELECT id, m FROM a.t;
    CREATE FUNCTION a.trig() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER t INSTEAD OF UPDATE ON a.ins FOR EACH ROW EXECUTE FUNCTION a.trig();
    CREATE FUNCTION a.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.001 AS 'BEGIN RETURN true; END';
    CREATE FUNCTION a.same(text, int) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
    CREATE OPERATOR a.=== (LEFTARG = text, RIGHTARG = int, FUNCTION = a.same);
    CREATE FUNCTION a.some() RETURNS SETOF a.t LANGUAGE sql AS 'SELECT * FROM a.t';
    CREATE TABLE a.sec (id int, m text);
    ALTER TABLE a.sec ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON a.sec USING (m = current_user);
    GRANT USAGE ON SCHEMA a TO app;
    GRANT ALL ON ALL TABLES IN SCHEMA a TO app;
"""
T = "a.t.id a.t.n a.t.m a.t.j a.t.arr a.t.d a.t.k"
CASES: dict[str, str] = {
    # what is put out
    "select id, n from a.t": "a.t.id a.t.n",
    "select * from a.t": T,
    "select t from a.t": T,
    "select (t).m from a.t": "a.t.m",
    "select t.ctid, t.tableoid from a.t": "",
    "select count(*) from a.t": "",
    "select x.b from a.t x (a, b)": "a.t.n",
    "select 1 from a.t": "",
    "select max(m) from a.t": "a.t.m",
    "select string_agg(n, ',' order by m) from a.t": "a.t.n a.t.m",
    "select count(n) filter (where m > 'a') from a.t": "a.t.n a.t.m",
    "select json_build_object('m', m) from a.t": "a.t.m",
    "select grouping(n) from a.t group by rollup (n)": "?a.t.n",
    "select coalesce(n, m), case when id = 1 then m end, greatest(n, m), nullif(m, n) from a.t": "a.t.id a.t.n a.t.m",
    "select arr[1], j['m'], (v).p from a.t, a.c": "a.t.arr a.t.j a.c.v",
    "select row_number() over (order by m) from a.t": "?a.t.m",
    "select sum(k) over (partition by n order by id rows 2 preceding) from a.t": "a.t.k ?a.t.n ?a.t.id",
    "select lag(m) over w from a.t window w as (order by id)": "a.t.m ?a.t.id",
    "values ((select m from a.t))": "a.t.m",
    "select array(select m from a.t order by id)": "a.t.m ?a.t.id",
    "select (select m from a.t where t.id = o.t) from a.o": "a.t.m ?a.t.id ?a.o.t ?a.e.t",
    # how many have a value
    "select count(m), count(d) over (order by id) from a.t group by id": "?a.t.id",
    "select count(t) from a.t": "",
    "select m is null, n is not null from a.t": "",
    "select count(distinct m) from a.t": "a.t.m",
    "select count(nullif(m, 'x')) from a.t": "a.t.m",
    "select count(e) from (select nullif(m, 'x') as e from a.t) s": "a.t.m",
    "select count(mm) from a.v": "",
    "select count(um) from a.v": "a.t.m",
    "select count(e) from (select m as e from a.t union all select x from a.o) s": "",
    "select nullif(m, 'x') is null from a.t": "a.t.m",
    "select count(up) from a.g": "a.g.m",
    "select count(s) from (select upper(m) from a.t) s": "a.t.m",
    # what rows are chosen by
    "select id from a.t where m = 'x'": "a.t.id ?a.t.m",
    "select id from a.t where lower(m) = lower('X') and m like 'a%' or m in ('b', 'c')": "a.t.id ?a.t.m",
    "select id from a.t where d > now()": "a.t.id ?a.t.d",
    "select id from a.t where m::int = 1": "a.t.id a.t.m",
    "select id from a.t where a.leak(m)": "a.t.id a.t.m",
    "select id from a.t where m operator(a.===) 1": "a.t.id a.t.m",
    "select id from a.t where 1 / length(m) > 0": "a.t.id a.t.m",
    "select id from a.t where m > 'a' is true": "a.t.id ?a.t.m",
    "select m > 'a' from a.t": "a.t.m",
    "select id from a.t order by m": "a.t.id ?a.t.m",
    "select id from a.t order by a.leak(m)": "a.t.id a.t.m",
    "select n from a.t group by n having max(m) > 'x'": "a.t.n a.t.m",
    "select count(*) from a.t group by m": "?a.t.m",
    "select m, count(*) from a.t group by m": "a.t.m",
    "select count(*) from a.t group by upper(m), n": "?a.t.m ?a.t.n",
    "select distinct n from a.t": "a.t.n",
    "select distinct on (m) n from a.t": "a.t.n ?a.t.m",
    "select t.id from a.t join a.o on o.x = t.m": "a.t.id ?a.t.m ?a.o.x ?a.e.x",
    "select t.n from a.t join a.o using (id)": "a.t.n ?a.t.id ?a.o.id ?a.e.id",
    "select id from a.t full join a.o using (id)": "a.t.id a.o.id a.e.id",
    "select jj from (a.t join a.o using (id)) as jj": f"{T} a.o.t a.o.x a.e.t a.e.x ?a.o.id ?a.e.id",
    "select y.m from (a.t join a.o using (id)) as y": "a.t.m ?a.t.id ?a.o.id ?a.e.id",
    "select id from a.t where exists (select * from a.o where o.x = t.m)": "a.t.id ?a.t.m ?a.o.x ?a.e.x",
    "select exists (select m from a.t)": "",
    "select exists (select m::int from a.t offset 0)": "a.t.m",
    "select id from a.o where x in (select m from a.t)": "a.o.id a.e.id ?a.o.x ?a.e.x ?a.t.m",
    "select x in (select m from a.t) from a.o": "a.o.x a.e.x a.t.m",
    "select id from a.o where x = (select upper(m) from a.t)": "a.o.id a.e.id ?a.o.x ?a.e.x ?a.t.m",
    "select id from a.t limit (select length(m) from a.t)": "a.t.id a.t.m",
    "select id from a.t for update": "a.t.id",
    "select id from a.t tablesample system (10)": "a.t.id",
    # sub-selects, WITH, set operations
    "select id from (select * from a.t) s": "a.t.id",
    "select s from (select id, m from a.t) s": "a.t.id a.t.m",
    "select id from (select id, m from a.t order by n limit 3) s": "a.t.id ?a.t.n",
    "select id from (select id, upper(m) as u from a.t) s": "a.t.id",
    "select id from (select id, a.leak(m) as u from a.t) s": "a.t.id a.t.m",
    "select id from (select id, generate_series(1, length(m)) from a.t) s": "a.t.id a.t.m",
    "select id from (select distinct on (id) id, m::int from a.t) s": "a.t.id a.t.m",
    "select 1 from (select distinct id, m from a.t) s": "?a.t.id ?a.t.m",
    "with w as (select id, m from a.t) select id from w": "a.t.id",
    "with w as (select id, m::int as i from a.t) select id from w": "a.t.id",
    "with w as materialized (select id, m::int as i from a.t) select id from w": "a.t.id a.t.m",
    "with w as materialized (select id, i from (select id, m::int as i from a.t) s) select id from w": "a.t.id a.t.m",
    "with w as (select id, m::int as i, random() from a.t) select id from w": "a.t.id a.t.m",
    "select id from (select id, m::int as i from a.t offset 0) s for update": "a.t.id a.t.m",
    "select count(s) from (select id, m::int as i from a.t offset 0) s": "a.t.m",
    "update a.o set x = 'x' from (select id, m::int as i from a.t offset 0) s where s.id = o.id":
        "?a.t.id ?a.o.id ?a.e.id a.t.m",
    "with w as (select id, m::int as i from a.t offset 0) delete from a.o using w where w.id = o.id":
        "?a.t.id ?a.o.id ?a.e.id a.t.m",
    "with w as (select m::int from a.t) select 1": "",
    "with w as materialized (select id, upper(m) from a.t) select id from w": "a.t.id",
    "with w as (select id, m from a.t) select (select m from w limit 1) from w": "a.t.m",
    "with recursive w(n, v) as (select 1, m from a.t union all select n + 1, v from w where n < 3) select v from w":
        "a.t.m",
    "with recursive w(n, v) as (select 1, m from a.t union all select n + 1, v from w where n < 3) select n from w": "",
    "with recursive w(n, v) as (select 1, m from a.t union select n + 1, v from w where n < 3) select n from w":
        "?a.t.m",
    "with recursive w(i) as (select id from a.t union all select i from w) search depth first by i set s"
    " select s from w":
        "a.t.id",
    "with x as (select m from a.t), y as (select * from x) select * from (select * from y) z": "a.t.m",
    "with x as (delete from a.t where id = 1 returning id, m) select id from x": "a.t.id",
    "with x as (update a.t set n = m returning id) select 1": "a.t.m",
    "select 'x' union all select m from a.t": "a.t.m",
    "select id from (select id, m from a.t union all select id, x from a.o) s": "a.t.id a.o.id a.e.id",
    "select 1 from (select id, m from a.t union select id, x from a.o) s":
        "?a.t.id ?a.t.m ?a.o.id ?a.e.id ?a.o.x ?a.e.x",
    "select n from a.t except (select m from a.t intersect select x from a.o)": "a.t.n a.t.m a.o.x a.e.x",
    "select id from a.t union all select id from a.o order by 1": "a.t.id a.o.id a.e.id",
    "select l.v from a.o, lateral (select m as v from a.t where t.id = o.t) l": "a.t.m ?a.t.id ?a.o.t ?a.e.t",
    "select y from (values (1, (select m from a.t))) v (x, y)": "a.t.m",
    "select g from a.t, generate_series(1, length(m)) g": "a.t.m",
    "select e from a.t, unnest(arr) e": "a.t.arr",
    "select r from a.t, jsonb_to_record(j) as r (x text)": "a.t.j",
    "select id from a.some()": "",
    # views
    "select id, n from a.v": "a.t.id a.t.n a.v.id a.v.n",
    "select mm from a.v": "a.t.m a.v.mm",
    "select um from a.v": "a.t.m a.v.um",
    "select mm from a.vv": "a.t.m a.v.mm a.vv.mm ?a.t.id ?a.v.id",
    "select n from a.vv": "a.t.n a.v.n a.vv.n ?a.t.id ?a.v.id",
    "select id from a.vq": "a.t.id a.vq.id ?a.t.m",
    "select id, n from a.vall": "a.t.id a.t.n a.o.id a.o.x a.e.id a.e.x a.vall.id a.vall.n",
    "select id from a.noisy": "a.t.id a.noisy.id a.t.m",
    "select id from a.rows": "a.t.id a.rows.id a.t.m",
    "select id from a.mv": "a.mv.id a.t.id a.v.id",
    "select nx from a.mv": "a.mv.nx a.t.n a.v.n a.o.x a.e.x",
    "select um from a.mv": "a.mv.um a.v.um a.t.m",
    "select z from a.over": "a.over.z a.mv.um a.v.um a.t.m",
    "select n from a.deep": "a.deep.n a.o.x a.e.x",
    "select o from a.deep": "a.deep.o a.o.id a.e.id *",
    "select s from a.deep": "a.deep.s a.o.id a.e.id *",
    "select q from a.deep": "a.deep.q a.t.m ?a.t.k ?a.o.t ?a.e.t",
    "select count(*) from a.mv": "",
    "select mv from a.mv": "a.mv.id a.mv.nx a.mv.um a.t.id a.v.id a.t.n a.v.n a.o.x a.e.x a.v.um a.t.m",
    # children and parents
    "select m from a.p": "a.p.m a.p1.m",
    "select m from a.p1": "a.p.m a.p1.m",
    "select x from only a.o": "a.o.x",
    "select x, own from a.e": "a.e.x a.o.x a.e.own",
    "select up from a.g": "a.g.up a.g.m",
    "select m from a.sec": "a.sec.m",
    # what is written
    "update a.t set m = 'x'": "",
    "update a.t set m = 'x' where id = 1": "?a.t.id",
    "update a.t set n = m": "a.t.m",
    "update a.t set j['a'] = '1', arr[2] = 'x' where id = 1": "?a.t.id",
    "update a.t set j['a'] = to_jsonb(m)": "a.t.m",
    "update a.t set arr[k] = 'x'": "a.t.k",
    "update a.c set v.p = 'x'": "",
    "update a.c set v.p = (c.v).q": "a.c.v",
    "update a.t set (n, k) = (select x, t from a.o where o.id = t.id)":
        "a.o.x a.e.x a.o.t a.e.t ?a.o.id ?a.e.id ?a.t.id",
    "update a.t set n = 'x' from a.o where o.x = t.m": "?a.t.m ?a.o.x ?a.e.x",
    "update a.t set n = 'x' returning m": "a.t.m",
    "update a.v set n = 'x' where mm = 'y'": "?a.t.m",
    "update a.ins set m = 'x' where id = 1 returning m": "a.t.m a.ins.m ?a.t.id ?a.ins.id",
    "insert into a.t (id, m) values (1, 'x')": "",
    "insert into a.t (id, m) values (1, 'x'), (2, 'y') returning id": "a.t.id",
    "insert into a.o (id, x) select id, m from a.t": "a.t.id a.t.m",
    "insert into a.t (id, m) values (1, 'x') on conflict (id) do update set m = excluded.m": "?a.t.id",
    "insert into a.t (id, m) values (1, 'x') on conflict (m) do nothing": "?a.t.m",
    "insert into a.t (id, m) values (1, 'x') on conflict (id) do update set n = t.m where t.k > 1":
        "a.t.m ?a.t.id ?a.t.k",
    "delete from a.t where m > 'x'": "?a.t.m",
    "delete from a.t using a.o where o.t = t.id returning o.x": "a.o.x a.e.x ?a.o.t ?a.e.t ?a.t.id",
    "merge into a.t using a.o on o.x = t.m when matched then update set n = o.id":
        "?a.t.m ?a.o.x ?a.e.x a.o.id a.e.id",
    "merge into a.t using a.o on o.id = t.id when matched and t.m > 'a' then delete"
    " when not matched then insert (id) values (o.t)": "?a.t.id ?a.o.id ?a.e.id ?a.t.m a.o.t a.e.t",
    # the planner's samples
    "select most_common_vals from pg_stats": "*",
    "select null_frac from pg_stats": "",
    "select most_common_vals from pg_stats_ext": "*",
    "select relname from pg_class": "",
}  # fmt: skip


def told(shown: Shown, *trees: str) -> Used:
    nodes = [node for tree in trees for node in read(tree)]
    rounds = 0
    while isinstance(found := uses(nodes, shown.facts), Wanted):
        rounds += 1
        assert rounds < MOST_ROUNDS, found
        shown.ask(found)
    return found


def names(found: Used) -> set[str]:
    """The columns outside of the catalog, a `?` before those that are only compared."""
    every = [*found.shown, *(f"?{name}" for name in found.compared)]
    return {name for name in every if not name.removeprefix("?").startswith("pg_catalog.")}


@pytest.fixture(scope="module", params=["pg15", "pg18"])
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture(scope="module")
def shown(server: Server) -> Iterator[Shown]:
    server.sql("CREATE DATABASE columns")
    server.sql(SCHEMA, database="columns")
    shown = Shown(server.dsn(database="columns"))
    yield shown
    shown.close()
    server.sql("DROP DATABASE columns WITH (FORCE)")


@pytest.mark.parametrize("statement", CASES)
def test_columns(shown: Shown, statement: str) -> None:
    """Every column that is used is told, and no other; apart those that rows are only chosen or sorted by."""
    assert names(told(shown, shown.tree(statement))) == set(CASES[statement].split())


def test_columns_of_table(shown: Shown) -> None:
    """Of a table that is read as a whole, or by the names of its columns, the same is told."""
    oid = int(shown.connection.execute("select 'a.p1'::regclass::oid").fetchall()[0][0])
    found = settled(shown, oid, ())
    assert found.shown == ("a.p.id", "a.p.m", "a.p1.id", "a.p1.m")
    assert settled(shown, oid, ("m",)).shown == ("a.p.m", "a.p1.m")
    assert UNKNOWN_COLUMN in settled(shown, oid, ("nothing",)).shown
    assert settled(shown, 1, ()).shown == (UNKNOWN_COLUMN,)


def settled(shown: Shown, oid: int, columns: tuple[str, ...]) -> Used:
    while isinstance(found := of_table(oid, columns, shown.facts), Wanted):
        shown.ask(found)
    return found


def test_toast_is_unknown(shown: Shown) -> None:
    """A TOAST table may have the values of any column."""
    (row,) = shown.connection.execute("select reltoastrelid::regclass from pg_class where oid = 'a.t'::regclass")
    assert told(shown, shown.tree(f"select chunk_data from {row[0]}")).shown[0] == UNKNOWN_COLUMN


def test_gone_relation(shown: Shown) -> None:
    """A table that is dropped after its tree was printed has unknown columns."""
    shown.run("create table a.fleeting (id int)")
    tree = shown.tree("select id from a.fleeting")
    shown.run("drop table a.fleeting")
    assert told(shown, tree).shown == (UNKNOWN_COLUMN,)


PERSONAL = Mask(
    "personal",
    columns=(
        *("app.users.email", "app.users.ssn", "app.users.phone", "app.users.salary", "app.users.badge"),
        *("app.users.born", "app.users.profile", "app.people.ssn"),
    ),
    predicates="deny",
)
NOT_BY_TREES = {  # statements whose leak isn't in any tree that is printed before or while they run
    "copy table": "COPY of a table is a utility statement",
    "copy columns": "COPY of a table is a utility statement",
    "row in a constraint error": "the error quotes the row that was to be written",
    "renamed column": "the column has another name by then",
    "renamed table": "the table has another name by then",
}


def corpus(name: str) -> list[dict[str, Any]]:
    path = SHARED / name
    return list(tomllib.loads(path.read_text())["case"]) if path.exists() else []


@pytest.fixture(scope="module")
def attacked(server: Server) -> Iterator[str]:
    server.sql("CREATE DATABASE attacked")
    server.sql((SHARED / "schema.sql").read_text(), database="attacked")
    yield server.dsn(database="attacked")
    server.sql("DROP DATABASE attacked WITH (FORCE)")


class Session(Shown):
    """`parsed` gives what is printed when a statement is parsed, `during` what is printed when it is run."""

    def parsed(self, statement: str) -> list[str]:
        self._printed.clear()
        self.connection.pgconn.prepare(b"", statement.encode())
        return list(self._printed)

    def during(self, statement: str) -> list[str]:
        self._printed.clear()
        if not statement.startswith("copy "):  # it has no other way to end than to read what comes
            with suppress(psycopg.Error):
                self.run(statement)
        return list(self._printed)


def parts(text: str) -> list[tuple[str, str | None]]:
    """Statements, and the queries in them."""
    try:
        return [(one.text, one.inner) for one in split(text) if one.kind != EMPTY]
    except Unreadable:
        return [(text, None)]


def hidden(dsn: str, statements: list[str]) -> tuple[str, str] | None:
    """The first hidden column that any of these statements uses, by what is printed when it is parsed, the query in it
    by itself, and when it is run. What isn't refused takes effect."""
    masked = Masks(Policy("0" * 16, masks=(PERSONAL,))).masked(Identity("ann"), "pg/shop")
    session = Session(dsn)
    try:
        for statement, inner in [part for text in statements for part in parts(text)]:
            for step in (session.parsed, session.during):
                trees = step(statement)
                if inner is not None and step == session.parsed:
                    trees += session.parsed(inner)
                found = told(session, *trees)
                hides = masked.hides(found.shown, found.compared)
                if hides is not None:
                    return hides
                session.facts.forget()
        return None
    finally:
        session.close()


@pytest.mark.parametrize("case", corpus("masking.toml"), ids=lambda case: str(case["name"]))
def test_masking_corpus(server: Server, attacked: str, case: dict[str, Any]) -> None:
    """Each way to read a masked column names it, but those that no tree tells of."""
    if case["name"] == "table to xml" and server.binaries.name == "embedded":
        pytest.skip("this server is built without XML")
    for statements in [[each] for each in case["pair"]] if "pair" in case else [case["sql"]]:
        assert (hidden(attacked, statements) is None) == (case["name"] in NOT_BY_TREES)


@pytest.mark.parametrize("case", corpus("benign.toml"), ids=lambda case: str(case["name"]))
def test_benign_corpus(attacked: str, case: dict[str, Any]) -> None:
    """Ordinary work uses no masked column."""
    assert hidden(attacked, case["sql"]) is None
