"""`hoopctl init`: what it makes works, is private, and replaces nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.store.configuration import load
from cli import init
from cli.errors import HoopError
from cli.main import run


def test_what_is_written_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration that init writes is accepted; the state is private; what to do next is said."""
    before = os.umask(0)
    try:
        assert run(["init", str(tmp_path / "new")]) == 0
    finally:
        os.umask(before)
    configuration = load(tmp_path / "new" / "hoop.yaml")
    assert configuration.later == ()
    assert configuration.resources == ()
    state = tmp_path / "new" / "state"
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "tls" / "ca.key").stat().st_mode & 0o777 == 0o600
    assert (state / "tls" / "agent.pem").exists()
    for file in ("hoop.yaml", "policy.yaml"):
        assert (tmp_path / "new" / file).stat().st_mode & 0o022 == 0
    assert f"hoopctl --config {tmp_path}/new/hoop.yaml agent" in capsys.readouterr().out


def test_commented_examples_work(tmp_path: Path) -> None:
    """Taking the comment signs away from the example resource and the certificate leaves a configuration that is
    accepted."""
    lines = [line.removeprefix("#") if line.startswith("#  ") else line for line in init.CONFIGURATION.splitlines()]
    text = "\n".join(lines).replace("# tls:", "tls:")
    (tmp_path / "policy.yaml").write_text(init.POLICY)
    (tmp_path / "hoop.yaml").write_text(text)
    configuration = load(tmp_path / "hoop.yaml")
    assert [resource.name for resource in configuration.resources] == ["prod"]
    assert configuration.tls is not None


@pytest.mark.parametrize("existing", ["hoop.yaml", "policy.yaml"])
@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str], existing: str, kind: str) -> None:
    """When one of the files exists, even as a link to nowhere, nothing is written at all."""
    if kind == "file":
        (tmp_path / existing).write_text("mine")
    else:
        (tmp_path / existing).symlink_to(tmp_path / "elsewhere")
    assert run(["init", str(tmp_path)]) == 1
    assert "exists already, and nothing was written" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == [existing]


def test_all_or_nothing(tmp_path: Path) -> None:
    """When the second file can't be written, the first one is taken back."""
    with pytest.raises(FileNotFoundError):
        init.write({tmp_path / "a": "x", tmp_path / "none" / "b": "y"})
    assert list(tmp_path.iterdir()) == []


def test_unwritable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A place where nothing can be written is an error with a hint."""
    (tmp_path / "file").write_text("")
    assert run(["init", str(tmp_path / "file" / "below")]) == 1
    assert "can't be written" in capsys.readouterr().err


def test_refusal_is_a_hoop_error(tmp_path: Path) -> None:
    """The refusal names the file."""
    (tmp_path / "a").write_text("")
    with pytest.raises(HoopError, match="/a exists already"):
        init.write({tmp_path / "a": "x"})
