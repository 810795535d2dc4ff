"""`hoopctl doctor`: what is well, what isn't, and what to do about it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import context
from cli.client import AgentAbsent, client
from cli.errors import HoopError
from cli.tables import Format, show

if TYPE_CHECKING:
    from schemas.configuration import Configuration

FormatOption = Annotated[Format | None, typer.Option("--format", help="How to print it.")]

NAMES = ("agent", "bot", "cli", "schemas")
LEAST_SPACE = 1 << 30
"""Bytes free below which doctor fails: an hour of a busy journal."""
LITTLE_SPACE = 10 << 30


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `state`: ok, warning (works, but), problem (doesn't); `advice`: what to do."""

    check: str
    state: str
    found: str
    advice: str | None = None


def command(format_: FormatOption = None) -> None:
    """Check the installation, the configuration, the policy and what is reached. Exit status 1 when something is wrong.

    \b
    Example:
      hoopctl --config /etc/hoopctl/hoop.yaml doctor
    """
    findings = list(examined())
    columns = ("check", "state", "found", "advice")
    show([{name: getattr(finding, name) for name in columns} for finding in findings], columns, format_)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def examined() -> Iterator[Finding]:
    """All findings, in the order in which things depend on one another."""
    yield from (python(), owners(), compiled(), psql())
    try:
        configuration = context.configuration()
    except HoopError as error:
        yield Finding("configuration", "problem", error.message, error.hint)
        return
    yield Finding("configuration", "ok", configuration.source)
    for key in configuration.later:
        yield Finding("configuration", "warning", f"{key} is not in this version", "it has no effect yet")
    yield from policy(configuration)
    yield from guarded("secrets", lambda: secrets(configuration))
    yield from private(Path(configuration.state))
    yield from (space("state", Path(configuration.state)), space("audit", Path(configuration.audit.path)))
    yield from guarded("agent", lambda: agent(configuration))


