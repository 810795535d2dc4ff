"""Who is let in, to what, as whom."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase

import msgspec
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from agent.core.commands import Prove
from agent.core.events import Admitted, Login, Refused
from agent.core.policy.rulebook import Rules
from agent.core.sql.catalog import Catalog
from agent.identity.accounts import Accounts, Proof, Refusal
from agent.identity.throttle import Throttle
from agent.net.driver import Connection
from agent.net.poller import Reactor
from agent.store.secret import SecretError, resolve
from schemas.configuration import PgResource
from schemas.identity import Identity

LONGEST_RUN = 200
"""Characters of a run's id: it is in every record of its session."""

_log = Logger()
_BASE32HEX = "0123456789abcdefghijklmnopqrstuv"

Note = Callable[[str, str | None, str | None, Mapping[str, object]], None]


class Admission:
    """Answers Prove: a token is recognised, its resource found, what the server is logged in with fetched."""

    def __init__(self, reactor: Reactor, accounts: Accounts, clock: Callable[[], float], note: Note) -> None:
        self.resources: dict[str, PgResource] = {}
        self.rules: Rules | None = None
        self.mask_key = b""
        """What masked values are hashed and invented with; stable, so that equal values stay equal."""
        self._catalogs: dict[str, Catalog] = {}
        self._reactor = reactor
        self._accounts = accounts
        self._throttle = Throttle()
        self._clock = clock
        self._note = note

    def prove(self, connection: Connection, request: Prove) -> None:
        """Looks at a token, later when its address has guessed before."""
        wait = self._throttle.wait(connection.address, self._clock())
        if wait:
            self._reactor.callLater(wait, self._look, connection, request)
        else:
            self._look(connection, request)

    def _look(self, connection: Connection, request: Prove) -> None:
        if connection.over:
            return
        proof = self._accounts.authenticate(request.credential)
        if isinstance(proof, Refusal):
            self._refuse_token(connection, request, proof)
            return
        self._throttle.succeeded(connection.address)
        refused = self._unfit(proof, request)
        resource = self.resources.get(_bare(request.resource))
        if refused is None and resource is not None:
            self._fetch(connection, _identity(proof, request), resource)
            return
        refused = refused or self._no_resource(request.resource)
        self._record(connection, request, proof.identity.subject, refused.message)
        connection.feed(refused)

    def _refuse_token(self, connection: Connection, request: Prove, refusal: Refusal) -> None:
        self._record(connection, request, refusal.subject, f"token {refusal.reason}")
        delay = self._throttle.failed(connection.address, self._clock())
        refused = Refused(
            "28P01",
            f'hoopctl authentication failed for user "{request.user}"',
            "the password is a token: of a service account, or a credential of `hoopctl connect` that is minutes old",
        )
        self._reactor.callLater(delay, connection.feed, refused)

    def _unfit(self, proof: Proof, request: Prove) -> Refused | None:
        """Why this token does not open this session, if so."""
        subject = proof.identity.subject
        if request.user not in ("", subject, request.on_behalf_of):
            return Refused(
                "28000",
                f'this token is not of user "{request.user}"',
                f"connect as user={subject}, or leave the user empty",
            )
        if proof.resource is not None and proof.resource != f"pg/{_bare(request.resource)}":
            return Refused(
                "28000", f"this credential is for {proof.resource} only", "ask `hoopctl connect` for another"
            )
        acting = request.on_behalf_of
        if acting is not None and not any(fnmatchcase(acting, pattern) for pattern in proof.acts_for):
            return Refused(
                "28000",
                f'{subject} may not act on behalf of "{acting}"',
                "`hoopctl service-account create --acts-for` says for whom an account may act",
            )
        if request.run is not None and (len(request.run) > LONGEST_RUN or not request.run.isprintable()):
            return Refused("22023", f"hoop.run can't be used (expected at most {LONGEST_RUN} printable characters)")
        return None

    def _no_resource(self, name: str) -> Refused:
        near = get_close_matches(_bare(name), list(self.resources), n=1)
        return Refused(
            "3D000",
            f'there is no resource "{name}"',
            f'did you mean "{near[0]}"?' if near else "the database is a resource's name; `hoopctl resources list`",
        )

    def _record(self, connection: Connection, request: Prove, subject: str | None, reason: str) -> None:
        details = {"reason": reason, "user": request.user[:200], "client_address": connection.address}
        self._note("login refused", subject, f"pg/{_bare(request.resource)[:200]}", details)

    def _fetch(self, connection: Connection, identity: Identity, resource: PgResource) -> None:
        """The server's password: from the environment at once, from a file or command in a thread."""
        secret = resource.password
        if secret is None or secret.env is not None:
            try:
                self._admit(None if secret is None else resolve(secret), connection, identity, resource)
            except SecretError as error:
                self._no_secret(error, connection, resource)
            return
        fetched = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), resolve, secret)
        fetched.addCallback(self._admit, connection, identity, resource)
        fetched.addErrback(self._not_fetched, connection, resource)

    def _not_fetched(self, failure: Failure, connection: Connection, resource: PgResource) -> None:
        if isinstance(failure.value, SecretError):
            self._no_secret(failure.value, connection, resource)
        else:
            _log.failure("login", failure)
            connection.feed(Refused("XX000", f"connection to resource pg/{resource.name} failed"))

    def _no_secret(self, error: SecretError, connection: Connection, resource: PgResource) -> None:
        _log.error("pg/{name}: {error}", name=resource.name, error=error.message)
        details = {"reason": error.message, "client_address": connection.address}
        self._note("secret missing", None, f"pg/{resource.name}", details)
        connection.feed(
            Refused(
                "08001",
                f"connection to resource pg/{resource.name} failed: the agent has no password for it",
                "`hoopctl resources check` says why",
            )
        )

    def _admit(self, password: str | None, connection: Connection, identity: Identity, resource: PgResource) -> None:
        if connection.over:
            return
        admitted = Admitted(
            session_id(int(self._clock() * 1000)),
            identity,
            f"pg/{resource.name}",
            login(resource, password),
            self.rules,
            self._catalogs.setdefault(resource.name, Catalog()),
            self.mask_key,
        )
        connection.admit(admitted, resource)


def login(resource: PgResource, password: str | None) -> Login:
    """How to log in to this resource."""
    upstream = resource.upstream
    return Login(
        user=upstream.user,
        database=upstream.database,
        password=password,
        sslmode=upstream.sslmode,
        channel_binding=upstream.channel_binding,
        local=upstream.host.startswith("/"),
        has_certificate=upstream.sslcert is not None,
        nonce=secrets.token_urlsafe(18),
    )


def session_id(milliseconds: int) -> str:
    """20 characters of base32hex (RFC 4648 section 7): 48 bits of time, so that they sort, and 52 of chance."""
    number = (milliseconds & (1 << 48) - 1) << 52 | secrets.randbits(52)
    return "".join(_BASE32HEX[number >> shift & 31] for shift in range(95, -1, -5))


def _identity(proof: Proof, request: Prove) -> Identity:
    found = proof.identity
    if request.on_behalf_of is not None:
        found = msgspec.structs.replace(found, subject=request.on_behalf_of, actor=proof.identity.subject)
    return found if request.run is None else msgspec.structs.replace(found, run=request.run)


def _bare(resource: str) -> str:
    return resource.removeprefix("pg/")
