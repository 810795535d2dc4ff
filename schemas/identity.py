"""Who acts."""

from __future__ import annotations

from msgspec import Struct


class Identity(Struct, frozen=True):
    """Who a session acts as, as its credential proved it.

    `subject` is the person or service account; `actor` the service that acts on the subject's behalf, if any;
    `run` the id of an automation run, if the client named one; `credential_id` names the credential that proved
    all this (never the credential itself), so that revoking it can end the session.
    """

    subject: str
    groups: tuple[str, ...] = ()
    actor: str | None = None
    run: str | None = None
    credential_id: str = ""
