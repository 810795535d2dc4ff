"""`hoopctl policy`: checks a policy, tests it, and says what it would have decided."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import configuration
from cli.errors import HoopError
from cli.escape import escaped
from cli.recorded import evidence
from cli.tables import Format, chosen, show

if TYPE_CHECKING:
    from agent.store.document import Problem
    from cli.policy_cases import Outcome
    from cli.policy_decision import Court
    from cli.policy_reader import Reader
    from schemas.explanation import Explanation, ServerError

app = typer.Typer(help="Check and test a policy, and say what it would have decided.")


class Layout(StrEnum):
    """The ways to print proposals."""

    yaml = "yaml"
    table = "table"
    json = "json"


FormatOption = Annotated[Format | None, typer.Option("--format", help="How to print it.")]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The policy.yaml.")]


@app.command()
def check(
    file: FileArgument,
    strict: Annotated[bool, typer.Option("--strict", help="A warning fails the check too.")] = False,
) -> None:
    """Check a policy: every error and warning in it, with line and column. Exit status 1 when there is an error.

    \b
    Example:
      hoopctl policy check policy.yaml
    """
    from agent.store.policy import PolicyError
    from agent.store.policy import check as checked

    if not file.is_file():
        raise HoopError(
            f"there is no such file (got {file})", "hoopctl policy check FILE names a policy.yaml", status=2
        )
    try:
        policy, warnings = checked(file)
    except PolicyError as error:
        _tell("error", error.problems)
        _tell("warning", error.warnings)
        raise HoopError(f"{_count(len(error.problems), 'error')} in {file}", error.hint) from error
    _tell("warning", warnings)
    print(f"{file}: {_count(len(policy.rules), 'rule')}, {_count(len(policy.masks), 'mask')}, version {policy.version}")
    if warnings and strict:
        raise HoopError(f"{_count(len(warnings), 'warning')} in {file}", "without --strict they are told only")


@app.command()
def test(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where the cases are, *.test.yaml; or one file of them.")
    ] = Path("."),
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE", help="Write the outcomes as XML too.")
    ] = None,
) -> None:
    """Run the tests that are written beside a policy. Exit status 1 when one fails.

    \b
    Example:
      hoopctl policy test . --junit report.xml
    """
    from agent.store.policy import PolicyError
    from cli.policy_cases import CasesError, find, read, run

    paths = find(directory)
    if not paths:
        raise HoopError(
            f"no tests here (got {directory}, expected files named *.test.yaml)",
            "write cases beside the policy: docs/policy.md shows how",
            status=2,
        )
    outcomes: dict[Path, list[Outcome]] = {}
    try:
        for file in [read(path) for path in paths]:
            outcomes[file.path] = list(run(file, reader))
            _report(file.path, outcomes[file.path])
    except (PolicyError, CasesError) as error:
        raise HoopError(str(error), "correct the file", status=2) from error
    if junit is not None:
        from cli.policy_junit import write

        write(junit, outcomes)
    _summarize([outcome for found in outcomes.values() for outcome in found])


@app.command()
def explain(
    statement: Annotated[
        str | None, typer.Argument(metavar="[STATEMENT]", help="What would run; - reads it from standard input.")
    ] = None,
    resource: Annotated[
        str | None, typer.Option(metavar="TYPE/NAME", help="Where; else the only one there is.")
    ] = None,
    operation: Annotated[
        list[str] | None, typer.Option(metavar="OPERATION", help='What it does, "VERB OBJECT", instead of asking.')
    ] = None,
    subject: Annotated[str, typer.Option("--subject", "--as", help="Who would run it.")] = "somebody",
    group: Annotated[list[str] | None, typer.Option(help="A group of theirs.")] = None,
    actor: Annotated[str | None, typer.Option(help="The service that acts for them.")] = None,
    where: Annotated[bool, typer.Option("--where/--no-where", help="Whether its UPDATE or DELETE has a WHERE.")] = True,
    search_path: Annotated[str | None, typer.Option(metavar="SCHEMAS", help="Where names are looked up.")] = None,
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="Another policy than hoop.yaml's.")] = None,
    format_: FormatOption = None,
) -> None:
    """Say what a statement would do, which rule decides, and why: rule by rule for each operation. Nothing is run.

    \b
    Example:
      hoopctl policy explain "DELETE FROM users" --resource pg/prod --group staff
    """
    from agent.core.policy import verbs
    from agent.core.policy.rulebook import Rules
    from agent.core.sql.found import Found
    from agent.store.policy import PolicyError, load
    from cli.policy_decision import Court
    from cli.policy_reader import INSTEAD
    from schemas.explanation import Explained, Explanation
    from schemas.identity import Identity

    text = _written(statement)
    if text is None and not operation:
        raise HoopError("nothing to explain (expected a STATEMENT or --operation)", INSTEAD, status=2)
    place = _resource(resource)
    try:
        rules = Rules(load(policy or _configured()))
    except PolicyError as error:
        raise HoopError(error.message, error.hint, status=2) from error
    court = Court(rules, Identity(subject, tuple(group or ()), actor), place)
    if operation:
        acts = tuple(verbs.operation(each, where) for each in operation)
        found = Explanation((Explained(text or "", 0, found=Found(acts)),))
    else:
        found = _asked(place, text or "", search_path, not court.masked.empty)
    _explain(court, text or "", found, format_)


@app.command()
def backtest(
    file: FileArgument,
    since: Annotated[str, typer.Option(metavar="TIME", help="How far back, such as 12h or 7d.")] = "7d",
    format_: FormatOption = None,
) -> None:
    """Say what a policy would have decided on what was recorded: what changes, for whom, how often.

    \b
    Example:
      hoopctl policy backtest policy.yaml --since 30d
    """
    from datetime import UTC, datetime, timedelta

    from agent.store.document import duration
    from agent.store.policy import PolicyError, load
    from cli.policy_backtest import COLUMNS
    from cli.policy_backtest import backtest as held_against

    seconds = duration(since)
    if seconds is None or seconds > 1e10:
        raise HoopError(f"--since should be a time (got {since}, expected one such as 12h or 7d)", status=2)
    try:
        policy = load(file)
    except PolicyError as error:
        raise HoopError(error.message, error.hint, status=2) from error
    # The evidence's times are UTC without saying so.
    begin = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=min(seconds, 1e9))
    with evidence() as opened:
        found = held_against(opened.connection, policy, begin)
    show(found.rows(), COLUMNS, format_)
    left = found.recorded - found.decided
    said = [f"{_count(found.decided, 'statement')} since {begin:%Y-%m-%d %H:%M} UTC, {found.changed} decided otherwise"]
    if found.unclear:
        said.append(f"{found.unclear} unclear: whether an UPDATE or DELETE had a WHERE isn't recorded")
    if left:
        said.append(f"{left} recorded without their operations and left out: no rule was about their sessions")
    typer.echo("\n".join(said), err=True)


@app.command()
def discover(
    resource: Annotated[
        str | None, typer.Option(metavar="TYPE/NAME", help="Where; else the only one there is.")
    ] = None,
    schema: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only the tables in these schemas.")] = None,
    table: Annotated[str, typer.Option(metavar="GLOB", help="Only these tables, TABLE or SCHEMA.TABLE.")] = "*",
    rows: Annotated[int, typer.Option(min=1, max=10_000, help="How many rows of each table to look at.")] = 1000,
    format_: Annotated[Layout, typer.Option("--format", help="How to print it.")] = Layout.yaml,
) -> None:
    """Look at samples of a database's tables and propose masks, as a policy to edit. No value is shown.

    \b
    Example:
      hoopctl policy discover --resource pg/prod --schema app > masks.yaml
    """
    from cli.client import client
    from cli.policy_discover import COLUMNS, Progress, listing, policy
    from cli.policy_discover import discover as discovered

    place = _resource(resource)
    progress = Progress()
    try:
        found = discovered(client(), place, schema or [], table, rows, progress)
    finally:
        progress.end()
    if format_ is Layout.yaml:
        print(policy(found.proposals, place, rows), end="")
    else:
        show(listing(found.proposals), COLUMNS, Format(format_.value))
    for name, why in found.passed_over.items():
        typer.echo(escaped(f"not looked at: {name}: {why}"), err=True)
    columns = len({(one.table, one.column) for one in found.proposals})
    typer.echo(f"{_count(found.sampled, 'table')} sampled, {_count(columns, 'column')} to mask", err=True)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy, for editors.

    \b
    Example:
      hoopctl policy schema > policy.schema.json
    """
    from importlib.resources import files

    print(files("schemas").joinpath("policy.schema.json").read_text(), end="")


