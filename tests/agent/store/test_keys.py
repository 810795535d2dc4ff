"""The key that masked values are hashed with."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from agent.store.control import StateError
from agent.store.keys import MASK_KEY, mask_key


def test_made_once(tmp_path: Path) -> None:
    """It is 32 bytes, the same whenever it is asked for, and nobody else may read it."""
    key = mask_key(tmp_path)
    assert len(key) == 32 and mask_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / MASK_KEY).stat().st_mode) == 0o600
    other = tmp_path / "other"
    other.mkdir()
    assert mask_key(other) != key


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33)])
def test_no_key(tmp_path: Path, content: bytes) -> None:
    """A file of another size is an error, not another key: hashes would change unnoticed."""
    (tmp_path / MASK_KEY).write_bytes(content)
    with pytest.raises(StateError, match="expected 32"):
        mask_key(tmp_path)
    assert (tmp_path / MASK_KEY).read_bytes() == content


def test_link(tmp_path: Path) -> None:
    """A symbolic link isn't followed."""
    (tmp_path / "elsewhere").write_bytes(bytes(32))
    (tmp_path / MASK_KEY).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        mask_key(tmp_path)
