"""Which answers belong to which requests, once a session is under way.

https://www.postgresql.org/docs/current/protocol-flow.html

The server answers in order. Every request that will be answered waits in a queue, and REPLIES says what each kind of
request may be answered with and whether that completes it; a pair that is missing there is a protocol error.

An operation, as the evidence counts them, is a simple Query message, a FunctionCall, or a bound portal: its Bind and
every Execute of it.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Final

from mypy_extensions import i64

from agent.core.pg.messages import (
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    COMMAND_COMPLETE,
    COPY_DATA,
    COPY_DONE,
    COPY_IN,
    COPY_OUT,
    DATA_ROW,
    EMPTY_QUERY,
    ERROR,
    FUNCTION_RESULT,
    NO_DATA,
    PARAMETER_DESCRIPTION,
    PARSE_COMPLETE,
    PORTAL_SUSPENDED,
    READY,
    ROW_DESCRIPTION,
)
from agent.core.pg.veil import Veil

# Kinds of requests
QUERY: Final = 1
FUNCTION: Final = 2
PARSE: Final = 3
BIND: Final = 4
DESCRIBE: Final = 5
EXECUTE: Final = 6
CLOSE: Final = 7
SYNC: Final = 8
COPY_END: Final = 9  # CopyDone or CopyFail: never answered by itself, but it marks where a COPY FROM STDIN is over

# What a reply does to the request that it answers
STAYS: Final = 1
COMPLETES: Final = 2

_QUERY_REPLIES: Final = (
    ROW_DESCRIPTION,
    DATA_ROW,
    COMMAND_COMPLETE,
    EMPTY_QUERY,
    COPY_IN,
    COPY_OUT,
    COPY_DATA,
    COPY_DONE,
    ERROR,
)

REPLIES: Final[dict[tuple[int, int], int]] = {
    **{(QUERY, tag): STAYS for tag in _QUERY_REPLIES},
    (QUERY, READY): COMPLETES,
    (FUNCTION, FUNCTION_RESULT): STAYS,
    (FUNCTION, ERROR): STAYS,
    (FUNCTION, READY): COMPLETES,
    (PARSE, PARSE_COMPLETE): COMPLETES,
    (BIND, BIND_COMPLETE): COMPLETES,
    (DESCRIBE, PARAMETER_DESCRIPTION): STAYS,
    (DESCRIBE, ROW_DESCRIPTION): COMPLETES,
    (DESCRIBE, NO_DATA): COMPLETES,
    (EXECUTE, DATA_ROW): STAYS,
    (EXECUTE, COPY_IN): STAYS,
    (EXECUTE, COPY_OUT): STAYS,
    (EXECUTE, COPY_DATA): STAYS,
    (EXECUTE, COPY_DONE): STAYS,
    (EXECUTE, COMMAND_COMPLETE): COMPLETES,
    (EXECUTE, EMPTY_QUERY): COMPLETES,
    (EXECUTE, PORTAL_SUSPENDED): COMPLETES,
    (CLOSE, CLOSE_COMPLETE): COMPLETES,
    (SYNC, READY): COMPLETES,
    **{(kind, ERROR): COMPLETES for kind in (PARSE, BIND, DESCRIBE, EXECUTE, CLOSE)},
    (SYNC, ERROR): STAYS,  # the implicit transaction's commit failed
}


_LONGEST_COUNT: Final = 18  # digits; a count of rows is 64 bits

_DEALLOCATE: Final = re.compile(r'\bdeallocate\s+(?:prepare\s+)?(?:"((?:[^"]|"")+)"|([^\s;"]+))', re.IGNORECASE)


class Prepared:
    """A prepared statement as the client made it: its text, secrets replaced, and its parameters' types."""

    def __init__(self, statement: str, types: list[int], reads: bool) -> None:
        self.statement = statement
        self.types = types
        self.reads = reads
        self.raw: bytes | None = None
        """The statement as the client sent it, for whom it is decided by."""
        self.row = b""
        """The body of the RowDescription that the client has had it described with."""
        self.declared = types
        """The types that the client named; `types` are those that the server found."""


