"""Names in utility statements: which objects they stand for, by the search path in force."""

from __future__ import annotations

from typing import Any, Final

from msgspec import structs

from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.naming import quoted
from agent.core.sql.relations import Relation, shown_schema
from agent.core.sql.touched import Touched

Row = tuple[str | None, ...]

RELATION: Final = "relation"
ROUTINE: Final = "routine"
TYPE: Final = "type"
CREATION: Final = "current_schema"
"""Kind of name: the schema that a new object without one goes to, in the third column; asked with any name."""

_ANY: Final = "*"
_TEMPORARY: Final = "pg_temp"


class Resolution:
    """What is found of one utility statement, and the names that have to be asked for."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.touched = Touched(facts)
        self.catalog = False
        self._names: set[tuple[str, str]] = set()
        self._relations: set[int] = set()
        self._temporary: set[str] = set()

    def found(self) -> Found | Wanted:
        found = self.touched.found()
        if isinstance(found, Wanted):
            return Wanted(found.relations | self._relations, found.routines, found.names | self._names)
        if self._names or self._relations:
            return Wanted(frozenset(self._relations), frozenset(), frozenset(self._names))
        return structs.replace(found, changes_catalog=self.catalog)

    def say(self, verb: str, of: str = "", where: bool = True) -> None:
        self.touched.operation(verb, of, where)

    def unknown(self) -> None:
        self.touched.unknown()

    def rows(self, kind: str, name: str) -> tuple[Row, ...]:
        """What the catalog knows of a name; empty too when that has to be asked first."""
        if self.facts.missing(Wanted(names=frozenset(((kind, name),)))) is not None:
            self._names.add((kind, name))
            return ()
        return self.facts.named(kind, name)

    def found_as(self, kind: str, name: list[str]) -> list[Row]:
        """The objects of this kind that a name in its parts stands for: oid, schema, name and more of each."""
        return list(self.rows(kind, written(name))) if name else []

    def object(self, kind: str, name: list[str]) -> str:
        """`schema.name` of an object that exists; one that doesn't is as it was written."""
        for row in self.found_as(kind, name):
            return shown(row)
        return plain(name)

    def objects(self, kind: str, name: list[str]) -> list[str]:
        """The same for routines, which share names."""
        return list(dict.fromkeys(shown(row) for row in self.found_as(kind, name))) or [plain(name)]

    def new(self, name: list[str], temporary: bool = False) -> str:
        """What an object that is made under this name will be called."""
        if len(name) > 1 or not name:
            return plain(name)
        if temporary:
            return f"{_TEMPORARY}.{name[0]}"
        for row in self.rows(CREATION, _ANY):
            if row[0]:
                return f"{shown_schema(row[0])}.{name[0]}"
        return name[0]

    def relations(self, oids: tuple[int, ...]) -> list[Relation]:
        """What is known of relations by their OIDs; those that aren't are asked for."""
        known: list[Relation] = []
        for oid in oids:
            relation = self.facts.relation(oid)
            if relation is not None:
                known.append(relation)
            elif self.facts.missing(Wanted(frozenset((oid,)))) is not None:
                self._relations.add(oid)
        return known

    def relation(self, name: list[str]) -> Relation | None:
        """The relation of this name, with what hangs on it; None when there is none, or it has to be asked for."""
        for row in self.found_as(RELATION, name):
            for relation in self.relations((int(row[0] or "0"),)):
                return relation
        return None


def written(name: list[str]) -> str:
    """A name's parts as a question has them; that of the database, of three parts the first, is left out."""
    return ".".join(quoted(part) for part in name[-2:])


def plain(name: list[str]) -> str:
    """A name's parts as operations show them."""
    parts = name[-2:]
    if len(parts) == 2:
        return f"{shown_schema(parts[0])}.{parts[1]}"
    return parts[0] if parts else ""


def shown(row: Row) -> str:
    """`schema.name` of a row that has these in its second and third column."""
    return f"{shown_schema(row[1] or '')}.{row[2] or ''}"


def relation_name(node: Any) -> list[str]:
    """The parts of a RangeVar."""
    return [part for part in (node.schemaname, node.relname) if part]


def strings(nodes: Any) -> list[str]:
    """A list of String nodes, A_Star as *."""
    found: list[str] = []
    for node in nodes:
        if node.HasField("string"):
            found.append(node.string.sval)
        elif node.HasField("a_star"):
            found.append(_ANY)
    return found


def role_name(node: Any) -> str:
    """A RoleSpec as operations show it."""
    kinds = {2: "CURRENT_ROLE", 3: "CURRENT_USER", 4: "SESSION_USER", 5: "public"}
    return str(kinds.get(node.roletype, node.rolename))
