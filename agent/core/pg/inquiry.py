"""What the guard knows of its session, and the questions that it asks."""

from __future__ import annotations

from typing import Final

from msgspec import structs
from mypy_extensions import i64

from agent.core.commands import Command
from agent.core.pg import messages
from agent.core.pg.cursors import Cursors
from agent.core.pg.errors import fields, is_told
from agent.core.pg.exchange import PARSE, QUERY, Exchange, Operation, Request
from agent.core.pg.ledger import Ledger, Ruling
from agent.core.pg.messages import HEAD, Inbox, message
from agent.core.pg.refusals import commits, concealed, failing, masked_error, refused_commit
from agent.core.pg.replies import Replies
from agent.core.pg.requests import Requests
from agent.core.pg.rulings import LIFETIME, NEVER_ASKED, Judged, Row, Rulings
from agent.core.pg.talk import (
    BACK,
    FLUSH,
    MOST_QUESTIONS,
    SEVERAL,
    TRACE_OFF,
    TRACE_ON,
    TRACED,
    Talk,
    knows_grants,
    padding,
)
from agent.core.pg.task import INSIDE, Task
from agent.core.pg.watch import Watch
from agent.core.policy.masks import Masked
from agent.core.policy.rulebook import Rulebook
from agent.core.sql.catalog import Catalog
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted, together
from agent.core.sql.judgement import NOT_KNOWN, Judgement, TreeWanted, holds_cursor
from agent.core.sql.statements import UTILITY, Statement

_OPENS: Final = (messages.PARSE, messages.BIND, messages.EXECUTE, messages.DESCRIBE, messages.CLOSE)
_ENDS: Final = (messages.SYNC, messages.QUERY, messages.FUNCTION_CALL)
_FETCHES: Final = ("FETCH", "MOVE", "CLOSE CURSOR", "CLOSE")
_ALREADY_BEGUN: Final = "25001"  # active_sql_transaction, a warning of BEGIN
_UNICODE: Final = ("UTF8", "SQL_ASCII")  # as the agent reads, too
_SETTINGS: Final = 7
"""Columns of what SETTINGS asks."""


