"""What counts as reading: when in doubt, a statement writes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sql.reading import only_reads

READS = [
    "select 1",
    "SELECT abalance FROM pgbench_accounts WHERE aid = $1;",
    "select count(*), max(x) from t where y in (1, 2) group by z having min(q) > 3",
    "select * from (select 1) as s join lateral (values (1)) v using (x)",
    "  \n\tselect coalesce ( a, b ) from t",
    "values (1), (2)",
    "table t",
    "show work_mem",
    "begin",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "start  transaction read only",
    "rollback",
    "rollback to savepoint s",
    "abort;",
    "select 'größe', 1;  ",
    "select 1.0 * (2)",
]

WRITES = [
    "",
    ";",
    "insert into t values (1)",
    "update t set x = 1",
    "delete from t",
    "commit",
    "end",
    "do $$ begin end $$",
    "call p()",
    "copy t from stdin",
    "fetch c",
    "execute s",
    "with d as (delete from t returning *) select * from d",
    "with s as (select 1) select * from s",
    "select nextval('s')",
    "select setval ('s', 1)",
    "select f()",
    "select f \n ()",
    "select public.f(1)",
    "select evil.lower('x')",
    "select evil . lower('x')",
    "select evil.\n lower ('x')",
    "select evil. /**/ lower('x')",
    'select "f"(1)',
    'select U&"\\0066"(1)',
    'select U&"f"(1)',
    "select E'a\\'b', f(1)",
    "select E'\\'' || f('x')",
    "select $$x$$ || f()",
    "select $a$'$a$ || f()",
    "select 1 operator(public.+) 2",
    "select lo_unlink(1)",
    "select pg_terminate_backend(1)",
    "select dblink_exec('x', 'drop table t')",
    "select set_config('a.b', 'c', false)",
    "values (f())",
    "values (1, nextval('s'))",
    "select * from f()",
    "select * from t, lateral f(t.x)",
    "select * from rows from (f(), g())",
    "select 1 into t",
    "select 1 INTO TEMP t",
    "select * from t for update",
    "select * from t for no key update",
    "select * from t for share",
    "select * from t for key share",
    "explain analyze delete from t",
    "explain select 1",
    "select 1; delete from t",
    "select 1;; delete from t",
    "begin; delete from t",
    "begin; delete from t; commit",
    "select 1 /* ; */",
    "select 1 -- ; \n; delete from t",
    "rollback prepared 'x'",
    "prepare transaction 'x'",
    "selectx",
    "select_f()",
    "showx",
    "select cast(f(1) as int)",
    "select f$1(2)",
    "select lowerf(1)",
    "select ran\u212a(1)",  # the Kelvin sign: Python's lower() makes a k of it, PostgreSQL's doesn't
    "select \u20aclower(1)",  # a sign that is no letter to Python, and part of a name to PostgreSQL
    "select lower\u00a0(1)",  # a space that is no space to PostgreSQL
    "select evil.\u00a0lower(1)",
    "\u00a0select 1",
    "\u017felect 1",  # the long s
]


@pytest.mark.parametrize("statement", READS)
def test_reads(statement: str) -> None:
    """Statements that plainly only read are told to."""
    assert only_reads(statement)


@pytest.mark.parametrize("statement", WRITES)
def test_writes(statement: str) -> None:
    """Whatever writes, may write, or takes a scanner to tell counts as writing."""
    assert not only_reads(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "select (1), '" + "a" * 1_000_000 + "'",
        "select (1), " + " " * 1_000_000,
        "select (1)" + ". " * 500_000,
        "select " + "(" * 1_000_000,
        "select " + "a (" * 300_000,
        "select " + "lower(" * 150_000,
        "select " + "$1" * 500_000,
        "select 1" + ";" * 1_000_000,
        "select 1" + " " * 1_000_000 + ";",
        " " * 1_000_000,
        "start" + " " * 1_000_000,
    ],
    ids=lambda statement: f"{statement[:12]!r}",
)
def test_time_is_linear(statement: str) -> None:
    """A megabyte of whatever is looked at in no time."""
    begun = time.process_time()
    only_reads(statement)
    assert time.process_time() - begun < 2


@given(st.text(max_size=60), st.sampled_from(READS))
def test_second_statement_writes(text: str, first: str) -> None:
    """Nothing that follows a semicolon makes two statements look like one that reads."""
    statement = f"{first.rstrip('; ')}; {text}x"
    assert not only_reads(statement)


@given(st.text("abcdefghijklmnopqrstuvwxyzäé€$_", max_size=12), st.sampled_from(["", " ", "\n", "\u2003", ". "]))
def test_unknown_calls_write(name: str, space: str) -> None:
    """A call of anything but the known functions writes, however it is spelt."""
    assert not only_reads(f"select evil{name}{space}(1)")
    assert not only_reads(f"select evil.{space.strip(' .')}{name}lower (1)")


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    """Any text is told to read or to write."""
    assert only_reads(text) in (True, False)
