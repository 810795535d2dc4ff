"""How values pass through the parts of a tree: which parts of an expression a value is made of, and what of it is left.

A Way is from an output to where the walk stands. `fields` is what will be selected out of the value that is found
there: of a row, the first of these numbers, and so on.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql import scopes
from agent.core.sql.nodes import Node
from agent.core.sql.scopes import Scope
from agent.core.sql.terms import is_row

WRITING: Final = ("2", "3", "5")
"""UPDATE, INSERT, MERGE (CmdType)."""
VALUES: Final = "5"
_FUNCTIONS: Final = "3"
EXISTS: Final = "0"
SCALAR: Final = "4"
MULTIEXPR: Final = "3"
"""ParamKind: a column of a sub-select that several columns are set to. (SubLinkType 5 is that sub-select.)"""
EXTERN: Final = "0"
ARRAY: Final = "6"
_MULTIPLE: Final = "5"
_EXCEPT: Final = "3"

EMPTY: Final = frozenset(
    "CONST GROUPINGFUNC CURRENTOFEXPR NEXTVALUEEXPR SETTODEFAULT SQLVALUEFUNCTION CASETESTEXPR RANGETBLREF".split()
)
"""Parts that nothing of a column is in."""

_MOST_FIELDS: Final = 30
"""Fields within one another; deeper in, all of a row counts."""
_LONGEST_PATH: Final = 20

_SAME: Final = {
    "RELABELTYPE": "arg",
    "COLLATEEXPR": "arg",
    "COERCETODOMAIN": "arg",
    "RETURNINGEXPR": "retexpr",
    "NAMEDARGEXPR": "arg",
}
_TYPE_OF: Final = re.compile(r":funcid (?:1619|3162) ")
"""pg_typeof and pg_collation_for: they tell nothing of their argument's value."""
_COUNT: Final = re.compile(r":(?:agg|win)fnoid 2147 ")
_ARRAY_AGG: Final = re.compile(r":(?:agg|win)fnoid (?:2335|4053) ")
_NUMBER: Final = re.compile(r":resno (\d+) ")


class Way:
    """`plain`: the value found is the value put out. `nulls`: only whether it is null has part in it. `returned`: the
    query that returns it from what it wrote; `new`: the way leads to that row as it is then. `path` is what it leads
    through."""

    def __init__(
        self,
        fields: tuple[int, ...] = (),
        plain: bool = True,
        nulls: bool = False,
        returned: Scope | None = None,
        new: bool = False,
        path: tuple[str, ...] = (),
    ) -> None:
        self.fields = fields
        self.plain = plain
        self.nulls = nulls
        self.returned = returned
        self.new = new
        self.path = path

    def kind(self) -> int:
        """What tells it from other ways to the same place, but its fields."""
        kind = (1 if self.plain else 0) + (2 if self.nulls else 0) + (4 if self.returned is not None else 0)
        return kind + (8 if self.new else 0)

    def computed(self) -> Way:
        """To what something is made of, as a whole."""
        if not self.plain and not self.nulls and not self.fields:
            return self
        return Way((), False, False, self.returned, self.new, self.path)

    def mixed(self) -> Way:
        """To what may be the value, or part of it."""
        return Way(self.fields, False, self.nulls, self.returned, self.new, self.path)

    def null(self) -> Way:
        return Way((), False, True, self.returned, self.new, self.path)

    def field(self, number: int) -> Way:
        if len(self.fields) >= _MOST_FIELDS:
            return self.computed()
        return Way((number, *self.fields), self.plain, self.nulls, self.returned, self.new, self.path)

    def inside(self) -> Way:
        """Into the field that is selected first."""
        return Way(self.fields[1:], self.plain, self.nulls, self.returned, self.new, self.path)

    def returning(self, scope: Scope | None) -> Way:
        if self.returned is scope:
            return self
        return Way(self.fields, self.plain, self.nulls, scope, False, self.path)

    def to_row(self, new: bool) -> Way:
        """To the row that a query returns as it is then, or to any other."""
        if self.new is new:
            return self
        return Way(self.fields, self.plain, self.nulls, self.returned, new, self.path)

    def through(self, what: str) -> Way:
        if len(self.path) >= _LONGEST_PATH or (self.path and self.path[-1] == what):
            return self
        path = (*self.path, what)
        return Way(self.fields, self.plain, self.nulls, self.returned, self.new, path)


