"""What sampling a database finds: never a value, only how many of them look like what."""

from __future__ import annotations

from msgspec import Struct


class Table(Struct, frozen=True):
    """A table, partitioned table or materialized view; `readable`: the agent's role may read some column of it."""

    schema: str
    name: str
    readable: bool


class Tables(Struct, frozen=True):
    """The tables that were asked for, by schema and name. `more`: there are more than are listed; `refused`: the
    SQLSTATE of the server's error, if it didn't tell them."""

    tables: tuple[Table, ...] = ()
    more: bool = False
    refused: str = ""


class Sighting(Struct, frozen=True):
    """How many values of a column are of a type (agent.core.masking.looks.TYPES) as a whole, and how many only have
    one within them."""

    type: str
    whole: int
    within: int


class Column(Struct, frozen=True):
    """A column: its `kind` is text, texts (an array of them), number, json, xml, date or other; `values`: how many were
    looked at that are neither NULL nor empty."""

    name: str
    kind: str
    readable: bool
    values: int = 0
    sightings: tuple[Sighting, ...] = ()


class Sample(Struct, frozen=True):
    """A table's columns, in their order; `rows`: how many were looked at; `refused`: the SQLSTATE of the server's error
    that ended it."""

    columns: tuple[Column, ...] = ()
    rows: int = 0
    refused: str = ""
