"""Whatever a client sends under a policy: nothing forbidden is done, nothing is raised, and what is allowed is answered
as the server alone would."""

from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from agent.core.commands import Close
from tests.agent.core.pg.backend import KILL, LIBRARY, NOTE, Backend, Conversation, told
from tests.agent.core.pg.dialogue import (
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    close,
    describe,
    execute,
    guarded,
    msg,
    parse,
    query,
    ready,
)


def call(oid: int) -> bytes:
    return msg("F", struct.pack("!IHHH", oid, 0, 0, 0))


COPY = query("copy notes from stdin") + msg("d", b"1\n") + msg("c")
ALLOWED = [
    query("select 1"),
    query("insert into notes values (1)"),
    query("do 'note'"),
    query("select 1; insert into notes values (2)"),
    query("insert into notes values (3); selec 1"),
    query("do 'note'; select 2"),
    query("selec"),
    query("begin"),
    query("commit"),
    query("rollback"),
    query("rollback; insert into notes values (4)"),
    query("begin; do 'note'; commit; insert into notes values (5)"),
    COPY,
    parse("insert into notes values (6)"),
    parse("select 1", "s"),
    parse("do 'note'", "n"),
    parse("selec"),
    bind(),
    bind("p", "s"),
    bind("q", "n"),
    bind("", "nothing"),
    execute(),
    execute("p"),
    execute("q"),
    execute("nothing"),
    describe("S", "s"),
    describe("P", "p"),
    close("S", "s"),
    close("P", "p"),
    SYNC,
    FLUSH,
    call(NOTE),
    call(LIBRARY),
    call(99_999),
]
FORBIDDEN = [
    query("delete from users"),
    query("DELETE FROM users where id = 1"),
    query("do 'kill'"),
    query("select 1; delete from users"),
    query("do 'note'; do 'kill'; select 1"),
    query("commit; do 'kill'"),
    query("do 'kill'; commit"),
    parse("delete from users"),
    parse("delete from users", "s"),
    parse("do 'kill'"),
    parse("do 'kill'", "n"),
    call(KILL),
]
BROKEN = [
    TERMINATE,
    msg("B", b"\0\0\0\5"),
    msg("Q", b"a\0b\0"),
    msg("Q", b"delete from users"),
    msg("P", b"\0delete from users\0\0\1"),
    msg("F", b"\0\0"),
    msg("d", b"1"),
    msg("c"),
    msg("f", b"no\0"),
    b"Q\0\0\0\3",
    b"Q\x7f\xff\xff\xff",
    b"?\0\0\0\4",
]
WHOLE = st.lists(st.sampled_from(ALLOWED + FORBIDDEN), max_size=16).map(b"".join)
TORN = st.lists(st.sampled_from(ALLOWED + FORBIDDEN + BROKEN) | st.binary(max_size=12), max_size=14).map(b"".join)
SPLITS = st.lists(st.integers(0, 1 << 20), max_size=10)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[left:right] for left, right in pairwise(edges)]


def played(pieces: list[bytes]) -> tuple[Conversation, bytes, str | None]:
    conversation = Conversation(guarded())
    heard = conversation.client(*pieces)
    closes = [command.reason for command in conversation.session.heard if isinstance(command, Close)]
    assert len(closes) <= 1
    return conversation, heard, closes[0] if closes else None


@given(WHOLE | TORN, SPLITS)
@example(parse("select 1", "s") + bind("p", "s") + execute("p") + query("do 'kill'"), [])
@example(parse("do 'note'", "n") + bind("q", "n") + execute("q") + query("do 'kill'; commit"), [])
@example(parse("do 'kill'") + bind() + execute() + query("commit"), [])
@example(query("begin") + call(KILL) + query("commit"), [])
def test_nothing_forbidden_is_done(data: bytes, places: list[int]) -> None:
    """Whatever comes in whatever pieces, a forbidden statement never runs, and code that does what is forbidden has
    done nothing in the end; who breaks the protocol is told so, and nothing is raised."""
    conversation, _, ended = played(cut(data, places))
    backend = conversation.backend
    assert not any(text.lower().startswith("delete") for text in backend.ran)
    assert "delete" not in backend.committed
    assert ended is None or "broke the protocol" in ended or ended == "client terminated", ended


@given(WHOLE | TORN, SPLITS)
@example(query("begin") + TERMINATE + query("delete from users") + query("delete from users"), [30, 40, 50])
def test_splits_make_no_difference(data: bytes, places: list[int]) -> None:
    """However a client's bytes are split, the same is answered and the same is done."""
    one, heard, ended = played([data] if data else [])
    other, also_heard, also_ended = played(cut(data, places))
    assert ended == also_ended
    if ended is None:
        assert (heard, one.backend.committed) == (also_heard, other.backend.committed)


@given(WHOLE, SPLITS, st.sets(st.integers(0, 60), max_size=4))
@example(COPY + query("select 1"), [], {0})
@example(msg("c") + query("select 1"), [], set())
@example(msg("f", b"no\0") + query("do 'note'"), [], set())
def test_a_session_survives_what_is_cancelled(data: bytes, places: list[int], moments: set[int]) -> None:
    """Whenever the server cancels what it does, a question of the agent's or a statement, nothing forbidden is done,
    and client and server are in step afterwards."""
    conversation = Conversation(guarded())
    conversation.cancelled = moments
    conversation.client(*cut(data, places))
    conversation.cancelled = set()
    conversation.backend.interrupted = False
    conversation.client(SYNC + query("rollback"))
    assert "".join(kind for kind, _ in told(conversation.client(query("select 0")))) == "TDCZ"
    assert conversation.client(parse("select 1") + bind() + execute() + SYNC)[-6:] == ready("I")
    assert "delete" not in conversation.backend.committed


@given(st.lists(st.sampled_from(ALLOWED), max_size=16).map(b"".join), SPLITS)
def test_what_is_allowed_is_answered_as_by_the_server(data: bytes, places: list[int]) -> None:
    """The same answers in the same order, in pipelines, transactions and code, and the same is done."""
    alone = Backend()
    expected = alone.answer(data)
    conversation, heard, ended = played(cut(data, places))
    assert ended is None
    assert told(heard) == told(expected)
    assert conversation.backend.committed == alone.committed
