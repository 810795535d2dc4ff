"""What kinds of values a database holds: its tables, and a sample of the rows of one of them.

    begin() -> bytes for the server
    received(bytes of the server) -> further bytes for it, until `answer` is there

As agent.core.pg.interrogation, it speaks in a connection of the agent's own, once that is logged in: in a transaction
that only reads, with time-outs, and that is rolled back. Rows come a few at a time and are forgotten once looked at; of
the server's errors nothing but the SQLSTATE is kept, as the rest may quote a value.
"""

from __future__ import annotations

import html
from typing import Final

from agent.core.limits import (
    KIB,
    MAX_SAMPLED_TABLES,
    MAX_SAMPLED_TEXT,
    MAX_SAMPLED_VALUE,
    MAX_SERVER_MESSAGE,
    SAMPLE_TIMEOUT,
)
from agent.core.masking.documents import Editor, rewrite_json
from agent.core.masking.looks import TYPES, Detector
from agent.core.pg import messages
from agent.core.pg.errors import fields
from agent.core.pg.messages import DATA_ROW, ERROR, HEAD, READY, Inbox, ProtocolError, message, text, u16, u32
from agent.core.policy.globs import Globs
from agent.core.sql.naming import literal, quoted
from schemas.discovery import Column, Sample, Sighting, Table, Tables

_PASSED: Final = (
    messages.COMMAND_COMPLETE,
    messages.ROW_DESCRIPTION,
    messages.NOTICE,
    messages.NOTIFICATION,
    messages.PARAMETER_STATUS,
)
_BEGIN: Final = (
    f"BEGIN READ ONLY; SET LOCAL statement_timeout = {int(SAMPLE_TIMEOUT * 500)}; SET LOCAL lock_timeout = 2000; "
    "SET LOCAL search_path = pg_catalog, pg_temp; "
)
_TABLES: Final = """
SELECT n.nspname, c.relname, has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
ORDER BY n.nspname, c.relname"""
# A domain is what it is of, in two steps at most. The numbers are OIDs of src/include/catalog/pg_type.dat.
_COLUMNS: Final = """
WITH t AS (
    SELECT c.oid, CASE WHEN c.relpages > 0 AND c.reltuples > 0 THEN c.reltuples / c.relpages ELSE 20 END AS density,
        CASE c.relkind WHEN 'p' THEN (SELECT sum(pg_relation_size(p.relid)) FROM pg_partition_tree(c.oid) p)
        ELSE pg_relation_size(c.oid) END / current_setting('block_size')::int8 AS pages,
        has_schema_privilege(n.oid, 'USAGE') AS reached
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = {schema} AND c.relname = {table} AND c.relkind IN ('r', 'p', 'm')
)
SELECT a.attname, CASE WHEN b.oid IN (114, 3802) THEN 'json' WHEN b.oid = 142 THEN 'xml'
    WHEN b.oid IN (20, 21, 23, 700, 701, 790, 1700) THEN 'number' WHEN b.typcategory = 'S' THEN 'text'
    WHEN e.typcategory = 'S' AND b.typcategory = 'A' THEN 'texts' WHEN b.oid IN (1082, 1114, 1184) THEN 'date'
    ELSE 'other' END,
    t.reached AND has_column_privilege(t.oid, a.attnum, 'SELECT'),
    coalesce(t.pages, 0)::int8, greatest(t.density, 1)::int8
FROM t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type y ON y.oid = a.atttypid
LEFT JOIN pg_type d ON y.typtype = 'd' AND d.oid = y.typbasetype
LEFT JOIN pg_type f ON d.typtype = 'd' AND f.oid = d.typbasetype
JOIN pg_type b ON b.oid = coalesce(f.oid, d.oid, y.oid)
LEFT JOIN pg_type e ON e.oid = b.typelem
ORDER BY a.attnum"""
_SEEN: Final = ("text", "texts", "number", "json", "xml")
"""The kinds of columns whose values are looked at."""
_SMALL: Final = 1024
"""Pages of a table that is read from its beginning; of a larger one pages are chosen by chance."""
_AT_ONCE: Final = 200
"""Values that are asked for at a time: looking at them takes some milliseconds, in which nothing else is done."""
_TEXT_AT_ONCE: Final = 8 * KIB
"""Bytes of values that are asked for at a time, by what the rows before had: for the same reason."""
_FIRST_ROWS: Final = 4
"""Rows that are asked for first, when nothing is known of their size."""
_NO_TABLE: Final = "42P01"

Values = list[bytes | None]


def detector() -> Detector:
    """What is looked for: every type there is. Takes a while to make, and can be used again."""
    return Detector(TYPES)


