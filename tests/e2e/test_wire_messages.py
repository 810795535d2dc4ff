"""Message by message: what the agent passes on is exactly what the server sends, whatever the client asks.

A conversation is a list of what is sent (bytes) and waited for (a string of message types, any of which ends the
wait). https://www.postgresql.org/docs/current/protocol-flow.html
"""

from __future__ import annotations

import struct
import time

import pytest

from tests.e2e.agent import eventually
from tests.e2e.endpoint import Endpoint
from tests.e2e.servers import Server
from tests.e2e.wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    Message,
    Wire,
    bind,
    close,
    connect,
    copy_data,
    copy_fail,
    describe,
    execute,
    message,
    parse,
    plain,
    query,
)

INT4PL = 177  # pg_proc's OID of int4 + int4
TEN_ROWS = "SELECT i FROM generate_series(1, 10) i"


def function_call(oid: int, *arguments: bytes | None, result: int = 1) -> bytes:
    body = struct.pack("!IHHH", oid, 1, 1, len(arguments))
    for argument in arguments:
        body += struct.pack("!i", -1) if argument is None else struct.pack("!i", len(argument)) + argument
    return message("F", body + struct.pack("!H", result))


FOUR = struct.pack("!i", 4)
CONVERSATIONS: dict[str, list[bytes | str]] = {
    "empty query": [query(""), "Z", query("  ; -- nothing"), "Z"],
    "several statements": [query("SELECT 1; SELECT 2; SET work_mem = '5MB'; SELECT 1/0; SELECT 3"), "Z"],
    "two queries glued": [query("SELECT 1") + query("SELECT 2"), "Z", "Z"],
    "extended": [parse("SELECT $1::int + 1") + bind(b"41") + describe() + execute() + SYNC, "Z"],
    "extended in binary": [
        parse("SELECT $1::int, $2::text", types=(23, 25))
        + bind(FOUR, b"x", formats=(1, 0), results=(1,))
        + describe()
        + execute()
        + SYNC,
        "Z",
    ],
    "described as a statement": [
        parse("SELECT id, name FROM people WHERE id = $1", "s") + describe("S", "s") + SYNC,
        "Z",
        bind(b"1", name="s") + execute() + SYNC,
        "Z",
        bind(b"2", name="s", results=(1, 0)) + execute() + bind(b"3", name="s") + execute() + SYNC,
        "Z",
        close("S", "s") + close("S", "s") + close("P", "never") + SYNC,
        "Z",
    ],
    "portal that suspends": [
        query("BEGIN"),
        "Z",
        parse(TEN_ROWS) + bind(portal="p") + describe("P", "p") + execute("p", 3) + FLUSH,
        "s",
        execute("p", 4) + FLUSH,
        "s",
        execute("p", 3) + FLUSH,
        "s",
        execute("p", 3) + FLUSH,
        "C",
        close("P", "p") + SYNC,
        "Z",
        query("COMMIT"),
        "Z",
    ],
    "two portals in turns": [
        query("BEGIN"),
        "Z",
        parse(TEN_ROWS, "s") + bind(portal="a", name="s") + bind(portal="b", name="s"),
        execute("a", 2) + execute("b", 3) + execute("a", 2) + SYNC,
        "Z",
        execute("b") + execute("a") + SYNC,
        "Z",
        query("ROLLBACK"),
        "Z",
        execute("a") + SYNC,
        "Z",
    ],
    "portal closed before its end": [
        parse(TEN_ROWS) + bind() + execute("", 2) + close("P") + SYNC,
        "Z",
    ],
    "bound, never executed": [parse("SELECT 1") + bind(portal="x") + SYNC, "Z"],
    "error in a pipeline": [
        parse("SELECT 1") + bind() + execute(),
        parse("SELECT 1/0") + bind() + execute() + parse("SELECT 2") + bind() + execute() + SYNC,
        parse("SELECT 3") + bind() + execute() + SYNC,
        "Z",
        "Z",
    ],
    "error in Parse": [parse("SELEC") + bind() + describe() + execute() + SYNC, "Z"],
    "error in Bind": [parse("SELECT $1::int") + bind(b"x") + execute() + SYNC + query("SELECT 1"), "Z", "Z"],
    "unknown statement": [bind(name="nobody") + execute() + SYNC, "Z"],
    "unknown portal": [execute("nobody") + SYNC + describe("P", "nobody") + SYNC, "Z", "Z"],
    "statement name taken": [parse("SELECT 1", "s") + parse("SELECT 2", "s") + SYNC, "Z"],
    "Execute after an error": [
        parse("SELECT 1/0") + bind() + execute() + FLUSH,
        "E",
        execute() + execute() + SYNC,
        "Z",
    ],
    "query inside an extended error": [
        parse("SELECT 1/0") + bind() + execute() + FLUSH,
        "E",
        query("SELECT 'ignored'") + SYNC,
        "Z",
    ],
    "many syncs": [SYNC * 20, *["Z"] * 20],
    "flush without anything": [FLUSH + query("SELECT 1"), "Z"],
    "no data statements": [
        parse("SET work_mem = '4MB'", "s") + describe("S", "s") + bind(name="s") + describe() + execute() + SYNC,
        "Z",
    ],
    "empty extended query": [parse("") + bind() + describe() + execute() + SYNC, "Z"],
    "several statements in Parse": [parse("SELECT 1; SELECT 2") + SYNC, "Z"],
    "COPY out": [query("COPY (SELECT id, name FROM people ORDER BY id) TO STDOUT"), "Z"],
    "COPY out that fails": [query("COPY (SELECT 1 / (50 - i) FROM generate_series(1, 99) i) TO STDOUT"), "Z"],
    "COPY out, extended": [
        parse("COPY (SELECT 1, 'x') TO STDOUT (FORMAT binary)") + bind() + describe() + execute() + SYNC,
        "Z",
    ],
    "COPY in": [
        query("CREATE TEMP TABLE t (a int, b text)"),
        "Z",
        query("COPY t FROM STDIN"),
        "G",
        copy_data(b"1\tx\n2\t") + copy_data(b"\\N\n") + copy_data(b"") + COPY_DONE,
        "Z",
        query("SELECT a + 0, b || '' FROM t; COPY t FROM STDIN; SELECT count(*) FROM t"),
        "G",
        copy_data(b"3\ty\n") + COPY_DONE,
        "Z",
    ],
    "COPY in, given up": [
        query("CREATE TEMP TABLE t (a int)"),
        "Z",
        query("COPY t FROM STDIN"),
        "G",
        copy_data(b"1\n") + copy_fail("changed my mind"),
        "Z",
        query("SELECT count(*) FROM t"),
        "Z",
    ],
    "COPY in, wrong data": [
        query("CREATE TEMP TABLE t (a int)"),
        "Z",
        query("COPY t FROM STDIN"),
        "G",
        copy_data(b"1\nx\n") * 3 + COPY_DONE + query("SELECT 'next'"),
        "Z",
        "Z",
    ],
    "COPY in, extended": [
        query("CREATE TEMP TABLE t (a int)"),
        "Z",
        parse("COPY t FROM STDIN") + bind() + execute() + FLUSH,
        "G",
        copy_data(b"1\n2\n") + COPY_DONE + SYNC,
        "Z",
    ],
    "Sync during COPY in": [
        query("CREATE TEMP TABLE t (a int)"),
        "Z",
        parse("COPY t FROM STDIN") + bind() + execute() + SYNC,
        "G",
        copy_data(b"1\n") + SYNC + FLUSH + copy_data(b"2\n") + COPY_DONE + SYNC,
        "Z",
        query("SELECT count(*) FROM t"),
        "Z",
    ],
    "query during COPY in": [
        query("CREATE TEMP TABLE t (a int)"),
        "Z",
        query("COPY t FROM STDIN"),
        "G",
        query("SELECT 'in the way'"),
        "Z",
        query("SELECT 'after'"),
        "Z",
    ],
    "COPY messages outside of COPY": [copy_data(b"x") + COPY_DONE + copy_fail("?") + query("SELECT 1"), "Z"],
    "FunctionCall": [function_call(INT4PL, FOUR, FOUR), "Z"],
    "FunctionCall with NULL": [function_call(INT4PL, FOUR, None), "Z"],
    "FunctionCall of nothing": [function_call(4_000_000_000), "Z", query("SELECT 1"), "Z"],
    "FunctionCall in an aborted transaction": [
        query("BEGIN; SELECT 1/0"),
        "Z",
        function_call(INT4PL, FOUR, FOUR),
        "Z",
        query("ROLLBACK"),
        "Z",
    ],
    "notices": [query("SET client_min_messages = notice; SELECT shout('x')"), "Z"],
    "settings that are reported": [
        query("SET application_name = 'x'; SET TimeZone = 'Asia/Tokyo'"),
        "Z",
        query("SET client_encoding = 'LATIN1'; SELECT 'ü'"),
        "Z",
        query("SELECT set_config('application_name', 'quiet', false)"),
        "Z",
    ],
    "notifications": [query("LISTEN a"), "Z", query("NOTIFY a, 'x'; SELECT 1"), "Z", query("SELECT 2"), "Z"],
    "transaction states": [query("BEGIN"), "Z", query("SELECT 1/0"), "Z", query("SELECT 1"), "Z", query("END"), "Z"],
    "Bind with too many values": [parse("SELECT $1::text") + bind(b"a", b"b") + execute() + SYNC, "Z"],
    "Describe of an unknown kind": [describe("X") + SYNC, "Z"],
    "Close of an unknown kind": [close("X") + SYNC, "Z"],
    "Sync with a body": [message("S", b"body"), "EZ", query("SELECT 1"), "Z"],
    "large row": [query("SELECT repeat('x', 3000000), repeat('y', 10)"), "Z"],
    "many rows": [query("SELECT i, repeat('x', i % 100) FROM generate_series(1, 30000) i"), "Z"],
    "invalid UTF-8": [message("Q", b"SELECT '\xff\xfe'\0"), "Z", query("SELECT 1"), "Z"],
    "DISCARD ALL": [query("LISTEN a"), "Z", query("DISCARD ALL"), "Z"],
}

