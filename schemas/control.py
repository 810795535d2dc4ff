"""Requests and answers of the control API, as JSON over HTTP on STATE/control.sock.

GET    /v1/status                      what the agent says of itself
GET    /v1/sessions                    the live sessions
POST   /v1/sessions/ID/kill            KillRequest -> {"killed": bool}
POST   /v1/seal                        a report of what was sealed
GET    /v1/resources                   Resource, each
POST   /v1/resources/NAME/check        whether the agent reaches it, with what TLS and login
POST   /v1/resources/NAME/explain      ExplainRequest -> schemas.explanation.Explanation
POST   /v1/resources/NAME/tables       TablesRequest -> schemas.discovery.Tables
POST   /v1/resources/NAME/sample       SampleRequest -> schemas.discovery.Sample
POST   /v1/credentials                 CredentialRequest -> Credential
GET    /v1/service-accounts            the accounts, the revoked ones too
POST   /v1/service-accounts            AccountRequest -> {"token": …}
DELETE /v1/service-accounts/NAME       -> {"revoked": NAME, "credentials": how many}

An error is `{"error": …, "hint": …}` with a status of 4xx or 5xx.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class KillRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Ends a session; `reason` is recorded."""

    reason: Annotated[str, Meta(max_length=500)] = ""


class ExplainRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks what the statements of a text would do. `search_path`: where their names are looked up, None: where the
    agent's role looks. `columns`: which columns they let out is asked too."""

    text: Annotated[str, Meta(max_length=262_144)]
    search_path: Annotated[str, Meta(max_length=10_000)] | None = None
    columns: bool = False


class TablesRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks which tables there are: globs for schemas (none: all of them), and one for TABLE or SCHEMA.TABLE."""

    schemas: Annotated[tuple[Annotated[str, Meta(max_length=1000)], ...], Meta(max_length=100)] = ()
    tables: Annotated[str, Meta(max_length=1000)] = "*"


class SampleRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks what kinds of values are in a table, by so many of its rows."""

    schema: Annotated[str, Meta(max_length=300)]
    table: Annotated[str, Meta(max_length=300)]
    rows: Annotated[int, Meta(ge=1, le=10_000)] = 1000


class CredentialRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Asks for a credential for one resource: `prod` or `pg/prod`."""

    resource: Annotated[str, Meta(max_length=200)]


class AccountRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Makes a service account; `expires_in` seconds, None: never."""

    name: Annotated[str, Meta(max_length=200)]
    groups: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    expires_in: float | None = None
    acts_for: Annotated[tuple[str, ...], Meta(max_length=100)] = ()


class Credential(Struct, frozen=True):
    """How to connect: what a client is given. `ca` is the file that the agent's certificate is verified with, None
    when the system's own authorities do; `expires_at` is in seconds since 1970."""

    host: str
    port: int
    dbname: str
    user: str
    password: str
    expires_at: float
    ca: str | None = None
