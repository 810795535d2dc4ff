"""What trees of queries tell, built by hand; tests/e2e/test_policy_trees.py has those of real servers."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.nodes import TreeError, read
from agent.core.sql.queries import judge
from agent.core.sql.relations import CASCADE, DELETE, INSERT, SET, UPDATE, Key, Relation, Trigger
from agent.core.sql.routines import Routine, effect

SELECT, CHANGE, ADD, REMOVE, MERGE = "1", "2", "3", "4", "5"
EQUAL = "{OPEXPR :opno 96 :opfuncid 65 :args (%s %s)}"
ONE = "{CONST :consttype 23 :constvalue 4 [ 1 0 0 0 0 0 0 0 ]}"
TRUE = "{CONST :consttype 16 :constvalue 1 [ 1 0 0 0 0 0 0 0 ]}"


def var(entry: int, column: int, up: int = 0) -> str:
    return f"{{VAR :varno {entry} :varattno {column} :vartype 23 :varlevelsup {up} :location 1}}"


def text(value: str) -> str:
    data = value.encode()
    body = " ".join(str(byte) for byte in ((len(data) + 4) << 2).to_bytes(4, "little") + data)
    return f"{{CONST :consttype 25 :constvalue {len(data) + 4} [ {body} ]}}"


def call(oid: int, *args: str) -> str:
    return f"{{FUNCEXPR :funcid {oid} :funcresulttype 25 :args ({' '.join(args)})}}"


def old(relid: int, bits: int, updated: str = "", kind: str = "r") -> str:
    """A range table's entry as PostgreSQL 13 to 15 print it."""
    return (
        f"{{RANGETBLENTRY :alias <> :rtekind 0 :relid {relid} :relkind {kind} :inh true :requiredPerms {bits}"
        f" :selectedCols (b 8) :updatedCols (b{updated})}}"
    )


def new(relid: int, index: int, kind: str = "r") -> str:
    """The same from 16 on; its permissions are elsewhere."""
    return f"{{RANGETBLENTRY :alias <> :rtekind 0 :relid {relid} :inh true :relkind {kind} :perminfoindex {index}}}"


def permission(relid: int, bits: int) -> str:
    return f"{{RTEPERMISSIONINFO :relid {relid} :inh true :requiredPerms {bits} :selectedCols (b 8) :updatedCols (b)}}"


def query(
    command: str, *entries: str, target: int = 0, quals: str = "<>", more: str = "", permissions: str = ""
) -> str:
    return (
        f"{{QUERY :commandType {command} :utilityStmt <> :resultRelation {target} :hasForUpdate false"
        f" :rtable ({' '.join(entries)}) :rteperminfos ({permissions})"
        f" :jointree {{FROMEXPR :fromlist <> :quals {quals}}}"
        f" {more}:targetList <> :stmt_len 0}}"
    )


def facts(*relations: Relation, routines: tuple[Routine, ...] = ()) -> Facts:
    known = Facts()
    for relation in relations:
        known.relations[relation.oid] = relation
    equal = Routine(65, "pg_catalog", "int4eq", "internal", "f", "i")
    setting = Routine(2078, "pg_catalog", "set_config", "internal")
    fires = Routine(22000, "app", "fires", "plpgsql")
    for routine in (*routines, equal, setting, fires):
        known.routines[routine.oid] = routine
        known.effects[routine.oid] = effect(routine)
    return known


USERS = Relation(20001, "app", "users", "r")
ORDERS = Relation(20002, "app", "orders", "r")


def found(tree: str, known: Facts) -> Found:
    answer = judge(read(tree), known)
    assert isinstance(answer, Found), answer
    return answer


def operations(tree: str, known: Facts) -> list[str]:
    return [f"{one}{'' if one.where else ' !'}" for one in found(tree, known).operations]


def test_both_places_of_permissions() -> None:
    """What is asked of a table is found in its entry, and where the entry points to."""
    known = facts(USERS, ORDERS)
    expected = ["SELECT app.users", "SELECT app.orders", "DELETE app.orders !"]
    assert operations(query(REMOVE, old(20001, 2), old(20002, 10), target=2), known) == expected
    tree = query(
        REMOVE, new(20001, 1), new(20002, 2), target=2, permissions=permission(20001, 2) + permission(20002, 10)
    )
    assert operations(tree, known) == expected