class _Reading:
    """Queries, one after another, and their rows."""

    def __init__(self) -> None:
        self._inbox = Inbox()
        self._waiting = False
        self._over = False
        self._refused = ""

    def parameter(self, name: str, value: str) -> None:
        """A setting that the server reports: none matters."""

    def begin(self) -> bytes:
        """What to say first."""
        return self._query(_BEGIN + self._first())

    def received(self, data: bytes) -> bytes:
        """Bytes of the server. Raises ProtocolError for what answers nothing that was asked."""
        self._inbox.add(data)
        if not self._inbox.ready():
            return b""
        data = self._inbox.take()
        size = len(data)
        at = 0
        needed = 0
        said = b""
        while at < size and not self._over:
            needed = HEAD
            if at + HEAD > size:
                break
            length = int(u32(data, at + 1))
            if length < 4 or length > MAX_SERVER_MESSAGE:
                raise ProtocolError(f"invalid message length (got {length}, expected 4 to {MAX_SERVER_MESSAGE})")
            end = at + 1 + length
            if end > size:
                needed = end - at
                break
            said += self._message(data[at], data[at + HEAD : end])
            at = end
        if at < size:
            self._inbox.put_back(data[at:], needed)
        return said

    def _message(self, tag: int, body: bytes) -> bytes:
        if not self._waiting or (tag not in (DATA_ROW, ERROR, READY) and tag not in _PASSED):
            raise ProtocolError(f"message of type {tag:#04x} in answer to what was not asked")
        if tag == DATA_ROW:
            self._row(_values(body))
        elif tag == ERROR:
            found = fields(body)
            self._refused = self._refused or found.get("C", "") or "XX000"
            if found.get("V") in ("FATAL", "PANIC"):
                self._finish()
        elif tag == READY:
            self._waiting = False
            asked = "" if self._refused else self._next()
            if asked:
                return self._query(asked)
            self._finish()
        return b""

    def _query(self, statements: str) -> bytes:
        self._waiting = True
        return message(messages.QUERY, text(statements))

    def _first(self) -> str:
        """The first statements."""
        return ""

    def _row(self, values: Values) -> None:
        """A row of what was asked for."""

    def _next(self) -> str:
        """What to ask next; nothing when everything is known."""
        return ""

    def _finish(self) -> None:
        """Says what was found."""
        self._over = True


class Survey(_Reading):
    """Lists the tables whose schema fits one of these globs and whose name, or SCHEMA.TABLE, fits the other."""

    def __init__(self, schemas: tuple[str, ...], tables: str) -> None:
        super().__init__()
        self.answer: Tables | None = None
        self._schemas = Globs(schemas or ("*",))
        self._names = Globs((tables,))
        self._tables: list[Table] = []
        self._more = False

    def _first(self) -> str:
        return _TABLES + "; ROLLBACK"

    def _row(self, values: Values) -> None:
        schema, name, readable = _words(values, 3)
        if self._schemas.matches(schema) and (self._names.matches(name) or self._names.matches(f"{schema}.{name}")):
            self._more = len(self._tables) >= MAX_SAMPLED_TABLES
            if not self._more:
                self._tables.append(Table(schema, name, readable == "t"))

    def _finish(self) -> None:
        super()._finish()
        self.answer = Tables(tuple(self._tables), self._more, self._refused)


class _Tally:
    """One column, and what was seen in it."""

    def __init__(self, name: str, kind: str, readable: bool) -> None:
        self.name: Final = name
        self.kind: Final = kind
        self.readable: Final = readable
        self.values = 0
        self.whole: dict[str, int] = {}
        self.within: dict[str, int] = {}

    def look(self, value: bytes, looks: Detector) -> int:
        """Counts what is found in a value; how many bytes something might have been in."""
        if not value.strip():
            return 0
        self.values += 1
        if not looks.suspects(value):
            return 0
        whole: set[str] = set()
        within: set[str] = set()
        for part in _parts(self.kind, value):
            for start, end, name in looks.find(part):
                most = 2 * (end - start) >= len(part.strip())
                (whole if most and self.kind not in ("json", "xml") else within).add(name)
        for name in whole:
            self.whole[name] = self.whole.get(name, 0) + 1
        for name in within - whole:
            self.within[name] = self.within.get(name, 0) + 1
        return len(value)

    def told(self) -> Column:
        names = sorted({*self.whole, *self.within})
        seen = [Sighting(name, self.whole.get(name, 0), self.within.get(name, 0)) for name in names]
        return Column(self.name, self.kind, self.readable, self.values, tuple(seen))


