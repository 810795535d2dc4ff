"""What each answer of the server means for the request that it answers, and for its record."""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from agent.core.commands import Command
from agent.core.pg import messages
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
from agent.core.pg.watch import Watch
from agent.core.sql.secrets import redact

_ANY_TIME: Final = (messages.NOTICE, messages.NOTIFICATION, messages.PARAMETER_STATUS)
_ENDS_PORTALS: Final = (messages.IDLE, messages.FAILED)


class Outcomes:
    """What is known of the answers."""

    def __init__(self, ledger: Ledger, exchange: Exchange) -> None:
        self.need: i64 = 0
        """How many of the session's records must be durable before what was read now may reach the client."""
        self.status: i64 = messages.IDLE
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
        self._withheld: list[bytes] = []
        self._withheld_size: i64 = 0

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
        if head is None or (head.kind != QUERY and head.kind != EXECUTE) or head.operation is None or head.withheld:
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
        if tag == messages.ERROR:
            found = fields(data[at + HEAD : end])
            if found.get("V", found.get("S")) in ("FATAL", "PANIC"):
                self.parting = found.get("M", "")
        if request is None:
            if tag == messages.ERROR:
                return start
            if tag == messages.READY and self._exchange.unasked_ready():
                return start
            raise ProtocolError(f"message of type {tag:#04x} with nothing asked")
        effect = REPLIES.get((int(request.kind), int(tag)))
        if effect is None:
            if tag == messages.READY and self._exchange.unasked_ready():
                return start
            raise ProtocolError(f"message of type {tag:#04x} in answer to request kind {request.kind}")
        operation = request.operation
        if tag == messages.ERROR and operation is None and request.kind == PARSE:
            operation = self._never_parsed(request, out, now)
        if operation is not None and operation is not self._owner:
            self._cut(data[start:at], out, now)
            start = at
            self._owner_is(operation)
        if tag == messages.ERROR:
            self._withheld.clear()
            if request.instead is None and self.watch is not None:
                request.instead = self.watch.error(data[at + HEAD : end], operation)
            if request.instead is not None:
                self._cut(data[start:at], out, now)
                self._cut(request.instead, out, now)
                start = end
            self._failed(request, operation, data[at + HEAD : end], out, now)
            return start
        if tag == messages.COPY_DONE and operation is not None and operation.veil is not None:
            self._cut(data[start:at], out, now)
            self._cut(operation.veil.finished(), out, now)
            start = at
        if tag == messages.FUNCTION_RESULT and operation is not None and operation.veil is not None:
            self._cut(data[start:at], out, now)
            self._cut(operation.veil.returned(data[at:end]), out, now)
            start = end
        self._effect(tag, request, operation, data, at + HEAD, end, out, now)
        if effect == COMPLETES:
            self._exchange.pop()
        if tag == messages.READY:
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
        if tag == messages.COMMAND_COMPLETE or tag == messages.EMPTY_QUERY or tag == messages.FUNCTION_RESULT:
            if operation is not None:
                if tag == messages.COMMAND_COMPLETE:
                    completed = data[at : end - 1].decode("utf-8", "replace")
                    operation.completed(completed)
                    if completed.startswith("D") and self._exchange.statements:
                        self._exchange.deallocated(operation.statement, completed)
                operation.finished = now
                if request.kind == EXECUTE:
                    self._finishing.append(operation)
        elif tag == messages.BIND_COMPLETE or tag == messages.CLOSE_COMPLETE:
            before = request.before_portal
            if before is not None and not before.ended and before not in self._finishing:
                self._ledger.end(out, now, before, "unfinished")
            if tag == messages.BIND_COMPLETE and request.operation is not None:
                self._exchange.made[request.name] = request.operation
            elif before is not None and self._exchange.made.get(request.name) is before:
                del self._exchange.made[request.name]
        elif tag == messages.PARAMETER_DESCRIPTION:
            prepared = request.made_statement
            if prepared is not None and at + 2 <= end:
                count = u16(data, at)
                if at + 2 + 4 * count <= end:
                    prepared.types = [u32(data, at + 2 + 4 * i64(index)) for index in range(count)]
        elif tag == messages.ROW_DESCRIPTION:
            if operation is not None and operation.veil is not None:
                operation.veil.described(data[at:end])
            elif request.made_statement is not None:
                request.made_statement.row = data[at:end]
        elif tag == messages.COPY_OUT:
            if operation is not None and operation.veil is not None:
                operation.veil.copied(data[at:end])
        elif tag == messages.COPY_IN:
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
        self.status = data[at + HEAD] if end > at + HEAD else messages.IDLE
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