def test_nothing_said_is_a_read() -> None:
    """An entry without permissions counts as read, and a command's target as written."""
    known = facts(USERS)
    assert operations(query(SELECT, new(20001, 9)), known) == ["SELECT app.users"]
    assert operations(query(REMOVE, old(20001, 0), target=1), known) == ["DELETE app.users !"]
    assert operations(query(SELECT, old(20001, 0)), known) == []


def test_what_is_wanted() -> None:
    """Facts that aren't known are asked for, all at once; what doesn't exist is UNKNOWN."""
    known = Facts()
    tree = query(SELECT, old(20001, 2), old(20002, 2), quals=call(5, call(6)))
    assert judge(read(tree), known) == Wanted(frozenset((20001, 20002)), frozenset((5, 6)))
    known.learn([], Wanted(frozenset((20001, 20002)), frozenset((5, 6))))
    assert operations(tree, known) == ["UNKNOWN"]


def test_a_command_nobody_knows() -> None:
    """A command of a later version is UNKNOWN."""
    assert operations(query("9"), Facts()) == ["UNKNOWN"]
    assert operations(query("7"), Facts()) == []


@pytest.mark.parametrize(
    ("quals", "named"),
    [
        ("<>", False),
        (TRUE, False),
        (EQUAL % (ONE, ONE), False),
        (EQUAL % (var(1, 1), ONE), True),
        (EQUAL % (var(2, 1), ONE), False),
        (EQUAL % (var(1, 1), var(2, 1)), True),
        (EQUAL % (var(1, 1), var(1, 1)), False),
        (EQUAL % (var(1, 1), var(1, 2)), True),
        (f"{{BOOLEXPR :boolop and :args ({TRUE} {EQUAL % (var(1, 1), ONE)})}}", True),
        (f"{{BOOLEXPR :boolop or :args ({TRUE} {EQUAL % (var(1, 1), ONE)})}}", False),
        (f"{{BOOLEXPR :boolop or :args ({EQUAL % (var(1, 1), ONE)} {EQUAL % (var(1, 2), ONE)})}}", True),
        (f"{{BOOLEXPR :boolop not :args ({EQUAL % (var(1, 1), ONE)})}}", True),
        (f"{{BOOLEXPR :boolop not :args ({{BOOLEXPR :boolop and :args ({TRUE} {EQUAL % (var(1, 1), ONE)})}})}}", False),
        (f"{{BOOLEXPR :boolop not :args ({{BOOLEXPR :boolop or :args ({TRUE} {EQUAL % (var(1, 1), ONE)})}})}}", True),
        (f"{{SUBLINK :testexpr <> :subselect {query(SELECT, quals=EQUAL % (var(1, 1), ONE))}}}", False),
        (f"{{SUBLINK :testexpr <> :subselect {query(SELECT, quals=EQUAL % (var(1, 1, up=1), ONE))}}}", True),
        ("{CURRENTOFEXPR :cvarno 1 :cursor_name c}", True),
        ("{BOOLEXPR :boolop not :args (" * 200 + EQUAL % (var(1, 1), ONE) + ")}" * 200, False),
    ],
)
def test_conditions(quals: str, named: bool) -> None:
    """A condition names rows when no row satisfies it regardless of its columns."""
    tree = query(CHANGE, old(20001, 4), old(20002, 2), target=1, quals=quals)
    assert ("UPDATE app.users" in operations(tree, facts(USERS, ORDERS))) == named
    assert ("UPDATE app.users !" in operations(tree, facts(USERS, ORDERS))) != named


def merge(*actions: str, quals: str = "<>", joined: str = "<>") -> str:
    more = f":mergeActionList ({' '.join(actions)}) :mergeJoinCondition {joined} "
    return query(MERGE, old(20001, 10), target=1, quals=quals, more=more)


@pytest.mark.parametrize("matched", [":matched true", ":matchKind 0"])
def test_merge_actions(matched: str) -> None:
    """An action of a MERGE names rows by the join or by its own condition; one for what the source lacks, by its own
    alone."""
    known = facts(USERS)
    on = EQUAL % (var(1, 1), var(2, 1))
    bare = f"{{MERGEACTION {matched} :commandType 4 :qual <>}}"
    own = f"{{MERGEACTION {matched} :commandType 4 :qual {EQUAL % (var(1, 1), ONE)}}}"
    rest = "{MERGEACTION :matchKind 1 :commandType 4 :qual <>}"
    assert operations(merge(bare), known)[-1] == "DELETE app.users !"
    assert operations(merge(bare, quals=on), known)[-1] == "DELETE app.users"
    assert operations(merge(bare, joined=on), known)[-1] == "DELETE app.users"
    assert operations(merge(own), known)[-1] == "DELETE app.users"
    assert operations(merge(own, bare), known)[-1] == "DELETE app.users !"
    assert operations(merge(own, rest, joined=on), known)[-1] == "DELETE app.users !"


