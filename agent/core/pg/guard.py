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
from agent.core.pg.errors import fields
from agent.core.pg.exchange import BIND, EXECUTE, PARSE, QUERY, Exchange, Operation, Request
from agent.core.pg.ledger import Ledger, Ruling
from agent.core.pg.messages import HEAD, Inbox, message, string_end, text, u16, u32
from agent.core.pg.replies import Replies, Watch
from agent.core.pg.requests import FAILS, Requests, name_at
from agent.core.pg.rulings import LIFETIME, NEVER_ASKED, Judged, Row, Rulings, refusal
from agent.core.pg.talk import SETTINGS, TRACE_OFF, TRACE_ON, Talk
from agent.core.policy.rulebook import Rulebook
from agent.core.sql.catalog import Catalog
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.judgement import NOT_KNOWN, UNKNOWN, Inside, Judgement
from agent.core.sql.reading import only_reads
from agent.core.sql.secrets import redact
from agent.core.sql.statements import EMPTY, TRANSACTION, UTILITY, Statement, Unreadable, split
from schemas.operation import Operation as Act

_Q: Final = 0x51
_P: Final = 0x50
_B: Final = 0x42
_E: Final = 0x45
_F: Final = 0x46
_S: Final = 0x53
_H: Final = 0x48
_X: Final = 0x58
_d: Final = 0x64
_c: Final = 0x63
_f: Final = 0x66
_COPY: Final = (_d, _c, _f)
_OPENS: Final = (_P, _B, _E, 0x44, 0x43)

_FLUSH: Final = message(_H, b"")
_FAIL_QUERY: Final = message(_Q, text(FAILS))
_FAIL_PARSE: Final = message(_P, b"_hoop_refused\0" + text(FAILS) + b"\0\0")

_IDLE: Final = 0x49
_FAILED: Final = 0x45

_MOST_QUESTIONS: Final = 24
"""Questions that may be asked about one statement; one that takes more is not understood."""

_LARGE_OBJECTS: Final = {
    952: "lo_open", 953: "lo_close", 954: "loread", 955: "lowrite", 956: "lo_lseek", 957: "lo_creat", 958: "lo_tell",
    964: "lo_unlink", 1004: "lo_truncate", 715: "lo_create", 3170: "lo_lseek64", 3171: "lo_tell64",
    3172: "lo_truncate64",
}  # fmt: skip
"""What libpq calls by FunctionCall, by the OIDs that these functions have in every version."""

_ALREADY_BEGUN: Final = "25001"  # active_sql_transaction, a warning of BEGIN
_LEVELS: Final = {
    "debug5": 1, "debug4": 2, "debug3": 3, "debug2": 4, "debug1": 5, "debug": 4, "log": 6, "notice": 7, "warning": 8,
    "error": 9,
}  # fmt: skip
"""https://www.postgresql.org/docs/current/runtime-config-client.html, client_min_messages, least severe first."""

MAX_WAITING: Final = 1 << 20
"""Bytes of the client that wait behind a statement being decided; then it is read no further."""

_MOST_PADDING: Final = 65_536
"""Characters that are put before a statement of several, so that the position in an error is that in the message."""

_SETTINGS: Final = 7
"""Columns of what SETTINGS asks."""

_READY_IDLE: Final = message(0x5A, b"I")

_LEARN: Final = 0
"""A task that waits for the settings only."""

# Stages of a task
_DECIDE: Final = 1
_BEGIN: Final = 2
_RUN: Final = 3
_RUNNING: Final = 4
_INSIDE: Final = 5
_COMMIT: Final = 6
_NEXT: Final = 7
_REFUSE: Final = 8


class Task:
    """A message that the client waits behind: where it stands."""

    def __init__(self, kind: int, data: bytes, statements: list[Statement], types: tuple[int, ...]) -> None:
        self.kind = kind
        self.data = data
        self.statements = statements
        self.types = types
        self.index = 0
        self.stage = _DECIDE
        self.questions = 0
        self.judged: Judged | None = None
        self.judgement: Judgement | None = None
        self.inside: Inside | None = None
        self.fault: bytes | None = None
        self.began = False
        self.watched = False
        self.operation: Operation | None = None
        self.request: Request | None = None
        self.ending = b""
        self.failed = False
        self.checked = False
        self.closed = False

    def next(self) -> None:
        """The next statement's turn."""
        self.index += 1
        self.stage = _DECIDE
        self.judged = None
        self.judgement = None
        self.inside = None
        self.request = None
        self.questions = 0
        self.ending = b""

    def about(self) -> Statement:
        """The statement, as far as rules may ask for it."""
        return self.statements[self.index] if self.statements else Statement("", 0, UTILITY, "")

    @property
    def statement(self) -> Statement:
        return self.statements[self.index]


