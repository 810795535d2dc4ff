"""Where values come from: columns of tables, by the names that policies have for them.

A column goes by several names where tables inherit or are partitions: `schema.table.column` of the table itself, and
of whatever it is a child of or, when its children are read with it, a parent of. A generated column is also whatever
columns its expression is made of.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from agent.core.sql.facts import Facts
from agent.core.sql.found import Wanted
from agent.core.sql.nodes import TreeError, read
from agent.core.sql.relations import Relation
from agent.core.sql.routines import CODE, Routine, effect

UNKNOWN_COLUMN: Final = "*"
"""Among columns: perhaps any column at all."""

SHOWN: Final = 0
COMPARED: Final = 1
COUNTED: Final = 2
COMPUTED: Final = 3
"""What is done with a value. SHOWN: anything. COMPARED: rows are chosen, put together or put in order by it, and
nothing else. COUNTED: only whether it is null matters. COMPUTED: nothing, once it is computed."""

_COLUMN: Final = re.compile(r":varattno (-?\d+) ")
_SAMPLES: Final = re.compile(
    r"pg_catalog\.(pg_statistic\.stavalues|pg_statistic_ext_data\.(stxdmcv|stxdexpr)|pg_largeobject\.data)"
)
"""Columns of the catalog that hold values of other tables' columns, for the planner; and large objects."""


class Used(Struct, frozen=True):
    """Columns, each in the order of the alphabet; one that is both shown and compared is among those shown."""

    shown: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(sorted({*self.shown, *self.compared}))


