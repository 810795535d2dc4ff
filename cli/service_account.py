"""`hoopctl service-account`: who may connect without being a person at a browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from cli.client import AgentAbsent, client
from cli.errors import HoopError
from cli.tables import Format, show

if TYPE_CHECKING:
    from agent.identity.accounts import Accounts

FormatOption = Annotated[Format | None, typer.Option("--format", help="How to print it.")]

app = typer.Typer(help="Create, list and revoke service accounts: names, groups and tokens for programs.")

_Answer = TypeVar("_Answer")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is called; the subject of its sessions.")],
    group: Annotated[list[str] | None, typer.Option("--group", "-g", help="A group that it is in; repeat it.")] = None,
    expires: Annotated[str | None, typer.Option(help="How long its token is good: 90d. Without: for ever.")] = None,
    acts_for: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="Subjects on whose behalf it may act; repeat it.")
    ] = None,
) -> None:
    """Create a service account; its token is printed once, alone on standard output.

    \b
    Example:
      hoopctl service-account create etl --group staff --expires 90d > token
    """
    expires_in = _seconds(expires)
    groups, subjects = group or [], acts_for or []
    asked = {"name": name, "groups": groups, "expires_in": expires_in, "acts_for": subjects}
    token = _administered(
        lambda: str(client().post("service-accounts", body=asked)["token"]),
        lambda accounts: accounts.create(name, groups, expires_in, subjects),
    )
    print(token)


@app.command("list")
def list_(format_: FormatOption = None) -> None:
    """List the service accounts, the revoked ones too. Tokens are nowhere to be listed from.

    \b
    Example:
      hoopctl service-account list --format json
    """
    accounts: Sequence[Mapping[str, Any]] = _administered(
        lambda: client().get("service-accounts"),
        lambda accounts: [vars(account) for account in accounts.list()],
    )
    columns = ("name", "groups", "acts_for", "state", "created_at", "expires_at", "revoked_at", "credential_id")
    now = time.time()
    show([_row(account, now) for account in accounts], columns, format_)


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The account to end.")]) -> None:
    """Revoke a service account: its token is refused from now on, and its live sessions end.

    \b
    Example:
      hoopctl service-account revoke etl
    """
    _administered(
        lambda: client().delete("service-accounts", name),
        lambda accounts: {"credentials": len(accounts.revoke(name))},
    )


def _row(account: Mapping[str, Any], now: float) -> dict[str, object]:
    expires_at = account["expires_at"]
    ended = expires_at is not None and now >= expires_at
    times = {name: _moment(account[name]) for name in ("created_at", "expires_at", "revoked_at")}
    state = "revoked" if account["revoked_at"] is not None else "expired" if ended else "valid"
    lists = {name: list(account[name]) for name in ("groups", "acts_for")}
    return {**account, **lists, **times, "state": state}


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _seconds(written: str | None) -> float | None:
    from agent.store.document import duration

    if written is None:
        return None
    seconds = duration(written)
    if seconds is None or not 0 < seconds <= 1e10:
        raise HoopError(f"--expires should be a time (got {written}, expected one such as 90d or 12h)", status=2)
    return seconds


def _administered(by_agent: Callable[[], _Answer], by_hand: Callable[[Accounts], _Answer]) -> _Answer:
    """What the agent answers, so that it notes the change and ends sessions; when none runs, what the control database
    itself says."""
    try:
        return by_agent()
    except AgentAbsent:
        return _by_hand(by_hand)


def _by_hand(act: Callable[[Accounts], _Answer]) -> _Answer:
    from agent.identity.accounts import Accounts
    from agent.store.control import open_database
    from cli.context import state

    database = open_database(state())
    try:
        return act(Accounts(database, time.time))
    finally:
        database.close()
