"""What is found of one output: columns by their names, and whether code has part in it."""

from __future__ import annotations

from typing import Final

from agent.core.sql import holders
from agent.core.sql.facts import Facts
from agent.core.sql.found import Source, Wanted
from agent.core.sql.nodes import Node, TreeError, read
from agent.core.sql.passage import Way
from agent.core.sql.relations import Relation
from agent.core.sql.scopes import Scope
from agent.core.sql.sources import Sources
from agent.core.sql.terms import called

_CHANGES_ROWS: Final = (3, 65)
"""Bits of pg_trigger.tgtype: FOR EACH ROW and BEFORE, or INSTEAD OF (catalog/pg_trigger.h)."""


class Origins:
    """Collects it, and the facts that are missing to tell. What it says holds once `wanted` is None."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._sources = Sources(facts)
        self._definitions: dict[int, Scope] = {}
        self._found: dict[str, Source] = {}
        self._opaque = False
        self._parameters = False

    def wanted(self) -> Wanted | None:
        return self._sources.wanted()

    def _name(self, column: str, way: Way) -> None:
        known = self._found.get(column)
        if known is None:
            self._found[column] = Source(column, way.path, way.plain and not way.fields)
        elif known.plain and not (way.plain and not way.fields):
            self._found[column] = Source(column, known.path, False)

    def _view(self, view: Relation, number: int, way: Way) -> None:
        """A view's column, by its own name."""
        if way.nulls:
            return
        for one in [number] if number else self._sources.numbers(view.oid):
            name = self._sources.named(view.oid, one)
            if name is not None:
                self._name(f"{view.object}.{name}", way)

    def _definition(self, oid: int, kept: bool) -> Scope | None:
        """The query that defines a view; None when it has to be asked for, or isn't known."""
        key = oid * 2 + (1 if kept else 0)
        known = self._definitions.get(key)
        if known is not None:
            return known
        text = self._sources.definition(oid)
        if text is None:
            return None
        try:
            trees = read(text)
        except TreeError:
            trees = []
        if len(trees) != 1 or trees[0].name != "QUERY":
            self._sources.unknown()
            return None
        self._definitions[key] = Scope(trees[0], None, kept)
        return self._definitions[key]

    def _changed(self, entry: Node) -> None:
        """Triggers may put anything into a row before it is written."""
        relation = self._sources.relation(entry.number("relid"))
        if relation is None:
            return
        others = [self._sources.relation(oid) for oid in relation.descendants]
        for one in [relation, *others]:
            for trigger in () if one is None else one.triggers:
                if any(trigger.events & bits == bits for bits in _CHANGES_ROWS):
                    self._opaque = True

    def _calls(self, value: Node, scope: Scope) -> None:
        """What the routines that it calls put out beside their arguments."""
        routines = called(value)
        if routines is None:
            self._opaque = True
            return
        for oid in routines:
            if oid not in self._facts.routines:
                self._sources.routine(oid)
                continue
            routine = self._facts.routines.get(oid)
            self._holds(holders.holds(routine), scope)
            for component in () if routine is None else routine.components:
                known = self._sources.routine(component)
                if component in self._facts.routines:
                    self._holds(holders.holds(known), scope)

    def _holds(self, what: int, scope: Scope) -> None:
        if what == holders.UNKNOWN or (what == holders.OPAQUE and scope.kept):
            self._sources.unknown()
        elif what == holders.OPAQUE:
            self._opaque = True
        elif what == holders.SETTINGS:
            self._name(holders.SETTING_COLUMN, Way().computed())
        elif what == holders.CASTS and self._sources.rows("json_casts", "*"):
            self._opaque = True
