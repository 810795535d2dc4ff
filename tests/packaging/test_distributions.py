from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest

DIST = os.environ.get("HOOPCTL_DIST", "")
pytestmark = pytest.mark.skipif(not DIST, reason="no distributions ($HOOPCTL_DIST): nox -s packaging builds them")

ROOT = Path(__file__).parents[2]
PACKAGES = {"agent", "bot", "cli", "schemas"}


@pytest.fixture(scope="module")
def wheel() -> list[str]:
    """The names of the files in the wheel."""
    (path,) = Path(DIST).glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def sdist() -> list[str]:
    """The names of the files in the source distribution, below its own folder."""
    (path,) = Path(DIST).glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return [name.partition("/")[2] for name in archive.getnames()]


def test_top_level_of_the_wheel(wheel: list[str]) -> None:
    """The wheel installs exactly the four packages, and nothing beside them."""
    top = {name.split("/")[0] for name in wheel}
    assert {name for name in top if not name.endswith(".dist-info")} == PACKAGES
    assert len(top) == len(PACKAGES) + 1


def test_wheel_holds_every_module(wheel: list[str]) -> None:
    """Every module of the source is in the wheel, to be read and for where there is no compiled one."""
    source = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert source == {name for name in wheel if name.endswith(".py")}


def test_wheel_is_typed_and_licensed(wheel: list[str]) -> None:
    """Each package says that it is typed, and the licence goes with the wheel."""
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)


def test_wheel_holds_the_compiled_core(wheel: list[str]) -> None:
    """Every module of agent/core but the packages themselves is there compiled, and so is the rest of the way of a
    statement; nothing else is."""
    way = {f"agent/net/{name}" for name in ("commit", "driver", "poller", "stream")} | {"agent/store/journal"}
    compiled = {name.split(".")[0] for name in wheel if name.endswith(".so")} - {"agent/core__mypyc"}
    modules = {name for name in wheel if name.startswith("agent/core/") and name.endswith(".py")}
    assert compiled == way | {name.removesuffix(".py") for name in modules if not name.endswith("/__init__.py")}


def test_source_distribution_can_be_built(sdist: list[str]) -> None:
    """The source distribution holds what building needs; and no test, no configuration of a tool it doesn't need."""
    assert {"setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"} <= set(sdist)
    assert not [name for name in sdist if name.startswith(("tests/", ".nox/", "state/", "audit/"))]
