"""What reading a statement finds, or what has to be asked before it can be read."""

from __future__ import annotations

from msgspec import Struct

from schemas.operation import Operation


class Found(Struct, frozen=True):
    """Everything that a statement would do, as far as it can be known before it runs."""

    operations: tuple[Operation, ...] = ()
    opaque: bool = False
    """It runs code that may run statements (functions, triggers, DO, CALL): they show only when it runs."""
    changes_catalog: bool = False
    """It makes, alters, renames or drops: what was found of other statements may not hold after it."""
    changes_settings: bool = False
    """It may change settings that the meaning of later statements rests on (search_path, role, quoting)."""
    constants_matter: bool = False
    """Another statement that differs in its constants alone may do something else."""
    shown: tuple[str, ...] = ()
    """Columns, `schema.table.column`, of whose values it lets something out."""
    compared: tuple[str, ...] = ()
    """Columns that rows are only chosen, joined, grouped or sorted by."""
    defines: tuple[str, ...] = ()
    """Tables that it reads or alters as a whole, not by a query."""


class Wanted(Struct, frozen=True):
    """Facts of the catalog that are missing: OIDs, and names as they are written (quoted where they need it)."""

    relations: frozenset[int] = frozenset()
    routines: frozenset[int] = frozenset()
    names: frozenset[tuple[str, str]] = frozenset()
    """Kind (relation, routine, type, schema, role, prepared, …) and name, to be found by the search path in force."""


def together(*found: Found) -> Found:
    """What statements do that run as one."""
    operations = dict.fromkeys(operation for one in found for operation in one.operations)
    return Found(
        tuple(operations),
        any(one.opaque for one in found),
        any(one.changes_catalog for one in found),
        any(one.changes_settings for one in found),
        any(one.constants_matter for one in found),
        _all(tuple(column for one in found for column in one.shown)),
        _all(tuple(column for one in found for column in one.compared)),
        _all(tuple(table for one in found for table in one.defines)),
    )


def _all(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
