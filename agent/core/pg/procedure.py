"""What becomes of a statement that has to be decided: asked about, refused, run, watched, undone."""

from __future__ import annotations

from typing import Final

from agent.core.commands import Command
from agent.core.pg.errors import error_response
from agent.core.pg.exchange import BIND, PARSE, QUERY, SYNC, Request
from agent.core.pg.inquiry import Inquiry
from agent.core.pg.messages import HEAD, message, string_end, text
from agent.core.pg.requests import FAILS
from agent.core.pg.rulings import NEVER_ASKED, Judged, refusal
from agent.core.pg.talk import SETTINGS, TRACE_CHECK, TRACE_OFF, TRACE_ON, Talk
from agent.core.pg.task import BEGIN, DECIDE, DEFERRED, END, INSIDE, LEARN, NEXT, REFUSE, RUN, RUNNING, Task
from agent.core.sql.found import Found, Wanted
from agent.core.sql.judgement import NOT_KNOWN, Inside, TreeWanted
from agent.core.sql.reading import only_reads
from agent.core.sql.secrets import redact
from agent.core.sql.statements import TRANSACTION, Statement

_Q: Final = 0x51
_P: Final = 0x50
_S: Final = 0x53
_H: Final = 0x48
_X: Final = 0x58
_d: Final = 0x64
_c: Final = 0x63
_f: Final = 0x66
_COPY: Final = (_d, _c, _f)
_FLUSH: Final = message(_H, b"")
_FAIL_QUERY: Final = message(_Q, text(FAILS))
_FAIL_PARSE: Final = message(_P, b"_hoop_refused\0" + text(FAILS) + b"\0\0")
_IDLE: Final = 0x49
_MOST_QUESTIONS: Final = 24
"""Questions that may be asked about one statement; one that takes more is not understood."""
_MOST_PADDING: Final = 65_536
"""Characters that are put before a statement of several, so that the position in an error is that in the message."""
_COMMITTING: Final = ("DO", "CALL")
"""What may commit by itself, where no transaction is open."""
_COMMITS: Final = ("COMMIT", "END", "PREPARE TRANSACTION")
_READY_IDLE: Final = message(0x5A, b"I")


