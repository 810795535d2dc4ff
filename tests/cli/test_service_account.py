"""`hoopctl service-account` without an agent: on the control database itself."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from agent.identity.accounts import Accounts, Proof, Refusal
from agent.store.control import open_database
from cli.main import run


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "hoop.yaml").write_text("version: 1\n")
    return str(tmp_path / "hoop.yaml")


def test_token_alone_on_standard_output(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`create` prints the token and nothing else, and the token works."""
    assert run(["--config", config, "service-account", "create", "etl", "-g", "a", "-g", "b", "--expires", "90d"]) == 0
    printed = capsys.readouterr()
    token = printed.out.removesuffix("\n")
    assert token.startswith("hoop_sa_")
    assert "\n" not in token
    database = open_database(tmp_path / "state")
    found = Accounts(database, time.time).authenticate(token)
    assert isinstance(found, Proof)
    assert found.identity.groups == ("a", "b")
    assert run(["--config", config, "service-account", "revoke", "etl"]) == 0
    assert isinstance(Accounts(database, time.time).authenticate(token), Refusal)
    database.close()


def test_list(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`list` tells every account with its state, and no token."""
    run(["--config", config, "service-account", "create", "etl", "--expires", "90d"])
    run(["--config", config, "service-account", "create", "gone"])
    tokens = capsys.readouterr().out.split()
    run(["--config", config, "service-account", "revoke", "gone"])
    assert run(["--config", config, "service-account", "list", "--format", "json"]) == 0
    out = capsys.readouterr().out
    assert [(row["name"], row["state"]) for row in json.loads(out)] == [("etl", "valid"), ("gone", "revoked")]
    assert not any(token in out for token in tokens)


@pytest.mark.parametrize(
    "arguments, status, expected",
    [
        (["create", "a b"], 1, "can't be a service account's name"),
        (["create", "etl", "--expires", "90"], 2, "--expires should be a time (got 90"),
        (["create", "etl", "--expires", "0s"], 2, "--expires should be a time"),
        (["revoke", "nobody"], 1, "no service account named 'nobody'"),
    ],
)
def test_refusals(
    config: str, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, expected: str
) -> None:
    """What can't be is said, with nothing on standard output."""
    assert run(["--config", config, "service-account", *arguments]) == status
    printed = capsys.readouterr()
    assert expected in printed.err
    assert printed.out == ""
