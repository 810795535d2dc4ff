"""Where each column that a statement returns or writes comes from, by the trees of real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Output, Wanted
from agent.core.sql.judgement import Inside, Judgement, TreeWanted
from agent.core.sql.nodes import read
from agent.core.sql.outputs import Given, of_table, of_trees
from agent.core.sql.statements import split
from tests.e2e.lineage_cases import MOVES, OUTPUTS
from tests.e2e.servers import Server
from tests.e2e.test_policy_columns import SCHEMA
from tests.e2e.test_policy_columns import told as columns_told
from tests.e2e.trees import MOST_ROUNDS, Shown


@pytest.fixture(scope="module", params=["pg15", "pg18"])
def server(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture(scope="module")
def shown(server: Server) -> Iterator[Shown]:
    server.sql("CREATE DATABASE lineage")
    server.sql(SCHEMA, database="lineage")
    shown = Shown(server.dsn(database="lineage"))
    shown.facts.columns = True
    yield shown
    shown.close()
    server.sql("DROP DATABASE lineage WITH (FORCE)")


def given(shown: Shown, *trees: str) -> Given:
    nodes = [node for tree in trees for node in read(tree)]
    rounds = 0
    while isinstance(found := of_trees(nodes, shown.facts), Wanted):
        rounds += 1
        assert rounds < MOST_ROUNDS, found
        shown.ask(found)
    return found


def judged(shown: Shown, statement: str, facts: Facts | None = None) -> Found:
    """As a session has a statement judged before it runs."""
    judgement = Judgement(split(statement)[0], facts or shown.facts)
    rounds = 0
    while not isinstance(found := judgement.step(), Found):
        rounds += 1
        assert rounds < 4 * MOST_ROUNDS, found
        if isinstance(found, TreeWanted):
            judgement.tree(shown.trees(found.statement))
        else:
            shown.ask(found)
    return found


def told(output: Output) -> str:
    """As the cases have it."""
    return " ".join(
        [
            *(["!"] if output.opaque else []),
            *(["$"] if output.parameters else []),
            *[
                f"{'=' if one.plain else ''}{one.column}"
                for one in output.sources
                if not one.column.startswith("pg_catalog.")
            ],
        ]
    )


@pytest.mark.parametrize("statement", OUTPUTS)
def test_outputs(shown: Shown, statement: str) -> None:
    """Each column names all that its values are made of, and no more; all of it is let out by the statement."""
    tree = shown.tree(statement)
    found = given(shown, tree)
    assert found.outputs is not None
    assert " | ".join([told(one) for one in found.outputs]) == OUTPUTS[statement]
    named = {one.column for output in found.outputs for one in output.sources if one.column[:2] == "a."}
    assert named <= set(columns_told(shown, tree).shown)


@pytest.mark.parametrize("statement", MOVES)
def test_moves(shown: Shown, statement: str) -> None:
    """Each column that is written names what the values written to it are made of."""
    found = given(shown, shown.tree(statement))
    moves = [f"{one.column} <- {told(Output('', one.sources, one.opaque, one.parameters))}" for one in found.moves]
    assert " | ".join(moves) == MOVES[statement]


def test_paths(shown: Shown) -> None:
    """A source tells through what its values come, the nearest first."""

    def paths(statement: str) -> dict[str, tuple[str, ...]]:
        outputs = given(shown, shown.tree(statement)).outputs
        return {} if outputs is None else {one.column: one.path for one in outputs[0].sources}

    assert paths("select mm from a.vv") == {
        "a.vv.mm": (),
        "a.v.mm": ("view a.vv",),
        "a.t.m": ("view a.vv", "view a.v"),
    }
    assert paths("with w as (select um from a.mv) select * from w") == {
        "a.mv.um": ("with w",),
        "a.v.um": ("with w", "materialized view a.mv"),
        "a.t.m": ("with w", "materialized view a.mv", "view a.v"),
    }
    assert paths("select up from a.g") == {"a.g.up": (), "a.g.m": ("generated a.g.up",)}
    assert paths("select m from a.p1") == {"a.p1.m": (), "a.p.m": ("table a.p1",)}


UTILITY = {
    "explain select m from a.t": "",
    "explain (analyze, costs off) select a.other(1)": "!",
    "copy (select m, n from a.t) to stdout": "=a.t.m | =a.t.n",
    "copy a.o to stdout": "=a.o.id | =a.o.t | =a.o.x",
    "copy a.g to stdout": "=a.g.id | =a.g.m",
    "copy a.p1 (m) to stdout": "=a.p.m =a.p1.m",
    "copy a.t from stdin": "",
    "prepare p as select upper(m) from a.t": "a.t.m",
    "declare c cursor for select n from a.t": "=a.t.n",
    "execute kept(1)": "=a.t.m | $",
    "show work_mem": "",
    "begin": "",
    "set work_mem = '4MB'": "",
    "create table a.made (y) as select m, n from a.t": "",
    "do 'begin end'": "",
    "vacuum a.t": "",
}


@pytest.mark.parametrize("statement", UTILITY)
def test_utility(shown: Shown, statement: str) -> None:
    """What utility statements return is told of the query in them, of a table, or of what they execute."""
    shown.run("deallocate all")
    shown.run("prepare kept (int) as select m, $1 from a.t")
    shown.facts.forget()
    found = judged(shown, statement)
    assert found.outputs is not None
    assert " | ".join([told(one) for one in found.outputs]) == UTILITY[statement]


def test_unknown_outputs(shown: Shown) -> None:
    """What isn't known here is None; the name of a cursor is told where it is declared and where it is read."""
    assert judged(shown, "fetch 3 from c").outputs is None
    assert judged(shown, "fetch 3 from c").cursor == "c"
    assert judged(shown, 'declare "C" cursor for select 1').cursor == "C"
    assert judged(shown, "call a.nothing()").outputs is None
    assert Found().outputs is None


