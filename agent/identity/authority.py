"""A certificate authority of the agent's own, for when hoop.yaml names no certificate: its clients trust
STATE/tls/ca.pem (`sslmode=verify-full`), and it signs the certificate that the agent shows them.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 90
RENEWED_DAYS = 30
"""The certificate is made anew when fewer days than this are left to it."""

BACKDATED = timedelta(hours=1)
"""Clocks of clients differ; a certificate should not be from their future."""


class AuthorityError(Exception):
    """The authority's files can't be used as they are."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Files:
    """`ca`: what clients trust. `certificate`: the agent's, the authority's after it. `key`: the agent's, 0600."""

    ca: Path
    certificate: Path
    key: Path


def names(hosts: Iterable[str]) -> tuple[str, ...]:
    """What the agent may be called by its clients: where it listens, and what this machine is called."""
    wildcards = ("0.0.0.0", "::", "")
    found = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *hosts]
    return tuple(dict.fromkeys(name for name in found if name not in wildcards and "/" not in name))


def ensure(directory: Path, called: Sequence[str], now: datetime) -> Files:
    """The authority and the certificate in this directory, for an agent that is called by these names: made when they
    are missing, the certificate renewed when it soon ends, lacks a name, or doesn't fit its key or the authority.

    Keys are readable by their owner alone from the moment they exist. An authority that is damaged is an error and not
    replaced: clients trust it. Raises AuthorityError.
    """
    files = Files(directory / "ca.pem", directory / "agent.pem", directory / "agent.key")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(directory):
            ca, ca_key = _authority(directory, now)
            if not _current(files, ca, called, now):
                _issue(files, ca, ca_key, called, now)
    except OSError as error:
        reason = f"{(error.strerror or str(error)).lower()}: {error.filename}"
        raise AuthorityError(
            f"the certificates in {directory} can't be used ({reason})",
            "the directory should be the agent's user's alone",
        ) from error
    return files


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
            raise AuthorityError(
                f"the directory {directory} can be written by others (got uid {found.st_uid}, mode "
                f"{found.st_mode & 0o777:03o}, expected {os.geteuid()} and 700)",
                f"chmod 700 {directory}; if others may have written there, make the keys anew",
            )
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _authority(directory: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    certificate_file, key_file = directory / "ca.pem", directory / "ca.key"
    if not certificate_file.exists() and not key_file.exists():
        return _new_authority(certificate_file, key_file, now)
    hint = f"restore both from a backup; or remove {certificate_file} and {key_file}, and give clients the new ca.pem"
    try:
        certificate = x509.load_pem_x509_certificate(_read(certificate_file))
        key = _read_key(key_file)
    except (ValueError, TypeError, FileNotFoundError) as error:
        raise AuthorityError(f"the authority in {directory} is damaged ({_reason(error)})", hint) from error
    if certificate.public_key() != key.public_key():
        raise AuthorityError(f"the authority in {directory} is damaged (ca.key is not the key of ca.pem)", hint)
    if now >= certificate.not_valid_after_utc:
        raise AuthorityError(
            f"the authority in {directory} has ended (on {certificate.not_valid_after_utc:%Y-%m-%d})", hint
        )
    return certificate, key


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{Path(error.filename).name} is missing"
    return "a file is not PEM of the expected kind"


def _new_authority(
    certificate_file: Path, key_file: Path, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    # The serial is in the name, so that a client that trusts several such authorities can tell them apart.
    serial = x509.random_serial_number()
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "hoopctl"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"hoopctl local authority {serial & 0xFFFFFFFF:08x}"),
        ]
    )
    certificate = (
        _builder(name, name, key, serial, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    # The certificate last: its being there says that the key is.
    _write(key_file, _key_bytes(key), 0o600)
    _write(certificate_file, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


def _issue(
    files: Files, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, called: Sequence[str], now: datetime
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hoopctl agent")])
    certificate = (
        _builder(subject, ca.subject, key, x509.random_serial_number(), now, CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in called]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    _write(files.key, _key_bytes(key), 0o600)
    _write(files.certificate, certificate.public_bytes(pem) + ca.public_bytes(pem), 0o644)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, serial: int, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode() if not name.isascii() else name)


def _current(files: Files, ca: x509.Certificate, called: Sequence[str], now: datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificates(_read(files.certificate))[0]
        key = _read_key(files.key)
        certificate.verify_directly_issued_by(ca)
        covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, FileNotFoundError, InvalidSignature, x509.ExtensionNotFound):
        return False
    left = certificate.not_valid_after_utc - now
    return (
        certificate.public_key() == key.public_key()
        and certificate.not_valid_before_utc <= now
        and left >= timedelta(days=RENEWED_DAYS)
        and {_general_name(name) for name in called} <= set(covered)
    )


def _read(file: Path) -> bytes:
    with open(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        return stream.read(1 << 20)


def _read_key(file: Path) -> ec.EllipticCurvePrivateKey:
    mode = file.lstat().st_mode
    if mode & 0o077:
        raise AuthorityError(
            f"the key {file} can be read by others (got mode {mode & 0o777:03o}, expected 600)",
            f"chmod 600 {file}; if others may have read it, remove it and the certificate beside it",
        )
    key = serialization.load_pem_private_key(_read(file), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an elliptic curve key")
    return key


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(file: Path, content: bytes, mode: int) -> None:
    # A new file under another name, then renamed: never half a key, and a link under the final name is replaced, not
    # followed.
    temporary = file.with_name(f".{file.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    temporary.rename(file)
    directory = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
