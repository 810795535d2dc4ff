"""What a text of statements would do, asked of the database that would run it. Nothing of it is executed.

    begin() -> bytes for the server
    received(bytes of the server) -> further bytes for it, until `explanation` is there

It speaks once the agent is logged in, in a connection of the agent's own, and asks what a guarded session asks
(agent.core.pg.inquiry): each statement's tree, taken at Parse in a read-only transaction that is rolled back, and the
catalog. What only a session knows, its prepared statements, cursors and the effects of what ran before, isn't there.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from agent.core.limits import MAX_SERVER_MESSAGE
from agent.core.pg.errors import fields
from agent.core.pg.exchange import COMPLETES, QUERY, REPLIES, SYNC, Exchange
from agent.core.pg.messages import (
    ERROR,
    HEAD,
    NOTICE,
    NOTIFICATION,
    PARAMETER_STATUS,
    Inbox,
    ProtocolError,
    u32,
)
from agent.core.pg.talk import MOST_PADDING, MOST_QUESTIONS, SETTINGS, SEVERAL, TRACE_ON, Talk, knows_grants, padding
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted, together
from agent.core.sql.judgement import NOT_KNOWN, Judgement, TreeWanted, holds_cursor
from agent.core.sql.naming import literal
from agent.core.sql.statements import EMPTY, TRANSACTION, UTILITY, Statement, Unreadable, split
from schemas.explanation import Explained, Explanation, ServerError

_FETCHES: Final = ("FETCH", "MOVE", "CLOSE CURSOR", "CLOSE")

_PREPARED: Final = "it runs a prepared statement, and only its own session knows which"
_CURSOR: Final = "it goes on with a cursor, whose query only its own session knows"
_UNREADABLE: Final = "it can't be read the way that the server reads it"
_TOO_MANY: Final = "it takes more questions than are asked"
_PARSING: Final = "reading it already runs code"


class Interrogation:
    """Finds out about one text. `search_path` is put in force first; without one it is what the role has.
    `columns`: whether it matters which columns a statement lets out."""

    def __init__(self, text: str, search_path: str | None = None, columns: bool = False) -> None:
        self.explanation: Explanation | None = None
        """What was found, when all of it is."""
        self._text = text
        self._search_path = search_path
        self._exchange = Exchange()
        self._inbox = Inbox()
        self._facts = Facts(columns)
        self._quoting = True
        self._unicode = True
        self._role = ""
        self._path = ""
        self._talk: Talk | None = None
        self._missing: Wanted | None = None
        self._tree: TreeWanted | None = None
        self._shown: list[str] = []
        self._ran = False
        self._statements: list[Statement] = []
        self._readable = True
        self._judgement: Judgement | None = None
        self._questions = 0
        self._found: list[Explained] = []
        self._unsettled = False

    def parameter(self, name: str, value: str) -> None:
        """A setting that the server reports, at the login or later."""
        if name == "standard_conforming_strings":
            self._quoting = value == "on"
        elif name == "client_encoding":
            self._unicode = value in ("UTF8", "SQL_ASCII")
        elif name == "server_version":
            self._exchange.grants = knows_grants(value)

    def begin(self) -> bytes:
        """What to say first."""
        talk = self._within_path(Talk(self._exchange))
        talk.ask(SETTINGS)
        talk.settings = True
        return self._say(talk, talk.end(False))

    def received(self, data: bytes) -> bytes:
        """Bytes of the server. Raises ProtocolError for what answers nothing that was asked."""
        self._inbox.add(data)
        if not self._inbox.ready():
            return b""
        data = self._inbox.take()
        size = len(data)
        at = 0
        needed = 0
        while at < size and self.explanation is None:
            needed = HEAD
            if at + HEAD > size:
                break
            length = int(u32(data, at + 1))
            if length < 4 or length > MAX_SERVER_MESSAGE:
                raise ProtocolError(f"invalid message length (got {length}, expected 4 to {MAX_SERVER_MESSAGE})")
            end = at + 1 + length
            if end > size:
                needed = end - at
                break
            self._message(data[at], data[at + HEAD : end])
            at = end
        if at < size:
            self._inbox.put_back(data[at:], needed)
        talk = self._talk
        if talk is None or not talk.done or self.explanation is not None:
            return b""
        self._talk = None
        return self._told(talk)

    def _message(self, tag: int, body: bytes) -> None:
        if tag == NOTICE:
            self._notice(body)
        elif tag == PARAMETER_STATUS:
            name, _, value = body.partition(b"\0")
            self.parameter(name.decode("latin-1"), value[:-1].decode("latin-1"))
        elif tag != NOTIFICATION:
            self._answer(tag, body)

    def _notice(self, body: bytes) -> None:
        found = fields(body)
        printed = found.get("R") == "elog_node_display" and found.get("F") == "print.c"
        if printed and self._talk is not None and self._talk.shows(self._exchange.head()):
            if found.get("W"):
                self._ran = True
            else:
                self._shown.append(found.get("D", ""))

    def _answer(self, tag: int, body: bytes) -> None:
        request = self._exchange.head()
        if tag == ERROR and (request is None or fields(body).get("V") in ("FATAL", "PANIC")):
            self._finish(_error(body, 0))
            return
        effect = None if request is None else REPLIES.get((int(request.kind), tag))
        if request is None or effect is None or self._talk is None:
            raise ProtocolError(f"message of type {tag:#04x} in answer to what was not asked")
        if tag == ERROR and request.kind != QUERY and request.kind != SYNC:
            for passed in self._exchange.fail():
                if passed is not request:
                    self._talk.passed_over()
        elif effect == COMPLETES:
            self._exchange.pop()
        try:
            self._talk.heard(request, tag, body)
        except IndexError as short:
            raise ProtocolError(f"message of type {tag:#04x} is cut short (got {len(body)} bytes)") from short

    def _within_path(self, talk: Talk) -> Talk:
        """Puts the search path in force for a transaction: behind a pooler the next one may be another client's."""
        if self._search_path is not None:
            talk.ask(f"SELECT pg_catalog.set_config('search_path', {literal(self._search_path)}, true)")
        return talk

    def _say(self, talk: Talk, data: bytes) -> bytes:
        self._talk = talk
        return data

    def _told(self, talk: Talk) -> bytes:
        """A question was answered: keeps what was told, and asks the next."""
        missing, self._missing = self._missing, None
        tree, self._tree = self._tree, None
        if talk.scans:
            if talk.error is not None and fields(talk.error).get("R") != SEVERAL:
                return self._finish(_error(talk.error, 0))
        elif talk.error is not None:
            if talk.settings and not talk.tree:
                return self._finish(_error(talk.error, None))
            self._refused(talk.error, tree)
        elif talk.tree:
            if self._judgement is not None:
                self._judgement.tree(self._shown)
        elif talk.settings:
            return self._divide(talk)
        elif missing is not None:
            try:
                self._facts.learn(talk.rows if self._search_path is None else talk.rows[1:], missing)
            except ValueError:
                pass  # it stays missing, and what rests on it isn't known
        return self._go_on()

    def _divide(self, talk: Talk) -> bytes:
        """The settings are known: by them the text is divided into statements."""
        settings = talk.rows[-1] if talk.rows else ()
        if len(settings) > 1:
            self._path, self._role = settings[0] or "", settings[1] or ""
        try:
            if not self._unicode and not self._text.isascii():
                raise Unreadable("the server doesn't take UTF-8")
            self._statements = [one for one in split(self._text, self._quoting) if one.kind != EMPTY]
        except Unreadable:
            self._statements = [Statement(self._text, 0, UTILITY)]
            self._readable = False
        if len(self._statements) < 2:
            return self._go_on()
        scan = Talk(self._exchange).parse(self._text.encode(), [])
        scan.scans = True  # a mistake in any of them has none of them run
        return self._say(scan, scan.end(False))

    def _go_on(self) -> bytes:
        """Asks what has to be known next, or says what was found."""
        while len(self._found) < len(self._statements):
            statement = self._statements[len(self._found)]
            if self._judgement is None:
                self._judgement = Judgement(statement, self._facts, self._quoting, readable=self._readable)
                self._questions = 0
                self._ran = False
            need = Found() if statement.kind == TRANSACTION else self._judgement.step()
            self._questions += 1
            if isinstance(need, Found):
                self._conclude(statement, need, () if self._readable else (_UNREADABLE,))
            elif self._questions > MOST_QUESTIONS:
                self._conclude(statement, NOT_KNOWN, (_TOO_MANY,))
            elif isinstance(need, Wanted):
                self._missing = self._facts.missing(need) or need
                talk = self._within_path(Talk(self._exchange)).ask(self._facts.question(self._missing))
                return self._say(talk, talk.end(False))
            else:
                return self._ask_tree(need)
        return self._finish(None)

    def _ask_tree(self, need: TreeWanted) -> bytes:
        self._tree = need
        self._shown = []
        talk = self._within_path(Talk(self._exchange).query("BEGIN READ ONLY")).ask(TRACE_ON)
        talk.settings = talk.tree = True
        talk.parse(padding(need.before) + need.statement.encode(), [])
        return self._say(talk, talk.sync().query("ROLLBACK").alone())

    def _conclude(self, statement: Statement, found: Found, notes: tuple[str, ...]) -> None:
        """A statement is understood as far as it can be."""
        known, more = _weighed(statement, found)
        if self._ran:
            known, more = structs.replace(known, opaque=True), (*more, _PARSING)
        said = (*notes, *more)
        self._keep(Explained(statement.text, statement.start, known, statement.tag, self._unsettled, said))
        self._unsettled = self._unsettled or known.changes_settings or known.changes_catalog

    def _refused(self, error: bytes, tree: TreeWanted | None) -> None:
        """The server has something against the statement."""
        statement = self._statements[len(self._found)]
        left_out = 0 if tree is None or tree.before < MOST_PADDING else tree.before
        said = _error(error, None if tree is None else left_out)
        self._keep(
            Explained(statement.text, statement.start, Found(), statement.tag, unsettled=self._unsettled, error=said)
        )

    def _keep(self, explained: Explained) -> None:
        self._found.append(explained)
        self._judgement = None

    def _finish(self, error: ServerError | None) -> bytes:
        self.explanation = Explanation(tuple(self._found), error, self._role, self._path)
        return b""


def _weighed(statement: Statement, found: Found) -> tuple[Found, tuple[str, ...]]:
    """What a session's state adds, which isn't known here."""
    if statement.runs is not None:
        return together(found, NOT_KNOWN), (_PREPARED,)
    if statement.tag == "DECLARE CURSOR" and found.opaque and holds_cursor(statement):
        return together(found, NOT_KNOWN), ()
    if statement.tag in _FETCHES:
        return structs.replace(found, opaque=True), (_CURSOR,)
    if statement.tag == "SET CONSTRAINTS":
        return structs.replace(found, opaque=True), ()
    return found, ()


def _error(body: bytes, left_out: int | None) -> ServerError:
    """An ErrorResponse. `left_out` characters of the text come before what the server was shown; None: the position is
    not one in the text."""
    found = fields(body)
    written = found.get("P", "")
    position = int(written) + left_out if left_out is not None and written.isdecimal() and len(written) < 10 else None
    message = found.get("M", "") or "refused without a word"
    return ServerError(found.get("C", ""), message, found.get("D"), found.get("H"), position)
