"""The server's messages once a session is under way: matched to what was asked, recorded, passed on.

Rows and COPY data pass as whole slices of what arrived, their messages only counted, and unless they are huge never in
parts, so that a client whose server is lost in mid-row can still be told; everything else is read.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from agent.core.commands import Command
from agent.core.limits import MAX_ROW, MAX_SERVER_MESSAGE, MAX_WHOLE_ROW
from agent.core.pg.errors import fields
from agent.core.pg.exchange import (
    COMPLETES,
    EXECUTE,
    FUNCTION,
    PARSE,
    QUERY,
    REPLIES,
    SYNC,
    Exchange,
    Operation,
    Request,
)
from agent.core.pg.ledger import Ledger
from agent.core.pg.messages import HEAD, Inbox, ProtocolError, u16, u32
from agent.core.sql.secrets import redact

_BIND_COMPLETE: Final = 0x32  # 2
_CLOSE_COMPLETE: Final = 0x33  # 3
_COMMAND_COMPLETE: Final = 0x43  # C
_COPY_DATA: Final = 0x64  # d
_COPY_IN: Final = 0x47  # G
_DATA_ROW: Final = 0x44  # D
_EMPTY_QUERY: Final = 0x49  # I
_ERROR: Final = 0x45  # E
_FUNCTION_RESULT: Final = 0x56  # V
_NOTICE: Final = 0x4E  # N
_NOTIFICATION: Final = 0x41  # A
_PARAMETER_DESCRIPTION: Final = 0x74  # t
_PARAMETER_STATUS: Final = 0x53  # S
_READY: Final = 0x5A  # Z

_SUSPENDED: Final = 0x73  # s

_ENDINGS: Final = (_BIND_COMPLETE, _COMMAND_COMPLETE, _EMPTY_QUERY, _FUNCTION_RESULT, _SUSPENDED, _READY)
"""What ends an answer without an error."""
_ANY_TIME: Final = (_NOTICE, _NOTIFICATION, _PARAMETER_STATUS)
_IDLE: Final = 0x49  # I
_ENDS_PORTALS: Final = (0x49, 0x45)  # idle, failed transaction


class Watch:
    """Who hears the answers to what the agent itself asks the server in a client's session (agent.core.pg.guard)."""

    def __init__(self) -> None:
        self.tracing = False
        """The server was told to show its trees: notices have to be looked at."""

    def notice(self, body: bytes) -> bool:
        """A NoticeResponse while tracing; returns whether it is kept from the client."""
        raise NotImplementedError

    def heard(self, request: Request, tag: int, body: bytes) -> None:
        """A message that answers something asked by the agent."""
        raise NotImplementedError

    def passed_over(self, request: Request) -> None:
        """Something asked by the agent will not be answered: an error came before it."""
        raise NotImplementedError

    def executed(self, request: Request, ending: bytes) -> None:
        """A held request is over but for these messages, which the client has not got."""
        raise NotImplementedError

    def error(self, body: bytes) -> bytes | None:
        """What the client gets in place of this ErrorResponse, if not the same."""
        raise NotImplementedError

    def parameter(self, name: str, value: str) -> None:
        """A setting that the server reports."""
        raise NotImplementedError


