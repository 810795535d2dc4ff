"""A session under way: what passes, what waits, what is refused, and in what order."""

from __future__ import annotations

import struct
import time
from hashlib import sha256

import pytest

from agent.core.commands import Append, CancelServer, Close, Reading, SendClient, SendServer
from agent.core.events import CancelAsked, ClientData, ClientGone, Durable, JournalLost, ServerData, ServerGone, Stop
from agent.core.limits import MAX_HELD, MAX_PENDING, MAX_STATEMENT
from agent.core.pg.errors import fields
from schemas.records import OperationEnded, OperationStarted, ResponseChunk, SessionEnded
from tests.agent.core.pg.dialogue import (
    BOUND,
    COLUMNS,
    COPY_IN,
    COPY_OUT,
    PARSED,
    SERVER_KEY,
    SYNC,
    TERMINATE,
    Talking,
    bind,
    error,
    execute,
    msg,
    parse,
    query,
    ready,
    relaying,
    row,
    startup,
    tag,
    to_client,
    to_server,
)

DONE = tag("UPDATE 1") + ready()


def kinds(talk: Talking) -> list[str]:
    return [
        type(command.record).__name__ if isinstance(command, Append) else type(command).__name__
        for command in talk.heard
    ]


def test_write_is_recorded_before_it_is_forwarded() -> None:
    """Strict: a write leaves for the server only when its record is on the disk, and its answer is recorded before it
    reaches the client."""
    talk = relaying()
    talk.forget()
    assert [type(command) for command in talk.feed(ClientData(query("update t")))] == [Append]
    talk.heard += [SendServer(b"--- the disk ---")]
    talk.feed(Durable(2))
    talk.feed(ServerData(DONE))
    assert kinds(talk) == [
        "OperationStarted",
        "SendServer",
        "SendServer",
        "ResponseChunk",
        "OperationEnded",
        "SendClient",
    ]


def test_read_is_recorded_before_its_answer_is_forwarded() -> None:
    """Strict: a read leaves at once, but no byte of its answer reaches the client before its record is on the disk."""
    talk = relaying()
    asked = talk.client(query("select 1"))
    assert [type(command) for command in asked] == [Append, SendServer]
    answered = talk.server(row("1") + tag("SELECT 1") + ready())
    assert not any(isinstance(command, SendClient) for command in answered)
    assert to_client(talk.durable()) == row("1") + tag("SELECT 1") + ready()


@pytest.mark.parametrize("statement", ["select 1", "update t"])
def test_group_does_not_wait(statement: str) -> None:
    """Group: nothing waits for the disk, but in the list the record is always before what it is the record of."""
    talk = relaying(strict=False)
    asked = talk.client(query(statement))
    answered = talk.server(DONE)
    assert [type(command) for command in asked] == [Append, SendServer]
    assert isinstance(asked[0], Append) and isinstance(asked[0].record, OperationStarted)
    assert [type(command) for command in answered] == [Append, Append, SendClient]


def test_read_behind_a_write_keeps_its_place() -> None:
    """What follows a write that waits for the disk waits behind it."""
    talk = relaying()
    assert to_server(talk.client(query("update t"), query("select 1"))) == b""
    assert to_server(talk.durable()) == query("update t") + query("select 1")


@pytest.mark.parametrize("make", [bind("", "s"), execute("c"), msg("F", b"\0\0\0\1\0\0\0\0\0\0"), query("commit")])
def test_everything_that_may_write_waits(make: bytes) -> None:
    """A bound write, a cursor of SQL's, a function call and a commit wait for the disk."""
    talk = relaying()
    talk.client(parse("delete from t", "s"))
    assert to_server(talk.client(make)) == b""
    assert to_server(talk.durable()) == make


def test_terminate_waits_for_the_write_before_it() -> None:
    """A client that says goodbye while its write waits for the disk has it run."""
    talk = relaying()
    assert to_server(talk.client(query("update t") + TERMINATE)) == b""
    assert talk.feed(ClientGone("closed")) == []
    assert to_server(talk.durable()) == query("update t") + TERMINATE
    talk.server(DONE)
    assert isinstance(talk.feed(ServerGone("closed"))[-1], Close)
    assert talk.outcomes() == [("update t", "ok")]


def test_client_gone_while_its_write_waits() -> None:
    """A client that goes without a word while its write waits for the disk: the write never leaves."""
    talk = relaying()
    talk.client(query("update t"))
    assert to_server(talk.feed(ClientGone("reset"))) == b""
    assert talk.durable() == []
    assert talk.outcomes() == [("update t", "lost")]


def test_client_gone_while_it_runs() -> None:
    """What a client left running is cancelled; an idle one is said goodbye for."""
    talk = relaying()
    talk.client(query("select 1"))
    assert CancelServer(4711, b"skey") in talk.feed(ClientGone("reset"))
    assert to_server(relaying().feed(ClientGone("reset"))) == TERMINATE


