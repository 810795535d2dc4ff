"""`hoopctl replay`."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.store.seal import seal
from cli.main import run
from cli.replay_screen import Frame
from cli.replay_terminal import Key, Player
from schemas.records import OperationEnded, Record, ResponseChunk
from tests.story import (
    NOON,
    SECOND,
    answered,
    asked,
    completed,
    described,
    ended,
    failed,
    home,
    message,
    row,
    started,
    story,
    write,
)

ROOT = Path(__file__).parents[2]
SESSION = "s" * 20
EVIL = "\x1b[2J\x9b1m\u202e"


def session() -> list[Record]:
    """A session in which everything that can be answered is."""
    table = described(("id", 23, 1), ("name", 25, 0)) + row(b"\0\0\0\x05", EVIL.encode()) + row(None, b"bob")
    copied = message("H", b"\0\0\0") + message("d", b"1\ta\n") + message("c") + completed("COPY 1")
    notice = message("N", b"SNOTICE\0VNOTICE\0C00000\0Mlook " + EVIL.encode() + b"\0\0")
    return [
        started(SESSION),
        ResponseChunk(NOON, SESSION, 0, 0, message("A", b"\0\0\0\x07" + b"news\0fresh\0")),
        asked(SESSION, 1, NOON + SECOND, "SELECT *\nFROM t -- " + EVIL),
        *answered(SESSION, 1, NOON + SECOND + 500, [table[:30], table[30:] + notice + completed("SELECT 2")]),
        asked(SESSION, 2, NOON + 60 * SECOND, "COPY t TO STDOUT"),
        *answered(SESSION, 2, NOON + 60 * SECOND + 500, [copied]),
        asked(SESSION, 3, NOON + 61 * SECOND, "SELEKT"),
        ResponseChunk(NOON + 61 * SECOND, SESSION, 3, 0, failed("42601", "syntax error") + b"D\0\0"),
        OperationEnded(NOON + 61 * SECOND, SESSION, 3, "error", (), 0, 9, 700, "42601", "syntax error", rest_bytes=99),
        ended(SESSION, NOON + 62 * SECOND, 3),
    ]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the session half sealed."""
    monkeypatch.setenv("HOOPCTL_CONFIG", str(home(tmp_path)))
    monkeypatch.delenv("NO_COLOR", raising=False)
    records = session()
    journal = tmp_path / "state" / "journal"
    seal(journal, tmp_path / "audit", write(journal, records[:5]))
    write(journal, records[5:], story("a" * 20))
    return tmp_path


def controls(text: str) -> set[str]:
    """The characters of a text that drive a terminal, but for colours and lines."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    return {
        char for char in plain if (ord(char) < 32 and char not in "\r\n") or 127 <= ord(char) < 160 or char == "\u202e"
    }


def test_as_text(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Statements, tables, notices, COPY, errors and what is missing, in order, and nothing else's."""
    assert run(["replay", "ss"]) == 0
    out = capsys.readouterr().out
    assert controls(out) == set()
    shown = [
        "session ssssssssssssssssssss: ann on pg/prod",
        "notification 'news' with payload 'fresh'",
        "#1  12:00:01.000",
        "FROM t -- \\x1b[2J\\x9b1m\\u202e",
        "$1 = '5'",
        "$2 = NULL",
        " id   │ name",
        "    5 │ \\x1b[2J\\x9b1m\\u202e",
        " NULL │ bob",
        "NOTICE:  look \\x1b[2J",
        "SELECT 2",
        "(1 row, 1.500 ms)",
        "#2  12:01:00.000",
        "1\\ta",
        "COPY 1",
        "ERROR:  syntax error (42601)",
        "(3 bytes more can't be read",
        "(99 bytes more were answered",
        "(error, 0 rows, 0.700 ms)",
        "ended 12:01:02: client left",
    ]
    at = 0
    for piece in shown:
        assert piece in out[at:], piece
        at = out.index(piece, at) + len(piece)
    assert "SELECT 1 AS n" not in out


def test_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One array with the session, what came unasked, and the operations with their answers."""
    assert run(["replay", "ss", "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert out.isascii()
    first, unasked, select, copy, wrong = json.loads(out)
    assert (first["type"], first["session_id"]) == ("session", SESSION)
    assert unasked["answer"] == [{"notification": {"channel": "news", "payload": "fresh", "process": 7}}]
    assert select["statement"] == "SELECT *\nFROM t -- " + EVIL
    assert [part for part in select["answer"] if "row" in part] == [{"row": ["5", EVIL]}, {"row": [None, "bob"]}]
    assert copy["answer"][1] == {"copied": "1\ta\n"}
    assert wrong["answer"][0]["error"]["C"] == "42601"
    assert wrong["answer"][1] == {"unreadable": 3}


def test_as_asciicast(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An asciicast v2: a header, then events whose times grow, faster if asked, with escape sequences of ours only."""
    assert run(["replay", "ss", "--format", "asciicast", "--speed", "2"]) == 0
    header, *events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (header["version"], header["idle_time_limit"]) == (2, 2.0)
    times = [event[0] for event in events]
    assert times == sorted(times)
    assert times[-1] == 31.0
    text = "".join(event[2] for event in events)
    assert {event[1] for event in events} == {"o"}
    assert controls(text) == set()
    assert "\x1b[" in text
    assert "\n" not in text.replace("\r\n", "")


