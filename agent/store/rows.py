"""Records as rows of the evidence, and rows as the canonical bytes of their records again.

A session and an operation are two records and one row: what is known when it starts and when it ends. `leaf` and
`end_leaf` are the numbers of these records in the journal; a row whose end isn't recorded yet has no `end_leaf`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from agent.core.sql import fingerprints
from schemas.records import (
    Event,
    OperationEnded,
    OperationStarted,
    Record,
    ResponseChunk,
    SessionEnded,
    SessionStarted,
    encode,
)

Row = tuple[Any, ...]
"""A row's values in the order of its table's columns; times are microseconds since 1970."""

_TEXT, _TEXTS, _NUMBER, _TIME, _BYTES = "VARCHAR", "VARCHAR[]", "BIGINT", "TIMESTAMP", "BLOB"

TABLES: Final[dict[str, dict[str, str]]] = {
    "sessions": {
        "session_id": _TEXT,
        "started_at": _TIME,
        "ended_at": _TIME,
        "subject": _TEXT,
        "groups": _TEXTS,
        "actor": _TEXT,
        "run": _TEXT,
        "credential_id": _TEXT,
        "resource": _TEXT,
        "resource_type": _TEXT,
        "client_address": _TEXT,
        "client_name": _TEXT,
        "end_reason": _TEXT,
        "operations": _NUMBER,
        "bytes_in": _NUMBER,
        "bytes_out": _NUMBER,
        "leaf": _NUMBER,
        "end_leaf": _NUMBER,
    },
    "operations": {
        "session_id": _TEXT,
        "sequence": _NUMBER,
        "time": _TIME,
        "subject": _TEXT,
        "actor": _TEXT,
        "run": _TEXT,
        "resource": _TEXT,
        "resource_type": _TEXT,
        "operations": _TEXTS,
        "statement": _TEXT,
        "parameters": _TEXTS,
        "fingerprint": _TEXT,
        "decision": _TEXT,
        "rule": _TEXT,
        "approval_id": _TEXT,
        "outcome": _TEXT,
        "rows": _NUMBER,
        "bytes": _NUMBER,
        "duration_us": _NUMBER,
        "error_code": _TEXT,
        "error_message": _TEXT,
        "masked": _TEXTS,
        "masked_values": _NUMBER,
        "tags": _TEXTS,
        "ended_at": _TIME,
        "rest_bytes": _NUMBER,
        "rest_sha256": _TEXT,
        "copied_bytes": _NUMBER,
        "copied_sha256": _TEXT,
        "policy": _TEXT,
        "operations_inside": _TEXTS,
        "denied_by": _TEXT,
        "leaf": _NUMBER,
        "end_leaf": _NUMBER,
    },
    "responses": {
        "session_id": _TEXT,
        "sequence": _NUMBER,
        "chunk": _NUMBER,
        "time": _TIME,
        "content": _BYTES,
        "sealed": _BYTES,
        "leaf": _NUMBER,
    },
    "approvals": {
        "approval_id": _TEXT,
        "session_id": _TEXT,
        "sequence": _NUMBER,
        "requested_at": _TIME,
        "subject": _TEXT,
        "resource": _TEXT,
        "statement": _TEXT,
        "rule": _TEXT,
        "decision": _TEXT,
        "decided_at": _TIME,
        "approver": _TEXT,
        "via": _TEXT,
        "reason": _TEXT,
        "expires_at": _TIME,
    },
    "events": {
        "time": _TIME,
        "kind": _TEXT,
        "subject": _TEXT,
        "resource": _TEXT,
        "details": _TEXT,
        "leaf": _NUMBER,
    },
}
"""The columns of every table, with their types in DuckDB: the contract's first, then what else records hold."""

# Which column holds a record's time, in the order in which a row's date is looked for.
STARTS: Final = {
    "sessions": ("started_at", "ended_at"),
    "operations": ("time", "ended_at"),
    "responses": ("time",),
    "events": ("time",),
}

# The table of every kind of record, and the column that holds its time.
_PLACES: Final[dict[type[Record], tuple[str, str]]] = {
    SessionStarted: ("sessions", "started_at"),
    SessionEnded: ("sessions", "ended_at"),
    OperationStarted: ("operations", "time"),
    OperationEnded: ("operations", "ended_at"),
    ResponseChunk: ("responses", "time"),
    Event: ("events", "time"),
}