class Sampling(_Reading):
    """Looks at `rows` rows of a table, or fewer; of a large one from pages chosen by chance. Neither name has a NUL."""

    def __init__(self, schema: str, table: str, rows: int, looks: Detector) -> None:
        super().__init__()
        self.answer: Sample | None = None
        self._schema = schema
        self._table = table
        self._wanted = rows
        self._looks = looks
        self._columns: list[_Tally] = []
        self._seen: list[_Tally] = []
        self._pages = 0
        self._density = 1
        self._open = False
        self._chosen = False
        self._ended = False
        self._batch = 0
        self._fetched = 0
        self._rows = 0
        self._bytes = 0
        self._looked = 0

    def _first(self) -> str:
        return _COLUMNS.format(schema=literal(self._schema), table=literal(self._table))

    def _row(self, values: Values) -> None:
        if not self._open:
            name, kind, readable, pages, density = _words(values, 5)
            self._pages, self._density = _number(pages), max(1, _number(density))
            self._columns.append(_Tally(name, kind, readable == "t"))
            return
        if len(values) != len(self._seen):
            raise ProtocolError(f"row of {len(values)} values (expected {len(self._seen)})")
        self._fetched += 1
        self._rows += 1
        for tally, value in zip(self._seen, values, strict=True):
            if value is not None:
                self._bytes += len(value)
                self._looked += tally.look(value, self._looks)

    def _next(self) -> str:
        if self._ended:
            return ""
        if not self._open:
            self._open = True
            self._seen = [one for one in self._columns if one.readable and one.kind in _SEEN]
            if not self._columns:
                self._refused = _NO_TABLE
            if not self._seen:
                return self._end()
            self._batch = min(_FIRST_ROWS, self._most())
            self._chosen = self._pages > _SMALL
            return self._declare() + self._fetch()
        if self._fetched >= self._batch and self._rows < self._wanted and self._looked < MAX_SAMPLED_TEXT:
            self._batch = max(1, min(self._most(), _TEXT_AT_ONCE * self._rows // max(1, self._bytes)))
            return self._fetch()
        if self._rows == 0 and self._chosen:
            self._chosen = False  # no row on the pages that were chosen
            return "CLOSE _hoop; " + self._declare() + self._fetch()
        return self._end()

    def _most(self) -> int:
        return max(1, _AT_ONCE // len(self._seen))

    def _declare(self) -> str:
        """The rows, each value as the beginning of its text."""
        listed = ", ".join([_expression(one) for one in self._seen])
        chosen = ""
        if self._chosen:
            share = 150.0 * self._wanted / (self._pages * self._density)
            chosen = f" TABLESAMPLE SYSTEM ({min(100.0, max(share, 150.0 / self._pages)):.6f})"
        place = f"{quoted(self._schema)}.{quoted(self._table)}"
        return f"DECLARE _hoop NO SCROLL CURSOR FOR SELECT {listed} FROM {place} AS _t{chosen} LIMIT {self._wanted}; "

    def _fetch(self) -> str:
        self._fetched = 0
        return f"FETCH {self._batch} FROM _hoop"

    def _end(self) -> str:
        self._ended = True
        return "ROLLBACK"

    def _finish(self) -> None:
        super()._finish()
        self.answer = Sample(tuple([one.told() for one in self._columns]), self._rows, self._refused)


class _Strings(Editor):
    """Takes down a document's strings and numbers."""

    def __init__(self) -> None:
        self.found: list[bytes] = []

    def string(self, text: str) -> str:
        self.found.append(text.encode("utf-8", "replace"))
        return text

    def number(self, text: str) -> str:
        self.found.append(text.encode("utf-8", "replace"))
        return text


def _parts(kind: str, value: bytes) -> list[bytes]:
    """What of a value is looked at by itself, without a document's escapes."""
    if kind == "json":
        strings = _Strings()
        rewrite_json(value, strings)
        return strings.found
    if kind == "xml":
        return [html.unescape(value.decode("utf-8", "replace")).encode("utf-8", "replace")]
    return value.split(b"\n") if kind == "texts" else [value]


def _expression(tally: _Tally) -> str:
    column = f"_t.{quoted(tally.name)}"
    shown = f"array_to_string({column}, chr(10))" if tally.kind == "texts" else f"{column}::text"
    return f"left({shown}, {MAX_SAMPLED_VALUE})"


def _values(body: bytes) -> Values:
    """The values of a DataRow."""
    found: Values = []
    try:
        at = 2
        for _ in range(u16(body, 0)):
            size = int(u32(body, at))
            at += 4
            if size == 0xFFFFFFFF:
                found.append(None)
                continue
            if at + size > len(body):
                raise ProtocolError(f"row is cut short (got {len(body)} bytes)")
            found.append(body[at : at + size])
            at += size
    except IndexError as short:
        raise ProtocolError(f"row is cut short (got {len(body)} bytes)") from short
    return found


def _words(values: Values, count: int) -> list[str]:
    if len(values) != count:
        raise ProtocolError(f"row of {len(values)} values (expected {count})")
    return [(value or b"").decode("utf-8", "replace") for value in values]


def _number(written: str) -> int:
    return int(written) if written.isascii() and written.isdigit() and len(written) < 19 else 0
