"""What reading a statement finds, or what has to be asked before it can be read."""

from __future__ import annotations

from msgspec import Struct

from schemas.found import Found, Move, Output, Source

__all__ = ["Found", "Move", "Output", "Source", "Wanted", "together", "wanted_together"]


class Wanted(Struct, frozen=True):
    """Facts of the catalog that are missing: OIDs, and names as they are written (quoted where they need it)."""

    relations: frozenset[int] = frozenset()
    routines: frozenset[int] = frozenset()
    names: frozenset[tuple[str, str]] = frozenset()
    """Kind (relation, routine, type, schema, role, prepared, …) and name, to be found by the search path in force."""


def wanted_together(*wanted: Wanted) -> Wanted:
    """All of it."""
    return Wanted(
        frozenset().union(*[one.relations for one in wanted]),
        frozenset().union(*[one.routines for one in wanted]),
        frozenset().union(*[one.names for one in wanted]),
    )


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
        tuple(dict.fromkeys(oid for one in found for oid in one.code)),
        tuple(dict.fromkeys(operation for one in found for operation in one.reaches)),
        found[0].outputs if len(found) == 1 else None,
        tuple([move for one in found for move in one.moves]),
        _all(tuple(column for one in found for column in one.held)),
        _all(tuple(column for one in found for column in one.handed)),
        _all(tuple(name for one in found for name in one.leaves)),
        found[0].cursor if len(found) == 1 else "",
    )


def _all(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
