"""What the shell completes beyond the names of commands and options. Nothing here raises: no completion is better than
an error in the middle of a command line."""

from __future__ import annotations

from pathlib import Path

import typer

from cli import context


def _prepare(ctx: typer.Context) -> None:
    # While completing, the callback that reads the global options isn't called.
    given = ctx.find_root().params
    config, agent = given.get("config"), given.get("agent")
    context.enter(context.Invocation(config=Path(config) if config else None, agent=agent or None))


def resource_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The names of the configured resources."""
    try:
        _prepare(ctx)
        names = [resource.name for resource in context.configuration().resources]
    except Exception:
        return []
    return [name for name in names if name.startswith(incomplete)]


def session_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The ids of the live sessions."""
    from cli.client import client

    try:
        _prepare(ctx)
        ids = [str(session["session_id"]) for session in client(timeout=1.0).get("sessions")]
    except Exception:
        return []
    return [session_id for session_id in ids if session_id.startswith(incomplete)]
