"""What real servers' trees tell of statements: every table that is touched, every routine, nothing missed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.e2e.servers import Server
from tests.e2e.shop import populated
from tests.e2e.trees import Shown


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
