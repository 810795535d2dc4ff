"""`hoopctl sql`: questions to the evidence."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.errors import HoopError
from cli.recorded import evidence
from cli.tables import Format


def command(
    query: Annotated[str | None, typer.Argument(help="DuckDB's SQL; without it a prompt, or standard input.")] = None,
    format_: Annotated[Format | None, typer.Option("--format", help="How to print the answer.")] = None,
    allow_files: Annotated[
        bool, typer.Option("--allow-files", help="Let the query read and write files and the network.")
    ] = False,
) -> None:
    """Query the evidence with SQL: the views sessions, operations, responses, approvals and events.

    What was recorded a moment ago is there. A query can't alter the evidence; it reaches other files only with
    --allow-files. Times are UTC.

    \b
    Example:
      hoopctl sql "SELECT subject, count(*) FROM operations GROUP BY ALL" --format json
    """
    with evidence() as opened:
        from cli.sql_query import Query, QueryError

        asked = Query(opened, format_, allow_files)
        if query is None and sys.stdin.isatty():
            from cli.sql_prompt import converse

            converse(asked)
            return
        try:
            asked.run(sys.stdin.read() if query is None else query)
        except QueryError as error:
            raise HoopError(error.message, error.hint) from error
