"""Service accounts and short-lived credentials: made, listed, revoked, and recognised by their tokens."""

from __future__ import annotations

import hmac
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from agent.identity import tokens
from schemas.identity import Identity

LONGEST_LIFETIME = 24 * 3600.0
"""Seconds a credential from `connect` may live at most, whatever is asked for."""

KEPT_AFTER_EXPIRY = 24 * 3600.0
"""Seconds that an expired credential is remembered, so that using it is recorded as `expired`, not `unknown`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}")
_GROUP = re.compile(r"[^\s,\x00-\x1f\x7f]{1,128}")


class AccountError(Exception):
    """A service account can't be made or found as asked."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class ServiceAccount:
    """A service account as it is listed; times are seconds since 1970, `expires_at` None: never."""

    name: str
    groups: tuple[str, ...]
    acts_for: tuple[str, ...]
    credential_id: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


@dataclass(frozen=True)
class IssuedCredential:
    """A credential just made. The token is shown once; `repr` doesn't."""

    token: str
    credential_id: str
    expires_at: float

    def __repr__(self) -> str:
        return f"IssuedCredential({self.credential_id}, expires_at={self.expires_at})"


@dataclass(frozen=True)
class Proof:
    """A token was recognised. `resource`: the only one it is good for (`pg/prod`), None: any. `acts_for`: globs of the
    subjects on whose behalf its holder may act."""

    identity: Identity
    resource: str | None
    acts_for: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """A token was not accepted. `reason`: unknown, expired or revoked, or unavailable when the database can't be read:
    then nobody is let in. Whose it was, where that is known. This is for the record: the client is told only that the
    login failed."""

    reason: str
    subject: str | None = None
    credential_id: str | None = None


_FIND = """
SELECT digest, name, groups, NULL, NULL, acts_for, NULL, credential_id, expires_at, revoked_at
  FROM service_accounts WHERE digest = :digest
UNION ALL
SELECT credentials.digest, subject, credentials.groups, actor, run, credentials.acts_for, resource,
       credentials.credential_id, min(credentials.expires_at, coalesce(account.expires_at, credentials.expires_at)),
       coalesce(credentials.revoked_at, account.revoked_at)
  FROM credentials LEFT JOIN service_accounts AS account ON account.credential_id = credentials.issued_by
 WHERE credentials.digest = :digest
"""