class Passage:
    """A part of an expression, the query that it stands in, and the way to it."""

    __slots__ = ("scope", "value", "way")

    def __init__(self, value: object, scope: Scope, way: Way) -> None:
        self.value = value
        self.scope = scope
        self.way = way


class Part:
    """A part of an expression, and the way to it."""

    __slots__ = ("value", "way")

    def __init__(self, value: object, way: Way) -> None:
        self.value = value
        self.way = way


def parts(value: Node, way: Way) -> list[Part]:
    """What the value of an expression is made of."""
    name = value.name
    within = value.within
    same = _SAME.get(name)
    if same is not None:
        return [Part(within.get(same), way)]
    if name == "NULLTEST":
        argument = value.node("arg")
        return [] if argument is None else [Part(argument, _nullness(argument, way))]
    if name == "FIELDSELECT":
        return [Part(within.get("arg"), way.field(value.number("fieldnum")))]
    if name == "COALESCEEXPR" or name == "MINMAXEXPR":
        return [Part(within.get("args"), way.mixed())]
    if name == "CASEEXPR":
        found = [Part(within.get("arg"), way.computed()), Part(within.get("defresult"), way.mixed())]
        for when in value.nodes("args"):
            found += [Part(when.within.get("expr"), way.computed()), Part(when.within.get("result"), way.mixed())]
        return found
    if name == "ROWEXPR" and way.fields:
        items = value.nodes("args")
        number = way.fields[0]
        return [Part(items[number - 1], way.inside())] if 0 < number <= len(items) else []
    if name == "AGGREF" or name == "WINDOWFUNC":
        return _aggregate(value, way)
    if name == "SUBSCRIPTINGREF" and way.fields:
        indices = [Part(within.get(field), way.computed()) for field in ("refupperindexpr", "reflowerindexpr")]
        return [*indices, Part(within.get("refexpr"), way.mixed()), Part(within.get("refassgnexpr"), way.computed())]
    if name == "ARRAYEXPR" and way.fields:
        return [Part(within.get("elements"), way.mixed())]
    if name == "FUNCEXPR" and _TYPE_OF.search(value.plain) is not None:
        return []
    below = way.computed()
    return [Part(part, below) for part in within.values()]


def _nullness(argument: Node, way: Way) -> Way:
    """Of an expression of which only is seen whether it is null: of a column that tells nothing."""
    at: Node | None = argument
    while at is not None and at.name in ("RELABELTYPE", "FIELDSELECT"):
        at = at.node("arg")
    return way.null() if at is not None and at.name == "VAR" else way.computed()


def _aggregate(value: Node, way: Way) -> list[Part]:
    """Its arguments, without those that are only sorted by; what count() counts it doesn't show."""
    counts = _COUNT.search(value.plain) is not None
    gathers = way.fields and _ARRAY_AGG.search(value.plain) is not None
    found = [Part(value.within.get(field), way.computed()) for field in ("aggdirectargs", "aggfilter")]
    for argument in value.nodes("args"):
        if argument.name == "TARGETENTRY":
            if argument.true("resjunk"):
                continue
            inner = argument.node("expr")
        else:
            inner = argument
        if inner is not None and not (counts and is_row(inner)):
            below = _nullness(inner, way) if counts else way.mixed() if gathers else way.computed()
            found.append(Part(inner, below))
    return found


def supplying(operations: Node) -> list[int]:
    """The entries whose rows UNION, INTERSECT and EXCEPT pass on: not those that EXCEPT takes away."""
    found: list[int] = []
    waiting: list[Node | None] = [operations]
    while waiting:
        node = waiting.pop()
        if node is None:
            continue
        if node.name == "RANGETBLREF":
            found.append(node.number("rtindex"))
        else:
            waiting.append(node.node("larg"))
            if node.token("op") != _EXCEPT:
                waiting.append(node.node("rarg"))
    return found


