"""Secrets that hoop.yaml points to, fetched when they are needed and never kept in a file of hoopctl's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from schemas.configuration import Secret

TIMEOUT = 10.0
"""Seconds for a command that prints a secret: long enough for a vault, short enough for a client that waits."""

LARGEST = 64 << 10
"""Bytes: a key or a token; what is larger is not a secret but a mistake."""


class SecretError(Exception):
    """A secret can't be had. Names its source and never what came out of it."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def resolve(secret: Secret) -> str:
    """The secret, without the newline that ends a file or a command's output. Raises SecretError."""
    if secret.env is not None:
        value = os.environ.get(secret.env)
        if value is None:
            raise SecretError(
                f"the environment variable {secret.env} is not set", f"set {secret.env} where the agent is started"
            )
        return _checked(value, f"the environment variable {secret.env}")
    if secret.file is not None:
        return _from_file(Path(secret.file))
    return _from_command(secret.command or ())


def _from_file(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise SecretError(
            f"the secret's file {file} can't be read ({(error.strerror or 'failed').lower()})",
            "create it, readable by the agent's user alone",
        ) from error
    return _decoded(content, f"the file {file}")


def _from_command(command: tuple[str, ...]) -> str:
    name = command[0] if command else ""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        # `from None`: the exception holds what the command printed so far.
        raise SecretError(
            f"the secret's command {name} did not end (expected within {TIMEOUT:g} s)",
            f"run {name} by hand as the agent's user",
        ) from None
    except (OSError, ValueError) as error:
        raise SecretError(
            f"the secret's command {name} can't be run ({getattr(error, 'strerror', None) or error})",
            "give its full path",
        ) from None
    if done.returncode != 0:
        raise SecretError(
            f"the secret's command {name} failed (got exit status {done.returncode}, expected 0)",
            f"run {name} by hand as the agent's user",
        )
    return _decoded(done.stdout, f"the command {name}")


def _decoded(content: bytes, source: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise SecretError(f"the secret from {source} is not text (expected UTF-8)", "check what it holds") from None
    return _checked(text.removesuffix("\n").removesuffix("\r"), source)


def _checked(value: str, source: str) -> str:
    if not value:
        raise SecretError(f"the secret from {source} is empty", "check where it should come from")
    if "\0" in value or len(value) > LARGEST:
        raise SecretError(
            f"the secret from {source} can't be one (it holds a NUL or is larger than {LARGEST} bytes)",
            "check what it holds",
        )
    return value
