"""The control API in HTTP: over a Unix-domain socket for who runs the agent, and, over TCP (`listen.control`),
/healthz and /metrics for who watches it."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from agent.identity.accounts import AccountError
from agent.net.control import Api, Caller, ControlError, Service, identify

SOCKET = "control.sock"

MAX_BODY = 4 << 20
"""Bytes of a request's body: the largest one, a text of MAX_EXPLAINED characters, each escaped in JSON, still fits."""

MAX_PATH = 107
"""Bytes of a Unix-domain socket's path; Linux has room for 108 with the NUL (unix(7))."""

IDLE = 30.0
"""Seconds that a connection may be silent."""

MAX_WATCHING = 100
"""Connections to /healthz and /metrics at once: anyone may open them, and each is a file descriptor."""

# mypy can't read zope's interfaces: reactors, ports and transports are Any here.
Reactor = Any
Port = Any

_log = Logger()


class BoundedRequest(Request):
    """A request whose body is bounded before it is kept."""

    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Takes note of the length that the client declares."""
        Request.gotLength(self, None if length is None else min(length, MAX_BODY))
        if length is not None and length > MAX_BODY:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Keeps a piece of the body."""
        self._received += len(data)
        if self._received > MAX_BODY:
            self._refuse()
        else:
            Request.handleContentChunk(self, data)

    def _refuse(self) -> None:
        channel: Any = self.channel
        if channel is not None:
            channel.transport.write(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            channel.loseConnection()


class _Quiet(Site):
    """A site that writes no access log, names no software, and waits on this reactor's clock."""

    requestFactory = BoundedRequest
    noisy = False

    def __init__(self, resource: Resource, reactor: Reactor) -> None:
        Site.__init__(self, resource, timeout=IDLE, reactor=reactor)
        self.displayTracebacks = False

    def log(self, request: object) -> None:
        """Not kept: what matters of the control API is recorded as events."""


class _Bounded(WrappingFactory):
    """Closes connections beyond MAX_WATCHING."""

    noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        """The protocol for a connection; None, which closes it, when there are too many."""
        return None if len(self.protocols) >= MAX_WATCHING else WrappingFactory.buildProtocol(self, addr)


class ControlResource(Resource):
    """Puts requests to the Api and its answers into HTTP."""

    isLeaf = True

    def __init__(self, service: Service) -> None:
        Resource.__init__(self)
        self._service = service
        self._api = Api(service)

    def render(self, request: Request) -> int:
        """Answers now or when the answer is there; never after the client has gone."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)
        ensureDeferred(self._answered(request)).addCallback(lambda answer: None if gone else _send(request, *answer))
        return NOT_DONE_YET

    async def _answered(self, request: Request) -> tuple[int, object]:
        try:
            answer = self._api.answer(
                _text(request.method),
                _text(request.uri.partition(b"?")[0]),
                lambda: self._caller(request),
                request.content.read() if request.content else b"",
            )
            return 200, await answer if isinstance(answer, Deferred) else answer
        except ControlError as error:
            return error.status, {"error": error.message, "hint": error.hint}
        except AccountError as error:
            return 409, {"error": error.message, "hint": error.hint}
        except Exception as error:
            if hasattr(error, "hint"):
                return 502, {"error": str(getattr(error, "message", error)), "hint": error.hint}
            _log.failure("control API")
            return 500, {"error": f"the agent failed ({type(error).__name__})", "hint": "the agent's log says more"}

    def _caller(self, request: Request) -> Caller:
        given = request.requestHeaders.getRawHeaders(b"authorization", [])
        if len(given) > 1:
            raise ControlError(400, f"several Authorization headers (got {len(given)}, expected one)")
        channel: Any = request.channel
        return identify(self._service, channel.transport.getHandle(), _text(given[0]) if given else None)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _send(request: Request, status: int, answer: object) -> None:
    body = msgspec.json.encode(_plain(answer)) + b"\n"
    _head(request, status, b"application/json", body)


def _plain(answer: object) -> Any:
    # Paths of strange bytes and the like end as JSON that can be encoded.
    return msgspec.to_builtins(answer, enc_hook=str)


def _head(request: Request, status: int, kind: bytes, body: bytes) -> None:
    request.setResponseCode(status)
    for name, value in (
        (b"server", b"hoopctl"),
        (b"content-type", kind),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-length", str(len(body)).encode()),
    ):
        request.setHeader(name, value)
    request.write(body)
    request.finish()


class WatchResource(Resource):
    """What is answered over TCP, to anyone: whether the agent is well, and its figures."""

    isLeaf = True

    def __init__(self, service: Service) -> None:
        Resource.__init__(self)
        self._service = service

    def render(self, request: Request) -> int:
        """GET and HEAD of /healthz and /metrics."""
        plain = b"text/plain; version=0.0.4; charset=utf-8"
        path = request.uri.partition(b"?")[0]
        if path not in (b"/healthz", b"/metrics"):
            _head(request, 404, plain, b"not here: /healthz, /metrics\n")
        elif request.method not in (b"GET", b"HEAD"):
            _head(request, 405, plain, b"GET only\n")
        else:
            try:
                status, body = self._well() if path == b"/healthz" else (200, prometheus(self._service.metrics()))
            except Exception:
                _log.failure("control API")
                status, body = 503, "failing\n"
            _head(request, status, plain, body.encode())
        return NOT_DONE_YET

    def _well(self) -> tuple[int, str]:
        return (200, "ok\n") if self._service.status().get("ready", True) else (503, "not ready\n")


def prometheus(figures: Mapping[str, int | float]) -> str:
    """Figures in Prometheus' text form (https://prometheus.io/docs/instrumenting/exposition_formats/)."""
    lines: list[str] = []
    for name, figure in sorted(figures.items()):
        lines += [
            f"# TYPE hoopctl_{name} {'counter' if name.endswith('_total') else 'gauge'}",
            f"hoopctl_{name} {figure}",
        ]
    return "".join(f"{line}\n" for line in lines)


def listen_socket(reactor: Reactor, state: Path, service: Service) -> Port:
    """Serves the control API on STATE/control.sock, 0600 from the moment it exists. A socket that an agent left is
    replaced; one that is answered is not. Raises ControlError."""
    path = state / SOCKET
    if len(os.fsencode(path)) > MAX_PATH:
        raise ControlError(
            500,
            f"the path of the control socket is too long (got {len(os.fsencode(path))} bytes, "
            f"expected at most {MAX_PATH})",
            "give a shorter state directory in hoop.yaml",
        )
    _clear(path)
    # bind makes the file by the umask, and what a chmod afterwards narrows was open for a moment.
    before = os.umask(0o177)
    try:
        return reactor.listenUNIX(str(path), _Quiet(ControlResource(service), reactor), mode=0o600)
    finally:
        os.umask(before)


def _clear(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlError(500, f"{path} is not a socket", "remove it")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except OSError as error:
            raise ControlError(
                500, f"{path} can't be used ({(error.strerror or 'timed out').lower()})", "another agent may be running"
            ) from error
    raise ControlError(500, f"another agent answers at {path}", "one agent has one state directory")


def listen_watch(reactor: Reactor, host: str, port: int, service: Service) -> Port:
    """Serves /healthz and /metrics over TCP."""
    bounded: Callable[[Site], Any] = _Bounded
    return reactor.listenTCP(port, bounded(_Quiet(WatchResource(service), reactor)), interface=host)
