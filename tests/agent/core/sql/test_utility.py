"""Utility statements: their operations, by command and resolved object."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.relations import TRUNCATE, Relation, Trigger
from agent.core.sql.routines import CODE
from agent.core.sql.statements import UTILITY, Unreadable, split
from agent.core.sql.utility import judge, prepared_name

USERS = Relation(1, "app", "users", "r", descendants=(3,))
ORDERS = Relation(2, "app", "orders", "r")
EMPLOYEES = Relation(3, "app", "employees", "r", ancestors=(1,))
PEOPLE = Relation(4, "app", "people", "p", descendants=(5,))
PEOPLE_LOW = Relation(5, "app", "people_low", "r", ancestors=(4,))
CONTACTS = Relation(6, "app", "contacts", "v")
LOGGED = Relation(7, "app", "logged", "r", triggers=(Trigger(TRUNCATE, 99),))
RELATIONS = (USERS, ORDERS, EMPLOYEES, PEOPLE, PEOPLE_LOW, CONTACTS, LOGGED)


def resolve(wanted: Wanted, facts: Facts) -> None:
    """Answers as a database with the schema app on its search_path would."""
    for oid in wanted.relations:
        facts.relations[oid] = {one.oid: one for one in RELATIONS}.get(oid)
    for oid in wanted.routines:
        facts.routines[oid] = None
        facts.effects[oid] = CODE if oid == 99 else 0
    for kind, name in wanted.names:
        parts = name.replace('"', "").split(".")
        found: tuple[tuple[str | None, ...], ...] = ()
        if kind == "relation" and parts[:-1] in ([], ["app"]):
            found = tuple(
                (str(one.oid), one.schema, one.name, one.kind, None, None) for one in RELATIONS if one.name == parts[-1]
            )
        elif kind == "routine" and parts[-1] == "f":
            found = (("90", "app", "f", "f", "sql", None),)
        elif kind == "type" and parts[-1] == "mood":
            found = (("80", "app", "mood", "e", None, None),)
        elif kind == "current_schema":
            found = (("app", None, None, None, None, None),)
        elif kind in ("owned_by", "schema_contents"):
            found = tuple((str(one.oid), one.schema, one.name, one.kind, "x", None) for one in (USERS, CONTACTS))
        elif kind == "cascade_relation" and parts[-1] == "users":
            found = (
                ("table constraint", "1", "app", None, "orders_user_id_fkey on app.orders", None),
                ("view", "6", "app", "contacts", "app.contacts", None),
                ("rule", "9", None, None, '"_RETURN" on app.contacts', None),
                ("trigger", "9", None, None, '"RI_ConstraintTrigger_a_1" on app.users', None),
                ("function", "90", "app", None, "app.f(integer)", None),
            )
        elif kind == "cascade_schema":
            found = (
                ("table", "1", "app", "users", "app.users", None),
                ("type", "8", "app", "_users", "app.users[]", None),
            )
        facts.names[(kind, name)] = found


def found(text: str, inside: bool = False) -> Found:
    (statement,) = split(text)
    facts = Facts()
    for _ in range(20):
        answer = judge(statement, facts, inside)
        if isinstance(answer, Found):
            return answer
        wanted = facts.missing(answer)
        assert wanted is not None, "asked for what is known"
        resolve(wanted, facts)
    raise AssertionError("never satisfied")


def operations(text: str) -> list[str]:
    return [str(one) for one in found(text).operations]


CASES = [
    ("drop table users", "DROP TABLE app.users"),
    ("drop table if exists app.nothing, users", "DROP TABLE app.nothing, DROP TABLE app.users"),
    ("drop table people", "DROP TABLE app.people, DROP TABLE app.people_low"),
    (
        "drop table users cascade",
        "DROP TABLE app.users, DROP CONSTRAINT app.orders.orders_user_id_fkey, DROP VIEW app.contacts, "
        "DROP FUNCTION app.f",
    ),
    ("drop view contacts", "DROP VIEW app.contacts"),
    ("drop schema app cascade", "DROP SCHEMA app, DROP TABLE app.users"),
    ("drop function f(int)", "DROP FUNCTION app.f"),
    ("drop type mood", "DROP TYPE app.mood"),
    ("drop trigger t on users", "DROP TRIGGER app.users.t"),
    ("drop collation c", "UNKNOWN, DROP COLLATION c"),
    ("drop collation app.c", "DROP COLLATION app.c"),
    ("drop operator class app.c using btree", "DROP OPERATOR CLASS app.c"),
    ("drop role a, current_user", "DROP ROLE a, DROP ROLE CURRENT_USER"),
    ("drop user mapping for x server y", "DROP USER MAPPING x@y"),
    ("drop owned by x", "DROP OWNED x, REVOKE x, DROP TABLE app.users, DROP VIEW app.contacts"),
    ("drop owned by current_user", "DROP OWNED CURRENT_USER, REVOKE CURRENT_USER, UNKNOWN"),
    ("reassign owned by x to y", "REASSIGN OWNED x, ALTER TABLE OWNER app.users, ALTER TABLE OWNER app.contacts"),
    ("alter table orders owner to x", "ALTER TABLE app.orders, ALTER TABLE OWNER app.orders"),
    (
        "alter view contacts owner to x",
        "ALTER VIEW app.contacts, ALTER TABLE OWNER app.contacts, ALTER VIEW OWNER app.contacts",
    ),
    (
        "alter table contacts rename to c",
        "ALTER TABLE app.contacts, ALTER VIEW app.contacts, ALTER VIEW app.c, RENAME app.contacts TO app.c",
    ),
    ("alter table orders rename to o", "ALTER TABLE app.orders, ALTER TABLE app.o, RENAME app.orders TO app.o"),
    (
        "alter table orders set schema public",
        "ALTER TABLE app.orders, ALTER TABLE public.orders, RENAME app.orders TO public.orders",
    ),
    (
        "alter table users drop column phone",
        "ALTER TABLE app.users, DROP COLUMN app.users.phone, "
        "ALTER TABLE app.employees, DROP COLUMN app.employees.phone",
    ),
    ("alter table only users drop column phone", "ALTER TABLE app.users, DROP COLUMN app.users.phone"),
    ("alter table orders drop constraint c", "ALTER TABLE app.orders, DROP CONSTRAINT app.orders.c"),
    ("alter table orders disable row level security", "ALTER TABLE app.orders, DISABLE ROW SECURITY app.orders"),
    ("alter table orders disable trigger all", "ALTER TABLE app.orders, DISABLE TRIGGER app.orders.*"),
    ("alter table orders inherit users", "ALTER TABLE app.orders, ALTER TABLE app.users"),
    ("truncate orders", "TRUNCATE app.orders"),
    ("truncate only users, orders", "TRUNCATE app.orders, TRUNCATE app.users"),
    ("truncate only users cascade", "TRUNCATE app.users, TRUNCATE app.orders"),
    ("truncate people", "TRUNCATE app.people, TRUNCATE app.people_low"),
    ("grant select (a) on users to public", "GRANT app.users"),
    ("grant all on all tables in schema app to x", "GRANT app.*, GRANT app.users, GRANT app.contacts"),
    ("revoke usage on schema app from x", "REVOKE app"),
    ("grant a to b", "GRANT a, GRANT ROLE a"),
    (
        "alter default privileges in schema app grant select on tables to x",
        "GRANT app.*, ALTER DEFAULT PRIVILEGES TABLES",
    ),
    ("alter default privileges revoke all on functions from x", "REVOKE *.*, ALTER DEFAULT PRIVILEGES FUNCTIONS"),
    ("create user x in role y", "CREATE ROLE x, GRANT y"),
    ("alter group x drop user y", "ALTER ROLE x, REVOKE x"),
    ("alter role all set a = 1", "ALTER ROLE ALL"),
    ("create table t (a int references users)", "CREATE TABLE app.t, REFERENCES app.users"),
    ("create temp table t (a int)", "CREATE TABLE pg_temp.t"),
    ("create table p partition of people for values in (1)", "CREATE TABLE app.p, ALTER TABLE app.people"),
    ("create table public.t as select 1", "CREATE TABLE AS public.t"),
    ("select 1 into t", "SELECT INTO app.t, CREATE TABLE AS app.t"),
    ("create schema s create table t (a int) grant select on t to x", "CREATE SCHEMA s, CREATE TABLE s.t, GRANT s.t"),
    ("create index i on users (f(id))", "CREATE INDEX app.i"),
    ("create view v as select 1", "CREATE VIEW app.v"),
    ("create trigger t after insert on users execute function f()", "CREATE TRIGGER app.users.t"),
    ("create function g() returns int language sql as ''", "CREATE FUNCTION app.g"),
    ("create aggregate a (int) (sfunc = f, stype = int)", "CREATE AGGREGATE app.a"),
    ("comment on column users.id is ''", "COMMENT app.users.id"),
    ("comment on constraint c on domain mood is ''", "COMMENT app.mood.c"),
    ("copy orders to stdout", "SELECT app.orders"),
    ("copy orders from stdin", "INSERT app.orders"),
    ("copy orders from '/x'", "INSERT app.orders, COPY FILE /x"),
    ("copy orders to program 'x'", "SELECT app.orders, COPY PROGRAM x"),
    ("copy (select 1) to '/x'", "COPY FILE /x"),
    ("vacuum full users", "VACUUM app.users"),
    ("lock users in share mode", "LOCK TABLE app.users"),
    ("alter system set a = 1", "ALTER SYSTEM a"),
    ("do language sql $$ x $$", "DO sql"),
    ("call f(1)", "CALL app.f, EXECUTE app.f"),
    ("explain delete from users", "EXPLAIN"),
    ("explain analyze create table t as select 1", "EXPLAIN, CREATE TABLE AS app.t"),
    ("explain create table t as select 1", "EXPLAIN"),
    ("begin", ""),
    ("show search_path", ""),
    ("set search_path = x", ""),
    ("set role x", "SET ROLE x"),
    ("set session authorization default", "SET SESSION AUTHORIZATION DEFAULT"),
    ("set constraints all deferred", ""),
    ("nonsense", "UNKNOWN"),
    ("drop", "UNKNOWN"),
    ("create view v as select " + "1+" * 5_000 + "1", "CREATE VIEW app.v"),
    ("create index on users ((" + "1+" * 1_000 + "1))", "UNKNOWN"),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[case[0][:60] for case in CASES])
def test_operations(text: str, expected: str) -> None:
    """A statement's operations are its command and the objects that its names stand for."""
    assert ", ".join(operations(text)) == expected


