"""The client of the control API: what it sends to whom, and what it makes of answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from cli.client import AgentAbsent, Client
from cli.errors import HoopError


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[list[bytes]]:
    """A listener that answers one connection so; what it was sent."""
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(5)
                request = b""
                # Every request ends with a JSON object; who leaves before has sent what it sent.
                while not request.endswith(b"}") and (piece := connection.recv(65536)):
                    request += piece
                received.append(request)
                with suppress(BrokenPipeError):
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield received
        thread.join(10)


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body)


def test_asks_and_decodes(tmp_path: Path) -> None:
    """A request carries the token in its header and quoted words in its path; the answer is decoded."""
    with answering(tmp_path / "s", answer(200, b'{"a": 1}')) as received:
        assert Client(tmp_path / "s", "hoop_sa_x").post("resources", "pg/a b", "check", body={"c": 1}) == {"a": 1}
    request = received[0]
    assert request.startswith(b"POST /v1/resources/pg%2Fa%20b/check HTTP/1.1\r\n")
    assert b"Authorization: Bearer hoop_sa_x\r\n" in request


@pytest.mark.parametrize(
    "raw, expected",
    [
        (answer(404, b'{"error": "no such thing", "hint": "look"}'), "no such thing"),
        (answer(500, b"<html>"), r"can't be read \(got status 500"),
        (answer(200, b"{"), "can't be read"),
        (answer(200, b"[" * 100_000), "can't be read"),
        (answer(403, b'{"error": 1}'), "can't be read"),
        (b"garbage\r\n\r\n", "broke off"),
        (b"", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "can't be read"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n", "broke off"),
    ],
)
def test_bad_answers(tmp_path: Path, raw: bytes, expected: str) -> None:
    """An agent's refusal is shown in its words; an answer that can't be read is an error, not a traceback."""
    with answering(tmp_path / "s", raw), pytest.raises(HoopError, match=expected):
        Client(tmp_path / "s").get("status")


def test_no_agent(tmp_path: Path) -> None:
    """Without a socket, or with one that nobody answers, the agent isn't running, and how to start it is said."""
    with pytest.raises(AgentAbsent, match="isn't running"):
        Client(tmp_path / "s").get("status")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    with pytest.raises(AgentAbsent) as caught:
        Client(tmp_path / "s").get("status")
    assert caught.value.hint == "start it: hoopctl agent"


def test_path_that_no_socket_can_have(tmp_path: Path) -> None:
    """A state directory too deep for a socket has no agent: commands that work without one do."""
    with pytest.raises(AgentAbsent):
        Client(tmp_path / ("x" * 100) / "control.sock").get("status")


def test_slow_agent(tmp_path: Path) -> None:
    """An agent that doesn't answer is given up, with how long was waited."""
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen()
        with pytest.raises(HoopError, match=r"within 0\.2 s"):
            Client(tmp_path / "s", timeout=0.2).get("status")


@pytest.mark.parametrize("token", ["a\r\nX: y", "a\0", "ä", "a\n"])
def test_token_that_would_break_the_request(tmp_path: Path, token: str) -> None:
    """A token with line breaks can't add headers; it is refused and not shown."""
    with pytest.raises(HoopError) as caught:
        Client(tmp_path / "s", token).get("status")
    assert token not in caught.value.message


def test_another_users_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that another user answers is told nothing."""
    monkeypatch.setattr("cli.client._uid", lambda peer: 4_000_000)
    with answering(tmp_path / "s", b"") as received, pytest.raises(HoopError, match="answered by another user"):
        Client(tmp_path / "s", "hoop_sa_x").get("status")
    assert received == [b""]