class Guard(Watch):
    """Reads the client in place of the requests, which it hands what may pass. `resumed` when the replies have more to
    read although the server sent nothing."""

    def __init__(
        self, rulebook: Rulebook, catalog: Catalog, ledger: Ledger, requests: Requests, replies: Replies
    ) -> None:
        super().__init__()
        self.resumed = False
        self._ledger = ledger
        self._exchange: Exchange = requests.exchange
        self._requests = requests
        self._replies = replies
        self._rulings = Rulings(rulebook, catalog)
        self._facts = Facts()
        self._facts_made = 0
        self._plain = Ruling(policy=rulebook.policy.version)
        ledger.ruling = self._plain
        self._inbox = Inbox()
        self._data = b""
        self._at: i64 = 0
        self._passing: i64 = 0
        self._open = False
        """Messages of the extended protocol were sent since the last Sync: what they do is one transaction yet."""
        self._flushed = False
        self._setting = NEVER_ASKED
        self._settings: Row = ()
        self._quoting = True
        self._unicode = True
        self._dirty = False
        self._altered = False
        self._deferred = False
        """Code ran in this transaction, which may have left more to run at its end."""
        self._muted = False
        self._talk: Talk | None = None
        self._missing: Wanted | None = None
        self._shown: list[str] = []
        self._task: Task | None = None

    # What the session calls

    def add(self, data: bytes) -> None:
        """Bytes of the client."""
        self._inbox.add(data)

    def full(self) -> bool:
        """Whether the client has to wait."""
        return len(self._inbox) + len(self._data) - self._at > MAX_WAITING or self._requests.full()

    def read(self, out: list[Command], now: int) -> bytes:
        """Consumes what can be; returns what leaves for the server. Raises ProtocolError."""
        sent: list[bytes] = []
        if self._task is None and self._talk is None:
            self._pass(b"", sent, out, now)
        while self._once(sent, out, now):
            pass
        return b"".join(sent)

    def take(self, rulebook: Rulebook) -> None:
        """Another policy, from the next decision on."""
        self._rulings.take(rulebook)
        self._plain = Ruling(policy=rulebook.policy.version)
        self._ledger.ruling = self._plain

    def welcomed(self, messages: list[bytes]) -> None:
        """What the server told at the login."""
        for told in messages:
            if told[:1] == b"S":
                name, _, value = told[HEAD:].partition(b"\0")
                self.parameter(name.decode("latin-1"), value[:-1].decode("latin-1"))

    # What the replies tell

    def notice(self, body: bytes) -> bool:
        found = fields(body)
        if found.get("R") == "elog_node_display" and found.get("F") == "print.c":
            head = self._exchange.head()
            task = self._task
            if self._talk is not None and self._talk.shows(head):
                if task is not None and task.inside is not None:
                    task.inside.shown(found.get("D", ""), found.get("W", ""))
                else:
                    self._shown.append(found.get("D", ""))
            elif task is not None and task.inside is not None and head is not None and head.held:
                task.inside.shown(found.get("D", ""), found.get("W", ""))
            return True
        if self._muted and found.get("C") == _ALREADY_BEGUN:
            return True
        head = self._exchange.head()
        if head is not None and head.asking:
            return True
        level = self._settings[5] if len(self._settings) > 5 else "notice"
        severity = found.get("V", "NOTICE").lower()
        return severity != "info" and _LEVELS.get(severity, 7) < _LEVELS.get(level or "notice", 7)

    def heard(self, request: Request, tag: int, body: bytes) -> None:
        if self._talk is not None:
            self._talk.heard(request, tag, body)

    def passed_over(self, request: Request) -> None:
        if self._talk is not None:
            self._talk.passed_over()

    def executed(self, request: Request, ending: bytes) -> None:
        if self._task is not None:
            self._task.ending = ending
            self._task.stage = _INSIDE

    def stepped(self, request: Request) -> None:
        """The next statement's turn comes when nothing is under way any more."""

    def parameter(self, name: str, value: str) -> None:
        if name == "standard_conforming_strings":
            self._quoting = value == "on"
        elif name == "client_encoding":
            self._unicode = value in ("UTF8", "SQL_ASCII")

    # One thing after the other

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
        if self._requests.full() or self._replies_wait():
            return False
        data = self._next(sent, out, now)
        if not data:
            return self._passing > 0 and self._at < len(self._data)
        self._message(data, sent, out, now)
        return True

    def _replies_wait(self) -> bool:
        return self.resumed

    def _next(self, sent: list[bytes], out: list[Command], now: int) -> bytes:
        """The client's next message, whole; COPY data and what is too large to read pass here as they come."""
        if self._at >= len(self._data):
            if not self._inbox.ready():
                return b""
            self._data = self._inbox.take()
            self._at = 0
        size: i64 = len(self._data)
        if self._passing == 0 and size - self._at >= HEAD:
            tag: i64 = self._data[self._at]
            length = u32(self._data, self._at + 1)
            if tag == _d or length > MAX_STATEMENT or length < 4:
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
            self._pass(self._data[self._at : end], sent, out, now)
            self._at = end
            return b""
        self._keep(HEAD)
        return b""

    def _keep(self, needed: i64) -> None:
        self._inbox.put_back(self._data[self._at :], needed)
        self._data = b""
        self._at = 0

    def _message(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        tag = data[0]
        if self._exchange.skipping and tag != _S:
            self._pass(data, sent, out, now)  # the server passes over it
        elif tag in (_Q, _P, _B) and self._setting == NEVER_ASKED and not self._aborted():
            self._task = Task(QUERY, data, [], ())
            self._task.stage = _LEARN
        elif tag == _Q:
            self._query(data, sent, out, now)
        elif tag == _P:
            self._parse(data, sent, out, now)
        elif tag == _B:
            self._bind(data, sent, out, now)
        elif tag == _E:
            self._execute(data, sent, out, now)
        elif tag == _F:
            self._function(data, sent, out, now)
        else:
            self._pass(data, sent, out, now)

    def _pass(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        """Hands the requests what may leave."""
        if data:
            self._requests.add(data)
            if data[0] in _OPENS:
                self._open, self._flushed = True, False
            elif data[0] == _S or data[0] == _Q:
                self._open = False
        leaves = self._requests.read(out, now)
        if leaves:
            sent.append(leaves)

    def _allow(self, judged: Judged, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        self._ledger.ruling = judged.ruling
        self._pass(data, sent, out, now)
        self._ledger.ruling = self._plain
        self._affects(judged.found)

    def _refuse(self, ruling: Ruling, error: bytes, data: bytes, fail: bytes, out: list[Command], now: int) -> bytes:
        """The requests take the message as asked, the server gets what fails in its place."""
        self._ledger.ruling = ruling
        self._requests.add(data)
        self._requests.read(out, now)
        self._ledger.ruling = self._plain
        request = self._exchange.tail()
        if request is not None:
            request.instead = error
        self._open = data[0] in _OPENS
        return fail

    def _affects(self, found: Found) -> None:
        if found.changes_settings or found.opaque:
            self._dirty = True
            self._setting = NEVER_ASKED
        if found.changes_catalog:
            self._altered = True
            self._forget()

    def _forget(self) -> None:
        self._rulings.changed()
        self._rulings.forget()
        self._facts.forget()

    def _aborted(self) -> bool:
        """The transaction failed: the server does nothing but end it."""
        return not self._open and len(self._exchange) == 0 and self._replies.status == _FAILED

    def _ends(self, statement: Statement) -> None:
        """A statement of transaction control: what it may undo isn't known any more."""
        if statement.tag in ("BEGIN", "START TRANSACTION", "SAVEPOINT", "RELEASE"):
            return
        if self._dirty:
            self._setting = NEVER_ASKED
        if self._altered:
            self._forget()

    # The client's messages

    def _statements(self, raw: bytes) -> list[Statement] | None:
        """What a message holds, without what is empty; None when it can't be read as the server reads it."""
        try:
            if not self._unicode and not raw.isascii():
                return None
            return [one for one in split(raw.decode(), self._quoting) if one.kind != EMPTY]
        except (Unreadable, UnicodeDecodeError):
            return None

    def _kept(self, statement: Statement, types: tuple[int, ...], now: int) -> Judged | None:
        if self._rulings.stale() or now - self._facts_made >= LIFETIME:
            self._facts.forget()
            self._facts_made = now
        return self._rulings.kept(statement, types, self._setting, now)

    def _query(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        raw = data[HEAD : string_end(data, HEAD)]
        statements = self._statements(raw)
        if statements is None:
            self._task = self._unreadable(QUERY, data, raw, now)
        elif not statements or HEAD + len(raw) + 1 != len(data):
            self._pass(data, sent, out, now)
        else:
            if len(statements) == 1:
                judged = self._kept(statements[0], (), now)
                if judged is not None and not judged.denied and not judged.found.opaque:
                    self._allow(judged, data, sent, out, now)
                    return
            self._task = Task(QUERY, data, statements, ())

    def _unreadable(self, kind: int, data: bytes, raw: bytes, now: int) -> Task:
        statement = Statement(raw.decode("utf-8", "replace"), 0, UTILITY, "")
        task = Task(kind, data, [statement], ())
        task.judged = self._rulings.judge(NOT_KNOWN, statement, now)
        return task

    def _parse(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        begin = string_end(data, HEAD) + 1
        end = string_end(data, begin)
        raw = data[begin:end]
        types = _types(data, end + 1)
        statements = self._statements(raw)
        single = statements is not None and len(statements) == 1
        asks = statements is not None and single and not self._open and statements[0].kind != TRANSACTION
        if statements is not None and asks and self._kept(statements[0], types, now) is None and not self._aborted():
            self._task = Task(PARSE, data, statements, types)
            return
        self._prepare(data, statements, raw, sent, out, now)

    def _prepare(
        self,
        data: bytes,
        statements: list[Statement] | None,
        raw: bytes,
        sent: list[bytes],
        out: list[Command],
        now: int,
    ) -> None:
        self._pass(data, sent, out, now)
        request = self._exchange.tail()
        if request is not None and request.kind == PARSE and request.made_statement is not None:
            request.made_statement.raw = raw

    def _bind(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        named = string_end(data, HEAD) + 1
        name = name_at(data, named, len(data))
        prepared = self._exchange.statements.get(name)
        raw = None if prepared is None else prepared.raw
        if prepared is None or raw is None:  # SQL's PREPARE made it, or the server will say that there is none
            quoted = name.encode("latin-1").decode("utf-8", "replace").replace('"', '""')
            raw, types = f'EXECUTE "{quoted}"'.encode(), _no_types()
        else:
            types = tuple(prepared.declared)
        statements = self._statements(raw)
        if statements is None or len(statements) > 1:
            self._task = self._unreadable(BIND, data, raw, now)
        elif not statements:
            self._pass(data, sent, out, now)
        else:
            judged = self._kept(statements[0], types, now)
            if judged is None or judged.denied:
                self._task = Task(BIND, data, statements, types)
                self._task.judged = judged
            else:
                self._bound(judged, data, sent, out, now)

    def _bound(self, judged: Judged, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        self._allow(judged, data, sent, out, now)
        request = self._exchange.tail()
        if judged.found.opaque and request is not None and request.operation is not None:
            request.operation.watched = True

    def _execute(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        operation = self._exchange.portals.get(name_at(data, HEAD, len(data)))
        if operation is not None and operation.watched:
            task = Task(EXECUTE, data, [], ())
            task.stage = _BEGIN
            task.watched = True
            task.operation = operation
            self._task = task
        else:
            self._pass(data, sent, out, now)

    def _function(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        name = _LARGE_OBJECTS.get(int(u32(data, HEAD))) if len(data) >= HEAD + 4 else None
        operation = UNKNOWN if name is None else Act("EXECUTE", f"pg_catalog.{name}")
        statement = Statement("", 0, UTILITY, "")
        judged = self._rulings.judge(Found((operation,), opaque=name is None), statement, now)
        if judged.denied:
            sent.append(self._refuse(judged.ruling, judged.refusal(), data, _FAIL_QUERY, out, now))
        else:
            self._allow(judged, data, sent, out, now)

    # A message that the client waits behind

    def _told(self, talk: Talk, sent: list[bytes], out: list[Command], now: int) -> None:
        """A question was answered."""
        task = self._task
        rows = talk.rows
        if self.tracing and talk.untraces:
            self.tracing = False
        if task is None:
            return
        if talk.error is not None:
            task.fault = message(0x45, talk.error)
            if self._exchange.skipping:
                self._open = True
            return
        if talk.settings and rows:
            self._learn(rows.pop(0)[:_SETTINGS])
        missing, self._missing = self._missing, None
        if missing is not None:
            self._facts.learn(rows, missing)
        elif task.judgement is not None and task.stage == _DECIDE and talk.tree:
            task.judgement.tree(self._shown)
            self._shown = []

    def _learn(self, settings: Row) -> None:
        if settings != self._settings:
            self._facts.forget()
        self._settings = settings
        self._setting = self._rulings.setting(settings)
        self._quoting = settings[3] == "on"
        self._unicode = settings[4] in ("UTF8", "SQL_ASCII")

    def _say(self, talk: Talk, data: bytes, sent: list[bytes]) -> bool:
        self._talk = talk
        sent.append(data)
        return True

    def _drained(self, sent: list[bytes]) -> bool:
        """Whether everything that was asked is answered: only then is known where the session stands."""
        if len(self._exchange) == 0:
            return True
        if self._open and not self._flushed:
            self._flushed = True
            sent.append(_FLUSH)
        return False

    def _proceed(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        if task.stage == _RUNNING:
            return self._copy(sent, out, now)
        if not self._drained(sent):
            return False
        if task.stage == _LEARN:
            return self._settle(task, sent, out, now)
        if task.stage == _DECIDE:
            return self._decide(task, sent, out, now)
        if task.stage == _BEGIN:
            return self._begin(task, sent)
        if task.stage == _RUN:
            return self._run(task, sent, out, now)
        if task.stage == _INSIDE:
            return self._inside(task, sent, now)
        if task.stage == _REFUSE:
            return self._refuse_query(task, sent, out, now)
        return self._conclude(task, sent)

    def _copy(self, sent: list[bytes], out: list[Command], now: int) -> bool:
        """While a statement runs, the client may owe it COPY data."""
        if not self._exchange.copying_in:
            return False
        data = self._next(sent, out, now)
        if not data:
            return self._at < len(self._data)
        if data[0] in _COPY or data[0] in (_S, _H, _X):
            self._pass(data, sent, out, now)
            return True
        self._at -= len(data)
        return False

    def _settle(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        if self._setting == NEVER_ASKED and task.fault is None and not self._aborted():
            talk = Talk(self._exchange).ask(SETTINGS)
            talk.settings = True
            return self._say(talk, talk.end(self._open), sent)
        self._task = None
        if task.fault is not None:
            self._drop(task, sent, out, now)
            return True
        self._forward(task.data, sent, out, now)
        return True

    def _forward(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        if data[0] == _Q:
            self._query(data, sent, out, now)
        elif data[0] == _P:
            self._parse(data, sent, out, now)
        else:
            self._bind(data, sent, out, now)

    def _drop(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> None:
        """A message whose statement the server has refused when it was asked about it: the client gets that error."""
        fault = task.fault or b""
        if self._exchange.skipping:  # the error ended the pipeline already
            operation = self._ledger.begin(out, now, redact(_shown(task)), None)
            self._replies.tell(fault, operation, out, now)
            self.resumed = True
            return
        query = task.data[0] == _Q
        sent.append(self._refuse(self._plain, fault, task.data, _FAIL_QUERY if query else _FAIL_PARSE, out, now))

    def _decide(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        """Finds out about the statement whose turn it is; then says what is done with it."""
        statement = task.statement
        if task.fault is not None:
            if task.kind == QUERY:
                task.stage = _REFUSE
            else:
                self._task = None
                self._drop(task, sent, out, now)
            return True
        if task.judged is None:
            if statement.kind == TRANSACTION or self._aborted():
                task.judged = Judged(Found(), self._plain, now)
                if statement.kind == TRANSACTION:
                    self._ends(statement)
            else:
                task.judged = self._kept(statement, task.types, now)
        if task.judged is None:
            return self._ask(task, sent, now)
        judged = task.judged
        if task.kind == PARSE:
            self._task = None
            begin = string_end(task.data, HEAD) + 1
            self._prepare(task.data, task.statements, task.data[begin : string_end(task.data, begin)], sent, out, now)
        elif task.kind == BIND:
            self._task = None
            if judged.denied:
                sent.append(self._refuse(judged.ruling, judged.refusal(), task.data, _FAIL_PARSE, out, now))
            else:
                self._bound(judged, task.data, sent, out, now)
        elif judged.denied:
            task.stage = _REFUSE
        elif len(task.statements) == 1 and not judged.found.opaque:
            self._task = None
            self._allow(judged, task.data, sent, out, now)
        else:
            task.stage = _BEGIN
        return True

    def _ask(self, task: Task, sent: list[bytes], now: int) -> bool:
        if task.judgement is None:
            task.judgement = Judgement(task.statement, self._facts, self._quoting)
        need = task.judgement.step()
        task.questions += 1
        if task.questions > _MOST_QUESTIONS:
            need = NOT_KNOWN
        if isinstance(need, Found):
            task.judged = self._rulings.judge(need, task.statement, now)
            if self._setting != NEVER_ASKED:
                self._rulings.keep(task.statement, task.types, self._setting, task.judged)
            return True
        if isinstance(need, Wanted):
            return self._ask_facts(need, sent)
        talk = Talk(self._exchange).ask(TRACE_ON)
        talk.settings = talk.tree = True
        padding = b" " * need.before if need.before < _MOST_PADDING else b""
        talk.parse(padding + need.statement.encode(), list(task.types))
        lasting = self._open or self._replies.status != _IDLE
        if lasting:
            talk.ask(TRACE_OFF)
        talk.untraces = True
        self.tracing = True
        self._shown = []
        return self._say(talk, talk.end(self._open), sent)

    def _ask_facts(self, wanted: Wanted, sent: list[bytes]) -> bool:
        self._missing = self._facts.missing(wanted) or wanted
        talk = Talk(self._exchange).ask(self._facts.question(self._missing))
        return self._say(talk, talk.end(self._open), sent)

    def _begin(self, task: Task, sent: list[bytes]) -> bool:
        """What comes before a statement of several, or one that is watched: a transaction of ours, the trace."""
        if task.fault is not None:
            task.stage = _REFUSE
            return True
        if task.kind == QUERY:
            statement = task.statement
            task.watched = task.judged is not None and task.judged.found.opaque
            control = statement.kind == TRANSACTION
            if control and task.began:
                task.began = False  # from here on it is the client's
                self._muted = True
            if not control and not task.began and self._replies.status == _IDLE and not self._open:
                task.began = True
                talk = Talk(self._exchange).query("BEGIN")
                return self._say(talk, talk.alone(), sent)
        task.stage = _RUN
        if task.watched:
            talk = Talk(self._exchange).ask("DISCARD PLANS").ask(TRACE_ON)
            self.tracing = True
            return self._say(talk, talk.end(self._open), sent)
        return True

    def _run(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        if task.fault is not None:
            self._task = None
            self._drop(task, sent, out, now)
            return True
        if task.kind == EXECUTE:
            self._pass(task.data, sent, out, now)
            sent.append(_FLUSH)
            request = self._exchange.tail()
        else:
            judged, statement = task.judged, task.statement
            if judged is not None:
                self._ledger.ruling = judged.ruling
                self._affects(judged.found)
            task.operation = self._ledger.begin(out, now, redact(statement.text), None)
            self._ledger.ruling = self._plain
            self._requests.started(task.operation, only_reads(statement.text))
            request = Request(QUERY, task.operation)
            request.begins = True
            self._exchange.push(request)
            padding = b" " * statement.start if statement.start < _MOST_PADDING else b""
            sent.append(message(_Q, padding + text(statement.text)))
            self._open = False
        task.inside = Inside(self._facts, self._quoting) if task.watched else None
        task.stage = _RUNNING
        if request is not None:
            request.held = True
        task.request = request
        task.checked = False
        return False

    def _inside(self, task: Task, sent: list[bytes], now: int) -> bool:
        """The statement is over, but not yet for the client: was what it did allowed?"""
        task.failed = task.ending[:1] not in (b"C", b"I", b"s")
        self._muted = False
        if not task.watched or task.inside is None or task.failed:
            task.stage = _NEXT
            return True
        if task.fault is not None:
            return self._undo(task, task.fault, sent)
        if not task.checked:
            task.checked = True
            if task.began or (self._open and self._replies.status == _IDLE):
                talk = Talk(self._exchange).ask("SET CONSTRAINTS ALL IMMEDIATE", shown=True)
                return self._say(talk, talk.end(self._open), sent)
            self._deferred = True
        if self.tracing and not task.began:
            talk = Talk(self._exchange).ask(TRACE_OFF)
            talk.untraces = True
            return self._say(talk, talk.end(self._open), sent)
        found = task.inside.step()
        task.questions += 1
        if isinstance(found, Wanted):
            if task.questions <= _MOST_QUESTIONS:
                return self._ask_facts(found, sent)
            found = NOT_KNOWN
        ruling = self._rulings.rule(found.operations, task.about(), now)
        if task.operation is not None:
            task.operation.inside = ruling.operations
        self._affects(found)
        if ruling.decision == "deny":
            if task.operation is not None:
                task.operation.denied = True
                task.operation.denied_by = ruling.rule or "default"
            return self._undo(task, refusal(ruling), sent)
        task.stage = _NEXT
        return True

    def _undo(self, task: Task, error: bytes, sent: list[bytes]) -> bool:
        """Undoes what the statement did: the client gets this error instead of its answer's end."""
        request = task.request
        if request is None:
            self._task = None
            return True
        if task.began:
            task.fault = None
            task.ending = error + _READY_IDLE
            task.failed = True
            task.stage = _NEXT
            return True
        self._task = None
        request.held = False
        request.instead = error
        if self._exchange.skipping:
            self._replies.resume(request, error)
            request.instead = None
            self.resumed = True
            return True
        self._exchange.put_back(request)
        sent.append(_FAIL_QUERY if task.kind == QUERY else _FAIL_PARSE)
        return True

    def _conclude(self, task: Task, sent: list[bytes]) -> bool:
        """Hands the client the end of its answer, commits what was begun for it, and takes the next statement."""
        request = task.request
        last = task.failed or task.index + 1 >= len(task.statements)
        if task.began and last:
            if not task.closed:
                task.closed = True
                talk = Talk(self._exchange).query("ROLLBACK" if task.failed else "COMMIT")
                self.tracing = False
                return self._say(talk, talk.alone(), sent)
            if task.fault is not None:
                task.ending = task.fault + _READY_IDLE
            else:
                task.ending = task.ending[:-6] + _READY_IDLE
        if request is not None:
            request.quiet_ready = task.kind == QUERY and not last
            self._replies.resume(request, task.ending)
            self.resumed = True
        if last:
            self._task = None
        else:
            task.next()
        return True

    def _refuse_query(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        """A statement of a Query that must not run: the transaction begun for those before it is undone, too."""
        if task.began and not task.closed:
            task.closed = True
            talk = Talk(self._exchange).query("ROLLBACK")
            return self._say(talk, talk.alone(), sent)
        judged = task.judged
        ruling = self._plain if judged is None or task.fault is not None else judged.ruling
        error = task.fault if task.fault is not None else refusal(ruling)
        self._ledger.ruling = ruling
        operation = self._ledger.begin(out, now, redact(task.statement.text), None)
        self._ledger.ruling = self._plain
        request = Request(QUERY, operation)
        request.begins = True
        request.instead = error
        self._exchange.push(request)
        sent.append(_FAIL_QUERY)
        self._open = False
        self._task = None
        return True


def _no_types() -> tuple[int, ...]:
    return ()


def _shown(task: Task) -> str:
    return task.statement.text if task.statements else ""


def _types(data: bytes, at: i64) -> tuple[int, ...]:
    """The types that a Parse names. What is malformed is left to the requests to refuse."""
    if at + 2 > len(data):
        return ()
    count = u16(data, at)
    if at + 2 + 4 * count != len(data):
        return ()
    return tuple([int(u32(data, at + 2 + 4 * i64(index))) for index in range(count)])