def test_journal_lost_withholds_what_waits() -> None:
    """With the journal lost neither the write nor the answer that waited for it leaves."""
    talk = relaying()
    talk.client(query("select 1"))
    talk.server(row("secret") + tag("SELECT 1") + ready())
    last = talk.feed(JournalLost("disk full"))
    assert b"secret" not in to_client(last)
    assert fields(to_client(last)[5:])["C"] == "58030"
    talk = relaying()
    talk.client(query("update t"))
    assert to_server(talk.feed(JournalLost("disk full"))) == b""


def test_server_gone() -> None:
    """A server that closes in mid-answer: the client reads which resource it was, and the operation is lost."""
    talk = relaying()
    talk.client(query("select 1"))
    talk.durable()
    talk.server(COLUMNS + row("1"))
    found = fields(to_client(talk.feed(ServerGone("connection closed")))[5:])
    assert (found["S"], found["C"], "pg/prod" in found["M"]) == ("FATAL", "08006", True)
    assert talk.outcomes() == [("select 1", "lost")]


@pytest.mark.parametrize("goodbye", [b"", TERMINATE])
@pytest.mark.parametrize("last", [ready(), error("57P01", "shutting down", "FATAL")])
def test_server_gone_before_its_answer_may_leave(goodbye: bytes, last: bytes) -> None:
    """A server that answers and closes before the statement is on the disk: its answer is told when it is."""
    talk = relaying()
    talk.client(query("select 1") + goodbye)
    answer = COLUMNS + row("1") + tag("SELECT 1") + last
    assert to_client(talk.server(answer)) == b""
    assert talk.feed(ServerGone("connection closed")) == []
    told = talk.durable()
    assert to_client(told).startswith(answer)
    assert isinstance(told[-1], Close)
    assert talk.outcomes() == [("select 1", "ok" if last == ready() else "error")]


def test_nothing_is_told_in_the_middle_of_a_row() -> None:
    """An error in the middle of a row would be read as the row's: a huge row that is cut off ends without a word."""
    talk = relaying()
    talk.client(query("select 1"))
    talk.durable()
    huge = msg("D", b"\0\1" + struct.pack("!I", 1 << 20) + bytes(1 << 20))
    talk.server(huge[: 1 << 19])
    assert to_client(talk.feed(Stop("57P01", "stop", "stop"))) == b""
    talk = relaying()
    talk.client(query("select 1"))
    talk.durable()
    assert to_client(talk.server(row("12345")[:-2])) == b""
    assert to_client(talk.feed(Stop("57P01", "stop", "stop")))[:1] == b"E"


def test_end_is_the_last_record() -> None:
    """SessionEnded comes after every operation's end, with the counts, and nothing after it."""
    talk = relaying()
    talk.client(query("select 1"))
    talk.feed(Stop("57P01", "stop", "killed by ann"))
    last = talk.records()[-1]
    assert isinstance(last, SessionEnded)
    assert (last.end_reason, last.operations) == ("killed by ann", 1)
    for event in (ClientData(b"x"), ServerData(b"x"), ClientGone("x"), ServerGone("x"), CancelAsked()):
        assert talk.feed(event) == []


def test_cancel_names_the_servers_key() -> None:
    """A CancelRequest for this session becomes one with the server's own key."""
    assert relaying().feed(CancelAsked()) == [CancelServer(4711, SERVER_KEY[4:])]


@pytest.mark.parametrize("length", [MAX_STATEMENT + 1, 0x3FFFFFFF])
def test_oversized_statement_is_refused(length: int) -> None:
    """A statement of more than MAX_STATEMENT bytes is dropped as it comes, the client reads why, and goes on."""
    talk = relaying()
    sent = to_server(talk.client(b"Q" + struct.pack("!I", length), *[bytes(1 << 20)] * 3))
    assert sent == query("hoopctl refused this statement")
    answer = to_client(talk.server(error() + ready()))
    assert fields(answer[5:])["C"] == "54000"
    assert answer.endswith(ready())


@pytest.mark.parametrize(
    "data",
    [
        b"Q\0\0\0\3",
        b"Q\x40\0\0\0",
        b"Q\xff\xff\xff\xff",
        b"S\0\0\x40\0",
        b"?\0\0\0\4",
        b"p\0\0\0\5\0",
        startup(user="u"),
    ],
)
def test_impossible_messages(data: bytes) -> None:
    """Lengths of 3, of 1 GiB and more, unknown types and a second startup message end the session with 08P01."""
    talk = relaying()
    heard = talk.client(data)
    assert fields(to_client(heard)[5:])["C"] == "08P01"
    assert to_server(heard) == b""
    assert isinstance(heard[-1], Close)


def test_text_behind_a_statements_end() -> None:
    """A Query with anything behind its NUL would be read differently by two parsers: refused."""
    assert to_client(relaying().client(msg("Q", b"select 1\0; drop table t\0")))[:1] == b"E"


