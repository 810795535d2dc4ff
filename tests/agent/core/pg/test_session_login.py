"""How the agent logs in to a server: every sslmode, every kind of authentication, and what a bad server gets."""

from __future__ import annotations

import struct
from hashlib import md5

import pytest
from scramp import ScramMechanism

from agent.core.commands import Close, Command, Connect, SecureServer
from agent.core.events import Login, ServerConnected, ServerGone, ServerSecured, ServerUnreachable
from agent.core.pg.errors import fields
from tests.agent.core.pg.dialogue import (
    KEY,
    OK,
    SERVER_KEY,
    SSL_REQUEST,
    Talking,
    connecting,
    error,
    login,
    msg,
    ready,
    startup,
    to_client,
    to_server,
)

HELLO = startup(user="app", database="db")
WELCOME = OK + msg("S", b"server_version\x0018\0") + msg("K", SERVER_KEY) + ready()
MODES = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]


def connected(server: Login) -> tuple[Talking, list[Command]]:
    talk = connecting(server)
    return talk, talk.feed(ServerConnected())


def failed(commands: list[Command]) -> dict[str, str]:
    """The error that the client read when the login came to nothing."""
    assert isinstance(commands[-1], Close), commands
    return fields(to_client(commands)[5:])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("local", [False, True])
def test_first_words(mode: str, local: bool) -> None:
    """TLS is asked for first by prefer and stronger, never over a Unix-domain socket."""
    _, said = connected(login(mode, local=local))
    plain = local or mode in ("disable", "allow")
    assert to_server(said) == (HELLO if plain else SSL_REQUEST)


@pytest.mark.parametrize("mode", MODES[2:])
def test_server_with_tls(mode: str) -> None:
    """S begins TLS, and the startup message follows inside."""
    talk, _ = connected(login(mode))
    assert talk.server(b"S") == [SecureServer()]
    assert to_server(talk.feed(ServerSecured(None))) == HELLO
    assert to_client(talk.server(WELCOME)).endswith(msg("K", KEY[:8]) + ready())


@pytest.mark.parametrize("mode", MODES[2:])
def test_server_without_tls(mode: str) -> None:
    """N is good enough for prefer, and the end for require and stronger."""
    talk, _ = connected(login(mode))
    answer = talk.server(b"N")
    if mode == "prefer":
        assert to_server(answer) == HELLO
    else:
        assert mode in failed(answer)["M"]
        assert to_server(answer) == b""


@pytest.mark.parametrize("mode", MODES[2:])
@pytest.mark.parametrize("answer", [b"E", b"H", b"\x15\3\1", b"SS", b"S" + WELCOME, error()])
def test_other_answers_to_the_request_for_tls(mode: str, answer: bytes) -> None:
    """Anything but a lone S or N ends the login; nothing that came before TLS is believed (CVE-2021-23222)."""
    talk, _ = connected(login(mode))
    heard = talk.server(answer)
    assert failed(heard)["C"] in ("08001", "08P01")
    assert to_server(heard) == b""


def test_prefer_tries_without_tls() -> None:
    """Under prefer a failed handshake and a refusal inside TLS are tried again without, once."""
    talk, _ = connected(login("prefer"))
    talk.server(b"S")
    assert talk.feed(ServerGone("TLS: bad")) == [Connect()]
    assert to_server(talk.feed(ServerConnected())) == HELLO
    assert failed(talk.server(error("28000", "no pg_hba.conf entry")))["C"] == "08001"
    talk, _ = connected(login("prefer"))
    talk.server(b"S")
    talk.feed(ServerSecured(None))
    assert talk.server(error("28000", "no pg_hba.conf entry")) == [Connect()]
    assert to_server(talk.feed(ServerConnected())) == HELLO


def test_allow_tries_with_tls() -> None:
    """Under allow a refusal without TLS is tried again with it, once."""
    talk, _ = connected(login("allow"))
    assert talk.server(error("28000", "no pg_hba.conf entry")) == [Connect()]
    assert to_server(talk.feed(ServerConnected())) == SSL_REQUEST
    assert talk.server(b"S") == [SecureServer()]
    talk.feed(ServerSecured(None))
    assert "refused" in failed(talk.server(error("28P01", "refused")))["M"]


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_strong_modes_try_once(mode: str) -> None:
    """With require and stronger there is no second try without TLS."""
    talk, _ = connected(login(mode))
    talk.server(b"S")
    assert failed(talk.feed(ServerGone("certificate verify failed")))["C"] == "08006"


def test_cleartext() -> None:
    """A server that asks for the password gets it."""
    talk, _ = connected(login())
    assert to_server(talk.server(msg("R", b"\0\0\0\3"))) == msg("p", b"pw\0")


def test_md5() -> None:
    """md5 as PostgreSQL defines it."""
    talk, _ = connected(login())
    inner = md5(b"pwapp").hexdigest().encode()
    answer = b"md5" + md5(inner + b"salt").hexdigest().encode()
    assert to_server(talk.server(msg("R", b"\0\0\0\5salt"))) == msg("p", answer + b"\0")


@pytest.mark.parametrize("method", [2, 6, 7, 8, 9, 13, 99, 0xFFFFFFFF])
def test_unknown_authentication(method: int) -> None:
    """Other kinds of authentication are named in the error."""
    talk, _ = connected(login())
    assert str(method) in failed(talk.server(msg("R", struct.pack("!I", method))))["M"]


