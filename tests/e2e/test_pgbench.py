"""pgbench runs through the agent in each of its modes, and counts no failure."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e import servers
from tests.e2e.conftest import program
from tests.e2e.endpoint import Endpoint
from tests.e2e.servers import Server


def pgbench(endpoint: Endpoint, *arguments: str) -> str:
    """pgbench 18's report. It must end with status 0."""
    done = subprocess.run(
        [program(servers.embedded(), "pgbench"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=endpoint.environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def filled(direct: Endpoint, pg18: Server) -> Iterator[None]:
    pgbench(direct, "-i", "-q", "-s", "1")
    yield
    pg18.sql("DROP TABLE pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers", database="app")


@pytest.mark.parametrize("mode", ["simple", "extended", "prepared"])
@pytest.mark.parametrize("script", ["select-only", "tpcb-like"])
def test_modes(filled: None, through: Endpoint, mode: str, script: str) -> None:
    """200 transactions of each of 4 clients, none failed."""
    report = pgbench(through, "-n", "-c", "4", "-t", "200", "-M", mode, "-b", script)
    assert "number of transactions actually processed: 800/800" in report
    assert re.search(r"number of failed transactions: 0 \(", report)


def test_initialisation(filled: None, through: Endpoint) -> None:
    """pgbench -i: DDL, COPY of 100,000 rows, VACUUM."""
    pgbench(through, "-i", "-q", "-s", "1")


def test_pipelines(filled: None, through: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A script of \\startpipeline and \\endpipeline."""
    script = tmp_path_factory.mktemp("pgbench") / "pipeline.sql"
    statements = "".join(f"SELECT abalance FROM pgbench_accounts WHERE aid = {n};\n" for n in range(1, 40))
    script.write_text(f"\\startpipeline\nBEGIN;\n{statements}END;\n\\endpipeline\n")
    for mode in ("extended", "prepared"):
        report = pgbench(through, "-n", "-c", "2", "-t", "20", "-M", mode, "-f", str(script))
        assert "processed: 40/40" in report
