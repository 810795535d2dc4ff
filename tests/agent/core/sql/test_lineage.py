"""Where outputs come from, by trees built by hand; tests/e2e/test_policy_lineage.py has real servers' trees."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.sql import lineage
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Move, Output, Source, Wanted, together, wanted_together
from agent.core.sql.nodes import TreeError, read
from agent.core.sql.outputs import Given, of_table, of_trees, renamed
from agent.core.sql.relations import Relation, Trigger
from agent.core.sql.routines import Routine
from agent.core.sql.sources import UNKNOWN_COLUMN
from tests.agent.core.sql.test_columns import (
    CHILD,
    COPY,
    NOISY,
    ONLY,
    TABLE,
    UPPER,
    VIEW,
    WHOLE,
    call,
    equal,
    known,
    nested,
    select,
    subquery,
    table,
    target,
    var,
)

CONFIG, READ, ACTIVITY, DBLINK = 2078, 2079, 2022, 20011


def facts() -> Facts:
    found = known()
    found.routines[67] = Routine(67, "pg_catalog", "texteq", "internal", volatility="i")
    found.routines[CONFIG] = Routine(CONFIG, "pg_catalog", "set_config", "internal")
    found.routines[READ] = Routine(READ, "pg_catalog", "pg_read_file", "internal")
    found.routines[ACTIVITY] = Routine(ACTIVITY, "pg_catalog", "pg_stat_get_activity", "internal", volatility="s")
    found.routines[DBLINK] = Routine(DBLINK, "app", "dblink", "c")
    return found


def outermost(tree: str) -> str:
    return tree.replace(":commandType 1", ":commandType 1 :canSetTag true", 1)


def told(tree: str, having: Facts | None = None) -> Given:
    found = of_trees(read(outermost(tree)), having or facts())
    assert isinstance(found, Given), found
    return found


def names(tree: str, having: Facts | None = None) -> list[tuple[str, ...]]:
    outputs = told(tree, having).outputs
    assert outputs is not None
    return [tuple(source.column for source in output.sources) for output in outputs]


def writes(command: int, more: str, entries: tuple[str, ...] = (ONLY,), returning: str = "") -> str:
    return (
        f"{{QUERY :commandType {command} :canSetTag true :resultRelation 1 :rtable ({' '.join(entries)})"
        f" :targetList ({more}) :returningList ({returning})}}"
    )


def test_asks_for_what_it_needs() -> None:
    """Facts that aren't known are asked for, and what was found without them isn't told."""
    found = of_trees(read(outermost(select(call(UPPER, var(1, 3))))), Facts())
    assert isinstance(found, Wanted)
    assert found.relations == {TABLE}
    assert found.routines == {UPPER}
    assert found.names == {("columns", str(TABLE))}


def test_plain_and_made() -> None:
    """A column as it stands is told from what is made of one, and each column from the others beside it."""
    outputs = told(
        select(var(1, 1), call(UPPER, var(1, 3)), entries=(ONLY,), quals=equal(var(1, 2), var(1, 2)))
    ).outputs
    assert outputs == (
        Output("x", (Source("app.users.id", (), True),)),
        Output("x", (Source("app.users.email"),)),
    )


def test_conditions_and_unused_columns_are_no_sources() -> None:
    """Neither what rows are chosen by nor what a sub-select puts out to nobody has part in an output."""
    below = select(var(1, 1), var(1, 3), entries=(ONLY,), quals=equal(var(1, 2), var(1, 3)))
    assert names(select(var(1, 1), entries=(subquery(below),))) == [("app.users.id",)]
    sorted_by = target(2, var(1, 3), "true", 1)
    assert names(select(var(1, 1), sorted_by, entries=(ONLY,))) == [("app.users.id",)]


def test_children_and_parents() -> None:
    """A column goes by the names of its table's parents, and of the children that are read with it."""
    assert names(select(var(1, 3))) == [("app.staff.email", "app.users.email")]
    assert names(select(var(1, 3), entries=(table(CHILD),))) == [("app.staff.email", "app.users.email")]
    assert names(select(var(1, 3), entries=(ONLY,))) == [("app.users.email",)]


