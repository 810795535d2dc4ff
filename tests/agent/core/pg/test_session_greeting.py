"""What a client may say before it is let in, and what it is told."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.commands import Append, Cancel, Close, Command, Connect, Prove, SecureClient, SendClient
from agent.core.events import ClientData, ClientSecured, JournalLost, Refused, Stop
from agent.core.pg.errors import error_response, fields
from agent.core.pg.messages import ProtocolError
from agent.core.pg.session import PgSession
from agent.core.pg.startup import StartupMessage, divide_options, request
from tests.agent.core.pg.dialogue import (
    ASK_PASSWORD,
    GSS_REQUEST,
    SSL_REQUEST,
    Talking,
    connecting,
    msg,
    proving,
    startup,
    terms,
    to_client,
)
from tests.conversation import talk

TOKEN = msg("p", b"hoop_sa_x\0")
HELLO = startup(user="u", database="prod")


def told(commands: list[Command]) -> dict[str, str]:
    """The fields of the FATAL error that the client read, after which the session closed."""
    assert isinstance(commands[-1], Close)
    data = [command.data for command in commands if isinstance(command, SendClient)][-1]
    assert data[:1] == b"E", data
    found = fields(data[5:])
    assert found["S"] == "FATAL"
    return found


def test_straight_login() -> None:
    """A client over loopback is asked for its token, and the token is looked at."""
    conversation = talk(Talking())
    conversation.when(ClientData(HELLO)).expect(SendClient(ASK_PASSWORD))
    conversation.when(ClientData(TOKEN)).expect(Prove("hoop_sa_x", "u", "prod", None, None))


def test_tls_is_offered() -> None:
    """SSLRequest is answered S, TLS follows, then the startup message."""
    talking = Talking(PgSession(terms(private=False)))
    assert talking.client(SSL_REQUEST) == [SendClient(b"S"), SecureClient(b"")]
    assert talking.feed(ClientSecured(None)) == []
    assert talking.client(HELLO) == [SendClient(ASK_PASSWORD)]


def test_tls_that_is_not_to_be_had() -> None:
    """Without a certificate SSLRequest is answered N, and the client may go on without."""
    talking = Talking(PgSession(terms(tls=False)))
    assert talking.client(SSL_REQUEST) == [SendClient(b"N")]
    assert talking.client(HELLO) == [SendClient(ASK_PASSWORD)]


def test_gss_is_refused() -> None:
    """GSSENCRequest is answered N, and SSLRequest may follow."""
    talking = Talking()
    assert talking.client(GSS_REQUEST, SSL_REQUEST) == [SendClient(b"N"), SendClient(b"S"), SecureClient(b"")]


@pytest.mark.parametrize("asked", [SSL_REQUEST, GSS_REQUEST])
def test_bytes_behind_the_request_for_encryption(asked: bytes) -> None:
    """What comes glued behind SSLRequest could be from anyone (CVE-2021-23222): refused."""
    assert "unencrypted data" in told(Talking().client(asked + HELLO))["M"]


@pytest.mark.parametrize("asked", [SSL_REQUEST, GSS_REQUEST])
def test_encryption_in_encryption(asked: bytes) -> None:
    """Inside TLS nobody asks for encryption again."""
    talking = Talking()
    talking.client(SSL_REQUEST)
    talking.feed(ClientSecured(None))
    assert "second time" in told(talking.client(asked))["M"]


@pytest.mark.parametrize(("alpn", "let_in"), [("postgresql", True), (None, False), ("h2", False)])
def test_direct_tls(alpn: str | None, let_in: bool) -> None:
    """A client that begins TLS at once has to agree on `postgresql` by ALPN."""
    talking = Talking()
    assert talking.client(b"\x16\3\1\2\0") == [SecureClient(b"\x16\3\1\2\0")]
    answer = talking.feed(ClientSecured(alpn))
    if let_in:
        assert answer == []
    else:
        assert isinstance(answer[-1], Close)
        assert talking.client(HELLO) == []


def test_direct_tls_without_a_certificate() -> None:
    """Where there is no TLS a handshake is no startup packet."""
    assert "length" in told(Talking(PgSession(terms(tls=False))).client(b"\x16\3\1\2\0\0\0\0"))["M"]


def test_token_off_loopback_needs_tls() -> None:
    """No token is asked for where others could read it; the error says what to do."""
    found = told(Talking(PgSession(terms(private=False))).client(HELLO))
    assert found["C"] == "28000"
    assert "sslmode=require" in found["M"]


@pytest.mark.parametrize(("minor", "negotiated"), [(0, None), (1, None), (2, None), (3, 2), (9, 2), (9999, 2)])
def test_minor_versions(minor: int, negotiated: int | None) -> None:
    """3.0 to 3.2 are taken as they are; of anything newer 3.2 is offered."""
    answer = to_client(Talking().client(startup(minor=minor, user="u", database="prod")))
    offer = b"" if negotiated is None else msg("v", struct.pack("!HHI", 3, negotiated, 0))
    assert answer == offer + ASK_PASSWORD


def test_unknown_protocol_options() -> None:
    """Options of the protocol that the agent doesn't know are named to the client."""
    answer = to_client(Talking().client(struct.pack("!II", 34, 196608) + b"user\0u\0_pq_.x\x001\0_pq_.y\x002\0\0"))
    assert answer == msg("v", struct.pack("!HHI", 3, 0, 2) + b"_pq_.x\0_pq_.y\0") + ASK_PASSWORD


