"""Running a statement that may do more than is known of it: watched while it runs, judged before it counts, undone."""

from __future__ import annotations

from typing import Final

from agent.core.commands import Command
from agent.core.pg import messages
from agent.core.pg.exchange import BIND, QUERY, SYNC, Request
from agent.core.pg.inquiry import Inquiry
from agent.core.pg.messages import HEAD, message, string_end, text
from agent.core.pg.refusals import FAIL_PARSE, FAIL_QUERY, refusal, too_much
from agent.core.pg.rulings import Judged
from agent.core.pg.talk import BACK, FLUSH, MOST_QUESTIONS, TRACE_CHECK, TRACE_OFF, TRACE_ON, Talk, padding
from agent.core.pg.task import DECIDE, NEXT, RUN, RUNNING, Task
from agent.core.sql.found import Found, Wanted
from agent.core.sql.judgement import NOT_KNOWN, Inside, TreeWanted
from agent.core.sql.reading import only_reads
from agent.core.sql.secrets import redact
from agent.core.sql.statements import TRANSACTION

_WITHIN_COPY: Final = (
    messages.COPY_DATA,
    messages.COPY_DONE,
    messages.COPY_FAIL,
    messages.SYNC,
    messages.FLUSH,
    messages.TERMINATE,
)
_DONE: Final = (b"2", b"C", b"I", b"s", b"V")
"""What ends an answer that is no error."""
_READY_IDLE: Final = message(messages.READY, b"I")


