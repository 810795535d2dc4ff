"""Statements by their text: where they end, what kind they are, what is inside, what their shape is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from postgast.pg_query_pb2 import Token

from agent.core.sql import tokens
from agent.core.sql.context import context_statement
from agent.core.sql.statements import (
    EMPTY,
    QUERY,
    SETTING,
    TRANSACTION,
    UTILITY,
    Statement,
    Unreadable,
    shape,
    split,
)
from agent.core.sql.tokens import scan

PIECES = st.sampled_from(
    "select 1 ; ' '' \" $$ $a$ ( ) [ ] -- \n /* */ begin atomic end case when create function f or replace procedure "
    "E'\\' U&'x' explain analyze , execute p prepare as copy to declare cursor for table view materialized recursive "
    "into temp by order group distinct on :: $1 é \U0001f600 . 12345678901 1.5 0x1F with data check option call => "
    "variadic temporary limit cast x'f' b'1' interval".split(" ")
)
ANY = st.one_of(st.text(), st.lists(PIECES, max_size=40).map(" ".join), st.lists(PIECES, max_size=40).map("".join))


def texts(message: str) -> list[str]:
    return [one.text for one in split(message)]


def only(message: str) -> Statement:
    (one,) = split(message)
    return one


@given(ANY, st.booleans())
def test_any_text_is_split_or_unreadable_and_nothing_is_lost(message: str, standard: bool) -> None:
    """Whatever the message, statements and semicolons together are the message again, each where it says."""
    try:
        found = split(message, standard)
    except Unreadable:
        return
    assert ";".join(one.text for one in found) == message
    for one in found:
        assert message[one.start : one.start + len(one.text)] == one.text


@given(ANY)
def test_any_text_has_a_shape_or_none(text: str) -> None:
    """No text is too odd to be asked for its shape; what has one is what can be scanned."""
    found = shape(text)
    if found is not None:
        scan(text)


@given(ANY)
def test_contexts_of_any_text(text: str) -> None:
    """What a context says is found again, or nobody knows."""
    found = context_statement(f'SQL statement "{text}"\nPL/pgSQL function f() line 1 at EXECUTE')
    assert found in (None, text)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("select 1; select 2", ["select 1", " select 2"]),
        ("select ';', \";\", $$;$$, $a$;$a$ /* ; */ -- ;\n; x", None),
        ("create rule r as on insert to t do (delete from a; delete from b); x", None),
        ("create function f() returns int begin atomic select 1; select 2; end; x", None),
        ("create or replace procedure f() begin atomic select case when a then 1 end; select 1 end; end; x", None),
        ("create function f() begin atomic; end; x", None),
    ],
)
def test_semicolons_that_separate(message: str, expected: list[str] | None) -> None:
    """A semicolon in quotes, comments, brackets or a function's body separates nothing."""
    if expected is None:
        assert len(split(message)) == 2
        assert texts(message)[1] == " x"
    else:
        assert texts(message) == expected


@pytest.mark.parametrize(
    "message", ["select begin atomic from t; delete from t", "select 1 end; delete from t", "begin; delete from t"]
)
def test_words_of_a_body_elsewhere(message: str) -> None:
    """BEGIN, ATOMIC and END are names and labels outside of a function's body: statements aren't swallowed."""
    assert len(split(message)) == 2
    assert split(message)[1].tag == "DELETE"


def test_positions_are_in_characters() -> None:
    """A statement begins where it says, behind characters of several bytes too."""
    second = split("select 'é\U0001f600'; explain select 'ü'")[1]
    assert (second.start, second.inner_offset, second.inner) == (12, 9, "select 'ü'")


@pytest.mark.parametrize(
    ("text", "kind", "tag"),
    [
        ("", EMPTY, ""),
        (" /* ; */ -- x", EMPTY, ""),
        ("SELECT 1", QUERY, "SELECT"),
        ("((select 1))", QUERY, "SELECT"),
        ("values (1)", QUERY, "SELECT"),
        ("table t", QUERY, "SELECT"),
        ("with a as (select 1) delete from t", QUERY, "DELETE"),
        ("insert into t values (1)", QUERY, "INSERT"),
        ("merge into t using u on true when matched then delete", QUERY, "MERGE"),
        ("select 1 into t", UTILITY, "SELECT INTO"),
        ("begin", TRANSACTION, "BEGIN"),
        ("start transaction", TRANSACTION, "START TRANSACTION"),
        ("end", TRANSACTION, "COMMIT"),
        ("abort", TRANSACTION, "ROLLBACK"),
        ("prepare transaction 'x'", TRANSACTION, "PREPARE TRANSACTION"),
        ("commit prepared 'x'", TRANSACTION, "COMMIT PREPARED"),
        ("savepoint a", TRANSACTION, "SAVEPOINT"),
        ("set a = 1", SETTING, "SET"),
        ("show a", SETTING, "SHOW"),
        ("reset all", SETTING, "RESET"),
        ("drop table t", UTILITY, "DROP TABLE"),
        ("drop materialized view v", UTILITY, "DROP MATERIALIZED VIEW"),
        ("create unlogged table t (a int)", UTILITY, "CREATE TABLE"),
        ("create table t as select 1", UTILITY, "CREATE TABLE AS"),
        ("create or replace temp view v as select 1", UTILITY, "CREATE VIEW"),
        ("create user x", UTILITY, "CREATE ROLE"),
        ("alter group x add user y", UTILITY, "ALTER ROLE"),
        ("create user mapping for x server y", UTILITY, "CREATE USER MAPPING"),
        ("alter default privileges grant select on tables to x", UTILITY, "ALTER DEFAULT PRIVILEGES"),
        ("create unique index on t (a)", UTILITY, "CREATE INDEX"),
        ("drop owned by x", UTILITY, "DROP OWNED"),
        ("truncate t", UTILITY, "TRUNCATE TABLE"),
        ("do $$ ; $$", UTILITY, "DO"),
        ("discard temporary", UTILITY, "DISCARD TEMP"),
        ("nonsense", UTILITY, ""),
    ],
)
def test_kinds_and_tags(text: str, kind: str, tag: str) -> None:
    """The kind says how a statement is to be judged, the tag is PostgreSQL's."""
    found = only(text)
    assert (found.kind, found.tag) == (kind, tag)


