"""psql can't tell the agent from the server: every byte it prints and its exit status are the same."""

from __future__ import annotations

import difflib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e import servers
from tests.e2e.conftest import program
from tests.e2e.endpoint import Endpoint

SCRIPTS = Path(__file__).parent / "scripts"
Answer = tuple[int, str, str]


def psql(binary: str, endpoint: Endpoint, *arguments: str, text: str | None = None, **environment: str) -> Answer:
    """Exit status, standard output and standard error; process ids and the port replaced."""
    done = subprocess.run(
        [binary, "-X", *arguments],
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=endpoint.environment(**environment),
        cwd=SCRIPTS,
    )
    return done.returncode, masked(done.stdout, endpoint), masked(done.stderr, endpoint)


def assert_same(ours: Answer, theirs: Answer) -> None:
    """Fails with a diff, by lines, of what was printed through the agent and directly."""
    __tracebackhide__ = True
    for title, mine, right in zip(("output", "error"), ours[1:], theirs[1:], strict=True):
        diff = difflib.unified_diff(
            right.splitlines(), mine.splitlines(), f"{title}, direct", f"{title}, agent", "", "", 1
        )
        lines = list(diff)
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)
    assert ours == theirs


def masked(text: str, endpoint: Endpoint) -> str:
    text = re.sub(r"(process with PID|Process ID:|lo_import) \d+", r"\1 PID", text)
    return re.sub(r"\b\d+\b(?= failed)", "PORT", text) if str(endpoint.port) in text else text


@pytest.fixture(scope="module")
def psql18() -> str:
    return program(servers.embedded(), "psql")


@pytest.fixture(scope="module")
def psql15(system_binaries: servers.Binaries) -> str:
    return program(system_binaries, "psql")


@pytest.mark.parametrize("script", ["everyday.sql", "modern.sql"])
def test_psql_18_on_18(psql18: str, direct: Endpoint, through: Endpoint, script: str) -> None:
    """psql 18 on PostgreSQL 18, plain text: everyday use, and what 16 to 18 added."""
    assert_same(psql(psql18, through, "-a", "-f", script), psql(psql18, direct, "-a", "-f", script))


def test_psql_15_on_18(psql15: str, direct: Endpoint, through: Endpoint) -> None:
    """psql 15 on PostgreSQL 18, plain text."""
    assert_same(psql(psql15, through, "-a", "-f", "everyday.sql"), psql(psql15, direct, "-a", "-f", "everyday.sql"))


def test_psql_15_on_15_over_tls(psql15: str, direct15: Endpoint, through15: Endpoint) -> None:
    """psql 15 on PostgreSQL 15 with TLS on both sides of the agent."""
    assert_same(psql(psql15, through15, "-a", "-f", "everyday.sql"), psql(psql15, direct15, "-a", "-f", "everyday.sql"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "SELECT 1", "-c", "SELECT 2"),
        ("-c", "SELECT 1; SELECT 1/0"),
        ("-At", "-c", "SELECT name FROM people ORDER BY id"),
        ("-v", "ON_ERROR_STOP=1", "-c", "SELECT 1/0", "-c", "SELECT 2"),
        ("-1", "-c", "SELECT 1", "-c", "SELECT nonsense"),
        ("--csv", "-c", "\\l"),
        ("--html", "-c", "TABLE grown"),
        ("-c", "\\conninfo_is_not_a_command"),
        ("-f", "missing.sql"),
        ("-v", "ON_ERROR_STOP=1", "-f", "modern.sql"),
    ],
)
def test_arguments(psql18: str, direct: Endpoint, through: Endpoint, arguments: tuple[str, ...]) -> None:
    """Whatever psql is called with, its output and exit status are the same."""
    assert_same(psql(psql18, through, *arguments), psql(psql18, direct, *arguments))


def test_options_of_the_startup_packet(psql18: str, direct: Endpoint, through: Endpoint) -> None:
    """Settings in PGOPTIONS and the client's own reach the server."""
    ask = (
        "-At",
        "-c",
        "SELECT current_setting('work_mem'), current_setting('search_path'), current_setting('DateStyle')",
    )
    more = ("-c", "SELECT current_setting('application_name'), current_setting('client_encoding')")
    words = {"PGOPTIONS": "-c work_mem=5MB --search-path=pg_temp\\ ", "PGDATESTYLE": "SQL, DMY"}
    words |= {"PGAPPNAME": "mine", "PGCLIENTENCODING": "LATIN1"}
    assert_same(psql(psql18, through, *ask, *more, **words), psql(psql18, direct, *ask, *more, **words))


def test_standard_input_with_copy(psql18: str, direct: Endpoint, through: Endpoint) -> None:
    """COPY data that follows the statement on standard input, 20,000 rows there and back."""
    rows = "".join(f"{i}\trow {i}\n" for i in range(20_000))
    text = f"CREATE TEMP TABLE t (a int, b text);\nCOPY t FROM STDIN;\n{rows}\\.\nCOPY t TO STDOUT;\n"
    answer = psql(psql18, through, "-q", text=text)
    assert_same(answer, psql(psql18, direct, "-q", text=text))
    assert answer[1] == rows


def interrupted(binary: str, endpoint: Endpoint) -> Answer:
    """What psql prints when SIGINT comes while the server is busy, and that it goes on."""
    process = subprocess.Popen(
        [binary, "-X", "-f", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=endpoint.environment(),
        bufsize=1,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("\\echo begin\nSELECT pg_sleep(30);\n")
    process.stdin.flush()
    assert process.stdout.readline() == "begin\n"
    time.sleep(0.5)
    began = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate("SELECT 'goes on' AS it;\n", timeout=40)
    assert time.monotonic() - began < 10
    return process.returncode, out, err


def test_interrupt(psql18: str, psql15: str, direct: Endpoint, through: Endpoint, through15: Endpoint) -> None:
    """SIGINT cancels the statement through a key of the agent's own; psql then goes on."""
    answer = interrupted(psql18, through)
    assert_same(answer, interrupted(psql18, direct))
    assert "canceling statement due to user request" in answer[2]
    assert "canceling statement due to user request" in interrupted(psql15, through15)[2]


def test_wrong_token(psql18: str, through: Endpoint) -> None:
    """A wrong token is refused in a way that psql shows as any failed login, status 2."""
    status, out, err = psql(psql18, through, "-c", "SELECT 1", PGPASSWORD="hoop_sa_wrong")
    assert (status, out) == (2, "")
    assert "FATAL" in err
    assert "hoop_sa_wrong" not in err
