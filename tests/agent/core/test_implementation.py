from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

import agent.core

MODULES = sorted(each.name for each in walk_packages(agent.core.__path__, "agent.core.") if not each.ispkg)


def test_session_is_what_it_should_be() -> None:
    """`agent.core.session` is compiled where the compiled package is under test, and interpreted elsewhere."""
    file = import_module("agent.core.session").__file__ or ""
    assert file.endswith(".so") == (os.environ.get("HOOPCTL_IMPLEMENTATION") == "compiled"), file


@pytest.mark.parametrize("name", MODULES)
def test_core_is_of_one_kind(name: str) -> None:
    """Every module of the core is compiled, or none is."""
    kinds = {Path(import_module(each).__file__ or "").suffix for each in (name, "agent.core.session")}
    assert len(kinds) == 1
