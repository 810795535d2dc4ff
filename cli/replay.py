"""`hoopctl replay`: a session, played back from the evidence."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from cli.completion import session_ids
from cli.recorded import evidence


class Way(StrEnum):
    """The ways to play a session back."""

    terminal = "terminal"
    text = "text"
    json = "json"
    asciicast = "asciicast"


def command(
    session: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The session; of its id as much of the beginning or end as is clear.",
            autocompletion=session_ids,
        ),
    ],
    format_: Annotated[
        Way | None, typer.Option("--format", help="How; without it terminal on a terminal, else text.")
    ] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="How many times faster than it was.")] = 1.0,
    max_pause: Annotated[float, typer.Option(min=0.0, help="Seconds that a pause lasts at most.")] = 2.0,
    rows: Annotated[
        int | None, typer.Option(min=0, help="Rows shown of an answer; 100 in a terminal or asciicast, else all.")
    ] = None,
) -> None:
    """Play a session back: its statements, what was answered, and how long it took.

    On a terminal space pauses, n goes to the next statement and q quits. json is one array; asciicast is for
    asciinema (asciicast v2).

    \b
    Example:
      hoopctl replay 0b3k7 --speed 4
      hoopctl replay 0b3k7 --format asciicast > session.cast
    """
    way = format_ or (Way.terminal if sys.stdout.isatty() else Way.text)
    with evidence() as opened:
        from cli.replay_script import read

        script = read(opened, opened.find_session(session))
        if way == Way.json:
            from cli.replay_json import write_json

            write_json(script, sys.stdout)
            return
        from cli.replay_screen import Screen

        screen = Screen(colour=way != Way.text and _colourful(way), rows=_rows(way, rows))
        frames = screen.frames(script)
        if way == Way.asciicast:
            from cli.replay_asciicast import write_asciicast

            write_asciicast(frames, sys.stdout, speed, max_pause)
        elif way == Way.terminal:
            from cli.replay_terminal import play

            play(frames, speed, max_pause)
        else:
            for frame in frames:
                sys.stdout.write(frame.text)


def _colourful(way: Way) -> bool:
    # https://no-color.org; an asciicast is for another terminal
    import os

    return way == Way.asciicast or not os.environ.get("NO_COLOR")


def _rows(way: Way, rows: int | None) -> int | None:
    return 100 if rows is None and way in (Way.terminal, Way.asciicast) else rows
