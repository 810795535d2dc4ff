"""Rows on their way to the client, with some of their values replaced.

DataRow: https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mypy_extensions import i64

from agent.core.masking.looks import Detector, joined
from agent.core.masking.replacer import Replacer

Original = tuple[int, int, bytes]
"""A row's number, counted from 0, the column's place in it, and the value as the server sent it."""

_DATA_ROW: Final = 0x44
_NULL: Final = b"\xff\xff\xff\xff"


class RowError(ValueError):
    """The server's rows aren't what was foretold: nothing of them may be passed on."""


class Plan:
    """What becomes of each column: a replacer, or None to leave it. `detectors` are what those of them look for that
    leave most values as they are (Replacer.selective), all of them: what none of these suspects isn't looked at. With
    none given every value is.

    `counts` are the values replaced in each column so far, `rows` the rows seen. With `keep` the `originals` of what
    was replaced are gathered, for whoever seals them to take.
    """

    def __init__(
        self, columns: Sequence[Replacer | None], detectors: Sequence[Detector] = (), keep: bool = False
    ) -> None:
        self.columns: Final[list[Replacer | None]] = list(columns)
        self.certain: Final[list[Replacer | None]] = [
            None if one is not None and one.selective and one.shows and detectors else one for one in columns
        ]
        self.idle: Final = all(one is None for one in self.certain)
        self.counts: Final[list[int]] = [0] * len(self.columns)
        self.rows: i64 = 0
        self.originals: list[Original] = []
        self._detectors: Final = list(detectors)
        self.blind: Final = not detectors
        self.keep: Final = keep
        self.wires: Final[list[bytes | None]] = [
            wired(one.constant) if one is not None and one.fixed else None for one in columns
        ]
        """What fixed replacements are in a row, with their length."""

    def suspects(self, data: bytes) -> bool:
        """Whether what the detectors look for may be in there."""
        return any([each.suspects(data) for each in self._detectors])  # noqa: C419 - compiled, a list is as good

    def marks(self, data: bytes) -> list[tuple[int, int]]:
        """Where what the detectors look for may be: in order, and apart."""
        found: list[tuple[int, int]] = []
        for detector in self._detectors:
            found.extend(detector.marks(data))
        return joined(found) if len(self._detectors) > 1 else found

    def note(self, row: int, column: int, value: bytes) -> None:
        """Counts a value that was replaced."""
        self.counts[column] += 1
        if self.keep:
            self.originals.append((row, column, value))

    def taken(self) -> list[Original]:
        """The originals gathered since this was last asked."""
        found = self.originals
        self.originals = []
        return found


class Rows:
    """DataRow messages of one answer."""

    def __init__(self, plan: Plan) -> None:
        self.plan: Final = plan
        self._marks: list[tuple[int, int]] = []
        self._mark: int = 0

    def rewrite(self, data: bytes) -> bytes:
        """Whole DataRow messages, with what the plan says replaced; the same object if that is nothing. Raises RowError
        for anything else, and for rows that have not as many columns as the plan."""
        plan = self.plan
        columns = plan.columns
        self._marks = plan.marks(data)
        self._mark = 0
        if not self._marks:
            columns = plan.certain
        size: i64 = len(data)
        at: i64 = 0
        flushed: i64 = 0
        expected: i64 = len(columns)
        idle = plan.idle and not self._marks
        parts: list[bytes] = []
        while at < size:
            if size - at < 7 or data[at] != _DATA_ROW:
                raise RowError(f"this is no whole row (got {size - at} bytes, tag {data[at]:#04x}, expected a DataRow)")
            end = at + 1 + _word(data, at + 1)
            if end > size or end < at + 7:
                raise RowError(f"the row's length is wrong (got {end - at - 1} bytes, expected 6 to {size - at - 1})")
            count: i64 = (data[at + 5] << 8) | data[at + 6]
            if count != expected:
                raise RowError(f"the row has another number of columns (got {count}, expected {expected})")
            if not idle:
                flushed = self._row(data, at, end, flushed, columns, parts)
            plan.rows += 1
            at = end
        if not parts:
            return data
        if flushed < size:
            parts.append(data[flushed:])
        return b"".join(parts)

    def _suspected(self, start: i64, end: i64) -> bool:
        """Whether a mark is on this part of the data; asked from the left to the right."""
        marks = self._marks
        while self._mark < len(marks) and marks[self._mark][1] <= start:
            self._mark += 1
        return self._mark < len(marks) and marks[self._mark][0] < end

    def _row(
        self, data: bytes, start: i64, end: i64, flushed: i64, columns: list[Replacer | None], parts: list[bytes]
    ) -> i64:
        """One row from `start` to `end`. What is before `flushed` is in the parts already; returns its new place."""
        plan = self.plan
        head: i64 = -1
        grown: i64 = 0
        at = start + 7
        place: i64 = 0
        width: i64 = len(columns)
        while place < width:
            if at + 4 > end:
                raise RowError(f"the row ends before its columns do (got {place} of {width})")
            length = _word(data, at)
            stop = at + 4 if length < 0 else at + 4 + length
            if length < -1 or stop > end:
                raise RowError(f"a value is longer than its row (got {length} bytes, expected {end - at - 4} at most)")
            replacer = columns[place]
            if replacer is not None and length >= 0:
                wire = plan.wires[place]
                if wire is None and (plan.blind or not replacer.shows or self._suspected(at + 4, stop)):
                    value = data[at + 4 : stop]
                    made = replacer.replace(value)
                    if made is not value:
                        wire = wired(made)
                if wire is not None:
                    if head < 0:
                        parts.append(data[flushed : start + 1])
                        head = len(parts)
                        parts.append(b"")
                        flushed = start + 5
                    parts.append(data[flushed:at])
                    parts.append(wire)
                    grown += len(wire) - (stop - at)
                    flushed = stop
                    plan.counts[place] += 1
                    if plan.keep:
                        plan.originals.append((plan.rows, place, data[at + 4 : stop]))
            at = stop
            place += 1
        if at != end:
            raise RowError(f"there is more in the row than its columns (got {end - at} bytes)")
        if head >= 0:
            parts[head] = int(end - start - 1 + grown).to_bytes(4, "big")
        return flushed


def wired(value: bytes | None) -> bytes:
    """A value with its length before it, as rows and binary COPY have it."""
    return _NULL if value is None else len(value).to_bytes(4, "big") + value


def _word(data: bytes, at: i64) -> i64:
    """A signed number of four bytes."""
    number: i64 = (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3]
    return number - 0x1_0000_0000 if number & 0x8000_0000 else number
