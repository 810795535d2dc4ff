"""Connecting to a server: every address, every failure, and no descriptor left behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.net.dial import Dial
from agent.net.poller import Poller
from schemas.configuration import PgUpstream
from tests.agent.net.loop import Loop, Threads, turn


class Dialling:
    """Dials, and what came of it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.poller = Poller(self.loop, lambda: None)
        self.connected: list[socket.socket] = []
        self.failed: list[str] = []

    def dial(self, host: str, port: int) -> Dial:
        upstream = PgUpstream(host, port, "u", "d", connect_timeout=3.0)
        threads: Any = Threads()
        dialled = Dial(self.loop, threads, self.poller, upstream, self.connected.append, self.failed.append)
        self.loop.advance(0)
        return dialled

    def over(self) -> bool:
        return bool(self.connected or self.failed)


@pytest.fixture
def dialling() -> Iterator[Dialling]:
    made = Dialling()
    yield made
    for connected in made.connected:
        connected.close()
    assert len(made.poller) == 0, "a socket is still watched"
    made.poller.close()
    assert not made.loop.getDelayedCalls()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def names(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[int, object]) -> None:
    found = [(family, socket.SOCK_STREAM, 6, "", address) for family, address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_connected(dialling: Dialling, server: socket.socket) -> None:
    """A server that listens is connected to, without delay for small packets."""
    dialling.dial("127.0.0.1", server.getsockname()[1])
    turn(dialling.poller, dialling.over)
    assert dialling.failed == []
    assert dialling.connected[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_refused(dialling: Dialling, nobody: int) -> None:
    """A refusal names host, port and reason, as libpq's does."""
    dialling.dial("127.0.0.1", nobody)
    turn(dialling.poller, dialling.over)
    assert dialling.failed == [f'connection to server at "127.0.0.1", port {nobody} failed: Connection refused']


def test_next_address(dialling: Dialling, server: socket.socket, nobody: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """When one address of a name refuses, the next one is tried."""
    names(monkeypatch, (socket.AF_INET, ("127.0.0.1", nobody)), (socket.AF_INET, server.getsockname()))
    dialling.dial("db", 5432)
    turn(dialling.poller, dialling.over)
    assert len(dialling.connected) == 1


def test_address_that_cannot_be_used(
    dialling: Dialling, server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address of a family that this machine hasn't is passed over."""
    names(monkeypatch, (9999, ("::1", 1)), (socket.AF_INET, server.getsockname()))
    dialling.dial("db", 5432)
    turn(dialling.poller, dialling.over)
    assert len(dialling.connected) == 1


def test_no_address_works(dialling: Dialling, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no address can even be tried, that is told: nobody waits forever."""
    names(monkeypatch, (9999, ("::1", 1)))
    dialling.dial("db", 5432)
    assert "not supported" in dialling.failed[0]


def test_unknown_name(dialling: Dialling, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is told as libpq does."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    dialling.dial("db", 5432)
    assert dialling.failed == ['could not translate host name "db" to address: Name or service not known']


def full(server: socket.socket) -> list[socket.socket]:
    """Fills a listening socket's backlog, so that the next client waits."""
    server.listen(0)
    waiting = []
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        waiting.append(client)
    return waiting


def test_timeout(dialling: Dialling, server: socket.socket) -> None:
    """An address that says nothing is given up after connect_timeout."""
    waiting = full(server)
    dialling.dial("127.0.0.1", server.getsockname()[1])
    for _ in range(5):
        dialling.poller.doRead()
    dialling.loop.advance(2.9)
    assert not dialling.over()
    dialling.loop.advance(0.2)
    assert "timeout expired" in dialling.failed[0]
    for client in waiting:
        client.close()


def test_cancel(dialling: Dialling, server: socket.socket) -> None:
    """A cancelled attempt tells nothing and keeps nothing."""
    dialling.dial("127.0.0.1", server.getsockname()[1]).cancel()
    for _ in range(5):
        dialling.poller.doRead()
    dialling.loop.advance(10)
    assert not dialling.over()


def test_unix_socket(dialling: Dialling, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that begins with `/` is a directory that holds the server's socket."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(".s.PGSQL.5432")
        server.listen()
        directory = str(tmp_path)
        if len(directory) > 80:
            os.symlink(directory, directory := f"/tmp/{os.getpid()}.dial")
        dialling.dial(directory, 5432)
        turn(dialling.poller, dialling.over)
    assert len(dialling.connected) == 1


def test_unix_socket_that_is_not_there(dialling: Dialling, tmp_path: Path) -> None:
    """A missing socket, and a path that is too long for one, are refusals like any other."""
    dialling.dial(str(tmp_path), 5432)
    dialling.dial("/" + "x" * 200, 5432)
    assert len(dialling.failed) == 2
