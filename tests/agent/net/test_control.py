"""The control API, asked over a real Unix-domain socket, with a service that only takes notes."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.epollreactor import EPollReactor

from agent.core.limits import MAX_EXPLAINED
from agent.identity.accounts import Accounts
from agent.net.control import ControlError
from agent.net.control_http import MAX_BODY, MAX_WATCHING, listen_socket, listen_watch, prometheus
from agent.store.control import open_database
from schemas.control import ExplainRequest, SampleRequest, TablesRequest
from schemas.discovery import Column, Sample, Table, Tables
from schemas.explanation import Explanation
from schemas.identity import Identity

Made = TypeVar("Made")
HALF = MAX_BODY // 2
ME = f"local:{pwd.getpwuid(os.getuid()).pw_name}"


class Unreachable(Exception):
    """As a resource that doesn't answer is reported."""

    message = "pg/prod can't be reached (connection refused)"
    hint = "is PostgreSQL running?"


class Notes:
    """A service that notes what it was asked and does nothing."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.notes: list[tuple[object, ...]] = []
        self.ready = True
        self.held: Deferred[Mapping[str, object]] = Deferred()

    def status(self) -> Mapping[str, object]:
        return {"ready": self.ready, "version": "0"}

    def resources(self) -> Sequence[Mapping[str, object]]:
        return [{"resource": "pg/prod"}, {"resource": "pg/stage"}, {"resource": "pg/broken"}, {"resource": "pg/slow"}]

    def live_sessions(self) -> Sequence[Mapping[str, object]]:
        return [{"session_id": "s1", "subject": "etl"}, {"session_id": "s2", "subject": "alice"}]

    def kill(self, session_id: str, reason: str) -> bool:
        self.notes.append(("kill", session_id, reason))
        return session_id == "s1"

    def seal(self) -> Deferred[Mapping[str, object]]:
        return succeed({"rows": 3})

    def check(self, resource: str) -> Deferred[Mapping[str, object]]:
        if resource == "slow":
            return self.held
        if resource == "broken":
            return fail(ZeroDivisionError("secret detail"))
        return fail(Unreachable()) if resource == "stage" else succeed({"resource": resource, "ok": True})

    def explain(self, resource: str, request: ExplainRequest) -> Deferred[Explanation]:
        return succeed(Explanation(role=resource, search_path=f"{len(request.text)} {request.search_path}"))

    def tables(self, resource: str, request: TablesRequest) -> Deferred[Tables]:
        return succeed(Tables(tuple(Table(schema, request.tables, True) for schema in request.schemas)))

    def sample(self, resource: str, request: SampleRequest) -> Deferred[Sample]:
        return succeed(Sample((Column(request.table, "text", True),), request.rows))

    def issue(self, identity: Identity, resource: str) -> Mapping[str, object]:
        issued = self.accounts.issue(identity, f"pg/{resource}", 60)
        return {
            "host": "127.0.0.1",
            "port": 1,
            "dbname": resource,
            "user": identity.subject,
            "password": issued.token,
            "ca": None,
            "expires_at": issued.expires_at,
        }

    def end_credentials(self, credential_ids: Sequence[str]) -> object:
        self.notes.append(("end", tuple(credential_ids)))
        return None

    def note(self, kind: str, subject: str, resource: str | None, details: Mapping[str, object]) -> None:
        self.notes.append((kind, subject))

    def metrics(self) -> Mapping[str, int | float]:
        return {"sessions": 2, "operations_total": 7}


class Running:
    """The service behind its listeners, on a reactor of its own in a thread of its own."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.database = open_database(state)
        self.service = Notes(Accounts(self.database, time.time))
        self.reactor = EPollReactor()
        self._thread = threading.Thread(target=self.reactor.run, kwargs={"installSignalHandlers": False})
        self._thread.start()
        self.port = self.on_reactor(lambda: listen_socket(self.reactor, state, self.service))
        self.watch = self.on_reactor(lambda: listen_watch(self.reactor, "127.0.0.1", 0, self.service))

    def on_reactor(self, make: Callable[[], Made]) -> Made:
        """What this makes, made in the reactor's thread."""
        made: list[Made] = []
        raised: list[Exception] = []
        done = threading.Event()

        def attempt() -> None:
            try:
                made.append(make())
            except Exception as error:
                raised.append(error)
            done.set()

        self.reactor.callFromThread(attempt)
        assert done.wait(10)
        if raised:
            raise raised[0]
        return made[0]

    def close(self, port: Any) -> None:
        """Stops listening, and returns when that is done."""
        done = threading.Event()
        self.on_reactor(lambda: maybeDeferred(port.stopListening).addBoth(lambda _: done.set()))
        assert done.wait(10)

    def stop(self) -> None:
        self.reactor.callFromThread(self.reactor.stop)
        self._thread.join(10)
        self.database.close()

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(str(self.state / "control.sock"))
        return client

    def ask(self, method: str, path: str, body: object = None, token: str | None = None) -> tuple[int, Any]:
        """The status and the decoded body of an answer."""
        connection = http.client.HTTPConnection("localhost")
        connection.sock = self.connect()
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection.request(method, path, raw, {"Authorization": f"Bearer {token}"} if token is not None else {})
        with connection.getresponse() as response:
            answer = response.status, json.loads(response.read())
        connection.close()
        return answer

    def raw(self, request: bytes) -> bytes:
        """All that is answered to these bytes."""
        with self.connect() as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            return client.makefile("rb").read()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    before = os.umask(0)
    found = Running(tmp_path / "state")
    os.umask(before)
    yield found
    found.stop()


