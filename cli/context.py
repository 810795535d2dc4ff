"""What this invocation of hoopctl works with: the global options, and the configuration that they lead to."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import HoopError

if TYPE_CHECKING:
    from schemas.configuration import Configuration

SYSTEM = Path("/etc/hoopctl/hoop.yaml")


@dataclass(frozen=True)
class Invocation:
    """The options that stand before the command. `config` and `agent` are as the user wrote them."""

    config: Path | None = None
    agent: str | None = None
    debug: bool = False


_current: ContextVar[Invocation] = ContextVar("invocation")


def current() -> Invocation:
    """The options of this invocation."""
    return _current.get(Invocation())


def enter(invocation: Invocation) -> None:
    """Makes these the options of this invocation."""
    _current.set(invocation)


def candidates(environment: Mapping[str, str]) -> list[Path]:
    """Where hoop.yaml is looked for when `--config` doesn't say, in order."""
    named = environment.get("HOOPCTL_CONFIG")
    if named:
        return [Path(named)]
    home = Path(environment.get("HOME") or "~").expanduser()
    return [Path("hoop.yaml"), home / ".config" / "hoopctl" / "hoop.yaml", SYSTEM]


def configuration_file() -> Path:
    """The hoop.yaml that this invocation goes by: `--config`, else $HOOPCTL_CONFIG, else the first that exists of
    ./hoop.yaml, ~/.config/hoopctl/hoop.yaml and /etc/hoopctl/hoop.yaml. Raises HoopError when there is none."""
    given = current().config
    places = [given] if given is not None else candidates(os.environ)
    for place in places:
        if place.is_file():
            if given is None and not os.environ.get("HOOPCTL_CONFIG"):
                _refuse_strange(place)
            return place.absolute()
    if len(places) == 1:
        problem = "is not a file" if places[0].exists() else "does not exist"
        raise HoopError(f"the configuration {places[0]} {problem}", "hoopctl init writes one", status=2)
    looked = ", ".join(str(place) for place in places)
    raise HoopError(
        f"no configuration found (looked for {looked})",
        "hoopctl init writes one; --config FILE or $HOOPCTL_CONFIG names one",
        status=2,
    )


def _refuse_strange(place: Path) -> None:
    # A configuration runs commands and says who is told a token. Somebody else's, say in /tmp, is not picked up by
    # chance; naming it is another matter.
    found = place.stat()
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o002:
        raise HoopError(
            f"the configuration {place.absolute()} can be written by others (got uid {found.st_uid}, "
            f"mode {found.st_mode & 0o777:03o})",
            f"if you trust it, name it: --config {shlex.quote(str(place))}",
            status=2,
        )


def configuration() -> Configuration:
    """The configuration of this invocation, read and checked. Raises HoopError (status 2) with every problem in it."""
    from agent.store.configuration import ConfigurationError, load

    file = configuration_file()
    try:
        return load(file)
    except ConfigurationError as error:
        raise HoopError(error.message, error.hint, status=2) from error


def state() -> Path:
    """The state directory that the configuration names."""
    return Path(configuration().state)