def assigned(query: Node) -> dict[int, list[Node]]:
    """What the columns that a query writes are set to, by their numbers."""
    found: dict[int, list[Node]] = {}
    targets = list(query.nodes("targetList"))
    conflict = query.node("onConflict")
    if conflict is not None:
        targets += conflict.nodes("onConflictSet")
    for action in query.nodes("mergeActionList"):
        targets += action.nodes("targetList")
    for target in targets:
        number = _NUMBER.search(target.plain)
        value = target.node("expr")
        if number is not None and value is not None and not target.true("resjunk"):
            found.setdefault(int(number[1]), []).append(value)
    return found


def multiple(query: Node, number: int) -> Node | None:
    """The sub-select of `SET (a, b) = (SELECT …)` that has this number."""
    targets = list(query.nodes("targetList"))
    conflict = query.node("onConflict")
    if conflict is not None:
        targets += conflict.nodes("onConflictSet")
    for action in query.nodes("mergeActionList"):
        targets += action.nodes("targetList")
    for target in targets:
        link = target.node("expr")
        if link is None or link.name != "SUBLINK" or link.token("subLinkType") != _MULTIPLE:
            continue
        if link.number("subLinkId") == number:
            return link.node("subselect")
    return None


def computed(entry: Node, kind: str, number: int) -> list[object]:
    """The expressions that a column of a computed entry is made of; all of them when the number is 0."""
    within = entry.within.get(scopes.COMPUTED[kind])
    if kind == VALUES:
        rows = within if isinstance(within, list) else []
        if number == 0:
            return list(rows)
        return [row[number - 1] for row in rows if isinstance(row, list) and 0 < number <= len(row)]
    if kind != _FUNCTIONS:
        table = within if isinstance(within, Node) else None
        ordinality = -1 if table is None else int(table.token("ordinalitycol") or "-1")
        return [] if number and number - 1 == ordinality else [within]
    functions = entry.nodes("functions")
    if number == 0:
        return [function.within.get("funcexpr") for function in functions]
    first = 0
    for function in functions:
        count = function.number("funccolcount")
        if first < number <= first + count:
            return [function.within.get("funcexpr")]
        first += count
    return []


def first_column(entry: Node, value: Node) -> int:
    """How many columns of an entry come before those of one of its functions."""
    before = 0
    for function in entry.nodes("functions"):
        if function.within.get("funcexpr") is value:
            return before
        before += function.number("funccolcount")
    return 0


class Call:
    """A call of a function, and the query that it stands in."""

    __slots__ = ("scope", "value")

    def __init__(self, value: Node, scope: Scope) -> None:
        self.value = value
        self.scope = scope


def calls(scope: Scope) -> list[Call]:
    """The calls of functions in a query and in those within it, each once."""
    found: list[Call] = []
    waiting = _contents(scope)
    while waiting:
        at, here = waiting.pop()
        if isinstance(at, list):
            waiting += [(item, here) for item in at if not isinstance(item, str)]
            continue
        if not isinstance(at, Node):
            continue
        if at is here.query:
            waiting += _contents(here)
            continue
        if at.name == "FUNCEXPR":
            found.append(Call(at, here))
        below = _query(at, here)
        waiting += [(part, here) for part in at.within.values() if below is None or part is not below.query]
        if below is not None:
            waiting += _contents(below)
    return found


def _contents(scope: Scope) -> list[tuple[object, Scope]]:
    """What stands in a query itself, and in the sub-selects that its rows are read from."""
    found: list[tuple[object, Scope]] = []
    for field, value in scope.query.within.items():
        if field != "rtable":
            found.append((value, scope))
            continue
        for number, entry in enumerate(scope.entries, 1):
            query = entry.node("subquery")
            found += [(part, scope) for part in entry.within.values() if part is not query]
            if query is not None:
                found.append((query, scope.below(number, query)))
    return found


def _query(node: Node, scope: Scope) -> Scope | None:
    """The query that a part of an expression, or of a WITH clause, has in it."""
    if node.name == "SUBLINK":
        query = node.node("subselect")
        return None if query is None else scope.within(query)
    if node.name == "COMMONTABLEEXPR" and node.node("ctequery") is not None:
        return scope.with_query(node.token("ctename"))
    return None