@pytest.mark.parametrize(
    ("text", "inner"),
    [
        ("explain select 1", "select 1"),
        ("explain (analyze, costs off) (select 1)", "(select 1)"),
        ("explain (values (1))", "(values (1))"),
        ("explain analyze verbose create table t as select 1 with no data", "select 1"),
        ("declare c insensitive cursor with hold for select 1 for update", "select 1 for update"),
        ("copy (select (1), ')') to stdout", "select (1), ')'"),
        ("create table x.as as table t", "table t"),
        ("create temp table t (a, b) with (fillfactor = 10) on commit drop as values (1, 2)", "values (1, 2)"),
        ("create materialized view if not exists v as select 1 with data", "select 1"),
        ("create view v with (security_barrier) as select 1 with local check option", "select 1"),
        ("prepare p (int, numeric(3, 2)) as delete from t", "delete from t"),
        ("select 1, 2 into temp table a.b from t", "select 1, 2                     from t"),
        ("select 1 into temp from t", "select 1           from t"),
        ("execute p (1, 'x')", None),
        ("execute p (f(1))", "SELECT f(1)"),
        ("call p (a => f(1), variadic array[g()])", "SELECT      f(1),          array[g()]"),
        ("create function f() returns int language sql as 'select 1'", None),
        ("create table t (a int generated always as (1) stored)", None),
    ],
)
def test_the_query_inside(text: str, inner: str | None) -> None:
    """It is found where the grammar has it, and nothing else with it."""
    assert only(text).inner == inner


def test_recursive_views_are_what_they_mean() -> None:
    """CREATE RECURSIVE VIEW stands for a query with a WITH RECURSIVE of the view's own name."""
    found = only("create recursive view s.v (n) as values (1) union all select n + 1 from v")
    assert found.inner is not None
    assert found.inner.startswith("WITH RECURSIVE v (n) AS (values (1) union all select n + 1 from v")


@pytest.mark.parametrize(
    ("text", "executes"),
    [
        ("explain delete from t", False),
        ("explain verbose delete from t", False),
        ("explain (costs off) delete from t", False),
        ("explain (analyze off) delete from t", False),
        ("explain (analyze false, verbose) delete from t", False),
        ("explain (ANALYZE 0) delete from t", False),
        ("explain analyze delete from t", True),
        ("explain analyse verbose delete from t", True),
        ("explain (analyze) delete from t", True),
        ("explain (verbose, analyze on) delete from t", True),
        ("explain (analyze false, analyze) delete from t", True),
        ("explain (analyze 1) delete from t", True),
        ('explain ("analyze") delete from t', True),
        ('explain (u&"\\0061nalyze") delete from t', True),
        ("explain (analyze 'maybe') delete from t", True),
    ],
)
def test_explain_that_runs(text: str, executes: bool) -> None:
    """Only an EXPLAIN that plainly doesn't analyze doesn't run its query."""
    assert only(text).executes is executes


def test_prepared_statements() -> None:
    """The types of PREPARE, the name of EXECUTE, however deep."""
    assert only("prepare p (int, numeric(3, 2)) as select $1").types == ("int", "numeric(3, 2)")
    assert only("prepare p as select $1").parameters
    for text in ("execute p", "explain analyze execute p(1)", "create table t as execute p"):
        assert only(text).runs == "p"


@pytest.mark.parametrize(
    "text", ["select '", 'select "x', "/* x", "select $$ x", "select 1\0", "select '\ud800'", "1a"]
)
def test_unreadable(text: str) -> None:
    """What the scanner can't read isn't guessed at."""
    with pytest.raises(Unreadable):
        split(text)


