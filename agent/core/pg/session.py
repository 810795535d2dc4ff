"""A PostgreSQL session: a client that logs in, a server that is logged in to, and what passes between them.

    greeting -> [securing] -> greeting -> password -> proving -> connecting -> relaying -> over

Each state knows the events that it expects (EXPECTS); any other is ignored when it comes from a peer that was told to
go, and can't happen otherwise.
"""

from __future__ import annotations

from typing import Final, assert_never

from agent.core.commands import (
    CancelServer,
    Close,
    Command,
    Connect,
    OfferCancel,
    Reading,
    SecureServer,
    SendClient,
    SendServer,
)
from agent.core.events import (
    Admitted,
    CancelAsked,
    ClientData,
    ClientEnded,
    ClientGone,
    ClientSecured,
    Durable,
    Event,
    JournalLost,
    PolicyChanged,
    Refused,
    ServerConnected,
    ServerData,
    ServerGone,
    ServerSecured,
    ServerUnreachable,
    Stop,
)
from agent.core.limits import MAX_HELD, MAX_UNHEARD, MAX_WELCOME
from agent.core.pg import login as server
from agent.core.pg.errors import error_response
from agent.core.pg.exchange import Exchange
from agent.core.pg.gate import Gate
from agent.core.pg.greeting import BEFORE, GREETING, PROVING, SECURING, Greeting, Terms
from agent.core.pg.guard import Guard
from agent.core.pg.ledger import Ledger
from agent.core.pg.messages import AUTHENTICATION, BACKEND_KEY_DATA, READY, ProtocolError, message
from agent.core.pg.replies import Replies
from agent.core.pg.requests import Requests
from agent.core.policy.masks import Masked
from agent.core.policy.rulebook import Rulebook, Rules
from agent.core.session import Session
from agent.core.sql.catalog import Catalog
from schemas.policy import NOTHING

CONNECTING: Final = "connecting"
RELAYING: Final = "relaying"
OVER: Final = "over"

_TERMINATE_SERVER: Final = b"X\0\0\0\x04"
_AUTHENTICATED: Final = message(AUTHENTICATION, (0).to_bytes(4, "big"))
_SHORT_KEY: Final = 4
_IDLE: Final = 0x49  # I


