"""What the journal holds: one record is one leaf of the hash tree.

A record's canonical bytes are its MessagePack encoding (https://msgpack.org/) as an array in the order of the fields
below, the tag first, every integer, string and array in its shortest form: `encode` makes them, `decode` reads them,
and any other MessagePack library can. Every field is also a column of the record's table, so that its bytes can be
rebuilt from a Parquet row.

Times are microseconds since 1970-01-01T00:00:00Z. Fields are only ever added at the end, with a default.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct


class SessionStarted(Struct, frozen=True, array_like=True, tag=1):
    """A client proved its identity and reached its resource. Table `sessions`."""

    time: int
    session_id: str
    subject: str
    groups: tuple[str, ...]
    actor: str | None
    run: str | None
    credential_id: str
    resource: str
    resource_type: str
    client_address: str
    client_name: str


class SessionEnded(Struct, frozen=True, array_like=True, tag=2):
    """The session is over. Table `sessions`; `operations` counts them, `bytes_in` and `bytes_out` are what the
    client sent and received after it was let in."""

    time: int
    session_id: str
    end_reason: str
    operations: int
    bytes_in: int
    bytes_out: int


class OperationStarted(Struct, frozen=True, array_like=True, tag=3):
    """A statement, before it leaves for the database. Table `operations`.

    `operations` is what it would do, as far as that is known before it runs, `policy` the version of the policy that
    decided; both are empty where no rule applies to the session. `sequence` counts from 1 within the session.
    `parameters` are in PostgreSQL's text form, None for NULL; the whole is None when the statement takes none.
    """

    time: int
    session_id: str
    sequence: int
    subject: str
    actor: str | None
    run: str | None
    resource: str
    resource_type: str
    operations: tuple[str, ...]
    statement: str
    parameters: tuple[str | None, ...] | None
    decision: str
    rule: str | None = None
    approval_id: str | None = None
    policy: str | None = None


class OperationEnded(Struct, frozen=True, array_like=True, tag=4):
    """What became of a statement. Table `operations`.

    `outcome`: `ok`, `error`, `denied`, `skipped` (never run: an earlier error in its pipeline), `unfinished` (a portal
    that was closed before its last row, or never executed), `lost` (the connection ended first).
    `bytes` is the size of the answer as the client received it; of an answer larger than `audit.responses` the
    first part is in `responses` and the rest is counted and hashed: `rest_bytes`, `rest_sha256`.
    `operations_inside` are those that showed only when it ran (functions, triggers), `denied_by` is the rule that had
    it undone for them. `copied_bytes` and `copied_sha256` stand for what the client sent to a COPY … FROM STDIN.
    """

    time: int
    session_id: str
    sequence: int
    outcome: str
    tags: tuple[str, ...]
    rows: int
    bytes: int
    duration_us: int
    error_code: str | None = None
    error_message: str | None = None
    masked: tuple[str, ...] = ()
    masked_values: int = 0
    rest_bytes: int = 0
    rest_sha256: str | None = None
    copied_bytes: int = 0
    copied_sha256: str | None = None
    operations_inside: tuple[str, ...] = ()
    denied_by: str | None = None


class ResponseChunk(Struct, frozen=True, array_like=True, tag=5):
    """A piece of what the client received, in its resource's own protocol. Table `responses`.

    `chunk` counts from 0 within an operation; sequence 0 is what arrived outside of any operation.
    """

    time: int
    session_id: str
    sequence: int
    chunk: int
    content: bytes
    sealed: bytes | None = None


class Event(Struct, frozen=True, array_like=True, tag=8):
    """Anything else worth keeping. Table `events`; `details` is a JSON object as text."""

    time: int
    kind: str
    subject: str | None
    resource: str | None
    details: str


Record = SessionStarted | SessionEnded | OperationStarted | OperationEnded | ResponseChunk | Event

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)

encode = _encoder.encode


def decode(canonical: bytes) -> Record:
    """The record that these canonical bytes stand for. Raises msgspec.DecodeError for anything else."""
    record: Record = _decoder.decode(canonical)
    return record