def test_inheritance() -> None:
    """Both what a table is part of and its parts are named; behind ONLY its parts are not."""
    known = facts(
        Relation(1, "app", "child", "r", ancestors=(2,), descendants=(3,)),
        Relation(2, "app", "parent", "r", descendants=(1, 3)),
        Relation(3, "app", "grandchild", "r", ancestors=(1, 2)),
    )
    tree = query(SELECT, old(1, 2))
    assert operations(tree, known) == ["SELECT app.child", "SELECT app.parent", "SELECT app.grandchild"]
    assert operations(tree.replace(":inh true", ":inh false"), known) == ["SELECT app.child", "SELECT app.parent"]


def test_foreign_key_actions() -> None:
    """What foreign keys delete or update along is named, however far it goes and even in a circle."""
    known = facts(
        Relation(1, "app", "a", "r", keys=(Key(2, DELETE, CASCADE), Key(4, UPDATE, CASCADE, frozenset((1,))))),
        Relation(2, "app", "b", "r", keys=(Key(3, DELETE, SET), Key(1, DELETE, CASCADE))),
        Relation(3, "app", "c", "r", triggers=(Trigger(UPDATE, 22000),)),
        Relation(4, "app", "d", "r"),
    )
    tree = query(REMOVE, old(1, 8), target=1)
    assert sorted(operations(tree, known)) == [
        *("DELETE app.a !", "DELETE app.b !", "EXECUTE app.fires", "UPDATE app.c !")
    ]
    assert found(tree, known).opaque
    assert operations(query(CHANGE, old(1, 4, " 8"), target=1), known) == ["UPDATE app.a !", "UPDATE app.d !"]
    assert operations(query(CHANGE, old(1, 4, " 9"), target=1), known) == ["UPDATE app.a !"]


def test_long_chains_of_foreign_keys() -> None:
    """A chain of foreign keys through thousands of tables takes no stack."""
    count = 5000
    tables = [Relation(i, "app", f"t{i}", "r", keys=(Key(i + 1, DELETE, CASCADE),)) for i in range(1, count)]
    known = facts(*tables, Relation(count, "app", "last", "r"))
    assert len(operations(query(REMOVE, old(1, 8), target=1), known)) == count


def test_triggers() -> None:
    """A trigger makes a statement opaque when it waits for what the statement does; a moved row is deleted and
    inserted."""
    inserting = facts(Relation(1, "app", "t", "r", triggers=(Trigger(INSERT, 22000),)))
    assert found(query(ADD, old(1, 1), target=1), inserting).opaque
    assert not found(query(CHANGE, old(1, 4), target=1), inserting).opaque
    moving = facts(
        Relation(1, "app", "t", "p", descendants=(2,)),
        Relation(2, "app", "part", "r", ancestors=(1,), triggers=(Trigger(INSERT, 22000),)),
    )
    moving.names[("moves", "1")] = (("1", None, None, None, None, None),)
    assert found(query(CHANGE, old(1, 4), target=1), moving).opaque


def test_what_triggers_call() -> None:
    """A trigger's function and what its condition calls are called by the statement: one that hides is UNKNOWN."""
    hides = Routine(22001, "app", "hides", "plpgsql", settings=("client_min_messages=error",))
    for trigger, expected in (
        (Trigger(INSERT, 22000), ["EXECUTE app.fires"]),
        (Trigger(INSERT, 22001), ["EXECUTE app.hides", "UNKNOWN"]),
        (Trigger(INSERT, 65, (2078,)), ["EXECUTE pg_catalog.set_config", "UNKNOWN"]),
        (Trigger(DELETE, 22001), []),
    ):
        known = facts(Relation(1, "app", "t", "r", triggers=(trigger,)), routines=(hides,))
        assert operations(query(ADD, old(1, 1), target=1), known) == ["INSERT app.t", *expected]


