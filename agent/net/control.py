"""The control API: who runs the agent asks it things, over HTTP on a Unix-domain socket that is theirs alone.

Here is what is asked and who may; agent.net.control_http puts it into HTTP. See schemas/control.py for the routes.
"""

from __future__ import annotations

import pwd
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol, TypeVar
from urllib.parse import unquote

import msgspec
from twisted.internet.defer import Deferred

from agent.identity.accounts import Accounts, Proof
from schemas.control import AccountRequest, CredentialRequest, ExplainRequest, KillRequest, SampleRequest, TablesRequest
from schemas.discovery import Sample, Tables
from schemas.explanation import Explanation
from schemas.identity import Identity

_Request = TypeVar("_Request")


class ControlError(Exception):
    """A request that isn't granted; `status` is HTTP's."""

    def __init__(self, status: int, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.hint = hint


class Service(Protocol):
    """What the control API asks of the agent. What is marked so may be answered later, by a Deferred. Any of it may
    raise ControlError, or an exception with `message` and `hint` for the user; others are logged and not shown."""

    accounts: Accounts

    def status(self) -> Mapping[str, object]:
        """What the agent says of itself; `ready: False` makes /healthz answer 503."""

    def resources(self) -> Sequence[Mapping[str, object]]:
        """The resources in force (agent.store.configuration.described makes this); each has `resource`, `pg/prod`."""

    def live_sessions(self) -> Sequence[Mapping[str, object]]:
        """The live sessions; each has at least `session_id` and `subject`."""

    def kill(self, session_id: str, reason: str) -> bool:
        """Ends a session; whether there was one of this id."""

    def seal(self) -> Deferred[Mapping[str, object]]:
        """Seals what is recorded now; a report."""

    def check(self, resource: str) -> Deferred[Mapping[str, object]]:
        """Whether a resource (its bare name) is reached, and how."""

    def explain(self, resource: str, request: ExplainRequest) -> Deferred[Explanation]:
        """What the statements of a text would do on a resource (its bare name)."""

    def tables(self, resource: str, request: TablesRequest) -> Deferred[Tables]:
        """The tables of a resource (its bare name) that fit."""

    def sample(self, resource: str, request: SampleRequest) -> Deferred[Sample]:
        """What kinds of values a table of a resource (its bare name) holds."""

    def issue(self, identity: Identity, resource: str) -> Mapping[str, object]:
        """A credential for a resource (its bare name): the fields of schemas.control.Credential."""

    def end_credentials(self, credential_ids: Sequence[str]) -> object:
        """Ends every live session that one of these credentials opened."""

    def note(self, kind: str, subject: str, resource: str | None, details: Mapping[str, object]) -> None:
        """Records an event."""

    def metrics(self) -> Mapping[str, int | float]:
        """Figures by name, without the prefix `hoopctl_`; what only grows ends in `_total`."""


@dataclass(frozen=True)
class Caller:
    """Who asks. `local`: by the socket's permissions, as this machine's user; else by a token."""

    identity: Identity
    local: bool


@dataclass(frozen=True)
class Asked:
    """A request that was read: the words of the path that its route left open, and the body."""

    caller: Caller
    words: tuple[str, ...]
    body: bytes


class Api:
    """The routes, on plain values: nothing here knows HTTP but for the statuses of errors."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._routes: dict[tuple[str, str], tuple[Callable[[Asked], object], bool]] = {
            # The flag: only for the machine's own user, since it reaches beyond what is the caller's.
            ("GET", "status"): (self._status, False),
            ("GET", "sessions"): (self._sessions, False),
            ("POST", "sessions/*/kill"): (self._kill, True),
            ("POST", "seal"): (self._seal, True),
            ("GET", "resources"): (self._resources, False),
            ("POST", "resources/*/check"): (self._check, True),
            ("POST", "resources/*/explain"): (self._explain, True),
            ("POST", "resources/*/tables"): (self._tables, True),
            ("POST", "resources/*/sample"): (self._sample, True),
            ("POST", "credentials"): (self._credentials, False),
            ("GET", "service-accounts"): (self._accounts, True),
            ("POST", "service-accounts"): (self._create, True),
            ("DELETE", "service-accounts/*"): (self._revoke, True),
        }

    def answer(self, method: str, path: str, caller: Callable[[], Caller], body: bytes) -> object:
        """What a request gets: a value for JSON, or a Deferred of one. Raises ControlError."""
        words = tuple(unquote(word) for word in path.split("/"))
        if words[:2] != ("", "v1"):
            raise ControlError(404, f"there is nothing at {path[:200]} (expected /v1/…)")
        matches = [(verb, pattern) for verb, pattern in self._routes if _fits(pattern.split("/"), words[2:])]
        for verb, pattern in matches:
            if verb == method:
                handler, local = self._routes[verb, pattern]
                known = caller()
                if local and not known.local:
                    raise ControlError(
                        403,
                        f"this is for the agent's own user (got {known.identity.subject} by token)",
                        "unset HOOPCTL_TOKEN, on the agent's machine",
                    )
                open_words = tuple(
                    word for star, word in zip(pattern.split("/"), words[2:], strict=True) if star == "*"
                )
                return handler(Asked(known, open_words, body))
        if matches:
            raise ControlError(
                405, f"{method[:20]} is not for {path[:200]} (expected {' or '.join(verb for verb, _ in matches)})"
            )
        raise ControlError(404, f"there is nothing at {path[:200]}")

    def _status(self, asked: Asked) -> object:
        return self._service.status()

    def _sessions(self, asked: Asked) -> object:
        sessions = self._service.live_sessions()
        if asked.caller.local:
            return sessions
        return [session for session in sessions if session.get("subject") == asked.caller.identity.subject]

    def _kill(self, asked: Asked) -> object:
        request = _decoded(asked.body, KillRequest)
        reason = request.reason or f"killed by {asked.caller.identity.subject}"
        if not self._service.kill(asked.words[0], reason):
            raise ControlError(
                404, f"there is no live session {asked.words[0][:100]!r}", "hoopctl sessions list --live shows them"
            )
        self._note(asked, "session killed", session_id=asked.words[0], reason=reason)
        return {"killed": True}

    def _seal(self, asked: Asked) -> object:
        return self._service.seal()

    def _resources(self, asked: Asked) -> object:
        return self._service.resources()

    def _check(self, asked: Asked) -> object:
        return self._service.check(self._resource(asked.words[0]))

    def _explain(self, asked: Asked) -> object:
        request = _decoded(asked.body, ExplainRequest)
        if "\0" in request.text or "\0" in (request.search_path or ""):
            raise ControlError(400, "a statement holds no NUL (got one in the text or the search path)")
        return self._service.explain(self._resource(asked.words[0]), request)

    def _tables(self, asked: Asked) -> object:
        request = _decoded(asked.body, TablesRequest)
        name = self._resource(asked.words[0])
        details = {"schemas": request.schemas, "tables": request.tables}
        self._service.note("masks discovered", asked.caller.identity.subject, f"pg/{name}", details)
        return self._service.tables(name, request)

    def _sample(self, asked: Asked) -> object:
        request = _decoded(asked.body, SampleRequest)
        if "\0" in request.schema or "\0" in request.table:
            raise ControlError(400, "a name holds no NUL (got one in the schema or the table)")
        name = self._resource(asked.words[0])
        details = {"table": f"{request.schema}.{request.table}", "rows": request.rows}
        self._service.note("table sampled", asked.caller.identity.subject, f"pg/{name}", details)
        return self._service.sample(name, request)

    def _credentials(self, asked: Asked) -> object:
        name = self._resource(_decoded(asked.body, CredentialRequest).resource)
        return self._service.issue(asked.caller.identity, name)

    def _accounts(self, asked: Asked) -> object:
        return self._service.accounts.list()

    def _create(self, asked: Asked) -> object:
        request = _decoded(asked.body, AccountRequest)
        token = self._service.accounts.create(request.name, request.groups, request.expires_in, request.acts_for)
        self._note(asked, "service account created", name=request.name, groups=request.groups)
        return {"token": token}

    def _revoke(self, asked: Asked) -> object:
        name = asked.words[0]
        ended = self._service.accounts.revoke(name)
        self._service.end_credentials(ended)
        self._note(asked, "service account revoked", name=name, credentials=ended)
        return {"revoked": name, "credentials": len(ended)}

    def _note(self, asked: Asked, kind: str, **details: object) -> None:
        self._service.note(kind, asked.caller.identity.subject, None, details)

    def _resource(self, asked: str) -> str:
        known = [str(resource["resource"]) for resource in self._service.resources()]
        name = asked if "/" in asked else f"pg/{asked}"
        if name in known:
            return name.partition("/")[2]
        near = get_close_matches(name, known, n=1)
        raise ControlError(
            404,
            f"there is no resource {asked[:100]!r}",
            f"did you mean {near[0]}?" if near else "hoopctl resources list shows them",
        )


def _fits(pattern: Sequence[str], words: Sequence[str]) -> bool:
    return len(pattern) == len(words) and all(
        (star == "*" and word != "") or star == word for star, word in zip(pattern, words, strict=True)
    )


def _decoded(body: bytes, kind: type[_Request]) -> _Request:
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ControlError(400, f"the request can't be read ({error})") from error


def identify(service: Service, peer: socket.socket, authorization: str | None) -> Caller:
    """Who asks: whose token the request carries, else the user at the other end of the socket as the kernel knows
    them (SO_PEERCRED, unix(7)). Raises ControlError (401) for a token that isn't accepted: it is not passed over."""
    if authorization is None:
        _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
        return Caller(Identity(f"local:{_user(uid)}", credential_id="local"), local=True)
    scheme, _, token = authorization.partition(" ")
    proof = service.accounts.authenticate(token.strip()) if scheme.lower() == "bearer" else None
    # A credential for one resource opens that resource; it doesn't beget others here.
    if isinstance(proof, Proof) and proof.resource is None:
        return Caller(proof.identity, local=False)
    raise ControlError(
        401, "the token was not accepted", "hoopctl service-account list shows which are valid; check $HOOPCTL_TOKEN"
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