def reader(resource: str) -> Reader | None:
    """What tells what a statement does on this resource, TYPE/NAME; None: nothing can."""
    from cli.policy_reader import AgentReader

    return AgentReader(resource) if resource.startswith("pg/") else None


def _written(statement: str | None) -> str | None:
    """The statement that is meant: `-` stands for standard input."""
    if statement != "-":
        return statement
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise HoopError("the statement is not UTF-8", "standard input is read as text", status=2) from error


def _asked(resource: str, text: str, search_path: str | None, columns: bool) -> Explanation:
    from cli.policy_reader import INSTEAD, ReaderError

    asked = reader(resource)
    if asked is None:
        raise HoopError(f"{resource} can't tell what a statement does (expected one of type pg)", INSTEAD, status=2)
    try:
        return asked.read(text, search_path, columns)
    except ReaderError as error:
        raise HoopError(str(error), f"{error.hint}; or {INSTEAD}" if error.hint else INSTEAD) from error


def _explain(court: Court, text: str, found: Explanation, format_: Format | None) -> None:
    """Tells what was found and decided; fails with what the server says against it."""
    from cli.policy_explain import COLUMNS, columns_for_table, rows, verdict_line

    refused = [error for error in (found.error, *(each.error for each in found.statements)) if error is not None]
    if found.error is not None or len(refused) == len(found.statements) == 1:
        raise _refused(text, refused[0])
    if not found.statements:
        raise HoopError("nothing to explain (got no statement)", "write one: 'DELETE FROM app.users'", status=2)
    now = time.time_ns() // 1000
    listed = list(rows(court, found.statements, now))
    if chosen(format_) is Format.table:
        if sys.stdout.isatty():
            _highlight(found)
        show(listed, columns_for_table(listed), Format.table)
    else:
        show(listed, COLUMNS, format_)
    if found.role:
        typer.echo(escaped(f"asked as {found.role}, names looked up in {found.search_path}"), err=True)
    for number, statement in enumerate(found.statements, 1):
        said = "refused by the server"
        if statement.error is None:
            said = verdict_line(court.decide(statement, now), statement)
        typer.echo(escaped(f"{number}: {said}" if len(found.statements) > 1 else said), err=True)
    if refused:
        raise _refused(text, refused[0])