def test_set_config() -> None:
    """The setting that set_config changes decides: unknown, of no matter, decisive, or one that hides."""
    unknown, decisive = ["EXECUTE pg_catalog.set_config", "UNKNOWN"], ["EXECUTE pg_catalog.set_config"]
    named = f"{{NAMEDARGEXPR :arg {text('role')} :name setting_name :argnumber 0}}"
    for argument, expected, changes in (
        (text("work_mem"), decisive, False),
        (text("ROLE"), decisive, True),
        (f"{{RELABELTYPE :arg {text('search_path')}}}", decisive, True),
        (text("client_min_messages"), unknown, True),
        (var(1, 1), unknown, True),
        ("{CONST :consttype 25 :constvalue <>}", unknown, True),
        ("{CONST :consttype 25 :constvalue 9 [ 1 2 ]}", unknown, True),
        ("{CONST :consttype 25 :constvalue 1 [ x ]}", unknown, True),
        (f"{text('client_min_messages')} {named}", decisive, True),
    ):
        tree = query(SELECT, quals=call(2078, argument))
        assert operations(tree, facts()) == expected, argument
        assert found(tree, facts()).changes_settings == changes, argument
    assert operations(query(SELECT, quals="{OPEXPR :opfuncid 2078 :args ()}"), facts()) == unknown


def test_names_among_constants() -> None:
    """A constant that is a table's OID, or a routine's, is part of what a statement means."""
    assert not found(query(SELECT, quals=text("x")), facts()).constants_matter
    assert found(query(SELECT, quals="{CONST :consttype 2205 :constvalue 4 [ 1 0 0 0 ]}"), facts()).constants_matter


def test_types() -> None:
    """Of users' types is asked what making a value of them calls."""
    for node in (
        "{CONST :consttype 20500 :x 1}",
        "{COERCETODOMAIN :arg <> :resulttype 20500 :x 1}",
        "{PARAM :paramtype 20500 :x 1}",
    ):
        wanted = judge(read(query(SELECT, quals=node)), facts())
        assert wanted == Wanted(names=frozenset((("type_code", "20500"),))), node
    known = facts(routines=(Routine(21000, "app", "check", "sql"),))
    known.names[("type_code", "20500")] = (("21000", None, None, None, None, None),)
    answer = found(query(SELECT, quals="{CONST :consttype 20500 :x 1}"), known)
    assert (list(map(str, answer.operations)), answer.opaque) == (["EXECUTE app.check"], True)


def test_notify_in_a_rule() -> None:
    """The one utility statement that rules run is named; a statement's own is read elsewhere."""
    utility = "{QUERY :commandType 6 :utilityStmt {NOTIFYSTMT :conditionname news :payload <>} :rtable <>}"
    assert operations(utility, facts()) == []
    assert operations(f"({query(ADD, old(20001, 1), target=1)} {utility})", facts(USERS)) == [
        *("INSERT app.users", "NOTIFY news")
    ]
    assert operations(
        f"({query(ADD)} {utility.replace('{NOTIFYSTMT :conditionname news :payload <>}', '?')})", facts()
    ) == ["NOTIFY"]


def test_deep_and_wide_trees() -> None:
    """Fifty thousand operators within one another, or ten thousand tables, are judged in time in proportion."""
    deep = "{OPEXPR :opfuncid 65 :args (" * 50_000 + ONE + ")}" * 50_000
    wide = " ".join(old(20001, 2) for _ in range(10_000))
    started = time.process_time()
    assert operations(query(SELECT, quals=deep), facts()) == []
    assert operations(query(REMOVE, old(20001, 8), target=1, quals=deep), facts(USERS)) == ["DELETE app.users !"]
    assert operations(query(SELECT, wide), facts(USERS)) == ["SELECT app.users"]
    assert time.process_time() - started < 10


SAMPLE = query(
    CHANGE,
    old(20001, 4),
    old(20002, 2),
    target=1,
    quals=f"{{BOOLEXPR :boolop or :args ({ONE} {call(2078, text('a'))})}}",
)
JUNK = st.sampled_from(
    ["{", "}", "(", ")", " ", ":relid 5", "{QUERY", "9" * 30, "-1", "[", "]", "<>", "\\", "{CONST :consttype 99999 "]
)


@given(st.integers(0, len(SAMPLE)), st.integers(0, 60), JUNK)
def test_damaged_trees(at: int, length: int, junk: str) -> None:
    """Whatever a tree says, it is judged, facts are asked for, or it is no tree."""
    try:
        trees = read(SAMPLE[:at] + junk + SAMPLE[at + length :])
    except TreeError:
        return
    known = facts(USERS, ORDERS)
    answer = judge(trees, known)
    for _ in range(5):
        if isinstance(answer, Found):
            return
        known.learn([], answer)
        answer = judge(trees, known)
    raise AssertionError(answer)
