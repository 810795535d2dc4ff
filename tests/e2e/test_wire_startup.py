"""The first bytes of a connection: encryption requests, protocol versions, logins, cancel keys.

https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.conftest import DIRECT, MakeAgent, resource
from tests.e2e.endpoint import Endpoint
from tests.e2e.servers import Server
from tests.e2e.wire import (
    GSSENC_REQUEST,
    SSL_REQUEST,
    TERMINATE,
    Message,
    Wire,
    cancel,
    connect,
    message,
    plain,
    query,
    startup,
)

only_agent = pytest.mark.skipif(DIRECT, reason="about what only the agent does")


def types(messages: list[Message]) -> str:
    return "".join(each.type for each in messages)


def test_same_greeting(direct: Endpoint, through: Endpoint) -> None:
    """From the password request to the first ReadyForQuery the client sees the server's own messages: every
    parameter status, with its value, in its order; only the key is the agent's."""
    with Wire(through.port) as ours, Wire(direct.port) as theirs:
        assert plain(ours.login(through)) == plain(theirs.login(direct))


def test_settings_in_the_startup_message(direct: Endpoint, through: Endpoint) -> None:
    """What a client sets at startup reaches the server."""
    words = {
        "application_name": "x",
        "TimeZone": "Asia/Tokyo",
        "options": "-c geqo=off",
        "client_encoding": "SQL_ASCII",
    }
    answers = []
    for endpoint in (through, direct):
        with connect(endpoint, **words) as wire:
            wire.send(
                query(
                    "SELECT current_setting('geqo'), current_setting('TimeZone'), current_setting('application_name')"
                )
            )
            answers.append((plain(wire.until()), bytes(wire.received[:10])))
    assert answers[0][0] == answers[1][0]


def test_unknown_setting(direct: Endpoint, through: Endpoint) -> None:
    """A setting that the server doesn't know is refused with the server's words and SQLSTATE."""
    answers = []
    for endpoint in (through, direct):
        with Wire(endpoint.port) as wire:
            answers.append(wire.login(endpoint, no_such_setting="1")[-1])
    assert answers[0].fields["M"].endswith(answers[1].fields["M"])
    assert answers[0].fields["C"] == answers[1].fields["C"] == "42704"


def test_gssenc_request_is_declined(through: Endpoint) -> None:
    """GSSENCRequest is answered N; SSLRequest and a startup may follow."""
    with Wire(through.port) as wire:
        wire.send(GSSENC_REQUEST)
        assert wire.exactly(1) == b"N"
        wire.send(SSL_REQUEST)
        assert wire.exactly(1) in (b"S", b"N")
    with Wire(through.port) as wire:
        wire.send(GSSENC_REQUEST)
        assert wire.exactly(1) == b"N"
        assert types(wire.login(through)).endswith("Z")


def test_tls_on_request_and_at_once(shared15: AgentProcess, through15: Endpoint) -> None:
    """TLS by SSLRequest and direct TLS with ALPN `postgresql`, both verified against the agent's own authority."""
    for direct_tls in (False,) if DIRECT else (False, True):
        with Wire(through15.port) as wire:
            assert through15.root is not None
            wire.secure(through15.root, direct_tls)
            assert types(wire.login(through15)).endswith("Z")
            assert wire.socket.selected_alpn_protocol() == ("postgresql" if not DIRECT else None)  # type: ignore[union-attr]
            wire.send(query("SELECT 1"))
            assert types(wire.until()) == "TDCZ"


