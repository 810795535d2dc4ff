"""The evidence of this invocation, with its errors as users read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cli.context import configuration
from cli.errors import HoopError

if TYPE_CHECKING:
    from agent.store.evidence import Evidence


@contextmanager
def evidence() -> Iterator[Evidence]:
    """The evidence that the configuration names. Raises HoopError, also for what goes wrong while it is used."""
    import duckdb

    from agent.core.journal.frame import JournalDamage
    from agent.store.evidence import Evidence, EvidenceError

    found = configuration()
    try:
        with Evidence(Path(found.state), Path(found.audit.path)) as opened:
            yield opened
    except EvidenceError as error:
        raise HoopError(error.message, error.hint) from error
    except JournalDamage as error:
        raise HoopError(error.message, "keep a copy of the files as they are; hoopctl doctor tells more") from error
    except PermissionError as error:
        raise HoopError(f"{error.filename} may not be read", "run hoopctl as the agent's user") from error
    except duckdb.Error as error:
        raise HoopError(f"the evidence can't be read ({error})", "hoopctl doctor tells more") from error
