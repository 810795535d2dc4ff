"""`hoopctl connect`: where the client is led, and that nothing shows or weakens the credential."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from cli import connect
from cli.main import run
from schemas.control import Credential

CREDENTIAL = Credential("127.0.0.1", 5439, "prod", "local:ann", "hoop_cr_secret", 0.0, "/state/tls/ca.pem")

STUB = """#!/bin/sh
printf '%s\\n' "$@"
printf 'password=%s\\n' "$PGPASSWORD"
cat
exit 7
"""


def test_environment_leads_to_the_agent_only() -> None:
    """Of the caller's PG variables those that would lead elsewhere, weaken the verification or hold another secret are
    dropped; what merely says how to show things stays; a hoopctl token isn't handed on."""
    inherited = {
        "PGHOST": "evil",
        "PGHOSTADDR": "6.6.6.6",
        "PGSERVICE": "evil",
        "PGSERVICEFILE": "evil",
        "PGPASSFILE": "evil",
        "PGSSLMODE": "disable",
        "PGSSLCERT": "x",
        "PGSSLROOTCERT": "evil.pem",
        "PGREQUIREAUTH": "none",
        "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby",
        "PGGSSENCMODE": "require",
        "PGSYSCONFDIR": "evil",
        "PGLOCALEDIR": "evil",
        "PGSSLNEGOTIATION": "x",
        "PGREQUIRESSL": "0",
        "PGOPTIONS": "-c statement_timeout=5s",
        "PGTZ": "UTC",
        "PATH": "/bin",
        "HOOPCTL_TOKEN": "hoop_sa_secret",
    }
    assert connect.libpq(inherited, CREDENTIAL, "build/17") == {
        "PATH": "/bin",
        "PGTZ": "UTC",
        "PGOPTIONS": "-c statement_timeout=5s -c hoop.run=build/17",
        "PGHOST": "127.0.0.1",
        "PGPORT": "5439",
        "PGDATABASE": "prod",
        "PGUSER": "local:ann",
        "PGPASSWORD": "hoop_cr_secret",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/state/tls/ca.pem",
    }


def test_uri_round_trip() -> None:
    """The printed URI says the same, whatever characters are in its parts."""
    odd = Credential("::1", 1, "a/b?c", "local:a@b", "p:w/%", 0.0, "/a b/ca&.pem")
    split = urlsplit(connect.uri(odd, "r1"))
    assert (split.hostname, split.port) == ("::1", 1)
    assert (unquote(split.username or ""), unquote(split.password or "")) == ("local:a@b", "p:w/%")
    assert unquote(split.path) == "/a/b?c"
    assert parse_qs(split.query) == {
        "sslmode": ["verify-full"],
        "sslrootcert": ["/a b/ca&.pem"],
        "options": ["-c hoop.run=r1"],
    }


def test_listening_everywhere() -> None:
    """An agent that listens on every address is reached on loopback: a wildcard is no place to connect to."""
    for wildcard, expected in (("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("db", "db")):
        assert connect.host(Credential(wildcard, 1, "d", "u", "p", 0.0)) == expected


def test_own_certificate() -> None:
    """Where the agent shows a certificate that hoop.yaml names, the system's authorities are trusted."""
    found = connect.trusted(Credential("h", 1, "d", "u", "p", 0.0, None))
    assert found == "system" or Path(found).is_file()


def test_client_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The client gets its arguments, standard input and the password in its environment; its status is ours."""
    stub = tmp_path / "psql"
    stub.write_text(STUB)
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(connect, "_credential", lambda name: CREDENTIAL)
    reading, writing = os.pipe()
    os.write(writing, b"typed\n")
    os.close(writing)
    child = os.fork()
    if child == 0:
        os.dup2(reading, 0)
        os._exit(run(["connect", "pg", "prod", "--", "-c", "select 1", "--version"]))
    os.close(reading)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert capfd.readouterr().out.splitlines() == ["-c", "select 1", "--version", "password=hoop_cr_secret", "typed"]


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["pg", "prod", "--client", "no-such-client"], "the client no-such-client is not installed"),
        (["pg", "prod", "--run", "a b"], "can't be a run's id"),
        (["pg", "prod", "--run", "x' -c role=root"], "can't be a run's id"),
        (["http", "x"], "not in this version"),
        (["ssh", "x"], "not in this version"),
    ],
)
def test_refused_before_a_credential_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    """What can't work is refused before a credential exists that nobody would use."""

    def never(name: str) -> Credential:
        raise AssertionError("a credential was asked for")

    monkeypatch.setattr(connect, "_credential", never)
    assert run(["connect", *arguments]) in (1, 2)
    assert expected in capsys.readouterr().err
