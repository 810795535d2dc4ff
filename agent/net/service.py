"""The agent as a whole: what hoop.yaml says, running."""

from __future__ import annotations

import gc
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from ssl import SSLContext
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from agent.core.commands import Prove
from agent.core.events import PolicyChanged
from agent.core.limits import LOGIN_TIMEOUT, MAX_UNPROVEN
from agent.core.pg.errors import error_response
from agent.core.pg.greeting import Terms
from agent.core.pg.session import PgSession
from agent.identity import authority
from agent.identity.accounts import Accounts
from agent.net import control_http, tls
from agent.net.admission import Admission
from agent.net.commit import Commit
from agent.net.desk import Desk, agent_version
from agent.net.dial import Dial
from agent.net.driver import Connection
from agent.net.listener import Listener, ListenFailed
from agent.net.policy import PolicyFile
from agent.net.poller import Poller, Reactor
from agent.net.sealing import Sealing
from agent.net.stream import Owner, Stream
from agent.store import configuration as hoop_yaml
from agent.store.control import open_database, ready_directory
from agent.store.journal import Journal, JournalFailed
from agent.store.keys import mask_key
from agent.store.recovery import closing_records
from schemas.configuration import Address, Configuration, PgResource, Tls
from schemas.records import Event

DRAIN = 10.0
"""Seconds that sessions which are at work may go on after SIGTERM."""

REOPEN = 5.0
"""Seconds between tries to open a journal that failed."""

RENEW = 12 * 3600.0
"""Seconds between looks at how long the agent's own certificate is good for."""

_SHUTDOWN = ("57P01", "terminating connection due to administrator command", "agent stopped")
_log = Logger()