class Trial(Inquiry):
    """What becomes of a statement from the moment it may run."""

    def _next(self, sent: list[bytes], out: list[Command], now: int) -> bytes:
        """The client's next message."""
        raise NotImplementedError

    def _more(self) -> bool:
        """Whether the client sent more than what was taken."""
        raise NotImplementedError

    def _return(self, data: bytes) -> None:
        """Puts a message back that was the next."""
        raise NotImplementedError

    def _commits(self, task: Task) -> bool:
        """Whether it may commit by itself."""
        return self._replies.status == messages.IDLE and task.may_commit(self._quoting)

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
        found = self._seen(task, task.inside, sent)
        if found is None:
            return True
        known = task.inside.known
        task.inside = None
        self._deferred = False
        judged = Judged(found, self._rulings.rule_inside(found, known, task.statement, now), now)
        task.stage = DECIDE
        if judged.denied:
            task.judged = judged
        return True

    def _begin(self, task: Task, sent: list[bytes]) -> bool:
        """What comes before a statement of several, or one that is watched: a transaction of ours, the trace."""
        if task.alone:
            statement = task.about()
            task.watched = task.judged is not None and task.judged.found.opaque
            control = statement.kind == TRANSACTION
            self._take_over(task)
            if control and task.began:
                task.began = False  # from here on it is the client's
                self._muted = True
            if not control and not task.began and self._replies.status == messages.IDLE:
                task.began = True
                talk = Talk(self._exchange)
                if self._open:  # what the pipeline did before is in it
                    return self._say(talk, talk.ask("BEGIN").end(True), sent)
                return self._say(talk, talk.query("BEGIN").alone(), sent)
        elif task.began:
            task.began, self._wrapped = False, True
        elif not self._wrapped and self._commits(task):
            task.began = True  # in a transaction of ours it can't commit before it is judged
            talk = Talk(self._exchange).ask("BEGIN")
            return self._say(talk, talk.end(self._open), sent)
        task.stage = RUN
        if task.watched:
            talk = Talk(self._exchange).ask("DISCARD PLANS").ask(TRACE_ON)
            self.tracing = True
            if not task.alone:
                self._open = self._flushed = True  # what is set holds up to the client's Sync: none may come before
            return self._say(talk, talk.end(self._open), sent)
        return True

    def _take_over(self, task: Task) -> None:
        """A transaction of ours that a pipeline runs in ends with this message."""
        if self._wrapped:
            self._wrapped, task.began = False, True

    def _ask_whole(self, task: Task, sent: list[bytes]) -> bool:
        """Whether the server can read a message of several statements: a mistake in any of them has none of them run.
        What it answers is an error either way."""
        task.scanned = True
        talk = Talk(self._exchange)
        talk.scans = True
        raw = task.data[HEAD : string_end(task.data, HEAD)]
        status = self._replies.status
        if status == messages.IDLE and self._open:  # what the pipeline did before goes the way of this message
            self._take_over(task)
            if not task.began:
                talk.ask("BEGIN")
            task.began = True
            self._open = self._executed = False
        elif status == messages.IDLE or status == messages.FAILED:
            return self._say(talk, talk.parse(raw, []).end(False), sent)
        return self._say(talk, talk.save().parse(raw, []).sync().query(BACK).alone(), sent)

    def _run(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        if task.kind == QUERY:
            self._send_statement(task, sent, out, now)
        else:
            self._send_message(task, sent, out, now)
        request = self._exchange.tail()
        task.inside = Inside(self._facts, self._quoting) if task.watched else None
        task.stage = RUNNING
        if request is not None:
            request.held = True
            request.withheld = task.watched and self._rulings.masked.by_column
        task.request = request
        task.checked = False
        return False

    def _send_message(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> None:
        """The client's own message, and what has the server answer it now."""
        if task.judged is None:
            self._pass(task.data, sent, out, now)
        else:
            self._allow(task.judged, task.data, sent, out, now)
        if not task.alone:
            sent.append(FLUSH)
        request = self._exchange.tail()
        task.operation = None if request is None else request.operation
        if task.kind == BIND and task.operation is not None:
            task.operation.watched = True

    def _send_statement(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> None:
        """One statement of a Query, as a Query."""
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
        sent.append(message(messages.QUERY, padding(statement.start) + text(statement.text)))
        self._open = self._executed = False

    def _seen(self, task: Task, inside: Inside, sent: list[bytes]) -> Found | None:
        """All that was done inside; None when something had to be asked for that."""
        found = inside.step()
        task.questions += 1
        if task.questions > MOST_QUESTIONS:
            return NOT_KNOWN
        if isinstance(found, Wanted):
            self._ask_facts(found, sent)
            return None
        if isinstance(found, TreeWanted):
            self._ask_tree(found, (), sent)
            return None
        return found

    def _inside(self, task: Task, sent: list[bytes], now: int) -> bool:
        """The statement is over, but not yet for the client: was what it did allowed?"""
        task.failed = task.ending[:1] not in _DONE
        self._muted = False
        if not task.watched or task.inside is None or task.failed:
            task.stage = NEXT
            return True
        if task.fault is not None:
            return self._undo(task, task.fault, sent)
        if task.withheld is None:
            return self._undo(task, too_much(), sent)
        if not task.checked:
            task.checked = True
            if task.began or (self._open and self._replies.status == messages.IDLE):
                talk = Talk(self._exchange).ask("SET CONSTRAINTS ALL IMMEDIATE", shown=True).ask(TRACE_CHECK)
                talk.checks = True
                return self._say(talk, talk.end(self._open), sent)
            self._deferred = self._coded = True
        if self.tracing and not (task.began and task.last):
            talk = Talk(self._exchange).ask(TRACE_CHECK).ask(TRACE_OFF)
            talk.checks = talk.untraces = True
            return self._say(talk, talk.end(self._open), sent)
        found = self._seen(task, task.inside, sent)
        if found is None:
            return True
        ruling = self._rulings.rule_inside(found, task.inside.known, task.about(), now)
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
        sent.append(FAIL_QUERY if task.alone else FAIL_PARSE)
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
        if task.failed and not task.alone:
            self._task = None  # its error has ended it
            return True
        last = task.failed or task.last
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
            self._replies.resume(request, task.ending if task.failed else (task.withheld or b"") + task.ending)
            self.resumed = True
        if last:
            self._task = None
        else:
            task.next()
        return True

    def _copy(self, sent: list[bytes], out: list[Command], now: int) -> bool:
        """While a statement runs, the client may owe it COPY data."""
        if not self._exchange.copying_in:
            return False
        data = self._next(sent, out, now)
        if not data:
            return self._more()
        if data[0] in _WITHIN_COPY:
            self._pass(data, sent, out, now)
            return True
        self._return(data)
        return False
