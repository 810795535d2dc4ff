"""What the agent answers to who runs it: agent.net.control.Service, from what the agent owns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from agent.core import session as core_session
from agent.core.events import Login
from agent.core.limits import CREDENTIAL_LIFETIME, MAX_EXPLAINING
from agent.core.pg.interrogation import Interrogation
from agent.core.pg.sampling import Sampling, Survey, detector
from agent.net.admission import login
from agent.net.asker import Asker
from agent.net.check import Check
from agent.net.control import ControlError
from agent.net.driver import Connection
from agent.net.explainer import Explainer
from agent.net.sampler import Sampler, Surveyor
from agent.store import configuration as hoop_yaml
from agent.store.secret import resolve
from schemas.configuration import PgResource
from schemas.control import ExplainRequest, SampleRequest, TablesRequest
from schemas.discovery import Sample, Tables
from schemas.explanation import Explanation
from schemas.identity import Identity

if TYPE_CHECKING:
    from agent.core.masking.looks import Detector
    from agent.net.service import Agent

_Answer = TypeVar("_Answer")


class Desk:
    """Implements agent.net.control.Service."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.accounts = agent.accounts
        self._asking = 0
        self._looks: Detector | None = None

    def _live(self) -> list[Connection]:
        return [connection for connection in self._agent.connections if connection.admitted is not None]

    def status(self) -> Mapping[str, object]:
        listeners = {name: f"{address.host}:{address.port}" for name, address in self._agent.listeners.items()}
        return {
            "version": agent_version(),
            "pid": os.getpid(),
            "started_at": self._agent.started,
            "listeners": listeners,
            "sessions": len(self._live()),
            "ready": not self._agent.stopping and self._agent.commit.journal.failure is None,
            "journal": self._agent.commit.journal.failure or "writable",
            "compiled": not str(core_session.__file__).endswith(".py"),
            "later": list(self._agent.configuration.later),
        }

    def resources(self) -> Sequence[Mapping[str, object]]:
        return hoop_yaml.described(self._agent.configuration)

    def live_sessions(self) -> Sequence[Mapping[str, object]]:
        return [
            {
                "session_id": connection.admitted.session_id,
                "subject": connection.admitted.identity.subject,
                "actor": connection.admitted.identity.actor,
                "run": connection.admitted.identity.run,
                "resource": connection.admitted.resource,
                "client_address": connection.address,
                "started_at": connection.started / 1e6,
            }
            for connection in self._live()
            if connection.admitted is not None
        ]

    def kill(self, session_id: str, reason: str) -> bool:
        for connection in self._live():
            if connection.admitted is not None and connection.admitted.session_id == session_id:
                connection.stop("57P01", f"terminating connection: {reason}", reason)
                self._agent.batch_done()
                return True
        return False

    def end_credentials(self, credential_ids: Sequence[str]) -> int:
        ended = 0
        for connection in self._live():
            if connection.admitted is not None and connection.admitted.identity.credential_id in credential_ids:
                connection.stop("57P01", "terminating connection: its credential was revoked", "credential revoked")
                ended += 1
        self._agent.batch_done()
        return ended

    def seal(self) -> Deferred[Mapping[str, object]]:
        return self._agent.sealing.seal()

    def check(self, resource: str) -> Deferred[Mapping[str, object]]:
        found = self._agent.admission.resources[resource]
        return self._password(found).addCallback(
            lambda password: Check(self._agent, found, login(found, password)).report
        )

    def explain(self, resource: str, request: ExplainRequest) -> Deferred[Explanation]:
        asked = Interrogation(request.text, request.search_path, request.columns)
        return self._asked(resource, lambda found, login: Explainer(self._agent, found, login, asked))

    def tables(self, resource: str, request: TablesRequest) -> Deferred[Tables]:
        asked = Survey(request.schemas, request.tables)
        return self._asked(resource, lambda found, login: Surveyor(self._agent, found, login, asked))

    def sample(self, resource: str, request: SampleRequest) -> Deferred[Sample]:
        self._looks = self._looks or detector()
        asked = Sampling(request.schema, request.table, request.rows, self._looks)
        return self._asked(resource, lambda found, login: Sampler(self._agent, found, login, asked))

    def _asked(self, resource: str, ask: Callable[[PgResource, Login], Asker[_Answer]]) -> Deferred[_Answer]:
        """What a resource answers over a connection of the agent's own."""
        if self._asking >= MAX_EXPLAINING:
            raise ControlError(503, f"too much is being asked of databases (got {self._asking} others)", "try again")
        found = self._agent.admission.resources[resource]
        self._asking += 1
        return (
            self._password(found)
            .addCallback(lambda password: ask(found, login(found, password)).report)
            .addBoth(self._answered)
        )

    def _answered(self, outcome: _Answer | Failure) -> _Answer | Failure:
        self._asking -= 1
        return outcome

    def _password(self, resource: PgResource) -> Deferred[str | None]:
        """The agent's own password for a resource: files and commands may take their time."""
        secret = resource.password
        return deferToThreadPool(
            self._agent.reactor,
            self._agent.reactor.getThreadPool(),
            lambda: None if secret is None else resolve(secret),
        )

    def issue(self, identity: Identity, resource: str) -> Mapping[str, object]:
        address = self._agent.listeners.get("pg")
        if address is None:
            raise ControlError(503, "the agent does not listen for PostgreSQL", "set listen.pg in hoop.yaml")
        issued = self._agent.accounts.issue(identity, f"pg/{resource}", CREDENTIAL_LIFETIME)
        self._agent.note(
            "credential issued", identity.subject, f"pg/{resource}", {"credential_id": issued.credential_id}
        )
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
        return {
            "host": host,
            "port": address.port,
            "dbname": resource,
            "user": identity.subject,
            "password": issued.token,
            "expires_at": issued.expires_at,
            "ca": self._agent.ca,
        }

    def note(self, kind: str, subject: str | None, resource: str | None, details: Mapping[str, object]) -> None:
        self._agent.note(kind, subject, resource, details)

    def metrics(self) -> Mapping[str, int | float]:
        journal = self._agent.commit.journal
        return {
            **self._agent.totals,
            "sessions": len(self._live()),
            "connections": len(self._agent.connections),
            "journal_records_total": journal.appended,
            "journal_bytes_total": journal.bytes,
            "journal_writable": int(journal.failure is None),
            "seal_failures_total": self._agent.sealing.failures,
        }


def agent_version() -> str:
    """The installed version's number."""
    try:
        return version("hoopctl")
    except PackageNotFoundError:
        return "0 (not installed)"
