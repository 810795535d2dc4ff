"""`hoopctl resources`: what there is to connect to, and whether the agent reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.client import AgentAbsent, client
from cli.completion import resource_names
from cli.context import configuration
from cli.errors import HoopError
from cli.tables import Format, show

app = typer.Typer(help="What there is to connect to, and whether the agent reaches it.")

FormatOption = Annotated[Format | None, typer.Option("--format", help="How to print it.")]

CHECK = 90.0
"""Seconds for the agent to check one resource: its own time-outs end sooner and say more."""

CHECKED = (
    "resource", "reached", "upstream", "user", "sslmode", "tls", "server_version", "trace", "log", "pooler", "error",
    "hint",
)  # fmt: skip


@app.command("list")
def list_(format_: FormatOption = None) -> None:
    """List the resources; from the agent, or from hoop.yaml when none runs.

    \b
    Example:
      hoopctl resources list
    """
    show(listed(), ("name", "type", "upstream", "database", "user", "sslmode"), format_)


def listed() -> list[Mapping[str, Any]]:
    """The resources in force."""
    from agent.store.configuration import described

    try:
        return list(client().get("resources"))
    except AgentAbsent:
        return list(described(configuration()))


@app.command()
def check(
    name: Annotated[
        str | None, typer.Argument(help="One resource; all without it.", autocompletion=resource_names)
    ] = None,
    format_: FormatOption = None,
) -> None:
    """Check that the agent reaches a resource, with what TLS and login, and whether rules work there.

    Exit status 1 when it isn't reached.

    \b
    Example:
      hoopctl resources check prod
    """
    names = [name] if name is not None else [str(resource["resource"]) for resource in client().get("resources")]
    found = [checked(one) for one in names]
    show(found, CHECKED, format_)
    if not all(row["reached"] for row in found):
        raise typer.Exit(1)


def checked(name: str) -> dict[str, Any]:
    """What the agent says of one resource: `reached` and, if that is False, `error` and `hint`."""
    try:
        return {"resource": name, "reached": True, **client().post("resources", name, "check", timeout=CHECK)}
    except AgentAbsent:
        raise
    except HoopError as error:
        return {"resource": name, "reached": False, "error": error.message, "hint": error.hint}
