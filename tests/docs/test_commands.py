from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from cli.main import COMMANDS, load_command
from tests.docs import pages

PAGE = (pages.ROOT / "docs" / "commands.md").read_text()


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be called, with its sub-commands under their full names."""
    for name in COMMANDS:
        command = load_command(name)
        below = getattr(command, "commands", None)
        if below is None:
            yield name, command
        else:
            yield from ((f"{name} {sub}", each) for sub, each in below.items() if not each.hidden)


@cache
def known() -> dict[str, Any]:
    return dict(commands())


def test_every_command_is_documented() -> None:
    """The page has one section a command, in the order of `hoopctl --help`, and none for what is not a command."""
    documented = [title.removeprefix("hoopctl ") for title in pages.headings(PAGE) if title.startswith("hoopctl ")]
    assert documented == list(known())


@pytest.mark.parametrize("name", known())
def test_every_option_is_documented(name: str) -> None:
    """A command's section names every option and argument that it takes."""
    text = pages.section(PAGE, f"hoopctl {name}")
    missing = []
    for parameter in known()[name].params:
        if getattr(parameter, "hidden", False):
            continue
        words = [word for word in parameter.opts if word.startswith("--")]
        words = words or [parameter.metavar or parameter.name.upper()]
        missing += [word for word in words if word not in text]
    assert not missing
