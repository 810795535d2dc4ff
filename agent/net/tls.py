"""TLS contexts of both sides, and what binds a login to its channel."""

from __future__ import annotations

import ssl
from hashlib import new as new_hash
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from agent.core.pg.startup import ALPN
from schemas.configuration import PgUpstream, Tls


class TlsFailed(Exception):
    """A certificate or key can't be used."""


def for_clients(files: Tls) -> ssl.SSLContext:
    """How the agent shows itself to clients. Raises TlsFailed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([ALPN])
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        raise TlsFailed(f"{files.certificate} and {files.key}: {error}") from error
    return context


def for_server(upstream: PgUpstream) -> ssl.SSLContext:
    """How the agent checks a server, as libpq does for this sslmode. Raises TlsFailed.

    https://www.postgresql.org/docs/current/libpq-ssl.html#LIBQ-SSL-CERTIFICATES
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    mode = upstream.sslmode
    verified = mode in ("verify-ca", "verify-full") or (mode == "require" and upstream.sslrootcert is not None)
    context.check_hostname = mode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    if verified:
        _load_roots(context, upstream)
    if upstream.sslcert is not None:
        try:
            context.load_cert_chain(upstream.sslcert, upstream.sslkey)
        except (OSError, ssl.SSLError) as error:
            raise TlsFailed(f"client certificate {upstream.sslcert}: {error}") from error
    return context


def _load_roots(context: ssl.SSLContext, upstream: PgUpstream) -> None:
    roots = upstream.sslrootcert
    if roots == "system":
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return
    path = Path(roots) if roots is not None else Path.home() / ".postgresql" / "root.crt"
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as error:
        raise TlsFailed(
            f"root certificate file {path} can't be read ({error}), but sslmode is {upstream.sslmode}"
        ) from error


def end_point(connection: ssl.SSLObject) -> bytes | None:
    """Channel binding data of type tls-server-end-point: the hash of the server's certificate by the algorithm of its
    signature, SHA-256 in place of MD5 and SHA-1 (RFC 5929 section 4.1). None where the signature has no such hash."""
    certificate = connection.getpeercert(binary_form=True)
    if certificate is None:
        return None
    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        return None
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return new_hash(name, certificate).digest()
