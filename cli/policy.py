"""`hoopctl policy`: checks a policy, tests it, and says what it would have decided."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.context import configuration
from cli.errors import HoopError
from cli.escape import escaped
from cli.recorded import evidence
from cli.tables import Format, show

if TYPE_CHECKING:
    from agent.store.document import Problem
    from cli.policy_cases import Outcome, Reader

app = typer.Typer(help="Check and test a policy, and say what it would have decided.")

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
    resource: Annotated[str, typer.Option(metavar="TYPE/NAME", help="Where it would run.")],
    statement: Annotated[str | None, typer.Argument(metavar="[STATEMENT]", help="What would run.")] = None,
    operation: Annotated[
        list[str] | None, typer.Option(metavar="OPERATION", help='What it does, "VERB OBJECT", instead of asking.')
    ] = None,
    subject: Annotated[str, typer.Option(help="Who would run it.")] = "somebody",
    group: Annotated[list[str] | None, typer.Option(help="A group of theirs.")] = None,
    actor: Annotated[str | None, typer.Option(help="The service that acts for them.")] = None,
    where: Annotated[bool, typer.Option("--where/--no-where", help="Whether its UPDATE or DELETE has a WHERE.")] = True,
    policy: Annotated[Path | None, typer.Option(metavar="FILE", help="Another policy than hoop.yaml's.")] = None,
    format_: FormatOption = None,
) -> None:
    """Say which rule decides, and why: rule by rule for each operation.

    \b
    Example:
      hoopctl policy explain --operation "DELETE app.users" --resource pg/prod --group staff
    """
    from agent.core.policy import verbs
    from agent.store.policy import PolicyError, load
    from cli.policy_cases import ReaderError
    from cli.policy_explain import COLUMNS, explain, verdict_line
    from schemas.identity import Identity

    if operation:
        operations = tuple(verbs.operation(each, where) for each in operation)
    else:
        asked = reader(resource)
        if statement is None or asked is None:
            missing = "what a statement does is the database's to say, and none is to be had here"
            raise HoopError(
                "nothing to explain (expected a STATEMENT or --operation)" if statement is None else missing,
                'name what it does: --operation "DELETE app.users"',
                status=2,
            )
        try:
            operations = asked.read(statement)
        except ReaderError as error:
            raise HoopError(str(error), 'or name what it does: --operation "DELETE app.users"') from error
    try:
        found = load(policy or _configured())
    except PolicyError as error:
        raise HoopError(error.message, error.hint, status=2) from error
    identity = Identity(subject, tuple(group or ()), actor)
    verdict, rows = explain(found, identity, resource, operations, statement or "")
    show(rows, COLUMNS, format_)
    typer.echo(escaped(verdict_line(verdict)), err=True)


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
    if left:
        said.append(f"{left} recorded without their operations and left out: no rule was about their sessions")
    typer.echo("\n".join(said), err=True)


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
    """What tells the operations of a statement on this resource; None: nothing here can."""
    return None


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
        if said:
            print(escaped(f"         {said}"))


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
