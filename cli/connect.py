"""`hoopctl connect`: a client on a resource, with a credential that lives for minutes."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlencode

import typer

from cli.client import client
from cli.completion import resource_names
from cli.errors import HoopError
from schemas.control import Credential

app = typer.Typer(help="Open a client on a resource, through the agent, with a credential that lives for minutes.")

_RUN = re.compile(r"[A-Za-z0-9_.:/@+-]{1,128}")

KEPT = ("PGAPPNAME", "PGCLIENTENCODING", "PGCONNECT_TIMEOUT", "PGDATESTYLE", "PGGEQO", "PGOPTIONS", "PGTZ")
"""What libpq reads of the environment and doesn't lead elsewhere than to the agent.
https://www.postgresql.org/docs/current/libpq-envars.html"""


@app.command()
def pg(
    name: Annotated[str, typer.Argument(help="The resource, as in hoop.yaml.", autocompletion=resource_names)],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[-- CLIENT ARGS]", help="For the client.")] = None,
    with_: Annotated[str, typer.Option("--client", metavar="PROGRAM", help="The client to run.")] = "psql",
    run: Annotated[str | None, typer.Option(metavar="RUN", help="The id of the automation run to record.")] = None,
    print_: Annotated[
        bool, typer.Option("--print", help="Print a connection URI, with its password, instead of running a client.")
    ] = False,
) -> None:
    """Run psql, or another client of libpq, on a PostgreSQL resource. Streams and exit status are the client's.

    \b
    Example:
      hoopctl connect pg prod -- -c 'select now()'
      pg_dump "$(hoopctl connect pg prod --print)"
    """
    if run is not None and not _RUN.fullmatch(run):
        raise HoopError(f"this can't be a run's id (got {run!r}, expected letters, digits, _ . : / @ + -)", status=2)
    if print_:
        print(uri(_credential(name), run))
        return
    # Looked for first: a credential that nobody can use shouldn't be made.
    program = found_program(with_)
    environment = libpq(os.environ, _credential(name), run)
    sys.stdout.flush()
    os.execve(program, [with_, *(arguments or [])], environment)


@app.command(hidden=True)
def http(name: str) -> None:
    """Not in this version."""
    raise HoopError("connect http is not in this version (expected connect pg)", status=2)


@app.command(hidden=True)
def ssh(name: str) -> None:
    """Not in this version."""
    raise HoopError("connect ssh is not in this version (expected connect pg)", status=2)


def found_program(name: str) -> str:
    """The path of a program. Raises HoopError when it isn't installed."""
    found = shutil.which(name)
    if found is None:
        raise HoopError(
            f"the client {name} is not installed (not found on PATH)",
            "install it (Debian: apt install postgresql-client), name another one with --client, "
            "or take the connection from --print",
        )
    return found


def _credential(name: str) -> Credential:
    import msgspec

    answer = client().post("credentials", body={"resource": name})
    try:
        return msgspec.convert(answer, Credential)
    except msgspec.ValidationError as error:
        raise HoopError(
            f"the agent's credential can't be read ({error})", "is the agent of the same version?"
        ) from None


def trusted(credential: Credential) -> str:
    """The file of authorities that the agent's certificate is verified with."""
    if credential.ca is not None:
        return credential.ca
    # libpq before 16 doesn't know the word `system`.
    default = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    return default if Path(default).exists() else "system"


def host(credential: Credential) -> str:
    """Where to connect; an agent that listens everywhere is reached on loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(credential.host, credential.host)


def libpq(inherited: Mapping[str, str], credential: Credential, run: str | None) -> dict[str, str]:
    """The environment for a client of libpq: what connects it, and of the inherited nothing that would lead it
    elsewhere or weaken the verification. The password is here and not among the arguments, which any user can see."""
    environment = {
        name: value
        for name, value in inherited.items()
        if (not name.startswith("PG") or name in KEPT) and name != "HOOPCTL_TOKEN"
    }
    environment |= {
        "PGHOST": host(credential),
        "PGPORT": str(credential.port),
        "PGDATABASE": credential.dbname,
        "PGUSER": credential.user,
        "PGPASSWORD": credential.password,
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": trusted(credential),
    }
    if run is not None:
        environment["PGOPTIONS"] = " ".join(filter(None, [environment.get("PGOPTIONS"), f"-c hoop.run={run}"]))
    return environment


def uri(credential: Credential, run: str | None) -> str:
    """The same as a connection URI, as libpq and its kin read it."""
    parameters = {"sslmode": "verify-full", "sslrootcert": trusted(credential)}
    if run is not None:
        parameters["options"] = f"-c hoop.run={run}"
    where = host(credential)
    bracketed = f"[{where}]" if ":" in where else quote(where, safe="")
    login = f"{quote(credential.user, safe='')}:{quote(credential.password, safe='')}"
    return (
        f"postgresql://{login}@{bracketed}:{credential.port}/{quote(credential.dbname, safe='')}"
        f"?{urlencode(parameters, quote_via=quote, safe='/')}"
    )
