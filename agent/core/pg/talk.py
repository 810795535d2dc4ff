"""What the agent asks a server for itself, in a client's session.

A talk is a few messages of the extended protocol, or a Query, whose answers no client sees. Its names are its own, so
that neither the client's unnamed statement nor its portals are touched, and nothing of them is left behind:

    [Parse Bind Execute Close Close of trace-on] [Parse Close of the statement in question] [… of trace-off]
    Sync | Flush

Where the client's pipeline is open (no Sync since its last message) a Flush ends the talk, so that what is one
transaction stays one; else a Sync, and outside of a transaction the settings go with it.
"""

from __future__ import annotations

from typing import Final

from agent.core.pg import messages
from agent.core.pg.exchange import BIND, CLOSE, DESCRIBE, EXECUTE, PARSE, QUERY, SYNC, Exchange, Request
from agent.core.pg.messages import message, text, u16, u32

_NAME: Final = b"_hoop\0"
_BIND: Final = message(messages.BIND, _NAME + _NAME + b"\0\0\0\0\0\0")
_EXECUTE: Final = message(messages.EXECUTE, _NAME + b"\0\0\0\0")
_CLOSE: Final = message(messages.CLOSE, b"P" + _NAME) + message(messages.CLOSE, b"S" + _NAME)
_DESCRIBE: Final = message(messages.DESCRIBE, b"S" + _NAME)
_CLOSE_STATEMENT: Final = message(messages.CLOSE, b"S" + _NAME)
_SYNC: Final = message(messages.SYNC, b"")
FLUSH: Final = message(messages.FLUSH, b"")
_BEFORE: Final = (messages.ROW_DESCRIPTION, messages.NO_DATA)
"""What an answer begins with."""

MOST_QUESTIONS: Final = 24
"""Questions that may be asked about one statement; one that takes more is not understood."""
MOST_PADDING: Final = 65_536
"""Characters that are put before a statement of several, so that the position in an error is that in the message."""
SEVERAL: Final = "exec_parse_message"
"""Where the server refuses to parse more than one statement: it has read all of them then."""
BACK: Final = "ROLLBACK TO SAVEPOINT _hoop; RELEASE SAVEPOINT _hoop"
"""Undoes what failed since SAVEPOINT _hoop, which a talk in the client's transaction began with."""

_SETTING = "pg_catalog.current_setting"
_SET = "pg_catalog.set_config"

SETTINGS: Final = (
    f"SELECT {_SETTING}('search_path'), current_user::pg_catalog.text, session_user::pg_catalog.text, "
    f"{_SETTING}('standard_conforming_strings'), {_SETTING}('client_encoding'), {_SETTING}('client_min_messages'), "
    f"{_SETTING}('row_security')"
)
"""What the meaning of a statement rests on besides the catalog."""

_QUIET = f"{_SETTING}('is_superuser') OPERATOR(pg_catalog.=) 'on'"

TRACE_ON: Final = (
    f"{SETTINGS}, {_SET}('hoop.level', {_SETTING}('client_min_messages'), true), "
    f"{_SET}('hoop.debug', {_SETTING}('debug_print_rewritten'), true), "
    f"{_SET}('hoop.pretty', {_SETTING}('debug_pretty_print'), true), "
    f"{_SET}('hoop.log', {_SETTING}('log_min_messages'), true), "
    f"CASE WHEN {_QUIET} THEN {_SET}('log_min_messages', 'panic', true) END, "
    f"{_SET}('debug_pretty_print', 'off', true), "
    f"{_SET}('client_min_messages', 'log', true), {_SET}('debug_print_rewritten', 'on', true)"
)
TRACE_OFF: Final = (
    f"SELECT {_SET}('debug_print_rewritten', {_SETTING}('hoop.debug'), true), "
    f"{_SET}('client_min_messages', {_SETTING}('hoop.level'), true), "
    f"{_SET}('debug_pretty_print', {_SETTING}('hoop.pretty'), true), "
    f"CASE WHEN {_QUIET} THEN {_SET}('log_min_messages', {_SETTING}('hoop.log'), true) END"
)

_GRANTED: Final = f"({_QUIET} OR pg_catalog.has_parameter_privilege('log_min_messages', 'SET'))"
_TRACE_ON_GRANTED: Final = TRACE_ON.replace(_QUIET, _GRANTED)
_TRACE_OFF_GRANTED: Final = TRACE_OFF.replace(_QUIET, _GRANTED)
"""For servers that know rights to set single parameters: who was granted log_min_messages keeps the trees out of the
server's log as a superuser does."""

TRACE_CHECK: Final = f"SELECT {_SETTING}('debug_print_rewritten'), {_SETTING}('client_min_messages')"
TRACED: Final = ("on", "log")
"""What TRACE_CHECK answers as long as nobody has switched the trace off."""

Row = tuple[str | None, ...]


