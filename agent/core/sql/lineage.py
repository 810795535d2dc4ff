"""Where each column that a statement puts out comes from: what its values are made of, and through what they come.

A value comes from a column if it is the column's, or is made of it, be it a comparison. It doesn't by conditions, by
what rows are joined, grouped or sorted by, or by what tells only how many there are or whether there is one: count(),
EXISTS, IS NULL of a column. The walk begins at the output and follows only what has part in its value. Nothing here is
recursive, however deep a tree is.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql import holders, passage, scopes
from agent.core.sql.facts import Facts
from agent.core.sql.found import Move, Output
from agent.core.sql.nodes import Node
from agent.core.sql.origins import Origins
from agent.core.sql.passage import Passage, Way
from agent.core.sql.relations import Relation
from agent.core.sql.scopes import Scope, view_of
from agent.core.sql.sources import UNKNOWN_COLUMN
from agent.core.sql.terms import called

MAX_STEPS: Final = 100_000
"""Parts of expressions that are looked at for one statement; what is behind them isn't known."""

_VAR: Final = re.compile(r":varno (\d+) :varattno (-?\d+) .*?:varlevelsup (\d+)(?: :varreturningtype (\d))?")
_OLD: Final = "1"


class Lineage(Origins):
    """Of one statement."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._steps = 0
        self._waiting: list[Passage] = []
        self._seen: set[tuple[int, int, int, tuple[int, ...], int]] = set()

    def outputs(self, scope: Scope) -> tuple[Output, ...]:
        """Of the rows that a query returns."""
        targets = scope.targets()
        found: list[Output] = []
        for number in scope.columns():
            self._begin()
            if self._steps < MAX_STEPS:
                self._output(scope, number, Way())
            else:
                self._sources.unknown()
            found.append(self._ended(targets[number].text("resname")))
        return tuple(found)

    def columns(self, oid: int, names: tuple[str, ...]) -> tuple[Output, ...] | None:
        """Of a table that is read without a query, its children not; all of its columns when there are no names, those
        that are generated left out. None when it isn't known."""
        entry = Node("RANGETBLENTRY")
        entry.plain = f":rtekind {scopes.RELATION} :relid {oid} :inh false"
        scope = Scope(Node("QUERY"), None)
        found: list[Output] = []
        numbers = self._sources.numbers(oid, names)
        for number in numbers:
            name = self._sources.named(oid, number)
            if name is None or (not names and self._sources.inputs(oid, number)):
                continue
            self._begin()
            self._relation(entry, number, scope, Way())
            found.append(self._ended(name))
        known = self._sources.relation(oid) is not None and len(numbers) >= len(names)
        return tuple(found) if known else None

    def moves(self, scope: Scope, calls: bool) -> list[Move]:
        """What a query writes, itself and those of its WITH clause; `calls`: and what routines that do more than
        compute are given anywhere in it."""
        found: list[Move] = []
        for expression in scope.query.nodes("cteList"):
            query = expression.node("ctequery")
            if query is not None and ":commandType 1 " not in query.plain:
                below = scope.with_query(expression.token("ctename"))
                found += [] if below is None else self._written(below)
        found += self._written(scope)
        return [*found, *self._given(scope)] if calls else found

    def _given(self, scope: Scope) -> list[Move]:
        """What routines that do more than compute are given."""
        found: list[Move] = []
        for call in passage.calls(scope):
            for oid in called(call.value) or []:
                routine = self._sources.routine(oid)
                place = holders.place(routine)
                if routine is None or not place:
                    continue
                self._begin()
                for part in call.value.within.values():
                    self._look(part, call.scope, Way())
                ended = self._ended("")
                if ended.sources or ended.opaque or ended.parameters:
                    found.append(Move(place, (), ended.sources, ended.opaque, ended.parameters))
        return found

    def _written(self, scope: Scope) -> list[Move]:
        entry = scope.entry(scope.query.number("resultRelation")) if scope.command in passage.WRITING else None
        if entry is None:
            return []
        oid = entry.number("relid")
        relation = self._sources.relation(oid)
        found: list[Move] = []
        for number, values in passage.assigned(scope.query).items():
            name = self._sources.named(oid, number)
            self._begin()
            for value in values:
                self._look(value, scope, Way())
            ended = self._ended("")
            if relation is None or name is None:
                continue
            others = tuple([f"{one.object}.{name}" for one in self._sources.relatives(relation, name, True)])
            full = f"{relation.object}.{name}"
            sources = tuple([one for one in ended.sources if one.column != full])
            if sources or ended.opaque or ended.parameters:
                found.append(Move(full, others, sources, ended.opaque, ended.parameters))
        return found

    # One output

    def _begin(self) -> None:
        self._waiting = []
        self._seen = set()
        self._found.clear()
        self._opaque = False
        self._parameters = False
        self._sources.unclear = False

    def _ended(self, name: str) -> Output:
        """Follows all that waits."""
        while self._waiting and self._steps < MAX_STEPS:
            at = self._waiting.pop()
            self._steps += 1
            self._value(at.value, at.scope, at.way)
        if self._waiting or self._sources.unclear:
            self._name(UNKNOWN_COLUMN, Way().computed())
        sources = tuple([self._found[column] for column in sorted(self._found)])
        return Output(name, sources, self._opaque, self._parameters)

    def _look(self, value: object, scope: Scope, way: Way) -> None:
        if isinstance(value, (Node, list)):
            self._waiting.append(Passage(value, scope, way))

    # Columns

    def _output(self, scope: Scope, number: int, way: Way) -> None:
        """A column that a query puts out, the whole row when the number is 0."""
        targets = scope.targets()
        if number == 0 and not way.fields:
            for one in scope.columns():
                self._output(scope, one, way.mixed())
            return
        if number == 0:
            number, way = way.fields[0], way.inside()
        target = targets.get(number)
        value = None if target is None else target.node("expr")
        if value is None:
            self._sources.unknown()
            return
        if scope.operations is None:
            self._look(value, scope, way if scope.command == scopes.SELECT else way.returning(scope))
            return
        for leaf in passage.supplying(scope.operations):
            self._column(scope, leaf, number, way)

    def _var(self, var: Node, scope: Scope, way: Way) -> None:
        found = _VAR.search(var.plain)
        outer = None if found is None else scope.up(int(found[3]))
        if found is None or outer is None:
            self._sources.unknown()
            return
        of = int(found[1])
        new = outer is way.returned and found[4] != _OLD and of == outer.query.number("resultRelation")
        self._column(outer, of, int(found[2]), way.to_row(new))

    def _column(self, scope: Scope, of: int, number: int, way: Way) -> None:
        """A column of an entry of a query's range table; the whole row when the number is 0."""
        key = (id(scope), of, number, way.fields, way.kind())
        if key in self._seen or number < 0:
            return
        self._seen.add(key)
        entry = scope.entry(of)
        kind = "" if entry is None else entry.token("rtekind")
        if of == scope.excluded and of != 0:
            self._new_values(scope, number, way)
        elif entry is None:
            self._sources.unknown()
        elif kind in (scopes.RELATION, scopes.TRANSITION):
            if way.new:
                self._new_values(scope, number, way)
                self._changed(entry)
            self._relation(entry, number, scope, way)
        elif kind == scopes.SUBQUERY:
            self._below(scope, of, entry, number, way)
        elif kind == scopes.CTE:
            named = scope.named(entry)
            if named is None:
                self._sources.unknown()
            else:
                self._output(named, number, way.through(f"with {entry.text('ctename')}"))
        elif kind == scopes.JOIN or kind == scopes.GROUP:
            self._joined(entry.within.get("joinaliasvars" if kind == scopes.JOIN else "groupexprs"), number, scope, way)
        elif kind in scopes.COMPUTED:
            self._made(entry, kind, number, scope, way)
        elif kind != scopes.NOTHING:
            self._sources.unknown()

    def _below(self, scope: Scope, of: int, entry: Node, number: int, way: Way) -> None:
        """A column of a sub-select, or of a view that was expanded to one."""
        query = entry.node("subquery")
        if query is None:
            self._sources.unknown()
            return
        below = scope.below(of, query)
        view = view_of(entry, below.query)
        relation = self._sources.relation(view) if view else None
        if relation is not None:
            self._view(relation, number, way)
            way = way.through(f"view {relation.object}")
        self._output(below, number, way)

    def _joined(self, values: object, number: int, scope: Scope, way: Way) -> None:
        items = values if isinstance(values, list) else []
        if number == 0 and way.fields:
            number, way = way.fields[0], way.inside()
        if number > len(items):
            self._sources.unknown()
        elif number == 0:
            self._look(items, scope, way.mixed())
        else:
            item = items[number - 1]
            if isinstance(item, Node) and item.name == "COALESCEEXPR":  # of a FULL JOIN: the one or the other
                for one in item.nodes("args"):
                    self._look(one, scope, way)
            else:
                self._look(item, scope, way)

    def _made(self, entry: Node, kind: str, number: int, scope: Scope, way: Way) -> None:
        """A column of what is computed: functions' results, XMLTABLE, VALUES."""
        for value in passage.computed(entry, kind, number):
            if kind == passage.VALUES and number:
                self._look(value, scope, way)
                continue
            texts: tuple[int, ...] = ()
            if isinstance(value, Node) and value.name == "FUNCEXPR":
                texts = holders.texts(self._sources.routine(value.number("funcid")))
                if number == 0 or number - passage.first_column(entry, value) in texts:
                    texts = ()
                elif texts:
                    self._look(value.within.get("args"), scope, way.computed())
            if not texts:
                self._look(value, scope, way.computed())

    def _relation(self, entry: Node, number: int, scope: Scope, way: Way) -> None:
        """A column of a table, or of a view that the tree doesn't expand."""
        oid = entry.number("relid")
        relation = self._sources.relation(oid)
        if number == 0 and way.fields:
            number, way = way.fields[0], way.inside()
        numbers = self._sources.numbers(oid)
        if relation is None or number < 0:
            return
        if number:
            numbers = [number]
        if number == 0:
            way = way.mixed()
        for one in numbers:
            if relation.kind in ("v", "m"):
                self._view(relation, one, way)
                definition = self._definition(oid, scope.kept or relation.kind == "m")
                kind = "materialized view" if relation.kind == "m" else "view"
                if definition is not None:
                    self._output(definition, one, way.through(f"{kind} {relation.object}"))
            else:
                self._base(relation, one, entry.true("inh"), scope, way)

    def _base(self, relation: Relation, number: int, children: bool, scope: Scope, way: Way) -> None:
        name = self._sources.named(relation.oid, number)
        if name is None:
            return
        full = f"{relation.object}.{name}"
        for other in self._sources.inputs(relation.oid, number):
            self._base_input(relation, other, children, scope, way.computed().through(f"generated {full}"))
        if way.nulls:
            return
        self._name(full, way)
        if self._sources.holds_samples(relation, name):
            self._sources.unknown()
        for one in self._sources.relatives(relation, name, children):
            self._name(f"{one.object}.{name}", way.through(f"table {relation.object}"))

    def _base_input(self, relation: Relation, number: int, children: bool, scope: Scope, way: Way) -> None:
        """A column that a generated one is made of: none of these is generated itself."""
        if way.new:
            self._new_values(scope, number, way)
        name = self._sources.named(relation.oid, number)
        if name is None:
            return
        self._name(f"{relation.object}.{name}", way)
        for one in self._sources.relatives(relation, name, children):
            self._name(f"{one.object}.{name}", way.through(f"table {relation.object}"))

    def _new_values(self, scope: Scope, number: int, way: Way) -> None:
        """What a column that is written gets, of which the statement returns what it is then."""
        values = passage.assigned(scope.query)
        if number == 0 and way.fields:
            number, way = way.fields[0], way.inside()
        way = way.returning(None).to_row(False)
        for one in [number] if number else list(values):
            for value in values.get(one, []):
                self._look(value, scope, way if number else way.mixed())

    # Expressions

    def _value(self, value: object, scope: Scope, way: Way) -> None:
        if isinstance(value, list):
            for item in value:
                self._look(item, scope, way)
        elif isinstance(value, Node):
            name = value.name
            if name == "VAR":
                self._var(value, scope, way)
            elif name == "SUBLINK":
                self._sublink(value, scope, way)
            elif name == "PARAM":
                self._param(value, scope, way)
            elif name == "QUERY":
                below = scope.within(value)
                for number in below.columns():
                    self._output(below, number, way.computed())
            elif name not in passage.EMPTY:
                self._calls(value, scope)
                for part in passage.parts(value, way):
                    self._look(part.value, scope, part.way)

    def _sublink(self, link: Node, scope: Scope, way: Way) -> None:
        kind = link.token("subLinkType")
        query = link.node("subselect")
        if kind == passage.EXISTS or query is None:
            return
        below = scope.within(query)
        if kind == passage.SCALAR:
            for number in below.columns()[:1]:
                self._output(below, number, way)
            return
        self._look(link.within.get("testexpr"), scope, way.computed())
        for number in below.columns():
            self._output(below, number, way.mixed() if kind == passage.ARRAY else way.computed())

    def _param(self, param: Node, scope: Scope, way: Way) -> None:
        if param.token("paramkind") == passage.EXTERN:
            self._parameters = True
        elif param.token("paramkind") == passage.MULTIEXPR:
            number = param.number("paramid")
            query = passage.multiple(scope.query, number >> 16)
            if query is None:
                self._sources.unknown()
            else:
                self._output(scope.within(query), number & 0xFFFF, way)
