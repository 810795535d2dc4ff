"""`hoopctl sessions`: who was, and is, connected to what, and what they did."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.client import client
from cli.completion import session_ids
from cli.context import configuration
from cli.errors import HoopError
from cli.escape import escaped
from cli.recorded import evidence
from cli.tables import Format, chosen, show

if TYPE_CHECKING:
    import duckdb

    from schemas.records import Record

app = typer.Typer(help="List, show, watch and end sessions.")

FormatOption = Annotated[Format | None, typer.Option("--format", help="How to print it.")]
SessionArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The session; of its id as much of the beginning or end as is clear.",
        autocompletion=session_ids,
    ),
]

_LISTED = ("session_id", "started_at", "ended_at", "subject", "resource", "client_name", "operations", "end_reason")
_STATEMENTS = ("sequence", "time", "decision", "outcome", "rows", "duration_us", "error_code", "statement")
_POLL = 0.2  # seconds


@app.command("list")
def list_(
    format_: FormatOption = None,
    live: Annotated[bool, typer.Option("--live", help="Only those that haven't ended.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the latest first.")] = 100,
) -> None:
    """List sessions, the latest first.

    \b
    Example:
      hoopctl sessions list --live
    """
    columns = _LISTED if chosen(format_) == Format.table else ("*",)
    where = "WHERE ended_at IS NULL" if live else ""
    with evidence() as opened:
        query = f"SELECT {', '.join(columns)} FROM sessions {where} ORDER BY started_at DESC, session_id LIMIT {limit}"
        found = opened.connection.execute(query)
        names = [str(column[0]) for column in found.description]
        show(_rows(found), names, format_)


@app.command("show")
def show_(session: SessionArgument, format_: FormatOption = None) -> None:
    """Show a session and the statements that it ran; as JSON one object, `statements` among its keys.

    \b
    Example:
      hoopctl sessions show 0b3k7
    """
    with evidence() as opened:
        session_id = opened.find_session(session)
        (found,) = _rows(opened.connection.execute("SELECT * FROM sessions WHERE session_id = $1", [session_id]))
        operations = opened.connection.cursor()
        operations.execute("SELECT * FROM operations WHERE session_id = $1 ORDER BY sequence, leaf", [session_id])
        if chosen(format_) == Format.json:
            show([{**found, "statements": list(_rows(operations))}], [*found, "statements"], format_)
        elif chosen(format_) == Format.csv:
            show(_rows(operations), [str(column[0]) for column in operations.description], format_)
        else:
            fields = [{"field": name, "value": value} for name, value in found.items() if value is not None]
            show(fields, ("field", "value"), format_)
            show(_rows(operations), _STATEMENTS, format_)


@app.command()
def watch(session: SessionArgument) -> None:
    """Watch a live session: its statements, and what becomes of them, as they are recorded; until it ends.

    \b
    Example:
      hoopctl sessions watch 0b3k7
    """
    with evidence() as opened:
        session_id = opened.find_session(session)
        (found,) = _rows(opened.connection.execute("SELECT * FROM sessions WHERE session_id = $1", [session_id]))
    if found["ended_at"] is not None:
        raise HoopError(f"the session has ended ({found['end_reason']})", f"hoopctl replay {session_id} plays it back")
    from agent.core.journal.frame import JournalDamage

    try:
        for record in _followed(Path(configuration().state) / "journal", session_id):
            line = _line(record)
            if line:
                print(line, flush=True)
    except JournalDamage as error:
        raise HoopError(error.message, f"watch it again, or: hoopctl replay {session_id}") from error


@app.command()
def kill(
    session: SessionArgument,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
) -> None:
    """End a live session.

    \b
    Example:
      hoopctl sessions kill 0b3k7 --reason "left running over night"
    """
    agent = client()
    ids = [str(found["session_id"]) for found in agent.get("sessions")]
    part = session.lower()
    matching = [session_id for session_id in ids if session_id.startswith(part) or session_id.endswith(part)]
    if len(matching) != 1 or not session:
        problem = "several live sessions begin or end" if matching and session else "no live session begins or ends"
        raise HoopError(f"{problem} so (got {session!r})", "hoopctl sessions list --live shows them")
    agent.post("sessions", matching[0], "kill", body={"reason": reason})
    print(f"killed {matching[0]}")


def _rows(found: duckdb.DuckDBPyConnection) -> Iterator[Mapping[str, Any]]:
    names = [str(column[0]) for column in found.description]
    while rows := found.fetchmany(500):
        for row in rows:
            yield dict(zip(names, row, strict=True))


def _followed(journal: Path, session_id: str) -> Iterator[Record]:
    """What the journal holds of the session, as it comes, to its end."""
    from contextlib import closing

    from agent.store.follow import Follower
    from schemas.records import Event, SessionEnded

    with closing(Follower(journal)) as follower:
        while True:
            for _, record in follower.poll():
                if isinstance(record, Event) or record.session_id != session_id:
                    continue
                yield record
                if isinstance(record, SessionEnded):
                    return
            time.sleep(_POLL)


def _line(record: Record) -> str:
    """A record as a line of `watch`; nothing for pieces of answers."""
    from datetime import UTC, datetime

    from schemas.records import OperationEnded, OperationStarted, SessionEnded, SessionStarted

    moment = datetime.fromtimestamp(record.time / 1_000_000, UTC).strftime("%H:%M:%S.%f")[:-3]
    match record:
        case SessionStarted():
            return escaped(f"{moment} {record.subject} on {record.resource} from {record.client_address}")
        case OperationStarted():
            return escaped(f"{moment} #{record.sequence} {record.statement}")
        case OperationEnded():
            said = record.error_message or ", ".join(record.tags)
            return escaped(f"{moment} #{record.sequence} {record.outcome} {said} {record.duration_us / 1000:.3f} ms")
        case SessionEnded():
            return escaped(f"{moment} ended: {record.end_reason}")
        case _:
            return ""