def test_private_socket(running: Running) -> None:
    """The socket is its owner's alone whatever the umask, and is gone when the agent stops."""
    path = running.state / "control.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    running.close(running.port)
    assert not path.exists()


def test_routes(running: Running) -> None:
    """Each route answers with what the service says."""
    assert running.ask("GET", "/v1/status") == (200, {"ready": True, "version": "0"})
    assert len(running.ask("GET", "/v1/sessions")[1]) == 2
    assert running.ask("POST", "/v1/seal") == (200, {"rows": 3})
    assert running.ask("GET", "/v1/resources")[1][0] == {"resource": "pg/prod"}
    assert running.ask("POST", "/v1/resources/prod/check") == (200, {"resource": "prod", "ok": True})
    assert running.ask("POST", "/v1/resources/pg%2Fprod/check") == (200, {"resource": "prod", "ok": True})
    assert running.ask("POST", "/v1/sessions/s1/kill", {"reason": "enough"}) == (200, {"killed": True})
    assert running.service.notes == [("kill", "s1", "enough"), ("session killed", ME)]


def test_explain(running: Running) -> None:
    """The longest text that is explained fits into a request, however JSON writes it."""
    for text in ("SELECT 1", "\x01" * MAX_EXPLAINED, "\U0001f600" * MAX_EXPLAINED):
        status, found = running.ask("POST", "/v1/resources/pg%2Fprod/explain", {"text": text, "search_path": "a"})
        assert (status, found["role"], found["search_path"]) == (200, "prod", f"{len(text)} a")


def test_discover(running: Running) -> None:
    """Tables are listed and sampled, and who had which resource looked through is recorded."""
    status, found = running.ask("POST", "/v1/resources/pg%2Fprod/tables", {"schemas": ["app"], "tables": "u*"})
    assert (status, found["tables"]) == (200, [{"schema": "app", "name": "u*", "readable": True}])
    status, found = running.ask("POST", "/v1/resources/prod/sample", {"schema": "app", "table": "users", "rows": 7})
    assert (status, found["rows"], found["columns"][0]["name"]) == (200, 7, "users")
    assert running.service.notes == [("masks discovered", ME), ("table sampled", ME)]


def test_who_asks(running: Running) -> None:
    """Without a token the caller is the user whom the kernel names; a credential is issued to that subject."""
    status, credential = running.ask("POST", "/v1/credentials", {"resource": "prod"})
    assert status == 200
    assert credential["user"] == ME


def test_service_accounts(running: Running) -> None:
    """An account is made, listed without its token, and revoked with the sessions that it opened."""
    status, made = running.ask("POST", "/v1/service-accounts", {"name": "etl", "groups": ["staff"], "expires_in": 60})
    assert status == 200
    listed = running.ask("GET", "/v1/service-accounts")[1]
    assert [(account["name"], account["groups"]) for account in listed] == [("etl", ["staff"])]
    assert made["token"] not in json.dumps(listed)
    status, refused = running.ask("POST", "/v1/service-accounts", {"name": "etl"})
    assert (status, refused["error"]) == (409, "there is a service account named etl already")
    assert running.ask("DELETE", "/v1/service-accounts/etl") == (200, {"revoked": "etl", "credentials": 1})
    assert ("end", (listed[0]["credential_id"],)) in running.service.notes
    assert ("service account created", ME) in running.service.notes
    assert ("service account revoked", ME) in running.service.notes
    assert running.ask("DELETE", "/v1/service-accounts/etl")[0] == 409