@pytest.mark.parametrize(
    ("text", "opaque"),
    [
        ("do $$ x $$", True),
        ("call f()", True),
        ("refresh materialized view contacts", True),
        ("create extension x", True),
        ("truncate logged", True),
        ("truncate orders", False),
        ("alter table orders alter column a type int using f(a)", True),
        ("alter table orders owner to x", False),
        ("create function g() returns int language sql as ''", False),
        ("drop table orders", False),
    ],
)
def test_code_that_runs(text: str, opaque: bool) -> None:
    """What runs code that may be anything is opaque."""
    assert found(text).opaque is opaque


@pytest.mark.parametrize(
    ("text", "catalog", "settings"),
    [
        ("create table t (a int)", True, False),
        ("grant select on users to x", True, False),
        ("prepare p as select 1", True, False),
        ("truncate orders", False, False),
        ("set search_path = x", False, True),
        ("set role x", False, True),
        ("reset all", False, True),
        ("discard all", True, True),
        ("set statement_timeout = 1", False, False),
        ("set debug_print_rewritten = off", False, True),
        ("commit", False, False),
    ],
)
def test_what_changes(text: str, catalog: bool, settings: bool) -> None:
    """After DDL the catalog isn't what it was, after some settings names mean something else."""
    answer = found(text)
    assert (answer.changes_catalog, answer.changes_settings) == (catalog, settings)