@pytest.mark.parametrize("major", [0, 1, 2, 4, 1000])
def test_other_major_versions(major: int) -> None:
    """Any other major version is told what there is."""
    found = told(Talking().client(startup(major=major, user="u")))
    assert (found["C"], "3.0 to 3.2" in found["M"]) == ("0A000", True)


def test_cancel() -> None:
    """A CancelRequest is passed on with its key, whatever its length, and nothing is said."""
    for key in (bytes(8), bytes(36), bytes(260)):
        heard = Talking().client(struct.pack("!II", 8 + len(key), 80877102) + key)
        assert heard == [Cancel(key), Close("cancel request")]
    assert told(Talking().client(struct.pack("!II", 12, 80877102) + bytes(4)))["C"] == "08P01"
    assert told(Talking().client(struct.pack("!II", 269, 80877102) + bytes(261)))["C"] == "08P01"


@pytest.mark.parametrize("value", ["true", "database", "1", "on", "yes"])
def test_replication(value: str) -> None:
    """Replication streams can't be masked: refused, feature not supported."""
    assert told(Talking().client(startup(user="u", replication=value)))["C"] == "0A000"


@pytest.mark.parametrize("value", ["false", "off", "no", "0"])
def test_no_replication(value: str) -> None:
    """A client that says that it doesn't replicate is like any other."""
    assert Talking().client(startup(user="u", replication=value)) == [SendClient(ASK_PASSWORD)]


@pytest.mark.parametrize("length", [0, 3, 4, 7, 10_001, 0x7FFFFFFF, 0xFFFFFFFF])
def test_lengths(length: int) -> None:
    """A startup packet of an impossible length ends the session."""
    assert "length" in told(Talking().client(struct.pack("!II", length, 196608)))["M"]


@pytest.mark.parametrize("body", [b"", b"user", b"user\0u", b"user\0u\0", b"\0u\0\0", b"user\0u\0\0\0", b"user\0\0"])
def test_layouts(body: bytes) -> None:
    """Parameters that aren't pairs of strings with an end are refused."""
    assert told(Talking().client(struct.pack("!II", 8 + len(body), 196608) + body))["C"] == "08P01"


