"""hoopctl: a table of commands. A command's module is imported when the command is called, so that `hoopctl --help`
and completion cost no more than Typer itself."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from cli.context import Invocation, current, enter
from cli.errors import HoopError


class Entry(NamedTuple):
    """Where a command is. `attribute` is a typer.Typer for a command with sub-commands, a function for a plain one."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "init": Entry("cli.init", "command", "Write hoop.yaml and policy.yaml, make the keys"),
    "demo": Entry("cli.demo", "command", "See it work, on an embedded PostgreSQL"),
    "agent": Entry("cli.agent", "command", "Run the agent in the foreground"),
    "service-account": Entry("cli.service_account", "app", "Create, list and revoke service accounts"),
    "resources": Entry("cli.resources", "app", "List the resources, check that they are reached"),
    "connect": Entry("cli.connect", "app", "Open a client on a resource, through the agent"),
    "policy": Entry("cli.policy", "app", "Check a policy, test it on cases and on the past"),
    "sessions": Entry("cli.sessions", "app", "List, show and end sessions"),
    "replay": Entry("cli.replay", "command", "Play a session back"),
    "sql": Entry("cli.sql", "command", "Query the evidence with SQL"),
    "audit": Entry("cli.audit", "app", "Seal the evidence"),
    "doctor": Entry("cli.doctor", "command", "Check the installation and what it reaches"),
}


def load_command(name: str) -> Any:
    """The command of this name, its module imported. Raises HoopError when that can't be."""
    entry = COMMANDS[name]
    try:
        found = getattr(import_module(entry.module), entry.attribute)
    except ModuleNotFoundError as error:
        if error.name == entry.module:
            raise HoopError(
                f"the command {name} is not in this installation (no module {entry.module})",
                "install hoopctl again; hoopctl doctor checks an installation",
            ) from error
        raise HoopError(
            f"the command {name} can't start (no module {error.name})",
            "install hoopctl with its dependencies, in an environment of its own",
        ) from error
    return _command(name, found)


def _command(name: str, found: typer.Typer | Callable[..., None]) -> Any:
    if isinstance(found, typer.Typer):
        app = found
    else:
        app = typer.Typer()
        app.command(name=name)(found)
    # Rich's help is prettier and costs 100 ms; and it would differ from the help of hoopctl itself.
    app.rich_markup_mode = None
    app._add_completion = False
    return get_command(app)


class Table(TyperGroup):
    """The group of all commands: it lists them from the table, and imports one when it is resolved."""

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = {
            name: TyperCommand(name=name, help=entry.help, rich_markup_mode=None) for name, entry in COMMANDS.items()
        }
        super().__init__(**attributes)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments name, imported; and what is left of the arguments."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if name and command else None, rest


def show_version(value: bool) -> None:
    """Prints the version and ends."""
    if value:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"hoopctl {version('hoopctl')}")
        except PackageNotFoundError:
            print("hoopctl (not installed, run from its source)")
        raise typer.Exit


app = typer.Typer(cls=Table, rich_markup_mode=None)


@app.callback()
def options(
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="The hoop.yaml to go by.")] = None,
    agent: Annotated[
        str | None, typer.Option(metavar="URL", help="The agent to reach.", envvar="HOOPCTL_AGENT")
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Connect people and programs to databases, and keep evidence of what they did.

    \b
    Example:
      hoopctl init
      hoopctl agent
      hoopctl connect pg prod
    """
    enter(Invocation(config=config, agent=agent, debug=debug))


def report(message: str, hint: str | None) -> None:
    """Writes an error as every error of hoopctl reads, to standard error. What it quotes may come from anywhere: its
    control characters are shown and not performed."""
    from cli.escape import escaped

    first, *more = message.split("\n")
    lines = [f"hoopctl: error: {first or 'failed'}", *(f"  {line}" for line in more)]
    if hint:
        lines.append(f"hoopctl: hint: {hint}")
    for line in lines:
        print(escaped(line), file=sys.stderr)


def usage_error(error: typer.TyperException) -> int:
    """Reports arguments that don't fit; the hint names the help that says which do."""
    path = getattr(getattr(error, "ctx", None), "command_path", "hoopctl")
    message = error.format_message().rstrip(".")
    report(message[:1].lower() + message[1:], f"{path} --help")
    return int(getattr(error, "exit_code", 2))


def failure(error: Exception) -> int:
    """Reports an error that a command ended with, as short as it can be; the exit status."""
    if isinstance(error, HoopError):
        report(error.message, error.hint)
        return error.status
    # An error of the agent's side that is meant for the user says so by carrying a hint.
    if hasattr(error, "hint"):
        report(str(getattr(error, "message", error)), error.hint)
        return 1
    if isinstance(error, OSError) and error.strerror:
        report(f"{error.strerror.lower()}: {error.filename}" if error.filename else error.strerror.lower(), None)
        return 1
    report(f"unexpected {type(error).__name__}: {error}", "hoopctl --debug shows where; please report it")
    return 1


def run(arguments: Sequence[str]) -> int:
    """Runs the command that the arguments name; the exit status. Only --debug lets an exception out as a traceback."""
    try:
        # With standalone_mode off the status of a typer.Exit is returned, and so is what a command returns.
        status = get_command(app).main(args=list(arguments) or ["--help"], prog_name="hoopctl", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # The reader went away; what is still buffered must not raise once more when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except typer.TyperException as error:
        return usage_error(error)
    except Exception as error:
        if current().debug:
            traceback.print_exc()
        return failure(error)


def main() -> int:
    """The entry point `hoopctl`."""
    return run(sys.argv[1:])
