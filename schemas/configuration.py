"""hoop.yaml as read and checked: every path absolute, every size in bytes, every time in seconds.

agent.store.configuration reads it; a key that is not here is an error that names its line.
"""

from __future__ import annotations

from msgspec import Struct


class Secret(Struct, frozen=True):
    """Where a secret is to be had; never the secret itself. Exactly one is set."""

    env: str | None = None
    file: str | None = None
    command: tuple[str, ...] | None = None


class Address(Struct, frozen=True):
    host: str
    port: int


class Listen(Struct, frozen=True):
    """Where the agent listens; None: that listener is off. Port 0 lets the system pick."""

    pg: Address | None = None
    http: Address | None = None
    ssh: Address | None = None
    control: Address | None = None


class Tls(Struct, frozen=True):
    """Files of the certificate (chain) and key that the agent shows its clients, in PEM."""

    certificate: str
    key: str


class PgUpstream(Struct, frozen=True):
    """A PostgreSQL server as libpq's connection URI names it.

    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS
    `host` is a name, an address, or a directory (begins with `/`) that holds the server's Unix-domain socket.
    `sslmode`: disable, allow, prefer, require, verify-ca, verify-full. `channel_binding`: disable, prefer, require.
    """

    host: str
    port: int
    user: str
    database: str
    sslmode: str = "prefer"
    sslrootcert: str | None = None
    sslcert: str | None = None
    sslkey: str | None = None
    channel_binding: str = "prefer"
    connect_timeout: float = 10.0


class PgResource(Struct, frozen=True):
    """A resource of type `pg`. `name` is its bare name: `prod` for `pg/prod`."""

    name: str
    upstream: PgUpstream
    password: Secret | None = None


class Seal(Struct, frozen=True):
    """A segment of the journal is sealed into Parquet when it is `every` seconds old or `size` bytes long."""

    every: float = 60.0
    size: int = 64 << 20


class Audit(Struct, frozen=True):
    """`durability`: strict (the answer waits for the disk) or group (it does not). `responses`: bytes kept of one
    operation's answer."""

    path: str
    durability: str = "strict"
    responses: int = 64 << 20
    seal: Seal = Seal()


class Configuration(Struct, frozen=True):
    """The whole of hoop.yaml; `source` is the file that it came from. `later` names the keys that are set, and well
    formed, but that this version doesn't act on."""

    source: str
    state: str
    listen: Listen
    audit: Audit
    resources: tuple[PgResource, ...] = ()
    tls: Tls | None = None
    policy: str | None = None
    later: tuple[str, ...] = ()
