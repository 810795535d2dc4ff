"""A small model of a PostgreSQL server behind a guarded session: transactions, pipelines, COPY, the trace of code.

It knows a few statements, by how they begin, and what each leaves behind: `committed` is what a client got done. The
questions that the agent asks are answered as a server would.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from agent.core.commands import Command
from agent.core.pg import talk
from agent.core.pg.errors import fields
from tests.agent.core.pg.dialogue import (
    BOUND,
    CLOSED,
    COLUMNS,
    COPY_IN,
    NO_DATA,
    PARSED,
    Talking,
    msg,
    ready,
    row,
    tag,
    to_client,
    to_server,
)

KILL, NOTE, LIBRARY = 16_500, 16_501, 952
"""OIDs of two functions with code, and of one that the server has."""
SETTINGS = ("app", "app", "app", "on", "UTF8", "notice", "on")
RELATIONS = {20_001: "users", 20_002: "notes"}
ROUTINES = {KILL: ("app", "kill", "plpgsql"), NOTE: ("app", "note", "plpgsql"), LIBRARY: ("pg_catalog", "lo_open", "c")}


def _tree(command: int, relid: int, bits: int) -> str:
    if not relid:
        return "({QUERY :commandType 1 :resultRelation 0 :hasForUpdate false :rtable <> :targetList <>})"
    target = 0 if command == 1 else 1
    return (
        f"({{QUERY :commandType {command} :resultRelation {target} :hasForUpdate false :rtable ({{RANGETBLENTRY"
        f" :alias <> :rtekind 0 :relid {relid} :relkind r :inh true :requiredPerms {bits} :updatedCols (b)}})"
        " :jointree {FROMEXPR :fromlist <> :quals <>} :targetList <>})"
    )


READ, ADD, REMOVE = _tree(1, 0, 0), _tree(3, 20_002, 1), _tree(4, 20_001, 8)
STATEMENTS = {
    "select": ("", READ, "SELECT 1"),
    "insert into notes": ("insert", ADD, "INSERT 0 1"),
    "delete from users": ("delete", REMOVE, "DELETE 1"),
    "do 'kill'": ("delete", REMOVE, "DO"),
    "do 'note'": ("insert", ADD, "DO"),
    "copy notes from stdin": ("copy", "", "COPY 1"),
    "discard plans": ("", "", "DISCARD PLANS"),
    "set search_path": ("", "", "SET"),
    "set constraints": ("", "", "SET CONSTRAINTS"),
}
"""How a statement begins: what it leaves behind, the tree that is printed, its tag."""
CONTROL = ("begin", "commit", "rollback", "savepoint", "release")


class Failed(Exception):
    """The server answers with this SQLSTATE; `routine` is where it raises it."""

    def __init__(self, code: str, routine: str = "x") -> None:
        super().__init__(code)
        self.body = msg("E", f"SERROR\0VERROR\0C{code}\0Mit failed\0Fmodel.c\0R{routine}\0\0".encode())


class Backend:
    """A session's server process."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self.ran: list[str] = []
        """Every statement that began to run, the agent's left out."""
        self.status = "I"
        self.interrupted = False
        """The next thing that runs is cancelled."""
        self._inbox = b""
        self._pending: list[str] = []
        self._saved = 0
        self._tracing = False
        self._failed = False
        self._skipping = False
        self._copying = ""
        self._prepared: dict[str, str] = {}
        self._portals: dict[str, str] = {}

    def answer(self, data: bytes) -> bytes:
        """What it says to these bytes."""
        self._inbox += data
        said = b""
        while len(self._inbox) >= 5:
            (length,) = struct.unpack("!I", self._inbox[1:5])
            if len(self._inbox) <= length:
                break
            kind, body = self._inbox[:1].decode(), self._inbox[5 : length + 1]
            self._inbox = self._inbox[length + 1 :]
            said += self._message(kind, body)
        return said

    def _message(self, kind: str, body: bytes) -> bytes:
        if self._copying:
            return self._copy(kind)
        if kind == "S":
            self._skipping = False
            return self._over(b"")
        if self._skipping or kind in "HXdcf":
            return b""
        try:
            if kind == "Q":
                return self._query(body[:-1].decode())
            if kind == "F":
                return self._function(int.from_bytes(body[:4], "big"))
            return self._step(kind, body)
        except Failed as failed:
            self._fail()
            if kind in "QF":
                return self._over(failed.body)
            self._skipping = True
            return failed.body

    def _fail(self) -> None:
        self._failed = True
        if self.status == "T":
            self.status = "E"

    def _over(self, said: bytes) -> bytes:
        """A ReadyForQuery: outside of a transaction block what was done is committed, or not if it failed."""
        if self.status == "I":
            self._end(not self._failed)
        self._failed = False
        return said + ready(self.status)

    def _end(self, commits: bool) -> None:
        if commits:
            self.committed += self._pending
        self._pending.clear()
        self._portals.clear()
        self._tracing = False
        self.status = "I"

    def _query(self, text: str) -> bytes:
        statements = [one.strip() for one in text.split(";") if one.strip()]
        for one in statements:
            self._known(one)
        if not statements:
            return self._over(msg("I"))
        said = b""
        for at, one in enumerate(statements):
            try:
                said += self._run(one, True)
            except Failed as failed:
                self._fail()
                return self._over(said + failed.body)
            if self._copying:
                self._copying = "Q"
                assert at + 1 == len(statements), "the model copies at a message's end only"
                return said
        return self._over(said)

    def _step(self, kind: str, body: bytes) -> bytes:
        first, _, rest = body.partition(b"\0")
        name = first.decode("latin-1")
        if kind == "P":
            self._parse(name, rest.partition(b"\0")[0].decode())
            return self._shown + PARSED
        if kind == "B":
            source = rest.partition(b"\0")[0].decode("latin-1")
            if source not in self._prepared:
                raise Failed("26000")
            self._refuse_aborted(self._prepared[source])
            self._portals[name] = self._prepared[source]
            return BOUND
        if kind == "E":
            if name not in self._portals:
                raise Failed("34000")
            return self._run(self._portals[name], False)
        known = self._prepared if name[:1] == "S" else self._portals
        if kind == "C":
            known.pop(name[1:], None)
            return CLOSED
        if name[1:] not in known:
            raise Failed("26000")
        told = COLUMNS if known[name[1:]].startswith("select") else NO_DATA
        return (msg("t", b"\0\0") if name[:1] == "S" else b"") + told

    def _parse(self, name: str, text: str) -> None:
        statements = [one.strip() for one in text.split(";") if one.strip()]
        for one in statements:
            self._known(one)
        if len(statements) > 1:
            raise Failed("42601", "exec_parse_message")
        (text,) = statements or [""]
        self._refuse_aborted(text)
        if name and name in self._prepared:
            raise Failed("42P05")
        self._shown = self._print(_found(text)[1], "") if text and not text.lower().startswith("do") else b""
        self._prepared[name] = text

    def _function(self, oid: int) -> bytes:
        self._refuse_aborted("call")
        if oid not in ROUTINES:
            raise Failed("42883")
        self.ran.append(f"call {oid}")
        said = b""
        if oid != LIBRARY:
            effect = "delete" if oid == KILL else "insert"
            said = self._print(REMOVE if oid == KILL else ADD, 'SQL statement "x"')
            self._pending.append(effect)
        return self._over(said + msg("V", struct.pack("!Ii", 4, 1)))

    def _copy(self, kind: str) -> bytes:
        if kind not in "cf":
            return b""
        simple, self._copying = self._copying == "Q", ""
        if kind == "f":
            self._fail()
            self._skipping = not simple
            return self._over(Failed("57014").body) if simple else Failed("57014").body
        self._pending.append("copy")
        return self._over(tag("COPY 1")) if simple else tag("COPY 1")

    def _known(self, text: str) -> None:
        if not text.lower().startswith((*STATEMENTS, *CONTROL)) and "pg_catalog." not in text:
            raise Failed("42601")

    def _refuse_aborted(self, text: str) -> None:
        if self.status == "E" and not text.lower().startswith(("rollback", "commit")):
            raise Failed("25P02")
        if self.interrupted and text and not text.lower().startswith(("commit", "rollback")):
            self.interrupted = False
            raise Failed("57014")

    def _run(self, text: str, simple: bool) -> bytes:
        if not text:
            return msg("I")
        self._refuse_aborted(text)
        lower = text.lower()
        if "pg_catalog." in lower:
            return self._catalog(text)
        if lower.startswith(CONTROL):
            return self._control(lower)
        effect, tree, done = _found(text)
        if not lower.startswith(("discard", "set constraints")):
            self.ran.append(text)
        if effect == "copy":
            self._copying = "E"
            return COPY_IN
        context = 'SQL statement "x"' if lower.startswith("do") else ""
        said = self._print(tree, context) if tree and (context or simple) else b""
        if effect:
            self._pending.append(effect)
        rows = (COLUMNS if simple else b"") + row("1") if lower.startswith("select") else b""
        return said + rows + tag(done)

    def _control(self, lower: str) -> bytes:
        word = lower.split()[0]
        if lower.startswith("rollback to"):
            if self.status == "I":
                raise Failed("25P01")
            del self._pending[self._saved :]
            self.status, self._failed = "T", False
        elif word in ("savepoint", "release"):
            if self.status == "I":
                raise Failed("25P01")
            self._saved = len(self._pending) if word == "savepoint" else self._saved
        elif word == "begin":
            self.status = "T"
        else:
            commits = word == "commit" and self.status != "E" and not self._failed
            self._end(commits)
            return tag("COMMIT" if commits else "ROLLBACK")
        return tag(word.upper())

    def _catalog(self, text: str) -> bytes:
        """What the agent asks."""
        if text == talk.TRACE_CHECK:
            return row(*(talk.TRACED if self._tracing else ("off", "notice"))) + tag("SELECT 1")
        if text in (talk.SETTINGS, talk.TRACE_ON, talk.TRACE_OFF):
            self._tracing = text == talk.TRACE_ON or (self._tracing and text == talk.SETTINGS)
            return row(*SETTINGS) + tag("SELECT 1")
        found = b""
        for oid in sorted({int(number) for number in re.findall(r"\b\d{3,5}\b", text)}):
            if "'=relation'" in text and oid in RELATIONS:
                found += _nullable("=relation", str(oid), "app", RELATIONS[oid], "r", "app", None, None)
            if "'=routine'" in text and oid in ROUTINES:
                schema, name, language = ROUTINES[oid]
                found += _nullable("=routine", str(oid), schema, name, language, "fv", None, None)
        return found + tag("SELECT 1")

    def _print(self, tree: str, context: str) -> bytes:
        if not self._tracing:
            return b""
        where = f"W{context}\0" if context else ""
        body = f"SLOG\0VLOG\0C00000\0Mrewritten parse tree:\0D{tree}\0{where}Fprint.c\0Relog_node_display\0\0"
        return msg("N", body.encode())


