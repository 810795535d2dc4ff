from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = ("setup.py", "setup.cfg", "pyproject.toml", "README.md", "LICENSE", "agent", "bot", "cli", "schemas")

pytestmark = pytest.mark.skipif(not find_spec("build"), reason="build is not installed: nox -s packaging does")


def built(folder: Path, variables: Mapping[str, str]) -> tuple[str, list[str]]:
    """What building a wheel of the source with these variables says, and the names of the files in the wheel."""
    source = folder / "source"
    source.mkdir()
    for name in BUILD:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        else:
            shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--skip-dependency-check", "."],
        cwd=source,
        env=os.environ | dict(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    (wheel,) = source.glob("dist/*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return done.stdout, archive.namelist()


def test_failed_compiler(tmp_path: Path) -> None:
    """With a compiler that fails the build succeeds, says so, and the wheel holds the core to be interpreted."""
    said, names = built(tmp_path, {"CC": "false"})
    assert "agent/core stays interpreted" in said
    assert not [name for name in names if name.endswith(".so")]
    assert "agent/core/session.py" in names


def test_no_compiler(tmp_path: Path) -> None:
    """Without a compiler nothing is translated and the build succeeds."""
    python = Path(sys.executable).parent
    _, names = built(tmp_path, {"CC": "no-such-compiler", "PATH": str(python)})
    assert not [name for name in names if name.endswith(".so")]


def test_pure(tmp_path: Path) -> None:
    """HOOPCTL_PURE gives a wheel for every platform."""
    said, names = built(tmp_path, {"HOOPCTL_PURE": "1"})
    assert "-py3-none-any.whl" in said
    assert not [name for name in names if name.endswith(".so")]
