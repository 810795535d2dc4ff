"""The client's messages once its session is under way: read, recorded, queued for their answers, passed on."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from agent.core.commands import Command
from agent.core.limits import MAX_PENDING, MAX_PREPARED, MAX_STATEMENT, MAX_STATEMENT_STORE
from agent.core.pg.errors import error_response
from agent.core.pg.exchange import (
    BIND,
    CLOSE,
    COPY_END,
    DESCRIBE,
    EXECUTE,
    FUNCTION,
    PARSE,
    QUERY,
    SYNC,
    Exchange,
    Operation,
    Prepared,
    Request,
    Rest,
)
from agent.core.pg.ledger import Ledger
from agent.core.pg.messages import HEAD, Inbox, ProtocolError, message, string_end, text, u16, u32
from agent.core.pg.values import text_of
from agent.core.sql.reading import only_reads
from agent.core.sql.secrets import redact

_QUERY: Final = 0x51  # Q
_PARSE: Final = 0x50  # P
_BIND: Final = 0x42  # B
_DESCRIBE: Final = 0x44  # D
_EXECUTE: Final = 0x45  # E
_CLOSE: Final = 0x43  # C
_SYNC: Final = 0x53  # S
_FLUSH: Final = 0x48  # H
_FUNCTION: Final = 0x46  # F
_COPY_DATA: Final = 0x64  # d
_COPY_DONE: Final = 0x63  # c
_COPY_FAIL: Final = 0x66  # f
_TERMINATE: Final = 0x58  # X

_LARGE: Final = (_QUERY, _PARSE, _BIND, _FUNCTION, _COPY_DATA)
_KNOWN: Final = (*_LARGE, _DESCRIBE, _EXECUTE, _CLOSE, _SYNC, _FLUSH, _COPY_DONE, _COPY_FAIL, _TERMINATE)
_LARGE_LIMIT: Final = 0x3FFFFFFF
"""PostgreSQL's PQ_LARGE_MESSAGE_LIMIT (MaxAllocSize - 1): it ends the session of who declares more."""
_SMALL_LIMIT: Final = 10_000
"""PostgreSQL's PQ_SMALL_MESSAGE_LIMIT, for messages that carry a name at most."""

_LONGEST_NAME: Final = 63
"""Bytes of a statement's or portal's name that PostgreSQL tells apart (NAMEDATALEN - 1)."""

FAILS = "hoopctl refused this statement"
"""No statement of PostgreSQL: it answers with a syntax error, in whose place the client gets the agent's own. So a
refusal leaves transaction and pipeline as the server itself would."""


