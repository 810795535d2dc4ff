"""How far a source's code may reach: what it names, and what texts it puts together may name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sql.reach import ANY_TABLE, Reach, named, programs, reach


def code(body: str) -> Reach:
    return reach(f"declare t text; begin {body}; end", "plpgsql")


@pytest.mark.parametrize(
    "body",
    [
        "delete from app.users where id = 1",
        "execute 'select 1' into n",
        "execute 'select 1' || ' where ' || quote_ident(t) || ' = ' || quote_literal(t) using n",
        "execute format('select count(*) from app.%I where x = %L', t, t)",
        "execute format('select %2$I.%1$I from x', a, b.c)",
        "execute format('%s where id = $1', 'select 1') using 3",
        "execute pg_catalog.format('select %s', 7)",
        "execute ('select ' || ('1'))",
        "for r in execute 'select 1' loop n := 1; end loop",
        "return query execute 'select $1' using 1",
        "open c for execute 'select 1'",
        "grant execute on function f() to public",
        "create trigger x before insert on y for each row execute function z()",
        "if t ~ '\\d+' then insert into x values (E'a\\n''b') on conflict do nothing; end if",
        "raise notice 'execute order %', 66; insert into x values (1) on conflict do nothing",
        "create function f() returns int language plpgsql as $$ begin execute 'select 1'; return 1; end $$",
    ],
)
def test_known(body: str) -> None:
    """What is put together from constants, quoted names and values is known."""
    assert not code(body).anything


@pytest.mark.parametrize(
    "body",
    [
        "execute t",
        "execute $1",
        "execute 'select ' || t",
        "execute chr(99) || 'opy'",
        "execute format('select %s', t)",
        "execute format(t, 'x')",
        "execute format('select %I()', t)",
        "execute format('select db%I', t)",
        "execute format('select ''%I''', t)",
        "execute format('select $a$%L$a$', t)",
        "execute format('select 1 -- %I', t)",
        "execute format(format('%I', t), 'x')",
        "execute format('select U&%L', t)",
        "execute format('do %L', t)",
        "execute format('create function f() returns int language sql as %L', t)",
        "execute 'exec' || 'ute p'",
        "execute 'execute p'",
        "execute E'dblin\\x6b'",
        "execute U&'\\0064'",
        "execute 'a'\n'b'",
        'perform U&"\\0064blink"()',
        "create function f() returns int language plpgsql as $$ begin execute t; end $$",
        "create function f() returns int language plpgsql as 'begin execute ''a'' || t; end'",
        "create function f() returns int language plpgsql as E'begin \\x65xecute t; end'",
        "create function f() returns int language sql as 'execute p'",
        "do $$ begin do $a$ begin execute t; end $a$; end $$",
        "perform query_to_xml('select 1', true, false, '')",
        "perform set_config('standard_conforming_strings', 'off', true)",
        "execute procedure || 'x'",
    ],
)
def test_anything(body: str) -> None:
    """What can't be told may be anything."""
    assert code(body).anything


def test_words() -> None:
    """Names are found in every text that may be run, in any case, quoted too; unknown tables are said to be unknown."""
    assert {"app", "dblink_exec", "delete"} <= code("perform app.DBLINK_Exec('x', 'delete')").words
    assert "my table" in code('delete from "My Table"').words
    assert "dblink" in code("execute 'select db' || 'link()'").words
    assert ANY_TABLE in code("execute format('insert into %I values (1)', t)").words
    assert ANY_TABLE not in code("execute format('insert into x values (%L)', t)").words


def test_copies() -> None:
    """COPY is one where a statement begins, not where a column is called so."""
    assert programs(code("copy x to program 'y'"))
    assert programs(code("if n = 1 then COPY x from PROGRAM 'y'; end if"))
    assert programs(code("execute 'copy (select 1) to program ' || quote_literal(t)"))
    assert programs(reach("do $$ begin copy x to program 'y'; end $$", "sql"))
    assert not programs(code("insert into t (copy, program) values (1, 'copy to program')"))
    assert not programs(code("copy x to '/tmp/x'"))
    assert [str(one) for one in named(code("copy x to '/tmp/x'"))] == ["COPY FILE ?"]


def test_what_lasts_is_named() -> None:
    """The server's own functions whose effect lasts are told by their names; all of them, of what may be anything."""
    assert [str(one) for one in named(code("perform pg_reload_conf()"))] == ["EXECUTE pg_catalog.pg_reload_conf"]
    assert named(code("select 1")) == []
    assert len(named(code("execute t"))) > 20


@pytest.mark.parametrize(("language", "trusted"), [("plpython3u", False), ("plperl", True), ("plpgsql", False)])
def test_other_languages(language: str, trusted: bool) -> None:
    """What isn't SQL or PL/pgSQL isn't understood."""
    assert reach("begin end", language, trusted).anything


def test_too_much() -> None:
    """A source with too many words, or texts too deep in one another, may be anything; both end."""
    assert code("; ".join(f"a{n} := 1" for n in range(5_000))).anything
    body = "select 1"
    for n in range(9):
        body = f"do $a{n}$ begin {body}; end $a{n}$"
    assert code(body).anything


@given(st.text(max_size=200))
def test_any_text(source: str) -> None:
    """Any text at all has an answer."""
    assert isinstance(reach(source, "plpgsql"), Reach)
    assert isinstance(reach("execute format(" + source, "plpgsql"), Reach)
