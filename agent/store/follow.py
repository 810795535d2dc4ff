"""The journal, followed while it is written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from agent.core.journal.frame import FRAME, HEADER, JournalDamage, first_leaf, frames
from agent.core.limits import MAX_RECORD
from agent.store.journal import segments
from schemas.records import Record, decode

_PIECE = 1 << 20


class Follower:
    """Reads every record from the oldest unsealed one on, then those that come, each once.

    A segment is kept open while it is read, so that sealing, which deletes it, takes nothing away. For one thread.
    """

    def __init__(self, journal: Path) -> None:
        self._journal = journal
        self._fd = -1
        self._offset = 0
        self._leaf = 0
        self._first = -1

    def close(self) -> None:
        """Closes the segment that is being read."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def poll(self) -> Iterator[tuple[int, Record]]:
        """Leaf and record of all that came since the last time. Raises JournalDamage when records were sealed that
        were never read: that takes a poll only every few minutes."""
        while True:
            yield from self._rest()
            path = self._next()
            if path is None:
                return
            # With another behind it the segment is whole; before that it may have grown since it was read.
            yield from self._rest()
            self._open(path)

    def _rest(self) -> Iterator[tuple[int, Record]]:
        """What is whole from the offset on in the open segment."""
        size = _PIECE
        while self._fd >= 0:
            data = os.pread(self._fd, size, self._offset)
            bodies, end, torn = frames(data, 0)
            for body in bodies:
                yield self._leaf, decode(body)
                self._leaf += 1
            self._offset += end
            if not bodies and torn and len(data) == size and size < MAX_RECORD + FRAME:
                size *= 4  # a record that is larger than what was read
            elif not bodies:
                return

    def _next(self) -> Path | None:
        """The segment behind the one that is open, or the first one when none is."""
        return next((path for path in segments(self._journal) if int(path.stem) > self._first), None)

    def _open(self, path: Path) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # sealed, or closed without a record, since it was found
        first = first_leaf(os.pread(fd, HEADER, 0))
        if self._fd >= 0 and first != self._leaf:
            os.close(fd)
            raise JournalDamage(f"{self._journal}: records {self._leaf} to {first - 1} are gone")
        self.close()
        self._fd, self._offset, self._leaf, self._first = fd, HEADER, first, first
