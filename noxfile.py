"""What a change must pass: `nox` runs all of it, `nox -s NAME -- ARGS` one session with arguments for its tool.

Each session installs what it needs. The source distribution and the wheel are built once a run, the wheel from the
source distribution, so what is tested as compiled is what a user would install. `nox -s bench` measures; it is not
among the default sessions, because its figures mean nothing on a machine that does something else meanwhile.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "layers", "tests", "compiled", "docs", "packaging", "e2e"]

HERE = Path(__file__).parent
PACKAGES = ("agent", "bot", "cli", "schemas")
UNIT = ("--ignore=tests/e2e", "--ignore=tests/docs", "--ignore=tests/packaging")
SERVERS = {"pg_ctl": "postgresql", "psql": "postgresql-client", "pgbouncer": "pgbouncer"}
INTERPRETED = {"HOOPCTL_PURE": "1"}


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting and the changelog's fragments."""
    session.install("ruff>=0.17.6,<0.18", "towncrier>=24.8")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict over everything; setup.cfg names the files."""
    stubs = ("types-psutil", "types-PyYAML", "types-setuptools")
    session.install("-e", ".[test]", "mypy>=2.4,<3", "nox", *stubs, env=INTERPRETED)
    session.run("mypy", *session.posargs)


@nox.session
def layers(session: nox.Session) -> None:
    """Imports point one way; setup.cfg has the contracts."""
    session.install("import-linter>=2.5")
    session.run("lint-imports", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Unit and property tests, interpreted."""
    session.install("-e", ".[test]", env=INTERPRETED)
    session.run("pytest", "-n", "auto", *UNIT, *session.posargs, env={"HOOPCTL_IMPLEMENTATION": "interpreted"})


@nox.session
def compiled(session: nox.Session) -> None:
    """The same tests against the installed wheel, its core compiled by mypyc."""
    install_wheel(session)
    with away_from_source():
        session.run("python", "-m", "pytest", "-n", "auto", *UNIT, *session.posargs, env=COMPILED)


@nox.session
def e2e(session: nox.Session) -> None:
    """The installed wheel between real clients and real servers."""
    missing = install_servers(session)
    install_wheel(session)
    with away_from_source():
        shared = {"HOOPCTL_SHARED": str(HERE.parent / "shared")}  # the corpora that come with probe.py, if there
        session.run("python", "-m", "pytest", "tests/e2e", *session.posargs, env=COMPILED | shared)
    if missing:
        session.warn(f"NOT TESTED with {', '.join(missing)}: not installed, and could not be (root and apt-get needed)")


@nox.session
def packaging(session: nox.Session) -> None:
    """The first of the README's two commands, of this run's wheel, and what the distributions hold."""
    (wheel,) = distributions(session).glob("*.whl")
    session.install(f"{wheel}[demo]")
    with tempfile.TemporaryDirectory(prefix="hoopctl-") as elsewhere, session.chdir(elsewhere):
        session.run("hoopctl", "--version")
        session.run("hoopctl", "demo", "--once")
    session.install("build", "hypothesis", "msgspec", "mypy>=2.4,<3", "psutil", "pytest", "setuptools>=77.0.3")
    session.run("pytest", "tests/packaging", *session.posargs, env={"HOOPCTL_DIST": str(distributions(session))})


@nox.session
def docs(session: nox.Session) -> None:
    """What the documentation says, done: examples run, links followed, commands and columns compared."""
    install_servers(session, "psql")
    session.install("-e", ".[test]", env=INTERPRETED)
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Prints direct, pgbouncer and hoopctl side by side; see docs/performance.md."""
    install_servers(session)
    install_wheel(session)
    session.run("python", "-P", str(HERE / "bench"), *session.posargs)


COMPILED = {"HOOPCTL_IMPLEMENTATION": "compiled"}
_built: list[Path] = []


def distributions(session: nox.Session) -> Path:
    """The folder with this run's source distribution and wheel, built by the first session that asks."""
    if not _built:
        folder = Path(session.cache_dir) / "dist"
        shutil.rmtree(folder, ignore_errors=True)
        session.install("build")
        session.run("python", "-m", "build", "--outdir", str(folder), str(HERE), silent=True)
        _built.append(folder)
    return _built[0]


def install_wheel(session: nox.Session) -> None:
    """Installs this run's wheel, and fails unless its core is compiled."""
    (wheel,) = distributions(session).glob("*.whl")
    session.install(f"{wheel}[test]")
    session.run("python", "-P", "-c", "import agent.core.session as s; assert s.__file__.endswith('.so'), s.__file__")


@contextmanager
def away_from_source() -> Iterator[None]:
    """A working directory with the tests and without the packages, lest the source shadow what is installed.

    It is short and outside the checkout, because the path of a Unix-domain socket holds 107 bytes.
    """
    with tempfile.TemporaryDirectory(prefix="hoopctl-") as folder:
        shutil.copytree(HERE / "tests", Path(folder, "tests"), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(HERE / "setup.cfg", folder)
        before = os.getcwd()
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


def install_servers(session: nox.Session, *commands: str) -> list[str]:
    """Installs the system's PostgreSQL and pgbouncer, or these commands of them, where they are absent.

    Returns the names of the packages that are still missing.
    """
    wanted = {command: package for command, package in SERVERS.items() if command in commands or not commands}
    missing = [package for command, package in wanted.items() if not found(command)]
    if missing and shutil.which("apt-get") and os.geteuid() == 0:
        any_status = range(256)
        session.run("apt-get", "update", "-q", external=True, silent=True, success_codes=any_status)
        install = ("apt-get", "install", "-q", "-y", "--no-install-recommends", *missing)
        quietly = {"DEBIAN_FRONTEND": "noninteractive"}
        session.run(*install, external=True, silent=True, success_codes=any_status, env=quietly)
    missing = [package for command, package in wanted.items() if not found(command)]
    if missing:
        session.warn(f"{', '.join(missing)} missing: what needs them is not tested")
    return missing


def found(command: str) -> bool:
    """Whether a command is on the path, or where Debian keeps PostgreSQL's own."""
    return bool(
        shutil.which(command)
        or shutil.which(f"/usr/sbin/{command}")
        or list(Path("/usr/lib/postgresql").glob(f"*/bin/{command}"))
    )
