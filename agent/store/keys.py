"""Keys that the agent makes for itself and keeps in its state directory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from agent.store.control import StateError
from agent.store.manifest import replace

MASK_KEY = "mask.key"
_SIZE = 32


def mask_key(state: Path) -> bytes:
    """The 32 bytes that masked values are hashed and invented with, made when they are first asked for: with another
    key a value gets another hash. Raises StateError for a file that isn't a key, OSError."""
    path = state / MASK_KEY
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        replace(path, [secrets.token_bytes(_SIZE)])
        return mask_key(state)
    with open(fd, "rb") as file:
        key = file.read(_SIZE + 1)
    if len(key) != _SIZE:
        raise StateError(f"{path} is no key (got {len(key)} bytes, expected {_SIZE})", "restore it from a copy")
    return key
