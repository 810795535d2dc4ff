"""Which columns trees let something out of, built by hand; tests/e2e/test_policy_columns.py has real servers' trees."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.sql.columns import UNKNOWN_COLUMN, Used, of_table, used, uses
from agent.core.sql.facts import Facts
from agent.core.sql.found import Wanted
from agent.core.sql.nodes import TreeError, read
from agent.core.sql.relations import Relation
from agent.core.sql.routines import Routine

TABLE, VIEW, COPY, CHILD = 20001, 20002, 20003, 20004
UPPER, NOISY = 871, 20010


def var(entry: int, column: int, up: int = 0) -> str:
    return f"{{VAR :varno {entry} :varattno {column} :vartype 25 :varlevelsup {up} :location 1}}"


def call(oid: int, *args: str) -> str:
    return f"{{FUNCEXPR :funcid {oid} :funcresulttype 25 :funcretset false :args ({' '.join(args)})}}"


def equal(left: str, right: str) -> str:
    return f"{{OPEXPR :opno 98 :opfuncid 67 :opresulttype 16 :opretset false :args ({left} {right})}}"


def table(oid: int = TABLE, kind: str = "r", inh: str = "true") -> str:
    return f"{{RANGETBLENTRY :alias <> :rtekind 0 :relid {oid} :inh {inh} :relkind {kind} :securityQuals <>}}"


def subquery(query: str) -> str:
    return f"{{RANGETBLENTRY :alias <> :rtekind 1 :subquery {query} :relid 0 :securityQuals <>}}"


def target(number: int, value: str, junk: str = "false", sort: int = 0) -> str:
    return f"{{TARGETENTRY :expr {value} :resno {number} :resname x :ressortgroupref {sort} :resjunk {junk}}}"


def select(*values: str, entries: tuple[str, ...] = (table(),), quals: str = "<>", more: str = "") -> str:
    targets = " ".join(
        value if "TARGETENTRY" in value[:12] else target(at + 1, value) for at, value in enumerate(values)
    )
    refs = " ".join(f"{{RANGETBLREF :rtindex {at + 1}}}" for at in range(len(entries)))
    return (
        f"{{QUERY :commandType 1 :utilityStmt <> :rtable ({' '.join(entries)})"
        f" :jointree {{FROMEXPR :fromlist ({refs}) :quals {quals}}} :targetList ({targets}) {more}}}"
    )


def known() -> Facts:
    facts = Facts()
    facts.relations[TABLE] = Relation(TABLE, "app", "users", "r", descendants=(CHILD,))
    facts.relations[VIEW] = Relation(VIEW, "app", "contacts", "v")
    facts.relations[COPY] = Relation(COPY, "app", "copy", "m")
    facts.relations[CHILD] = Relation(CHILD, "app", "staff", "r", ancestors=(TABLE,))
    for oid in (TABLE, CHILD):
        facts.names["columns", str(oid)] = tuple(
            (str(at + 1), name, None, None, None, None) for at, name in enumerate(("id", "name", "email"))
        )
    for oid in (VIEW, COPY):
        facts.names["columns", str(oid)] = (("1", "id", None, None, None, None), ("2", "mail", None, None, None, None))
        definition = f"({select(var(1, 1), var(1, 3), quals=equal(var(1, 2), var(1, 2)))})"
        facts.names["definition", str(oid)] = ((definition, None, None, None, None, None),)
    facts.routines[UPPER] = Routine(UPPER, "pg_catalog", "upper", "internal", volatility="i")
    facts.routines[NOISY] = Routine(NOISY, "app", "noisy", "plpgsql")
    return facts


def told(tree: str, facts: Facts | None = None) -> Used:
    found = uses(read(tree), facts or known())
    assert isinstance(found, Used), found
    return found


ONLY = table(inh="false")


def test_asks_for_what_it_needs() -> None:
    """Names of relations and columns that aren't known are asked for, step by step, and nothing else is."""
    facts = known()
    empty = Facts()
    tree = read(select(var(1, 3)))
    asked = []
    while isinstance(found := used(tree, empty), Wanted):
        asked.append(found)
        assert len(asked) < 5
        for oid in found.relations:
            empty.relations[oid] = facts.relations[oid]
        for name in found.names:
            empty.names[name] = facts.names[name]
    assert found == ("app.staff.email", "app.users.email")
    assert asked[0] == Wanted(frozenset((TABLE,)), names=frozenset((("columns", str(TABLE)),)))


def test_shown_and_compared() -> None:
    """What is put out is apart from what rows are only chosen or sorted by; what is both is put out."""
    tree = select(var(1, 1), target(2, var(1, 2), "true", 1), entries=(ONLY,), quals=equal(var(1, 3), var(1, 1)))
    assert told(tree) == Used(("app.users.id",), ("app.users.email", "app.users.name"))
    assert used(read(tree), known()) == ("app.users.email", "app.users.id", "app.users.name")


