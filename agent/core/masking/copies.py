"""What COPY … TO STDOUT sends, with some of its values replaced, in each of its three formats.

https://www.postgresql.org/docs/current/sql-copy.html, "File Formats". A row is replaced when it is there as a whole;
PostgreSQL sends each in a message of its own, and then so does this.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.limits import MAX_SERVER_MESSAGE
from agent.core.masking.replacer import Replacer
from agent.core.masking.rows import Plan, RowError

_COPY_DATA: Final = 0x64
_SIGNATURE: Final = b"PGCOPY\n\xff\r\n\0"
_TRAILER: Final = b"\xff\xff"
_ESCAPE: Final = re.compile(rb"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS: Final[dict[bytes, bytes]] = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_SIGNS: Final[dict[bytes, bytes]] = {sign: letter for letter, sign in _LETTERS.items()}


class Copy:
    """The messages of one COPY. `plan` has the columns as they are in the data."""

    def __init__(self, plan: Plan) -> None:
        self.plan: Final = plan
        self._held: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """Whole CopyData messages, with what the plan says replaced. What is of a row whose end isn't there yet comes
        with the rest of it. Raises RowError for anything else, and for rows that aren't as the plan has them."""
        parts: list[bytes] = []
        at = 0
        while at < len(data):
            end = at + 1 + int.from_bytes(data[at + 1 : at + 5], "big", signed=True)
            if data[at] != _COPY_DATA or len(data) - at < 5 or not at + 5 <= end <= len(data):
                raise RowError(f"this is no whole CopyData (got {len(data) - at} bytes, tag {data[at]:#04x})")
            parts.append(self._message(data[at + 5 : end]))
            at = end
        return b"".join(parts)

    def finish(self) -> bytes:
        """The rest, when the server has said that there is no more (CopyDone). Raises RowError for half a row."""
        if not self._held:
            return b""
        rest = self._held
        self._held = b""
        made = self._last(rest)
        return b"d" + (len(made) + 4).to_bytes(4, "big") + made

    def _message(self, payload: bytes) -> bytes:
        plan = self.plan
        columns = plan.columns if self._held or plan.suspects(payload) else plan.certain
        made = self._rows(self._held + payload if self._held else payload, columns)
        if len(self._held) > MAX_SERVER_MESSAGE:
            raise RowError(f"a row of COPY is too long (got {len(self._held)} bytes, expected {MAX_SERVER_MESSAGE})")
        return b"d" + (len(made) + 4).to_bytes(4, "big") + made if made else b""

    def _rows(self, content: bytes, columns: list[Replacer | None]) -> bytes:
        """The rows that are whole; leaves the rest in `_held`."""
        raise NotImplementedError

    def _last(self, rest: bytes) -> bytes:
        raise RowError(f"COPY ended within a row (got {len(rest)} bytes of it)")

    def _count(self, got: int) -> None:
        if got != len(self.plan.columns):
            raise RowError(
                f"a row of COPY has another number of columns (got {got}, expected {len(self.plan.columns)})"
            )