def test_token_acts_as_its_account(running: Running) -> None:
    """With a token the caller is its account: it sees its own sessions, gets credentials, and administers nothing."""
    token = running.service.accounts.create("etl", [], None)
    assert [one["session_id"] for one in running.ask("GET", "/v1/sessions", token=token)[1]] == ["s1"]
    credential = running.ask("POST", "/v1/credentials", {"resource": "prod"}, token)[1]
    assert credential["user"] == "etl"
    for method, path in (
        ("GET", "/v1/service-accounts"),
        ("POST", "/v1/service-accounts"),
        ("POST", "/v1/seal"),
        ("POST", "/v1/resources/prod/check"),
        ("POST", "/v1/resources/prod/explain"),
        ("POST", "/v1/resources/prod/tables"),
        ("POST", "/v1/resources/prod/sample"),
        ("POST", "/v1/sessions/s1/kill"),
        ("DELETE", "/v1/service-accounts/etl"),
    ):
        assert running.ask(method, path, token=token)[0] == 403
    # What was issued for one resource opens that resource and nothing here.
    assert running.ask("POST", "/v1/credentials", {"resource": "prod"}, credential["password"])[0] == 401


@pytest.mark.parametrize("token", ["", "x", "hoop_sa_" + "0" * 43, "%00", "a" * 10_000])
def test_wrong_token_is_not_passed_over(running: Running, token: str) -> None:
    """A token that isn't accepted is a refusal; the caller doesn't fall back to being the local user."""
    assert running.ask("GET", "/v1/status", token=token)[0] == 401


@pytest.mark.parametrize(
    "method, path, body, expected",
    [
        ("GET", "/", None, 404),
        ("GET", "/v2/status", None, 404),
        ("GET", "/v1/status/x", None, 404),
        ("GET", "/v1//status", None, 404),
        ("GET", "/v1/%2e%2e/status", None, 404),
        ("DELETE", "/v1/status", None, 405),
        ("POST", "/v1/service-accounts", b"{", 400),
        ("POST", "/v1/service-accounts", b"\xff", 400),
        ("POST", "/v1/service-accounts", b"[" * 60_000, 400),
        ("POST", "/v1/service-accounts", {"name": 1}, 400),
        ("POST", "/v1/service-accounts", {"name": "a", "admin": True}, 400),
        ("POST", "/v1/service-accounts", {"name": "a", "expires_in": -1}, 409),
        ("POST", "/v1/service-accounts", b'{"name": "a", "expires_in": 1e999}', 400),
        ("POST", "/v1/credentials", {"resource": "nope"}, 404),
        ("POST", "/v1/sessions/s9/kill", {}, 404),
        ("POST", "/v1/resources/stage/check", {}, 502),
        ("POST", "/v1/resources/nope/tables", {}, 404),
        ("POST", "/v1/resources/nope/sample", {"schema": "a", "table": "b"}, 404),
        ("POST", "/v1/resources/prod/sample", {"schema": "a", "table": "b\0"}, 400),
        ("POST", "/v1/resources/prod/sample", {"schema": "a", "table": "b", "rows": 0}, 400),
        ("POST", "/v1/resources/prod/sample", {"schema": "a", "table": "b", "rows": 10_001}, 400),
        ("POST", "/v1/resources/prod/tables", {"schemas": "app"}, 400),
        ("POST", "/v1/resources/nope/explain", {"text": "SELECT 1"}, 404),
        ("POST", "/v1/resources/prod/explain", {}, 400),
        ("POST", "/v1/resources/prod/explain", {"text": "SELECT 1\0"}, 400),
        ("POST", "/v1/resources/prod/explain", {"text": "SELECT 1", "search_path": "\0"}, 400),
        ("POST", "/v1/resources/prod/explain", {"text": "SELECT '\ud800'"}, 400),
        ("POST", "/v1/resources/prod/explain", {"text": "x" * (MAX_EXPLAINED + 1)}, 400),
    ],
)
def test_refusals(running: Running, method: str, path: str, body: object, expected: int) -> None:
    """What isn't there or can't be read is refused with the status that says so, and an error in words."""
    status, answer = running.ask(method, path, body)
    assert status == expected
    assert answer["error"]


def test_near_resource(running: Running) -> None:
    """A misspelt resource is answered with the nearest one."""
    assert running.ask("POST", "/v1/credentials", {"resource": "prd"})[1]["hint"] == "did you mean pg/prod?"


def test_own_failures_are_not_shown(running: Running) -> None:
    """An exception that wasn't foreseen is a 500 that tells its kind and nothing more."""
    status, answer = running.ask("POST", "/v1/resources/broken/check")
    assert status == 500
    assert "secret detail" not in json.dumps(answer)