def test_copy_in() -> None:
    """COPY FROM STDIN, simple: what the client sends passes, is counted and hashed."""
    talk = relaying()
    talk.client(query("copy t from stdin"))
    talk.durable()
    talk.server(COPY_IN)
    data = [msg("d", b"1\n"), msg("d", b"2\n"), msg("c")]
    assert to_server(talk.client(*data)) == b"".join(data)
    talk.server(tag("COPY 2") + ready())
    end = talk.ended()[1]
    assert (end.outcome, end.copied_bytes, end.copied_sha256) == ("ok", 4, sha256(b"1\n2\n").hexdigest())


def test_copy_in_with_an_early_sync() -> None:
    """COPY FROM STDIN, extended, with the Sync that libpq sends before the data: the server ignores it."""
    talk = relaying()
    talk.client(parse("copy t from stdin") + bind() + execute() + SYNC)
    talk.durable()
    talk.server(PARSED + BOUND + COPY_IN)
    talk.client(msg("d", b"1\n") + msg("c") + SYNC)
    talk.server(tag("COPY 1") + ready())
    talk.client(query("select 1"))
    talk.durable()
    answer = row("1") + tag("SELECT 1") + ready()
    assert to_client(talk.server(answer)) == answer
    assert [outcome for _, outcome in talk.outcomes()] == ["ok", "ok"]


def test_copy_out() -> None:
    """COPY TO STDOUT passes as it comes, its pieces counted."""
    talk = relaying()
    talk.client(query("copy t to stdout"))
    talk.durable()
    answer = COPY_OUT + msg("d", b"1\n") * 3 + msg("c") + tag("COPY 3") + ready()
    assert to_client(talk.server(answer)) == answer
    assert talk.ended()[1].rows == 3


def test_function_call() -> None:
    """A FunctionCall is an operation with its arguments."""
    talk = relaying()
    call = msg("F", struct.pack("!IHHHI", 1598, 0, 0, 1, 2) + b"42" + b"\0\0")
    talk.client(call)
    talk.durable()
    talk.server(msg("V", b"\xff\xff\xff\xff") + ready())
    assert talk.outcomes() == [("[function call 1598]", "ok")]


def test_backpressure_of_the_disk() -> None:
    """A side is read no further while MAX_HELD bytes of its wait for the disk."""
    talk = relaying()
    heard = talk.client(query("update " + "x" * MAX_HELD))
    assert heard[-1] == Reading(False, True)
    assert Reading(True, True) in talk.durable()
    talk = relaying()
    talk.client(query("select 1"))
    heard = talk.server(row("x" * MAX_HELD))
    assert heard[-1] == Reading(True, False)
    assert Reading(True, True) in talk.durable()


def test_backpressure_of_a_pipeline() -> None:
    """A client with MAX_PENDING requests under way is read no further until some are answered."""
    talk = relaying()
    heard = talk.client(SYNC * (MAX_PENDING + 5))
    assert to_server(heard) == SYNC * MAX_PENDING
    assert heard[-1] == Reading(False, True)
    heard = talk.server(ready() * 10)
    assert to_server(heard) == SYNC * 5
    assert heard[-1] == Reading(True, True)


def test_answers_of_long_pipelines_take_linear_time() -> None:
    """Ten thousand portals in one pipeline are answered in no time: a client can't stall the others."""
    talk = relaying(strict=False)
    begun = time.process_time()
    talk.client(b"".join(parse("select 1") + bind(f"p{number}") + SYNC for number in range(10_000)))
    for _ in range(100):
        talk.server((PARSED + BOUND + ready()) * 100)
    assert time.process_time() - begun < 5
    assert len(talk.ended()) == 10_000


def test_secret_is_not_recorded() -> None:
    """A password in a statement is replaced in the record, and sent as it is."""
    talk = relaying()
    talk.client(query("alter role r password 'x1y2'"))
    assert b"x1y2" in to_server(talk.durable())
    assert "x1y2" not in talk.started()[0].statement


def test_answers_that_nobody_asked_for() -> None:
    """A server that answers out of turn breaks the protocol; the client reads whose fault it was."""
    for data in (row("1"), tag("SELECT 1"), ready(), COPY_IN, msg("W", b"\0\0\0"), msg("R", bytes(4)), msg("?")):
        talk = relaying()
        heard = talk.server(data)
        assert "pg/prod broke the protocol" in fields(to_client(heard)[5:])["M"]


def test_notices_outside_of_operations() -> None:
    """What arrives while nothing is asked passes and is recorded under sequence 0."""
    talk = relaying()
    note = msg("A", b"\0\0\0\1channel\0payload\0")
    assert to_client(talk.server(note)) == note
    assert [record.sequence for record in talk.records() if isinstance(record, ResponseChunk)] == [0]
    assert not any(isinstance(record, OperationEnded) for record in talk.records())
