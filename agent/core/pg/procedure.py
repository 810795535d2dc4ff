"""What becomes of a message that has to be decided: asked about, refused, let through, tried (agent.core.pg.trial)."""

from __future__ import annotations

from typing import Final

from agent.core.commands import Command
from agent.core.pg import messages
from agent.core.pg.errors import error_response
from agent.core.pg.exchange import FUNCTION, PARSE, QUERY, Request
from agent.core.pg.messages import HEAD, string_end
from agent.core.pg.refusals import FAIL_QUERY, refusal
from agent.core.pg.rulings import NEVER_ASKED, Judged
from agent.core.pg.talk import MOST_QUESTIONS, SETTINGS, Talk
from agent.core.pg.task import BEGIN, DECIDE, DEFERRED, END, INSIDE, LEARN, REFUSE, RUN, RUNNING, Task
from agent.core.pg.trial import Trial
from agent.core.sql.found import Found
from agent.core.sql.judgement import NOT_KNOWN
from agent.core.sql.secrets import redact
from agent.core.sql.statements import TRANSACTION, UTILITY

_COMMITS: Final = ("COMMIT", "END", "PREPARE TRANSACTION")


class Procedure(Trial):
    """What becomes of a message, stage by stage."""

    def _forward(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        """Takes a message anew, now that the settings are known."""
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
        if task.fault is not None and (task.stage == BEGIN or task.stage == RUN):
            return self._refused(task, sent, out, now)
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
        if task.questions > MOST_QUESTIONS:
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

    def _refused(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        """The server refused what it was asked before the message ran."""
        if task.alone:
            task.stage = REFUSE
        else:
            self._task = None
            self._drop(task, sent, out, now)
        return True

    def _drop(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> None:
        """A message whose statement the server has refused when it was asked about it: the client gets that error."""
        fault = task.fault or b""
        if self._exchange.skipping:  # the error ended the pipeline already
            operation = self._ledger.begin(out, now, redact(_shown(task)), None)
            self._replies.tell(fault, operation, out, now)
            self.resumed = True
            return
        sent.append(self._refuse(self._plain, fault, task.data, out, now))

    def _deny(self, task: Task, judged: Judged, sent: list[bytes], out: list[Command], now: int) -> None:
        self._task = None
        sent.append(self._refuse(judged.ruling, judged.refusal(), task.data, out, now))

    def _decide(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        """Finds out about the statement whose turn it is; then says what is done with it."""
        statement = task.statement
        if task.fault is not None:
            if task.kind == PARSE and statement.kind == UTILITY and self._replies.status != messages.FAILED:
                self._task = None
                self._prepared(task, sent, out, now)  # the server looks at it only when it runs
                return True
            return self._refused(task, sent, out, now)
        if self._replies.status == messages.IDLE and not self._open:
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
        if several and not task.scanned:
            return self._ask_whole(task, sent)
        if task.judged is None:
            return self._ask(task, sent, now)
        if task.kind == QUERY:
            self._decided(task, task.judged, sent, out, now)
        else:
            self._decided_otherwise(task, task.judged, sent, out, now)
        return True

    def _decided(self, task: Task, judged: Judged, sent: list[bytes], out: list[Command], now: int) -> None:
        """A statement of a Query."""
        if judged.denied:
            task.stage = REFUSE
        elif len(task.statements) == 1 and not self._wrapped and not self._tries(task, judged):
            self._task = None
            self._allow(judged, task.data, sent, out, now)
        else:
            task.stage = BEGIN

    def _decided_otherwise(self, task: Task, judged: Judged, sent: list[bytes], out: list[Command], now: int) -> None:
        """A Parse, whose statement is decided again when it is bound; a Bind; a FunctionCall."""
        if judged.denied and (task.kind != PARSE or task.coded):
            self._deny(task, judged, sent, out, now)
        elif task.kind == PARSE:
            self._task = None
            self._prepared(task, sent, out, now)
        elif self._tries(task, judged) or (task.kind == FUNCTION and self._wrapped):
            task.stage = BEGIN  # a Bind may be planned by running code
            task.watched = judged.found.opaque
        else:
            self._task = None
            self._allow(judged, task.data, sent, out, now)

    def _tries(self, task: Task, judged: Judged) -> bool:
        """Whether it runs code that has to be watched. Where all is allowed whatever it does, code that may commit by
        itself has to be left alone: in a transaction of the agent's it couldn't."""
        if not judged.found.opaque:
            return False
        if self._rulings.permissive and self._commits(task):
            self._affects(NOT_KNOWN)
            return False
        return True

    def _refuse_query(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> bool:
        """A statement that must not run: the transaction begun for it and those before it is undone, too."""
        self._take_over(task)
        if self._exchange.skipping:  # a question has failed in the client's pipeline, which this message ends
            talk = Talk(self._exchange).sync()
            self._open = self._executed = False
            return self._say(talk, talk.alone(), sent)
        if task.began and not task.closed:
            task.closed = True
            talk = Talk(self._exchange).query("ROLLBACK")
            talk.untraces = True
            return self._say(talk, talk.alone(), sent)
        judged = task.judged
        ruling = self._plain if judged is None or task.fault is not None else judged.ruling
        error = task.fault if task.fault is not None else refusal(ruling)
        self._task = None
        if task.kind == FUNCTION:
            sent.append(self._refuse(ruling, error, task.data, out, now))
            return True
        self._ledger.ruling = ruling
        operation = self._ledger.begin(out, now, redact(task.statement.text), None)
        self._ledger.ruling = self._plain
        request = Request(QUERY, operation)
        request.begins = True
        request.instead = error
        self._exchange.push(request)
        sent.append(FAIL_QUERY)
        self._open = self._executed = False
        return True

    def _prepared(self, task: Task, sent: list[bytes], out: list[Command], now: int) -> None:
        """A Parse goes on as it came."""
        begin = string_end(task.data, HEAD) + 1
        self._prepare(task.data, task.data[begin : string_end(task.data, begin)], sent, out, now)

    def _prepare(self, data: bytes, raw: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        self._pass(data, sent, out, now)
        request = self._exchange.tail()
        if request is not None and request.kind == PARSE and request.made_statement is not None:
            request.made_statement.raw = raw


def _shown(task: Task) -> str:
    return task.statement.text if task.statements else ""
