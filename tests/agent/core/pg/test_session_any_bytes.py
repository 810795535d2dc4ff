"""Any bytes in any split: the same outcome, never an exception; and what was recorded is what was received."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from agent.core.commands import Close
from agent.core.events import ClientGone, Durable, ServerConnected, ServerGone
from tests.agent.core.pg.dialogue import (
    BOUND,
    CLOSED,
    COLUMNS,
    COPY_IN,
    COPY_OUT,
    NO_DATA,
    OK,
    PARSED,
    SERVER_KEY,
    SSL_REQUEST,
    SUSPENDED,
    SYNC,
    TERMINATE,
    Talking,
    bind,
    close,
    connecting,
    describe,
    error,
    execute,
    guarded,
    login,
    msg,
    parse,
    proving,
    query,
    ready,
    relaying,
    row,
    startup,
    tag,
    to_client,
    to_server,
)

CLIENT = [
    query("select 1"),
    query("copy t from stdin"),
    parse("select $1", "s", (23,)),
    parse("selekt"),
    bind("", "s", [b"\0\0\0\1"], binary=True),
    bind("p", "", [None, b"x"]),
    execute(),
    execute("p", 1),
    describe("S", "s"),
    describe("P", "p"),
    close("S", "s"),
    close("P", "p"),
    SYNC,
    msg("H"),
    msg("d", b"1\t2\n"),
    msg("c"),
    msg("f", b"no\0"),
    msg("F", b"\0\0\0\1\0\0\0\0\0\0"),
    TERMINATE,
    msg("E", b"p"),
    msg("D", b"S"),
    msg("C", b""),
    msg("B", b"\0\0\0\5"),
    msg("B", b"\0\0\0\0\0\1\xff"),
    msg("Q", b"a\0b\0"),
    b"Q\0\0\0\3",
    b"Q\x7f\xff\xff\xff",
    b"Q\x40\0\0\0",
    b"B\x3f\xff\xff\xff",
    b"?\0\0\0\4",
]
SERVER = [
    PARSED,
    BOUND,
    CLOSED,
    NO_DATA,
    SUSPENDED,
    COLUMNS,
    COPY_IN,
    COPY_OUT,
    row("1"),
    msg("D", b"\0\1\0\2\0\0" + bytes(2 << 16)),
    msg("d", b"1\n"),
    msg("c"),
    tag("SELECT 1"),
    tag("SELECT \u00b2"),
    tag("SELECT " + "9" * 30),
    tag("SELECT " + "9" * 5000),
    msg("C", b""),
    msg("I"),
    msg("t", b"\0\1\0\0\0\x17"),
    msg("t", b"\0\7"),
    msg("t", b""),
    msg("V", b"\xff\xff\xff\xff"),
    error(),
    msg("E", b""),
    msg("N", b"\0"),
    msg("S", b"a\0b\0"),
    msg("A", bytes(6)),
    ready(),
    ready("T"),
    msg("Z", b""),
    msg("R", bytes(4)),
    b"D\x7f\xff\xff\xff",
    b"E\xff\xff\xff\xff",
    b"Z\0\0\0\1",
]

BYTES = st.binary(max_size=60)


def stream(messages: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(messages) | st.binary(max_size=12), max_size=14).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[left:right] for left, right in pairwise(edges)]


SPLITS = st.lists(st.integers(0, 1 << 20), max_size=8)


def asked() -> Talking:
    """A session with one request of every kind under way."""
    talk = relaying()
    talk.client(query("select 1") + parse("select $1", "s") + describe("S", "s") + bind("p", "s") + execute("p"))
    talk.client(close("S", "s") + SYNC + msg("F", b"\0\0\0\1\0\0\0\0\0\0") + bind("p", "s") + execute("p") + SYNC)
    talk.durable()
    return talk


def greeted() -> Talking:
    talk = connecting(login("disable"))
    talk.feed(ServerConnected())
    return talk


def copying() -> Talking:
    talk = relaying()
    talk.client(parse("copy t from stdin") + bind() + execute() + SYNC)
    talk.durable()
    talk.server(PARSED + BOUND + COPY_IN)
    return talk


def outcome(make: Callable[[], Talking], pieces: list[bytes], server: bool) -> tuple[bytes, bytes, str | None]:
    talk = make()
    talk.forget()
    for piece in pieces:
        talk.server(piece) if server else talk.client(piece)
    talk.feed(Durable(1_000))
    closes = [command.reason for command in talk.heard if isinstance(command, Close)]
    assert len(closes) <= 1
    return to_client(talk.heard), to_server(talk.heard), closes[0] if closes else None


def check(make: Callable[[], Talking], data: bytes, places: list[int], server: bool) -> None:
    whole, split = outcome(make, [data] if data else [], server), outcome(make, cut(data, places), server)
    if whole[2] is None or "broke" not in whole[2]:
        assert split == whole
    else:
        assert split[2] == whole[2]


@given(st.sampled_from([Talking, proving, connecting, relaying, asked, copying]), stream(CLIENT) | BYTES, SPLITS)
@example(relaying, msg("E", b"p") + SYNC + msg("D", b"S\0"), [7])
@example(relaying, msg("E", b"p") + msg("Q", b"a\0"), [6])
def test_any_bytes_of_the_client(make: Callable[[], Talking], data: bytes, places: list[int]) -> None:
    """However a client's bytes are split, the same is sent on and told, or the same protocol error ends it."""
    check(make, data, places, False)


