"""Attacks on rules, and ordinary work beside them, through the agent and without it.

A corpus is a TOML file of cases. `probe.py` plays them, each in the simple and in the extended protocol: an attack must
leave the database as it was, ordinary work must be answered as the database itself answers. The corpora of tests/bypass
are our own; those that come with the probe lie beside the repository, in `shared/bypass` (`HOOPCTL_SHARED` says where
else).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import servers
from tests.e2e.agent import AgentProcess
from tests.e2e.servers import Server

OWN = Path(__file__).parents[1] / "bypass"
SHARED = Path(os.environ.get("HOOPCTL_SHARED") or Path(__file__).parents[3] / "shared") / "bypass"
PROBE = SHARED / "probe.py"
DATABASE = "shop"
MINUTES = 20
ONLY_WITH = {"guard15": 15, "guard18": 18}
"""Corpora whose attacks work on one version of the server only."""


NEWEST = servers.embedded().major if not os.environ.get("HOOPCTL_ALL") else 0


@dataclass(frozen=True)
class Shop:
    """A server with the database `shop`, and the agent in front of it under the policy of a folder of corpora."""

    server: Server
    agent: AgentProcess

    def probe(self, kind: str, corpus: Path) -> subprocess.CompletedProcess[str]:
        direct = f"127.0.0.1:{self.server.port}/{DATABASE}?user=postgres"
        proxy = f"127.0.0.1:{self.agent.port}/{DATABASE}?user=crew&password={self.agent.token()}"
        return subprocess.run(
            [sys.executable, str(PROBE), "--direct", direct, "--proxy", proxy, "--kind", kind, str(corpus)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=MINUTES * 60,
            check=False,
        )


def corpora(folder: Path, kind: str) -> list[Path]:
    """Those of a kind; what masks leave alone is played by test_masking_bypass."""
    return sorted(path for path in folder.glob(f"{kind}*.toml") if path.stem != "benign-masked")


PLAYED = [
    (folder, kind, path) for folder in (OWN, SHARED) for kind in ("guard", "benign") for path in corpora(folder, kind)
]


@pytest.fixture(scope="module", params=["18", "system"])
def shop_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of its own: the corpora change roles and settings of the whole of it."""
    if not PROBE.exists():
        pytest.skip(f"there is no {PROBE} (it lies beside the repository, or HOOPCTL_SHARED says where)")
    binaries = servers.embedded()
    if request.param == "system":
        binaries = request.getfixturevalue("system_binaries")
    server = Server(binaries).start()
    server.sql(f"CREATE DATABASE {DATABASE}")
    yield server
    server.remove()


@pytest.fixture(scope="module")
def shop(
    request: pytest.FixtureRequest, shop_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """The agent under the policy of the folder that is the parameter. It logs in as a superuser, lest an attack fail
    for want of a right."""
    upstream = f"postgresql://postgres@127.0.0.1:{shop_server.port}/{DATABASE}?sslmode=disable"
    resource = {"name": DATABASE, "type": "pg", "upstream": upstream}
    policy = str(request.param / "policy.yaml")
    agent = AgentProcess(tmp_path_factory.mktemp("shop"), [resource], policy=policy).start()
    yield Shop(shop_server, agent)
    agent.stop()


@pytest.mark.parametrize(
    ("shop", "kind", "corpus"),
    PLAYED,
    ids=[f"{'ours' if folder == OWN else 'shared'}-{path.stem}" for folder, _, path in PLAYED],
    indirect=["shop"],
    scope="module",
)
def test_corpus(shop: Shop, kind: str, corpus: Path) -> None:
    """No attack changes what a rule forbids to change; ordinary work is answered as without the agent."""
    if ONLY_WITH.get(corpus.stem) not in (None, shop.server.binaries.major):
        pytest.skip(f"its attacks do not work on PostgreSQL {shop.server.binaries.major}")
    if corpus.parent == OWN and corpus.stem not in ONLY_WITH and NEWEST not in (0, shop.server.binaries.major):
        pytest.skip("ours are played on the newest server; with older ones by `pytest -k system` and HOOPCTL_ALL=1")
    done = shop.probe(kind, corpus)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    said = "\n".join([*failed, *done.stdout.splitlines()[-1:], done.stderr[-4000:]])
    assert done.returncode == 0, f"{len(failed)} cases did not hold:\n{said}"


def test_our_corpora_are_as_large_as_promised() -> None:
    """There are at least 100 attacks and 60 pieces of ordinary work of our own; no two of a file have one name."""
    for kind, least in (("guard", 100), ("benign", 60)):
        found = 0
        for path in corpora(OWN, kind):
            names = [case["name"] for case in tomllib.loads(path.read_text())["case"]]
            assert len(names) == len(set(names)), f"{path.name}: {sorted(n for n in names if names.count(n) > 1)}"
            found += len(names)
        assert found >= least