def test_passed_on() -> None:
    """What a sub-select passes on or would compute counts where it is used; what may do more than that always does."""
    below = select(var(1, 1), var(1, 3), call(UPPER, var(1, 2)), entries=(ONLY,))
    assert told(select(var(1, 1), entries=(subquery(below),))).columns == ("app.users.id",)
    assert told(select(var(1, 3), entries=(subquery(below),))).columns == ("app.users.name",)
    below = select(var(1, 1), call(NOISY, var(1, 3)), entries=(ONLY,))
    assert told(select(var(1, 1), entries=(subquery(below),))).columns == ("app.users.email", "app.users.id")


def test_view_that_is_not_expanded() -> None:
    """Inside of stored definitions a view is an entry like a table's: its own definition is asked for, its conditions
    count; those of a materialized view, computed long ago, don't."""
    found = told(select(var(1, 2), entries=(table(VIEW, "v"),)))
    assert found.shown == ("app.contacts.mail", "app.staff.email", "app.users.email")
    assert found.compared == ("app.staff.name", "app.users.name")
    found = told(select(var(1, 2), entries=(table(COPY, "m"),)))
    assert found == Used(("app.copy.mail", "app.staff.email", "app.users.email"))


def test_table_as_a_whole() -> None:
    """Columns of a table by their names, and all of them."""
    assert of_table(CHILD, ("email",), known()) == Used(("app.staff.email", "app.users.email"))
    found = of_table(TABLE, (), known())
    assert isinstance(found, Used)
    assert found.shown == ("app.users.email", "app.users.id", "app.users.name")
    assert of_table(TABLE, ("ssn",), known()) == Used((UNKNOWN_COLUMN,))


def test_view_as_a_whole() -> None:
    """A materialized view that is read as a whole shows what it was made of."""
    found = of_table(COPY, (), known())
    assert isinstance(found, Used)
    assert {"app.copy.mail", "app.users.email"} <= set(found.shown)


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
        select(var(1, 1), entries=(table(4711),)),
    ],
)
def test_not_understood(tree: str) -> None:
    """A tree that isn't understood may be about any column."""
    facts = known()
    facts.relations[4711] = None
    facts.names["columns", "4711"] = ()
    assert UNKNOWN_COLUMN in told(tree, facts).shown


def test_definition_not_understood() -> None:
    """So is a view whose definition isn't there, or isn't a tree."""
    for definition in ((), (("(", None, None, None, None, None),), (("{VAR}", None, None, None, None, None),)):
        facts = known()
        facts.names["definition", str(COPY)] = definition
        assert UNKNOWN_COLUMN in told(select(var(1, 2), entries=(table(COPY, "m"),)), facts).shown


def nested(depth: int) -> str:
    tree = select(var(1, 3), entries=(ONLY,))
    for _ in range(depth):
        link = f"{{SUBLINK :subLinkType 4 :testexpr <> :subselect {tree}}}"
        tree = select(target(1, call(UPPER, link), sort=1), entries=(ONLY,), quals=equal(var(1, 1), var(1, 2)))
    return tree


@pytest.mark.parametrize("depth", [30, 1000])
def test_deep(depth: int) -> None:
    """Sub-selects in one another, each used in more than one way, take no stack and time in proportion."""
    tree = read(nested(depth))
    started = time.perf_counter()
    found = uses(tree, known())
    assert time.perf_counter() - started < 0.5 + depth / 200
    assert isinstance(found, Used)
    assert "app.users.email" in found.columns


def test_long() -> None:
    """A chain of 20,000 operators takes no stack."""
    value = "{OPEXPR :opno 98 :opfuncid 67 :opresulttype 16 :args (" * 20_000 + var(1, 3) + ")}" * 20_000
    assert told(select(value, entries=(ONLY,))).shown == ("app.users.email",)


WHOLE = select(
    var(1, 1),
    target(2, call(UPPER, var(2, 2)), "true", 1),
    entries=(table(), subquery(select(var(1, 1), var(1, 3), entries=(table(COPY, "m"),)))),
    quals=f"{{BOOLEXPR :boolop and :args ({equal(var(1, 3), var(2, 1))} {{NULLTEST :arg {var(1, 2)}}})}}",
)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE)), st.integers(0, 12), st.text("0129 :(){}<>QUERYvarno", max_size=8))
def test_any_tree(place: int, length: int, text: str) -> None:
    """Whatever a tree looks like, it is read, or not understood, and nothing worse."""
    try:
        trees = read(WHOLE[:place] + text + WHOLE[place + length :])
    except TreeError:
        return
    assert isinstance(used(trees, known()), tuple | Wanted)