MALFORMED: dict[str, bytes] = {
    "text after NUL in Query": message("Q", b"SELECT 1\0 DROP TABLE people\0"),
    "no NUL in Query": message("Q", b"SELECT 1"),
    "Query without a body": message("Q", b""),
    "Parse without types": message("P", b"\0SELECT 1\0"),
    "Bind cut short": parse("SELECT $1") + message("B", b"\0\0\0\x05") + SYNC,
    "Bind with a negative length": parse("SELECT $1") + message("B", b"\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0") + SYNC,
    "Bind with bytes behind it": parse("SELECT 1") + message("B", b"\0\0\0\0\0\0\0\0more") + SYNC,
    "Execute without a limit": parse("SELECT 1") + bind() + message("E", b"\0") + SYNC,
    "Describe of nothing": message("D", b"") + SYNC,
    "FunctionCall cut short": message("F", b"\0\0"),
}


def talk(endpoint: Endpoint, steps: list[bytes | str], pieces: int = 0) -> list[Message]:
    """Goes through `steps`; bytes are sent at once or in `pieces` of so many bytes. The end of the connection ends
    the conversation and shows as a message of type `closed`."""
    seen: list[Message] = []
    with connect(endpoint) as wire:
        for step in steps:
            try:
                if isinstance(step, str):
                    seen.append(wire.receive())
                    while seen[-1].type not in step:
                        seen.append(wire.receive())
                elif pieces:
                    for at in range(0, len(step), pieces):
                        wire.send(step[at : at + pieces])
                        time.sleep(0.0005)
                else:
                    wire.send(step)
            except (EOFError, ConnectionError):
                return [*plain(seen), Message("closed", b"")]
    return plain(seen)


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_same_messages(direct: Endpoint, through: Endpoint, name: str) -> None:
    """The stream of messages is the server's own."""
    assert talk(through, CONVERSATIONS[name]) == talk(direct, CONVERSATIONS[name])


