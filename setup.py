"""Compiles agent/core, and what every statement passes outside of it, with mypyc; everything else is in setup.cfg.

Without a C compiler, or with HOOPCTL_PURE set, or when compiling fails, the same source is installed to be interpreted.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.build_ext import build_ext


class BuildCore(build_ext):
    """All of the compiled core or none of it: a part of it would not import."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as failure:
            print(f"hoopctl: agent/core stays interpreted, compiling it failed: {failure}", file=sys.stderr)
            for built in map(Path, self.get_outputs()):
                built.unlink(missing_ok=True)
            self.extensions = []


def core() -> list[Any]:
    """The extensions that mypyc makes of every module in agent/core; none where they can't or shall not be made."""
    describes_only = {"egg_info", "sdist", "dist_info"} & set(sys.argv[1:])
    compiler = shutil.which(os.environ.get("CC", "cc").split()[0]) or shutil.which("gcc")
    if describes_only or not compiler or os.environ.get("HOOPCTL_PURE"):
        return []
    try:
        from mypyc.build import mypycify

        # A compiled package in a group that isn't at the top level gets a wrong __path__; ours hold a docstring only.
        modules = sorted(str(path) for path in Path("agent/core").rglob("*.py") if path.name != "__init__.py")
        modules += ["agent/net/commit.py", "agent/net/driver.py", "agent/net/poller.py", "agent/net/stream.py"]
        modules += ["agent/store/journal.py"]  # the rest of the way of every statement
        # What they import from Twisted needs no types here, and Twisted none of the building.
        options = ["--ignore-missing-imports"]
        return mypycify([*options, *modules], group_name="agent.core", opt_level="2", debug_level="0")
    except (Exception, SystemExit) as failure:
        print(f"hoopctl: agent/core stays interpreted, mypyc can't translate it: {failure}", file=sys.stderr)
        return []


setup(ext_modules=core(), cmdclass={"build_ext": BuildCore})
