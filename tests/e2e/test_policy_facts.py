"""What trees of real servers, and the facts asked beside them, tell besides operations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.core.sql.found import Wanted
from agent.core.sql.routines import COMPUTES, DOES_MORE, MAKES_JSON, RUNS_TEXT
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
        assert found == {"SELECT shop.users", "SELECT shop.staff"}
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


def test_rows_that_move(shown: Shown) -> None:
    """An update of a column that partitions go by deletes rows of each partition and inserts them; no other does."""
    shown.run(
        "create schema moves; create table moves.every (kind text, id int, what text) partition by list (lower(kind));"
        "create table moves.some partition of moves.every for values in ('a') partition by range (id);"
        "create table moves.low partition of moves.some for values from (0) to (10);"
        "create table moves.rest partition of moves.every default"
    )
    try:
        leaves = {f"DELETE moves.{name}" for name in ("some", "low", "rest")}
        assert leaves <= shown.operations("update moves.every set kind = 'b' where id = 1")
        assert leaves <= shown.operations("update moves.every set id = 2 where id = 1")
        assert not leaves & shown.operations("update moves.every set what = 'b' where id = 1")
        assert shown.operations("update moves.some set id = 2 where id = 1") & leaves == {"DELETE moves.low"}
        assert not leaves & shown.operations("update moves.some set kind = 'A' where id = 1")
    finally:
        shown.run("drop schema moves cascade")
        shown.facts.forget()


ORDERS = """
create schema sorts;
create type sorts.pair as (a int);
create function sorts.lt(sorts.pair, sorts.pair) returns boolean language plpgsql as 'begin return true; end';
create function sorts.cmp(sorts.pair, sorts.pair) returns int language plpgsql as 'begin return 0; end';
create operator sorts.<<< (leftarg = sorts.pair, rightarg = sorts.pair, function = sorts.lt);
create operator sorts.=== (leftarg = sorts.pair, rightarg = sorts.pair, function = sorts.lt);
create operator class sorts.pair_ops default for type sorts.pair using btree as operator 1 sorts.<<<,
    operator 3 sorts.===, function 1 sorts.cmp(sorts.pair, sorts.pair);
create table sorts.t (p sorts.pair, n int);
create table sorts.indexed (p sorts.pair);
create index on sorts.indexed (p);
"""


def test_orders_of_users(shown: Shown) -> None:
    """What compares values of a user's type is called wherever they are sorted, grouped, joined or indexed."""
    shown.run(ORDERS)
    try:
        for statement in (
            "select p from sorts.t order by p using operator(sorts.<<<)",
            "select distinct p from sorts.t",
            "select count(*) from sorts.t group by p",
            "select p from sorts.t union select p from sorts.t",
            "select greatest(p, p) from sorts.t",
            "select array[p] < array[p] from sorts.t",
            "select row(p) = row(p) from sorts.t",
            "select array_position(array[p], p) from sorts.t",
            "select rank() over (order by p) from sorts.t",
            "insert into sorts.indexed select p from sorts.t",
        ):
            assert "EXECUTE sorts.cmp" in shown.operations(statement), statement
        for statement in (
            "select n from sorts.t order by n",
            "select p from sorts.t",
            "insert into sorts.t values (null)",
        ):
            assert "EXECUTE sorts.cmp" not in shown.operations(statement), statement
    finally:
        shown.run("drop schema sorts cascade")
        shown.facts.forget()
