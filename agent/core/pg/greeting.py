"""A client until it is to be let in: encryption, protocol version, what it wants, its credential.

greeting -> [securing] -> greeting -> password -> proving
"""

from __future__ import annotations

from typing import Final

from agent.core.commands import Cancel, Command, Prove, SecureClient, SendClient
from agent.core.limits import MAX_PASSWORD, MAX_STARTUP
from agent.core.pg import startup
from agent.core.pg.messages import AUTHENTICATION, HEAD, PASSWORD, ProtocolError, message, u32

GREETING: Final = "greeting"
SECURING: Final = "securing"
ASKED_PASSWORD: Final = "password"
PROVING: Final = "proving"
BEFORE: Final = (GREETING, SECURING, ASKED_PASSWORD)
"""The states in which the greeting isn't over."""

_ASK_PASSWORD: Final = message(AUTHENTICATION, (3).to_bytes(4, "big"))


class Terms:
    """What a session is to know of the agent that it runs in.

    `private` says that nobody can listen between client and agent even without TLS; `tls` that the agent can do TLS;
    `cancel_key` is 4 bytes of process number and 32 of secret; `kept` is `audit.responses`; `strict` is
    `audit.durability`.
    """

    def __init__(
        self, client_address: str, private: bool, tls: bool, cancel_key: bytes, kept: int, strict: bool
    ) -> None:
        self.client_address = client_address
        self.private = private
        self.tls = tls
        self.cancel_key = cancel_key
        self.kept = kept
        self.strict = strict


class Greeting:
    """Reads what a client sends before it is let in. Its methods raise ProtocolError."""

    def __init__(self, terms: Terms) -> None:
        self.state = GREETING
        self.ended: str | None = None
        """Why there is nothing more to come, if so."""
        self.minor = 0
        """Of protocol 3, as agreed on."""
        self.wish: startup.Wish | None = None
        self._terms = terms
        self._secured = False
        self._direct = False
        self._buffer = b""

    def received(self, data: bytes, out: list[Command]) -> None:
        """Bytes of the client; those that come too early are kept, up to a bound."""
        self._buffer += data
        if self.state == ASKED_PASSWORD:
            self._password(out)
        elif self.state == GREETING:
            self._request(out)
        elif len(self._buffer) > MAX_STARTUP:
            raise ProtocolError(f"got {len(self._buffer)} bytes before the login was answered")

    def secured(self, alpn: str | None, out: list[Command]) -> None:
        """TLS with the client is there, for this protocol."""
        self._secured = True
        self.state = GREETING
        if self._direct and alpn != startup.ALPN:
            # no word to who speaks another protocol: it could be made to take it for its own
            self.ended = f"direct TLS without ALPN (got {alpn or 'none'}, expected {startup.ALPN})"
            return
        self._again(out)

    def take(self) -> bytes:
        """What the client sent behind its credential."""
        early, self._buffer = self._buffer, b""
        return early

    def _again(self, out: list[Command]) -> None:
        self.received(b"", out)

    def _request(self, out: list[Command]) -> None:
        if not self._secured and self._buffer[:1] == bytes((startup.TLS_HANDSHAKE,)) and self._terms.tls:
            self._direct = True
            self._secure(out, self._buffer)
            return
        found = startup.request(self._buffer)
        if found is None:
            return
        request, size = found
        rest = self._buffer[size:]
        self._buffer = b""
        if isinstance(request, startup.TlsRequest):
            self._encryption_asked(rest)
            if self._terms.tls:
                out.append(SendClient(b"S"))
                self._secure(out, b"")
            else:
                out.append(SendClient(b"N"))
        elif isinstance(request, startup.GssRequest):
            self._encryption_asked(rest)
            out.append(SendClient(b"N"))
        elif isinstance(request, startup.CancelRequest):
            out.append(Cancel(request.key))
            self.ended = "cancel request"
        else:
            self._begin(request, out)
            self._buffer = rest
            self._again(out)

    def _encryption_asked(self, rest: bytes) -> None:
        if self._secured:
            raise ProtocolError("encryption requested a second time")
        if rest:
            raise ProtocolError(
                f"received unencrypted data behind the request for encryption (got {len(rest)} bytes, expected none)"
            )

    def _secure(self, out: list[Command], received: bytes) -> None:
        self._buffer = b""
        self.state = SECURING
        out.append(SecureClient(received))

    def _begin(self, request: startup.StartupMessage, out: list[Command]) -> None:
        self.minor = min(request.minor, startup.NEWEST_MINOR)
        self.wish = startup.wish(request)
        if not (self._secured or self._terms.private):
            raise ProtocolError(
                "hoopctl takes a token only over TLS; connect with sslmode=require or stronger", "28000"
            )
        self.state = ASKED_PASSWORD
        out.append(SendClient(startup.negotiation(request) + _ASK_PASSWORD))

    def _password(self, out: list[Command]) -> None:
        if len(self._buffer) < HEAD:
            return
        size = u32(self._buffer, 1)
        if self._buffer[0] != PASSWORD or size < 5 or size > MAX_PASSWORD:
            raise ProtocolError(f"expected password response, got message type {self._buffer[0]}")
        if len(self._buffer) <= size:
            return
        if self._buffer[size] != 0:
            raise ProtocolError("invalid password packet (expected a terminating NUL)")
        credential = self._buffer[HEAD:size].decode("utf-8", "replace")
        self._buffer = self._buffer[size + 1 :]
        self.state = PROVING
        wish = self.wish
        if wish is not None:
            out.append(Prove(credential, wish.user, wish.resource, wish.run, wish.on_behalf_of))
