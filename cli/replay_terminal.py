"""Playing a session on a terminal, at its own pace, with keys to change it."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from cli.replay_screen import Frame

SPACE, NEXT, QUIT = " ", "n", "q"

Key = Callable[[float | None], str | None]
"""Waits so many seconds (None: for ever) for a key; None when none was pressed."""


class Player:
    """Shows frames at their times. `clock` is in seconds; `key` waits."""

    def __init__(
        self, speed: float, max_pause: float, show: Callable[[str], object], key: Key, clock: Callable[[], float]
    ) -> None:
        self._speed = speed
        self._max_pause = max_pause
        self._show = show
        self._key = key
        self._clock = clock
        self._skipping = False

    def play(self, frames: Iterable[Frame]) -> None:
        """Plays to the end, or until q is pressed."""
        before = 0.0
        for frame in frames:
            pause = min(max(0.0, (frame.at - before) / self._speed), self._max_pause)
            before = frame.at
            if frame.statement:
                self._skipping = False
            if not self._wait(pause):
                return
            self._show(frame.text)

    def _wait(self, pause: float) -> bool:
        """Lets a pause pass, and obeys keys meanwhile; whether to go on."""
        end = self._clock() + (0.0 if self._skipping else pause)
        while True:
            key = self._key(max(0.0, end - self._clock()))
            if key == SPACE:
                left = max(0.0, end - self._clock())
                key = self._paused()
                end = self._clock() + left
            if key is None:
                return True
            if key == QUIT:
                return False
            if key == NEXT:
                self._skipping = True
                return True

    def _paused(self) -> str:
        """Waits until space is pressed once more, or another key that means something."""
        while True:
            key = self._key(None)
            if key in (SPACE, QUIT, NEXT):
                return key


def play(frames: Iterable[Frame], speed: float, max_pause: float) -> None:
    """Plays on standard output; keys count when standard input is a terminal too."""
    with _keys() as key:
        Player(speed, max_pause, _write, key, time.monotonic).play(frames)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextmanager
def _keys() -> Iterator[Key]:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield _no_keys
        return
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)  # keys come one by one, ^C still interrupts
    try:
        print("space pauses, n next statement, q quits", file=sys.stderr)
        yield lambda seconds: _pressed(fd, seconds)
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


def _no_keys(seconds: float | None) -> None:
    time.sleep(seconds or 0.0)


def _pressed(fd: int, seconds: float | None) -> str | None:
    ready, _, _ = select.select([fd], [], [], seconds)
    if not ready:
        return None
    pressed = os.read(fd, 1).decode("ascii", "replace").lower()
    return pressed or QUIT  # the terminal is gone
