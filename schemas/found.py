"""What reading a statement finds: what it would do, what it reads, and what its rows are made of."""

from __future__ import annotations

from msgspec import Struct

from schemas.operation import Operation


class Source(Struct, frozen=True):
    """A column of a table that values come from."""

    column: str
    """`schema.table.column`; `*` is any column at all, of which nothing can be told while the statement runs either."""
    path: tuple[str, ...] = ()
    """What the values come through, from where they are used to where they are kept: `view app.contacts`, `with w`,
    `generated app.users.initials`; `table app.staff` where the column is that of a parent or a child."""
    plain: bool = False
    """They are the column's own values, whichever way they come; else something is made of them."""


class Output(Struct, frozen=True):
    """A column of the rows that a statement returns."""

    name: str
    sources: tuple[Source, ...] = ()
    """In the order of the alphabet, each column once."""
    opaque: bool = False
    """Code makes values of it, too: what that reads shows when it runs."""
    parameters: bool = False
    """Parameters have part in its values: a client's own, or variables of the code that runs it."""


class Move(Struct, frozen=True):
    """A column that a statement writes values to which come from columns, code or parameters."""

    column: str
    """`schema.table.column`, `schema.table.*` where it may be any of them. Of a value that is given to a routine which
    does more than compute, where that puts it: `pg_catalog.pg_settings.setting` (SHOW shows it, too),
    `pg_catalog.pg_largeobject.data`, `pg_catalog.pg_sequences.last_value`, else `schema.routine()`."""
    names: tuple[str, ...] = ()
    """What else the column is called: by its table's parents and children."""
    sources: tuple[Source, ...] = ()
    opaque: bool = False
    parameters: bool = False


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
    code: tuple[int, ...] = ()
    """The routines by which it is opaque, as far as they are known one by one."""
    reaches: tuple[Operation, ...] = ()
    """What code that it runs could do beyond what a rollback undoes: it has to be decided before."""
    outputs: tuple[Output, ...] | None = None
    """The columns of the rows that it returns, none if it returns none; of a cursor or a statement that it makes, those
    of its rows. None: not known, or not asked for. Each may come from anywhere."""
    moves: tuple[Move, ...] = ()
    held: tuple[str, ...] = ()
    """Columns of tables that it deals with as a whole: its errors may tell of their values."""
    handed: tuple[str, ...] = ()
    """Columns of rows that code which hangs on tables gets to see."""
    leaves: tuple[str, ...] = ()
    """What code that it runs may leave in the session, or a sequence, though all that it did be undone: by name."""
    cursor: str = ""
    """The cursor that it declares, or fetches from: that one's outputs are what FETCH returns."""
