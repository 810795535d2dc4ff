"""The connection URI of a PostgreSQL server, as libpq reads it.

https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from agent.store.document import located, suggestion
from schemas.configuration import PgUpstream

SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
CHANNEL_BINDINGS = ("disable", "prefer", "require")
PARAMETERS = (
    "host",
    "port",
    "user",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "connect_timeout",
)
_URI = re.compile(
    r"postgres(?:ql)?://(?:(?P<userinfo>[^/?#]*)@)?(?P<host>\[[^\]/?#]*\]|[^/?#:]*)(?::(?P<port>[^/?#]*))?"
    r"(?:/(?P<database>[^?#]*))?(?:\?(?P<query>[^#]*))?"
)


class UpstreamError(ValueError):
    """The URI can't be used; says why, and never repeats a password that it may hold."""


def parse(uri: str, directory: Path) -> PgUpstream:
    """The server that a URI names; paths in it are relative to the directory. Raises UpstreamError."""
    if "," in uri.partition("?")[0]:
        raise UpstreamError("several hosts in one upstream are not in this version (expected one)")
    match = _URI.fullmatch(uri)
    if match is None:
        raise UpstreamError("this is not a connection URI (expected postgresql://USER@HOST:PORT/DATABASE)")
    user, colon, _ = (match["userinfo"] or "").partition(":")
    if colon:
        raise UpstreamError(
            "a password is never written in the file itself (expected it under the key password, "
            "such as password: {env: NAME})"
        )
    given = _parameters(match["query"] or "")
    if not unquote(uri).isprintable():
        raise UpstreamError("the upstream holds control characters")
    host = given.get("host") or unquote(match["host"]).strip("[]") or "localhost"
    name = given.get("user") or unquote(user)
    if not name:
        raise UpstreamError("the upstream names no user (expected postgresql://USER@HOST:PORT/DATABASE)")
    return PgUpstream(
        host=host,
        port=_port(given.get("port") or match["port"] or "5432"),
        user=name,
        database=given.get("dbname") or unquote(match["database"] or "") or name,
        sslmode=_choice(given, "sslmode", SSLMODES, "prefer"),
        sslrootcert=_file(given, "sslrootcert", directory),
        sslcert=_file(given, "sslcert", directory),
        sslkey=_file(given, "sslkey", directory),
        channel_binding=_choice(given, "channel_binding", CHANNEL_BINDINGS, "prefer"),
        connect_timeout=_timeout(given.get("connect_timeout", "10")),
    )


def _parameters(query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        key, equals, value = pair.partition("=")
        key = unquote(key)
        if key == "password":
            raise UpstreamError("a password is never written in the file itself (expected it under the key password)")
        if key not in PARAMETERS:
            raise UpstreamError(f"unknown parameter in the upstream ({suggestion(key, PARAMETERS)})")
        if not equals or key in given:
            raise UpstreamError(f"the upstream's parameter {key} should have one value")
        given[key] = unquote(value)
    return given


def _port(written: str) -> int:
    if not (written.isascii() and written.isdigit() and 0 < int(written) <= 65535):
        raise UpstreamError(f"the upstream's port is not one (got {written}, expected 1 to 65535)")
    return int(written)


def _choice(given: dict[str, str], key: str, choices: tuple[str, ...], fallback: str) -> str:
    value = given.get(key, fallback)
    if value not in choices:
        raise UpstreamError(f"unknown {key} ({suggestion(value, choices)})")
    return value


def _file(given: dict[str, str], key: str, directory: Path) -> str | None:
    value = given.get(key)
    # `system` is libpq's word for the certificates that the system trusts.
    if not value or (key == "sslrootcert" and value == "system"):
        return value or None
    return located(value, directory)


def _timeout(written: str) -> float:
    if not (written.isascii() and written.isdigit()):
        raise UpstreamError(f"connect_timeout is not a number of seconds (got {written})")
    # libpq: zero waits forever, and less than two seconds is not to be had; here forever is an hour.
    return float(min(int(written) or 3600, 3600))
