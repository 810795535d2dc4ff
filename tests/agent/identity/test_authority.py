"""The agent's own authority: private keys, certificates that clients verify, renewal."""

from __future__ import annotations

import os
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from agent.identity.authority import AuthorityError, Files, ensure, names

CALLED = ("localhost", "127.0.0.1", "::1", "agent.example")


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def leaf(files: Files) -> x509.Certificate:
    return x509.load_pem_x509_certificates(files.certificate.read_bytes())[0]


def handshake(files: Files, name: str) -> None:
    """A TLS handshake in memory, the client trusting ca.pem alone and expecting this name."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.certificate, files.key)
    client_context = ssl.create_default_context(cafile=str(files.ca))
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version() == "TLSv1.3"


@pytest.mark.parametrize("name", CALLED)
def test_clients_verify_it(tmp_path: Path, now: datetime, name: str) -> None:
    """A client that trusts ca.pem alone verifies the agent by each of its names, as strictly as OpenSSL can."""
    handshake(ensure(tmp_path / "tls", CALLED, now), name)


def test_another_name_is_refused(tmp_path: Path, now: datetime) -> None:
    """Under a name that it doesn't have, the agent is refused."""
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(ensure(tmp_path / "tls", CALLED, now), "other.example")


def test_modes(tmp_path: Path, now: datetime) -> None:
    """Keys are 0600 and the directory 0700 whatever the umask; no file is left over."""
    before = os.umask(0)
    try:
        ensure(tmp_path / "tls", CALLED, now)
    finally:
        os.umask(before)
    modes = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "tls").iterdir()}
    assert modes == {"ca.pem": 0o644, "ca.key": 0o600, "agent.pem": 0o644, "agent.key": 0o600}
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700


def test_kept_and_renewed(tmp_path: Path, now: datetime) -> None:
    """The certificate is kept while it serves; it is renewed before it ends and when a name is new; the authority
    stays."""
    files = ensure(tmp_path / "tls", CALLED, now)
    first, ca = leaf(files).serial_number, files.ca.read_bytes()
    ensure(tmp_path / "tls", CALLED[:2], now + timedelta(days=59))
    assert leaf(files).serial_number == first
    ensure(tmp_path / "tls", CALLED, now + timedelta(days=61))
    second = leaf(files).serial_number
    assert second != first
    ensure(tmp_path / "tls", (*CALLED, "10.1.2.3"), now + timedelta(days=61))
    assert leaf(files).serial_number != second
    assert files.ca.read_bytes() == ca


@pytest.mark.parametrize("damage", ["missing key", "other key", "cut", "other authority"])
def test_certificate_is_mended(tmp_path: Path, now: datetime, damage: str) -> None:
    """A certificate that doesn't fit its key or the authority (a crash between two writes) is made anew."""
    files = ensure(tmp_path / "tls", CALLED, now)
    other = ensure(tmp_path / "other", CALLED, now)
    match damage:
        case "missing key":
            files.key.unlink()
        case "other key":
            other.key.rename(files.key)
        case "cut":
            files.certificate.write_bytes(files.certificate.read_bytes()[:100])
        case "other authority":
            other.certificate.rename(files.certificate)
            other.key.rename(files.key)
    ensure(tmp_path / "tls", CALLED, now)
    handshake(files, "localhost")


@pytest.mark.parametrize("name", ["ca.pem", "ca.key"])
@pytest.mark.parametrize("how", ["missing", "empty", "other"])
def test_damaged_authority_is_not_replaced(tmp_path: Path, now: datetime, name: str, how: str) -> None:
    """Clients trust the authority, so a damaged one is an error that says what to do, and its files stay."""
    ensure(tmp_path / "tls", CALLED, now)
    ensure(tmp_path / "other", CALLED, now)
    file = tmp_path / "tls" / name
    match how:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "other":
            (tmp_path / "other" / name).rename(file)
    before = file.read_bytes() if file.exists() else None
    with pytest.raises(AuthorityError, match="damaged") as caught:
        ensure(tmp_path / "tls", CALLED, now)
    assert "restore" in caught.value.hint
    assert (file.read_bytes() if file.exists() else None) == before


def test_ended_authority(tmp_path: Path, now: datetime) -> None:
    """An authority that has ended signs nothing more."""
    ensure(tmp_path / "tls", CALLED, now)
    with pytest.raises(AuthorityError, match="has ended"):
        ensure(tmp_path / "tls", CALLED, now + timedelta(days=4000))


def test_readable_key_is_refused(tmp_path: Path, now: datetime) -> None:
    """A key that others can read is refused, with the command that mends it."""
    files = ensure(tmp_path / "tls", CALLED, now)
    files.key.chmod(0o644)
    with pytest.raises(AuthorityError, match="got mode 644, expected 600"):
        ensure(tmp_path / "tls", CALLED, now)


def test_planted_links(tmp_path: Path, now: datetime) -> None:
    """Links planted under the names that are written lead nowhere; a directory that others may write is refused."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    tls = tmp_path / "tls"
    tls.mkdir(mode=0o700)
    for name in (".ca.key.new", ".agent.key.new", "agent.pem", "agent.key"):
        (tls / name).symlink_to(victim)
    with pytest.raises(AuthorityError):
        ensure(tls, CALLED, now)
    for name in ("agent.pem", "agent.key"):
        (tls / name).unlink()
    ensure(tls, CALLED, now)
    assert victim.read_text() == "precious"
    tls.chmod(0o777)
    with pytest.raises(AuthorityError, match="written by others"):
        ensure(tls, CALLED, now)


def test_made_by_many_at_once(tmp_path: Path, now: datetime) -> None:
    """Two processes that start at once end with one authority and a certificate that fits."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: ensure(tmp_path / "tls", CALLED, now), range(4)))
    handshake(made[0], "localhost")


def test_names() -> None:
    """Wildcards and socket directories are no names; the machine's own and loopback always are."""
    assert names(["0.0.0.0", "::", "/run/x", "db.example", "127.0.0.1"]) == (
        "localhost",
        "127.0.0.1",
        "::1",
        socket.gethostname(),
        "db.example",
    )
