"""Tables, views and sequences as the catalog has them, as far as it matters to what a statement does."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

INSERT: Final = 4
DELETE: Final = 8
UPDATE: Final = 16
TRUNCATE: Final = 32
"""Bits of pg_trigger.tgtype: the events that a trigger waits for."""
BEFORE: Final = 2
"""Another: it may change the row."""

CASCADE: Final = "cascade"
SET: Final = "set"

ACTIONS: Final[dict[int, tuple[int, str]]] = {
    1646: (DELETE, CASCADE),
    1647: (UPDATE, CASCADE),
    1650: (DELETE, SET),
    1651: (UPDATE, SET),
    1652: (DELETE, SET),
    1653: (UPDATE, SET),
}
"""OIDs of the functions that carry out a foreign key's actions (RI_FKey_cascade_del, …_cascade_upd, …_setnull_del,
…_setnull_upd, …_setdefault_del, …_setdefault_upd): the event that they wait for, and what they do then."""


class Key(Struct, frozen=True):
    """A foreign key of another table, `relation`, whose rows are deleted or changed with those that they refer to."""

    relation: int
    event: int
    """DELETE or UPDATE of the row that is referred to."""
    action: str
    """CASCADE or SET (to null or to the default)."""
    columns: frozenset[int] = frozenset()
    """The columns that are referred to."""


class Trigger(Struct, frozen=True):
    """An enabled trigger, none of those that foreign keys are made of."""

    events: int
    """pg_trigger.tgtype: what it waits for, and when it runs."""
    function: int
    calls: tuple[int, ...] = ()
    """Routines that its WHEN condition calls."""


class Relation(Struct, frozen=True):
    """One row of pg_class and what hangs on it."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind: r table, p partitioned, v view, m materialized view, f foreign, S sequence, i index, c type."""
    owner: str = ""
    ancestors: tuple[int, ...] = ()
    """Whatever it is a partition or an inheriting child of, at any distance."""
    descendants: tuple[int, ...] = ()
    row_security: bool = False
    rules: bool = False
    """A table's or a view's rules, a view's own one not counted."""
    triggers: tuple[Trigger, ...] = ()
    keys: tuple[Key, ...] = ()
    code: tuple[int, ...] = ()
    """Routines that a written row may call: defaults, generated columns, checks, policies, indexes, domains."""

    orders: bool = False
    """Its indexes, or its partitions, go by an order that users have made."""

    @property
    def events(self) -> int:
        """What any of its triggers waits for."""
        bits = 0
        for trigger in self.triggers:
            bits |= trigger.events
        return bits

    @property
    def object(self) -> str:
        """`schema.name`, as operations name it."""
        return f"{self.schema}.{self.name}"


def shown_schema(schema: str) -> str:
    """A schema's name; that of a session's temporary objects is pg_temp, whichever session it is."""
    if schema.startswith("pg_temp_"):
        return "pg_temp"
    return "pg_toast_temp" if schema.startswith("pg_toast_temp_") else schema
