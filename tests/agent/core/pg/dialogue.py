"""What tests of a PostgreSQL session are written with: messages of both sides, sessions brought as far as wanted."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from agent.core.commands import Append, Command, SendClient, SendServer
from agent.core.events import Admitted, ClientData, Durable, Event, Login, ServerConnected, ServerData
from agent.core.pg.greeting import Terms
from agent.core.pg.session import PgSession
from agent.core.policy.rulebook import Rules
from schemas.identity import Identity
from schemas.policy import Policy, Rule
from schemas.records import OperationEnded, OperationStarted, Record, ResponseChunk

WHO = Identity("sa:deploy", ("ops",), None, None, "sa_1")
KEY = bytes(range(36))
SERVER_KEY = (4711).to_bytes(4, "big") + b"skey"
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSS_REQUEST = struct.pack("!II", 8, 80877104)
ASK_PASSWORD = b"R\0\0\0\x08\0\0\0\x03"
OK = b"R\0\0\0\x08\0\0\0\0"
TERMINATE = b"X\0\0\0\x04"
SYNC = b"S\0\0\0\x04"
FLUSH = b"H\0\0\0\x04"


def msg(tag: str, body: bytes = b"") -> bytes:
    return tag.encode() + struct.pack("!I", len(body) + 4) + body


def startup(*, minor: int = 0, major: int = 3, **parameters: str) -> bytes:
    words = b"".join(f"{name}\0{value}\0".encode() for name, value in parameters.items())
    return struct.pack("!IHH", len(words) + 9, major, minor) + words + b"\0"


def query(statement: str) -> bytes:
    return msg("Q", statement.encode() + b"\0")


def parse(statement: str, name: str = "", types: Sequence[int] = ()) -> bytes:
    oids = struct.pack(f"!H{len(types)}I", len(types), *types)
    return msg("P", f"{name}\0{statement}\0".encode() + oids)


def bind(portal: str = "", name: str = "", values: Sequence[bytes | None] = (), binary: bool = False) -> bytes:
    body = f"{portal}\0{name}\0".encode() + (b"\0\1\0\1" if binary else b"\0\0") + struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value
    return msg("B", body + b"\0\0")


def execute(portal: str = "", rows: int = 0) -> bytes:
    return msg("E", portal.encode() + b"\0" + struct.pack("!I", rows))


def describe(kind: str, name: str = "") -> bytes:
    return msg("D", f"{kind}{name}\0".encode())


def close(kind: str, name: str = "") -> bytes:
    return msg("C", f"{kind}{name}\0".encode())


def row(*values: str) -> bytes:
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!I", len(value)) + value.encode()
    return msg("D", body)


def tag(words: str) -> bytes:
    return msg("C", words.encode() + b"\0")


def ready(status: str = "I") -> bytes:
    return msg("Z", status.encode())


def error(code: str = "42601", what: str = "syntax error", severity: str = "ERROR") -> bytes:
    return msg("E", f"S{severity}\0V{severity}\0C{code}\0M{what}\0\0".encode())


PARSED, BOUND, CLOSED, NO_DATA, SUSPENDED = msg("1"), msg("2"), msg("3"), msg("n"), msg("s")
COLUMNS = msg("T", b"\0\1x\0" + bytes(6) + struct.pack("!IhiH", 25, -1, -1, 0))
COPY_IN, COPY_OUT = msg("G", b"\0\0\0"), msg("H", b"\0\0\0")


def login(sslmode: str = "disable", password: str | None = "pw", binding: str = "prefer", local: bool = False) -> Login:
    return Login("app", "db", password, sslmode, binding, local, False, "nonce")


def terms(private: bool = True, tls: bool = True, kept: int = 1 << 20, strict: bool = True) -> Terms:
    return Terms("127.0.0.1", private, tls, KEY, kept, strict)


class Talking:
    """A session with a clock that goes on by a millisecond an event; what it answered is kept."""

    def __init__(self, session: PgSession | None = None) -> None:
        self.session = session if session is not None else PgSession(terms())
        self.now = 1_000_000
        self.heard: list[Command] = []

    def feed(self, event: Event) -> list[Command]:
        self.now += 1_000
        answer = self.session.feed(event, self.now)
        self.heard += answer
        return answer

    def client(self, *data: bytes) -> list[Command]:
        return [command for piece in data for command in self.feed(ClientData(piece))]

    def server(self, *data: bytes) -> list[Command]:
        return [command for piece in data for command in self.feed(ServerData(piece))]

    def durable(self) -> list[Command]:
        """Everything appended so far reaches the disk."""
        return self.feed(Durable(len(self.records())))

    def records(self) -> list[Record]:
        return [command.record for command in self.heard if isinstance(command, Append)]

    def started(self) -> list[OperationStarted]:
        return [record for record in self.records() if isinstance(record, OperationStarted)]

    def ended(self) -> dict[int, OperationEnded]:
        """The ends by sequence. Fails when an operation ended twice."""
        ends = [record for record in self.records() if isinstance(record, OperationEnded)]
        found = {end.sequence: end for end in ends}
        assert len(found) == len(ends), "an operation ended twice"
        return found

    def outcomes(self) -> list[tuple[str, str]]:
        """Statement and outcome of every operation; `?` for one that runs."""
        ends = self.ended()
        return [
            (start.statement, ends[start.sequence].outcome if start.sequence in ends else "?")
            for start in self.started()
        ]

    def content(self, sequence: int | None = None) -> bytes:
        """What was recorded as received, of one operation or altogether."""
        chunks = [record for record in self.records() if isinstance(record, ResponseChunk)]
        return b"".join(chunk.content for chunk in chunks if sequence is None or chunk.sequence == sequence)

    def forget(self) -> None:
        """Begins listening anew."""
        self.heard.clear()


def to_client(commands: Sequence[Command]) -> bytes:
    return b"".join(command.data for command in commands if isinstance(command, SendClient))


def to_server(commands: Sequence[Command]) -> bytes:
    return b"".join(command.data for command in commands if isinstance(command, SendServer))


def proving() -> Talking:
    """A session whose client has sent its token."""
    talk = Talking()
    talk.client(startup(user="u", database="prod"), msg("p", b"hoop_sa_x\0"))
    return talk


def connecting(server: Login | None = None, session: PgSession | None = None) -> Talking:
    """A session whose client is admitted, its server dialled."""
    talk = Talking(session)
    talk.client(startup(user="u", database="prod"), msg("p", b"hoop_sa_x\0"))
    talk.feed(Admitted("s" * 20, WHO, "pg/prod", server or login()))
    return talk


RULES = Rules(Policy("0" * 16, (Rule("keep-users", ("DELETE app.users",), "deny", message="no"),)))


def guarded(rules: Rules = RULES) -> Talking:
    """As `relaying`, under a policy."""
    talk = Talking()
    talk.client(startup(user="u", database="prod"), msg("p", b"hoop_sa_x\0"))
    talk.feed(Admitted("s" * 20, WHO, "pg/prod", login(), rules))
    talk.feed(ServerConnected())
    talk.server(OK + msg("S", b"standard_conforming_strings\0on\0") + msg("K", SERVER_KEY) + ready())
    talk.durable()
    talk.heard = [command for command in talk.heard if isinstance(command, Append)]
    return talk


def relaying(strict: bool = True, kept: int = 1 << 20) -> Talking:
    """A session under way, of which everything so far is on the disk and nothing is remembered but its records."""
    talk = connecting(session=PgSession(terms(strict=strict, kept=kept)))
    talk.feed(ServerConnected())
    talk.server(OK + msg("K", SERVER_KEY) + ready())
    talk.durable()
    talk.heard = [command for command in talk.heard if isinstance(command, Append)]
    return talk