def guarded(check: str, examine: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; its own failure is one more."""
    try:
        yield from examine()
    except HoopError as error:
        yield Finding(check, "problem", error.message, error.hint)


def python() -> Finding:
    """Which Python runs this; one that is too old didn't get here."""
    return Finding("python", "ok", f"{'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}")


def owners() -> Finding:
    """Whether another distribution in this environment installs a package under one of our names."""
    from importlib.metadata import packages_distributions

    installed = packages_distributions()
    others = {name: sorted(set(installed.get(name, [])) - {"hoopctl"}) for name in NAMES}
    taken = [f"{name} is also {', '.join(found)}'s" for name, found in others.items() if found]
    if taken:
        return Finding(
            "names", "problem", "; ".join(taken), "install hoopctl in an environment of its own (pipx install hoopctl)"
        )
    return Finding("names", "ok", f"{', '.join(NAMES)} are hoopctl's alone")


def compiled() -> Finding:
    """Whether the core runs compiled."""
    from importlib.util import find_spec

    try:
        found = find_spec("agent.core.pg.session")
    except ModuleNotFoundError:
        found = None
    if found is None or found.origin is None:
        return Finding("core", "problem", "agent.core.pg.session is missing", "install hoopctl again")
    if found.origin.endswith(".so"):
        return Finding("core", "ok", "compiled")
    return Finding(
        "core", "warning", "interpreted (slower, otherwise the same)", "install a C compiler, then hoopctl again"
    )


def psql() -> Finding:
    """Whether there is a client for `connect pg`."""
    found = shutil.which("psql")
    if found is None:
        return Finding(
            "psql",
            "warning",
            "not found on PATH",
            "install it (Debian: apt install postgresql-client) or use connect --client or --print",
        )
    try:
        done = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("psql", "problem", f"{found} can't be run ({error})", "install it again")
    return Finding("psql", "ok", f"{done.stdout.strip()}, {found}")


def secrets(configuration: Configuration) -> Iterator[Finding]:
    """Whether the files that secrets come from are there and the agent's alone. Commands aren't run and variables of
    the agent's environment can't be seen from here."""
    for resource in configuration.resources:
        if resource.password is None or resource.password.file is None:
            continue
        file = Path(resource.password.file)
        check = f"pg/{resource.name} password"
        try:
            mode = file.stat().st_mode
        except OSError as error:
            yield Finding(check, "problem", f"{file}: {(error.strerror or str(error)).lower()}", "create it, mode 600")
            continue
        if mode & 0o077:
            yield Finding(
                check, "warning", f"{file} can be read by others (mode {mode & 0o777:03o})", f"chmod 600 {file}"
            )


def policy(configuration: Configuration) -> Iterator[Finding]:
    """Whether the policy can be used, and what in it probably isn't meant so."""
    from agent.store.policy import PolicyError, check

    if configuration.policy is None:
        yield Finding("policy", "warning", "none: everything is allowed", f"name one in {configuration.source}")
        return
    try:
        found, warnings = check(Path(configuration.policy))
    except PolicyError as error:
        advice = f"correct it; hoopctl policy check {configuration.policy} checks it again"
        yield from (Finding("policy", "problem", str(problem), advice) for problem in error.problems)
        warnings = error.warnings
    else:
        counted = f"{len(found.rules)} rules, {len(found.masks)} masks, version {found.version}"
        yield Finding("policy", "ok", f"{configuration.policy}: {counted}")
    for warning in warnings:
        yield Finding("policy", "warning", str(warning), "if it is meant so, leave it")


def private(state: Path) -> Iterator[Finding]:
    """Whether the state directory and the secrets in it are their owner's alone."""
    if not state.exists():
        yield Finding("state", "ok", f"{state} is made when the agent starts")
        return
    wrong = False
    for path, expected in (
        (state, 0o700),
        (state / "control.db", 0o600),
        (state / "control.sock", 0o600),
        (state / "tls" / "ca.key", 0o600),
        (state / "tls" / "agent.key", 0o600),
    ):
        try:
            mode = path.lstat().st_mode & 0o777
        except OSError:
            continue
        if mode & 0o077:
            wrong = True
            found = f"{path} is open to others (got mode {mode:03o}, expected {expected:03o})"
            yield Finding("state", "problem", found, f"chmod {expected:03o} {path}")
    if not wrong:
        yield Finding("state", "ok", f"{state} is private")


def space(name: str, directory: Path) -> Finding:
    """Whether there is room: when the journal can't be written, nothing is let through."""
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    found = f"{free / (1 << 30):.1f} GB free for {directory}"
    if free < LEAST_SPACE:
        return Finding(f"{name} disk", "problem", found, "make room: without it no statement is let through")
    return Finding(
        f"{name} disk",
        "warning" if free < LITTLE_SPACE else "ok",
        found,
        "make room before it runs out" if free < LITTLE_SPACE else None,
    )


def agent(configuration: Configuration) -> Iterator[Finding]:
    """Whether the agent answers, and whether it reaches each resource."""
    from cli.resources import checked

    try:
        client(timeout=10.0).get("status")
    except AgentAbsent as error:
        yield Finding("agent", "warning", error.message, error.hint)
        return
    yield Finding("agent", "ok", "answers")
    if not configuration.resources:
        yield Finding("resources", "warning", "none in hoop.yaml", f"name a database in {configuration.source}")
    for resource in configuration.resources:
        found = checked(f"pg/{resource.name}")
        if not found["reached"]:
            yield Finding(
                f"pg/{resource.name}",
                "problem",
                str(found.get("error") or "not reached"),
                found.get("hint") or f"check upstream and password in {configuration.source}",
            )
            continue
        reached = f"reached, {found.get('tls') or 'without TLS'}, server {found.get('server_version') or 'unknown'}"
        yield Finding(f"pg/{resource.name}", "ok", reached)
