"""What is to be recorded when an agent starts and its predecessor didn't end: every open session and operation ends."""

from __future__ import annotations

import time
from pathlib import Path

from agent.store.manifest import SealedMeanwhile, load, load_open, unsealed
from agent.store.pairing import Pairing
from schemas.records import OperationEnded, Record, SessionEnded, decode

END_REASON = "agent lost"
_ATTEMPTS = 40
_PAUSE = 0.05  # seconds; a seal commits at most a few times a second


def closing_records(journal: Path, now_us: int) -> list[Record]:
    """The ends of everything that the journal holds only the start of, operations before their sessions.

    An operation ends as `lost`, a session as `agent lost`; what was counted in memory only is what the journal tells:
    the operations and bytes that are recorded, and 0 for `bytes_in` and `duration_us`. Appending these records makes a
    further call return none. Raises JournalDamage.
    """
    pairing = _read(journal)
    records: list[Record] = []
    lost: dict[str, int] = {}
    for (session_id, sequence), operation in pairing.operations.items():
        lost[session_id] = lost.get(session_id, 0) + operation.bytes_out
        records.append(
            OperationEnded(
                time=now_us,
                session_id=session_id,
                sequence=sequence,
                outcome="lost",
                tags=(),
                rows=0,
                bytes=operation.bytes_out,
                duration_us=0,
                error_message=END_REASON,
            )
        )
    for session_id, session in pairing.sessions.items():
        bytes_out = session.bytes_out + lost.get(session_id, 0)
        records.append(SessionEnded(now_us, session_id, END_REASON, session.operations, 0, bytes_out))
    return records


def _read(journal: Path) -> Pairing:
    for _ in range(_ATTEMPTS):
        try:
            return _paired(journal)
        except SealedMeanwhile:
            time.sleep(_PAUSE)
    return _paired(journal)


def _paired(journal: Path) -> Pairing:
    manifest = load(journal)
    pairing = load_open(journal, manifest)
    for leaf, body in unsealed(journal, manifest):
        for _ in pairing.add(leaf, decode(body)):
            pass  # only what stays open counts here
    return pairing