class Inquiry(Watch):
    """What is known of a session, and how more is found out. `resumed` when the replies have more to read although the
    server sent nothing."""

    def __init__(
        self, rulebook: Rulebook, masked: Masked, catalog: Catalog, ledger: Ledger, requests: Requests, replies: Replies
    ) -> None:
        super().__init__()
        self.resumed = False
        self._ledger = ledger
        self._exchange: Exchange = requests.exchange
        self._requests = requests
        self._replies = replies
        self._rulings = Rulings(rulebook, masked, catalog)
        self._facts = Facts(masked.by_column)
        ledger.search = masked.search
        self._facts_made = 0
        self._plain = Ruling(policy=rulebook.policy.version)
        ledger.ruling = self._plain
        self._inbox = Inbox()
        self._data = b""
        self._at: i64 = 0
        self._passing: i64 = 0
        self._last = False
        self._open = False
        """Messages of the extended protocol were sent since the last Sync: what they do is one transaction yet."""
        self._flushed = False
        self._wrapped = False
        """The pipeline runs in a transaction of ours."""
        self._executed = False
        """One of them was an Execute."""
        self._setting = NEVER_ASKED
        self._settings: Row = ()
        self._quoting = True
        self._unicode = True
        self._dirty = False
        self._altered = False
        self._deferred = False
        """Code ran in this transaction, which may have left more to run at its end."""
        self._ran = False
        """Code ran while a statement was parsed."""
        self._coded = False
        """There may be cursors whose queries run code: whoever fetches from one has it run."""
        self._muted = False
        self._talk: Talk | None = None
        self._missing: Wanted | None = None
        self._shown: list[str] = []
        self._task: Task | None = None
        self._cursors = Cursors()

    def take(self, rulebook: Rulebook, masked: Masked) -> None:
        """Another policy, from the next decision on."""
        self._rulings.take(rulebook, masked)
        self._facts.columns = masked.by_column
        self._ledger.search = masked.search
        self._facts.forget()
        self._plain = Ruling(policy=rulebook.policy.version)
        self._ledger.ruling = self._plain

    def welcomed(self, messages: list[bytes]) -> None:
        """What the server told at the login."""
        for told in messages:
            if told[:1] == b"S":
                name, _, value = told[HEAD:].partition(b"\0")
                self.parameter(name.decode("latin-1"), value[:-1].decode("latin-1"))

    def notice(self, body: bytes) -> bool:
        found = fields(body)
        if found.get("R") == "elog_node_display" and found.get("F") == "print.c":
            head = self._exchange.head()
            task = self._task
            if self._talk is not None and self._talk.shows(head):
                if task is not None and task.inside is not None and not self._talk.tree:
                    task.inside.shown(found.get("D", ""), found.get("W", ""))
                elif found.get("W"):
                    self._ran = True
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
        return not is_told(found.get("V", "NOTICE"), level or "notice")

    def error(self, body: bytes, operation: Operation | None) -> bytes | None:
        """Where columns are masked, what an error quotes of a row is left out, and all of its text where the statement
        reads such a column. Code that may not commit because its transaction is the agent's is told so."""
        task = self._task
        ours = task is not None and task.watched and (task.began or self._wrapped)
        if task is not None and ours and commits(body) and task.may_commit(self._quoting):
            rule = self._rulings.guardian
            if task.operation is not None:
                task.operation.denied = True
                task.operation.denied_by = rule or "default"
            return refused_commit(rule)
        masked = self._rulings.masked
        if masked.empty:
            return None
        secret = masked.by_column and operation is not None and (operation.secret or self._may_tell(operation))
        return masked_error(body) if secret else concealed(body, masked, self._ledger.key)

    def told(self, tag: int, body: bytes) -> bytes | None:
        search, key = self._rulings.masked.search, self._ledger.key
        if search is None:
            return None
        if tag == messages.NOTICE:
            told = search.report(key, body)
        else:
            told = search.told(key, body, 4 if tag == messages.NOTIFICATION else 0)
        return None if told is body else message(tag, told)

    def _may_tell(self, operation: Operation) -> bool:
        """Whether code that this operation runs may have read a masked column by now."""
        task = self._task
        if task is None or task.operation is not operation or task.inside is None:
            return operation.watched
        return self._rulings.reads_masked(task.inside.step())

    def _fault(self, task: Task, body: bytes) -> bytes:
        """What the client gets of an error that the server answered to the agent's own question."""
        masked, operation, inside = self._rulings.masked, task.operation, task.inside
        if masked.by_column and inside is not None and self._rulings.reads_masked(inside.step()):
            return masked_error(body)
        if operation is not None and operation.secret:
            return masked_error(body)
        return concealed(body, masked, self._ledger.key) or message(messages.ERROR, body)

    def heard(self, request: Request, tag: int, body: bytes) -> None:
        if self._talk is not None:
            self._talk.heard(request, tag, body)

    def passed_over(self, request: Request) -> None:
        if self._talk is not None:
            self._talk.passed_over()

    def executed(self, request: Request, ending: bytes) -> None:
        withheld = self._replies.withheld()
        if self._task is not None:
            self._task.withheld = withheld
            self._task.ending = ending
            self._task.stage = INSIDE

    def parameter(self, name: str, value: str) -> None:
        if name == "standard_conforming_strings":
            self._reads(value == "on", self._unicode)
        elif name == "client_encoding":
            self._reads(self._quoting, value in _UNICODE)
        elif name == "server_version":
            self._exchange.grants = knows_grants(value)

    def _told(self, talk: Talk, sent: list[bytes], out: list[Command], now: int) -> None:
        """A question was answered."""
        task = self._task
        rows = talk.rows
        if self.tracing and talk.untraces:
            self.tracing = False
        if task is None:
            return
        if self._ran:
            self._ran, task.coded = False, True
        if talk.scans:
            if talk.error is not None and fields(talk.error).get("R") != SEVERAL:
                task.fault = self._fault(task, talk.error)
            return
        if talk.error is not None:
            task.fault = self._fault(task, talk.error)
            if self._exchange.skipping:
                self._open = True
            return
        if talk.checks and task.inside is not None and TRACED not in rows:
            task.inside.untraced()
        if talk.settings and rows and len(rows[0]) >= _SETTINGS:
            self._learn(rows.pop(0)[:_SETTINGS])
        missing, self._missing = self._missing, None
        if missing is not None:
            try:
                self._facts.learn(rows, missing)
            except ValueError:
                pass  # it stays missing, and what rests on it isn't known
        elif talk.tree and task.inside is not None:
            task.inside.tree(self._shown)
        elif talk.tree and task.judgement is not None:
            task.row = talk.row
            task.judgement.tree(self._shown)

    def _learn(self, settings: Row) -> None:
        if settings != self._settings:
            self._facts.forget()
        self._settings = settings
        self._setting = self._rulings.setting(settings)
        self._reads(settings[3] == "on", settings[4] in _UNICODE)

    def _reads(self, quoting: bool, unicode: bool) -> None:
        """How the server reads what the client sends."""
        if quoting != self._quoting or unicode != self._unicode:
            self._rulings.read_otherwise()
        self._quoting = quoting
        self._unicode = unicode

    def _say(self, talk: Talk, data: bytes, sent: list[bytes]) -> bool:
        self._talk = talk
        sent.append(data)
        return True

    def _drained(self, sent: list[bytes]) -> bool:
        """Whether everything that was asked is answered: only then is known where the session stands."""
        if self._exchange.head() is None:  # not len: a CopyDone that ended no COPY is never answered
            return True
        if self._open and not self._flushed:
            self._flushed = True
            sent.append(FLUSH)
        return False

    def _aborted(self) -> bool:
        """The transaction failed, and nothing was asked since that could end it: the server does nothing else."""
        return self._replies.status == messages.FAILED and not self._executed and not self._exchange.awaits_ready()

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

    def _ends(self, statement: Statement) -> None:
        """A statement of transaction control: what it may undo isn't known any more."""
        if statement.tag in ("BEGIN", "START TRANSACTION", "SAVEPOINT", "RELEASE"):
            return
        if self._dirty:
            self._setting = NEVER_ASKED
        if self._altered:
            self._forget()

    def _kept(self, statement: Statement, types: tuple[int, ...], now: int) -> Judged | None:
        self._refresh(now)
        return self._rulings.kept(statement, types, self._setting, now)

    def _recalled(self, raw: bytes, types: tuple[int, ...], now: int) -> Judged | None:
        self._refresh(now)
        return self._rulings.recalled(raw, types, self._setting, now)

    def _refresh(self, now: int) -> None:
        """What others may have changed since isn't known any more."""
        if self._rulings.stale() or now - self._facts_made >= LIFETIME:
            self._facts.forget()
            self._facts_made = now

    def _ask(self, task: Task, sent: list[bytes], now: int) -> bool:
        if task.judgement is None:
            task.judgement = Judgement(task.statement, self._facts, self._quoting)
        need = task.judgement.step()
        task.questions += 1
        if task.questions > MOST_QUESTIONS:
            need = NOT_KNOWN
        if isinstance(need, Found):
            need = self._weighed(need, task.statement)
            if task.coded:
                alone = task.kind == QUERY and not self._open and self._replies.status == messages.IDLE
                need = together(need, Found(opaque=True) if alone else NOT_KNOWN)
            need = self._cursors.followed(need, task.statement.tag, self._exchange.veiled())
            task.judged = self._rulings.judge(need, task.statement, now, task.row)
            if self._setting != NEVER_ASKED and not need.cursor:
                self._rulings.keep(task.statement, task.types, self._setting, task.judged)
            return True
        if isinstance(need, Wanted):
            return self._ask_facts(need, sent)
        saves = task.kind == PARSE and task.statement.kind == UTILITY  # the server itself wouldn't look at it yet
        return self._ask_tree(need, task.types, sent, saves)

    def _weighed(self, found: Found, statement: Statement) -> Found:
        """What this session's state adds: cursors whose queries run code, triggers that were put off."""
        opaque = found.opaque
        if statement.tag == "DECLARE CURSOR" and opaque:
            if holds_cursor(statement):
                return together(found, NOT_KNOWN)
            self._coded = True
            self._rulings.forget()
        if statement.tag in _FETCHES:
            opaque = opaque or self._coded
        if statement.tag == "SET CONSTRAINTS":
            opaque = True
        return found if opaque == found.opaque else structs.replace(found, opaque=opaque)

    def _ask_tree(self, need: TreeWanted, types: tuple[int, ...], sent: list[bytes], saves: bool = False) -> bool:
        """`saves`: an error must not abort the client's transaction."""
        lasting = self._open or self._replies.status != messages.IDLE
        saves = saves and lasting and not self._open and self._replies.status != messages.FAILED
        talk = Talk(self._exchange)
        if saves:
            talk.save()
        elif not lasting:
            talk.query("BEGIN")  # what parsing runs, and a constant may have code run, is undone
        talk.ask(TRACE_ON)
        talk.settings = talk.tree = talk.untraces = True
        talk.parse(padding(need.before) + need.statement.encode(), list(types), not self._rulings.masked.empty)
        self.tracing = True
        self._shown = []
        if saves:
            return self._say(talk, talk.sync().query(BACK).alone(), sent)
        if lasting:
            return self._say(talk, talk.ask(TRACE_OFF).end(self._open), sent)
        return self._say(talk, talk.sync().query("ROLLBACK").alone(), sent)

    def _ask_facts(self, wanted: Wanted, sent: list[bytes]) -> bool:
        self._missing = self._facts.missing(wanted) or wanted
        talk = Talk(self._exchange).ask(self._facts.question(self._missing))
        return self._say(talk, talk.end(self._open), sent)

    def _pass(self, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        """Hands the requests what may leave."""
        if data:
            self._requests.add(data)
            if data[0] in _OPENS:
                self._open, self._flushed = True, False
                self._executed = self._executed or data[0] == messages.EXECUTE
            elif data[0] in _ENDS:
                self._open = self._executed = False
        self._leave(sent, out, now)

    def _pass_on(self, piece: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        """The same of a further piece of a message: it begins with no tag."""
        self._requests.add(piece)
        self._leave(sent, out, now)

    def _leave(self, sent: list[bytes], out: list[Command], now: int) -> None:
        leaves = self._requests.read(out, now)
        if leaves:
            sent.append(leaves)

    def _allow(self, judged: Judged, data: bytes, sent: list[bytes], out: list[Command], now: int) -> None:
        self._ledger.ruling = judged.ruling
        self._pass(data, sent, out, now)
        self._ledger.ruling = self._plain
        self._affects(judged.found)

    def _refuse(self, ruling: Ruling, error: bytes, data: bytes, out: list[Command], now: int) -> bytes:
        """The requests take the message as asked, the server gets what fails in its place."""
        self._ledger.ruling = ruling
        self._requests.add(data)
        self._requests.read(out, now)
        self._ledger.ruling = self._plain
        request = self._exchange.tail()
        if request is not None:
            request.instead = error
        self._open = data[0] in _OPENS
        return failing(data)