class Sources:
    """Collects columns, and the facts that are missing to name them."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._names: dict[str, int] = {}
        self._relations: set[int] = set()
        self._routines: set[int] = set()
        self._asked: set[tuple[str, str]] = set()
        self._columns: dict[int, dict[int, tuple[str, str | None]]] = {}
        self.unclear = False
        """Something was unknown since this was set to False."""

    def found(self) -> Used | Wanted:
        wanted = self.wanted()
        if wanted is not None:
            return wanted
        shown = sorted([name for name in self._names if self._names[name] == SHOWN])
        return Used(tuple(shown), tuple(sorted([name for name in self._names if self._names[name] == COMPARED])))

    def wanted(self) -> Wanted | None:
        if self._relations or self._routines or self._asked:
            return Wanted(frozenset(self._relations), frozenset(self._routines), frozenset(self._asked))
        return None

    def unknown(self) -> None:
        self._names[UNKNOWN_COLUMN] = SHOWN
        self.unclear = True

    def relation(self, oid: int) -> Relation | None:
        """None when it has to be asked for, or is gone since: then its columns count as unknown."""
        relation = self.facts.relations.get(oid)
        if relation is None:
            if oid in self.facts.relations:
                self.unknown()
            else:
                self._relations.add(oid)
        return relation

    def definition(self, oid: int) -> str | None:
        """The tree that defines a view, as the catalog has it; None as above."""
        rows = self._rows("definition", oid)
        if rows is None:
            return None
        if len(rows) != 1 or not rows[0][0]:
            self.unknown()
            return None
        return rows[0][0]

    def volatile(self, routines: list[int]) -> bool:
        """Whether one of them may do more than compute its result, or isn't known yet."""
        found = False
        for oid in routines:
            routine = self.facts.routines.get(oid)
            if routine is None:
                found = True
                if oid not in self.facts.routines:
                    self._routines.add(oid)
            elif routine.volatility == "v":
                found = True
        return found

    def kept(self, routines: list[int] | None) -> None:
        """Routines that were called for rows that were kept since: what those read that run statements isn't known."""
        for oid in [] if routines is None else routines:
            routine = self.facts.routines.get(oid)
            if routine is None and oid not in self.facts.routines:
                self._routines.add(oid)
            elif routine is None or (effect(routine) & CODE and routine.volatility != "i"):
                self.unknown()
        if routines is None:
            self.unknown()

    def numbers(self, oid: int, names: tuple[str, ...] = ()) -> list[int]:
        """The numbers of a relation's columns, or of those with these names; none when they have to be asked for."""
        columns = self._of(oid)
        if columns is None:
            return []
        if not names:
            return list(columns)
        known = {columns[number][0]: number for number in columns}
        if not known.keys() >= set(names):
            self.unknown()
        return [known[name] for name in names if name in known]

    def column(self, oid: int, number: int, children: bool, use: int = SHOWN) -> None:
        """A column that is used; `children`, if those of the table are read with it."""
        relation = self.relation(oid)
        columns = self._of(oid)
        if relation is None or columns is None:
            return
        if number not in columns:
            self.unknown()
            return
        name, generated = columns[number]
        if generated is not None and use != COMPUTED:
            for other in self._inputs(generated):
                if other in columns:
                    self._name(relation, columns[other][0], children, COMPARED if use == COMPARED else SHOWN)
        if use <= COMPARED:
            self._name(relation, name, children, use)

    def _name(self, relation: Relation, name: str, children: bool, use: int) -> None:
        full = f"{relation.object}.{name}"
        if self._names.get(full, COUNTED) <= use and not children:
            return
        self._keep(full, use)
        if self.holds_samples(relation, name):
            self.unknown()
        for other in self.relatives(relation, name, children):
            self._keep(f"{other.object}.{name}", use)

    def relatives(self, relation: Relation, name: str, children: bool) -> list[Relation]:
        """The parents that have a column of this name, and the children, if they are read with it."""
        found: list[Relation] = []
        for oid in relation.ancestors:
            parent, columns = self.relation(oid), self._of(oid)
            if parent is not None and columns is not None and any(columns[number][0] == name for number in columns):
                found.append(parent)
        if children or relation.kind == "p":
            for oid in relation.descendants:
                child = self.relation(oid)
                if child is not None:
                    found.append(child)
        return found

    def holds_samples(self, relation: Relation, name: str) -> bool:
        """Whether the column may hold any other column's values."""
        return relation.schema.startswith("pg_toast") or _SAMPLES.match(f"{relation.object}.{name}") is not None

    def named(self, oid: int, number: int) -> str | None:
        """A column's name; None when it has to be asked for, or there is none: that is unknown."""
        columns = self._of(oid)
        if columns is None:
            return None
        if number not in columns:
            self.unknown()
            return None
        return columns[number][0]

    def inputs(self, oid: int, number: int) -> list[int]:
        """The columns that a generated column is made of; none of any other."""
        columns = self._of(oid)
        expression = None if columns is None or number not in columns else columns[number][1]
        return [] if expression is None else self._inputs(expression)

    def routine(self, oid: int) -> Routine | None:
        """None when it has to be asked for, or is gone."""
        if oid not in self.facts.routines:
            self._routines.add(oid)
        return self.facts.routines.get(oid)

    def rows(self, kind: str, name: str) -> tuple[tuple[str | None, ...], ...]:
        """What is known of a name; none when it has to be asked for."""
        rows = self.facts.names.get((kind, name))
        if rows is None:
            self._asked.add((kind, name))
            return ()
        return rows

    def _keep(self, full: str, use: int) -> None:
        self._names[full] = min(use, self._names.get(full, use))

    def _inputs(self, expression: str) -> list[int]:
        """The columns of its own table that a generated column's expression is made of."""
        try:
            trees = read(expression)
        except TreeError:
            self.unknown()
            return []
        found = []
        for tree in trees:
            for node in tree.walk():
                if node.name == "VAR":
                    match = _COLUMN.search(node.plain)
                    if match is None or match[1] == "0":
                        self.unknown()
                    else:
                        found.append(int(match[1]))
        return found

    def _of(self, oid: int) -> dict[int, tuple[str, str | None]] | None:
        """A relation's columns by number: the name, and the expression if it is generated."""
        known = self._columns.get(oid)
        if known is None:
            rows = self._rows("columns", oid)
            if rows is None:
                return None
            known = {int(row[0] or "0"): (row[1] or "", row[2]) for row in rows}
            self._columns[oid] = known
        return known

    def _rows(self, kind: str, oid: int) -> tuple[tuple[str | None, ...], ...] | None:
        rows = self.facts.names.get((kind, str(oid)))
        if rows is None:
            self._asked.add((kind, str(oid)))
        return rows
