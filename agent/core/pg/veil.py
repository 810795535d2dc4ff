"""What one operation's answer is masked by, from the decision to the last row.

A decision says which of the columns are covered (agent.core.policy.masks); of what type and in which format they come
is told by RowDescription, or by what was described when the statement was decided and the formats of its Bind. What is
covered and of which no type is known becomes NULL, which is valid for any.
"""

from __future__ import annotations

import struct
from typing import Final

from mypy_extensions import i64

from agent.core.masking.copies import BinaryCopy, Copy, CsvCopy, TextCopy
from agent.core.masking.replacement import Replacement
from agent.core.masking.replacer import Replacer
from agent.core.masking.rows import Plan, RowError, Rows
from agent.core.masking.search import Search
from agent.core.pg.messages import DATA_ROW, ProtocolError, message, string_end, u16
from agent.core.policy.masks import Cover
from agent.core.sql.copying import CopyForm

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
    """`covers` are the columns of its rows, in their order; none when no column is hidden, and values are only searched
    for (`search`). `row` is the body of the RowDescription that its statement was described with, empty if it wasn't,
    `form` that of a COPY."""

    def __init__(
        self,
        covers: Covers,
        key: bytes,
        row: bytes = b"",
        search: Search | None = None,
        form: CopyForm | None = None,
    ) -> None:
        self.covers: Final = covers
        self.row: Final = row
        self._key: Final = key
        self._search: Final = search
        self._form: Final = form
        self._type = RowType(row)
        self._formats: list[int] = []
        self._rows: Rows | None = None
        self._copy: Copy | None = None
        self._counts: dict[str, int] = {}
        self._replaced = 0
        self.rows = 0
        """How many rows it has been through, COPY data left out."""

    def described(self, body: bytes) -> None:
        """The server describes the rows that are to come."""
        self._settle()
        self._type = RowType(body)
        self._formats = self._type.formats

    def formatted(self, formats: list[int]) -> None:
        """The formats that a Bind asks for: none, one for all columns, or one for each."""
        self._settle()
        self._formats = formats

    def copied(self, body: bytes) -> None:
        """The server begins to send COPY data: the body of its CopyOutResponse. Raises ProtocolError where that is in
        a form that wasn't foretold."""
        self._settle()
        binary, count = body[:1] == b"\x01", int(u16(body, 1)) if len(body) >= 3 else 0
        form = self._form or CopyForm("binary" if binary else "text")
        if binary != (form.form == "binary"):
            raise ProtocolError("COPY data in another form than its statement named")
        plan = self._plan(count, [1] if binary else [])
        if binary:
            self._copy = BinaryCopy(plan)
        elif form.form == "csv":
            self._copy = CsvCopy(
                plan,
                (form.delimiter or ",").encode(),
                (form.null or "").encode(),
                (form.quote or '"').encode(),
                (form.escape or "").encode(),
                form.header,
            )
        else:
            null = "\\N" if form.null is None else form.null
            self._copy = TextCopy(plan, (form.delimiter or "\t").encode(), null.encode(), form.header)

    def again(self) -> Veil:
        """The same, for another execution."""
        other = Veil(self.covers, self._key, self.row, self._search, self._form)
        other._type, other._formats = self._type, self._formats
        return other

    def rewrite(self, tag: int, data: bytes) -> bytes:
        """Whole messages of rows, masked. Raises ProtocolError for rows that aren't as they were foretold."""
        try:
            if tag != DATA_ROW:
                if self._copy is None:
                    raise ProtocolError("COPY data where rows were expected")
                return self._copy.feed(data)
            if self._rows is None:
                count = int(u16(data, 5)) if len(data) > 6 else 0
                self._rows = Rows(self._plan(count, self._formats))
            return self._rows.rewrite(data)
        except RowError as error:
            raise ProtocolError(f"masked rows: {error}") from None

    def finished(self) -> bytes:
        """The rest of COPY data that has ended."""
        if self._copy is None:
            return b""
        try:
            return self._copy.finish()
        except RowError as error:
            raise ProtocolError(f"masked rows: {error}") from None

    def returned(self, data: bytes) -> bytes:
        """A FunctionCallResponse. Of its value no type is known, so it is searched as a text."""
        search, value = self._search, data[9:]
        if search is None or not search.suspects(value):
            return data
        made = search.text(self._key, value)
        if made is value:
            return data
        self._replaced += 1
        for name in search.names:
            self._counts[name] = self._counts.get(name, 0) + 1
        return message(data[0], len(made).to_bytes(4, "big") + made)

    @property
    def masked(self) -> tuple[str, ...]:
        """What was replaced: columns, `schema.table.column`, and the names of masks that found values by their look."""
        self._settle()
        return tuple(self._counts)

    @property
    def values(self) -> int:
        """How many values were replaced."""
        self._settle()
        return self._replaced

    def _settle(self) -> None:
        plan = None if self._copy is None else self._copy.plan
        if self._rows is not None:
            plan = self._rows.plan
            self.rows += int(plan.rows)
        self._rows, self._copy = None, None
        if plan is None:
            return
        for place, count in enumerate(plan.counts):
            if not count:
                continue
            self._replaced += count
            cover = self.covers[place] if place < len(self.covers) else None
            names = cover.columns if cover is not None else () if self._search is None else self._search.names
            for name in names:
                self._counts[name] = self._counts.get(name, 0) + count

    def _plan(self, count: int, formats: list[int]) -> Plan:
        """For rows of so many columns. Where columns are hidden it has to be as many as were found."""
        covers, search = self.covers, self._search
        if covers and count != len(covers):
            raise ProtocolError(f"masked rows: another number of columns (got {count}, expected {len(covers)})")
        columns: list[Replacer | None] = []
        for place in range(count):
            known = len(self._type.types) == count
            form = formats[place] if place < len(formats) else (formats[0] if len(formats) == 1 else 0)
            kind, modifier = (self._type.types[place], self._type.modifiers[place]) if known else (0, -1)
            cover = covers[place] if covers else None
            if cover is not None:
                columns.append(Replacement(cover.way, self._key, kind, modifier, form == 1))
            elif search is not None:
                columns.append(search.replacer(self._key, kind, modifier, form == 1))
            else:
                columns.append(None)
        return Plan(columns, () if search is None else search.detectors)
