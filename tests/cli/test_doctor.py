"""`hoopctl doctor`: it finds what is wrong and says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import doctor
from cli.client import AgentAbsent
from cli.errors import HoopError
from cli.main import run


class FakeAgent:
    """Answers doctor's questions; the resource `broken` isn't reached."""

    def get(self, *words: str) -> Any:
        return {"ready": True}

    def post(self, *words: str, **_: object) -> Any:
        if "pg/broken" in words:
            return {"reached": False, "error": "password authentication failed", "hint": "check PROD_PASSWORD"}
        if "pg/gone" in words:
            raise HoopError("there is no resource 'pg/gone'")
        return {"reached": True, "tls": "TLSv1.3", "server_version": "18.1"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert run(["init", str(tmp_path / "home")]) == 0
    return tmp_path / "home"


def findings(home: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[dict[str, str]]]:
    """doctor's exit status and findings."""
    capsys.readouterr()
    status = run(["--config", str(home / "hoop.yaml"), "doctor", "--format", "json"])
    return status, json.loads(capsys.readouterr().out)


def of(found: list[dict[str, str]], check: str) -> list[dict[str, str]]:
    return [finding for finding in found if finding["check"] == check]


def test_well(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fresh installation without an agent is well, but for the agent, and how to start it is said."""
    status, found = findings(home, capsys)
    assert status == 0, found
    (agent,) = of(found, "agent")
    assert (agent["state"], agent["advice"]) == ("warning", "start it: hoopctl agent")
    assert {finding["check"] for finding in found} >= {"python", "names", "core", "psql", "configuration", "state"}


def test_open_state(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key or directory that others can read is a problem, with the command that mends it."""
    (home / "state" / "tls" / "ca.key").chmod(0o644)
    (home / "state").chmod(0o755)
    status, found = findings(home, capsys)
    assert status == 1
    assert {finding["advice"] for finding in of(found, "state")} == {
        f"chmod 700 {home}/state",
        f"chmod 600 {home}/state/tls/ca.key",
    }


def test_broken_configuration(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A configuration that can't be used is one finding, and the rest is still told."""
    (home / "hoop.yaml").write_text("version: 1\nsate: x\n")
    status, found = findings(home, capsys)
    assert status == 1
    assert "did you mean state?" in of(found, "configuration")[0]["found"]
    assert of(found, "python")


def test_policy(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The policy is read and checked: its version and warnings are told, every error is a problem."""
    (finding,) = of(findings(home, capsys)[1], "policy")
    assert finding["state"] == "ok"
    policy = home / "policy.yaml"
    policy.write_text("version: 1\nrules:\n  - {name: a, match: TRUNCATE, effect: deny}\n")
    status, found = findings(home, capsys)
    assert (status, [each["state"] for each in of(found, "policy")]) == (0, ["ok", "warning"])
    policy.write_text("version: 1\nrulez: []\ndefault: perhaps\n")
    status, found = findings(home, capsys)
    assert (status, [each["state"] for each in of(found, "policy")]) == (1, ["problem", "problem"])
    assert "policy.yaml:2:1" in of(found, "policy")[0]["found"]
    policy.unlink()
    status, found = findings(home, capsys)
    assert (status, "can't be read" in of(found, "policy")[0]["found"]) == (1, True)
    (home / "hoop.yaml").write_text("version: 1\n")
    assert of(findings(home, capsys)[1], "policy")[0]["state"] == "warning"


def test_secret_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file of a secret is looked at, never into: missing is a problem, readable by others a warning."""
    (home / "hoop.yaml").write_text(
        "version: 1\nresources:\n"
        "  - {name: a, type: pg, upstream: 'postgresql://u@h', password: {file: none}}\n"
        "  - {name: b, type: pg, upstream: 'postgresql://u@h', password: {file: open}}\n"
    )
    (home / "open").write_text("hunter2")
    (home / "open").chmod(0o644)
    status, found = findings(home, capsys)
    assert status == 1
    assert [of(found, f"pg/{name} password")[0]["state"] for name in "ab"] == ["problem", "warning"]
    assert "hunter2" not in json.dumps(found)


def test_resources_by_the_agent(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an agent, each resource is checked by it, and what it says is told."""
    monkeypatch.setattr("cli.doctor.client", lambda **_: FakeAgent())
    monkeypatch.setattr("cli.resources.client", FakeAgent)
    (home / "hoop.yaml").write_text(
        "version: 1\nresources:\n"
        + "".join(
            f"  - {{name: {name}, type: pg, upstream: 'postgresql://u@h'}}\n" for name in ("good", "broken", "gone")
        )
    )
    status, found = findings(home, capsys)
    assert status == 1
    assert of(found, "pg/good")[0]["found"] == "reached, TLSv1.3, server 18.1"
    assert of(found, "pg/broken")[0]["advice"] == "check PROD_PASSWORD"
    assert of(found, "pg/gone")[0]["state"] == "problem"


def test_later_keys(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is configured and not in this version is a warning, not silence."""
    (home / "hoop.yaml").write_text("version: 1\napprovals: {expire: 15m}\n")
    assert "approvals is not in this version" in json.dumps(findings(home, capsys)[1])


def test_no_psql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without psql there is a warning that says how to get one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = doctor.psql()
    assert finding.state == "warning"
    assert "postgresql-client" in (finding.advice or "")


def test_names_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another distribution that installs a package under one of our names is a problem."""
    monkeypatch.setattr(
        "importlib.metadata.packages_distributions", lambda: {"agent": ["hoopctl", "travel-agent"], "cli": ["hoopctl"]}
    )
    assert doctor.owners().found == "agent is also travel-agent's"


@pytest.mark.parametrize("free, state", [(1 << 20, "problem"), (5 << 30, "warning"), (50 << 30, "ok")])
def test_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, state: str) -> None:
    """Little room is a warning, none a problem, also for a directory that isn't there yet."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    assert doctor.space("state", tmp_path / "not" / "yet").state == state


def test_absent_agent_is_no_crash(
    monkeypatch: pytest.MonkeyPatch, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An agent that breaks off in the middle is a finding too."""

    def broken(**_: object) -> FakeAgent:
        raise HoopError("the agent broke off", "its log may say why")

    monkeypatch.setattr("cli.doctor.client", broken)
    status, found = findings(home, capsys)
    assert status == 1
    assert of(found, "agent")[0]["found"] == "the agent broke off"
    assert issubclass(AgentAbsent, HoopError)
