"""How the agent logs in to servers: every sslmode of libpq's against every way a server may ask.

The server is the distribution's, with TLS; its certificate is good, of another name, expired, or of another authority.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.e2e import servers
from tests.e2e.agent import AgentProcess
from tests.e2e.certificates import Authority
from tests.e2e.conftest import PASSWORD
from tests.e2e.servers import Server

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
METHODS = ("trust", "password", "md5", "scram", "cert", "tlsonly", "plainonly")
CERTIFICATES = ("good", "othername", "expired", "stranger")
HBA = (
    "host all trust 127.0.0.1/32 trust",
    "host all password 127.0.0.1/32 password",
    "host all md5 127.0.0.1/32 md5",
    "host all scram 127.0.0.1/32 scram-sha-256",
    "hostssl all cert 127.0.0.1/32 cert",
    "hostssl all tlsonly 127.0.0.1/32 scram-sha-256",
    "hostnossl all plainonly 127.0.0.1/32 scram-sha-256",
)


def roles(server: Server) -> Server:
    for method in METHODS:
        encryption = "md5" if method == "md5" else "scram-sha-256"
        server.sql(f"SET password_encryption = '{encryption}'; CREATE ROLE {method} LOGIN PASSWORD '{PASSWORD}'")
    return server


@pytest.fixture(scope="module")
def upstreams(
    system_binaries: servers.Binaries, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Server]]:
    """A server for each kind of certificate."""
    stranger = Authority(tmp_path_factory.mktemp("stranger"), "stranger")
    pairs = {
        "good": authority.issue("good", "localhost", "localhost", "127.0.0.1"),
        "othername": authority.issue("othername", "db.example.com", "db.example.com"),
        "expired": authority.issue("expired", "localhost", "localhost", "127.0.0.1", expired=True),
        "stranger": stranger.issue("stranger", "localhost", "localhost", "127.0.0.1"),
    }
    made = {name: Server(system_binaries, HBA, tls=pair, clients=authority.ca) for name, pair in pairs.items()}
    yield {name: roles(server.start()) for name, server in made.items()}
    for server in made.values():
        server.remove()


def parameters(method: str, sslmode: str, root: Path, files: dict[str, Path]) -> dict[str, str]:
    """What both libpq and the agent are told."""
    words = {"sslmode": sslmode}
    if sslmode in ("verify-ca", "verify-full"):
        words["sslrootcert"] = str(root)
    if method == "cert":
        words |= {name: str(path) for name, path in files.items()}
    return words


@pytest.fixture(scope="module")
def client_files(authority: Authority) -> dict[str, Path]:
    pair = authority.issue("client", "cert")
    return {"sslcert": pair.certificate, "sslkey": pair.key}


def cases() -> list[tuple[str, str, str]]:
    """(certificate, method, sslmode): every method and mode with the good one, every mode with the others."""
    good = [("good", method, sslmode) for method in METHODS for sslmode in SSLMODES]
    return good + [(certificate, "scram", sslmode) for certificate in CERTIFICATES[1:] for sslmode in SSLMODES]


def name(certificate: str, method: str, sslmode: str) -> str:
    return f"{certificate}-{method}-{sslmode}"


@pytest.fixture(scope="module")
def gate(
    upstreams: dict[str, Server],
    authority: Authority,
    client_files: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[AgentProcess]:
    """An agent with a resource for each case, and some more."""
    resources = []

    def add(title: str, server: Server, user: str, words: dict[str, str], password: bool = True) -> None:
        query = "&".join(f"{key}={value}" for key, value in words.items())
        url = f"postgresql://{user}@127.0.0.1:{server.port}/postgres?{query}"
        secret = {"password": {"env": "APP_PASSWORD"}} if password else {}
        resources.append({"name": title, "type": "pg", "upstream": url} | secret)

    for case in cases():
        certificate, method, sslmode = case
        words = parameters(method, sslmode, authority.ca, client_files)
        add(name(*case), upstreams[certificate], method, words, method not in ("trust", "cert"))
    good = upstreams["good"]
    add("binding-require-tls", good, "scram", {"sslmode": "require", "channel_binding": "require"})
    add("binding-require-plain", good, "scram", {"sslmode": "disable", "channel_binding": "require"})
    add("binding-require-md5", good, "md5", {"sslmode": "require", "channel_binding": "require"})
    add("binding-disable", good, "scram", {"sslmode": "require", "channel_binding": "disable"})
    add("no-password", good, "scram", {"sslmode": "require"}, password=False)
    add("no-certificate", good, "cert", {"sslmode": "require"})
    agent = AgentProcess(tmp_path_factory.mktemp("gate"), resources, {"APP_PASSWORD": PASSWORD}).start()
    yield agent
    agent.stop()


def outcome(dsn: str) -> bool | str:
    """Whether the session with the server is encrypted; `refused` if there is none."""
    try:
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
            assert row
            return bool(row[0])
    except psycopg.OperationalError:
        return "refused"


@pytest.mark.parametrize(("certificate", "method", "sslmode"), cases())
def test_as_libpq_does(
    upstreams: dict[str, Server],
    gate: AgentProcess,
    authority: Authority,
    client_files: dict[str, Path],
    certificate: str,
    method: str,
    sslmode: str,
) -> None:
    """The agent's session with the server is encrypted, plain or refused exactly where libpq's is."""
    words = parameters(method, sslmode, authority.ca, client_files)
    secret = {} if method in ("trust", "cert") else {"password": PASSWORD}
    libpq = upstreams[certificate].dsn(method, gssencmode="disable", **words, **secret)
    assert outcome(gate.endpoint(name(certificate, method, sslmode)).dsn()) == outcome(libpq)


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("binding-require-tls", True),
        ("binding-require-plain", "refused"),
        ("binding-require-md5", "refused"),
        ("binding-disable", True),
        ("no-password", "refused"),
        ("no-certificate", "refused"),
    ],
)
def test_channel_binding_and_what_is_missing(gate: AgentProcess, resource: str, expected: bool | str) -> None:
    """channel_binding=require is kept; a password or certificate that is missing is an error, not a hang."""
    assert outcome(gate.endpoint(resource).dsn()) == expected


@pytest.mark.parametrize(
    "title", ["othername-scram-verify-full", "expired-scram-verify-ca", "stranger-scram-verify-ca"]
)
def test_errors_say_why(gate: AgentProcess, title: str) -> None:
    """A certificate that is refused is told as such: which resource, and what is wrong with it."""
    with pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(gate.endpoint(title).dsn())
    text = str(caught.value)
    assert title in text
    assert "certificate" in text
    reason = {"othername": "127.0.0.1", "expired": "expired", "stranger": "certificate"}[title.split("-")[0]]
    assert reason in text
