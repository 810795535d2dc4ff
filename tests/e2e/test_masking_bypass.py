"""Attacks on masks, and ordinary work beside them, through the agent and without it.

`probe.py` plays the corpora as in test_policy_bypass: no value of a masked column may be in anything that arrives, no
guess about one may be answered, and what has nothing to do with masked columns is answered as by the database. The
corpora of tests/bypass are our own; the one that comes with the probe is played on the system's server, too.
"""

from __future__ import annotations

import importlib.util
import struct
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import servers
from tests.e2e.agent import AgentProcess
from tests.e2e.servers import Server
from tests.e2e.test_policy_bypass import DATABASE, OWN, PROBE, SHARED, Shop

NEWEST = sorted(OWN.glob("masking*.toml"))
PLAYED = [
    *(("18", "masking", path) for path in [SHARED / "masking.toml", *NEWEST]),
    ("18", "benign", OWN / "benign-masked.toml"),
    ("system", "masking", SHARED / "masking.toml"),
]


@pytest.fixture(scope="module")
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A server of the kind that is the parameter, and the agent under the probe's own policy, which has the masks. It
    logs in as a superuser, lest an attack fail for want of a right."""
    if not PROBE.exists():
        pytest.skip(f"there is no {PROBE} (it lies beside the repository, or HOOPCTL_SHARED says where)")
    binaries = servers.embedded()
    if request.param == "system":
        binaries = request.getfixturevalue("system_binaries")
    server = Server(binaries).start()
    server.sql(f"CREATE DATABASE {DATABASE}")
    upstream = f"postgresql://postgres@127.0.0.1:{server.port}/{DATABASE}?sslmode=disable"
    resource = {"name": DATABASE, "type": "pg", "upstream": upstream}
    policy = str(SHARED / "policy.yaml")
    agent = AgentProcess(tmp_path_factory.mktemp("masked"), [resource], policy=policy).start()
    yield Shop(server, agent)
    agent.stop()
    server.remove()


@pytest.mark.parametrize(
    ("shop", "kind", "corpus"),
    PLAYED,
    ids=[f"{server}-{'ours' if path.parent == OWN else 'shared'}-{path.stem}" for server, _, path in PLAYED],
    indirect=["shop"],
    scope="module",
)
def test_corpus(shop: Shop, kind: str, corpus: Path) -> None:
    """No masked value arrives and no guess is answered; ordinary work is answered as without the agent."""
    done = shop.probe(kind, corpus)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    said = "\n".join([*failed, *done.stdout.splitlines()[-1:], done.stderr[-4000:]])
    assert done.returncode == 0, f"{len(failed)} cases did not hold:\n{said}"


def _execute(wire: Any, portal: bytes) -> None:
    wire.send(b"E", portal + b"\0" + struct.pack("!I", 0))
    wire.send(b"S")
    wire.until_ready()


@pytest.mark.parametrize("shop", ["18"], indirect=True)
def test_portals_and_cursors_are_the_same_to_the_server(shop: Shop) -> None:
    """A cursor that SQL declared can't be read by Execute, nor a portal of the protocol's by code."""
    spec = importlib.util.spec_from_file_location("probe", PROBE)
    assert spec is not None and spec.loader is not None
    probe: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(probe)
    probe.Bench(f"127.0.0.1:{shop.server.port}/{DATABASE}?user=postgres", "").admin.close()
    wire = probe.Wire(f"127.0.0.1:{shop.agent.port}/{DATABASE}?user=crew&password={shop.agent.token()}")
    for statement in ("begin", "declare c cursor for select email from app.users"):
        wire.simple(statement)
    _execute(wire, b"c")
    assert probe.failed(wire.heard) and probe.leak(wire.heard, None) is None
    wire.simple("rollback")
    wire.simple("begin")
    wire.send(b"P", b"\0select email from app.users\0\0\0")
    wire.send(b"B", b"p\0\0" + bytes(6))
    wire.send(b"S")
    wire.until_ready()
    wire.heard.clear()
    wire.simple("do $$ declare c refcursor := 'p'; v text; begin fetch c into v; raise notice '%', v; end $$")
    assert probe.failed(wire.heard) and probe.leak(wire.heard, None) is None
    wire.close()


def test_our_corpora_are_as_large_as_promised() -> None:
    """There are at least 150 attacks and 60 pieces of ordinary work of our own; no two have one name."""
    for paths, least in ((NEWEST, 150), ([OWN / "benign-masked.toml"], 60)):
        names = [case["name"] for path in paths for case in tomllib.loads(path.read_text())["case"]]
        assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
        assert len(names) >= least