class Procedure(Inquiry):
    """What becomes of a message, stage by stage."""

    def _forward(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        """Takes a message anew, now that the settings are known."""
        raise NotImplementedError

    def _next(self, sent: list[bytes], out: list[Command], now: int) -> bytes:
        """The client's next message."""
        raise NotImplementedError

    def _more(self) -> bool:
        """Whether the client sent more than what was taken."""
        raise NotImplementedError

    def _return(self, data: bytes) -> None:
        """Puts a message back that was the next."""
        raise NotImplementedError

    def _proceed(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        if task.stage == RUNNING:
            return self._copy(sent, out, now)
        if not self._drained(sent):
            return False
        if task.stage == END:
            return self._end_pipeline(task, sent)
        if self._exchange.skipping and task.fault is None and task.request is None:
            self._task = None
            self._pass(task.data, sent, out, now)  # an error came before it: the server passes over it
            return True
        if task.stage == LEARN:
            return self._settle(task, sent, out, now)
        if task.stage == DECIDE:
            return self._decide(task, sent, out, now)
        if task.stage == DEFERRED:
            return self._run_deferred(task, sent, now)
        if task.stage == BEGIN:
            return self._begin(task, sent)
        if task.stage == RUN:
            return self._run(task, sent, out, now)
        if task.stage == INSIDE:
            return self._inside(task, sent, now)
        if task.stage == REFUSE:
            return self._refuse_query(task, sent, out, now)
        return self._conclude(task, sent)

    def _settle(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        if task.questions > _MOST_QUESTIONS:
            task.fault = error_response("XX000", "hoopctl: the server does not tell its settings")
        if self._setting == NEVER_ASKED and task.fault is None and not self._aborted():
            task.questions += 1
            talk = Talk(self._exchange).ask(SETTINGS)
            talk.settings = True
            return self._say(talk, talk.end(self._open), sent)
        self._task = None
        if task.fault is not None:
            self._drop(task, sent, out, now)
            return True
        self._forward(task.data, sent, out, now)
        return True

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
                task.stage = REFUSE
            else:
                self._task = None
                self._drop(task, sent, out, now)
            return True
        if self._replies.status == _IDLE and not self._open:
            self._deferred = False
        if self._deferred and statement.tag in _COMMITS and not self._aborted() and task.judged is None:
            task.stage = DEFERRED
            return True
        if task.judged is None:
            if statement.kind == TRANSACTION or self._aborted():
                task.judged = Judged(Found(), self._plain, now)
                if statement.kind == TRANSACTION:
                    self._ends(statement)
            else:
                task.judged = self._kept(statement, task.types, now)
        several = task.kind == QUERY and len(task.statements) > 1
        if several and not task.scanned and self._replies.status == _IDLE and not self._open:
            task.scanned = True
            talk = Talk(self._exchange).parse(task.data[HEAD : string_end(task.data, HEAD)], [])
            talk.scans = True  # a mistake in any of them has none of them run
            return self._say(talk, talk.end(False), sent)
        if task.judged is None:
            return self._ask(task, sent, now)
        judged = task.judged
        if task.kind == PARSE and task.coded and judged.denied:
            self._task = None
            sent.append(self._refuse(judged.ruling, judged.refusal(), task.data, _FAIL_PARSE, out, now))
        elif task.kind == PARSE:
            self._task = None
            begin = string_end(task.data, HEAD) + 1
            self._prepare(task.data, task.statements, task.data[begin : string_end(task.data, begin)], sent, out, now)
        elif task.kind == BIND:
            self._task = None
            if judged.denied:
                sent.append(self._refuse(judged.ruling, judged.refusal(), task.data, _FAIL_PARSE, out, now))
            elif judged.found.opaque:
                task.stage = BEGIN  # it may be planned by running code
                task.watched = True
                self._task = task
            else:
                self._allow(judged, task.data, sent, out, now)
        elif judged.denied:
            task.stage = REFUSE
        elif len(task.statements) == 1 and not judged.found.opaque:
            self._task = None
            self._allow(judged, task.data, sent, out, now)
        else:
            task.stage = BEGIN
        return True

    def _run_deferred(self, task: Task, sent: list[bytes], now: int) -> bool:
        """Before a commit: what constraints and triggers have put off to it runs now, and is judged."""
        if task.fault is not None:
            task.stage = DECIDE
            return True
        if task.inside is None:
            task.inside = Inside(self._facts, self._quoting)
            talk = Talk(self._exchange).ask("DISCARD PLANS").ask(TRACE_ON)
            talk.ask("SET CONSTRAINTS ALL IMMEDIATE", shown=True).ask(TRACE_CHECK).ask(TRACE_OFF)
            talk.checks = talk.untraces = True
            self.tracing = True
            return self._say(talk, talk.end(self._open), sent)
        found = task.inside.step()
        task.questions += 1
        if task.questions > _MOST_QUESTIONS:
            found = NOT_KNOWN
        if isinstance(found, Wanted):
            return self._ask_facts(found, sent)
        if isinstance(found, TreeWanted):
            return self._ask_tree(found, (), sent)
        task.inside = None
        self._deferred = False
        judged = self._rulings.judge(found, task.statement, now)
        task.stage = DECIDE
        if judged.denied:
            task.judged = judged
        return True

    def _begin(self, task: Task, sent: list[bytes]) -> bool:
        """What comes before a statement of several, or one that is watched: a transaction of ours, the trace."""
        if task.fault is not None:
            task.stage = REFUSE
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
        elif not self._wrapped and self._replies.status == _IDLE and task.about().tag in _COMMITTING:
            self._wrapped = True  # in a transaction of ours it can't commit before it is judged
            talk = Talk(self._exchange).ask("BEGIN")
            return self._say(talk, talk.end(self._open), sent)
        task.stage = RUN
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
        if task.kind != QUERY:
            judged = task.judged
            if judged is None:
                self._pass(task.data, sent, out, now)
            else:
                self._allow(judged, task.data, sent, out, now)
            sent.append(_FLUSH)
            request = self._exchange.tail()
            task.operation = None if request is None else request.operation
            if task.kind == BIND and task.operation is not None:
                task.operation.watched = True
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
        task.stage = RUNNING
        if request is not None:
            request.held = True
        task.request = request
        task.checked = False
        return False

    def _inside(self, task: Task, sent: list[bytes], now: int) -> bool:
        """The statement is over, but not yet for the client: was what it did allowed?"""
        task.failed = task.ending[:1] not in (b"2", b"C", b"I", b"s")
        self._muted = False
        if not task.watched or task.inside is None or task.failed:
            task.stage = NEXT
            return True
        if task.fault is not None:
            return self._undo(task, task.fault, sent)
        if not task.checked:
            task.checked = True
            if task.began or (self._open and self._replies.status == _IDLE):
                talk = Talk(self._exchange).ask("SET CONSTRAINTS ALL IMMEDIATE", shown=True).ask(TRACE_CHECK)
                talk.checks = True
                return self._say(talk, talk.end(self._open), sent)
            self._deferred = self._coded = True
        last = task.index + 1 >= len(task.statements)
        if self.tracing and not (task.began and last):
            talk = Talk(self._exchange).ask(TRACE_CHECK).ask(TRACE_OFF)
            talk.checks = talk.untraces = True
            return self._say(talk, talk.end(self._open), sent)
        found = task.inside.step()
        task.questions += 1
        if task.questions > _MOST_QUESTIONS:
            found = NOT_KNOWN
        if isinstance(found, Wanted):
            return self._ask_facts(found, sent)
        if isinstance(found, TreeWanted):
            return self._ask_tree(found, (), sent)
        ruling = self._rulings.rule(found, task.about(), now)
        if task.operation is not None:
            known = task.operation.known
            task.operation.inside = tuple([one for one in ruling.operations if one not in known])
        self._affects(found)
        if ruling.decision == "deny":
            if task.operation is not None:
                task.operation.denied = True
                task.operation.denied_by = ruling.rule or "default"
            return self._undo(task, refusal(ruling), sent)
        task.stage = NEXT
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
            task.stage = NEXT
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

    def _end_pipeline(self, task: Task, sent: list[bytes]) -> bool:
        """The client's Sync, where the pipeline runs in a transaction of ours: that ends with it."""
        if not task.closed:
            task.closed = True
            talk = Talk(self._exchange).sync().query("COMMIT")
            talk.untraces = True
            return self._say(talk, talk.alone(), sent)
        self._wrapped = self._open = self._executed = False
        self._task = None
        self._replies.resume(Request(SYNC), (task.fault or b"") + _READY_IDLE)
        self.resumed = True
        return True

    def _conclude(self, task: Task, sent: list[bytes]) -> bool:
        """Hands the client the end of its answer, commits what was begun for it, and takes the next statement."""
        request = task.request
        if task.failed and task.kind != QUERY:
            self._task = None  # its error has ended it
            return True
        last = task.failed or task.index + 1 >= len(task.statements)
        if task.began and last:
            if not task.closed:
                task.closed = True
                talk = Talk(self._exchange).query("ROLLBACK" if task.failed else "COMMIT")
                talk.untraces = True
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
            talk.untraces = True
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

    def _copy(self, sent: list[bytes], out: list[Command], now: int) -> bool:
        """While a statement runs, the client may owe it COPY data."""
        if not self._exchange.copying_in:
            return False
        data = self._next(sent, out, now)
        if not data:
            return self._more()
        if data[0] in _COPY or data[0] in (_S, _H, _X):
            self._pass(data, sent, out, now)
            return True
        self._return(data)
        return False

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


def _shown(task: Task) -> str:
    return task.statement.text if task.statements else ""
