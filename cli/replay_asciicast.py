"""A session as an asciicast: https://docs.asciinema.org/manual/asciicast/v2/"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TextIO

from cli.replay_screen import Frame

WIDTH, HEIGHT = 120, 36


def write_asciicast(frames: Iterable[Frame], out: TextIO, speed: float, max_pause: float) -> None:
    """Writes header and events, a line each, as the frames come; players shorten pauses to `max_pause` seconds."""
    header = {"version": 2, "width": WIDTH, "height": HEIGHT, "idle_time_limit": max_pause, "title": "hoopctl replay"}
    out.write(json.dumps(header) + "\n")
    for frame in frames:
        text = frame.text.replace("\n", "\r\n")
        out.write(json.dumps([round(frame.at / speed, 6), "o", text]) + "\n")