class PgSession(Session):
    """One client connection. See agent.core.session for what `feed` promises."""

    def __init__(self, terms: Terms) -> None:
        self.state = GREETING
        self._terms = terms
        self._greeting = Greeting(terms)
        self._login: server.ServerLogin | None = None
        self._welcome: list[bytes] = []
        self._welcome_size = 0
        self._process = 0
        self._server_key = b""
        self._ledger: Ledger | None = None
        self._requests: Requests | None = None
        self._replies: Replies | None = None
        self._to_server = Gate()
        self._to_client = Gate()
        self._durable = 0
        self._rulebook: Rulebook | None = None
        self._masked = Masked([])
        self._catalog = Catalog()
        self._guard: Guard | None = None
        self._server_lost: str | None = None
        self._unheard: int | None = None
        """Bytes of answers since nobody is there to read them."""
        self._reading = Reading(True, True)

    @property
    def session_id(self) -> str | None:
        """Its id, once it has one."""
        return None if self._ledger is None else self._ledger.session_id

    @property
    def busy(self) -> bool:
        """Whether a statement runs or a transaction is open."""
        replies = self._replies
        return replies is not None and (replies.outstanding() or replies.status != _IDLE)

    def feed(self, event: Event, now: int) -> list[Command]:
        out: list[Command] = []
        if self.state == OVER:
            return out
        try:
            self._feed(event, out, now)
        except ProtocolError as error:
            self._fatal(out, now, error.code, error.message, None, "client broke the protocol: " + error.message)
        return out

    def _feed(self, event: Event, out: list[Command], now: int) -> None:
        if isinstance(event, ClientData):
            if self.state == RELAYING:
                self._requested(event.data, out, now)
            else:
                self._greeted(event.data, out)
        elif isinstance(event, ServerData):
            if self.state == RELAYING:
                self._answered(event.data, out, now)
            elif self._login is not None:
                self._steps(self._login.received(event.data), out, now)
        elif isinstance(event, Durable):
            self._released(event.count, out, now)
        elif isinstance(event, CancelAsked):
            if self.state == RELAYING:
                out.append(CancelServer(self._process, self._server_key))
        elif isinstance(event, ClientSecured):
            self._client_secured(event, out)
        elif isinstance(event, Admitted):
            self._admitted(event, out, now)
        elif isinstance(event, Refused):
            self._fatal(out, now, event.code, event.message, event.hint, "refused")
        elif isinstance(event, PolicyChanged):
            self._ruled(event.rules)
        elif isinstance(event, ServerConnected):
            if self._login is not None:
                self._steps(self._login.connected(), out, now)
        elif isinstance(event, ServerSecured):
            if self._login is not None:
                self._steps(self._login.secured(event.end_point), out, now)
        elif isinstance(event, ServerUnreachable):
            self._unreachable("08001", event.reason, None, out, now)
        elif isinstance(event, ServerGone):
            self._server_gone(event.reason, out, now)
        elif isinstance(event, ClientEnded):
            self._client_ended(out, now)
        elif isinstance(event, ClientGone):
            self._client_gone(event.reason, out, now)
        elif isinstance(event, JournalLost):
            reason = f"the journal cannot be written: {event.reason}"
            self._fatal(out, now, "58030", f"hoopctl: {reason}", "nothing runs that cannot be recorded", reason)
        elif isinstance(event, Stop):
            self._fatal(out, now, event.code, event.message, None, event.reason)
        else:
            assert_never(event)

    # Before the client is let in

    def _greeted(self, data: bytes, out: list[Command]) -> None:
        self._greeting.received(data, out)
        self._greet(out)

    def _client_secured(self, event: ClientSecured, out: list[Command]) -> None:
        self._greeting.secured(event.alpn, out)
        self._greet(out)

    def _greet(self, out: list[Command]) -> None:
        if self.state in BEFORE:
            self.state = self._greeting.state
            if self._greeting.ended is not None:
                self._close(out, self._greeting.ended)

    # Logging in to the server

    def _admitted(self, event: Admitted, out: list[Command], now: int) -> None:
        wish = self._greeting.wish
        if self.state != PROVING or wish is None:
            return
        ledger = self._ledger = Ledger(
            event.session_id, event.identity, event.resource, self._terms.kept, event.mask_key
        )
        ledger.session_started(out, now, self._terms.client_address, wish.client_name)
        self._catalog = self._catalog if event.catalog is None else event.catalog
        self._ruled(event.rules)
        self._login = server.ServerLogin(event.server, wish.parameters)
        self.state = CONNECTING
        out.append(Connect())

    def _ruled(self, rules: Rules | None) -> None:
        """The policy in force from now on. Where no rule is about this session, nothing of it is asked."""
        ledger, wish = self._ledger, self._greeting.wish
        if ledger is None or wish is None:
            return
        rules = rules or Rules(NOTHING)
        address, name = self._terms.client_address, wish.client_name
        rulebook = rules.rulebook(ledger.identity, ledger.resource, address, name)
        masked = self._masked = rules.masks.masked(ledger.identity, ledger.resource, address, name)
        if self._guard is not None:
            self._guard.take(rulebook, masked)
        self._rulebook = None if rulebook.empty and masked.empty else rulebook

    def _watch(self, requests: Requests, replies: Replies) -> Guard | None:
        """The guard, if there is a policy for this session: it takes over between two messages."""
        ledger = self._ledger
        if self._guard is None and self._rulebook is not None and ledger is not None and requests.between():
            self._guard = Guard(self._rulebook, self._masked, self._catalog, ledger, requests, replies)
            replies.watch = self._guard
        return self._guard

    def _steps(self, steps: list[server.Step], out: list[Command], now: int) -> None:
        for step in steps:
            if isinstance(step, server.Say):
                out.append(SendServer(step.data))
            elif isinstance(step, server.Secure):
                out.append(SecureServer())
            elif isinstance(step, server.Again):
                self._welcome.clear()
                out.append(Connect())
            elif isinstance(step, server.Tell):
                self._welcome.append(step.data)
                self._welcome_size += len(step.data)
                if self._welcome_size > MAX_WELCOME:
                    self._unreachable("08P01", f"it sent more than {MAX_WELCOME} bytes at login", None, out, now)
                    return
            elif isinstance(step, server.Failed):
                self._unreachable(step.code, step.message, step.hint, out, now)
            elif isinstance(step, server.Ready):
                self._welcomed(step, out, now)
            else:
                assert_never(step)

    def _unreachable(self, code: str, reason: str, hint: str | None, out: list[Command], now: int) -> None:
        ledger = self._ledger
        name = "?" if ledger is None else ledger.resource
        self._fatal(
            out, now, code, f"connection to resource {name} failed: {reason}", hint, f"resource unreachable: {reason}"
        )

    def _welcomed(self, ready: server.Ready, out: list[Command], now: int) -> None:
        ledger = self._ledger
        if ledger is None:
            return
        self._login = None
        self._process, self._server_key = ready.process, ready.key
        key = self._terms.cancel_key if self._greeting.minor >= 2 else self._terms.cancel_key[: 4 + _SHORT_KEY]
        exchange = Exchange()
        requests = self._requests = Requests(ledger, exchange)
        replies = self._replies = Replies(ledger, exchange)
        guard = self._watch(requests, replies)
        if guard is not None:
            guard.welcomed(self._welcome)
        self.state = RELAYING
        out.append(OfferCancel(key))
        out.append(
            SendClient(
                _AUTHENTICATED + b"".join(self._welcome) + message(BACKEND_KEY_DATA, key) + message(READY, ready.status)
            )
        )
        self._welcome.clear()
        early = self._greeting.take()
        if ready.rest:
            self._answered(ready.rest, out, now)
        if early:
            self._requested(early, out, now)

    # Relaying

    def _requested(self, data: bytes, out: list[Command], now: int) -> None:
        requests, replies = self._requests, self._replies
        if requests is None or replies is None:
            return
        guard = self._guard if self._rulebook is None else self._watch(requests, replies)
        if guard is not None:
            guard.add(data)
            self._guarded(guard, requests, out, now)
        else:
            requests.add(data)
            self._pump(requests, out, now)

    def _guarded(self, guard: Guard, requests: Requests, out: list[Command], now: int) -> None:
        """Under a policy: whatever the guard lets go, in both directions, until it waits for somebody."""
        while True:
            self._forward(guard.read(out, now), requests, out)
            if not guard.resumed:
                break
            guard.resumed = False
            if not self._tell(out, now):
                return
        self._set_reading(out)

    def _pump(self, requests: Requests, out: list[Command], now: int) -> None:
        self._forward(requests.read(out, now), requests, out)
        self._set_reading(out)

    def _forward(self, data: bytes, requests: Requests, out: list[Command]) -> None:
        if data:
            need = int(requests.need)
            if need <= self._durable or not self._terms.strict:
                # what waits was appended before, so nothing waits any more
                out.append(
                    SendServer(self._to_server.release(need) + data) if self._to_server.size else SendServer(data)
                )
            else:
                self._to_server.hold(data, need)

    def _answered(self, data: bytes, out: list[Command], now: int) -> None:
        replies, requests = self._replies, self._requests
        if replies is None or requests is None:
            return
        replies.add(data)
        was_full = requests.full()
        if not self._tell(out, now):
            return
        if self._guard is not None:
            self._guarded(self._guard, requests, out, now)
        elif was_full and not requests.full():
            self._pump(requests, out, now)
        else:
            self._set_reading(out)

    def _tell(self, out: list[Command], now: int) -> bool:
        """Passes on what the server answered; returns whether the session goes on."""
        replies = self._replies
        if replies is None:
            return False
        try:
            answer = replies.read(out, now)
        except ProtocolError as error:
            reason = f"resource {self._resource()} broke the protocol: {error.message}"
            self._fatal(out, now, "08P01", reason, None, reason)
            return False
        if answer:
            need = int(replies.need)
            if need <= self._durable or not self._terms.strict:
                out.append(
                    SendClient(self._to_client.release(need) + answer) if self._to_client.size else SendClient(answer)
                )
            else:
                self._to_client.hold(answer, need)
            if self._unheard is not None:
                self._nobody_listens(len(answer), out, now)
                return self.state == RELAYING
        return True

    def _nobody_listens(self, size: int, out: list[Command], now: int) -> None:
        """The client said goodbye and is gone: a short answer ends by itself, a long one is cancelled, as PostgreSQL
        gives up when it can write no more."""
        self._unheard = (self._unheard or 0) + size
        if self._unheard > MAX_UNHEARD:
            out.append(CancelServer(self._process, self._server_key))
            self._close(out, "client terminated", now)

    def _released(self, count: int, out: list[Command], now: int) -> None:
        if count > self._durable:
            self._durable = count
        if self._to_server.size:
            data = self._to_server.release(self._durable)
            if data:
                out.append(SendServer(data))
        if self._to_client.size:
            data = self._to_client.release(self._durable)
            if data:
                out.append(SendClient(data))
            if self._server_lost is not None and not self._to_client.size:
                self._server_gone(self._server_lost, out, now)
                return
        self._set_reading(out)

    def _set_reading(self, out: list[Command]) -> None:
        requests = self._requests
        full = requests is not None and (requests.full() if self._guard is None else self._guard.full())
        client = self._to_server.size < MAX_HELD and not full
        server_too = self._to_client.size < MAX_HELD
        if client != self._reading.client or server_too != self._reading.server:
            self._reading = Reading(client, server_too)
            out.append(self._reading)

    # The end

    def _resource(self) -> str:
        return "?" if self._ledger is None else self._ledger.resource

    def _server_gone(self, reason: str, out: list[Command], now: int) -> None:
        replies, requests = self._replies, self._requests
        if self.state != RELAYING or replies is None or requests is None:
            if self._login is not None:
                self._steps(self._login.gone(reason), out, now)
        elif self._to_client.size:
            self._server_lost = reason  # what it answered before is told first
        elif requests.terminated:
            self._close(out, "client terminated", now)
        elif replies.parting is not None:
            self._close(out, f"resource {self._resource()} ended the session: {replies.parting}", now)
        else:
            told = f"resource {self._resource()} closed the connection: {reason}"
            self._fatal(out, now, "08006", told, "reconnect; what was not answered may or may not have run", told)

    def _client_ended(self, out: list[Command], now: int) -> None:
        """The client will send no more, but may still read: what it asked is answered, then the server closes."""
        requests = self._requests
        if self.state != RELAYING or requests is None:
            self._close(out, "client gone: connection closed", now)
        elif self._guard is not None:
            self._guard.ended()
            self._guarded(self._guard, requests, out, now)
        elif not requests.terminated:
            requests.terminated = True
            self._to_server.hold(_TERMINATE_SERVER, int(requests.need) if self._terms.strict else 0)
            self._released(self._durable, out, now)

    def _client_gone(self, reason: str, out: list[Command], now: int) -> None:
        """The client went without a word. What it asked is cancelled, and what still waits for the disk never leaves:
        nobody is there to want it. After a goodbye it all runs, as it would without the agent."""
        replies, requests = self._replies, self._requests
        if self.state == RELAYING and replies is not None and requests is not None:
            if requests.terminated:
                self._unheard = 0
                return
            if replies.outstanding():
                out.append(CancelServer(self._process, self._server_key))
            elif not self._to_server.size:
                out.append(SendServer(_TERMINATE_SERVER))
        self._close(out, reason, now)

    def _fatal(self, out: list[Command], now: int, code: str, what: str, hint: str | None, reason: str) -> None:
        """Tells the client why its session ends. What waited for the disk is withheld: it may not be recorded."""
        farewell = error_response(code, what, hint, severity="FATAL")
        ledger, replies = self._ledger, self._replies
        cut_off = False
        if self.state == RELAYING and ledger is not None and replies is not None:
            cut_off = replies.within_message()
            if not cut_off:
                replies.say(farewell, out, now)
            if replies.outstanding():
                out.append(CancelServer(self._process, self._server_key))
        if self.state != SECURING and not cut_off:
            out.append(SendClient(farewell))
        self._close(out, reason, now)

    def _close(self, out: list[Command], reason: str, now: int = 0) -> None:
        if self._replies is not None:
            self._replies.end(out, now)
        if self._ledger is not None:
            self._ledger.session_ended(out, now, reason)
        self.state = OVER
        out.append(Close(reason))