def test_definitions() -> None:
    """What a materialized view, or a view that isn't expanded, is defined to be is followed, and by its own name."""
    outputs = told(select(var(1, 2), entries=(table(COPY, "m"),))).outputs
    assert outputs is not None
    assert outputs[0].sources == (
        Source("app.copy.mail", (), True),
        Source("app.staff.email", ("materialized view app.copy", "table app.users"), True),
        Source("app.users.email", ("materialized view app.copy",), True),
    )
    assert "app.users.email" in names(select(var(1, 2), entries=(table(VIEW, "v"),)))[0]


def test_code() -> None:
    """Code of users makes an output opaque; code in C, files and other places may hold any column."""
    outputs = told(select(call(NOISY, var(1, 1)), call(UPPER, var(1, 1)), call(READ), call(DBLINK))).outputs
    assert outputs is not None
    assert [one.opaque for one in outputs] == [True, False, False, False]
    found = [UNKNOWN_COLUMN in [source.column for source in one.sources] for one in outputs]
    assert found == [False, False, True, True]


def test_text_of_statements() -> None:
    """Of what tells about sessions, one column holds what they sent."""
    function = f"{{RANGETBLFUNCTION :funcexpr {call(ACTIVITY)} :funccolcount 20}}"
    entry = f"{{RANGETBLENTRY :rtekind 3 :functions ({function}) :funcordinality false}}"
    assert names(select(var(1, 2), var(1, 6), var(1, 0), entries=(entry,))) == [(), ("*",), ("*",)]
    assert names(select(call(ACTIVITY), f"{{FIELDSELECT :arg {call(ACTIVITY)} :fieldnum 6}}")) == [("*",), ("*",)]


def test_parameters() -> None:
    """Parameters that have part in an output are told."""
    outputs = told(select("{PARAM :paramkind 0 :paramid 1}", var(1, 1), entries=(ONLY,))).outputs
    assert outputs is not None
    assert [one.parameters for one in outputs] == [True, False]


def test_written_and_returned() -> None:
    """What is written is told with its target; what a row returns is what was written to it, too."""
    update = writes(2, target(2, var(1, 3)), returning=target(1, var(1, 2)))
    found = told(update)
    children = ("app.staff.name",)
    assert found.moves == (Move("app.users.name", children, (Source("app.users.email", (), True),)),)
    assert names(update) == [("app.users.email", "app.users.name")]
    assert told(writes(4, "", returning=target(1, var(1, 2)))).outputs == (
        Output("x", (Source("app.users.name", (), True),)),
    )
    assert told(writes(2, target(2, var(1, 2)))).moves == ()


def test_triggers() -> None:
    """A trigger that may change a row before it is written makes what is returned of it opaque."""
    for events, opaque in ((19, True), (21, False), (3 | 4, True)):
        having = facts()
        having.relations[CHILD] = Relation(CHILD, "app", "staff", "r", triggers=(Trigger(events, NOISY),))
        entry = table(CHILD, inh="false")
        outputs = told(writes(2, "", (entry,), target(1, var(1, 2))), having).outputs
        assert outputs is not None
        assert outputs[0].opaque == opaque


def test_given_to_routines() -> None:
    """What a routine that does more than compute is given goes where that puts it, wherever it is called."""
    below = select(call(CONFIG, var(1, 3)), entries=(ONLY,))
    found = told(select("{CONST :consttype 23}", entries=(subquery(below),)))
    assert [move.column for move in found.moves] == ["pg_catalog.pg_settings.setting"]
    link = f"{{SUBLINK :subLinkType 4 :testexpr <> :subselect {select(call(DBLINK, var(1, 3, up=1)))}}}"
    found = told(select(link, entries=(ONLY,)))
    assert found.moves == (Move("app.dblink()", (), (Source("app.users.email", (), True),)),)


def test_several_trees() -> None:
    """Of what a rule makes of a statement, the tree that says so returns its rows; of two nothing is known."""
    one = outermost(select(var(1, 1), entries=(ONLY,)))
    other = select(var(1, 3), entries=(ONLY,))
    assert of_trees(read(f"({other} {one})"), facts()) == told(select(var(1, 1), entries=(ONLY,)))
    assert of_trees(read(f"({one} {one})"), facts()) == Given()
    assert of_trees(read("{PLANNEDSTMT :x 1}"), facts()) == Given()
    assert of_trees(read("{QUERY :commandType 6 :canSetTag true}"), facts()) == Given(())


