"""A session as it looks on a screen: text that appears at its time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import assert_never

from cli.escape import escaped
from cli.replay_result import BOLD, DIM, RED, ResultText
from cli.replay_script import Asked, Began, Done, Left, Row, Said, Scene

_HIGHLIGHTED = 1 << 16
"""Characters of a statement that are still highlighted: the lexer takes its time."""


@dataclass(frozen=True)
class Frame:
    """Text that appears `at` so many seconds after the session began; `statement` when a statement begins with it."""

    at: float
    text: str
    statement: bool = False


class Screen:
    """Draws a session; with `colour` by escape sequences of its own, the only ones that come out of here."""

    def __init__(self, colour: bool, rows: int | None) -> None:
        self._colour = colour
        self._limit = rows
        self._highlight: Callable[[str], str] | None = None

    def frames(self, script: Iterable[Scene]) -> Iterator[Frame]:
        """The frames, in the order of their times."""
        start: int | None = None
        result = ResultText(self._paint, self._limit)
        last = 0.0
        for scene in script:
            start = scene.at if start is None else start
            last = max(last, (scene.at - start) / 1_000_000)
            match scene:
                case Began(at, session):
                    yield Frame(last, self._began(at, session))
                case Asked(at, operation):
                    result = ResultText(self._paint, self._limit)
                    yield Frame(last, self._asked(at, operation), statement=True)
                case Said(_, sequence, parts):
                    shown = ResultText(self._paint, self._limit) if sequence == 0 else result
                    text = "".join(shown.add(parts))
                    if text:
                        yield Frame(last, text)
                case Done(_, operation):
                    yield Frame(last, "".join(result.finish()) + self._done(operation))
                case Left(at, session):
                    yield Frame(last, self._left(at, session))
                case _ as never:
                    assert_never(never)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def _began(self, at: int, session: Row) -> str:
        client = f" ({session['client_name']})" if session["client_name"] else ""
        text = f"session {session['session_id']}: {session['subject']} on {session['resource']}"
        where = f"from {session['client_address']}{client}, {_moment(at):%Y-%m-%d %H:%M:%S} UTC"
        return self._paint(BOLD, escaped(text)) + "\n" + escaped(where) + "\n"

    def _asked(self, at: int, operation: Row) -> str:
        heading = f"#{operation['sequence']}  {_moment(at):%H:%M:%S.%f}"[:-3]
        if operation["decision"] not in (None, "allow"):
            rule = f" by {operation['rule']}" if operation["rule"] else ""
            heading += f"  {operation['decision']}{rule}"
        statement = escaped(operation["statement"] or "", layout=True)
        text = "\n" + self._paint(DIM, escaped(heading)) + "\n" + self._highlighted(statement) + "\n"
        parameters = operation["parameters"] or []
        for number, value in enumerate(parameters, 1):
            shown = "NULL" if value is None else "'" + escaped(value) + "'"
            text += self._paint(DIM, f"  ${number} = {shown}") + "\n"
        return text

    def _done(self, operation: Row) -> str:
        if operation["end_leaf"] is None:
            return self._paint(DIM, "(not ended yet)") + "\n"
        text = ""
        if operation["rest_bytes"]:
            text = f"({operation['rest_bytes']:,} bytes more were answered; they were not kept)\n"
        outcome = operation["outcome"]
        shown = f"{outcome}, " if outcome != "ok" else ""
        if operation["error_message"] and outcome == "lost":
            shown += f"{operation['error_message']}, "
        rows = f"{operation['rows']:,} {'row' if operation['rows'] == 1 else 'rows'}, "
        text += f"({shown}{rows}{operation['duration_us'] / 1000:,.3f} ms)"
        return self._paint(DIM if outcome == "ok" else RED, escaped(text, layout=True)) + "\n"

    def _left(self, at: int, session: Row) -> str:
        text = f"ended {_moment(at):%H:%M:%S}: {session['end_reason']}"
        return "\n" + self._paint(BOLD, escaped(text)) + "\n"

    def _highlighted(self, statement: str) -> str:
        if not self._colour or len(statement) > _HIGHLIGHTED:
            return statement
        if self._highlight is None:
            self._highlight = _highlighter()
        return self._highlight(statement)


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)


def _highlighter() -> Callable[[str], str]:
    from io import StringIO

    from rich.console import Console
    from rich.syntax import Syntax

    syntax = Syntax("", "postgresql", theme="ansi_dark", background_color="default")

    def highlight(statement: str) -> str:
        out = StringIO()
        console = Console(file=out, force_terminal=True, color_system="standard", width=80, legacy_windows=False)
        console.print(syntax.highlight(statement), soft_wrap=True, end="")
        return out.getvalue().rstrip("\n")

    return highlight
