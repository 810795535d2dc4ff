"""`hoopctl init`: a configuration to begin with."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.errors import HoopError

CONFIGURATION = """\
# hoopctl. Relative paths are relative to this file. After a change: SIGHUP to the agent; hoopctl doctor checks it.
version: 1

# Keys, the journal and control data. The agent's own: nobody else may write here.
state: ./state

# Who may do what; hoopctl policy check says what is wrong in it. Read again whenever it changes.
policy: ./policy.yaml

# Where the agent listens; a listener that isn't named is off. Port 0 takes a free one.
listen:
  pg: 127.0.0.1:5439
  control: 127.0.0.1:8040        # /healthz and /metrics; commands use state/control.sock

# What the agent shows its clients. Without this it makes an authority of its own in state/tls.
# tls: {certificate: /etc/hoopctl/agent.pem, key: /etc/hoopctl/agent.key}

# What there is to connect to. A secret is never written here: {env: NAME}, {file: PATH} or {command: [WORD, ...]}.
resources:
#  - name: prod
#    type: pg
#    upstream: postgresql://app@db.internal:5432/app?sslmode=verify-full
#    password: {env: PROD_PASSWORD}

audit:
  path: ./audit                  # sealed evidence, as Parquet
  durability: strict             # strict: an answer waits until it is on disk; group: it doesn't
  responses: 64MB                # kept of each answer; what is beyond is counted and hashed. 1MB = 1024 * 1024
  seal: {every: 60s, size: 64MB}
"""

POLICY = """\
# The first rule that matches an operation decides it; no match: allow.
# What holds for an operation is decided from what the database itself says that a statement does.
# Consent (effect: approve) isn't in this version: what needs it is denied.
version: 1

rules: []
#  - name: keep-users
#    on: pg/prod
#    match: ["DELETE app.users", "TRUNCATE *"]
#    effect: deny
#    message: Users are never deleted; set active = false instead.

# Masked values are replaced in every answer; a statement in which they can't be is refused.
masks: []
#  - name: personal
#    on: pg/prod
#    columns: [app.users.email, "*.*.ssn"]
#    types: [credit_card, iban]       # found by their look, wherever they stand
#    with: partial                    # redact, partial, hash, null or fake
#    unless: "'dpo' in identity.groups"
"""


def command(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write them.")] = Path("."),
) -> None:
    """Write a commented hoop.yaml and policy.yaml, make the keys. Nothing that exists is overwritten.

    \b
    Example:
      hoopctl init /etc/hoopctl
    """
    from agent.identity import authority
    from agent.store.configuration import load
    from agent.store.control import open_database

    try:
        directory.mkdir(parents=True, exist_ok=True)
        written = write({directory / "hoop.yaml": CONFIGURATION, directory / "policy.yaml": POLICY})
    except OSError as error:
        raise HoopError(
            f"{error.filename} can't be written ({(error.strerror or str(error)).lower()})",
            "hoopctl init DIR writes elsewhere",
        ) from error
    configuration = load(directory / "hoop.yaml")
    state = Path(configuration.state)
    open_database(state).close()
    listen = configuration.listen.pg
    files = authority.ensure(state / "tls", authority.names([listen.host] if listen else []), datetime.now(UTC))
    print("\n".join([*(f"wrote {file}" for file in written), f"made  {files.ca}, which clients verify the agent with"]))
    print(next_steps(directory / "hoop.yaml"))


def write(contents: dict[Path, str]) -> list[Path]:
    """Writes new files, all or none. Raises HoopError when one of them exists, FileExistsError aside: OSError."""
    for file in contents:
        if os.path.lexists(file):
            raise HoopError(
                f"{file} exists already, and nothing was written",
                "hoopctl init DIR writes elsewhere; or move the file away",
            )
    written: list[Path] = []
    try:
        for file, content in contents.items():
            # Not even a link planted since the look above is followed.
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            written.append(file)
            with open(descriptor, "w") as stream:
                stream.write(content)
    except OSError:
        for file in written:
            with suppress(OSError):
                file.unlink()
        raise
    return written


def next_steps(file: Path) -> str:
    """What to do with the new configuration, each step a command."""
    option = "" if file.resolve() == Path("hoop.yaml").resolve() else f"--config {shlex.quote(str(file))} "
    return f"""
Next:
  1. Name a database under resources in {file}.
  2. hoopctl {option}doctor
  3. hoopctl {option}agent
  4. hoopctl {option}connect pg NAME        (in another terminal)"""