def test_client_that_leaves(running: Running) -> None:
    """A client that leaves before its answer is there harms nobody."""
    client = running.connect()
    client.sendall(b"POST /v1/resources/slow/check HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert running.ask("GET", "/v1/status")[0] == 200
    client.close()
    time.sleep(0.05)
    running.on_reactor(lambda: running.service.held.callback({"ok": True}))
    assert running.ask("GET", "/v1/status")[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 3_000 + b"\r\n",
        b"POST /v1/service-accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /v1/service-accounts HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + f"{HALF:x}\r\n".encode()
        + b" " * HALF
        + b"\r\n"
        + f"{HALF + 1:x}\r\n".encode()
        + b" " * (HALF + 1)
        + b"\r\n"
        + b"2\r\n{}\r\n0\r\n\r\n",
        b"POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabcd",
        b"\x00\xff\x16\x03\x01" * 100 + b"\r\n\r\n",
        b"GET /v1/sta",
    ],
)
def test_hostile_requests(running: Running, request_: bytes) -> None:
    """Requests that are too large or ambiguous get an error or nothing, and the next client is served."""
    answer = running.raw(request_)
    assert answer == b"" or answer.split(b" ")[1][:1] == b"4"
    assert b"token" not in answer
    assert running.ask("GET", "/v1/status")[0] == 200
    assert running.service.accounts.list() == ()


def test_largest_body(running: Running) -> None:
    """A body of just the bound is read; the answer is about what it says."""
    body = b'{"name": "etl"' + b" " * (MAX_BODY - 15) + b"}"
    assert running.ask("POST", "/v1/service-accounts", body)[0] == 200


def test_two_authorizations(running: Running) -> None:
    """Two Authorization headers are refused: which one counts would be anybody's guess."""
    answer = running.raw(
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n"
        b"Connection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_headers_say_nothing(running: Running) -> None:
    """Answers aren't kept by anyone between, and don't name the software's version."""
    answer = running.raw(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").lower()
    assert b"cache-control: no-store" in answer
    assert b"twisted" not in answer


def test_watch(running: Running) -> None:
    """Over TCP only health and figures are answered, and nothing of the API."""
    host, port = running.watch.getHost().host, running.watch.getHost().port

    def ask(method: str, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request(method, path)
        with connection.getresponse() as response:
            answer = response.status, response.read().decode()
        connection.close()
        return answer

    assert ask("GET", "/healthz") == (200, "ok\n")
    assert ask("HEAD", "/healthz?x=1") == (200, "")
    assert ask("POST", "/healthz")[0] == 405
    assert ask("GET", "/v1/status")[0] == 404
    assert ask("GET", "/metrics") == (200, prometheus({"sessions": 2, "operations_total": 7}))
    running.service.ready = False
    assert ask("GET", "/healthz") == (503, "not ready\n")


def test_watch_is_bounded(running: Running) -> None:
    """Connections that are opened and left don't take all of the agent's descriptors: beyond a bound they are closed,
    and when some go others come in."""
    host, port = running.watch.getHost().host, running.watch.getHost().port
    idle = [socket.create_connection((host, port), timeout=10) for _ in range(MAX_WATCHING)]
    with socket.create_connection((host, port), timeout=10) as beyond:
        assert beyond.recv(1) == b""
    for client in idle:
        client.close()
    deadline = time.monotonic() + 10
    answer = b""
    while not answer and time.monotonic() < deadline:
        with socket.create_connection((host, port), timeout=10) as client, suppress(ConnectionError):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = client.recv(100)
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_prometheus() -> None:
    """What ends in _total is a counter, anything else a gauge."""
    assert prometheus({"sessions": 2, "operations_total": 7}) == (
        "# TYPE hoopctl_operations_total counter\nhoopctl_operations_total 7\n"
        "# TYPE hoopctl_sessions gauge\nhoopctl_sessions 2\n"
    )


def test_second_agent(running: Running) -> None:
    """A socket that is answered belongs to another agent and is left alone."""
    with pytest.raises(ControlError, match="another agent answers"):
        running.on_reactor(lambda: listen_socket(running.reactor, running.state, running.service))
    assert running.ask("GET", "/v1/status")[0] == 200


def test_stale_socket(running: Running, tmp_path: Path) -> None:
    """The socket of an agent that was killed is replaced; a file or a link under that name is not."""
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(other / "control.sock"))
    port = running.on_reactor(lambda: listen_socket(running.reactor, other, running.service))
    running.close(port)
    victim = tmp_path / "victim"
    victim.write_text("x")
    for plant in ((other / "control.sock").symlink_to, (other / "control.sock").hardlink_to):
        plant(victim)
        with pytest.raises(ControlError, match="is not a socket"):
            running.on_reactor(lambda: listen_socket(running.reactor, other, running.service))
        assert victim.read_text() == "x"
        (other / "control.sock").unlink()


def test_path_too_long(running: Running, tmp_path: Path) -> None:
    """A state directory too deep for a socket is told with both numbers."""
    with pytest.raises(ControlError, match=r"got \d+ bytes, expected at most 107"):
        running.on_reactor(lambda: listen_socket(running.reactor, tmp_path / ("x" * 100), running.service))
