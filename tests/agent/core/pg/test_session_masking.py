"""Sessions with masked values, as conversations: by a decision's covers, by look, and while code is judged."""

from __future__ import annotations

import struct

import pytest

from agent.core.commands import Append, Command
from agent.core.events import PolicyChanged
from agent.core.limits import MAX_WITHHELD
from agent.core.pg.errors import fields
from agent.core.pg.exchange import Exchange
from agent.core.pg.ledger import Ledger, Ruling
from agent.core.pg.messages import ProtocolError
from agent.core.pg.replies import Replies
from agent.core.pg.requests import Requests
from agent.core.policy.masks import Cover
from agent.core.policy.rulebook import Rules
from agent.core.sql.copying import CopyForm
from schemas.policy import Mask, Policy
from schemas.records import OperationEnded, ResponseChunk
from tests.agent.core.pg.backend import NOTE, Backend, Conversation, Failed, told
from tests.agent.core.pg.dialogue import (
    BOUND,
    PARSED,
    SUSPENDED,
    SYNC,
    WHO,
    describe,
    execute,
    guarded,
    msg,
    parse,
    query,
    ready,
    row,
    tag,
)

MAIL = Cover("personal", "redact", ("app.users.email",))
AGE = Cover("personal", "redact", ("app.users.age",))
KEY = b"the key of a test"


def columns(*found: tuple[int, int]) -> bytes:
    """A RowDescription of columns with these types and formats."""
    body = struct.pack("!H", len(found))
    for kind, form in found:
        body += b"c\0" + struct.pack("!IhIhiH", 0, 0, kind, -1, -1, form)
    return msg("T", body)


def data(*values: bytes | None) -> bytes:
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value
    return msg("D", body)


def bind(portal: str = "", name: str = "", formats: tuple[int, ...] = ()) -> bytes:
    body = f"{portal}\0{name}\0".encode() + bytes(4)
    return msg("B", body + struct.pack(f"!H{len(formats)}H", len(formats), *formats))


