"""A query of a tree, and where it stands: what its range table's entries are, and those of the queries around it."""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql.nodes import Node, command

SELECT: Final = "1"
UPDATE: Final = "2"
UTILITY: Final = "6"

RELATION: Final = "0"
SUBQUERY: Final = "1"
JOIN: Final = "2"
COMPUTED: Final = {"3": "functions", "4": "tablefunc", "5": "values_lists"}
"""Entries whose rows are computed, and the field that has the expressions: functions, XMLTABLE and the like, VALUES."""
CTE: Final = "6"
TRANSITION: Final = "7"
NOTHING: Final = "8"
GROUP: Final = "9"
"""What an entry of a range table is (RTEKind in nodes/parsenodes.h)."""

_LOCKING: Final = ("2", "4", "5")
"""UPDATE, DELETE, MERGE."""
_NUMBER: Final = re.compile(r":resno (\d+) ")
_SORTED: Final = re.compile(r":ressortgroupref (\d+)")


class Scope:
    """One query. `parent` is the query that its outer references begin to count from.

    `derived`: it isn't run, its rows were kept from an earlier run (a materialized view's definition), so that its
    conditions tell nothing any more. `strict`: all that it puts out is computed, though it may not be used.
    """

    def __init__(
        self, query: Node, parent: Scope | None, derived: bool = False, strict: bool = False, inlined: bool = False
    ) -> None:
        self.query = query
        self.parent = parent
        self.derived = derived
        self.kept: bool = derived or (parent is not None and parent.kept)
        """It, or what it is in, isn't run."""
        self.command: str = command(query)
        self.operations: Node | None = query.node("setOperations")
        self.strict: bool = (
            strict or self.command != SELECT or self.operations is not None or "distinctClause" in query.within
        )
        self.inlined = inlined
        """A WITH query that is run as a sub-select would be, unless it calls volatile functions."""
        self.locks: bool = "rowMarks" in query.within or self.command in _LOCKING
        """Its rows are kept whole, so that they can be looked at again when somebody else has changed them."""
        self.entries: list[Node] = query.nodes("rtable")
        self.reached = False
        self.seen: set[tuple[int, int, int]] = set()
        self.used: set[tuple[int, int]] = set()
        conflict = query.node("onConflict")
        self.excluded: int = 0 if conflict is None else conflict.number("exclRelIndex")
        """The entry that stands for the rows an INSERT was refused for; 0 when there is none."""
        self._targets: dict[int, Node] | None = None
        self._below: dict[int, Scope] = {}
        self._named: dict[str, Scope] = {}
        self._within: dict[int, Scope] = {}

    def up(self, levels: int) -> Scope | None:
        """The query that so many levels further out contains this one."""
        scope: Scope | None = self
        while levels > 0 and scope is not None:
            scope = scope.parent
            levels -= 1
        return scope

    def entry(self, number: int) -> Node | None:
        return self.entries[number - 1] if 0 < number <= len(self.entries) else None

    def targets(self) -> dict[int, Node]:
        """What the query puts out, by number; of one that writes, what it returns."""
        found = self._targets
        if found is None:
            found = {}
            for target in self.query.nodes("targetList" if self.command == SELECT else "returningList"):
                number = _NUMBER.search(target.plain)
                found[int(number[1]) if number is not None else 0] = target
            self._targets = found
        return found

    def columns(self) -> list[int]:
        """The numbers of the columns of its rows."""
        targets = self.targets()
        return [number for number in targets if not targets[number].true("resjunk")]

    def leaves(self) -> list[int]:
        """The entries that UNION, INTERSECT and EXCEPT put together, none where there are none."""
        found: list[int] = []
        waiting: list[Node | None] = [self.operations]
        while waiting:
            node = waiting.pop()
            if node is None:
                continue
            if node.name == "RANGETBLREF":
                found.append(node.number("rtindex"))
            else:
                waiting += [node.node("larg"), node.node("rarg")]
        return found

    def compares(self) -> bool:
        """Whether rows of branches are compared: any UNION without ALL, INTERSECT, EXCEPT."""
        waiting: list[Node | None] = [self.operations]
        while waiting:
            node = waiting.pop()
            if node is not None and node.name != "RANGETBLREF":
                if node.token("op") != "1" or not node.true("all"):
                    return True
                waiting += [node.node("larg"), node.node("rarg")]
        return False

    def below(self, number: int, query: Node) -> Scope:
        """The sub-select that an entry is."""
        scope = self._below.get(number)
        if scope is None:
            scope = Scope(query, self, self.derived, self.locks or self.operations is not None)
            self._below[number] = scope
        return scope

    def within(self, query: Node) -> Scope:
        """A sub-select in one of its expressions."""
        scope = self._within.get(id(query))
        if scope is None:
            scope = Scope(query, self, False, True)
            self._within[id(query)] = scope
        return scope

    def named(self, entry: Node) -> Scope | None:
        """The WITH query that an entry refers to; None when there is none."""
        outer = self.up(entry.number("ctelevelsup"))
        scope = None if outer is None else outer.with_query(entry.token("ctename"))
        if scope is not None and self.locks:
            scope.strict = True
        return scope

    def with_query(self, name: str) -> Scope | None:
        """Its WITH query of this name, as the tree writes it."""
        known = self._named.get(name)
        if known is not None:
            return known
        for expression in self.query.nodes("cteList"):
            query = expression.node("ctequery")
            if query is not None and expression.token("ctename") == name:
                inlined = _inlined(expression, query)
                scope = Scope(query, self, self.derived, not inlined, inlined)
                self._named[name] = scope
                return scope
        return None


def is_sorted(target: Node) -> bool:
    """Whether rows are grouped, sorted or told apart by it."""
    found = _SORTED.search(target.plain)
    return found is None or found[1] != "0"


def view_of(entry: Node, query: Node) -> int:
    """The OID of the view that a sub-select was expanded from; 0 when there is none."""
    if entry.number("relid"):
        return entry.number("relid")
    entries = query.nodes("rtable")  # up to PostgreSQL 15 the view is left as what OLD and NEW stand for
    if len(entries) < 2 or entries[0].token("relkind") != "v" or entries[0].true("inFromCl"):
        return 0
    alias = entries[0].node("alias")
    return entries[0].number("relid") if alias is not None and alias.token("aliasname") == "old" else 0


def _inlined(expression: Node, query: Node) -> bool:
    """Whether a WITH query is run as a sub-select would be: when it is referred to once and nothing speaks against."""
    return (
        "rowMarks" not in query.within
        and expression.token("ctematerialized") in ("0", "2")
        and expression.number("cterefcount") == 1
        and not expression.true("cterecursive")
    )
