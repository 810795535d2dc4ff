"""Secrets: where they come from, and that errors never repeat them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agent.store import secret as module
from agent.store.secret import SecretError, resolve
from schemas.configuration import Secret


def test_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret comes from the environment, a file or a command; one newline at its end is not part of it."""
    monkeypatch.setenv("HOOP_TEST_SECRET", "s1")
    (tmp_path / "secret").write_text("s2\r\n")
    assert resolve(Secret(env="HOOP_TEST_SECRET")) == "s1"
    assert resolve(Secret(file=str(tmp_path / "secret"))) == "s2"
    assert resolve(Secret(command=(sys.executable, "-c", "print(' s3 ')"))) == " s3 "


@pytest.mark.parametrize(
    "secret, expected",
    [
        (Secret(env="HOOP_TEST_NOT_SET"), "is not set"),
        (Secret(file="/nonexistent/secret"), "can't be read (no such file or directory)"),
        (Secret(file="/dev/null"), "is empty"),
        (Secret(file="/dev/zero"), "can't be one"),
        (Secret(command=("/nonexistent/vault",)), "can't be run"),
        (
            Secret(command=(sys.executable, "-c", "print('hunter2'); raise SystemExit(3)")),
            "got exit status 3, expected 0",
        ),
        (Secret(command=(sys.executable, "-c", "import sys; sys.stdout.buffer.write(b'hunter2\\xff')")), "is not text"),
    ],
)
def test_failures(secret: Secret, expected: str) -> None:
    """A secret that can't be had says why, with a hint, and shows nothing of it."""
    with pytest.raises(SecretError) as caught:
        resolve(secret)
    assert expected in caught.value.message
    assert caught.value.hint
    assert "hunter2" not in caught.value.message


def test_slow_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that doesn't end is given up, and what it printed is in no exception that could be logged."""
    monkeypatch.setattr(module, "TIMEOUT", 0.3)
    slow = "import time; print('hunter2', flush=True); time.sleep(60)"
    with pytest.raises(SecretError, match="did not end") as caught:
        resolve(Secret(command=(sys.executable, "-c", slow)))
    assert caught.value.__cause__ is None