class Operation:
    """What is known of an operation while it runs. `started` is in microseconds since 1970, UTC."""

    def __init__(self, sequence: int, started: int, statement: str, parameters: tuple[str | None, ...] | None) -> None:
        self.sequence = sequence
        self.started = started
        self.statement = statement
        self.parameters = parameters
        self.appended: i64 = 0
        """How many of the session's records there were with the one that began this operation."""
        self.finished = 0
        """When its last answer came, in microseconds since 1970; 0 while it runs."""
        self.ended = False
        self.rows: i64 = 0
        self.tag_rows: i64 = 0
        self.tags: list[str] = []
        self.bytes: i64 = 0
        self.kept: i64 = 0
        self.chunks: i64 = 0
        self.rest: Rest | None = None
        self.copied: Rest | None = None
        self.error_code: str | None = None
        self.error_message: str | None = None
        self.watched = False
        """It runs code: what that does is judged before it counts."""
        self.veil: Veil | None = None
        """What its rows are masked by."""
        self.secret = False
        """Values of masked columns may be in its errors."""
        self.denied = False
        self.known: tuple[str, ...] = ()
        """What was found that it would do, before it ran."""
        self.inside: tuple[str, ...] = ()
        """What it was seen to do only when it ran."""
        self.denied_by: str | None = None
        """The rule that had it undone for that."""

    def completed(self, tag: str) -> None:
        """A CommandComplete: `SELECT 5`, `INSERT 0 1`, `CREATE TABLE`."""
        self.tags.append(tag)
        number = tag.rpartition(" ")[2]
        if len(number) <= _LONGEST_COUNT and number.isascii() and number.isdigit():
            self.tag_rows += int(number)

    def row_count(self) -> int:
        """Rows returned or affected. A portal read in pieces has only its last piece in its tag, several statements in
        one message have rows that were never sent: the larger number is right in both cases."""
        return max(self.rows, self.tag_rows)