def _found(text: str) -> tuple[str, str, str]:
    """What is known of a statement; nothing of control and of the agent's questions."""
    for begin, known in STATEMENTS.items():
        if text.lower().startswith(begin) and "pg_catalog." not in text:
            return known
    return "", "", ""


def _nullable(*values: str | None) -> bytes:
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value.encode()
    return msg("D", body)


def told(data: bytes) -> list[tuple[str, str]]:
    """Messages by type and body, of errors the SQLSTATE."""
    found: list[tuple[str, str]] = []
    while data:
        (length,) = struct.unpack("!I", data[1:5])
        kind, body, data = data[:1].decode(), data[5 : length + 1], data[length + 1 :]
        found.append((kind, fields(body)["C"] if kind == "E" else repr(body)))
    return found


class Conversation:
    """A client, a guarded session, and this server behind it; everything appended is durable at once."""

    def __init__(self, session: Talking) -> None:
        self.session = session
        self.backend = Backend()
        self.sent: list[bytes] = []
        """What reached the server."""
        self.cancelled: set[int] = set()
        """Which of it, counted from 0, is cancelled when it runs: the agent's questions, too."""

    def client(self, *pieces: bytes) -> bytes:
        """What the client is answered to these pieces."""
        return b"".join(self.settle(self.session.client(piece)) for piece in pieces)

    def settle(self, commands: Sequence[Command]) -> bytes:
        """Plays on until nobody has anything to say; returns what the client got."""
        heard = to_client(commands)
        while True:
            durable = self.session.durable()
            heard += to_client(durable)
            data = to_server([*commands, *durable])
            if not data:
                return heard
            self.backend.interrupted |= len(self.sent) in self.cancelled
            self.sent.append(data)
            commands = self.session.server(self.backend.answer(data))
            heard += to_client(commands)