def test_truncate_names_no_rows() -> None:
    """A TRUNCATE takes all rows of each of its tables: a condition on `operation.where` sees that."""
    assert {(str(one), one.where) for one in found("truncate orders").operations} == {("TRUNCATE app.orders", False)}


@pytest.mark.parametrize("setting", ["debug_print_rewritten = off", "client_min_messages = error"])
def test_code_that_hides_itself(setting: str) -> None:
    """The agent sets anew what a client sets; code that sets it in the middle of a statement may hide the rest."""
    assert found(f"set {setting}").operations == ()
    assert [str(one) for one in found(f"set {setting}", inside=True).operations] == ["UNKNOWN"]


def test_names_of_prepared_statements() -> None:
    """What EXECUTE runs is judged by its own text."""
    (statement,) = split("explain analyze execute p(1)")
    assert prepared_name(statement) == "p"
    assert operations("execute p(1)") == []


WORDS = (
    "create alter drop table view users app . ( ) , a b int as select 1 with grant revoke on to from schema cascade "
    "column rename owner default check references set reset role all function trigger policy rule index type domain "
    "using values partition of for copy stdin program 'x' execute call do $$x$$ explain analyze truncate comment is "
    "extension server mapping user publication subscription database tablespace operator class family + cast "
    "aggregate sequence text search configuration statistics large object transform event language collation"
)


@given(st.lists(st.sampled_from(WORDS.split()), max_size=12))
def test_any_statement_is_judged(words: list[str]) -> None:
    """Whatever is said, there are operations or facts that are missing."""
    try:
        statements = split(" ".join(words))
    except Unreadable:
        return
    for statement in statements:
        if statement.kind == UTILITY:
            assert found(statement.text) is not None