@pytest.mark.parametrize("name", ["extended in binary", "error in a pipeline", "COPY in", "Sync during COPY in"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_same_messages_in_pieces(direct: Endpoint, through: Endpoint, name: str, pieces: int) -> None:
    """However the client's bytes are cut, the answer is the same."""
    assert talk(through, CONVERSATIONS[name], pieces) == talk(direct, CONVERSATIONS[name])


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies(direct: Endpoint, through: Endpoint, name: str) -> None:
    """A body that can't be read is a protocol violation and nothing of it runs. The server lets the session live,
    the agent may end it: with who sends this it has nothing more to talk about."""
    for endpoint in (through, direct):
        errors = [each for each in talk(endpoint, [MALFORMED[name], "ZE"]) if each.type == "E"]
        assert errors[0].fields["C"] in ("08P01", "22P03"), errors


@pytest.mark.parametrize("kind", ["\x01", "R", "T", "Z", "v", "W", "\xff"])
def test_unknown_message_types(direct: Endpoint, through: Endpoint, kind: str) -> None:
    """A type that no client may send ends the connection with a protocol violation, as the server's."""
    answers = [talk(endpoint, [message(kind, b"abc"), "Z"]) for endpoint in (through, direct)]
    for answer in answers:
        assert answer[0].fields["C"] == "08P01"
        assert answer[0].fields["S"] == "FATAL"
        assert answer[-1].type == "closed"


@pytest.mark.parametrize("length", [0, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", ["Q", "P", "S", "d"])
def test_impossible_lengths(direct: Endpoint, through: Endpoint, kind: str, length: int) -> None:
    """A length that can't be is refused at once: the connection ends, before the bytes are waited for."""
    for endpoint in (through, direct):
        with connect(endpoint) as wire:
            wire.send(kind.encode() + struct.pack("!I", length) + b"SELECT 1\0")
            answer = wire.rest()
            assert [each.type for each in answer] in ([], ["E"]), answer
            if answer:
                assert answer[0].fields["C"] == "08P01"


def test_a_gibibyte_declared(through: Endpoint) -> None:
    """A Query that declares 1 GiB less a little is either refused or waited for, but nothing is reserved for it:
    another session works meanwhile, and this one ends when the client does."""
    with connect(through) as wire, connect(through) as other:
        wire.send(b"Q" + struct.pack("!I", 0x3FFFFFF0) + b"SELECT '" + b"x" * 100_000)
        other.send(query("SELECT 1"))
        assert [each.type for each in other.until()] == list("TDCZ")


def test_first_bytes_of_a_message_then_the_end(through: Endpoint) -> None:
    """A client that goes in mid-message harms nobody."""
    for cut in (1, 3, 5, 8):
        with connect(through) as wire:
            wire.send(query("SELECT 'never whole'")[:cut])
    with connect(through) as wire:
        wire.send(query("SELECT 1"))
        assert [each.type for each in wire.until()] == list("TDCZ")


def test_terminate_behind_a_query(through: Endpoint) -> None:
    """A Query followed by Terminate runs and is answered before the connection closes."""
    with connect(through) as wire:
        wire.send(query("SELECT 1") + message("X"))
        assert [each.type for each in wire.rest()] == list("TDCZ")


def test_terminate_behind_a_write(through: Endpoint, pg18: Server) -> None:
    """A client that says goodbye without waiting for its last answer has its statement run, as directly."""
    for number in range(5):
        with connect(through) as wire:
            wire.send(query(f"INSERT INTO ledger VALUES (-{number} - 1, 'goodbye')") + message("X"))
    count = "SELECT count(*) FROM ledger WHERE note = 'goodbye'"
    assert eventually(lambda: pg18.sql(count, database="app") == [(5,)]), pg18.sql(count, database="app")
    pg18.sql("DELETE FROM ledger", database="app")


def test_half_closed(through: Endpoint, direct: Endpoint) -> None:
    """A client that shuts its sending side after a Query: the agent does as the server."""
    import socket

    answers = []
    for endpoint in (through, direct):
        with connect(endpoint) as wire:
            wire.send(query("SELECT 1"))
            wire.socket.shutdown(socket.SHUT_WR)
            answers.append([each.type for each in wire.rest()])
    assert answers[0] == answers[1]


def test_pipelined_behind_the_password(through: Endpoint) -> None:
    """A query glued to the password message is answered after the login."""
    from tests.e2e.wire import startup

    with Wire(through.port) as wire:
        wire.send(startup({"user": through.user, "database": through.database}))
        wire.until("R")
        wire.send(message("p", through.password.encode() + b"\0") + query("SELECT 5"))
        assert wire.until("Z", "E")[-1].type == "Z"
        assert [each.type for each in wire.until()] == list("TDCZ")