def test_backslashes_while_quoting_is_the_old_one() -> None:
    """A plain literal with a backslash ends elsewhere when standard_conforming_strings is off."""
    text = r"select 'x\' , '; delete from t; --'"
    assert len(split(text)) == 1
    with pytest.raises(Unreadable):
        split(text, False)
    assert len(split(r"select E'x\'', $$\$$", False)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "select " + "1+" * (8 << 20) + "1",
        "select '" + "x" * (15 << 20) + "'",
        "select " + "1+" * 100_000 + "1",
        "(" * 50_000 + "1" + ")" * 50_000,
        "/*" * 200_000,
        "+" * 200_000,
        "+-" * 200_000,
        ";" * 290_000,
        "'" * 1_000_001,
        "$a" * 1_000_000,
        "\u00a0 " * 1_000_000,
        "create function f() begin atomic " + "select 1;" * 60_000,
        "explain " * 200_000,
        "execute p(" * 60_000,
        "create rule " + "(" * 100_000 + ";" * 100_000,
    ],
    ids=lambda text: text[:10],
)
def test_large_texts_end_in_bounded_time(text: str) -> None:
    """Whatever 16 MB hold, there is an answer soon."""
    began = time.process_time()
    try:
        split(text)
    except Unreadable:
        pass
    shape(text)
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select 1", "select /* x */ 2"),
        ("select  1 -- x\n, 'a'", "select 7,'b''c'"),
        ("select 5000000000", "select 6000000000"),
        ("select 1.5", "select 1e9"),
        ("select * from t limit 10", "select * from t limit 20"),
        ("select a from t order by a limit 1", "select a from t order by a limit 2"),
        ("select a like 'x%'", "select a like 'y%'"),
        ("select (select 1 order by 1), 2", "select (select 3 order by 1), 4"),
    ],
)
def test_shapes_that_are_one(one: str, other: str) -> None:
    """Comments, white space and constants of a class make no difference."""
    assert shape(one) is not None
    assert shape(one) == shape(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select 1", "select 5000000000"),
        ("select 1", "select 1.0"),
        ("select 1", "select '1'"),
        ("select 'a'", "select E'a'"),
        ("select 'a'", "select B'1'"),
        ("select x'1'", "select b'1'"),
        ("select 9223372036854775807", "select 9223372036854775808"),
        ("select a from t order by 1", "select a from t order by 2"),
        ("select a from t group by a, (2)", "select a from t group by a, (1)"),
        ("select a from t order by t.limit, 2", "select a from t order by t.limit, 1"),
        ("select distinct on (1) a, b from t", "select distinct on (2) a, b from t"),
        ("select sum(a) over (partition by a, 1)", "select sum(a) over (partition by a, 2)"),
        ("select 'a'::regclass", "select 'b'::regclass"),
        ("select ('a')::regclass", "select ('b')::regclass"),
        ("select array['a', 'c']::regclass[]", "select array['b', 'c']::regclass[]"),
        ("select cast('a' as regclass)", "select cast('b' as regclass)"),
        ("select regclass 'a'", "select regclass 'b'"),
        ("select interval(3) '1' day", "select interval(3) '2' day"),
        ("select u&'a'", "select u&'b'"),
        ("select a", 'select "a"'),
        ("select $1", "select $2"),
        ("select a from b", "select a from c"),
        ("select - 1", "select + 1"),
        ('select "a" "b"', 'select "a"" ""b"'),
    ],
)
def test_shapes_that_differ(one: str, other: str) -> None:
    """Whatever may change what a statement means is kept."""
    assert shape(one) != shape(other)


def test_numbers_of_tokens() -> None:
    """The numbers that tokens have here are those of the libpg_query that is installed."""
    numbers = dict(Token.items())
    named = {
        name: value for name, value in vars(tokens).items() if name in numbers and name != "CLOSE"
    }  # the bracket, not the word
    assert len(named) > 30
    assert named == {name: numbers[name] for name in named}


@pytest.mark.parametrize(
    ("context", "statement"),
    [
        ('SQL statement "drop table x"\nPL/pgSQL function f() line 1 at EXECUTE', "drop table x"),
        ('SQL statement "drop table\n"x y""', 'drop table\n"x y"'),
        (
            'SQL statement "drop table x"\nPL/pgSQL function g() line 1 at SQL\nSQL statement "SELECT g()"\nPL',
            "drop table x",
        ),
        ('SQL statement "listen a"\nPL/pgSQL function f"\nPL/pgSQL function f() line 1 at EXECUTE', "listen a"),
        ('SQL statement "listen "a"\n"\nPL/pgSQL function f() line 1 at EXECUTE', 'listen "a"\n'),
        ('SQL statement "create table a (b int) -- "\n"\nPL/pgSQL function f() line 1 at EXECUTE', None),
        ('SQL statement "drop table', None),
        ('SQL function "f" statement 1', None),
        ("", None),
    ],
)
def test_contexts(context: str, statement: str | None) -> None:
    """The innermost statement is told when only one reading of the context is SQL."""
    assert context_statement(context) == statement
