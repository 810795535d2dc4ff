"""What masks mean for a statement: which columns of its rows are masked, or why it can't run at all.

A statement may run under masks if all that it lets out of a hidden column is in its rows, where it is replaced, and in
the text of its errors, which is left out. So what it writes elsewhere, hands to a function that does more than compute,
or reads as a whole is refused, and so is code that gets hold of rows with hidden columns. What such code reads by
statements of its own is judged when those have shown themselves, before anybody gets its answer.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from agent.core.policy.masks import Cover, Masked
from agent.core.sql.found import Found, Source
from schemas.operation import Operation

_OUTSIDE: Final = (
    "FOREIGN",
    "COPY FILE",
    "COPY PROGRAM",
    "UNKNOWN",
    "LOAD",
    "CREATE PUBLICATION",
    "CREATE SUBSCRIPTION",
)
"""Ways of reading a table that go past its columns."""

_FILES: Final = frozenset(
    f"EXECUTE pg_catalog.{name}"
    for name in (
        "pg_read_file pg_read_binary_file pg_stat_file pg_ls_dir lo_import lo_export pg_logical_slot_get_changes"
        " pg_logical_slot_peek_changes pg_logical_slot_get_binary_changes pg_logical_slot_peek_binary_changes"
        " pg_create_logical_replication_slot pg_get_wal_record_info"
    ).split()
)


_STAY: Final = ("moddatetime", "autoinc", "insert_username")
"""Triggers in C, of PostgreSQL's own extensions, that put nothing anywhere but into their row."""
_WRITES: Final = ("UPDATE", "DELETE", "MERGE")
"""They show code that hangs on a table the rows that were there before."""


class Screened(Struct, frozen=True):
    """It may run. `covers` are the columns of its rows, None where none of them is masked; `secret`: it reads hidden
    columns, so its errors are masked."""

    covers: tuple[Cover | None, ...] | None = None
    secret: bool = False


class Barred(Struct, frozen=True):
    """It may not: by which mask, and why."""

    mask: str
    why: str


CLEAR: Final = Screened()


def beyond(operation: Operation) -> bool:
    """Whether this may read what is masked in a way that can't be followed, unless a rule allows it."""
    return operation.verb in _OUTSIDE or operation.verb == "EXECUTE"


def screen(masked: Masked, found: Found, allowed: tuple[Operation, ...] = ()) -> Screened | Barred:
    """What is to be done about a statement. `allowed` are those of its operations `beyond` that a rule allows."""
    if not masked.by_column:
        return CLEAR
    barred = _past_columns(masked, found, allowed) or _past_reach(masked, found, allowed)
    if barred is not None:
        return barred
    hidden = masked.hides((), found.compared)
    if hidden is not None:
        return Barred(hidden[0], f"it chooses, joins, groups or sorts rows by {hidden[1]}")
    reads = masked.hides(found.shown)
    if found.opaque:
        held = reads or masked.hides(found.handed)
        handed = held[1] if held is not None else _table_with_hidden(masked, found)
        if handed is not None:
            return Barred(masked.first, f"it runs code that may get hold of {handed}")
    secret = reads is not None or masked.any_of(found.compared) or masked.any_of(found.held)
    if reads is None:
        return Screened(None, secret)
    if found.outputs is None:
        return Barred(reads[0], f"it reads {reads[1]} in a way that can't be followed")
    covers = tuple([masked.cover(output) for output in found.outputs])
    barred = _elsewhere(masked, found, covers, allowed)
    if barred is not None:
        return barred
    return Screened(covers if any(cover is not None for cover in covers) else None, secret)


def screen_inside(masked: Masked, parts: tuple[Found, ...], allowed: tuple[Operation, ...]) -> Barred | None:
    """The same of what code did, statement by statement: code that has read a hidden column may put it anywhere."""
    for part in parts:
        screened = screen(masked, structs.replace(part, outputs=None), allowed)
        if isinstance(screened, Barred):
            return screened
    return None


def _past_columns(masked: Masked, found: Found, allowed: tuple[Operation, ...]) -> Barred | None:
    for table in found.defines:
        old = table.partition(" TO ")[0]
        mask = masked.concerns(old) or (masked.concerns(old.rpartition(".")[0]) if old.count(".") > 1 else None)
        if mask is not None:
            return Barred(mask, f"it reads or alters {old} as a whole")
    for operation in found.operations:
        if (operation.verb in _OUTSIDE or str(operation) in _FILES) and operation not in allowed:
            return Barred(masked.first, f"it does {operation}, which may read what is masked")
    return None


def _past_reach(masked: Masked, found: Found, allowed: tuple[Operation, ...]) -> Barred | None:
    """What code could do that a rollback doesn't undo: what it had read would be gone before it is judged."""
    for operation in found.reaches:
        called = operation.object.rpartition(".")[2] if operation.verb == "EXECUTE" else ""
        elsewhere = called != "" and called not in _STAY and not operation.object.startswith("pg_catalog.")
        if (elsewhere or operation.verb in _OUTSIDE or str(operation) in _FILES) and operation not in allowed:
            return Barred(masked.first, f"code that it runs might do {operation}, which could not be undone")
    if found.leaves:
        return Barred(masked.first, f"code that it runs may keep a value by {found.leaves[0]}, though it be undone")
    return None


def _table_with_hidden(masked: Masked, found: Found) -> str | None:
    """A table that it writes, if that has hidden columns: triggers and checks get its rows."""
    for operation in found.operations:
        if operation.verb in _WRITES and masked.concerns(operation.object) is not None:
            return operation.object
    return None


def _elsewhere(
    masked: Masked, found: Found, covers: tuple[Cover | None, ...], allowed: tuple[Operation, ...]
) -> Barred | None:
    """What it does with hidden values besides returning them."""
    accounted: set[str] = set()
    computed = False
    for cover, output in zip(covers, found.outputs or (), strict=True):
        if cover is None:
            continue
        accounted.update(cover.columns)
        for source in output.sources:
            if not source.plain:
                computed = True
                if masked.hides((), (source.column,)):
                    return Barred(cover.mask, f"it computes with {source.column}, and an error may tell of the value")
    for move in found.moves:
        column = _hidden_source(masked, move.sources)
        if column is None:
            continue
        if not masked.hides((move.column, *move.names)):
            return Barred(column[0], f"it writes {column[1]} to {move.column}, which no mask covers")
        accounted.update(source.column for source in move.sources)
    for name in found.shown:
        hidden = masked.hides((name,))
        if hidden is not None and name not in accounted:
            return Barred(hidden[0], f"it computes with {name} in a way that may let it out")
    if computed:
        for operation in found.operations:
            if operation.verb == "EXECUTE" and operation not in allowed:
                return Barred(masked.first, f"{operation.object} may get hold of masked values")
    return None


def _hidden_source(masked: Masked, sources: tuple[Source, ...]) -> tuple[str, str] | None:
    return masked.hides(tuple([source.column for source in sources]))
