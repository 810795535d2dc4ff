"""A session under a policy: every statement is understood and decided before it runs, or while it runs and before it is
committed.

The guard stands before the requests: it takes the client's messages one by one. What was decided already passes; for
the rest it holds the client back, asks the server (agent.core.pg.talk), and goes on when it knows. A statement that
runs code is *watched*: the server prints what that code runs, and its end is held until all of it is judged. To refuse,
the agent has the server fail in the statement's place, so that transaction and pipeline are left as the server leaves
them.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from agent.core.commands import Command
from agent.core.limits import MAX_STATEMENT
from agent.core.pg import messages
from agent.core.pg.errors import error_response
from agent.core.pg.exchange import BIND, EXECUTE, FUNCTION, PARSE, QUERY, SYNC
from agent.core.pg.messages import HEAD, message, string_end, u16, u32
from agent.core.pg.procedure import Procedure
from agent.core.pg.requests import name_at
from agent.core.pg.rulings import NEVER_ASKED, Judged
from agent.core.pg.task import BEGIN, END, LEARN, Task
from agent.core.sql.fastpath import Call
from agent.core.sql.judgement import Judgement
from agent.core.sql.statements import EMPTY, TRANSACTION, UTILITY, Statement, Unreadable, split

_TERMINATE: Final = message(messages.TERMINATE, b"")
_ASKED: Final = (messages.QUERY, messages.PARSE, messages.BIND, messages.FUNCTION_CALL)
"""What is decided by the settings in force."""
_NOT_PREPARED: Final = error_response("26000", "unnamed prepared statement does not exist")
"""SQL has no unnamed statement: there is none but what the client's last Parse has made."""
_BY_FETCH: Final = error_response(
    "42501", "hoopctl: the rows of this cursor are masked, so they can't be asked for by Execute", "use FETCH"
)
"""A cursor of SQL's DECLARE is a portal, too: its rows are masked where FETCH returns them."""
MAX_WAITING: Final = 1 << 20
"""Bytes of the client that wait behind a statement being decided; then it is read no further."""


