"""What a session wants done: everything that its `feed` answers with, performed in the order of the list."""

from __future__ import annotations

from msgspec import Struct

from schemas.records import Record


class SendClient(Struct, frozen=True, gc=False):
    data: bytes


class SendServer(Struct, frozen=True, gc=False):
    data: bytes


class Append(Struct, frozen=True, gc=False):
    """Add this record to the journal. Whatever follows in the list happens only if that succeeded."""

    record: Record


class SecureClient(Struct, frozen=True, gc=False):
    """Begin TLS with the client as its server; `received` is what it has sent of its handshake already."""

    received: bytes = b""


class SecureServer(Struct, frozen=True, gc=False):
    """Begin TLS with the server, checking its certificate as `sslmode` asks."""


class Prove(Struct, frozen=True, gc=False):
    """Find out who holds this credential and whether it opens this resource; Admitted or Refused answers.

    `run` and `on_behalf_of` are what the client named in its startup options.
    """

    credential: str
    user: str
    resource: str
    run: str | None
    on_behalf_of: str | None

    def __repr__(self) -> str:
        return f"Prove(user={self.user!r}, resource={self.resource!r})"


class OfferCancel(Struct, frozen=True, gc=False):
    """The client was told this key: a Cancel that names it means this session."""

    key: bytes

    def __repr__(self) -> str:
        return "OfferCancel(…)"


class Connect(Struct, frozen=True, gc=False):
    """Open a connection to the resource's server, dropping the one there is, if any."""


class Reading(Struct, frozen=True, gc=False):
    """Go on or stop reading from the client, from the server."""

    client: bool
    server: bool


class Cancel(Struct, frozen=True, gc=False):
    """The client of another session asks, on a connection of its own, to cancel what runs there."""

    key: bytes


class CancelServer(Struct, frozen=True, gc=False):
    """Ask the server, on a connection of its own, to cancel what this session runs."""

    process: int
    key: bytes


class Close(Struct, frozen=True, gc=False):
    """The session is over: send what is left to the client and close both connections."""

    reason: str


Command = (
    SendClient
    | SendServer
    | Append
    | SecureClient
    | SecureServer
    | Prove
    | OfferCancel
    | Connect
    | Reading
    | Cancel
    | CancelServer
    | Close
)
