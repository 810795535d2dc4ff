"""`hoopctl sessions` and `hoopctl audit seal`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any, ClassVar

import pytest

from agent.store.journal import Journal
from cli.main import run
from tests.story import NOON, SECOND, answered, asked, ended, home, started, story, write


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with two sessions recorded, one of which hasn't ended."""
    monkeypatch.setenv("HOOPCTL_CONFIG", str(home(tmp_path)))
    monkeypatch.delenv("HOOPCTL_TOKEN", raising=False)
    write(tmp_path / "state" / "journal", story("abc" + "0" * 17), story("b" * 20, NOON + SECOND, end=False))
    return tmp_path


class Control(BaseHTTPRequestHandler):
    """Stands for the agent's control API: what it was asked, and answers by path."""

    asked: ClassVar[list[tuple[str, str, Any]]] = []
    answers: ClassVar[dict[str, Any]] = {}

    def address_string(self) -> str:
        return "local"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.command, self.path, json.loads(body or b"null")))
        answer = json.dumps(self.answers[self.path]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET


@pytest.fixture
def control(place: Path) -> Iterator[type[Control]]:
    """An agent that answers."""
    Control.asked.clear()
    Control.answers.clear()
    with ThreadingUnixStreamServer(str(place / "state" / "control.sock"), Control) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield Control
        server.shutdown()
        thread.join()


def test_sessions_are_listed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The latest first, or only those that are live."""
    assert run(["sessions", "list", "--format", "json"]) == 0
    assert [row["session_id"][:3] for row in json.loads(capsys.readouterr().out)] == ["bbb", "abc"]
    assert run(["sessions", "list", "--live", "--format", "json"]) == 0
    assert [row["session_id"][:3] for row in json.loads(capsys.readouterr().out)] == ["bbb"]
    assert run(["sessions", "list", "--limit", "1", "--format", "table"]) == 0
    assert "abc" not in capsys.readouterr().out


def test_a_session_is_shown(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shortened id is enough; as JSON the statements are part of the session."""
    assert run(["sessions", "show", "abc", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert [statement["statement"] for statement in found["statements"]] == ["SELECT 1 AS n", "SELECT 2 AS n"]
    assert found["end_reason"] == "client left"
    assert run(["sessions", "show", "abc", "--format", "table"]) == 0
    assert "SELECT 2 AS n" in capsys.readouterr().out
    assert run(["sessions", "show", "abc"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_an_unknown_session_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error says what was asked for, the hint where ids are to be had."""
    assert run(["sessions", "show", "zzz"]) == 1
    err = capsys.readouterr().err
    assert err == (
        "hoopctl: error: no session with this id (got 'zzz')\nhoopctl: hint: hoopctl sessions list shows their ids\n"
    )


def test_watch_follows_a_session_to_its_end(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Statements and their ends appear as they are recorded, control characters escaped, until the session ends."""
    writer = Journal.open(place / "state" / "journal", 4096)

    def work() -> None:
        for number in range(3, 40):
            moment = NOON + number * SECOND
            writer.append(asked("b" * 20, number, moment, f"SELECT {number} -- \x1b[2J"))
            for record in answered("b" * 20, number, moment, [b"x" * 100]):
                writer.append(record)
            writer.append(started(f"{number:020d}"))
            writer.wait()
        writer.append(ended("b" * 20, NOON + 60 * SECOND, 39))
        writer.wait()

    timer = threading.Timer(0.5, work)
    timer.start()
    try:
        assert run(["sessions", "watch", "bbb"]) == 0
    finally:
        timer.join()
        writer.close()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if "SELECT " in line and "--" in line] == [f"#{n}" for n in range(3, 40)]
    assert "\\x1b[2J" in "".join(lines)
    assert lines[0] == "12:00:01.000 ann on pg/prod from 127.0.0.1:5000"
    assert lines[-1] == "12:01:00.000 ended: client left"


def test_watch_needs_a_live_session(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a session that has ended it says how to see it."""
    assert run(["sessions", "watch", "abc"]) == 1
    assert "hoopctl replay abc" in capsys.readouterr().err


def test_kill_asks_the_agent(place: Path, control: type[Control], capsys: pytest.CaptureFixture[str]) -> None:
    """A shortened id is resolved among the live sessions, and the reason is passed on."""
    control.answers["/v1/sessions"] = [{"session_id": "b" * 20}, {"session_id": "c" * 20}]
    control.answers[f"/v1/sessions/{'b' * 20}/kill"] = {"killed": True}
    assert run(["sessions", "kill", "bb", "--reason", "enough"]) == 0
    assert control.asked[-1] == ("POST", f"/v1/sessions/{'b' * 20}/kill", {"reason": "enough"})
    assert run(["sessions", "kill", "d"]) == 1
    assert "no live session begins or ends so (got 'd')" in capsys.readouterr().err


def test_seal_asks_the_agent(place: Path, control: type[Control], capsys: pytest.CaptureFixture[str]) -> None:
    """While an agent runs, it seals."""
    control.answers["/v1/seal"] = {"leaf": 7, "rows": 3}
    assert run(["audit", "seal"]) == 0
    assert capsys.readouterr().out == "leaf,rows\n7,3\n"
    assert not (place / "audit").exists()


def test_seal_without_an_agent(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without one the command seals itself, and ends what a lost agent has left open."""
    assert run(["audit", "seal", "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["rows"] > 0
    assert run(["sql", "SELECT session_id[1] AS s, end_reason FROM sessions ORDER BY 1"]) == 0
    assert capsys.readouterr().out == "s,end_reason\na,client left\nb,agent lost\n"
    assert run(["audit", "seal", "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["rows"] == 0


def test_seal_beside_another_writer(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A journal that another process writes, which doesn't answer, is left alone."""
    writer = Journal.open(place / "state" / "journal")
    try:
        assert run(["audit", "seal"]) == 1
        assert "is being written by another process" in capsys.readouterr().err
    finally:
        writer.close()