class Accounts:
    """The accounts in a control database (agent.store.control makes it). `clock` gives seconds since 1970."""

    def __init__(self, database: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock

    def create(self, name: str, groups: Sequence[str], expires_in: float | None, acts_for: Sequence[str] = ()) -> str:
        """Makes a service account; its token, which is nowhere else. Raises AccountError when the name is taken by one
        that isn't revoked, or can't be a name."""
        if not _NAME.fullmatch(name):
            raise AccountError(
                f"this can't be a service account's name (got {name!r}, expected letters, digits, _ . @ -, 63 at most)",
                "choose another name",
            )
        for group in (*groups, *acts_for):
            if not _GROUP.fullmatch(group):
                raise AccountError(
                    f"this can't be a group or subject (got {group!r}, expected no spaces or commas)",
                    "give --group once for each group",
                )
        if expires_in is not None and not expires_in > 0:
            raise AccountError(
                f"the account would be expired at once (got {expires_in:g} s, expected more than 0)",
                "give a time such as 90d",
            )
        now = self._clock()
        token = tokens.generate(tokens.SERVICE_ACCOUNT)
        try:
            self._database.execute(
                "INSERT INTO service_accounts VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    tokens.identifier("sa"),
                    name,
                    _pack(groups),
                    _pack(acts_for),
                    tokens.digest(token),
                    now,
                    None if expires_in is None else now + expires_in,
                ),
            )
        except sqlite3.IntegrityError as error:
            raise AccountError(
                f"there is a service account named {name} already",
                f"hoopctl service-account revoke {name} ends it and frees the name",
            ) from error
        return token

    def list(self) -> tuple[ServiceAccount, ...]:
        """Every service account, the revoked ones too, by name and age."""
        rows = self._database.execute(
            "SELECT name, groups, acts_for, credential_id, created_at, expires_at, revoked_at FROM service_accounts "
            "ORDER BY name, created_at, rowid"
        ).fetchall()
        return tuple(ServiceAccount(row[0], _unpack(row[1]), _unpack(row[2]), *row[3:]) for row in rows)

    def revoke(self, name: str) -> tuple[str, ...]:
        """Revokes a service account and every credential issued to it; their ids, so that their sessions can be ended.
        Raises AccountError when there is none of this name that isn't revoked."""
        now = self._clock()
        with self._transaction():
            row = self._database.execute(
                "SELECT credential_id FROM service_accounts WHERE name = ? AND revoked_at IS NULL", (name,)
            ).fetchone()
            if row is None:
                raise AccountError(
                    f"there is no service account named {name!r} to revoke", "hoopctl service-account list shows them"
                )
            issued = self._database.execute(
                "SELECT credential_id FROM credentials WHERE issued_by = ? AND revoked_at IS NULL", row
            ).fetchall()
            self._database.execute("UPDATE service_accounts SET revoked_at = ? WHERE credential_id = ?", (now, *row))
            self._database.execute(
                "UPDATE credentials SET revoked_at = ? WHERE issued_by = ? AND revoked_at IS NULL", (now, *row)
            )
        return (row[0], *(credential_id for (credential_id,) in issued))

    def issue(self, identity: Identity, resource: str, lifetime: float) -> IssuedCredential:
        """A credential for one resource (`pg/prod`) that ends by itself after `lifetime` seconds, or with the account
        that it is issued to."""
        now = self._clock()
        token = tokens.generate(tokens.CREDENTIAL)
        credential_id = tokens.identifier("cr")
        with self._transaction():
            self._database.execute("DELETE FROM credentials WHERE expires_at < ?", (now - KEPT_AFTER_EXPIRY,))
            parent = self._database.execute(
                "SELECT acts_for, expires_at, revoked_at FROM service_accounts WHERE credential_id = ?",
                (identity.credential_id,),
            ).fetchone() or ("[]", None, None)
            if parent[2] is not None:
                raise AccountError(f"the service account {identity.subject} is revoked", "create another one")
            latest = now + min(lifetime, LONGEST_LIFETIME)
            expires_at = latest if parent[1] is None else min(latest, parent[1])
            self._database.execute(
                "INSERT INTO credentials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    credential_id,
                    tokens.digest(token),
                    identity.subject,
                    _pack(identity.groups),
                    identity.actor,
                    identity.run,
                    parent[0],
                    identity.credential_id,
                    resource,
                    now,
                    expires_at,
                ),
            )
        return IssuedCredential(token, credential_id, expires_at)

    def authenticate(self, token: str) -> Proof | Refusal:
        """Whose token this is. The time it takes tells nothing about any other token: what is looked up and compared
        are digests, which nobody can choose."""
        wanted = tokens.digest(token[: tokens.LONGEST])
        try:
            row = self._database.execute(_FIND, {"digest": wanted}).fetchone()
        except sqlite3.Error:
            return Refusal("unavailable")
        found = hmac.compare_digest(row[0] if row is not None else bytes(len(wanted)), wanted)
        if row is None or not found or len(token) > tokens.LONGEST:
            return Refusal("unknown")
        _, subject, groups, actor, run, acts_for, resource, credential_id, expires_at, revoked_at = row
        if revoked_at is not None:
            return Refusal("revoked", subject, credential_id)
        if expires_at is not None and self._clock() >= expires_at:
            return Refusal("expired", subject, credential_id)
        identity = Identity(subject, _unpack(groups), actor, run, credential_id)
        return Proof(identity, resource, _unpack(acts_for))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _pack(words: Sequence[str]) -> str:
    return json.dumps(list(dict.fromkeys(words)))


def _unpack(packed: str) -> tuple[str, ...]:
    return tuple(json.loads(packed))