def test_table_as_a_whole() -> None:
    """COPY of a table puts out its columns; those that don't exist aren't known."""
    found = of_table(TABLE, (), facts())
    assert isinstance(found, tuple)
    assert [one.name for one in found] == ["id", "name", "email"]
    assert found[2].sources == (Source("app.users.email", (), True),)
    assert of_table(TABLE, ("ssn",), facts()) is None


def test_renamed() -> None:
    """A table that is made of a query has its columns, some by other names; those of constants aren't moves."""
    outputs = (Output("a", (Source("x.y.z"),)), Output("b"), Output("c", (), True))
    assert renamed(outputs, "app.t", ("k",)) == (
        Move("app.t.k", (), (Source("x.y.z"),)),
        Move("app.t.c", (), (), True),
    )


def test_together() -> None:
    """Several statements return nothing that is known; what they move is put together, and so is what they want."""
    one = told(writes(2, target(2, var(1, 3))))
    both = together(Found(moves=one.moves, outputs=()), Found(outputs=()))
    assert both.moves == one.moves
    assert both.outputs is None
    assert wanted_together(Wanted(frozenset((1,))), Wanted(frozenset((2,)))).relations == {1, 2}


@pytest.mark.parametrize(
    "tree",
    [
        select(var(2, 1)),
        select(var(1, 9)),
        select(var(1, 1, up=1)),
        select("{VAR :varno -4 :varattno 1 :varlevelsup 0}"),
        select(var(1, 1), entries=("{RANGETBLENTRY :rtekind 12 :relid 0}",)),
        select(var(1, 1), entries=("{RANGETBLENTRY :rtekind 1 :relid 0}",)),
        select(var(1, 2), entries=(subquery(select(var(1, 1))),)),
        select(var(1, 1), entries=("{RANGETBLENTRY :rtekind 6 :ctename w :ctelevelsup 0}",)),
        select(var(1, 3), entries=("{RANGETBLENTRY :rtekind 2 :joinaliasvars (<>)}",)),
        select("{PARAM :paramkind 3 :paramid 65537}"),
        select(var(1, 1), entries=(table(4711),)),
    ],
)
def test_not_understood(tree: str) -> None:
    """What isn't understood may come from any column."""
    having = facts()
    having.relations[4711] = None
    having.names["columns", "4711"] = ()
    assert UNKNOWN_COLUMN in names(tree, having)[0]


def test_deep() -> None:
    """Sub-selects in one another, chains of operators and fields of fields take no stack."""
    assert names(nested(1000))[0] == ("app.users.email",)
    value = "{OPEXPR :opno 98 :opfuncid 67 :opresulttype 16 :args (" * 20_000 + var(1, 3) + ")}" * 20_000
    assert names(select(value, entries=(ONLY,))) == [("app.users.email",)]
    value = "{FIELDSELECT :arg " * 20_000 + var(1, 3) + " :fieldnum 2}" * 20_000
    assert names(select(value, entries=(ONLY,))) == [("app.users.email",)]


def test_too_much() -> None:
    """What would take too long to follow may come from anywhere; what was found till then stays."""
    value = "{COALESCEEXPR :args (" + " ".join([var(1, 3)] * lineage.MAX_STEPS) + ")}"
    found = names(select(var(1, 1), value, var(1, 1), entries=(ONLY,)))
    assert found == [("app.users.id",), ("*", "app.users.email"), ("*",)]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE)), st.integers(0, 12), st.text("0129 :(){}<>QUERYvarno", max_size=8))
def test_any_tree(place: int, length: int, text: str) -> None:
    """Whatever a tree looks like, it is read, or not understood, and nothing worse."""
    try:
        trees = read(WHOLE[:place] + text + WHOLE[place + length :])
    except TreeError:
        return
    assert isinstance(of_trees(trees, facts()), Given | Wanted)