@pytest.mark.parametrize("asked", [b"\0\0\0\3", b"\0\0\0\5salt", b"\0\0\0\x0aSCRAM-SHA-256\0\0"])
def test_no_password(asked: bytes) -> None:
    """A resource without a password can't answer a server that asks for one."""
    talk, _ = connected(login(password=None))
    assert "has none" in failed(talk.server(msg("R", asked)))["M"]


@pytest.mark.parametrize("asked", [b"\0\0\0\0", b"\0\0\0\3", b"\0\0\0\5salt", b"\0\0\0\x0aSCRAM-SHA-256\0\0"])
def test_channel_binding_required(asked: bytes) -> None:
    """Where channel binding is required nothing weaker is accepted, nor given a password."""
    talk, _ = connected(login("require", binding="require"))
    talk.server(b"S")
    talk.feed(ServerSecured(b"hash"))
    heard = talk.server(msg("R", asked))
    failed(heard)
    assert to_server(heard) == b""


@pytest.mark.parametrize("binding", ["disable", "prefer", "require"])
@pytest.mark.parametrize("end_point", [b"hash of the certificate", None])
def test_scram(binding: str, end_point: bytes | None) -> None:
    """SCRAM-SHA-256 against a server of scramp's, bound to the channel where both sides can."""
    talk, _ = connected(login("require", binding=binding))
    talk.server(b"S")
    talk.feed(ServerSecured(end_point))
    said = talk.server(msg("R", b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"))
    if end_point is None and binding == "require":
        assert "SASL" in failed(said)["M"]
        return
    name, _, rest = to_server(said)[5:].partition(b"\0")
    bound = end_point is not None and binding != "disable"
    assert name == (b"SCRAM-SHA-256-PLUS" if bound else b"SCRAM-SHA-256")
    mechanism = ScramMechanism(name.decode())
    known = mechanism.make_auth_info("pw")
    channel = ("tls-server-end-point", end_point) if bound and end_point is not None else None
    server = mechanism.make_server(lambda user: known, channel_binding=channel)
    server.set_client_first(rest[4:].decode())
    said = talk.server(msg("R", b"\0\0\0\x0b" + server.get_server_first().encode()))
    server.set_client_final(to_server(said)[5:].decode())
    assert talk.server(msg("R", b"\0\0\0\x0c" + server.get_server_final().encode())) == []
    assert to_client(talk.server(WELCOME)).startswith(OK)


def scram() -> Talking:
    """A session in the middle of SCRAM."""
    talk, _ = connected(login())
    talk.server(msg("R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"))
    return talk


def test_server_that_does_not_know_the_password() -> None:
    """A server that ends SCRAM without its proof, or with a wrong one, isn't trusted."""
    assert "without proving" in failed(scram().server(WELCOME))["M"]
    talk = scram()
    answer = talk.server(msg("R", b"\0\0\0\x0br=nonceX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"))
    assert to_server(answer), answer
    assert "SCRAM" in failed(talk.server(msg("R", b"\0\0\0\x0cv=d3Jvbmc=")))["M"]


@pytest.mark.parametrize("count", ["0", "-1", "1000001", "99999999999999999999", "x"])
def test_iteration_bomb(count: str) -> None:
    """A server can't have the agent compute for minutes."""
    heard = scram().server(msg("R", b"\0\0\0\x0br=nonceX,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=" + count.encode()))
    assert "SCRAM" in failed(heard)["M"]


def test_second_scram() -> None:
    """Nor by asking for one SCRAM after another."""
    heard = scram().server(msg("R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"))
    assert failed(heard)["C"] == "08P01"


@pytest.mark.parametrize(
    ("code", "told"),
    [("28P01", "08001"), ("28000", "08001"), ("3D000", "3D000"), ("53300", "53300"), ("57P03", "57P03"), ("", "08001")],
)
def test_refusals(code: str, told: str) -> None:
    """What a server's refusal tells of its state passes; what it tells of the agent's own login becomes 08001."""
    talk, _ = connected(login())
    found = failed(talk.server(error(code, "why", "FATAL")))
    assert (found["C"], "pg/prod" in found["M"], "why" in found["M"]) == (told, True, True)


def test_connection_that_does_not_come_about() -> None:
    """The client reads which resource could not be reached, and why."""
    found = failed(connecting().feed(ServerUnreachable("refused")))
    assert (found["C"], found["M"]) == ("08001", "connection to resource pg/prod failed: refused")
    talk, _ = connected(login())
    assert failed(talk.feed(ServerGone("closed")))["C"] == "08006"


@pytest.mark.parametrize("data", [b"R\0\0\0\3", b"R\x7f\xff\xff\xff", b"HTTP/1.1 400", msg("D", b"x"), msg("R", b"\0")])
def test_server_that_is_none(data: bytes) -> None:
    """Whatever doesn't speak the protocol ends the login with 08P01."""
    talk, _ = connected(login())
    assert failed(talk.server(data))["C"] == "08P01"


def test_welcome_is_passed_on() -> None:
    """Parameters and notices of the login reach the client, the server's key does not, and the key is offered."""
    talk, _ = connected(login())
    heard = talk.server(WELCOME)
    expected = OK + msg("S", b"server_version\x0018\0") + msg("K", KEY[:8]) + ready()
    assert to_client(heard) == expected