class Agent:
    """Owns everything that runs. Implements agent.net.driver.Host; agent.net.desk answers the control
    API from what it owns."""

    def __init__(self, reactor: Reactor, configuration: Configuration) -> None:
        self.reactor = reactor
        self.configuration = configuration
        self.stopping = False
        self._state = Path(configuration.state)
        self.started = time.time()
        self._last = 0
        self.connections: set[Connection] = set()
        self._unproven = 0
        self._cancel_keys: dict[bytes, Connection] = {}
        self.totals = {"sessions_total": 0, "logins_refused_total": 0, "connections_refused_total": 0}
        self.listeners: dict[str, Address] = {}
        self._pg: Listener | None = None
        self._ports: list[control_http.Port] = []
        self._strict = configuration.audit.durability == "strict"
        ready_directory(self._state)
        journal = Journal.open(self._state / "journal")
        self._poller = Poller(reactor, self.batch_done)
        self.commit = Commit(self._poller, journal, self._journal_failed, self._strict)
        self._recovered(journal)
        self._database = open_database(self._state)
        self.accounts = Accounts(self._database, time.time)
        self.admission = Admission(reactor, self.accounts, time.time, self.note)
        self.admission.resources = {resource.name: resource for resource in configuration.resources}
        path = None if configuration.policy is None else Path(configuration.policy)
        self._policy = PolicyFile(reactor, path, self.note, self._policy_changed)
        self.admission.rules = self._policy.rules
        self.admission.mask_key = mask_key(self._state)
        self._tls_files, self.ca = self._certificate()
        self._tls: SSLContext = tls.for_clients(self._tls_files)
        self.sealing = Sealing(reactor, lambda: self.commit, configuration.audit)

    # Starting and stopping

    def listen(self) -> dict[str, Address]:
        """Opens every listener; their addresses by name. Raises ListenFailed, ControlError."""
        listen = self.configuration.listen
        desk = Desk(self)
        self._ports.append(control_http.listen_socket(self.reactor, self._state, desk))
        if listen.pg is not None:
            self._pg = Listener(self.reactor, self._poller, listen.pg, self._accepted)
            self.listeners["pg"] = self._pg.address
        if listen.control is not None:
            try:
                port = control_http.listen_watch(self.reactor, listen.control.host, listen.control.port, desk)
            except OSError as error:
                raise ListenFailed(f"cannot listen on {listen.control.host}:{listen.control.port}") from error
            self._ports.append(port)
            self.listeners["control"] = Address(listen.control.host, port.getHost().port)
        self.note("agent started", None, None, {"version": agent_version(), "configuration": self.configuration.source})
        self._policy.start()
        for key in self.configuration.later:
            _log.warn("{key} is set, but not in this version", key=key)
        self._renewal = LoopingCall(self._renew)
        self._renewal.clock = self.reactor
        self._renewal.start(RENEW, now=False)
        return self.listeners

    def stop(self) -> Deferred[None]:
        """Takes no more clients, lets what is at work finish, ends every session, seals. A second call hurries."""
        if not self.stopping:
            self.stopping = True
            self._deadline = self.reactor.seconds() + DRAIN
            self._stopped: Deferred[None] = Deferred()
            if self._pg is not None:
                self._pg.close()
            self._renewal.stop()
            self._policy.stop()
            self._drain()
        else:
            self._deadline = 0.0
        return self._stopped

    def _drain(self) -> None:
        late = self.reactor.seconds() >= self._deadline
        for connection in list(self.connections):
            if late or not connection.session.busy:
                connection.stop(*_SHUTDOWN)
        if self.connections:
            self.reactor.callLater(0.05, self._drain)
            return
        self.note("agent stopped", None, None, {})
        self.sealing.stop()
        self.sealing.seal().addErrback(lambda failure: _log.error("{why}", why=failure.getErrorMessage())).addBoth(
            self._close
        )

    def _close(self, _: object) -> None:
        for port in self._ports:
            port.stopListening()
        self.commit.close()
        self.commit.journal.close()
        self._poller.close()
        self._database.close()
        self._stopped.callback(None)

    def _policy_changed(self) -> None:
        """Another policy is in force: from the next statement on, for the sessions that there are as well."""
        self.admission.rules = self._policy.rules
        for connection in list(self.connections):
            connection.feed(PolicyChanged(self._policy.rules))
        self.batch_done()

    def reload(self) -> None:
        """Reads the policy again, and hoop.yaml, and takes its resources; a bad file is refused and the old one
        stays."""
        self._policy.reload()
        try:
            fresh = hoop_yaml.load(Path(self.configuration.source))
        except hoop_yaml.ConfigurationError as error:
            _log.error("configuration not reloaded: {error}", error=error.message)
            self.note("configuration refused", None, None, {"error": error.message})
            return
        self.admission.resources = {resource.name: resource for resource in fresh.resources}
        self.configuration = msgspec.structs.replace(self.configuration, resources=fresh.resources)
        self.note("configuration loaded", None, None, {"resources": [r.name for r in fresh.resources]})

    # The journal

    def _recovered(self, journal: Journal) -> None:
        """Ends what a lost agent left open."""
        records = closing_records(journal.directory, self.now())
        for record in records:
            journal.append(record)
        if records or journal.torn_bytes:
            details = {"closed": len(records), "torn_bytes": journal.torn_bytes}
            journal.append(Event(self.now(), "journal recovered", None, None, _json(details)))
        journal.wait()

    def batch_done(self) -> None:
        self.commit.batch_done()

    def _journal_failed(self, reason: str) -> None:
        """Nothing may run that can't be recorded: every session ends, and nobody gets in until there is a journal."""
        _log.critical("the journal cannot be written: {reason}", reason=reason)
        for connection in list(self.connections):
            connection.journal_lost(reason)
        self.reactor.callLater(REOPEN, self._reopen)

    def _reopen(self) -> None:
        if self.stopping:
            return
        self.commit.close()
        self.commit.journal.close()
        try:
            journal = Journal.open(self._state / "journal")
            self._recovered(journal)
            if journal.failure is not None:
                raise JournalFailed(journal.failure)
        except (OSError, JournalFailed) as error:
            _log.error("the journal still cannot be written: {error}", error=error)
            self.reactor.callLater(REOPEN, self._reopen)
            return
        self.commit = Commit(self._poller, journal, self._journal_failed, self._strict)
        self.note("journal reopened", None, None, {})

    # Clients

    def now(self) -> int:
        """Microseconds since 1970, never running backwards."""
        self._last = max(self._last, time.time_ns() // 1000)
        return self._last

    def _accepted(self, client: socket.socket, address: str) -> None:
        if self._unproven >= MAX_UNPROVEN or self.stopping:
            self.totals["connections_refused_total"] += 1
            try:
                client.send(error_response("53300", "too many clients are logging in", severity="FATAL"))
            except OSError:
                pass
            client.close()
            return
        audit = self.configuration.audit
        terms = Terms(
            client_address=address,
            private=_is_loopback(address),
            tls=True,
            cancel_key=(secrets.randbits(31) | 1).to_bytes(4, "big") + secrets.token_bytes(32),
            kept=audit.responses,
            strict=self._strict,
        )
        connection = Connection(self, PgSession(terms), address)
        self.connections.add(connection)
        self._unproven += 1
        connection.timer = self.reactor.callLater(LOGIN_TIMEOUT, self._too_slow, connection)
        connection.begin(client)

    def _too_slow(self, connection: Connection) -> None:
        connection.stop("08006", "canceling authentication due to timeout", "login timed out")

    def prove(self, connection: Connection, request: Prove) -> None:
        self.admission.prove(connection, request)

    def let_in(self, connection: Connection) -> None:
        self._unproven -= 1
        self.totals["sessions_total"] += 1

    def closed(self, connection: Connection) -> None:
        if connection in self.connections:
            self.connections.discard(connection)
            if connection.admitted is None:
                self._unproven -= 1
            for key in connection.cancel_keys:
                self._cancel_keys.pop(key, None)

    def dial(
        self, resource: PgResource, connected: Callable[[socket.socket], None], failed: Callable[[str], None]
    ) -> Dial:
        threads = self.reactor.getThreadPool()
        return Dial(self.reactor, threads, self._poller, resource.upstream, connected, failed)

    def stream(self, connected: socket.socket, connection: Owner) -> Stream:
        return Stream(self._poller, connected, connection)

    def secure_client(self, stream: Stream, received: bytes) -> None:
        stream.secure(self._tls, True, None, received)

    def offer_cancel(self, key: bytes, connection: Connection) -> None:
        self._cancel_keys[key] = connection
        connection.cancel_keys.append(key)

    def find_cancel(self, key: bytes) -> Connection | None:
        return self._cancel_keys.get(key)

    # Events

    def note(self, kind: str, subject: str | None, resource: str | None, details: Mapping[str, object]) -> None:
        """Records an event; where it can't be, the log has it."""
        if kind == "login refused":
            self.totals["logins_refused_total"] += 1
        try:
            self.commit.append(Event(self.now(), kind, subject, resource, _json(details)))
        except JournalFailed as error:
            _log.error("not recorded: {kind} ({error})", kind=kind, error=error)
            return
        self.batch_done()

    # TLS

    def _certificate(self) -> tuple[Tls, str | None]:
        """The certificate to show, and the file with its authority where that is the agent's own."""
        if self.configuration.tls is not None:
            return self.configuration.tls, None
        listen = self.configuration.listen.pg
        called = authority.names([] if listen is None else [listen.host])
        files = authority.ensure(self._state / "tls", called, datetime.now(UTC))
        return Tls(str(files.certificate), str(files.key)), str(files.ca)

    def _renew(self) -> None:
        try:
            self._tls_files, self.ca = self._certificate()
            self._tls = tls.for_clients(self._tls_files)
        except (tls.TlsFailed, authority.AuthorityError) as error:
            _log.error("certificate not renewed: {error}", error=error)


def run(configuration: Configuration, ready: Callable[[str], None]) -> None:
    """Runs the agent until SIGTERM or SIGINT. `ready` gets the line `ready`, then one for each listener.

    Raises what keeps it from starting: StateError, JournalBusy, JournalDamage, ListenFailed, TlsFailed …
    """
    from twisted.internet import reactor as chosen

    reactor: Reactor = chosen
    passing: list[Any] = [LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)]
    observer: Any = textFileLogObserver(sys.stderr)
    told: list[Any] = [FilteringLogObserver(observer, passing)]
    globalLogBeginner.beginLoggingTo(told, redirectStandardIO=False)
    agent = Agent(reactor, configuration)
    listeners = agent.listen()

    def stop(*_: object) -> None:
        first = not agent.stopping
        stopped = agent.stop()
        if first:
            stopped.addBoth(lambda _: reactor.stop())

    def announce() -> None:
        for number, action in (
            (signal.SIGTERM, stop),
            (signal.SIGINT, stop),
            (signal.SIGHUP, lambda *_: reactor.callFromThread(agent.reload)),
        ):
            signal.signal(number, action)
        ready("ready")
        for name, address in listeners.items():
            ready(f"{name} {address.host}:{address.port}")

    # What there is by now stays; what a statement leaves behind is freed without the collector's help.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    reactor.callWhenRunning(announce)
    reactor.run()


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1" or address.startswith("::ffff:127.")


def _json(details: Mapping[str, object]) -> str:
    return msgspec.json.encode(dict(details)).decode()