class TextCopy(Copy):
    """FORMAT text: a line a row, its columns apart by `delimiter`, special characters behind a backslash."""

    def __init__(self, plan: Plan, delimiter: bytes = b"\t", null: bytes = b"\\N", header: bool = False) -> None:
        super().__init__(plan)
        self._delimiter: Final = delimiter
        self._nothing: Final = null
        self._header: bool = header
        mark = re.escape(delimiter)
        self._column: Final = re.compile(rb"(?:\\.|[^\\" + mark + rb"])*", re.DOTALL)
        self._special: Final = re.compile(rb"[\\\x08\x09\x0a-\x0d" + mark + rb"]")

    def _rows(self, content: bytes, columns: list[Replacer | None]) -> bytes:
        end = content.rfind(b"\n") + 1
        self._held = content[end:]
        return b"".join([self._line(line + b"\n", columns) for line in content[:end].split(b"\n")[:-1]])

    def _last(self, rest: bytes) -> bytes:
        return self._line(rest, self.plan.columns)

    def _line(self, line: bytes, columns: list[Replacer | None]) -> bytes:
        if self._header or line == b"\\.\n":
            self._header = False
            return line
        body = line.rstrip(b"\r\n") if line[-1:] == b"\n" else line
        fields = self._split(body) if b"\\" in body else body.split(self._delimiter)
        plan = self.plan
        if len(columns) == 0 and fields == [b""]:
            fields = []
        self._count(len(fields))
        touched = False
        for place, replacer in enumerate(columns):
            if replacer is None or fields[place] == self._nothing:
                continue
            value = self._unescaped(fields[place])
            made = replacer.replace(value)
            if made is not value:
                touched = True
                fields[place] = self._nothing if made is None else self._escaped(made)
                plan.note(plan.rows, place, value)
        plan.rows += 1
        return self._delimiter.join(fields) + line[len(body) :] if touched else line

    def _split(self, line: bytes) -> list[bytes]:
        """The columns of a line with escapes in it."""
        fields: list[bytes] = []
        at = 0
        while True:
            found = self._column.match(line, at)
            if found is None or (found.end() < len(line) and not line.startswith(self._delimiter, found.end())):
                raise RowError("a row of COPY ends in half an escape")
            fields.append(found.group())
            at = found.end() + 1
            if found.end() == len(line):
                return fields

    @staticmethod
    def _unescaped(field: bytes) -> bytes:
        return _ESCAPE.sub(_meant, field) if b"\\" in field else field

    def _escaped(self, value: bytes) -> bytes:
        made = self._special.sub(_escape, value)
        if made != self._nothing:
            return made
        # Read as it stands this would be NULL; a backslash before a sign that has no meaning of its own changes that.
        first = made[:1]
        return (b"\\x%02x" % first[0] + made[1:]) if first and first != b"\\" else made


def _meant(found: re.Match[bytes]) -> bytes:
    if found[1] is not None:
        return bytes([int(found[1], 16)])
    if found[2] is not None:
        return bytes([int(found[2], 8) & 0xFF])
    return _LETTERS.get(found[3], found[3])


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\" + _SIGNS.get(found.group(), found.group())


class CsvCopy(Copy):
    """FORMAT csv: columns in quotes where they need them, rows that may go over several lines."""

    def __init__(
        self,
        plan: Plan,
        delimiter: bytes = b",",
        null: bytes = b"",
        quote: bytes = b'"',
        escape: bytes = b"",
        header: bool = False,
    ) -> None:
        super().__init__(plan)
        self._delimiter: Final = delimiter
        self._nothing: Final = null
        self._quote: Final = quote
        self._escape: Final = escape or quote
        self._header: bool = header
        mark, sign, before = re.escape(delimiter), re.escape(quote), re.escape(self._escape)
        self._quoted: Final = re.compile(
            sign + rb"(?:" + before + rb"[" + sign + before + rb"]|[^" + sign + rb"])*+" + sign
        )
        self._bare: Final = re.compile(rb"[^" + mark + sign + rb"\r\n]*")
        self._special: Final = re.compile(rb"[" + mark + sign + rb"\r\n]")

    def _rows(self, content: bytes, columns: list[Replacer | None]) -> bytes:
        if b"\n" not in content[len(self._held) :] and self._held:
            self._held = content
            return b""
        parts: list[bytes] = []
        at = 0
        while at < len(content):
            end = self._row(content, at, columns, parts)
            if end < 0:
                break
            at = end
        self._held = content[at:]
        return b"".join(parts)

    def _last(self, rest: bytes) -> bytes:
        parts: list[bytes] = []
        if self._row(rest + b"\n", 0, self.plan.columns, parts) < 0:
            raise RowError(f"COPY ended within a row (got {len(rest)} bytes of it)")
        return b"".join(parts)[:-1]

    def _row(self, content: bytes, start: int, columns: list[Replacer | None], parts: list[bytes]) -> int:
        """Adds a row to the parts and returns where the next begins; -1 when it isn't there as a whole."""
        fields: list[bytes] = []
        at = start
        while True:
            quoted = content.startswith(self._quote, at)
            found = (self._quoted if quoted else self._bare).match(content, at)
            if found is None or found.end() == len(content):
                return -1
            fields.append(found.group())
            at = found.end()
            if content.startswith(self._delimiter, at):
                at += 1
                continue
            newline = content.find(b"\n", at, at + 2)
            if newline == at or (newline == at + 1 and content[at] == 0x0D):
                break
            if content[at] == 0x0D and at + 1 == len(content):
                return -1
            raise RowError("a row of COPY has something behind a column's closing quote, or a quote within one")
        row = content[start : newline + 1]
        parts.append(
            row if self._passes(row, fields) else self._edited(fields, columns, row, content[at : newline + 1])
        )
        return newline + 1

    def _passes(self, row: bytes, fields: list[bytes]) -> bool:
        if self._header or (row == b"\\.\n" and len(self.plan.columns) != 1):
            self._header = False
            return True
        if not self.plan.columns and fields == [b""]:
            fields.clear()
        self._count(len(fields))
        return False

    def _edited(self, fields: list[bytes], columns: list[Replacer | None], row: bytes, ending: bytes) -> bytes:
        plan = self.plan
        touched = False
        for place, replacer in enumerate(columns):
            field = fields[place]
            if replacer is None or field == self._nothing:
                continue
            value = self._unquoted(field) if field.startswith(self._quote) else field
            made = replacer.replace(value)
            if made is not value:
                touched = True
                fields[place] = self._nothing if made is None else self._written(made, field.startswith(self._quote))
                plan.note(plan.rows, place, value)
        plan.rows += 1
        return self._delimiter.join(fields) + ending if touched else row

    def _unquoted(self, field: bytes) -> bytes:
        quote, escape = self._quote, self._escape
        within = field[1:-1]
        if escape == quote:
            return within.replace(quote + quote, quote)
        return re.sub(re.escape(escape) + rb"([" + re.escape(escape) + re.escape(quote) + rb"])", rb"\1", within)

    def _written(self, value: bytes, quoted: bool) -> bytes:
        """In quotes if it was, or needs them, as src/backend/commands/copyto.c decides."""
        if not quoted and value != self._nothing and value != b"\\." and self._special.search(value) is None:
            return value
        quote, escape = self._quote, self._escape
        if escape != quote:
            value = value.replace(escape, escape + escape)
        return quote + value.replace(quote, escape + quote) + quote