class Guard(Procedure):
    """Reads the client in place of the requests, which it hands what may pass."""

    def add(self, data: bytes) -> None:
        """Bytes of the client. What follows its goodbye is nothing."""
        if not self._requests.terminated:
            self._inbox.add(data)

    def full(self) -> bool:
        """Whether the client has to wait: for what is being decided, or for its answers."""
        waits = self._task is not None or self._talk is not None
        waiting = len(self._inbox) + len(self._data) - self._at
        return (waits and waiting > MAX_WAITING) or self._requests.full()

    def ended(self) -> None:
        """The client will send no more: what it asked is done, a message that it began is forgotten."""
        self._last = True

    def read(self, out: list[Command], now: int) -> bytes:
        """Consumes what can be; returns what leaves for the server. Raises ProtocolError."""
        sent: list[bytes] = []
        if self._task is None and self._talk is None:
            self._pass(b"", sent, out, now)
        while self._once(sent, out, now):
            pass
        return b"".join(sent)

    def _once(self, sent: list[bytes], out: list[Command], now: int) -> bool:
        """Does one thing; returns whether there may be another."""
        talk, task = self._talk, self._task
        if talk is not None:
            if not talk.done:
                return False
            self._talk = None
            self._told(talk, sent, out, now)
            return True
        if task is not None:
            return self._proceed(task, sent, out, now)
        if self._requests.full() or self.resumed or self._requests.terminated:
            return False
        data = self._next(sent, out, now)
        if not data:
            if self._at < len(self._data):
                return True  # a piece of COPY data has passed, and there is more behind it
            if self._last and not self._requests.terminated:
                self._pass(_TERMINATE, sent, out, now)
            return False
        self._message(data, sent, out, now)
        return True

    def _next(self, sent: list[bytes], out: list[Command], now: int) -> bytes:
        """The client's next message, whole; COPY data and what is too large to read pass here as they come."""
        if self._at >= len(self._data):
            if not self._inbox.ready():
                return b""
            self._data = self._inbox.take()
            self._at = 0
        size: i64 = len(self._data)
        further = self._passing > 0
        if self._passing == 0 and size - self._at >= HEAD:
            tag: i64 = self._data[self._at]
            length = u32(self._data, self._at + 1)
            if tag == messages.COPY_DATA or length > MAX_STATEMENT or length < 4:
                self._passing = 1 + max(length, 4)
            elif size - self._at > length:
                start = self._at
                self._at += 1 + length
                return self._data[start : self._at]
            else:
                self._keep(1 + length)
                return b""
        if self._passing > 0:
            end = min(size, self._at + self._passing)
            self._passing -= end - self._at
            piece = self._data[self._at : end]
            self._at = end
            if further:
                self._pass_on(piece, sent, out, now)
            else:
                self._pass(piece, sent, out, now)
            return b""
        self._keep(HEAD)
        return b""

    def _keep(self, needed: i64) -> None:
        self._inbox.put_back(self._data[self._at :], needed)
        self._data = b""
        self._at = 0

    def _message(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        tag = data[0]
        if self.tracing and not self._open and self._exchange.head() is None and self._replies.status == messages.IDLE:
            self.tracing = False  # what was set for a transaction went with it
        if tag == messages.SYNC and self._wrapped:
            self._task = Task(SYNC, data, [], ())
            self._task.stage = END
        elif self._exchange.skipping and tag != messages.SYNC:
            self._pass(data, sent, out, now)  # the server passes over it
        elif tag in _ASKED and self._setting == NEVER_ASKED and not self._aborted():
            self._task = Task(QUERY, data, [], ())
            self._task.stage = LEARN
        elif tag == messages.QUERY:
            self._query(data, sent, out, now)
        elif tag == messages.PARSE:
            self._parse(data, sent, out, now)
        elif tag == messages.BIND:
            self._bind(data, sent, out, now)
        elif tag == messages.EXECUTE:
            self._execute(data, sent, out, now)
        elif tag == messages.FUNCTION_CALL:
            self._function(data, sent, out, now)
        else:
            self._pass(data, sent, out, now)

    def _statements(self, raw: bytes) -> list[Statement] | None:
        """What a message holds, without what is empty; None when it can't be read as the server reads it."""
        try:
            if not self._unicode and not raw.isascii():
                return None
            return [one for one in split(raw.decode(), self._quoting) if one.kind != EMPTY]
        except (Unreadable, UnicodeDecodeError):
            return None

    def _query(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        raw = data[HEAD : string_end(data, HEAD)]
        whole = HEAD + len(raw) + 1 == len(data)
        if whole and not self._wrapped:
            judged = self._recalled(raw, (), now)
            if judged is not None and judged.passes:
                self._allow(judged, data, sent, out, now)
                return
        statements = self._statements(raw)
        if statements is None:
            self._task = self._unreadable(QUERY, data, raw)
        elif not statements or not whole:
            self._pass(data, sent, out, now)
        else:
            if len(statements) == 1 and not self._wrapped:
                judged = self._learned(raw, statements[0], (), now)
                if judged is not None and judged.passes:
                    self._allow(judged, data, sent, out, now)
                    return
            self._task = Task(QUERY, data, statements, ())

    def _learned(self, raw: bytes, statement: Statement, types: tuple[int, ...], now: int) -> Judged | None:
        """What is known about the only statement of a message: from now on by the message's bytes, too."""
        judged = self._kept(statement, types, now)
        if judged is not None:
            self._rulings.recall(raw, types, self._setting, statement, judged)
        return judged

    def _unreadable(self, kind: int, data: bytes, raw: bytes) -> Task:
        """What can't be read is shown to the server: what it doesn't refuse itself is not known then."""
        statement = Statement(raw.decode("utf-8", "replace"), 0, UTILITY, "")
        task = Task(kind, data, [statement], ())
        task.judgement = Judgement(statement, self._facts, self._quoting, readable=False)
        return task

    def _parse(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        begin = string_end(data, HEAD) + 1
        end = string_end(data, begin)
        raw = data[begin:end]
        types = _types(data, end + 1)
        if self._recalled(raw, types, now) is not None:
            self._prepare(data, raw, sent, out, now)
            return
        statements = self._statements(raw)
        single = statements is not None and len(statements) == 1
        asks = statements is not None and single and not self._open and statements[0].kind != TRANSACTION
        known = statements is None or not asks or self._learned(raw, statements[0], types, now) is not None
        if statements is not None and not known and not self._aborted():
            self._task = Task(PARSE, data, statements, types)
            return
        self._prepare(data, raw, sent, out, now)

    def _bind(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        named = string_end(data, HEAD) + 1
        name = name_at(data, named, len(data))
        prepared = self._exchange.statements.get(name)
        raw = None if prepared is None else prepared.raw
        if prepared is None and not name:
            sent.append(self._refuse(self._plain, _NOT_PREPARED, data, out, now))
            return
        if prepared is None or raw is None:  # SQL's PREPARE made it, or the server will say that there is none
            quoted = name.encode("latin-1").decode("utf-8", "replace").replace('"', '""')
            raw, types = f'EXECUTE "{quoted}"'.encode(), _no_types()
        else:
            types = tuple(prepared.declared)
        judged = self._recalled(raw, types, now)
        if judged is not None and judged.passes:
            self._allow(judged, data, sent, out, now)
            return
        statements = self._statements(raw)
        if statements is None or len(statements) > 1:
            self._task = self._unreadable(BIND, data, raw)
        elif not statements:
            self._pass(data, sent, out, now)
        else:
            judged = self._learned(raw, statements[0], types, now)
            if judged is None or not judged.passes:
                self._task = Task(BIND, data, statements, types)
                self._task.judged = judged
            else:
                self._allow(judged, data, sent, out, now)

    def _execute(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        name = name_at(data, HEAD, len(data))
        operation = self._exchange.portals.get(name)
        columns = self._cursors.columns(name.encode("latin-1").decode("utf-8", "replace")) if name else ()
        hidden = self._rulings.masked.hides(columns)
        if hidden is not None:  # a cursor of SQL's, whose rows come as FETCH tells them
            sent.append(self._refuse(self._plain, _BY_FETCH, data, out, now))
        elif (operation is None and self._coded) or (operation is not None and operation.watched):
            task = Task(EXECUTE, data, [], ())
            task.stage = BEGIN
            task.watched = True
            task.operation = operation
            self._task = task
        else:
            self._pass(data, sent, out, now)

    def _function(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        if len(data) < HEAD + 4 or self._aborted():
            self._pass(data, sent, out, now)
            return
        oid = int(u32(data, HEAD))
        called = Call(oid, self._facts)
        self._task = task = Task(FUNCTION, data, [called.statement], (oid,))
        task.judgement = called

    def _more(self) -> bool:
        return self._at < len(self._data)

    def _return(self, data: bytes) -> None:
        self._at -= len(data)

    def _forward(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        if data[0] == messages.QUERY:
            self._query(data, sent, out, now)
        elif data[0] == messages.PARSE:
            self._parse(data, sent, out, now)
        elif data[0] == messages.FUNCTION_CALL:
            self._function(data, sent, out, now)
        else:
            self._bind(data, sent, out, now)


def _no_types() -> tuple[int, ...]:
    return ()


def _types(data: bytes, at: i64) -> tuple[int, ...]:
    """The types that a Parse names. What is malformed is left to the requests to refuse."""
    if at + 2 > len(data):
        return ()
    count = u16(data, at)
    if at + 2 + 4 * count != len(data):
        return ()
    return tuple([int(u32(data, at + 2 + 4 * i64(index))) for index in range(count)])
