"""What happens to a session: everything that its `feed` takes.

Values are msgspec structs rather than dataclasses: as frozen, compared and matched alike, and made in a tenth of the
time, which counts at several of them a statement.
"""

from __future__ import annotations

from msgspec import Struct

from agent.core.policy.rulebook import Rules
from agent.core.sql.catalog import Catalog
from schemas.identity import Identity


class ClientData(Struct, frozen=True, gc=False):
    """Bytes arrived from the client, after TLS."""

    data: bytes


class ServerData(Struct, frozen=True, gc=False):
    """Bytes arrived from the server, after TLS."""

    data: bytes


class ClientEnded(Struct, frozen=True, gc=False):
    """The client will send no more, but may still read."""


class ClientGone(Struct, frozen=True, gc=False):
    """The connection with the client broke; `reason` says how, for the record."""

    reason: str


class ServerGone(Struct, frozen=True, gc=False):
    """The server closed its connection, or it broke, or its TLS failed."""

    reason: str


class ClientSecured(Struct, frozen=True, gc=False):
    """TLS with the client is established; `alpn` is the protocol agreed on, if any."""

    alpn: str | None


class ServerConnected(Struct, frozen=True, gc=False):
    """There is a connection to the server, without TLS yet."""


class ServerSecured(Struct, frozen=True, gc=False):
    """TLS with the server is established and its certificate is what `sslmode` asks for.

    `end_point` is the channel binding data of type tls-server-end-point (RFC 5929 section 4), None where the
    certificate's signature has no single hash.
    """

    end_point: bytes | None


class ServerUnreachable(Struct, frozen=True, gc=False):
    """No connection to the server came about."""

    reason: str


class Login(Struct, frozen=True):
    """How to log in to a server. The meaning of `sslmode` and `channel_binding` is libpq's."""

    user: str
    database: str
    password: str | None
    sslmode: str
    channel_binding: str
    local: bool
    has_certificate: bool
    nonce: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, database={self.database!r}, sslmode={self.sslmode!r})"


class Admitted(Struct, frozen=True):
    """The client's credential is good for this resource."""

    session_id: str
    identity: Identity
    resource: str
    server: Login
    rules: Rules | None = None
    """The policy, if there is one."""
    catalog: Catalog | None = None
    """What the sessions of this resource have to know of one another."""
    mask_key: bytes = b""
    """What masked values are hashed and invented with."""


class Refused(Struct, frozen=True, gc=False):
    """The client is not let in. `code` is an SQLSTATE."""

    code: str
    message: str
    hint: str | None = None


class PolicyChanged(Struct, frozen=True):
    """Another policy is in force."""

    rules: Rules | None


class CancelAsked(Struct, frozen=True, gc=False):
    """The client asked, on another connection, to cancel what this session runs."""


class Durable(Struct, frozen=True, gc=False):
    """The first `count` of the records that this session had appended are on the disk."""

    count: int


class JournalLost(Struct, frozen=True, gc=False):
    """The journal can't be written any more: nothing may run."""

    reason: str


class Stop(Struct, frozen=True, gc=False):
    """The session has to end: killed, its credential revoked, the agent stopping, or the client too slow to log in.

    `code` is an SQLSTATE, `message` what the client reads, `reason` what the record says.
    """

    code: str
    message: str
    reason: str


Event = (
    ClientData
    | ServerData
    | ClientEnded
    | ClientGone
    | ServerGone
    | ClientSecured
    | ServerConnected
    | ServerSecured
    | ServerUnreachable
    | Admitted
    | Refused
    | PolicyChanged
    | CancelAsked
    | Durable
    | JournalLost
    | Stop
)