class Requests:
    """Reads the client. `terminated` once it said goodbye."""

    def __init__(self, ledger: Ledger, exchange: Exchange) -> None:
        self.terminated = False
        self.last: Operation | None = None
        """What COPY data would belong to."""
        self.need: i64 = 0
        """How many of the session's records must be durable before what is read now may leave for the server."""
        self._ledger = ledger
        self._exchange = exchange
        self._inbox = Inbox()
        self._passing: i64 = 0
        self._dropping: i64 = 0

    @property
    def exchange(self) -> Exchange:
        return self._exchange

    def between(self) -> bool:
        """Whether nothing of a message has been read that isn't read to its end."""
        return len(self._inbox) == 0 and self._passing == 0 and self._dropping == 0

    def full(self) -> bool:
        """Whether the client has to wait until some of its requests are answered."""
        return len(self._exchange) >= MAX_PENDING

    def add(self, data: bytes) -> None:
        """Bytes of the client."""
        self._ledger.bytes_in += len(data)
        self._inbox.add(data)

    def read(self, out: list[Command], now: int) -> bytes:
        """Consumes what is whole; returns what leaves for the server. Raises ProtocolError."""
        if not self._inbox.ready() or self.full():
            return b""
        data = self._inbox.take()
        size: i64 = len(data)
        at: i64 = 0
        start: i64 = 0
        needed: i64 = 0
        sent: list[bytes] = []
        while at < size and not self.terminated:
            if self._dropping > 0:
                sent.append(data[start:at])
                at += min(self._dropping, size - at)
                self._dropping -= at - start
                start = at
                continue
            if self._passing > 0:
                at = self._pass(data, at, size)
                continue
            if at + HEAD > size:
                needed = HEAD
                break
            tag: i64 = data[at]
            length = u32(data, at + 1)
            self._check(tag, length)
            if tag == _COPY_DATA:
                self._passing = length - 4
                at += HEAD
                continue
            if length > MAX_STATEMENT:
                sent.append(data[start:at])
                sent.append(self._refuse(tag, length))
                at += HEAD
                start = at
                self._dropping = length - 4
                continue
            end = at + 1 + length
            if end > size:
                needed = end - at
                break
            self._message(tag, data, at + HEAD, end, out, now)
            at = end
            if self.full():
                break
        if at < size:
            self._inbox.put_back(data[at:], needed)
        if not sent:
            return data[start:at]
        sent.append(data[start:at])
        return b"".join(sent)

    def _pass(self, data: bytes, at: i64, size: i64) -> i64:
        """COPY data passes in whatever pieces it comes; it is counted and hashed."""
        end = at + min(self._passing, size - at)
        operation = self.last
        if operation is not None:
            if operation.copied is None:
                operation.copied = Rest()
            operation.copied.add(data[at:end])
        self._passing -= end - at
        return end

    def _check(self, tag: i64, length: i64) -> None:
        if tag not in _KNOWN:
            raise ProtocolError(f"invalid frontend message type {tag}")
        limit = _LARGE_LIMIT if tag in _LARGE else _SMALL_LIMIT
        if length < 4 or length > limit:
            raise ProtocolError(f"invalid message length (got {length}, expected 4 to {limit})")

    def _refuse(self, tag: i64, length: i64) -> bytes:
        """A statement too large to be read whole; returns what has the server fail in its place."""
        request = Request(QUERY if tag in (_QUERY, _FUNCTION) else PARSE)
        request.instead = error_response(
            "54000",
            f"statement of {length} bytes is too large for hoopctl (expected at most {MAX_STATEMENT})",
            "send large values by COPY, or in pieces",
        )
        if not self._exchange.push(request):
            return b""
        if request.kind == QUERY:
            return message(_QUERY, text(FAILS))
        request.name = "\0"  # no client can name a statement so: nothing to undo
        return message(_PARSE, b"\0" + text(FAILS) + b"\0\0")

    def _message(self, tag: i64, data: bytes, at: i64, end: i64, out: list[Command], now: int) -> None:
        if tag == _QUERY:
            self._query(data, at, end, out, now)
        elif tag == _BIND:
            self._bind(data[at:end], out, now)
        elif tag == _EXECUTE:
            self._execute(name_at(data, at, end), out, now)
        elif tag == _SYNC:
            self._exchange.push(Request(SYNC))
        elif tag == _PARSE:
            self._parse(data[at:end])
        elif tag == _DESCRIBE or tag == _CLOSE:
            name = name_at(data, at + 1, end)
            if tag == _DESCRIBE:
                self._describe(data[at] == 0x53, name)
            else:
                self._close(data[at] == 0x53, name)
        elif tag == _COPY_DONE or tag == _COPY_FAIL:
            self._exchange.push(Request(COPY_END))
        elif tag == _FUNCTION:
            self._function(data[at:end], out, now)
        elif tag == _TERMINATE:
            self.terminated = True

    def started(self, operation: Operation, reads: bool) -> None:
        """An operation begins: what it writes may leave when its record is durable."""
        self.last = operation
        if not reads:
            self.need = operation.appended

    def _query(self, data: bytes, at: i64, end: i64, out: list[Command], now: int) -> None:
        stop = string_end(data, at)
        if stop != end - 1:
            raise ProtocolError("invalid message format (got bytes behind the statement's terminating NUL)")
        statement = data[at:stop].decode("utf-8", "replace")
        operation = self._ledger.begin(out, now, redact(statement), None)
        self.started(operation, only_reads(statement))
        request = Request(QUERY, operation)
        request.begins = True
        if not self._exchange.push(request):
            self._ledger.end(out, now, operation, "skipped")

    def _parse(self, body: bytes) -> None:
        stop = string_end(body, 0)
        name = name_at(body, 0, len(body))
        query_end = string_end(body, stop + 1)
        statement = body[stop + 1 : query_end].decode("utf-8", "replace")
        types: list[int] = []
        at = query_end + 1
        if at + 2 <= len(body):
            count = u16(body, at)
            if at + 2 + 4 * count != len(body):
                raise ProtocolError("invalid message format")
            for index in range(count):
                types.append(u32(body, at + 2 + 4 * i64(index)))
        prepared = Prepared(redact(statement), types, only_reads(statement))
        request = Request(PARSE)
        request.name = name
        request.made_statement = prepared
        request.before_statement = self._exchange.statements.get(name)
        if self._exchange.push(request):
            self._exchange.prepare(name, prepared)
            if len(self._exchange.statements) > MAX_PREPARED or self._exchange.stored > MAX_STATEMENT_STORE:
                raise ProtocolError("too many prepared statements are open in this session", "53400")

    def _bind(self, body: bytes, out: list[Command], now: int) -> None:
        stop = string_end(body, 0)
        portal = name_at(body, 0, len(body))
        named = string_end(body, stop + 1)
        name = name_at(body, stop + 1, len(body))
        prepared = self._exchange.statements.get(name)
        if prepared is None:
            # made by SQL's PREPARE, or the server will say that there is none
            prepared = Prepared(f'[prepared statement "{_shown(name)}"]', [], False)
        parameters = bound(body, named + 1, prepared.types)
        if len(self._exchange.portals) >= MAX_PREPARED:
            raise ProtocolError("too many portals are open in this session", "53400")
        operation = self._ledger.begin(out, now, prepared.statement, parameters if parameters else None)
        self.started(operation, prepared.reads)
        if operation.veil is not None:
            if prepared.row:
                operation.veil.described(prepared.row)
            operation.veil.formatted(result_formats(body, named + 1))
        request = Request(BIND, operation)
        request.begins = True
        request.name = portal
        request.before_portal = self._exchange.portals.get(portal)
        if self._exchange.push(request):
            self._exchange.portals[portal] = operation
        else:
            self._ledger.end(out, now, operation, "skipped")

    def _execute(self, portal: str, out: list[Command], now: int) -> None:
        exchange = self._exchange
        operation = exchange.portals.get(portal)
        begins = operation is None
        if operation is None:
            # a cursor of SQL's DECLARE, or the server will say that there is none
            operation = self._ledger.begin(out, now, f'[portal "{_shown(portal)}"]', None)
            self.started(operation, False)
        elif operation.ended or operation.finished:
            again = self._ledger.begin(out, now, operation.statement, operation.parameters)
            again.veil = None if operation.veil is None else operation.veil.again()
            again.secret = operation.secret
            exchange.portals[portal] = again
            if exchange.made.get(portal) is operation:
                exchange.made[portal] = again
            operation = again
            self.started(operation, False)
        request = Request(EXECUTE, operation)
        request.begins = begins
        if not exchange.push(request) and begins:
            self._ledger.end(out, now, operation, "skipped")

    def _describe(self, is_statement: bool, name: str) -> None:
        request = Request(DESCRIBE)
        if is_statement:
            request.made_statement = self._exchange.statements.get(name)
        else:
            request.operation = self._exchange.portals.get(name)
        self._exchange.push(request)

    def _close(self, is_statement: bool, name: str) -> None:
        request = Request(CLOSE)
        request.name = name
        if is_statement:
            request.before_statement = self._exchange.statements.get(name)
        else:
            request.before_portal = self._exchange.portals.get(name)
        if not self._exchange.push(request):
            return
        if request.before_statement is not None:
            self._exchange.prepare(name, None)
        if request.before_portal is not None:
            del self._exchange.portals[name]

    def _function(self, body: bytes, out: list[Command], now: int) -> None:
        if len(body) < 4:
            raise ProtocolError("invalid message format")
        parameters = bound(body, 4, [])
        operation = self._ledger.begin(out, now, f"[function call {u32(body, 0)}]", parameters)
        self.started(operation, False)
        request = Request(FUNCTION, operation)
        request.begins = True
        if not self._exchange.push(request):
            self._ledger.end(out, now, operation, "skipped")