# The records that a row of a table was made of, by the column that holds their leaf.
_KINDS: Final[dict[str, tuple[tuple[str, type[Record]], ...]]] = {
    "sessions": (("leaf", SessionStarted), ("end_leaf", SessionEnded)),
    "operations": (("leaf", OperationStarted), ("end_leaf", OperationEnded)),
    "responses": (("leaf", ResponseChunk),),
    "events": (("leaf", Event),),
}

# A longer statement isn't fingerprinted: it is generated as a rule, and the time is the sealing's.
_LONGEST_CACHED = 1 << 14


def fingerprint(statement: str) -> str | None:
    """What statements that differ only in their constants have in common, 16 hex digits; None for what can't be
    parsed. https://github.com/pganalyze/libpg_query/wiki/Fingerprinting"""
    if len(statement) > _LONGEST_CACHED:
        return fingerprints.fingerprint(statement)
    return _cached_fingerprint(statement)


_cached_fingerprint = lru_cache(maxsize=4096)(fingerprints.fingerprint)


class Pair(NamedTuple):
    """Two records that are one row, or one that is: `start` then, with its `leaf`."""

    leaf: int | None
    start: Record | None
    end_leaf: int | None = None
    end: Record | None = None


class _Layout:
    """How the fields of one or two records, `leaf`, `end_leaf` and the fingerprint are arranged into a row."""

    def __init__(self, table: str, start: type[Record], end: type[Record] | None) -> None:
        self.table = table
        self.start_fields = start.__struct_fields__
        self.end_fields = end.__struct_fields__ if end is not None else ()
        self.start_values = attrgetter(*self.start_fields)
        self.end_values = attrgetter(*self.end_fields) if end is not None else None
        found = ["ended_at" if name == "time" else name for name in self.end_fields]
        # What both records have is the same in both; of two places `index` finds the first, the start's.
        found = [_PLACES[start][1] if name == "time" else name for name in self.start_fields] + found
        found += ["leaf", "end_leaf", "fingerprint"]
        self.arrange = itemgetter(*[found.index(name) for name in TABLES[table]])


def _layouts() -> dict[type[Record], _Layout]:
    layouts: dict[type[Record], _Layout] = {}
    for table, kinds in _KINDS.items():
        start, *ends = [kind for _, kind in kinds]
        layout = _Layout(table, start, ends[0] if ends else None)
        layouts |= dict.fromkeys([start, *ends], layout)
    return layouts


_LAYOUTS: Final = _layouts()
_KEY: Final = ("session_id", "sequence")


def row_of(pair: Pair) -> tuple[str, Row]:
    """The row that a pair makes, and its table."""
    leaf, start, end_leaf, end = pair
    known = end if start is None else start
    if known is None:
        raise ValueError("a row needs a record (got none, expected one or two)")
    layout = _LAYOUTS[type(known)]
    values: Row
    if start is not None:
        values = layout.start_values(start)
    else:
        values = tuple([getattr(end, name) if name in _KEY else None for name in layout.start_fields])
    if layout.end_values is not None:
        values += layout.end_values(end) if end is not None else (None,) * len(layout.end_fields)
    print_of = fingerprint(start.statement) if isinstance(start, OperationStarted) else None
    return layout.table, layout.arrange((*values, leaf, end_leaf, print_of))


_START_PLACES: Final = {
    table: [list(TABLES[table]).index(column) for column in columns] for table, columns in STARTS.items()
}


def start_of(table: str, row: Row) -> int:
    """Microseconds since 1970 of the moment that the row's partition is named by."""
    for place in _START_PLACES[table]:
        if row[place] is not None:
            return int(row[place])
    return 0


def rebuild(table: str, row: Mapping[str, Any]) -> list[bytes]:
    """The canonical bytes of the records that a row was made of, in their order; `row` is as DuckDB or any other reader
    of Parquet gives it, times as datetimes in UTC or as microseconds."""
    return [_rebuilt(kind, row) for leaf, kind in _KINDS[table] if row[leaf] is not None]


def _rebuilt(kind: type[Record], row: Mapping[str, Any]) -> bytes:
    _, time_column = _PLACES[kind]
    values = [_microseconds(row[time_column])]
    values += [row[name] for name in kind.__struct_fields__ if name != "time"]
    return encode(msgspec.convert([kind.__struct_config__.tag, *values], kind))


def _microseconds(moment: int | datetime) -> int:
    if isinstance(moment, int):
        return moment
    since = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


def empty(table: str) -> str:
    """A query with the table's columns and no rows."""
    return "SELECT " + ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in TABLES[table].items()) + " WHERE false"