@only_agent
def test_direct_tls_without_alpn_is_refused(shared: AgentProcess) -> None:
    """Direct TLS without ALPN is refused, as the PostgreSQL manual demands; so is another protocol's."""
    import ssl

    for protocols in ([], ["http/1.1"]):
        context = ssl.create_default_context(cafile=str(shared.root))
        if protocols:
            context.set_alpn_protocols(protocols)
        with (
            socket.create_connection(("127.0.0.1", shared.port), timeout=10) as plain_socket,
            pytest.raises((ssl.SSLError, ConnectionError, EOFError)),
            context.wrap_socket(plain_socket, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(startup({"user": "x", "database": "app"}))
            if not secured.recv(1):
                raise EOFError


@only_agent
def test_bytes_glued_behind_ssl_request(shared: AgentProcess) -> None:
    """Plain bytes that arrive with the SSLRequest are never taken for part of the encrypted session
    (CVE-2021-23222): the connection ends."""
    with Wire(shared.port) as wire:
        wire.send(SSL_REQUEST + startup({"user": "crew", "database": "app"}))
        answer = wire.socket.recv(4096)
        assert answer[:1] in (b"", b"E") or wire.closed()
        assert b"R\0\0\0" not in answer


@only_agent
def test_second_encryption_request(shared: AgentProcess) -> None:
    """Encryption inside of encryption is refused."""
    for again in (SSL_REQUEST, GSSENC_REQUEST):
        with Wire(shared.port) as wire:
            wire.secure(shared.root)
            wire.send(again)
            assert types(wire.rest()) in ("", "E")


@pytest.mark.parametrize("version", [(3, 0), (3, 2)])
def test_known_protocol_versions(direct: Endpoint, through: Endpoint, version: tuple[int, int]) -> None:
    """3.0 and 3.2 are spoken; 3.2's longer key works for cancelling."""
    number = version[0] << 16 | version[1]
    with Wire(through.port) as wire, Wire(direct.port) as theirs:
        assert plain(wire.login(through, number)) == plain(theirs.login(direct, number))
        assert len(wire.key) == 8 if version == (3, 0) else 8 <= len(wire.key) <= 4 + 256
        assert cancels(through, wire)


@pytest.mark.parametrize("version", [(3, 1), (3, 3), (3, 9999)])
def test_later_minor_versions(direct: Endpoint, through: Endpoint, version: tuple[int, int]) -> None:
    """Another minor version is negotiated as PostgreSQL 18 does it (3.9999 is libpq's grease), options starting with
    _pq_ are named as not understood, and the login goes on."""
    number = version[0] << 16 | version[1]
    with Wire(through.port) as ours, Wire(direct.port) as theirs:
        answer = ours.login(through, number, **{"_pq_.test_option": "1"})
        assert plain(answer) == plain(theirs.login(direct, number, **{"_pq_.test_option": "1"}))
        assert types(answer).startswith("v")
        assert types(answer).endswith("Z")


def test_unknown_protocol_options(direct: Endpoint, through: Endpoint) -> None:
    """With 3.0 too, an unknown _pq_ option is negotiated away."""
    answers = []
    for endpoint in (through, direct):
        with Wire(endpoint.port) as wire:
            answers.append(plain(wire.login(endpoint, **{"_pq_.command_tag": "1"})))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("version", [(2, 0), (4, 0), (0, 0), (1234, 5600)])
def test_other_major_versions(through: Endpoint, version: tuple[int, int]) -> None:
    """Any other major version is refused with a message, and the connection ends."""
    with Wire(through.port) as wire:
        wire.send(startup({"user": "x", "database": "app"}, version[0] << 16 | version[1]))
        answer = wire.rest()
        assert types(answer) in ("E", "")
        if answer:
            assert answer[0].fields["C"] in ("0A000", "08P01")


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("!II", 3, 3 << 16),
        struct.pack("!II", 0, 3 << 16),
        struct.pack("!II", 7, 3 << 16),
        struct.pack("!II", 0x7FFFFFFF, 3 << 16),
        struct.pack("!II", 0xFFFFFFFF, 3 << 16),
        struct.pack("!II", 10_005, 3 << 16),
        struct.pack("!II", 12, 3 << 16) + b"user",
        struct.pack("!II", 10, 3 << 16) + b"\0\0",
        struct.pack("!II", 9, 3 << 16) + b"x",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\0" * 64,
        b"\xff" * 64,
    ],
)
def test_impossible_startup(through: Endpoint, head: bytes) -> None:
    """What is no startup message is refused at once, not waited for."""
    with Wire(through.port) as wire:
        wire.send(head)
        assert types(wire.rest()) in ("", "E")


@only_agent
def test_startup_without_a_resource(shared: AgentProcess) -> None:
    """A database that is no resource is refused by name; the error comes after the login, so that strangers learn
    nothing about what there is."""
    endpoint = shared.endpoint("app")
    with Wire(endpoint.port) as wire:
        wire.send(startup({"user": "crew", "database": "nowhere"}))
        answer = wire.until("R", "E")
        if answer[-1].type == "R":
            wire.send(message("p", endpoint.password.encode() + b"\0"))
            answer = wire.until("E", "Z")
        assert answer[-1].fields["S"] == "FATAL"
        assert "nowhere" in answer[-1].fields["M"]


@only_agent
@pytest.mark.parametrize("value", ["true", "database", "1", "on"])
def test_replication_is_refused(shared: AgentProcess, value: str) -> None:
    """A replication connection would read tables past every record: it is refused."""
    endpoint = shared.endpoint("app")
    with Wire(endpoint.port) as wire:
        answer = wire.login(endpoint, replication=value)
        assert answer[-1].type == "E"
        assert "replication" in answer[-1].fields["M"]


