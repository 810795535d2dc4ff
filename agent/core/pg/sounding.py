"""What a server lets the agent see: asked once, in a connection of the agent's own, by `resources check`.

    begin() -> bytes for the server
    received(bytes of the server) -> further bytes for it, until `depth` is there

Under rules the agent needs the trees that the server prints (agent.core.pg.talk): this tries whether one comes, says
whether it also goes into the server's log, and whether a pooler stands in between.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from agent.core.limits import MAX_SERVER_MESSAGE
from agent.core.pg import messages
from agent.core.pg.errors import fields
from agent.core.pg.messages import HEAD, Inbox, ProtocolError, message, text, u16, u32
from agent.core.pg.talk import TRACE_ON

_SETTING: Final = "pg_catalog.current_setting"
_ABOUT: Final = (
    f"SELECT pg_catalog.pg_backend_pid(), {_SETTING}('is_superuser'), {_SETTING}('server_version_num'),"
    f" {_SETTING}('log_min_messages'), pg_catalog.quote_ident(CAST(current_user AS pg_catalog.text))"
)
_GRANTED: Final = "SELECT pg_catalog.has_parameter_privilege('log_min_messages', 'SET')"
_GRANTS: Final = 150_000
"""From this version on, single parameters can be granted."""
_SILENT: Final = ("fatal", "panic")
"""Settings of log_min_messages that keep trees out (https://www.postgresql.org/docs/current/runtime-config-logging.html)."""
_TREE: Final = (
    message(messages.PARSE, b"\0SELECT 1\0\0\0") + message(messages.CLOSE, b"S\0") + message(messages.SYNC, b"")
)


class Depth(Struct, frozen=True):
    """What was found."""

    trace: bool
    """The server shows the tree of a statement."""
    why: str = ""
    """What it said instead."""
    quiet: bool = False
    """Its log stays free of these trees."""
    grant: str = ""
    """What a superuser runs to keep them out."""
    pooler: bool = False
    """Another process than the one that was logged in to answers."""


class Sounding:
    """Asks. `process` is the number that the server gave at the login."""

    def __init__(self, process: int) -> None:
        self.depth: Depth | None = None
        self._process = process
        self._inbox = Inbox()
        self._steps: list[bytes] = []
        self._step = ""
        self._rows: list[tuple[str, ...]] = []
        self._error = ""
        self._tree = False
        self._quiet = False
        self._grant = ""
        self._pooler = False

    def begin(self) -> bytes:
        return self._ask("about", message(messages.QUERY, text(_ABOUT)))

    def received(self, data: bytes) -> bytes:
        """Raises ProtocolError."""
        self._inbox.add(data)
        if not self._inbox.ready():
            return b""
        taken = self._inbox.take()
        asks: list[bytes] = []
        at = needed = 0
        while at < len(taken) and self.depth is None:
            needed = HEAD
            if at + HEAD > len(taken):
                break
            length = int(u32(taken, at + 1))
            if length < 4 or length > MAX_SERVER_MESSAGE:
                raise ProtocolError(f"invalid message length (got {length}, expected 4 to {MAX_SERVER_MESSAGE})")
            needed = 1 + length
            if at + needed > len(taken):
                break
            asks.append(self._message(taken[at], taken[at + HEAD : at + needed]))
            at += needed
        if at < len(taken):
            self._inbox.put_back(taken[at:], needed)
        return b"".join(asks)

    def _ask(self, step: str, data: bytes) -> bytes:
        self._step = step
        self._rows = []
        return data

    def _message(self, tag: int, body: bytes) -> bytes:
        if tag == messages.DATA_ROW:
            self._rows.append(_row(body))
        elif tag == messages.ERROR:
            self._error = self._error or fields(body).get("M", "an error")
        elif tag == messages.NOTICE:
            found = fields(body)
            tree = found.get("R") == "elog_node_display" and found.get("F") == "print.c"
            self._tree = self._tree or (tree and self._step == "tree")
        elif tag == messages.READY:
            return self._next()
        return b""

    def _next(self) -> bytes:
        """What comes after the step that is over."""
        step = self._step
        if step == "about" and self._rows and len(self._rows[0]) == 5:
            process, superuser, version, level, role = self._rows[0]
            self._pooler = process != str(self._process)
            self._quiet = superuser == "on" or level in _SILENT
            if self._quiet:
                return self._trace()
            if version.isdigit() and int(version) >= _GRANTS:
                self._grant = f"GRANT SET ON PARAMETER log_min_messages TO {role}"
                return self._ask("granted", message(messages.QUERY, text(_GRANTED)))
            self._grant = f"ALTER ROLE {role} SET log_min_messages = fatal"
            return self._trace()
        if step == "granted":
            self._quiet = self._rows == [("t",)]
            return self._trace()
        if step == "trace" and not self._error:
            return self._ask("tree", _TREE)
        if step == "tree" and not self._error:
            return self._ask("end", message(messages.QUERY, text("ROLLBACK")))
        why = "" if self._tree else self._error or "no tree is printed"
        self.depth = Depth(self._tree, why, self._quiet, "" if self._quiet else self._grant, self._pooler)
        return b""

    def _trace(self) -> bytes:
        both = message(messages.QUERY, text("BEGIN READ ONLY; " + TRACE_ON))
        return self._ask("trace", both)


def _row(body: bytes) -> tuple[str, ...]:
    """The values of a DataRow, NULL as an empty text."""
    values: list[str] = []
    at = 2
    for _ in range(u16(body, 0)):
        size = int(u32(body, at))
        at += 4
        if size != 0xFFFFFFFF:
            values.append(body[at : at + size].decode("utf-8", "replace"))
            at += size
        else:
            values.append("")
    return tuple(values)