def test_rows_may_be_limited(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What isn't shown is counted."""
    assert run(["replay", "ss", "--rows", "1"]) == 0
    out = capsys.readouterr().out
    assert "bob" not in out
    assert "… 1 more" in out


def test_a_session_that_goes_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is recorded of a live session is played, and that it hasn't ended is said."""
    write(place / "state" / "journal", [started("o" * 20), asked("o" * 20, 1, NOON, "SELECT pg_sleep(9)")])
    assert run(["replay", "oo"]) == 0
    assert "(not ended yet)" in capsys.readouterr().out


def test_an_unknown_session(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An id that names nothing is an error with a hint."""
    assert run(["replay", "zz"]) == 1
    assert "hoopctl: hint: hoopctl sessions list" in capsys.readouterr().err


class Stage:
    """A clock that waiting for keys moves, keys that are pressed at given moments, and what was shown when."""

    def __init__(self, *presses: tuple[float, str]) -> None:
        self.now = 0.0
        self.shown: list[tuple[float, str]] = []
        self._presses = list(presses)

    def key(self, seconds: float | None) -> str | None:
        if self._presses and (seconds is None or self._presses[0][0] <= self.now + seconds):
            moment, pressed = self._presses.pop(0)
            self.now = max(self.now, moment)
            return pressed
        assert seconds is not None
        self.now += seconds
        return None

    def show(self, text: str) -> None:
        self.shown.append((round(self.now, 3), text))


FRAMES = [Frame(0.0, "a"), Frame(1.0, "b", True), Frame(1.5, "c"), Frame(31.5, "d"), Frame(32.0, "e", True)]


def played(*presses: tuple[float, str], speed: float = 1.0) -> list[tuple[float, str]]:
    stage = Stage(*presses)
    key: Key = stage.key
    Player(speed, 2.0, stage.show, key, lambda: stage.now).play(FRAMES)
    return stage.shown


def test_pace() -> None:
    """Frames come at their times, faster at a higher speed, and no pause is longer than the longest allowed."""
    assert played() == [(0.0, "a"), (1.0, "b"), (1.5, "c"), (3.5, "d"), (4.0, "e")]
    assert played(speed=2) == [(0.0, "a"), (0.5, "b"), (0.75, "c"), (2.75, "d"), (3.0, "e")]


def test_space_pauses() -> None:
    """A pause lasts until space is pressed again; what was left of the wait then follows."""
    assert played((0.4, " "), (10.0, " ")) == [(0.0, "a"), (10.6, "b"), (11.1, "c"), (13.1, "d"), (13.6, "e")]


def test_n_goes_to_the_next_statement() -> None:
    """Everything up to the next statement appears at once."""
    assert played((1.2, "n")) == [(0.0, "a"), (1.0, "b"), (1.2, "c"), (1.2, "d"), (1.7, "e")]


def test_q_quits() -> None:
    """Nothing is shown after that, paused or not."""
    assert played((1.2, "q")) == [(0.0, "a"), (1.0, "b")]
    assert played((1.2, " "), (5.0, "q")) == [(0.0, "a"), (1.0, "b")]


def test_on_a_real_terminal(place: Path) -> None:
    """On a terminal the statements are highlighted, keys count, and its modes are as before afterwards."""
    parent, child = pty.openpty()
    fcntl.fcntl(parent, fcntl.F_SETFL, os.O_NONBLOCK)
    command = [sys.executable, "-m", "cli", "replay", "ss", "--max-pause", "30"]
    with subprocess.Popen(command, cwd=ROOT, stdin=child, stdout=child, stderr=child) as process:
        os.close(child)
        out = b""
        deadline = time.monotonic() + 30
        pressed = False
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([parent], [], [], 0.2)[0]:
                try:
                    out += os.read(parent, 65536)
                except OSError:
                    break
            if b"SELECT 2" in out and not pressed:
                os.write(parent, b"q")
                pressed = True
        process.kill()
    os.close(parent)
    assert process.returncode == 0
    assert b"space pauses" in out
    assert b"SELECT\x1b[0m" in out
    assert b"COPY" not in out
    assert controls(out.decode()) == set()
