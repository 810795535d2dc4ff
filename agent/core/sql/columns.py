"""Which columns of tables a statement lets something out of, by the trees that the server rewrote it to.

A column is let out when its value has part in anything that is put out, returned, written elsewhere, compared, sorted
by, or given to a function. It isn't by being assigned to; by being passed on, by a view or a sub-select, to a query
that doesn't use it; or by what tells only whether it is null: IS NULL, and count() of the column itself.

The walk goes from the outermost query inward. What a sub-select puts out is followed where it is used, its conditions
always. What is computed though nothing uses it counts as used, unless it is a column as it stands: an error may quote
the value, a function may send it elsewhere. Nothing here is recursive, however deep a tree is.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql import scopes
from agent.core.sql.facts import Facts
from agent.core.sql.found import Wanted
from agent.core.sql.nodes import Node, TreeError, read
from agent.core.sql.scopes import Scope, is_sorted, view_of
from agent.core.sql.sources import COMPARED, COMPUTED, COUNTED, SHOWN, UNKNOWN_COLUMN, Sources, Used
from agent.core.sql.terms import bare, called, compares, counted_column, does_more, is_row, names_row

__all__ = ["UNKNOWN_COLUMN", "Used", "of_table", "used", "uses"]

_VAR: Final = re.compile(r":varno (\d+) :varattno (-?\d+) .*?:varlevelsup (\d+)")
_EXISTS: Final = "0"

_CONDITIONS: Final = ("havingQual", "withCheckOptions", "mergeJoinCondition")
_BOUNDS: Final = ("limitOffset", "limitCount", "windowClause")
_OF_CONFLICT: Final = ("arbiterElems", "arbiterWhere", "onConflictWhere")


def used(trees: list[Node], facts: Facts) -> tuple[str, ...] | Wanted:
    """The columns, `schema.table.column`, that one statement lets something out of, or the facts that are missing to
    tell. UNKNOWN_COLUMN is among them where it may be any."""
    found = uses(trees, facts)
    return found.columns if isinstance(found, Used) else found


def uses(trees: list[Node], facts: Facts) -> Used | Wanted:
    """The same, those apart by which rows are only chosen, joined, grouped or sorted."""
    walk = _Walk(facts)
    for tree in trees:
        walk.statement(tree)
    return walk.found()


def of_table(oid: int, names: tuple[str, ...], facts: Facts) -> Used | Wanted:
    """The same of reading these columns of a table, all of them when there are none: COPY table TO."""
    walk = _Walk(facts)
    walk.table(oid, names)
    return walk.found()


class _Walk:
    """What is still to be looked at: expressions, with the query that they stand in and what is done with their value;
    and queries that are run."""

    def __init__(self, facts: Facts) -> None:
        self._sources = Sources(facts)
        self._expressions: list[tuple[object, Scope, int]] = []
        self._queries: list[Scope] = []
        self._definitions: dict[tuple[int, bool], Scope] = {}

    def found(self) -> Used | Wanted:
        while self._expressions or self._queries:
            while self._queries:
                self._run(self._queries.pop())
            if self._expressions:
                value, scope, use = self._expressions.pop()
                self._expression(value, scope, use)
        return self._sources.found()

    def statement(self, tree: Node) -> None:
        """One of the trees of a statement, with the queries that a utility statement has in it."""
        waiting: list[object] = [tree]
        while waiting:
            at = waiting.pop()
            if isinstance(at, list):
                waiting += at
            elif isinstance(at, Node):
                scope = Scope(at, None, False, True) if at.name == "QUERY" else None
                if scope is None or scope.command == scopes.UTILITY:
                    waiting += at.within.values()
                else:
                    self._queries.append(scope)
                    self._all(scope)

    def table(self, oid: int, names: tuple[str, ...]) -> None:
        """A table that is read without a query, its children not."""
        entry = Node("RANGETBLENTRY")
        entry.plain = f":rtekind {scopes.RELATION} :relid {oid} :inh false"
        for number in self._sources.numbers(oid, names):
            self._of_relation(entry, number, SHOWN, False)
        self._sources.relation(oid)

    # Queries that are run

    def _run(self, scope: Scope) -> None:
        """All of a query but what it puts out."""
        if scope.reached:
            return
        scope.reached = True
        within = scope.query.within
        for field in _CONDITIONS:
            self._look(within.get(field), scope, COMPARED)
        for field in _BOUNDS:
            self._look(within.get(field), scope)
        for entry in scope.entries:
            self._look(entry.within.get("securityQuals"), scope, COMPARED)
        self._joined(scope)
        for leaf in scope.leaves():
            self._enter(scope, leaf)
        if scope.command != scopes.SELECT:
            self._writes(scope)
        for expression in scope.query.nodes("cteList"):
            query = expression.node("ctequery")
            if query is not None and ":commandType 1 " not in query.plain:
                self._queries += [one for one in (scope.with_query(expression.token("ctename")),) if one is not None]
        self._computed(scope)

    def _joined(self, scope: Scope) -> None:
        """FROM and WHERE."""
        waiting: list[object] = [scope.query.within.get("jointree")]
        while waiting:
            at = waiting.pop()
            if isinstance(at, list):
                waiting += at
            elif isinstance(at, Node):
                if at.name == "RANGETBLREF":
                    self._enter(scope, at.number("rtindex"))
                else:
                    self._look(at.within.get("quals"), scope, COMPARED)
                    waiting += [at.within.get("fromlist"), at.within.get("larg"), at.within.get("rarg")]

    def _enter(self, scope: Scope, number: int) -> None:
        """An entry of the range table that rows are read from."""
        entry = scope.entry(number)
        kind = "" if entry is None else entry.token("rtekind")
        if entry is None:
            self._sources.unknown()
        elif kind == scopes.RELATION:
            self._look(entry.within.get("tablesample"), scope)
            if entry.token("relkind") == "v":
                self._queries += self._definition(entry.number("relid"), False)
        elif kind == scopes.SUBQUERY:
            self._queries += self._below(scope, number, entry)
        elif kind in scopes.COMPUTED:
            self._look(entry.within.get(scopes.COMPUTED[kind]), scope)
        elif kind == scopes.CTE:
            named = scope.named(entry)
            if named is None:
                self._sources.unknown()
            else:
                self._queries.append(named)
        elif kind not in (scopes.TRANSITION, scopes.NOTHING):
            self._sources.unknown()

    def _writes(self, scope: Scope) -> None:
        """INSERT, UPDATE, DELETE, MERGE: what is written comes from somewhere."""
        query = scope.query
        self._assigned(query.nodes("targetList"), scope)
        for action in query.nodes("mergeActionList"):
            self._look(action.within.get("qual"), scope, COMPARED)
            self._assigned(action.nodes("targetList"), scope)
        conflict = query.node("onConflict")
        if conflict is not None:
            for field in _OF_CONFLICT:
                self._look(conflict.within.get(field), scope, COMPARED)
            self._assigned(conflict.nodes("onConflictSet"), scope)

    def _assigned(self, targets: list[Node], scope: Scope) -> None:
        """What columns are set to. Of one that is set in part (an element, a field), the rest stays where it is."""
        for target in targets:
            value = target.node("expr")
            while value is not None and value.name in ("SUBSCRIPTINGREF", "FIELDSTORE"):
                if value.name == "FIELDSTORE":
                    self._look(value.within.get("newvals"), scope)
                    value = value.node("arg")
                elif "refassgnexpr" in value.within:
                    for field in ("refupperindexpr", "reflowerindexpr", "refassgnexpr"):
                        self._look(value.within.get(field), scope)
                    value = value.node("refexpr")
                else:
                    break
                if value is not None and value.name == "VAR":
                    value = None
            if value is not None and not names_row(target, value):
                self._look(value, scope)

    def _computed(self, scope: Scope) -> None:
        """What of a query's output counts, used or not: what rows are sorted, grouped and told apart by, what changes
        their number, and what is computed."""
        targets = scope.targets()
        all_compared = scope.compares()
        volatile = False
        for number, target in targets.items():
            if all_compared or (is_sorted(target) and scope.command == scopes.SELECT):
                self._output(scope, number, COMPARED)
            if not scope.strict and self._more(target):
                volatile = True
                self._output(scope, number, COMPUTED)
        if scope.strict or (scope.inlined and (volatile or self._more(scope.query))):
            for number in targets:
                self._output(scope, number, COMPUTED)

    def _more(self, part: Node) -> bool:
        """Whether it does more than compute one value, or nobody knows yet."""
        called = does_more(part)
        return called is None or self._sources.volatile(called)

    # What is put out

    def _all(self, scope: Scope, use: int = SHOWN) -> None:
        for number in scope.columns():
            self._output(scope, number, use)

    def _output(self, scope: Scope, number: int, use: int) -> None:
        """A column that a query puts out."""
        target = scope.targets().get(number)
        value = None if target is None else target.node("expr")
        if value is None:
            self._sources.unknown()
            return
        value = bare(value)
        if value.name != "VAR" and use == COUNTED:
            use = SHOWN
        if (number, use) in scope.used:
            return
        scope.used.add((number, use))
        if scope.operations is None:
            self._expressions.append((value, scope, use))
            return
        for leaf in scope.leaves():
            self._column(scope, leaf, number, use)

    def _column(self, scope: Scope, of: int, number: int, use: int) -> None:
        """A column of an entry of a query's range table; the whole row when the number is 0."""
        if (of, number, use) in scope.seen or (of == scope.excluded and of != 0) or number < 0:
            return
        scope.seen.add((of, number, use))
        entry = scope.entry(of)
        kind = "" if entry is None else entry.token("rtekind")
        if entry is None:
            self._sources.unknown()
        elif kind in (scopes.RELATION, scopes.TRANSITION):
            self._of_relation(entry, number, use, scope.derived)
        elif kind == scopes.SUBQUERY:
            for below in self._below(scope, of, entry):
                self._outputs(below, number, use)
                self._named(view_of(entry, below.query), number, use)
        elif kind == scopes.CTE:
            named = scope.named(entry)
            if named is None:
                self._sources.unknown()
            else:
                self._outputs(named, number, use)
        elif kind == scopes.JOIN or kind == scopes.GROUP:
            values = entry.within.get("joinaliasvars" if kind == scopes.JOIN else "groupexprs")
            items = values if isinstance(values, list) else []
            if number > len(items):
                self._sources.unknown()
            for item in items[number - 1 : number] if number else items:
                self._expressions.append((item, scope, use))
        elif kind in scopes.COMPUTED:
            if scope.derived:
                self._look(entry.within.get(scopes.COMPUTED[kind]), scope)
        elif kind != scopes.NOTHING:
            self._sources.unknown()

    def _outputs(self, scope: Scope, number: int, use: int) -> None:
        for one in [number] if number else scope.columns():
            self._output(scope, one, use)

    def _of_relation(self, entry: Node, number: int, use: int, derived: bool) -> None:
        """A column of a table, or of a view that the tree doesn't expand."""
        oid = entry.number("relid")
        relation = self._sources.relation(oid)
        numbers = self._sources.numbers(oid)
        if relation is None:
            return
        if relation.kind in ("v", "m"):
            for scope in self._definition(oid, derived or relation.kind == "m"):
                self._outputs(scope, number, use)
            self._named(oid, number, use)
        elif number:
            self._sources.column(oid, number, entry.true("inh"), use)
        elif use <= COMPARED:
            for one in numbers:
                self._sources.column(oid, one, entry.true("inh"), use)

    def _named(self, view: int, number: int, use: int) -> None:
        """A view's column, by its own name."""
        if view and use <= COMPARED:
            for one in [number] if number else self._sources.numbers(view):
                self._sources.column(view, one, False, use)

    def _definition(self, oid: int, derived: bool) -> list[Scope]:
        """The query that defines a view; none when it has to be asked for."""
        known = self._definitions.get((oid, derived))
        if known is not None:
            return [known]
        text = self._sources.definition(oid)
        if text is None:
            return []
        try:
            trees = read(text)
        except TreeError:
            trees = []
        if len(trees) != 1 or trees[0].name != "QUERY":
            self._sources.unknown()
            return []
        scope = Scope(trees[0], None, derived)
        self._definitions[(oid, derived)] = scope
        return [scope]

    def _below(self, scope: Scope, number: int, entry: Node) -> list[Scope]:
        query = entry.node("subquery")
        if query is None:
            self._sources.unknown()
            return []
        return [scope.below(number, query)]

    # Expressions

    def _look(self, value: object, scope: Scope, use: int = SHOWN) -> None:
        if value is not None:
            self._expressions.append((value, scope, use))

    def _expression(self, value: object, scope: Scope, use: int) -> None:
        if isinstance(value, list):
            for item in value:
                self._look(item, scope, use)
            return
        if not isinstance(value, Node):
            return
        if scope.kept:
            self._sources.kept(called(value))
        name = value.name
        if name == "VAR":
            self._var(value, scope, 0, use)
        elif name == "RELABELTYPE":
            self._look(value.within.get("arg"), scope, use)
        elif name == "SUBLINK":
            self._sublink(value, scope, use)
        elif name == "QUERY":
            below = scope.within(value)
            self._queries.append(below)
            self._all(below, use)
        elif name == "NULLTEST":
            arg = value.node("arg")
            if arg is not None:
                self._look(arg, scope, COUNTED if bare(arg).name == "VAR" else use)
        elif name == "FIELDSELECT" and is_row(value.node("arg")):
            row = value.node("arg")
            if row is not None:
                self._var(row, scope, value.number("fieldnum"), use)
        elif name != "GROUPINGFUNC":
            argument = counted_column(value)
            if argument is not None:
                self._look(argument, scope, COUNTED)
                return
            below_it = use if use != COUNTED and compares(value) else SHOWN
            for within in value.within.values():
                self._look(within, scope, below_it)

    def _sublink(self, link: Node, scope: Scope, use: int) -> None:
        use = SHOWN if use == COUNTED else use
        self._look(link.within.get("testexpr"), scope, use)
        query = link.node("subselect")
        if query is not None:
            below = scope.within(query)
            self._queries.append(below)
            if link.token("subLinkType") != _EXISTS:
                self._all(below, use)

    def _var(self, var: Node, scope: Scope, field: int, use: int) -> None:
        """A column; of a whole row, the field if it isn't 0."""
        found = _VAR.search(var.plain)
        outer = None if found is None else scope.up(int(found[3]))
        if found is None or outer is None:
            self._sources.unknown()
        else:
            self._column(outer, int(found[1]), field or int(found[2]), use)