class Line:
    """A session's two readers, where every statement is decided as `ruling` says."""

    def __init__(self, *covers: Cover | None, row: bytes = b"", form: CopyForm | None = None) -> None:
        self.out: list[Command] = []
        self.ledger = Ledger("s" * 20, WHO, "pg/prod", 1 << 20, KEY)
        self.ledger.ruling = Ruling(covers=covers, row=row[5:], form=form, secret=True)
        exchange = Exchange()
        self._requests = Requests(self.ledger, exchange)
        self._replies = Replies(self.ledger, exchange)
        self._now = 1_000_000

    def ask(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._requests.add(piece)
            self._requests.read(self.out, self._now)

    def hear(self, *pieces: bytes) -> bytes:
        """What the client gets of these pieces of the server's."""
        heard = b""
        for piece in pieces:
            self._now += 1_000
            self._replies.add(piece)
            heard += self._replies.read(self.out, self._now)
        return heard

    def ends(self) -> list[tuple[tuple[str, ...], int, int]]:
        """Of every operation that ended: what was masked, how many values, rows."""
        records = [one.record for one in self.out if isinstance(one, Append)]
        return [(one.masked, one.masked_values, one.rows) for one in records if isinstance(one, OperationEnded)]

    def recorded(self) -> bytes:
        records = [one.record for one in self.out if isinstance(one, Append)]
        return b"".join(one.content for one in records if isinstance(one, ResponseChunk))


TYPES = columns((23, 0), (25, 0))
SECRET = b"a@corp.example"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_query(size: int) -> None:
    """Of a Query the covered column is replaced, however the answer is cut; the record is what the client got."""
    line = Line(None, MAIL)
    line.ask(query("select id, email from users"))
    answer = TYPES + data(b"1", SECRET) + data(b"2", None) + data(b"3", SECRET) + tag("SELECT 3") + ready()
    heard = line.hear(*[answer[at : at + size] for at in range(0, len(answer), size)])
    assert heard == TYPES + data(b"1", b"***") + data(b"2", None) + data(b"3", b"***") + tag("SELECT 3") + ready()
    assert line.recorded() == heard
    assert line.ends() == [(("app.users.email",), 2, 3)]


FORMATS = [((), b"41", b"0"), ((0,), b"41", b"0"), ((1,), struct.pack("!i", 41), bytes(4))]


@pytest.mark.parametrize(("formats", "sent", "expected"), [*FORMATS, ((1, 0), struct.pack("!i", 41), bytes(4))])
@pytest.mark.parametrize("described", ["before", "statement", "portal"])
def test_extended(formats: tuple[int, ...], sent: bytes, expected: bytes, described: str) -> None:
    """In a pipeline each column is replaced in the format of its Bind, whether its types are known from the decision,
    from an earlier Describe, or from that of the portal."""
    given = TYPES if described == "before" else b""
    line = Line(AGE, None, row=given)
    line.ask(parse("select age, name from users", "s"))
    heard = line.hear(PARSED)
    if described == "statement":
        line.ask(describe("S", "s"))
        line.hear(msg("t", b"\0\0") + TYPES)
    line.ask(bind("", "s", formats))
    heard = b""
    if described == "portal":
        form = [(23, 0), (25, 0)]
        for at in range(2):
            code = formats[at] if at < len(formats) else (formats[0] if len(formats) == 1 else 0)
            form[at] = (form[at][0], code)
        line.ask(describe("P"))
        line.hear(BOUND, columns(*form))
        line.ask(execute() + SYNC)
    else:
        line.ask(execute() + SYNC)
        line.hear(BOUND)
    heard = line.hear(data(sent, b"ann") + tag("SELECT 1") + ready())
    assert heard == data(expected, b"ann") + tag("SELECT 1") + ready()


def test_never_described() -> None:
    """What is covered and of unknown type is NULL."""
    line = Line(AGE, None)
    line.ask(parse("select age, name from users") + bind() + execute() + SYNC)
    assert line.hear(PARSED + BOUND, data(b"41", b"ann")) == PARSED + BOUND + data(None, b"ann")


def test_portal_in_pieces() -> None:
    """A portal that is suspended and resumed is one operation, masked all along and counted together."""
    line = Line(AGE, None, row=TYPES)
    line.ask(parse("select age, name from users") + bind("p") + execute("p", 2))
    heard = line.hear(PARSED + BOUND + data(b"1", b"a") + data(b"2", b"b") + SUSPENDED)
    line.ask(execute("p", 2) + SYNC)
    heard += line.hear(data(b"3", b"c") + tag("SELECT 1") + ready())
    assert heard.count(data(b"0", b"a")[5:9]) == 3 and b"\0\0\0\x013" not in heard
    assert line.ends() == [(("app.users.age",), 3, 3)]


def test_executed_again() -> None:
    """A portal that is executed when it was finished, and a statement bound twice, are masked each time."""
    line = Line(AGE, None, row=TYPES)
    line.ask(parse("select age, name from users", "s") + bind("p", "s", (1,)) + execute("p"))
    first = line.hear(PARSED + BOUND + data(struct.pack("!i", 41), b"a") + tag("SELECT 1"))
    assert data(bytes(4), b"a") in first
    line.ask(execute("p"))
    assert line.hear(data(struct.pack("!i", 41), b"a") + tag("SELECT 1")) == data(bytes(4), b"a") + tag("SELECT 1")
    line.ask(bind("q", "s") + execute("q") + SYNC)
    heard = line.hear(BOUND + data(b"41", b"a") + tag("SELECT 1") + ready())
    assert data(b"0", b"a") in heard
    assert line.ends() == [(("app.users.age",), 1, 1)] * 3


COPIES = [
    (CopyForm(), b"\0\0\2" + bytes(4), [b"1\tx\n2", b"\ty\n"], b"1\t***\n2\t***\n"),
    (CopyForm("csv"), b"\0\0\2" + bytes(4), [b'1,"x,', b'y"\n2,\n'], b'1,"***"\n2,\n'),
]


@pytest.mark.parametrize(("form", "head", "pieces", "expected"), COPIES)
def test_copy(form: CopyForm, head: bytes, pieces: list[bytes], expected: bytes) -> None:
    """COPY data is masked across its messages; what remains is sent before CopyDone."""
    line = Line(None, MAIL, row=TYPES, form=form)
    line.ask(query("copy users to stdout"))
    end = msg("c") + tag("COPY 2") + ready()
    heard = line.hear(msg("H", head), *[msg("d", piece) for piece in pieces], end)
    assert heard.startswith(msg("H", head)) and heard.endswith(end)
    inner = heard[len(msg("H", head)) : -len(end)]
    payload = b""
    while inner:
        (length,) = struct.unpack("!I", inner[1:5])
        payload, inner = payload + inner[5 : length + 1], inner[length + 1 :]
    assert payload == expected
    assert line.recorded() == heard


def test_copy_binary() -> None:
    """The same of the binary form, its header and its end left as they are."""
    line = Line(AGE, None, row=TYPES, form=CopyForm("binary"))
    line.ask(query("copy users to stdout binary"))
    head, first = b"PGCOPY\n\xff\r\n\0" + bytes(8), struct.pack("!HIiI", 2, 4, 41, 1) + b"a"
    heard = line.hear(
        msg("H", b"\1\0\2\0\1\0\1"), msg("d", head + first), msg("d", b"\xff\xff"), msg("c"), tag("COPY 1"), ready()
    )
    assert struct.pack("!HIiI", 2, 4, 0, 1) + b"a" in heard and first not in heard and head in heard


@pytest.mark.parametrize(
    "answer",
    [
        columns((25, 0)) + data(SECRET),
        TYPES + data(b"1", b"x", SECRET),
        TYPES + data(),
        msg("H", b"\0\0\3" + bytes(6)) + msg("d", b"1\t2\t3\n"),
        msg("H", b"\1\0\2\0\1\0\1") + msg("d", b"x"),
        TYPES + msg("D", b"\0\2\0\0\0\xff"),
    ],
)
def test_not_as_foretold(answer: bytes) -> None:
    """Rows of another width or form than was foretold end the session, and nothing of them is told."""
    line = Line(None, MAIL, form=CopyForm())
    line.ask(query("select id, email from users"))
    with pytest.raises(ProtocolError):
        line.hear(answer)
    assert SECRET not in line.recorded()


LOOK = Rules(Policy("2" * 16, masks=(Mask("look", types=("email",)),)))
NONE = Rules(Policy("3" * 16))
COLUMN = Rules(Policy("4" * 16, masks=(Mask("personal", columns=("app.users.email",)),)))


def failed(error: bytes) -> Failed:
    found = Failed("23505")
    found.body = error
    return found


class Telling(Backend):
    """A server that says all that it may say: `said` comes with the answer of the next statement of the client's."""

    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.fails_to_parse = b""
        self.fails_to_run = b""

    def _parse(self, name: str, text: str) -> None:
        error, self.fails_to_parse = self.fails_to_parse, b""
        if error:
            raise failed(error)
        super()._parse(name, text)

    def _run(self, text: str, simple: bool) -> bytes:
        if self.fails_to_run and text.startswith(("select 'new", "insert")):
            error, self.fails_to_run = self.fails_to_run, b""
            raise failed(error)
        before, ran = len(self.ran), super()._run(text, simple)
        if len(self.ran) > before:
            said, self.said = self.said, b""
            return said + ran
        return ran


def conversation(rules: Rules) -> Conversation:
    made = Conversation(guarded(rules))
    made.backend = Telling()
    made.client(query("select 0"))
    return made


def says(made: Conversation, said: bytes, asked: bytes) -> bytes:
    backend = made.backend
    assert isinstance(backend, Telling)
    backend.said = said
    return made.client(asked)


SAID = b"SNOTICE\0VNOTICE\0C00000\0"
ASIDE = [
    (
        msg("N", b"SNOTICE\0VNOTICE\0C00000\0Msee " + SECRET + b"\0\0"),
        msg("N", b"SNOTICE\0VNOTICE\0C00000\0Msee ***\0\0"),
    ),
    (msg("S", b"application_name\0" + SECRET + b"\0"), msg("S", b"application_name\0***\0")),
    (msg("A", bytes(4) + b"c\0" + SECRET + b"\0"), msg("A", bytes(4) + b"c\0***\0")),
]


@pytest.mark.parametrize(("said", "expected"), ASIDE, ids=["notice", "setting", "notification"])
def test_look_aside(said: bytes, expected: bytes) -> None:
    """A notice, a setting and a notification are told without what a mask finds in them; without masks as they are."""
    made = conversation(LOOK)
    heard = says(made, said, query("select 1"))
    assert expected in heard and SECRET not in heard
    assert SECRET not in made.session.content()
    assert said in says(conversation(NONE), said, query("select 1"))


def test_look_in_rows() -> None:
    """A value found in a row is replaced and counted by the mask's name."""
    made = conversation(LOOK)
    heard = says(made, columns((25, 0)) + row("to a@corp.example"), query("select 1"))
    assert row("to ***") in heard
    (end,) = [end for end in made.session.ended().values() if end.masked]
    assert (end.masked, end.masked_values) == (("look",), 1)


def test_policy_changes() -> None:
    """A mask that a new policy brings is in force from the next statement, one that it takes away is gone."""
    made = conversation(NONE)
    said = columns((25, 0)) + row("a@corp.example")
    for rules, hidden in ((LOOK, True), (NONE, False), (LOOK, True), (None, False)):
        made.session.feed(PolicyChanged(rules))
        assert (SECRET not in says(made, said, query("select 1"))) == hidden


CODE = [
    query("do 'note'"),
    parse("do 'note'") + bind() + execute() + SYNC,
    msg("F", struct.pack("!IHHH", NOTE, 0, 0, 0)),
]


@pytest.mark.parametrize("asked", CODE, ids=["query", "extended", "function"])
def test_withheld_until_judged(asked: bytes) -> None:
    """Where columns are masked the client gets what code says when it is judged, in the order in which it was said."""
    made = conversation(COLUMN)
    notices = [msg("N", f"SNOTICE\0VNOTICE\0C00000\0M{word}\0\0".encode()) for word in ("one", "two")]
    heard = says(made, b"".join(notices), asked)
    free = says(conversation(NONE), b"".join(notices), asked)
    if asked[:1] == b"F":
        assert told(heard) == told(free)  # the model's function says nothing
        return
    assert notices[0] + notices[1] in heard
    assert told(heard) == told(free)


def test_withheld_answer_too_long() -> None:
    """An answer that would have to be kept back and is too long for that is refused, and what was done is undone."""
    made = conversation(COLUMN)
    notice = msg("N", b"SNOTICE\0VNOTICE\0C00000\0M" + b"x" * 100_000 + b"\0\0")
    heard = says(made, notice * (MAX_WITHHELD // 100_000 + 1), query("do 'note'"))
    assert [body for kind, body in told(heard) if kind == "E"] == ["54000"]
    assert len(heard) < 10_000 and made.backend.committed == []
    assert told(made.client(query("select 0")))[-1] == told(ready())[0]


ERROR = b"SERROR\0VERROR\0C23505\0Mthere is " + SECRET + b"\0Dkey (email)=(" + SECRET + b")\0Fx.c\0Ry\0\0"


@pytest.mark.parametrize("where", ["parse", "run"])
@pytest.mark.parametrize("asked", [query("select 'new'"), parse("select 'new'") + bind() + execute() + SYNC])
def test_look_in_errors(where: str, asked: bytes) -> None:
    """An error is told without what is found in it, whether the statement met it or the agent's question about it; so
    it is recorded."""
    made = conversation(LOOK)
    assert isinstance(made.backend, Telling)
    setattr(made.backend, f"fails_to_{where}", msg("E", ERROR))
    heard = made.client(asked)
    (found,) = [fields(body) for body in errors(heard)]
    assert (found["C"], found["M"], found["D"]) == ("23505", "there is ***", "key (email)=(***)")
    assert SECRET not in made.session.content()
    assert [end.error_message for end in made.session.ended().values() if end.error_code] == ["there is ***"]
    assert ("select 'new'", "error") in made.session.outcomes()


@pytest.mark.parametrize("where", ["parse", "run"])
def test_details_are_left_out(where: str) -> None:
    """Where columns are masked no error has a detail, which may quote a row that the statement didn't read."""
    made = conversation(COLUMN)
    assert isinstance(made.backend, Telling)
    setattr(made.backend, f"fails_to_{where}", msg("E", ERROR))
    (found,) = [fields(body) for body in errors(made.client(query("insert into notes values (7)")))]
    assert found["C"] == "23505" and found["M"] == "there is a@corp.example" and "D" not in found


def errors(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while data:
        end = 1 + struct.unpack("!I", data[1:5])[0]
        if data[:1] == b"E":
            found.append(data[5:end])
        data = data[end:]
    return found