def _highlight(found: Explanation) -> None:
    """Shows the statements on a terminal, numbered where there are several."""
    from rich.console import Console
    from rich.syntax import Syntax

    console = Console(highlight=False)
    for number, statement in enumerate(found.statements, 1):
        if len(found.statements) > 1:
            console.print(f"{number}:")
        shown = escaped(statement.text.strip(), layout=True)
        console.print(Syntax(shown, "postgresql", theme="ansi_dark", background_color="default", word_wrap=True))


def _refused(text: str, error: ServerError) -> HoopError:
    from cli.policy_explain import place
    from cli.policy_reader import refusal

    if error.position is not None:
        typer.echo(place(text, error.position), err=True)
    return HoopError(f"the server refuses it: {refusal(error)}", error.hint)


def _resource(named: str | None) -> str:
    """The resource that is meant, TYPE/NAME: the only one, if none is named."""
    if named is not None:
        return named if "/" in named else f"pg/{named}"
    known = [f"pg/{each.name}" for each in configuration().resources]
    if len(known) == 1:
        return known[0]
    hint = f"--resource {known[0]}" if known else "name a database in hoop.yaml"
    raise HoopError(f"which resource? (got {len(known)} in hoop.yaml, expected --resource)", hint, status=2)


def _configured() -> Path:
    named = configuration().policy
    if named is None:
        raise HoopError("hoop.yaml names no policy", "--policy FILE names one", status=2)
    return Path(named)


def _tell(kind: str, problems: list[Problem]) -> None:
    for problem in problems:
        print(escaped(f"{kind}: {problem}", layout=True))


def _report(path: Path, outcomes: list[Outcome]) -> None:
    print(escaped(str(path)))
    for outcome in outcomes:
        said = outcome.failure or outcome.error
        word = "ERROR" if outcome.error else "FAIL" if outcome.failure else "ok"
        print(escaped(f"  {word:5}  {outcome.case.name}"))
        for line in (said, outcome.note):
            if line:
                print(escaped(f"         {line}"))


def _summarize(outcomes: list[Outcome]) -> None:
    failed = sum(outcome.failure is not None for outcome in outcomes)
    errors = sum(outcome.error is not None for outcome in outcomes)
    print(
        f"{len(outcomes) - failed - errors} passed, {failed} failed"
        + (f", {_count(errors, 'error')}" if errors else "")
    )
    if failed or errors:
        raise typer.Exit(1)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
