"""How the agent logs in to a PostgreSQL server, as libpq does.

https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-PROTECTION
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import md5
from typing import Final

from scramp import ScramClient, ScramException

from agent.core.events import Login
from agent.core.limits import MAX_LOGIN_MESSAGE, MAX_SCRAM_ITERATIONS
from agent.core.pg.errors import fields
from agent.core.pg.messages import (
    AUTHENTICATION,
    BACKEND_KEY_DATA,
    ERROR,
    HEAD,
    NEGOTIATE_VERSION,
    NOTICE,
    PARAMETER_STATUS,
    PASSWORD,
    READY,
    message,
    text,
    u32,
)

_SSL_REQUEST: Final = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")
_PROTOCOL_3_0: Final = (196_608).to_bytes(4, "big")
_PLUS: Final = "SCRAM-SHA-256-PLUS"
_PLAIN: Final = "SCRAM-SHA-256"


@dataclass(frozen=True)
class Say:
    """Send this to the server."""

    data: bytes


@dataclass(frozen=True)
class Secure:
    """Begin TLS with the server."""


@dataclass(frozen=True)
class Again:
    """Connect once more: the other kind of encryption is worth a try (`sslmode` allow and prefer)."""


@dataclass(frozen=True)
class Tell:
    """Pass this message on to the client."""

    data: bytes


@dataclass(frozen=True)
class Ready:
    """The agent is logged in; `status` is the body of ReadyForQuery, `rest` what the server sent behind it."""

    process: int
    key: bytes
    status: bytes
    rest: bytes


@dataclass(frozen=True)
class Failed:
    """There is no way in. `code` is the SQLSTATE for the client."""

    code: str
    message: str
    hint: str | None = None


Step = Say | Secure | Again | Tell | Ready | Failed

_OWN_LOGIN: Final = (
    "check `upstream` and `password` of this resource in hoop.yaml; `hoopctl resources check` tries them"
)

_AUTHORIZATION: Final = "28"
"""SQLSTATE class of a refused login (https://www.postgresql.org/docs/current/errcodes-appendix.html): it is the agent's
login, which the client can do nothing about, so the client gets 08001. Every other refusal passes as it is."""


class ServerLogin:
    """From an open connection to ReadyForQuery. Fed with bytes, answers with steps."""

    def __init__(self, login: Login, parameters: tuple[tuple[str, str], ...]) -> None:
        self._login = login
        self._parameters = parameters
        self._buffer = b""
        self._asked_tls = False
        self._tls_allowed = login.sslmode != "disable" and not login.local
        self._tls_first = login.sslmode not in ("disable", "allow") and not login.local
        self._use_tls = self._tls_first
        self._retried = False
        self._tls = False
        self._greeted = False
        self._end_point: bytes | None = None
        self._scram: ScramClient | None = None
        self._scram_done = False
        self._process = 0
        self._key = b""
        self._done = False

    def connected(self) -> list[Step]:
        """The connection is there: ask for TLS or say who we are."""
        self._buffer = b""
        self._tls = self._greeted = False
        self._scram = None
        if self._use_tls:
            self._asked_tls = True
            return [Say(_SSL_REQUEST)]
        self._asked_tls = False
        return [self._greeting()]

    def secured(self, end_point: bytes | None) -> list[Step]:
        """TLS is established; `end_point` is its channel binding data, if any."""
        self._tls = True
        self._end_point = end_point
        return [self._greeting()]

    def gone(self, reason: str) -> list[Step]:
        """The connection ended before the login did."""
        if self._may_retry() and self._login.sslmode == "prefer" and self._asked_tls and not self._greeted:
            return self._retry()
        return [Failed("08006", reason)]

    def received(self, data: bytes) -> list[Step]:
        """Bytes of the server."""
        if self._asked_tls and not self._tls and not self._greeted:
            return self._tls_answer(data)
        data = self._buffer + data
        steps: list[Step] = []
        at = 0
        while not self._done and at + HEAD <= len(data):
            size = u32(data, at + 1)
            if size < 4 or size > MAX_LOGIN_MESSAGE:
                return [*steps, Failed("08P01", f"the server broke the protocol (got a message of {size} bytes)")]
            if at + 1 + size > len(data):
                break
            tag = data[at]
            body = data[at + HEAD : at + 1 + size]
            whole = data[at : at + 1 + size]
            at += 1 + size
            steps += self._message(tag, body, whole, data[at:] if tag == READY else b"")
            if steps and isinstance(steps[-1], Again | Failed):
                return steps
        self._buffer = data[at:]
        return steps

    def _greeting(self) -> Say:
        self._greeted = True
        pairs = [("user", self._login.user), ("database", self._login.database), *self._parameters]
        body = _PROTOCOL_3_0 + b"".join(text(name) + text(value) for name, value in pairs) + b"\0"
        return Say((len(body) + 4).to_bytes(4, "big") + body)

    def _tls_answer(self, data: bytes) -> list[Step]:
        """One byte, and nothing behind it: what came before TLS could be from anyone (CVE-2021-23222)."""
        if len(data) > 1 and data[:1] == b"S":
            return [Failed("08P01", "the server sent unencrypted data behind its answer to the request for TLS")]
        if data == b"S":
            return [Secure()]
        if data[:1] == b"N":
            if self._login.sslmode in ("prefer", "allow"):
                self._asked_tls = False
                self._retried = True
                return [self._greeting()]
            return [Failed("08001", f"the server does not offer TLS, but sslmode is {self._login.sslmode}", _OWN_LOGIN)]
        if data[:1] == b"E":
            return [Failed("08001", "the server refused the request for TLS", _OWN_LOGIN)]
        return [Failed("08P01", f"not a PostgreSQL server (got {data[:1]!r} in answer to SSLRequest, expected S or N)")]

    def _may_retry(self) -> bool:
        return not self._retried and self._tls_allowed and self._login.sslmode in ("allow", "prefer")

    def _retry(self) -> list[Step]:
        self._retried = True
        self._use_tls = not self._use_tls
        return [Again()]

    def _message(self, tag: int, body: bytes, whole: bytes, rest: bytes) -> list[Step]:
        if tag == AUTHENTICATION and len(body) >= 4:
            return self._authenticate(u32(body, 0), body[4:])
        if tag == ERROR:
            return self._refused(body)
        if tag in (NOTICE, PARAMETER_STATUS):
            return [Tell(whole)]
        if tag == BACKEND_KEY_DATA and len(body) >= 8:
            self._process, self._key = u32(body, 0), body[4:]
            return []
        if tag == NEGOTIATE_VERSION:
            return []
        if tag == READY:
            self._done = True
            return [Ready(self._process, self._key, body, rest)]
        return [Failed("08P01", f"the server broke the protocol (got a message of type {tag:#04x} while logging in)")]

    def _refused(self, body: bytes) -> list[Step]:
        if self._may_retry() and self._use_tls == self._tls_first:
            return self._retry()
        found = fields(body)
        code = found.get("C") or "08001"
        own = code.startswith(_AUTHORIZATION)
        return [Failed("08001" if own else code, found.get("M", "refused without a word"), _OWN_LOGIN if own else None)]

    def _authenticate(self, method: int, body: bytes) -> list[Step]:
        if method == 0:
            if self._scram is not None and not self._scram_done:
                return [Failed("08001", "the server ended SCRAM without proving that it knows the password")]
            if self._login.channel_binding == "require" and not self._scram_done:
                return [Failed("08001", "channel binding required, but the server did without it", _OWN_LOGIN)]
            return []
        if self._login.channel_binding == "require" and method not in (10, 11, 12):
            return [Failed("08001", "channel binding required, but the server asks for a plain password", _OWN_LOGIN)]
        password = self._login.password
        if password is None:
            return [Failed("08001", "the server asks for a password, but this resource has none", _OWN_LOGIN)]
        if method == 3:
            return [Say(message(PASSWORD, text(password)))]
        if method == 5 and len(body) == 4:
            return [Say(message(PASSWORD, text(_md5(self._login.user, password, body))))]
        if method in (10, 11, 12):
            return self._sasl(method, body, password)
        return [Failed("08001", f"the server asks for authentication method {method}, which hoopctl does not speak")]

    def _sasl(self, method: int, body: bytes, password: str) -> list[Step]:
        try:
            if method == 10 and self._scram is None:
                return self._sasl_begin(body, password)
            if method == 10 or self._scram is None:
                return [Failed("08P01", "the server broke the protocol (SASL out of order)")]
            reply = body.decode("utf-8")
            if method == 11:
                _check_iterations(reply)
                self._scram.set_server_first(reply)
                return [Say(message(PASSWORD, self._scram.get_client_final().encode()))]
            self._scram.set_server_final(reply)
            self._scram_done = True
            return []
        except (ScramException, UnicodeDecodeError, ValueError) as error:
            return [Failed("08001", f"SCRAM with the server failed: {error}", _OWN_LOGIN)]

    def _sasl_begin(self, body: bytes, password: str) -> list[Step]:
        offered = [name.decode("latin-1") for name in body.split(b"\0") if name]
        wanted = self._login.channel_binding
        binding = None
        if self._tls and self._end_point is not None and wanted != "disable" and _PLUS in offered:
            binding = ("tls-server-end-point", self._end_point)
            mechanism = _PLUS
        elif _PLAIN in offered and wanted != "require":
            mechanism = _PLAIN
        else:
            return [Failed("08001", f"no common SASL mechanism (got {', '.join(offered)})", _OWN_LOGIN)]
        # PostgreSQL takes the user from the startup message and ignores the one in SCRAM
        self._scram = ScramClient(
            [mechanism], self._login.user, password, channel_binding=binding, c_nonce=self._login.nonce
        )
        first = self._scram.get_client_first().encode()
        return [Say(message(PASSWORD, text(mechanism) + len(first).to_bytes(4, "big") + first))]


def _check_iterations(server_first: str) -> None:
    for part in server_first.split(","):
        if part.startswith("i=") and not 0 < int(part[2:]) <= MAX_SCRAM_ITERATIONS:
            raise ValueError(f"server asks for {part[2:]} iterations (expected at most {MAX_SCRAM_ITERATIONS})")


def _md5(user: str, password: str, salt: bytes) -> str:
    inner = md5(password.encode() + user.encode(), usedforsecurity=False).hexdigest()
    return "md5" + md5(inner.encode() + salt, usedforsecurity=False).hexdigest()