def name_at(data: bytes, at: i64, end: i64) -> str:
    """The name of a statement or portal, in the String at `at` of a message that ends at `end`.

    Byte for byte, whatever the client's encoding, and cut where the server cuts it: two names are equal here when they
    are equal there. Raises ProtocolError when the String goes on past the message.
    """
    stop = string_end(data, at)
    if stop >= end:
        raise ProtocolError("invalid string in message (no terminating NUL byte)")
    return data[at : min(stop, at + _LONGEST_NAME)].decode("latin-1")


def _shown(name: str) -> str:
    return name.encode("latin-1").decode("utf-8", "replace")


def bound(body: bytes, at: i64, types: list[int]) -> tuple[str | None, ...]:
    """The values of a Bind or FunctionCall, from their format codes at `at` on, in PostgreSQL's text form.

    Raises ProtocolError when they do not fit in the message.
    """
    try:
        formats = [u16(body, at + 2 + 2 * i64(index)) for index in range(u16(body, at))]
        at += 2 + 2 * len(formats)
        count = u16(body, at)
        at += 2
        values: list[str | None] = []
        for index in range(count):
            length = u32(body, at)
            at += 4
            if length == 0xFFFFFFFF:
                values.append(None)
                continue
            if at + length > len(body):
                raise ProtocolError("insufficient data left in message")
            value = body[at : at + length]
            at += length
            given = formats[index] if len(formats) > 1 else (formats[0] if formats else 0)
            kind = types[index] if index < len(types) else 0
            values.append(text_of(kind, value) if given == 1 else value.decode("utf-8", "replace"))
        return tuple(values)
    except IndexError:
        raise ProtocolError("insufficient data left in message") from None


def result_formats(body: bytes, at: i64) -> list[int]:
    """The formats that a Bind wants its rows in, whose parameters' format codes begin at `at`. `bound` has read the
    message before."""
    try:
        at += 2 + 2 * u16(body, at)
        count = u16(body, at)
        at += 2
        for _ in range(count):
            length = u32(body, at)
            at += 4 if length == 0xFFFFFFFF else 4 + length
        return [int(u16(body, at + 2 + 2 * i64(index))) for index in range(u16(body, at))]
    except IndexError:
        raise ProtocolError("insufficient data left in message") from None