class BinaryCopy(Copy):
    """FORMAT binary: a header, rows of values with their lengths, a trailer."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._begun: bool = False
        self._ended: bool = False

    def _rows(self, content: bytes, columns: list[Replacer | None]) -> bytes:
        parts: list[bytes] = []
        at = 0 if self._begun else self._head(content)
        if at < 0:
            self._held = content
            return b""
        if at:
            parts.append(content[:at])
        while at + 2 <= len(content):
            if self._ended:
                raise RowError("COPY went on behind its end")
            if content.startswith(_TRAILER, at):
                self._ended = True
                parts.append(_TRAILER)
                at += 2
                continue
            end = self._row(content, at, columns, parts)
            if end < 0:
                break
            at = end
        self._held = content[at:]
        return b"".join(parts)

    def _head(self, content: bytes) -> int:
        """The header's length; -1 when it isn't there as a whole."""
        if not _SIGNATURE.startswith(content[:11]):
            raise RowError("COPY in binary doesn't begin with its signature")
        if len(content) < 19:
            return -1
        end = 19 + int.from_bytes(content[15:19], "big", signed=True)
        if end < 19 or int.from_bytes(content[11:15], "big"):
            raise RowError("the header of COPY in binary is wrong (expected no flags, and a length)")
        if end > len(content):
            return -1
        self._begun = True
        return end

    def _row(self, content: bytes, start: int, columns: list[Replacer | None], parts: list[bytes]) -> int:
        """Adds a row to the parts and returns where the next begins; -1 when it isn't there as a whole."""
        self._count(int.from_bytes(content[start : start + 2], "big", signed=True))
        places: list[int] = [start + 2]
        for _ in columns:
            at = places[-1]
            if at + 4 > len(content):
                return -1
            length = int.from_bytes(content[at : at + 4], "big", signed=True)
            if length < -1:
                raise RowError(f"a value's length is wrong (got {length})")
            places.append(at + 4 + max(length, 0))
        end = places[-1]
        if end > len(content):
            return -1
        flushed = start
        plan = self.plan
        for place, replacer in enumerate(columns):
            at, stop = places[place], places[place + 1]
            if replacer is None or content[at] == 0xFF:
                continue
            value = content[at + 4 : stop]
            made = replacer.replace(value)
            if made is not value:
                parts.append(content[flushed:at])
                parts.append(b"\xff\xff\xff\xff" if made is None else len(made).to_bytes(4, "big") + made)
                flushed = stop
                plan.note(plan.rows, place, value)
        parts.append(content[flushed:end])
        plan.rows += 1
        return end
