"""Where a client connects to: straight to a server, or to the agent in front of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Endpoint:
    """What every PostgreSQL client needs to know."""

    port: int
    user: str
    password: str
    database: str
    sslmode: str = "disable"
    root: Path | None = None
    host: str = "127.0.0.1"

    def over_tls(self, root: Path) -> Endpoint:
        """The same with TLS, verified against `root`."""
        return replace(self, sslmode="verify-full", root=root)

    def dsn(self, **extra: Any) -> str:
        """A libpq connection string."""
        words: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": self.database,
            "sslmode": self.sslmode,
            "gssencmode": "disable",
        }
        if self.root is not None:
            words["sslrootcert"] = self.root
        return " ".join(f"{name}={value}" for name, value in (words | extra).items())

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of a libpq program; nothing of the person's who runs the tests."""
        result = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": "/nonexistent",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "PSQLRC": "/dev/null",
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
            "PGSSLMODE": self.sslmode,
            "PGCONNECT_TIMEOUT": "20",
        }
        if self.root is not None:
            result["PGSSLROOTCERT"] = str(self.root)
        return result | extra