def test_second_startup_message(direct: Endpoint, through: Endpoint) -> None:
    """A startup message after the first is no message of the protocol: the session ends as the server's would."""
    for endpoint in (through, direct):
        with connect(endpoint) as wire:
            wire.send(startup({"user": endpoint.user, "database": endpoint.database}))
            assert types(wire.rest()) in ("", "E")


@only_agent
def test_wrong_passwords(make_agent: MakeAgent, pg18: Server) -> None:
    """Every wrong password gets the same refusal with SQLSTATE 28P01 and a message of PostgreSQL's kind."""
    endpoint = make_agent([resource(pg18)]).endpoint("app")
    answers = set()
    for password in ("", "hoop_sa_" + "a" * 43, endpoint.password[:-1]):
        with Wire(endpoint.port) as wire:
            wire.send(startup({"user": "crew", "database": "app"}))
            assert types(wire.until("R", "E")) == "R"
            wire.send(message("p", password.encode() + b"\0"))
            answer = wire.rest()
            assert types(answer) == "E"
            assert answer[0].fields["S"] == "FATAL"
            answers.add((answer[0].fields["C"], answer[0].fields["M"]))
    assert len(answers) == 1
    assert answers.pop()[0] == "28P01"
    with connect(endpoint) as wire:
        assert wire.key


@only_agent
def test_another_message_instead_of_the_password(shared: AgentProcess) -> None:
    """Nothing but a password is taken before the login."""
    for data in (query("SELECT 1"), TERMINATE, message("p", b"no terminator"), message("p", b""), b"p\xff\xff\xff\xff"):
        with Wire(shared.port) as wire:
            wire.send(startup({"user": "crew", "database": "app"}))
            wire.until("R")
            wire.send(data)
            assert types(wire.rest()) in ("", "E")


def cancels(endpoint: Endpoint, wire: Wire, change: Callable[[bytes], bytes] = bytes) -> bool:
    """Whether a CancelRequest with `wire`'s key, changed, cancels its statement."""
    wire.send(query("SELECT pg_sleep(1.5)"))
    timer = threading.Timer(0.3, cancel, (endpoint.port, change(wire.key)))
    timer.start()
    answer = wire.until()
    timer.join()
    return any(each.type == "E" and each.fields["C"] == "57014" for each in answer)


def test_cancel_keys(through: Endpoint) -> None:
    """Only the whole right key cancels."""
    with connect(through) as wire:
        assert cancels(through, wire)
        assert not cancels(through, wire, lambda key: key[:-1] + bytes([key[-1] ^ 1]))
        assert not cancels(through, wire, lambda key: key[:4] + b"\0\0\0\0")
        assert not cancels(through, wire, lambda key: bytes([key[0] ^ 1]) + key[1:])
        assert cancels(through, wire)


@only_agent
def test_the_servers_own_key_is_never_shown(shared: AgentProcess, pg18: Server) -> None:
    """The process id in the key is not the server's, and the server's own does nothing at the agent."""
    with connect(shared.endpoint("app")) as wire:
        wire.send(query("SELECT pg_backend_pid()"))
        backend = int(next(each for each in wire.until() if each.type == "D").body[6:])
        with_theirs = struct.pack("!i", backend) + wire.key[4:]
        if wire.key != with_theirs:
            assert not cancels(shared.endpoint("app"), wire, lambda _key: with_theirs)


def test_cancel_while_idle(through: Endpoint) -> None:
    """A cancel that comes when nothing runs changes nothing."""
    with connect(through) as wire:
        cancel(through.port, wire.key)
        time.sleep(0.1)
        wire.send(query("SELECT 1"))
        assert types(wire.until()) == "TDCZ"


@pytest.mark.parametrize("tail", [b"", b"\0" * 7, b"\0" * 8, b"\0" * 300])
def test_odd_cancel_requests(through: Endpoint, tail: bytes) -> None:
    """A CancelRequest of any length just ends its connection, without an answer."""
    with Wire(through.port) as wire:
        wire.send(struct.pack("!II", 8 + len(tail), 80877102) + tail)
        assert types(wire.rest()) in ("", "E")


@only_agent
def test_a_silent_client_is_let_go(make_agent: MakeAgent, pg18: Server) -> None:
    """Connections that never log in hold no upstream session, and end with the agent."""
    agent = make_agent([resource(pg18)])
    before = agent.settled_descriptors()
    silent = [Wire(agent.port) for _ in range(50)]
    assert eventually(lambda: agent.descriptors() >= before + 50)
    assert types(silent[0].login(agent.endpoint("app"))).endswith("Z")
    for wire in silent:
        wire.socket.close()
    assert eventually(lambda: agent.descriptors() <= before + 4)
