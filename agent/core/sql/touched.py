"""The tables that a statement reads and writes, and what that sets off: foreign keys' actions, triggers, defaults."""

from __future__ import annotations

from typing import Final

from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.relations import BEFORE, CASCADE, DELETE, INSERT, UPDATE, Key, Relation
from agent.core.sql.routines import CODE, COMPARES, FIRST_USER, JSON, MORE, SETTING, UNCLEAR
from schemas.operation import Operation

INSERTS: Final = 1
SELECTS: Final = 2
UPDATES: Final = 4
DELETES: Final = 8
"""What can be asked of a table: the bits of RTEPERMISSIONINFO.requiredPerms (nodes/parsenodes.h, ACL_…)."""

_ANY: Final = "*"


class Touched:
    """Collects what is found, and the facts that are missing to tell."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.opaque = False
        self.settings = False
        self.constants = False
        self._operations: dict[Operation, None] = {}
        self._relations: set[int] = set()
        self._routines: set[int] = set()
        self._names: set[tuple[str, str]] = set()
        self._written: set[tuple[int, int, bool]] = set()
        self._called: set[int] = set()
        self._set_off: list[tuple[int, int, bool]] = []
        self._code: list[int] = []

    def found(self) -> Found | Wanted:
        if self._relations or self._routines or self._names:
            return Wanted(frozenset(self._relations), frozenset(self._routines), frozenset(self._names))
        code = tuple(self._code)
        return Found(tuple(self._operations), self.opaque, False, self.settings, self.constants, code=code)

    def operation(self, verb: str, of: str = "", where: bool = True) -> None:
        self._operations[Operation(verb, of, where)] = None

    def unknown(self) -> None:
        self.operation("UNKNOWN")

    def relation(
        self, oid: int, bits: int, children: bool, columns: frozenset[int], updates: bool, deletes: bool
    ) -> None:
        """A table or view of which `bits` are asked; with its children, unless it stands behind ONLY. `updates` and
        `deletes` say whether the rows are named."""
        if bits and oid:
            self._relation_alone(oid, bits, children, columns, updates, deletes)
        while self._set_off:
            other, asked, where = self._set_off.pop()
            self._relation_alone(other, asked, True, frozenset(), where, where)

    def _relation_alone(
        self, oid: int, bits: int, children: bool, columns: frozenset[int], updates: bool, deletes: bool
    ) -> None:
        relation = self._relation(oid)
        if relation is None:
            return
        below: list[Relation] = []
        if relation.descendants and (children or relation.kind == "p"):
            below = self._all(relation.descendants)
        for one in [relation, *self._all(relation.ancestors), *below] if relation.ancestors or below else [relation]:
            if bits & SELECTS:
                self.operation("SELECT", one.object)
            if bits & INSERTS:
                self.operation("INSERT", one.object)
            if bits & UPDATES:
                self.operation("UPDATE", one.object, updates)
            if bits & DELETES:
                self.operation("DELETE", one.object, deletes)
            if one.kind == "f":
                self.operation("FOREIGN", one.object)
        if bits & UPDATES and below and relation.kind == "p" and self._moves(relation, below, columns):
            for one in below:
                self.operation("DELETE", one.object, updates)
                self.operation("INSERT", one.object)
        if bits & ~SELECTS:
            self._writes(relation, below, bits, columns, updates, deletes)

    def _writes(
        self,
        relation: Relation,
        below: list[Relation],
        bits: int,
        columns: frozenset[int],
        updates: bool,
        deletes: bool,
    ) -> None:
        events = (INSERT if bits & INSERTS else 0) | (UPDATE if bits & UPDATES else 0)
        events |= DELETE if bits & DELETES else 0
        fired = INSERT | UPDATE | DELETE if relation.kind == "p" and events & UPDATE else events  # rows may move
        known = frozenset((key.relation, key.event) for key in relation.keys)
        for one in [relation, *below]:
            self.fires(one, fired)
            if events & (INSERT | UPDATE):
                for oid in one.code:
                    self.inner(oid)
                if one.orders:
                    for row in self._named("index_code_of", str(one.oid)):
                        self.inner(int(row[0] or "0"))
            for key in one.keys:
                if one is not relation and (key.relation, key.event) in known:
                    continue  # a partition's share of its parent's
                changed = columns if one is relation else frozenset()  # a child's columns have other numbers
                if not key.event & events or (key.event == UPDATE and not self._reaches(one, key, changed)):
                    continue
                self._acts(key, updates if key.event == UPDATE else deletes)

    def fires(self, relation: Relation, events: int) -> None:
        """The triggers that wait for any of these events: their functions are called, and those in their WHEN."""
        for trigger in relation.triggers:
            if trigger.events & events:
                self.inner(trigger.function)
                self._unseen(trigger.function)
                for oid in trigger.calls:
                    self.inner(oid)

    def _moves(self, relation: Relation, below: list[Relation], columns: frozenset[int]) -> bool:
        """Whether an update may take rows from one partition to another."""
        keys = frozenset(int(row[0] or "0") for row in self._named("moves", str(relation.oid)))
        if not columns or columns & keys:
            return True
        both = BEFORE | UPDATE
        return any(trigger.events & both == both for one in [relation, *below] for trigger in one.triggers)

    def _unseen(self, oid: int) -> None:
        """A trigger's function in C may keep plans of its own, which don't show."""
        routine = self.facts.routines.get(oid)
        if routine is not None and oid >= FIRST_USER and routine.language == "c" and not routine.plain:
            self.unknown()

    def _reaches(self, relation: Relation, key: Key, columns: frozenset[int]) -> bool:
        """Whether an update may change what a foreign key refers to."""
        return not columns or bool(columns & key.columns) or bool(relation.events & UPDATE)

    def _acts(self, key: Key, where: bool) -> None:
        """A foreign key's action: it deletes or updates the rows that refer to those that are gone or changed."""
        bits = DELETES if key.event == DELETE and key.action == CASCADE else UPDATES
        done = (key.relation, bits, where)
        if done not in self._written:
            self._written.add(done)
            self._set_off.append(done)

    def _relation(self, oid: int) -> Relation | None:
        relations = self.facts.relations
        relation = relations.get(oid)
        if relation is None:
            if oid in relations:
                self.unknown()  # gone since the tree was made
            else:
                self._relations.add(oid)
        return relation

    def _all(self, oids: tuple[int, ...]) -> list[Relation]:
        return [one for one in map(self._relation, oids) if one is not None]

    def call(self, oid: int) -> int:
        """A routine that is called: what that may do, as routines.effect says."""
        effect = self.facts.effects.get(oid)
        if effect is None:
            self._routines.add(oid)
            return 0
        if effect == 0 or oid in self._called:
            return effect
        self._called.add(oid)
        routine = self.facts.routines.get(oid)
        if routine is not None:
            if effect & MORE:
                self.operation("EXECUTE", routine.object)
            for component in routine.components:
                self.inner(component)
        if effect & CODE:
            self.opaque = True
            if oid >= FIRST_USER:
                self._code.append(oid)
        if effect & UNCLEAR:
            self.unknown()
        if effect & JSON:
            self.json()
        if effect & COMPARES:
            self.compares()
        return effect

    def compares(self) -> None:
        """Parts of arrays, rows or ranges are compared: by what users have made for their types."""
        for row in self._named("order_code", _ANY):
            self.inner(int(row[0] or "0"))

    def ordered(self, operator: int) -> None:
        """Values are compared by a user's operator: by whatever belongs to its family."""
        for row in self._named("operator_code", str(operator)):
            self.inner(int(row[0] or "0"))

    def json(self) -> None:
        """Values become JSON: by what users have made for their types."""
        for row in self._named("json_casts", _ANY):
            self.inner(int(row[0] or "0"))

    def inner(self, oid: int) -> None:
        """A routine that another one calls, or that is called for a value: nothing is known of its arguments."""
        if oid:
            self.changes(self.call(oid), None)

    def changes(self, effect: int, setting: int | None) -> None:
        """A call of set_config, by its effect and that of the setting; None when nobody knows which."""
        if not effect & SETTING:
            return
        if setting is None:
            setting = SETTING | UNCLEAR
        if setting & SETTING:
            self.settings = True
        if setting & UNCLEAR:
            self.unknown()

    def made(self, of_type: int) -> None:
        """A value of a user's type is made: what its domains check."""
        for row in self._named("type_code", str(of_type)):
            for oid in (row[0] or "").split(","):
                if oid:
                    self.inner(int(oid))

    def _named(self, kind: str, name: str) -> tuple[tuple[str | None, ...], ...]:
        rows = self.facts.names.get((kind, name))
        if rows is None:
            self._names.add((kind, name))
            return ()
        return rows
