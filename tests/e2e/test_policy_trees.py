"""What real servers' trees tell of statements: every table that is touched, every routine, nothing missed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from agent.core.sql.found import Wanted
from agent.core.sql.routines import COMPUTES, DOES_MORE, MAKES_JSON, RUNS_TEXT
from tests.e2e.servers import Server
from tests.e2e.trees import Shown

SCHEMA = """
    CREATE SCHEMA shop;
    CREATE TABLE shop.users (id int PRIMARY KEY, name text, email text, active boolean DEFAULT true);
    CREATE TABLE shop.staff (grade int) INHERITS (shop.users);
    CREATE TABLE shop.orders (id int PRIMARY KEY, user_id int REFERENCES shop.users ON DELETE CASCADE ON UPDATE CASCADE,
        note text, total int);
    CREATE TABLE shop.lines (id int PRIMARY KEY, order_id int REFERENCES shop.orders ON DELETE SET NULL);
    CREATE TABLE shop.plain (id int PRIMARY KEY, body text);
    CREATE TABLE shop.parted (id int, v text) PARTITION BY LIST (id);
    CREATE TABLE shop.parted_1 PARTITION OF shop.parted FOR VALUES IN (1);
    CREATE VIEW shop.contacts AS SELECT id, name FROM shop.users;
    CREATE VIEW shop.names AS SELECT name FROM shop.contacts;
    CREATE MATERIALIZED VIEW shop.copy AS SELECT id FROM shop.users;
    CREATE FUNCTION shop.f(x int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN x; END';
    CREATE FUNCTION shop.calm(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x';
    CREATE FUNCTION shop.quiet() RETURNS int LANGUAGE sql SET client_min_messages = error AS 'SELECT 1';
    CREATE FUNCTION shop.sly(t text DEFAULT set_config('client_min_messages', 'error', false)) RETURNS int
        LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION shop.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION shop.positive(x int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN x > 0; END';
    CREATE FUNCTION shop.same(a shop.plain, b shop.plain) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
    CREATE OPERATOR shop.=== (LEFTARG = shop.plain, RIGHTARG = shop.plain, FUNCTION = shop.same);
    CREATE FUNCTION shop.plus(a int, b int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN a; END';
    CREATE SEQUENCE shop.s;
    CREATE AGGREGATE shop.total (int) (SFUNC = shop.plus, STYPE = int);
    CREATE AGGREGATE shop.switch (text, boolean) (SFUNC = set_config, STYPE = text);
    CREATE PROCEDURE shop.work() LANGUAGE plpgsql AS 'BEGIN END';
    CREATE DOMAIN shop.positive_int AS int CHECK (shop.positive(VALUE));
    CREATE TYPE shop.pair AS (a shop.positive_int, b int);
    CREATE TYPE shop.color AS ENUM ('red', 'green');
    CREATE TABLE shop.numbered (id serial, n int);
    CREATE TABLE shop.painted (id int, shade shop.color);
    CREATE TABLE shop.triggered (id int);
    CREATE TRIGGER t BEFORE UPDATE ON shop.triggered FOR EACH ROW EXECUTE FUNCTION shop.fires();
    CREATE FUNCTION shop.hushes() RETURNS trigger LANGUAGE plpgsql SET client_min_messages = error
        AS 'BEGIN RETURN NEW; END';
    CREATE TABLE shop.hushed (id int);
    CREATE TRIGGER i AFTER INSERT ON shop.hushed FOR EACH ROW EXECUTE FUNCTION shop.hushes();
    CREATE TRIGGER d AFTER DELETE ON shop.hushed FOR EACH ROW WHEN (shop.f(OLD.id) > 0) EXECUTE FUNCTION shop.fires();
    CREATE TRIGGER u AFTER UPDATE ON shop.hushed FOR EACH ROW EXECUTE FUNCTION shop.fires();
    ALTER TABLE shop.hushed DISABLE TRIGGER u;
    CREATE VIEW shop.instead AS SELECT id + 1 AS id FROM shop.plain;
    CREATE TRIGGER t INSTEAD OF DELETE ON shop.instead FOR EACH ROW EXECUTE FUNCTION shop.fires();
    CREATE VIEW shop.ruled AS SELECT id, body FROM shop.plain;
    CREATE RULE r AS ON INSERT TO shop.ruled DO INSTEAD DELETE FROM shop.orders WHERE orders.id = NEW.id;
    CREATE TABLE shop.told (id int);
    CREATE RULE r AS ON INSERT TO shop.told DO ALSO NOTIFY "the news";
    CREATE TABLE shop.checked (id int CHECK (shop.positive(id)));
    CREATE TABLE shop.indexed (id int);
    CREATE INDEX ON shop.indexed (shop.positive(id));
    CREATE TABLE shop.defaulted (id int DEFAULT shop.f(1), n int);
    CREATE TABLE shop.domained (id shop.positive_int, n int);
    CREATE TABLE shop.secured (id int);
    ALTER TABLE shop.secured ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON shop.secured USING (EXISTS (SELECT FROM shop.plain WHERE plain.id = secured.id));
    GRANT USAGE ON SCHEMA shop TO app;
    GRANT ALL ON ALL TABLES IN SCHEMA shop TO app;
    CREATE FOREIGN DATA WRAPPER nothing;
    CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
    CREATE FOREIGN TABLE shop.far (id int) SERVER elsewhere;
    CREATE TABLE shop.":relid 1 ]" ("\\ {x}" int, "(" text);
    CREATE TABLE shop."it's \\ it" (id int);
"""


def populated(server: Server) -> Iterator[Shown]:
    server.sql("CREATE DATABASE trees")
    server.sql(SCHEMA, database="trees")
    server.sql(ROWS, database="trees")
    shown = Shown(server.dsn(database="trees"))
    yield shown
    shown.close()
    server.sql("DROP DATABASE trees WITH (FORCE)")


@pytest.fixture(scope="module", params=["pg15", "pg18"])
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture(scope="module")
def shown(server: Server) -> Iterator[Shown]:
    yield from populated(server)


USERS = {"SELECT shop.users", "SELECT shop.staff"}
DELETES = {
    *("DELETE shop.users", "DELETE shop.staff", "DELETE shop.orders", "UPDATE shop.lines"),
}
ALL = {f"{one} !" for one in DELETES}
FIRES = ("SELECT shop.plain", "EXECUTE shop.fires")
CASES: dict[str, set[str]] = {
    "select 1": set(),
    "select count(*) from shop.users": USERS,
    "select name from shop.names": USERS | {"SELECT shop.names", "SELECT shop.contacts"},
    "select id from only shop.users": {"SELECT shop.users"},
    "select id from shop.staff": {"SELECT shop.staff", "SELECT shop.users"},
    "select * from shop.copy": {"SELECT shop.copy"},
    "table shop.far": {"SELECT shop.far", "FOREIGN shop.far"},
    "select * from shop.parted": {"SELECT shop.parted", "SELECT shop.parted_1"},
    "insert into shop.parted_1 values (1)": {"INSERT shop.parted_1", "INSERT shop.parted"},
    "insert into shop.parted values (1)": {"INSERT shop.parted_1", "INSERT shop.parted"},
    "select 1 union select id from shop.plain except (select id from shop.orders)": {
        *("SELECT shop.plain", "SELECT shop.orders")
    },
    "select (select max(id) from shop.plain), array(select id from shop.orders)": {
        *("SELECT shop.plain", "SELECT shop.orders")
    },
    "with recursive r as (select id from shop.plain union select id + 1 from r where id < 9) table r": {
        "SELECT shop.plain"
    },
    "select 1 order by (select 1 from shop.plain) limit (select 1 from shop.orders)": {
        *("SELECT shop.plain", "SELECT shop.orders")
    },
    "values ((select id from shop.plain))": {"SELECT shop.plain"},
    "select p from shop.plain p": {"SELECT shop.plain"},
    "select * from shop.plain for update": {"SELECT shop.plain"},
    "select * from shop.plain tablesample system (1)": {"SELECT shop.plain"},
    "select * from shop.secured": {"SELECT shop.secured"},
    "delete from shop.users where id = 1": USERS | DELETES,
    "delete from shop.users": ALL,
    "delete from shop.users where true": ALL,
    "delete from shop.users where 1 = 1": ALL,
    "delete from shop.users where $1": ALL,
    "delete from shop.users where id = id": USERS | ALL,
    "delete from shop.users where id = 1 or true": USERS | ALL,
    "delete from shop.users where not (id = 1 and false)": USERS | ALL,
    "delete from shop.users where not (id = 1 or false)": USERS | DELETES,
    "delete from shop.users where id = 1 and true": USERS | DELETES,
    "delete from shop.users where exists (select from shop.plain)": ALL | {"SELECT shop.plain"},
    "delete from shop.users where exists (select from shop.plain p where p.id = users.id)": (
        USERS | DELETES | {"SELECT shop.plain"}
    ),
    "delete from shop.users where id in (select id from shop.plain)": USERS | DELETES | {"SELECT shop.plain"},
    "delete from shop.users using shop.plain where plain.id = 3": ALL | {"SELECT shop.plain"},
    "delete from shop.contacts where id = 4": USERS | DELETES | {"SELECT shop.contacts", "DELETE shop.contacts"},
    "with d as (delete from shop.users where id = 4 returning 1) select count(*) from d": USERS | DELETES,
    "delete from shop.parted_1 where id = 1": {
        *("SELECT shop.parted_1", "SELECT shop.parted", "DELETE shop.parted_1", "DELETE shop.parted")
    },
    "delete from shop.instead where id = 2": {"SELECT shop.instead", "DELETE shop.instead", *FIRES},
    "delete from shop.instead where true": {"DELETE shop.instead !", *FIRES},
    "update shop.plain set body = 'x'": {"UPDATE shop.plain !"},
    "update shop.plain set body = 'x' where id = 1": {"SELECT shop.plain", "UPDATE shop.plain"},
    "update shop.plain set body = (select max(name) from shop.users)": {"UPDATE shop.plain !", *USERS},
    "update shop.users set name = 'x' where id = 1": USERS | {"UPDATE shop.users", "UPDATE shop.staff"},
    "update shop.users set id = 2 where id = 1": USERS
    | {*("UPDATE shop.users", "UPDATE shop.staff"), "UPDATE shop.orders"},
    "insert into shop.plain select id, name from shop.users": USERS | {"INSERT shop.plain"},
    "insert into shop.plain values (1, 'x') on conflict (id) do update set body = excluded.body": {
        *("SELECT shop.plain", "INSERT shop.plain", "UPDATE shop.plain")
    },
    "insert into shop.plain values (1) on conflict do nothing returning *": {"SELECT shop.plain", "INSERT shop.plain"},
    "insert into shop.ruled values (1, 'x')": {
        "INSERT shop.ruled",
        "SELECT shop.ruled",
        "SELECT shop.orders",
        "DELETE shop.orders",
        "UPDATE shop.lines",
    },
    "merge into shop.plain t using (values (4)) v(id) on t.id = v.id when matched then delete": {
        *("SELECT shop.plain", "DELETE shop.plain")
    },
    "merge into shop.plain t using (values (4)) v(id) on true when matched then delete": {"DELETE shop.plain !"},
    "merge into shop.plain t using (values (4)) v(id) on true when matched and t.id = 1 then update set body = 'x'"
    " when not matched then insert values (1)": {"SELECT shop.plain", "UPDATE shop.plain", "INSERT shop.plain"},
    "merge into shop.plain t using (values (4)) v(id) on true when matched and t.id = 1 then delete"
    " when matched then delete": {"SELECT shop.plain", "DELETE shop.plain !"},
    "select shop.f(1)": {"EXECUTE shop.f"},
    "select shop.calm(1)": {"EXECUTE shop.calm"},
    "select * from shop.f(1) g, shop.plain": {"EXECUTE shop.f", "SELECT shop.plain"},
    "select shop.quiet()": {"EXECUTE shop.quiet", "UNKNOWN"},
    "select shop.sly()": {"EXECUTE shop.sly", "EXECUTE pg_catalog.set_config", "UNKNOWN"},
    "select shop.total(id) from shop.plain": {"EXECUTE shop.total", "EXECUTE shop.plus", "SELECT shop.plain"},
    "select shop.total(id) over () from shop.plain": {"EXECUTE shop.total", "EXECUTE shop.plus", "SELECT shop.plain"},
    "select shop.switch('x', true)": {"EXECUTE shop.switch", "EXECUTE pg_catalog.set_config", "UNKNOWN"},
    "select p operator(shop.===) p from shop.plain p": {"EXECUTE shop.same", "SELECT shop.plain"},
    "select 1::shop.positive_int": {"EXECUTE shop.positive"},
    "select '(1,2)'::text::shop.pair": {"EXECUTE shop.positive"},
    "select $1::shop.pair[]": {"EXECUTE shop.positive"},
    "select jsonb_populate_record(null::shop.pair, '{}')": {"EXECUTE shop.positive"},
    "select 'red'::shop.color": set(),
    "insert into shop.checked values (1)": {"INSERT shop.checked", "EXECUTE shop.positive"},
    "insert into shop.indexed values (1)": {"INSERT shop.indexed", "EXECUTE shop.positive"},
    "delete from shop.indexed where id = 1": {"SELECT shop.indexed", "DELETE shop.indexed"},
    "insert into shop.defaulted (n) values (1)": {"INSERT shop.defaulted", "EXECUTE shop.f"},
    "insert into shop.domained (n) values (1)": {"INSERT shop.domained", "EXECUTE shop.positive"},
    "update shop.triggered set id = 1": {"UPDATE shop.triggered !", "EXECUTE shop.fires"},
    "insert into shop.hushed values (1)": {"INSERT shop.hushed", "EXECUTE shop.hushes", "UNKNOWN"},
    "delete from shop.hushed where id = 1": {
        *("SELECT shop.hushed", "DELETE shop.hushed", "EXECUTE shop.fires", "EXECUTE shop.f")
    },
    "update shop.hushed set id = 1": {"UPDATE shop.hushed !"},
    "insert into shop.told values (1)": {"INSERT shop.told", "NOTIFY the news"},
    "select now(), random(), current_setting('a', true), abs(-1) + 1, 'a' || 'b', nextval('shop.s')": set(),
    "select pg_read_file('/etc/passwd')": {"EXECUTE pg_catalog.pg_read_file"},
    "select lo_export(1, '/tmp/x'), pg_terminate_backend(1), pg_reload_conf()": {
        *(
            "EXECUTE pg_catalog.lo_export",
            "EXECUTE pg_catalog.pg_terminate_backend",
            "EXECUTE pg_catalog.pg_reload_conf",
        )
    },
    "select query_to_xml('delete from shop.users', true, false, '')": {"EXECUTE pg_catalog.query_to_xml"},
    "select table_to_xml('shop.users', true, false, '')": {"EXECUTE pg_catalog.table_to_xml"},
    "select set_config('work_mem', '1MB', true)": {"EXECUTE pg_catalog.set_config"},
    "select set_config('search_path', 'shop', true)": {"EXECUTE pg_catalog.set_config"},
    "select set_config('Client_Min_Messages', 'error', true)": {"EXECUTE pg_catalog.set_config", "UNKNOWN"},
    "select set_config('client_' || 'min_messages', 'error', true)": {"EXECUTE pg_catalog.set_config", "UNKNOWN"},
    "select set_config($1, 'error', true)": {"EXECUTE pg_catalog.set_config", "UNKNOWN"},
    "update pg_settings set setting = 'off' where name = 'debug_print_rewritten'": {
        *("SELECT pg_catalog.pg_settings", "UPDATE pg_catalog.pg_settings", "EXECUTE pg_catalog.set_config", "UNKNOWN")
    },
    'select "(" as ":relid", 1 as "false", 2 as "<>", 3 as "[ 1 ]" from shop.":relid 1 ]"': {"SELECT shop.:relid 1 ]"},
    """select * from shop."it's \\ it" as ":requiredPerms 0 }" """: {"SELECT shop.it's \\ it"},
}

OPAQUE = [
    *("select shop.f(1)", "select shop.calm(1)", "select p operator(shop.===) p from shop.plain p"),
    *("update shop.triggered set id = 1", "delete from shop.instead", "select shop.total(1)"),
    *("insert into shop.checked values (1)", "insert into shop.indexed values (1)", "select 1::shop.positive_int"),
    *("insert into shop.defaulted default values", "insert into shop.domained (n) values (1)"),
    "select query_to_xml('select 1', true, false, '')",
    *("select table_to_xml('shop.users', true, false, '')", "select ts_stat('select 1')"),
    "select domain_in('1', 'shop.positive_int'::regtype, -1)",
    "select array_in('{1}', 'shop.positive_int'::regtype, -1)",
    "select cursor_to_xml('c', 1, true, false, '')",
    "merge into shop.triggered t using (values (1)) v(id) on t.id = v.id when matched then update set id = 1",
]
CLEAR = [
    *("select count(*) from shop.users", "insert into shop.triggered values (1)", "delete from shop.triggered"),
    *("select json_agg(p) from shop.plain p", "select 'red'::shop.color", "delete from shop.checked"),
    *("select set_config('work_mem', '1MB', true)", "insert into shop.plain values (1)", "table shop.names"),
]


@pytest.mark.parametrize("statement", CASES)
def test_operations(shown: Shown, statement: str) -> None:
    """A statement's operations are these, no more and no fewer, on either server."""
    assert shown.operations(statement) == CASES[statement]


WRITTEN = """
    SELECT verb || ' ' || schemaname || '.' || relname FROM pg_stat_xact_user_tables,
        LATERAL (VALUES ('INSERT', n_tup_ins), ('UPDATE', n_tup_upd), ('DELETE', n_tup_del)) v(verb, count)
    WHERE count > 0 AND schemaname = 'shop'
"""
ROWS = """
    INSERT INTO shop.users SELECT i, 'u', 'e' FROM generate_series(1, 9) i;
    INSERT INTO shop.staff VALUES (11, 's', 'e', true, 1), (4, 's', 'e', true, 1);
    INSERT INTO shop.orders SELECT i, i, 'n', i FROM generate_series(1, 9) i;
    INSERT INTO shop.lines SELECT i, i FROM generate_series(1, 9) i;
    INSERT INTO shop.plain SELECT i, 'b' FROM generate_series(2, 9) i;
    INSERT INTO shop.parted VALUES (1, 'v');
    INSERT INTO shop.triggered VALUES (1);
    INSERT INTO shop.hushed VALUES (1);
    INSERT INTO shop.indexed VALUES (1);
"""


def test_what_is_written_was_said(server: Server, shown: Shown) -> None:
    """Every table that the server itself counts as written is among the operations, with what was done to it."""
    counted = 0
    other = Shown(server.dsn(database="trees"))
    other.run("SET debug_print_rewritten = off; SET statement_timeout = '5s'")
    for statement in CASES:
        if "$1" in statement or "pg_t" in statement:
            continue
        other.run("BEGIN")
        try:
            other.run(statement)
            rows = other.connection.execute(WRITTEN.encode()).fetchall()
        except psycopg.Error:
            rows = []
        other.run("ROLLBACK")
        other.run("SELECT pg_stat_force_next_flush()")  # or the next transaction counts these as well
        said = {operation.removesuffix(" !") for operation in shown.operations(statement)}
        assert {str(row[0]) for row in rows} <= said, statement
        counted += len(rows)
    other.close()
    assert counted > 30


@pytest.mark.parametrize("statement", OPAQUE)
def test_opaque(shown: Shown, statement: str) -> None:
    """What may run statements of its own is said to."""
    assert shown.found(statement).opaque


@pytest.mark.parametrize("statement", CLEAR)
def test_not_opaque(shown: Shown, statement: str) -> None:
    """What shows all that it does in its tree isn't opaque."""
    assert not shown.found(statement).opaque


def test_settings_that_matter(shown: Shown) -> None:
    """set_config counts as a change of settings where later statements rest on the setting."""
    for name, matters in (
        ("search_path", True),
        ("ROLE", True),
        ("work_mem", False),
        ("standard_conforming_strings", True),
    ):
        found = shown.found(f"select set_config('{name}', 'x', false)")
        assert (found.changes_settings, found.constants_matter) == (matters, True), name


def test_constants_that_matter(shown: Shown) -> None:
    """A constant that names something is part of the meaning; a value is not."""
    for statement in (
        "select 'shop.plain'::regclass",
        "select currval('shop.s')",
        "select query_to_xml('a', $1, $2, '')",
    ):
        assert shown.found(statement).constants_matter, statement
    for statement in (
        "select * from shop.plain where body = 'x' and id = 3",
        "insert into shop.numbered (n) values (1)",
    ):
        assert not shown.found(statement).constants_matter, statement


def test_json_by_a_users_cast(shown: Shown) -> None:
    """to_json calls the cast to json that a type's owner made, which no tree shows."""
    assert not shown.found("select to_json('red'::shop.color)").opaque
    shown.run(
        "create function shop.as_json(shop.color) returns json language plpgsql as $$ begin return '1'; end $$;"
        "create cast (shop.color as json) with function shop.as_json(shop.color)"
    )
    shown.facts.forget()
    try:
        found = shown.found("select jsonb_build_object('a', 'red'::shop.color)")
        assert found.opaque
        assert "EXECUTE shop.as_json" in map(str, found.operations)
    finally:
        shown.run("drop function shop.as_json cascade")
        shown.facts.forget()


def test_temporary_objects(shown: Shown) -> None:
    """Temporary objects are seen, and named pg_temp whatever session they belong to."""
    shown.run("create temp table mine (id int)")
    shown.run("create function pg_temp.f() returns int language sql as 'select 1'")
    try:
        assert shown.operations("select pg_temp.f() from mine") == {"SELECT pg_temp.mine", "EXECUTE pg_temp.f"}
    finally:
        shown.run("discard temp")
        shown.run("drop function if exists pg_temp.f()")


def test_queries_within_utility_statements(shown: Shown, server: Server) -> None:
    """From PostgreSQL 16 on, the tree of EXPLAIN, DECLARE and CREATE TABLE AS holds the query's; before, some do."""
    expected = {"SELECT shop.plain"} if server.binaries.major >= 16 else set()
    if not expected:
        assert shown.operations("declare c cursor for select * from shop.plain") == {"SELECT shop.plain"}
    for statement in ("explain", "create table shop.new as"):
        assert shown.operations(f"{statement} select * from shop.plain") == expected
    found = shown.found("call shop.work()")
    assert (set(map(str, found.operations)), found.opaque) == (
        ({"EXECUTE shop.work"}, True) if expected else (set(), False)
    )


def test_types_of_json(shown: Shown, server: Server) -> None:
    """What SQL's JSON functions return is made by what users have written for its type."""
    if server.binaries.major < 17:
        pytest.skip("there are none before PostgreSQL 17")
    for statement in (
        "select json_value('1', '$' returning shop.positive_int)",
        "select * from json_table('[1]', '$[*]' columns (a shop.positive_int path '$'))",
    ):
        assert shown.operations(statement) == {"EXECUTE shop.positive"}
    assert shown.found("select pg_input_is_valid('1', 'shop.positive_int')").opaque


def test_trees_of_raw_statements(shown: Shown) -> None:
    """Trees that hold unanalysed statements are read as well."""
    for body in ("id in (1, 2)", "id between 1 and 2", "body is distinct from null", "id = any (array[1])", "not true"):
        assert shown.operations(f"create view shop.new as select * from shop.plain where {body}") == set()


def test_row_security(shown: Shown) -> None:
    """What a policy's condition reads is read by the statement, for those whom the policy binds."""
    shown.run("set role app")
    try:
        assert shown.operations("select * from shop.secured") == {"SELECT shop.secured", "SELECT shop.plain"}
    finally:
        shown.run("reset role")


def test_nothing_of_the_clients_answers(server: Server, shown: Shown) -> None:
    """Tables, functions and operators that a client puts before the system's don't change the facts."""
    other = Shown(server.dsn(database="trees"))
    other.run(
        "create temp table pg_class as select * from pg_catalog.pg_class limit 0;"
        "create temp table pg_proc as select * from pg_catalog.pg_proc limit 0;"
        "create schema evil; create function evil.no(oid, oid) returns boolean language sql as 'select false';"
        "create function evil.concat(variadic text[]) returns text language sql as 'select null::text';"
        "create function evil.string_agg(text, text) returns text language sql as 'select null::text';"
        "create operator evil.= (leftarg = oid, rightarg = oid, function = evil.no);"
        "create domain evil.text as pg_catalog.text; create domain evil.oid as pg_catalog.oid;"
        "set search_path = evil, pg_temp, pg_catalog"
    )
    try:
        oids = frozenset(oid for oid in shown.facts.relations if oid > 16384)
        routines = frozenset(shown.facts.routines)
        names = frozenset((("relation", "shop.plain"), ("routine", "shop.f"), ("cascade_relation", "shop.users")))
        wanted = Wanted(oids, routines, names)
        shown.ask(wanted)
        other.ask(wanted)
        assert other.facts.relations == {oid: shown.facts.relations[oid] for oid in oids}
        assert other.facts.routines == {oid: shown.facts.routines[oid] for oid in routines}
        for name in names:
            assert sorted(other.facts.names[name], key=str) == sorted(shown.facts.names[name], key=str)
            assert other.facts.names[name]
        found = other.operations("select count(*) from shop.users where id operator(pg_catalog.=) 1")
        assert found == USERS
    finally:
        other.run("drop schema evil cascade")
        other.close()


def test_a_plain_role_may_ask(server: Server) -> None:
    """Facts need no privileges, and quoting is read the same way with standard_conforming_strings off."""
    other = Shown(server.dsn(database="trees"))
    other.run("set role app; set standard_conforming_strings = off; set escape_string_warning = off")
    try:
        assert other.operations("delete from shop.plain where id = 1") == {"SELECT shop.plain", "DELETE shop.plain"}
        name = """shop."it's \\ it" """.strip()
        other.ask(
            Wanted(names=frozenset((("relation", name), ("relation", "x'; select 1; --"), ("relation", "nope\\"))))
        )
        assert other.facts.named("relation", name)[0][1:4] == ("shop", "it's \\ it", "r")
        assert other.facts.named("relation", "nope\\") == ()
    finally:
        other.close()


def test_every_volatile_builtin_is_known(shown: Shown) -> None:
    """Of every volatile function that the server has of its own, it is written down whether it does more than
    compute; one that isn't counts as doing more."""
    rows = shown.connection.execute(
        "select distinct proname from pg_proc where provolatile = 'v' and pronamespace = 'pg_catalog'::regnamespace"
        " and oid < 16384 and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)"
    ).fetchall()
    assert {name for (name,) in rows} - COMPUTES - DOES_MORE == set()
    assert not COMPUTES & DOES_MORE


def test_every_builtin_that_runs_text_is_known(shown: Shown) -> None:
    """Functions that run a query, or read a table that is named, are all listed."""
    rows = shown.connection.execute(
        "select distinct proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace"
        " and proname ~ '(query|cursor|table|schema|database)_to_xml'"
    ).fetchall()
    assert {name for (name,) in rows} <= RUNS_TEXT
    rows = shown.connection.execute(
        "select distinct proname from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname ~ '^jsonb?_'"
        " and (proname ~ '_agg' or proname ~ '_build_') and proname !~ 'transfn|finalfn|_noargs'"
    ).fetchall()
    assert {name for (name,) in rows} <= MAKES_JSON


def test_names(shown: Shown) -> None:
    """Names are found as the search_path has it, folded and quoted as PostgreSQL does."""
    shown.run("set search_path = shop, public")
    shown.run('prepare "My p" as select 1;')
    shown.run("prepare lower as select 2")
    asked = [("relation", "PLAIN"), ("relation", '"PLAIN"'), ("relation", "trees.shop.plain"), ("routine", "f")]
    asked += [("type", "color"), ("schema", "Shop"), ("role", "app"), ("prepared", '"My p"'), ("prepared", "LOWER")]
    asked += [("prepared", "My p"), ("trigger", "triggered"), ("rule", "ruled"), ("policy", "secured")]
    asked += [
        ("domain", "positive_int"),
        ("extension", "plpgsql"),
        ("schema_contents", "shop"),
        ("owned_by", "postgres"),
    ]
    asked += [("cascade_relation", "users"), ("cascade_schema", "shop"), ("cascade_type", "color")]
    asked += [("cascade_routine", "positive"), ("cascade_extension", "plpgsql"), ("unheard of", "x")]
    try:
        shown.ask(Wanted(names=frozenset(asked)))
    finally:
        shown.run("reset search_path; deallocate all")
    known = shown.facts.named
    assert known("relation", "PLAIN")[0][1:4] == ("shop", "plain", "r")
    assert known("relation", '"PLAIN"') == ()
    assert known("relation", "trees.shop.plain")[0][1:4] == ("shop", "plain", "r")
    assert known("routine", "f")[0][1:5] == ("shop", "f", "f", "plpgsql")
    assert known("type", "color")[0][1:4] == ("shop", "color", "e")
    assert known("schema", "Shop")[0][1] == "shop"
    assert known("role", "app")[0][1] == "app"
    assert shown.facts.prepared('"My p"') == 'prepare "My p" as select 1;'
    assert shown.facts.prepared("My p") == 'prepare "My p" as select 1;'
    assert shown.facts.prepared("LOWER") == "prepare lower as select 2"
    assert known("trigger", "triggered")[0][0] == "t"
    assert known("rule", "ruled")[-1][0] in ("r", "_RETURN")
    assert known("policy", "secured")[0][0] == "p"
    assert known("domain", "positive_int")[0][1:3] == ("shop", "positive_int")
    assert known("extension", "plpgsql")[0][1] == "plpgsql"
    assert {"users", "contacts", "copy"} <= {row[2] for row in known("schema_contents", "shop")}
    assert "users" in {row[2] for row in known("owned_by", "postgres")}
    gone = {row[4] for row in known("cascade_relation", "users")}
    assert {"shop.users", "shop.staff", "shop.contacts", "shop.names", "shop.copy"} <= gone
    assert "shop.plain" not in gone
    assert {"shop", "shop.users", "shop.copy"} <= {row[4] for row in known("cascade_schema", "shop")}
    painted = {(row[0], row[4]) for row in known("cascade_type", "color")}
    assert ("table column", "shop.painted.shade") in painted
    assert ("table", "shop.painted") not in painted
    assert "positive_int_check on shop.positive_int" in {row[4] for row in known("cascade_routine", "positive")}
    assert "shop.f(integer)" in {row[4] for row in known("cascade_extension", "plpgsql")}
    assert known("unheard of", "x") == ()