class Rest:
    """Bytes that are counted and hashed instead of kept."""

    def __init__(self) -> None:
        self.size: i64 = 0
        self._hash = sha256()

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._hash.update(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


class Request:
    """A request that waits for its answer.

    `name` is the statement or portal that it makes or closes, `before` what that name stood for until then: an error
    earlier in the pipeline has the server pass over the request, and the name means again what it meant.
    """

    def __init__(self, kind: i64, operation: Operation | None = None) -> None:
        self.kind: i64 = kind
        self.operation = operation
        self.begins = False
        """Whether the operation begins with this request."""
        self.name = ""
        self.made_statement: Prepared | None = None
        self.before_statement: Prepared | None = None
        self.before_portal: Operation | None = None
        self.instead: bytes | None = None
        """Sent in place of the server's ErrorResponse: the agent had the server fail."""
        self.asking = False
        """The agent asks this for itself: the answer is the guard's, and no client hears of it."""
        self.quiet_ready = False
        """The ReadyForQuery that ends it is not the client's: more of its message is to come."""
        self.held = False
        """What ends its answer waits until the guard has judged what it did."""
        self.withheld = False
        """All of its answer waits for that."""


class Exchange:
    """The queue of requests under way, and the statements and portals that they name."""

    def __init__(self) -> None:
        self.statements: dict[str, Prepared] = {}
        self.portals: dict[str, Operation] = {}
        self.made: dict[str, Operation] = {}
        """The portals that the server has made in its transaction."""
        self.stored: i64 = 0
        """Characters of the prepared statements' text."""
        self.skipping = False
        """The server passes over everything up to the next Sync."""
        self.copying_in = False
        """The server reads COPY data of an Execute: it ignores a Sync that comes before the data's end."""
        self.grants = False
        """The server knows rights to set single parameters (PostgreSQL 15)."""
        self._queue: list[Request] = []
        self._head: i64 = 0
        self._ignored: i64 = 0

    def __len__(self) -> int:
        return len(self._queue) - self._head

    def head(self) -> Request | None:
        """The request being answered."""
        while self._head < len(self._queue):
            request = self._queue[self._head]
            if request.kind != COPY_END:
                return request
            self.pop()
        return None

    def pop(self) -> None:
        """The head is answered."""
        self._head += 1
        if self._head == len(self._queue):
            self._queue.clear()
            self._head = 0
        elif self._head >= 1024:
            del self._queue[: self._head]
            self._head = 0

    def push(self, request: Request) -> bool:
        """A request leaves for the server. Returns False when the server will pass over it."""
        if self.skipping:
            if request.kind != SYNC:
                return False
            self.skipping = False
        if request.kind == COPY_END:
            self.copying_in = False
        elif request.kind == SYNC and self.copying_in:
            self._ignored += 1
            return True
        self._queue.append(request)
        return True

    def tail(self) -> Request | None:
        """The request that came last."""
        return self._queue[-1] if len(self._queue) > self._head else None

    def awaits_ready(self) -> bool:
        """Whether a ReadyForQuery is to come that may tell of another state of the transaction."""
        return any(request.kind in (QUERY, SYNC, FUNCTION) for request in self._queue[self._head :])

    def put_back(self, request: Request) -> None:
        """A request whose answer was put aside is the head again."""
        self._queue.insert(self._head, request)

    def copy_in_begins(self) -> None:
        """The server answered with CopyInResponse: a Sync sent before the data's end isn't answered."""
        kept = self._queue[: self._head + 1]
        ended = False
        for request in self._queue[self._head + 1 :]:
            if request.kind == COPY_END:
                ended = True
            if ended or request.kind != SYNC:
                kept.append(request)
            else:
                self._ignored += 1
        self._queue = kept
        self.copying_in = not ended

    def unasked_ready(self) -> bool:
        """Whether a ReadyForQuery that answers nothing in the queue is in order: for a Sync that the server was thought
        to ignore during a COPY, which failed before it read the Sync."""
        if self.skipping:
            self.skipping = False
            return True
        if self._ignored > 0:
            self._ignored -= 1
            return True
        return False

    def deallocated(self, statement: str, tag: str) -> None:
        """SQL did away with prepared statements: their names mean nothing any more, or what SQL makes of them next."""
        if tag in ("DEALLOCATE ALL", "DISCARD ALL"):
            for name in list(self.statements):
                self.prepare(name, None)
        elif tag == "DEALLOCATE":
            for quoted, plain in _DEALLOCATE.findall(statement):
                self.prepare(quoted.replace('""', '"') if quoted else plain.lower(), None)

    def fail(self) -> list[Request]:
        """An error in the extended protocol: the server passes over everything up to the next Sync.

        Returns the requests that will not be answered, latest first, the failed one last.
        """
        passed: list[Request] = []
        self.copying_in = False
        while self._head < len(self._queue):
            request = self._queue[self._head]
            if request.kind == SYNC and passed:
                passed.reverse()
                return passed
            if request.kind != COPY_END:
                passed.append(request)
            self.pop()
        self.skipping = True
        passed.reverse()
        return passed

    def veiled(self) -> bool:
        """Whether the client has named portals with masked rows."""
        return any(name != "" and one.veil is not None for name, one in self.portals.items())

    def transaction_over(self) -> list[Operation]:
        """With a transaction the server drops its portals: forgets and returns those that it has made, not those that
        are asked for behind its end."""
        for name, operation in self.made.items():
            if self.portals.get(name) is operation:
                del self.portals[name]
        gone = list(self.made.values())
        self.made.clear()
        return gone

    def prepare(self, name: str, prepared: Prepared | None) -> None:
        """The name stands for this statement from now on, or for none."""
        before = self.statements.pop(name, None)
        if before is not None:
            self.stored -= len(before.statement)
        if prepared is not None:
            self.stored += len(prepared.statement)
            self.statements[name] = prepared

    def undo(self, request: Request) -> None:
        """The server passed over this request: what it would have named means again what it meant before."""
        if request.kind == PARSE and self.statements.get(request.name) is request.made_statement:
            self.prepare(request.name, request.before_statement)
        elif request.kind == BIND and self.portals.get(request.name) is request.operation:
            if request.before_portal is None:
                self.portals.pop(request.name, None)
            else:
                self.portals[request.name] = request.before_portal
        elif request.kind == CLOSE:
            if request.before_statement is not None and request.name not in self.statements:
                self.prepare(request.name, request.before_statement)
            if request.before_portal is not None:
                self.portals.setdefault(request.name, request.before_portal)

    def drain(self) -> list[Request]:
        """Everything still waiting; the connection is over."""
        left = self._queue[self._head :]
        self._queue = []
        self._head = 0
        return left