class Talk:
    """One question. `done` when everything that it asked was answered or passed over."""

    def __init__(self, exchange: Exchange) -> None:
        self.done = False
        self.error: bytes | None = None
        """The ErrorResponse's body, if the server refused."""
        self.rows: list[Row] = []
        self.row = b""
        """The RowDescription of what was parsed, if it was to be described and returns rows."""
        self.settings = False
        """Its first row is what SETTINGS asks."""
        self.tree = False
        """It asks for a tree."""
        self.checks = False
        """It asks whether the trace is still on."""
        self.scans = False
        """It shows the server a message of several statements, which it can't parse as one."""
        self.untraces = False
        """When it is over, the server shows trees no more."""
        self._exchange = exchange
        self._pieces: list[bytes] = []
        self._left = 0
        self._tree: Request | None = None

    def query(self, statement: str) -> Talk:
        """A Query of its own."""
        self._push(QUERY)
        self._pieces.append(message(messages.QUERY, text(statement)))
        return self

    def ask(self, statement: str, shown: bool = False) -> Talk:
        """A statement whose rows are wanted, or that is just to run. `shown`: the trees that it prints while it runs
        are of interest."""
        if self._exchange.grants:
            statement = _TRACE_ON_GRANTED if statement == TRACE_ON else statement
            statement = _TRACE_OFF_GRANTED if statement == TRACE_OFF else statement
        for kind in (PARSE, BIND, EXECUTE, CLOSE, CLOSE):
            request = self._push(kind)
            if shown and kind == EXECUTE:
                self._tree = request
        self._pieces.append(message(messages.PARSE, _NAME + text(statement) + b"\0\0") + _BIND + _EXECUTE + _CLOSE)
        return self

    def save(self) -> Talk:
        """In a transaction of the client's: what fails from here on is undone by BACK, and the transaction goes on."""
        return self.query("SAVEPOINT _hoop")

    def parse(self, statement: bytes, types: list[int], described: bool = False) -> Talk:
        """A statement whose tree is wanted, and with `described` what rows it returns."""
        self._tree = self._push(PARSE)
        if described:
            self._push(DESCRIBE)
        self._push(CLOSE)
        oids = len(types).to_bytes(2, "big") + b"".join([kind.to_bytes(4, "big") for kind in types])
        self._pieces.append(message(messages.PARSE, _NAME + statement + b"\0" + oids))
        self._pieces.append(_DESCRIBE + _CLOSE_STATEMENT if described else _CLOSE_STATEMENT)
        return self

    def sync(self) -> Talk:
        self._push(SYNC)
        self._pieces.append(_SYNC)
        return self

    def end(self, pipeline: bool) -> bytes:
        """What to send. In an open pipeline nothing is ended but the talk."""
        if not pipeline:
            self._push(SYNC)
        self._pieces.append(FLUSH if pipeline else _SYNC)
        return b"".join(self._pieces)

    def alone(self) -> bytes:
        """What to send, of a Query."""
        return b"".join(self._pieces)

    def shows(self, request: Request | None) -> bool:
        """Whether a tree that comes while this request is answered is the one in question."""
        return request is not None and request is self._tree

    def heard(self, request: Request, tag: int, body: bytes) -> None:
        if tag == messages.DATA_ROW:
            self.rows.append(_row(body))
        elif tag == messages.ERROR:
            self.error = self.error or body
            if request.kind != QUERY and request.kind != SYNC:
                self._over()
        elif request.kind == DESCRIBE:
            if tag == messages.ROW_DESCRIPTION:
                self.row = body
            if tag != messages.PARAMETER_DESCRIPTION:
                self._over()
        elif tag not in _BEFORE and not (request.kind == QUERY and tag != messages.READY):
            self._over()

    def passed_over(self) -> None:
        self._over()

    def _over(self) -> None:
        self._left -= 1
        self.done = self._left <= 0

    def _push(self, kind: int) -> Request:
        request = Request(kind)
        request.asking = True
        request.name = "\0"  # no client can name a statement so
        self._exchange.push(request)
        self._left += 1
        return request


def knows_grants(version: str) -> bool:
    """Whether a server of this server_version knows rights to set single parameters (PostgreSQL 15)."""
    digits = version[: len(version) - len(version.lstrip("0123456789"))]
    return digits.isascii() and 0 < len(digits) < 4 and int(digits) >= 15


def padding(before: int) -> bytes:
    """What stands in for the characters before a statement."""
    return b" " * before if before < MOST_PADDING else b""


def _row(body: bytes) -> Row:
    values: list[str | None] = []
    at = 2
    for _ in range(u16(body, 0)):
        size = u32(body, at)
        at += 4
        if size == 0xFFFFFFFF:
            values.append(None)
        else:
            end = int(at + size)
            values.append(body[at:end].decode("utf-8", "replace"))
            at = end
    return tuple(values)