STARTS = st.sampled_from(
    [
        startup(user="u", database="d"),
        startup(minor=9, user="u"),
        SSL_REQUEST,
        msg("p", b"t\0"),
        b"\x16\3\1",
        b"\0\0\0\x08",
    ]
)


@given(st.lists(STARTS | BYTES, max_size=3).map(b"".join), SPLITS)
def test_any_greeting(data: bytes, places: list[int]) -> None:
    """Before the login, bytes that come in pieces may be answered in pieces; nothing is ever raised."""
    for pieces in ([data], cut(data, places)):
        outcome(Talking, pieces, False)


@given(st.sampled_from([relaying, asked, copying]), stream(SERVER) | BYTES, SPLITS)
def test_any_bytes_of_the_server(make: Callable[[], Talking], data: bytes, places: list[int]) -> None:
    """However a server's bytes are split, the same reaches the client, or the same error ends the session."""
    check(make, data, places, True)


LOGIN = [
    OK,
    ready(),
    msg("K", SERVER_KEY),
    msg("K", b""),
    msg("R", b"\0\0\0\3"),
    msg("R", b"\0\0\0\5salt"),
    msg("R", b"\0\0\0\5"),
    msg("R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
    msg("R", b"\0\0\0\x0br=nonceX,s=c2FsdA==,i=4096"),
    msg("R", b"\0\0\0\x0br=nonceX,s=!,i=4096"),
    msg("R", b"\0\0\0\x0br=nonceX,i=1"),
    msg("R", b"\0\0\0\x0b"),
    msg("R", b"\0\0\0\x0b=,=,="),
    msg("R", b"\0\0\0\x0bi=99999999999,r=,s="),
    msg("R", b"\0\0\0\x0bi=x"),
    msg("R", b"\0\0\0\x0cv=eA=="),
    msg("R", b"\0\0\0\x0ce=other-error"),
    msg("R", b"\0\0\0\x0c"),
    msg("R", b""),
    msg("S", b"a\0b\0"),
    error("28P01"),
    msg("E", b""),
    msg("v", bytes(8)),
    msg("N", b"\0"),
]


@given(stream(LOGIN) | BYTES, SPLITS)
def test_any_login(data: bytes, places: list[int]) -> None:
    """However a server's part of the login is split, the same is said to it and told to the client."""
    check(greeted, data, places, True)


@given(st.lists(st.tuples(st.booleans(), stream(CLIENT), stream(SERVER)), max_size=6), st.sampled_from("cs"))
def test_every_operation_ends_once(turns: list[tuple[bool, bytes, bytes]], last: str) -> None:
    """Whatever both sides say, when the session is over every operation that began has ended, once."""
    talk = relaying()
    for durable, client, server in turns:
        talk.client(client)
        if durable:
            talk.durable()
        talk.server(server)
    talk.feed(ClientGone("x") if last == "c" else ServerGone("x"))
    talk.feed(ServerGone("x"))
    assert sorted(talk.ended()) == [start.sequence for start in talk.started()]


@given(st.lists(st.tuples(st.booleans(), stream(CLIENT), stream(SERVER)), max_size=6), st.sampled_from("cs"))
def test_every_operation_ends_once_under_a_policy(turns: list[tuple[bool, bytes, bytes]], last: str) -> None:
    """The same where a server says whatever it likes to what the agent itself asks."""
    talk = guarded()
    for durable, client, server in turns:
        talk.client(client)
        if durable:
            talk.durable()
        talk.server(server)
    talk.feed(ClientGone("x") if last == "c" else ServerGone("x"))
    talk.feed(ServerGone("x"))
    assert sorted(talk.ended()) == [start.sequence for start in talk.started()]


class Server:
    """A small model of a PostgreSQL server: answers messages as one would, in order."""

    def __init__(self) -> None:
        self.skipping = False
        self.status = "I"

    def answer(self, kind: bytes, fails: bool) -> bytes:
        """What it says to a message of this kind."""
        if self.skipping and kind != b"S":
            return b""
        if kind == b"S" or kind == b"Q":
            self.skipping = False
            done = b"" if kind == b"S" else error() if fails else COLUMNS + row("x") * 3 + tag("SELECT 3")
            return done + ready(self.status)
        if fails:
            self.skipping = True
            return error()
        return {b"P": PARSED, b"B": BOUND, b"D": NO_DATA, b"C": CLOSED, b"E": row("1") + tag("SELECT 1")}[kind]


ASKED = st.sampled_from(
    [query("select 1"), parse("select 2", "s"), bind("p", "s"), execute("p"), describe("S", "s"), SYNC]
)


@given(st.lists(st.tuples(ASKED, st.integers(0, 9)), max_size=25), st.lists(st.integers(1, 40), max_size=20))
def test_recorded_is_what_was_received(asked: list[tuple[bytes, int]], sizes: list[int]) -> None:
    """In any conversation with a server that keeps to the protocol the contents recorded, put together, are the bytes
    that the client got after it was let in, and every operation ends."""
    talk, server = relaying(), Server()
    answers = b""
    for message, chance in asked:
        assert to_server(talk.client(message)) + to_server(talk.durable()) == message
        answers += server.answer(message[:1], chance == 0)
        while sizes and answers:
            piece, answers = answers[: sizes[0]], answers[sizes.pop(0) :]
            talk.server(piece)
    if answers:
        talk.server(answers)
    talk.durable()
    talk.feed(ServerGone("down"))
    assert talk.content() == to_client(talk.heard)
    assert sorted(talk.ended()) == list(range(1, len(talk.started()) + 1))
