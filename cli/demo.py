"""`hoopctl demo`: the whole story on a database that the demo brings along."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from cli import demo_sample
from cli.demo_stage import Stage, environment, stage, unicode
from cli.errors import HoopError

if TYPE_CHECKING:
    from rich.console import Console

STEP = 60.0
"""Seconds that one command of the story may take."""


def command(
    once: Annotated[bool, typer.Option("--once", help="End after the story, on a terminal too.")] = False,
) -> None:
    """See it work, on an embedded PostgreSQL with sample data.

    On a terminal it stays up afterwards, and prints the psql line to try, until Ctrl-C.

    \b
    Example:
      hoopctl demo --once
    """
    from rich.console import Console

    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)
    console = Console(highlight=False, soft_wrap=True)
    stays = console.is_terminal and sys.stdin.isatty() and not once
    began = time.monotonic()
    console.print("[dim]starting PostgreSQL and an agent …[/dim]")
    with stage() as running:
        Story(console, running).tell()
        console.print(f"\n[dim]That took {time.monotonic() - began:.1f} s.[/dim]")
        if stays:
            stay(console, running)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Whatever ends the demo, what it started ends with it.
    raise KeyboardInterrupt


class Story:
    """What happens on the stage, told as it happens."""

    def __init__(self, console: Console, running: Stage) -> None:
        self._console = console
        self._stage = running
        self._chapter = 0

    def tell(self) -> None:
        """All of it, in order. Raises HoopError when a step fails."""
        self._setting()
        self._token()
        self._session()
        session = self._newest_session()
        self._replay(session)
        self._query()
        self._seal()

    def _title(self, text: str) -> None:
        self._chapter += 1
        self._console.print(f"\n[bold cyan]{self._chapter}. {text}[/bold cyan]")

    def _say(self, text: str) -> None:
        self._console.print(text, style="dim")

    def _show(self, line: str) -> None:
        self._console.print(f"[green]$[/green] [bold]{escape(line)}[/bold]")

    def _setting(self) -> None:
        self._title("A database, and an agent in front of it")
        self._say(f"The database {demo_sample.DATABASE} has customers and orders. The agent's hoop.yaml names it:")
        self._console.print(escape(self._stage.configuration.read_text().rstrip()))
        self._say("policy.yaml says what an automation may not do, and what it doesn't see:")
        self._console.print(escape(demo_sample.POLICY.rstrip()))

    def _token(self) -> None:
        self._title("An automation gets a token of its own, never the database's password")
        create = ("service-account", "create", demo_sample.SUBJECT, "--group", demo_sample.GROUP)
        self._announce(*create)
        self._stage.token = self._answer(*create)
        self._console.print(f"{self._stage.token[:12]}…  [dim](shown once, kept hashed)[/dim]")

    def _session(self) -> None:
        self._title("It works with a standard client: psql")
        address = f"-h 127.0.0.1 -p {self._stage.port} -U {demo_sample.SUBJECT} {demo_sample.DATABASE}"
        self._show(f"PGPASSWORD=… psql {address}")
        client = [self._stage.psql, "-X", "-e", "-P", "pager=off"]
        _run(client, self._stage.client(), script=demo_sample.SCRIPT)
        self._say(
            "Each statement was on the disk before psql saw its answer; one that may write, before the database did."
        )
        self._say("The e-mail addresses were masked on their way, and no order was deleted, not by code either.")

    def _newest_session(self) -> str:
        found = json.loads(self._answer("sessions", "list", "--format", "json"))
        if not found:
            raise HoopError("the session is not in the evidence", "please report it")
        return str(found[0]["session_id"])

    def _replay(self, session: str) -> None:
        self._title("The session, played back from what was recorded")
        manner = ("--speed", "8") if self._console.is_terminal else ("--format", "text")
        self._hoopctl("replay", session, *manner)

    def _query(self) -> None:
        self._title("What was recorded is a table; ask it")
        self._hoopctl("sql", demo_sample.QUERY, "--format", "table")

    def _seal(self) -> None:
        self._title("Sealed into plain Parquet files, for any engine")
        self._hoopctl("audit", "seal", "--format", "table")
        audit = self._stage.home / "audit"
        for file in sorted(audit.rglob("*.parquet")):
            self._console.print(f"{file.relative_to(audit.parent)}  [dim]{file.stat().st_size:,} bytes[/dim]")

    def _hoopctl(self, *arguments: str) -> None:
        """Runs a command whose output the reader sees."""
        self._announce(*arguments)
        _run(self._stage.hoopctl(*arguments), environment())

    def _answer(self, *arguments: str) -> str:
        """Runs a command and returns its output."""
        return _run(self._stage.hoopctl(*arguments), environment(), output=subprocess.PIPE).strip()

    def _announce(self, *arguments: str) -> None:
        self._show(shlex.join(["hoopctl", *arguments]))


def stay(console: Console, running: Stage) -> None:
    """Until Ctrl-C, with what to try meanwhile."""
    psql = "psql" if shutil.which("psql") else running.psql
    address = f"-h 127.0.0.1 -p {running.port} -U {demo_sample.SUBJECT} {demo_sample.DATABASE}"
    console.print("\n[bold]It stays up until Ctrl-C. Try, in another terminal:[/bold]")
    console.print(f"    PGPASSWORD={running.token} {escape(psql)} {address}")
    console.print(f"    hoopctl --config {escape(str(running.configuration))} sql")
    try:
        while running.agent.poll() is None:
            time.sleep(0.2)
    except KeyboardInterrupt:
        console.print("\n[dim]ending the agent and the database …[/dim]")
        return
    raise HoopError(
        f"the agent ended (exit status {running.agent.returncode})", "hoopctl doctor checks the installation"
    )


def _run(arguments: list[str], variables: dict[str, str], script: str | None = None, output: int | None = None) -> str:
    """Runs a program to its end; returns its output if that goes to a pipe. Raises HoopError when it fails."""
    sys.stdout.flush()
    keyboard = None if sys.stdin.isatty() else subprocess.DEVNULL
    try:
        done = subprocess.run(
            arguments,
            **({"stdin": keyboard} if script is None else {"input": script}),
            stdout=output,
            stderr=None if output else subprocess.STDOUT,
            env=unicode(variables),
            encoding="utf-8",
            timeout=STEP,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HoopError(f"{Path(arguments[0]).name} did not end (expected within {STEP:g} s)") from None
    if done.returncode:
        program = Path(arguments[0]).name
        step = shlex.join(["hoopctl", *arguments[6:]]) if arguments[0] == sys.executable else program
        raise HoopError(f"{step} failed (exit status {done.returncode})", "hoopctl doctor checks the installation")
    return done.stdout or ""