MADE = {
    "create table a.made (y) as select m, n from a.t": "a.made.y <- a.t.m | a.made.n <- a.t.n",
    "create temp table made as select upper(m) as u from a.t": "pg_temp.made.u <- a.t.m",
    "select id as i, m into a.made from a.t": "a.made.i <- a.t.id | a.made.m <- a.t.m",
    "create materialized view a.made as select m from a.t with no data": "a.made.m <- a.t.m",
    "create view a.made (x) as select m from a.t": "a.made.x <- a.t.m",
    "create recursive view a.made (x) as select m from a.t": "a.made.x <- a.t.m",
    "create table a.made as execute kept(1)": "a.made.m <- a.t.m | a.made.?column? <- ",
    "explain analyze create table a.made as select m from a.t": "a.made.m <- a.t.m",
    "explain create table a.made as select m from a.t": "",
}


@pytest.mark.parametrize("statement", MADE)
def test_made(shown: Shown, statement: str) -> None:
    """What a table or a view is made of is told for each of its columns, by the names that they get."""
    shown.run("deallocate all")
    shown.run("prepare kept (int) as select m, $1 from a.t")
    shown.facts.forget()
    moves = judged(shown, statement).moves
    assert " | ".join(f"{one.column} <- {' '.join(s.column for s in one.sources)}" for one in moves) == MADE[statement]


def test_table(shown: Shown) -> None:
    """A table or a column that doesn't exist is not known."""
    table = int(shown.connection.execute("select 'a.o'::regclass::oid").fetchall()[0][0])
    for oid, names in ((1, ()), (table, ("nothing",)), (table, ("x", "nothing"))):
        while isinstance(found := of_table(oid, names, shown.facts), Wanted):
            shown.ask(found)
        assert found is None


def test_old_and_new(shown: Shown) -> None:
    """What RETURNING shows of a row as it was isn't made of what was written to it."""
    if shown.connection.info.server_version < 180000:
        pytest.skip("this server can't return the row as it was")
    statement = "update a.o set x = (select m from a.t limit 1) returning old.x, new.x, old, new.x || old.x, t"
    outputs = given(shown, shown.tree(statement)).outputs
    assert outputs is not None
    found = [{one.column for one in output.sources} & {"a.t.m", "a.o.x"} for output in outputs]
    assert found == [{"a.o.x"}, {"a.o.x", "a.t.m"}, {"a.o.x"}, {"a.o.x", "a.t.m"}, set()]
    merged = (
        "merge into a.o using a.t on t.id = o.id when matched then update set x = t.m"
        " when not matched then insert (id, x) values (t.id, t.n) returning merge_action(), o.x, old.x, t.k"
    )
    outputs = given(shown, shown.tree(merged)).outputs
    assert outputs is not None
    assert [told(one) for one in outputs] == ["", "=a.e.x =a.o.x =a.t.m =a.t.n", "=a.e.x =a.o.x", "=a.t.k"]


def test_virtual(shown: Shown) -> None:
    """A generated column that isn't stored is made of others, too."""
    if shown.connection.info.server_version < 180000:
        pytest.skip("this server has no such columns")
    shown.run("create table a.virtual (id int, m text, up text generated always as (upper(m)) virtual)")
    try:
        outputs = given(shown, shown.tree("select up, id from a.virtual")).outputs
        assert outputs is not None
        assert [told(one) for one in outputs] == ["a.virtual.m =a.virtual.up", "=a.virtual.id"]
    finally:
        shown.run("drop table a.virtual")
        shown.facts.forget()


def test_inside(shown: Shown) -> None:
    """What code writes is told by the trees that it prints; of a table that it makes, which queries it may be of."""
    inside = Inside(shown.facts)
    shown.printed_with_context.clear()
    shown.run(
        "do $$ begin create temp table inner_made as select upper(m) as u from a.t;"
        " update a.o set x = (select n from a.t limit 1); end $$"
    )
    for tree, context in shown.printed_with_context:
        inside.shown(tree, context)
    while not isinstance(found := inside.step(), Found):
        if isinstance(found, TreeWanted):
            inside.tree(shown.trees(found.statement))
        else:
            shown.ask(found)
    moves = {move.column: {one.column for one in move.sources} for move in found.moves}
    assert moves["a.o.x"] == {"a.t.n"}
    assert "a.t.m" in moves["pg_temp.inner_made.*"]