class Replies:
    """Reads the server."""

    def __init__(self, ledger: Ledger, exchange: Exchange) -> None:
        self.need: i64 = 0
        """How many of the session's records must be durable before what was read now may reach the client."""
        self.status: i64 = _IDLE
        self.parting: str | None = None
        """What the server said last, when that was why it ends the session."""
        self._ledger = ledger
        self._exchange = exchange
        self._inbox = Inbox()
        self._passing: i64 = 0
        self._owner: Operation | None = None
        self._finishing: list[Operation] = []
        self._sent: list[bytes] = []
        self.watch: Watch | None = None
        self._ending: list[bytes] = []
        self._on_trial: Request | None = None
        """What was answered, but not yet for the client: the guard judges what it did."""

    def add(self, data: bytes) -> None:
        """Bytes of the server."""
        self._inbox.add(data)

    def read(self, out: list[Command], now: int) -> bytes:
        """Consumes what is whole, and of rows whatever there is; returns what the client gets. Raises ProtocolError."""
        if not self._inbox.ready() and not self._sent:
            return b""
        data = self._inbox.take() if self._inbox.ready() else b""
        size: i64 = len(data)
        at: i64 = 0
        start: i64 = 0
        needed: i64 = 0
        rows = self._row_taker()
        while at < size:
            if self._passing > 0:
                step = min(self._passing, size - at)
                at += step
                self._passing -= step
                continue
            if at + HEAD > size:
                needed = HEAD
                break
            tag: i64 = data[at]
            length = u32(data, at + 1)
            if length < 4:
                raise ProtocolError(f"invalid message length (got {length}, expected at least 4)")
            if self.watch is not None and self._watches(tag):
                end = at + 1 + length
                if length > MAX_SERVER_MESSAGE:
                    raise ProtocolError(
                        f"message too large (got {length} bytes, expected at most {MAX_SERVER_MESSAGE})"
                    )
                if end > size:
                    needed = end - at
                    break
                if self._watched(tag, data, start, at, end, out, now):
                    start = end
                else:
                    start = self._message(tag, data, start, at, end, out, now)
                at = end
                rows = self._row_taker()
                continue
            if tag == _DATA_ROW or tag == _COPY_DATA:
                if rows is None:
                    raise ProtocolError(f"message of type {tag:#04x} out of turn")
                if rows is not self._owner:
                    self._cut(data[start:at], out, now)
                    start = at
                    self._owner_is(rows)
                if length > MAX_ROW:
                    raise ProtocolError(f"row too large (got {length} bytes, expected at most {MAX_ROW})")
                if at + 1 + length <= size:
                    rows.rows += 1
                    at += 1 + length
                    continue
                if length <= MAX_WHOLE_ROW:
                    needed = 1 + length
                    break
                rows.rows += 1
                at += HEAD
                self._passing = length - 4
                continue
            if length > MAX_SERVER_MESSAGE:
                raise ProtocolError(f"message too large (got {length} bytes, expected at most {MAX_SERVER_MESSAGE})")
            end = at + 1 + length
            if end > size:
                needed = end - at
                break
            start = self._message(tag, data, start, at, end, out, now)
            at = end
            rows = self._row_taker()
        if at < size:
            self._inbox.put_back(data[at:], needed)
        self._cut(data[start:at], out, now)
        answer = self._sent[0] if len(self._sent) == 1 else b"".join(self._sent)
        self._sent.clear()
        self._ledger.bytes_out += len(answer)
        return answer

    def _watches(self, tag: i64) -> bool:
        """Whether a message may be the guard's."""
        if tag == _NOTICE:
            return self.watch is not None and self.watch.tracing
        if tag == _NOTIFICATION:
            return False
        head = self._exchange.head()
        if tag == _PARAMETER_STATUS:
            return True
        if head is None:
            return False
        if head.held:
            return tag in _ENDINGS
        return head.asking or (head.quiet_ready and tag == _READY)

    def _watched(self, tag: i64, data: bytes, start: i64, at: i64, end: i64, out: list[Command], now: int) -> bool:
        """Hands the guard what is its; returns whether the client doesn't get it. What came before is recorded then."""
        watch = self.watch
        if watch is None:
            return False
        body = data[at + HEAD : end]
        if tag == _PARAMETER_STATUS:
            name, _, value = body.partition(b"\0")
            watch.parameter(name.decode("latin-1"), value[:-1].decode("latin-1"))
            return False
        if tag == _NOTICE:
            if not watch.notice(body):
                return False
            self._cut(data[start:at], out, now)
            return True
        request = self._exchange.head()
        if request is None:
            return False
        operation = request.operation
        self._cut(data[start:at], out, now)
        if tag == _READY:
            self.status = body[0] if body else _IDLE
        if request.asking:
            self._asked(request, tag, body)
        elif request.held:
            self._ending.append(data[at:end])
            if tag == _READY or (request.kind != QUERY and request.kind != FUNCTION):
                ending = b"".join(self._ending)
                self._ending.clear()
                self._exchange.pop()
                self._on_trial = request
                watch.executed(request, ending)
        else:
            if operation is not None:
                self._finishing.append(operation)
            self._cut(b"", out, now)
            self._owner = None
            self._exchange.pop()
        return True

    def _asked(self, request: Request, tag: i64, body: bytes) -> None:
        effect = REPLIES.get((int(request.kind), int(tag)))
        if effect is None:
            raise ProtocolError(f"message of type {tag:#04x} in answer to request kind {request.kind}")
        if self.watch is None:
            return
        if tag == _ERROR and request.kind not in (QUERY, SYNC):
            for passed in self._exchange.fail():
                if passed is not request:
                    self.watch.passed_over(passed)
        elif effect == COMPLETES:
            self._exchange.pop()
        self.watch.heard(request, tag, body)

    def resume(self, request: Request, ending: bytes) -> None:
        """A held request goes on to its end with these messages, as if the server had sent them now."""
        request.held = False
        self._on_trial = None
        self._exchange.put_back(request)
        self._inbox.put_back(ending, 0)

    def tell(self, content: bytes, operation: Operation, out: list[Command], now: int) -> None:
        """The agent's own error, in place of the answer to an operation: it leaves with what is read next."""
        found = fields(content[HEAD:])
        operation.error_code = found.get("C", "")
        operation.error_message = redact(found.get("M", ""))
        self._ledger.received(out, now, operation, content)
        self._ledger.end(out, now, operation, "error")
        self._sent.append(content)

    def within_message(self) -> bool:
        """Whether the client got a message's beginning and not its end: nothing else may be told to it then."""
        return self._passing > 0

    def outstanding(self) -> bool:
        """Whether the server works on something."""
        return len(self._exchange) > 0

    def say(self, content: bytes, out: list[Command], now: int) -> None:
        """Records what the agent itself tells the client."""
        self._ledger.bytes_out += len(content)
        self._ledger.received(out, now, self._owner, content)

    def end(self, out: list[Command], now: int) -> None:
        """The connection is over: what was asked and not answered is lost, portals still open are unfinished."""
        for operation in self._finishing:
            self._ledger.end(out, now, operation, "ok")
        if self._on_trial is not None and self._on_trial.operation is not None:
            self._ledger.end(out, now, self._on_trial.operation, "lost")
        for request in self._exchange.drain():
            if request.operation is not None:
                self._ledger.end(out, now, request.operation, "lost")
            if request.before_portal is not None:
                self._ledger.end(out, now, request.before_portal, "unfinished")
        for operation in self._exchange.portals.values():
            self._ledger.end(out, now, operation, "unfinished")

    def _row_taker(self) -> Operation | None:
        """Whose rows would arrive now."""
        head = self._exchange.head()
        if head is None or (head.kind != QUERY and head.kind != EXECUTE) or head.operation is None:
            return None
        return head.operation

    def _owner_is(self, operation: Operation) -> None:
        self._owner = operation
        self.need = max(self.need, operation.appended)

    def _message(self, tag: i64, data: bytes, start: i64, at: i64, end: i64, out: list[Command], now: int) -> i64:
        """One message other than rows; returns where the bytes begin that have not been recorded yet."""
        if tag in _ANY_TIME:
            return start
        request = self._exchange.head()
        if tag == _ERROR:
            found = fields(data[at + HEAD : end])
            if found.get("V", found.get("S")) in ("FATAL", "PANIC"):
                self.parting = found.get("M", "")
        if request is None:
            if tag == _ERROR:
                return start
            if tag == _READY and self._exchange.unasked_ready():
                return start
            raise ProtocolError(f"message of type {tag:#04x} with nothing asked")
        effect = REPLIES.get((int(request.kind), int(tag)))
        if effect is None:
            if tag == _READY and self._exchange.unasked_ready():
                return start
            raise ProtocolError(f"message of type {tag:#04x} in answer to request kind {request.kind}")
        operation = request.operation
        if tag == _ERROR and operation is None and request.kind == PARSE and request.instead is None:
            operation = self._never_parsed(request, out, now)
        if operation is not None and operation is not self._owner:
            self._cut(data[start:at], out, now)
            start = at
            self._owner_is(operation)
        if tag == _ERROR:
            if request.instead is None and self.watch is not None:
                request.instead = self.watch.error(data[at + HEAD : end])
            if request.instead is not None:
                self._cut(data[start:at], out, now)
                self._cut(request.instead, out, now)
                start = end
            self._failed(request, operation, data[at + HEAD : end], out, now)
            return start
        self._effect(tag, request, operation, data, at + HEAD, end, out, now)
        if effect == COMPLETES:
            self._exchange.pop()
        if tag == _READY:
            start = self._ready(request, data, start, at, end, out, now)
        return start

    def _effect(
        self,
        tag: i64,
        request: Request,
        operation: Operation | None,
        data: bytes,
        at: i64,
        end: i64,
        out: list[Command],
        now: int,
    ) -> None:
        if tag == _COMMAND_COMPLETE or tag == _EMPTY_QUERY or tag == _FUNCTION_RESULT:
            if operation is not None:
                if tag == _COMMAND_COMPLETE:
                    completed = data[at : end - 1].decode("utf-8", "replace")
                    operation.completed(completed)
                    if completed.startswith("D") and self._exchange.statements:
                        self._exchange.deallocated(operation.statement, completed)
                operation.finished = now
                if request.kind == EXECUTE:
                    self._finishing.append(operation)
        elif tag == _BIND_COMPLETE or tag == _CLOSE_COMPLETE:
            before = request.before_portal
            if before is not None and not before.ended and before not in self._finishing:
                self._ledger.end(out, now, before, "unfinished")
            if tag == _BIND_COMPLETE and request.operation is not None:
                self._exchange.made[request.name] = request.operation
            elif before is not None and self._exchange.made.get(request.name) is before:
                del self._exchange.made[request.name]
        elif tag == _PARAMETER_DESCRIPTION:
            prepared = request.made_statement
            if prepared is not None and at + 2 <= end:
                count = u16(data, at)
                if at + 2 + 4 * count <= end:
                    prepared.types = [u32(data, at + 2 + 4 * i64(index)) for index in range(count)]
        elif tag == _COPY_IN:
            self._exchange.copy_in_begins()

    def _never_parsed(self, request: Request, out: list[Command], now: int) -> Operation | None:
        """A statement that PostgreSQL could not parse never ran, but someone asked for it."""
        prepared = request.made_statement
        return None if prepared is None else self._ledger.begin(out, now, prepared.statement, None)

    def _failed(self, request: Request, operation: Operation | None, body: bytes, out: list[Command], now: int) -> None:
        if operation is not None:
            found = fields(body if request.instead is None else request.instead[HEAD:])
            if operation.error_code is None:
                operation.error_code = found.get("C", "")
                operation.error_message = redact(found.get("M", ""))
            operation.finished = now
        if request.kind == QUERY or request.kind == FUNCTION or request.kind == SYNC:
            return
        if request.held and self.watch is not None and request.kind != QUERY:
            self.watch.executed(request, b"")
        for passed in self._exchange.fail():
            if passed.asking:
                if self.watch is not None:
                    self.watch.passed_over(passed)
                continue
            self._exchange.undo(passed)
            if passed is request:
                if operation is not None:
                    self._finishing.append(operation)
            elif passed.begins and passed.operation is not None:
                self._ledger.end(out, now, passed.operation, "skipped")

    def _ready(self, request: Request, data: bytes, start: i64, at: i64, end: i64, out: list[Command], now: int) -> i64:
        """ReadyForQuery: what it answers is over, and with a transaction all of its portals."""
        self.status = data[at + HEAD] if end > at + HEAD else _IDLE
        self._exchange.copying_in = False
        operation = request.operation
        if operation is not None:
            self._finishing.append(operation)
        if self.status in _ENDS_PORTALS and self._exchange.made:
            for portal in self._exchange.transaction_over():
                if portal not in self._finishing:
                    self._ledger.end(out, now, portal, "unfinished")
        if self._finishing or self._owner is not None:
            self._cut(data[start:end], out, now)
            start = end
        self._owner = None
        return start

    def _cut(self, content: bytes, out: list[Command], now: int) -> None:
        """Records a piece of the answer for the operation that it belongs to, and ends what is finished."""
        if content:
            self._ledger.received(out, now, self._owner, content)
            self._sent.append(content)
        if self._finishing:
            for operation in self._finishing:
                self._ledger.end(out, now, operation, "ok")
            self._finishing.clear()
            self._owner = None