@pytest.mark.parametrize(
    ("options", "run", "for_whom", "left"),
    [
        ("-c hoop.run=r1", "r1", None, ""),
        ("-chop=1 -choop.run=r1", "r1", None, "-chop=1"),
        ("--hoop.run=r1 -c work_mem=1MB", "r1", None, "-c work_mem=1MB"),
        ("-c hoop.run=a\\ b -c hoop.on-behalf-of=ann", "a b", "ann", ""),
        ("-c HOOP.RUN=r1", "r1", None, ""),
        ("-c  hoop.run=1 --hoop.run=2", "2", None, ""),
        ("-c search_path=a\\ b\\\\c", None, None, "-c search_path=a\\ b\\\\c"),
        ("-c", None, None, "-c"),
        ("", None, None, ""),
    ],
)
def test_options(options: str, run: str | None, for_whom: str | None, left: str) -> None:
    """hoop.run and hoop.on_behalf_of are taken out of the options; all else stays as the server would read it."""
    own, rest = divide_options(options)
    assert (own.get("hoop.run"), own.get("hoop.on_behalf_of"), rest) == (run, for_whom, left)


@given(st.lists(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=8), max_size=6))
def test_options_are_divided_once(words: list[str]) -> None:
    """What is left of options holds nothing of hoopctl's own, and dividing it again changes nothing."""
    escaped = " ".join("".join("\\" + char if char in " \t\n\r\f\v\\" else char for char in word) for word in words)
    _, left = divide_options(escaped)
    assert divide_options(left) == ({}, left)


@given(
    st.lists(st.tuples(*[st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=9)] * 2))
)
def test_startup_is_read_as_it_was_written(pairs: list[tuple[str, str]]) -> None:
    """The parameters of a startup message are read in order, and nothing behind it."""
    words = b"".join(name.encode() + b"\0" + value.encode() + b"\0" for name, value in pairs)
    data = struct.pack("!II", len(words) + 9, 196608) + words + b"\0"
    assert request(data + b"more") == (StartupMessage(0, tuple(pairs)), len(data))
    assert request(data[:-1]) is None


@given(st.text(), st.none() | st.text(), st.text())
def test_errors_are_read_as_they_were_made(what: str, hint: str | None, severity: str) -> None:
    """The fields of an error are those that it was made with, up to a NUL."""
    found = fields(error_response("XX000", what, hint, severity=severity)[5:])
    assert found["M"] == what.split("\0")[0]
    assert found.get("H") == (None if hint is None else hint.split("\0")[0])


@pytest.mark.parametrize("data", [b"Q\0\0\0\x05\0", b"p\0\0\0\x04", b"p\0\0\0\3", b"p\0\1\0\0", b"p\x7f\xff\xff\xff"])
def test_password_out_of_turn(data: bytes) -> None:
    """Anything but a password where one is asked for ends the session."""
    assert told(Talking().client(HELLO, data))["C"] == "08P01"


def test_flood_before_the_login_is_answered() -> None:
    """A client that goes on talking while its token is looked at is cut off."""
    assert "before the login" in told(proving().client(b"Q" * 6_000, b"Q" * 6_000))["M"]


def test_refusal_is_told() -> None:
    """Who is not let in reads why, with a hint, and nothing of it is recorded by the session."""
    heard = proving().feed(Refused("28P01", "no", "try again"))
    assert heard == [SendClient(error_response("28P01", "no", "try again", severity="FATAL")), Close("refused")]


def test_stop_while_logging_in() -> None:
    """A login that takes too long is ended with an error."""
    for talking in (Talking(), proving(), connecting()):
        assert told(talking.feed(Stop("08006", "timeout", "slow")))["C"] == "08006"


def test_journal_lost_while_connecting() -> None:
    """A journal that fails before the server is reached ends the session with 58030."""
    assert told(connecting().feed(JournalLost("disk full")))["C"] == "58030"


def test_session_is_recorded_before_the_server_is_dialled() -> None:
    """SessionStarted is appended before Connect."""
    heard = connecting().heard
    assert [type(command) for command in heard[-2:]] == [Append, Connect]


def test_request_of_garbage() -> None:
    """A request that is none raises the one error."""
    with pytest.raises(ProtocolError):
        request(b"GET / HTTP/1.1\r\n")
