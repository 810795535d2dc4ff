"""`hoopctl audit`: the evidence as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.client import AgentAbsent, client
from cli.context import configuration
from cli.errors import HoopError
from cli.tables import Format, show

if TYPE_CHECKING:
    from schemas.configuration import Configuration

app = typer.Typer(help="Seal the evidence.")

_PATIENCE = 600.0
"""Seconds for the agent to seal what is recorded: far more than 64 MB take."""


@app.callback()
def audit() -> None:
    """Seal the evidence."""


@app.command()
def seal(
    format_: Annotated[Format | None, typer.Option("--format", help="How to print the report.")] = None,
) -> None:
    """Make Parquet files of all that is recorded by now; without an agent, end what a lost one has left open first.

    \b
    Example:
      hoopctl audit seal --format json
    """
    try:
        report: dict[str, Any] = client().post("seal", timeout=_PATIENCE)
    except AgentAbsent:
        report = sealed(configuration())
    show([report], list(report), format_)


def sealed(found: Configuration) -> dict[str, Any]:
    """Seals the journal of an agent that isn't running; the report. Raises HoopError."""
    import time

    import msgspec

    from agent.core.journal.frame import JournalDamage
    from agent.store.journal import Journal
    from agent.store.recovery import closing_records
    from agent.store.seal import seal as seal_segments

    directory = Path(found.state) / "journal"
    try:
        journal = Journal.open(directory)
        try:
            for record in closing_records(directory, time.time_ns() // 1000):
                journal.append(record)
            before_leaf = journal.rotate()
            journal.wait()
            if journal.failure is not None:
                raise HoopError(f"the journal can't be written ({journal.failure})", "free space on its disk")
            report = seal_segments(directory, Path(found.audit.path), before_leaf)
        finally:
            journal.close()
    except JournalDamage as error:
        raise HoopError(error.message, "keep a copy of the files as they are; nothing was changed") from error
    builtins: dict[str, Any] = msgspec.to_builtins(report)
    return builtins
