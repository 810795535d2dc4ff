"""What one operation's answer is masked by, from the decision to the last row.

A decision says which of the columns are covered (agent.core.policy.masks); of what type and in which format they come
is told by RowDescription, or by what was described when the statement was decided and the formats of its Bind. What is
covered and of which no type is known becomes NULL, which is valid for any.
"""

from __future__ import annotations

import struct
from typing import Final

from mypy_extensions import i64

from agent.core.masking.replacement import Replacement
from agent.core.masking.replacer import Replacer
from agent.core.masking.rows import Plan, RowError, Rows
from agent.core.pg.messages import DATA_ROW, ProtocolError, string_end, u16
from agent.core.policy.masks import Cover

Covers = tuple[Cover | None, ...]

_COLUMN: Final = struct.Struct("!IhIhiH")
"""Of a column, behind its name: table, attribute, type, size, modifier, format."""


class RowType:
    """The columns of a RowDescription: types, modifiers and formats, each a list."""

    def __init__(self, body: bytes) -> None:
        self.types: list[int] = []
        self.modifiers: list[int] = []
        self.formats: list[int] = []
        if len(body) < 2:
            return
        at: i64 = 2
        for _ in range(u16(body, 0)):
            at = string_end(body, at) + 1
            if at + _COLUMN.size > len(body):
                raise ProtocolError("row description cut short")
            _, _, kind, _, modifier, form = _COLUMN.unpack_from(body, int(at))
            self.types.append(kind)
            self.modifiers.append(modifier)
            self.formats.append(form)
            at += _COLUMN.size


class Veil:
    """`covers` are the columns of its rows, in their order. `row` is the body of the RowDescription that its statement
    was described with, empty if it wasn't."""

    def __init__(self, covers: Covers, key: bytes, row: bytes = b"") -> None:
        self.covers: Final = covers
        self.row: Final = row
        self._key: Final = key
        self._type = RowType(row)
        self._formats: list[int] = []
        self._rows: Rows | None = None
        self._counts: list[int] = [0] * len(covers)

    def described(self, body: bytes) -> None:
        """The server describes the rows that are to come."""
        self._settle()
        self._type = RowType(body)
        self._formats = self._type.formats

    def formatted(self, formats: list[int]) -> None:
        """The formats that a Bind asks for: none, one for all columns, or one for each."""
        self._settle()
        self._formats = formats

    def again(self) -> Veil:
        """The same, for another execution."""
        other = Veil(self.covers, self._key, self.row)
        other._type, other._formats = self._type, self._formats
        return other

    def rewrite(self, tag: int, data: bytes) -> bytes:
        """Whole messages of rows, masked. Raises ProtocolError for rows that aren't as they were foretold."""
        if tag != DATA_ROW:
            raise ProtocolError("COPY data where masked rows were expected")
        if self._rows is None:
            self._rows = Rows(self._plan())
        try:
            return self._rows.rewrite(data)
        except RowError as error:
            raise ProtocolError(f"masked rows: {error}") from None

    @property
    def masked(self) -> tuple[str, ...]:
        """The columns whose values were replaced, `schema.table.column`."""
        self._settle()
        names: dict[str, None] = {}
        for count, cover in zip(self._counts, self.covers, strict=True):
            if count and cover is not None:
                names.update(dict.fromkeys(cover.columns))
        return tuple(names)

    @property
    def values(self) -> int:
        """How many values were replaced."""
        self._settle()
        return sum(self._counts)

    def _settle(self) -> None:
        if self._rows is not None:
            for place, count in enumerate(self._rows.plan.counts):
                self._counts[place] += count
            self._rows = None

    def _plan(self) -> Plan:
        types, modifiers, formats = self._type.types, self._type.modifiers, self._formats
        columns: list[Replacer | None] = []
        for place, cover in enumerate(self.covers):
            if cover is None:
                columns.append(None)
                continue
            known = place < len(types)
            form = formats[place] if place < len(formats) else (formats[0] if len(formats) == 1 else 0)
            kind, modifier = (types[place], modifiers[place]) if known else (0, -1)
            columns.append(Replacement(cover.way, self._key, kind, modifier, form == 1))
        return Plan(columns)
