"""A text that arrives in pieces, with values in it that may be split between them."""

from __future__ import annotations

from typing import Final

from agent.core.limits import MIB
from agent.core.masking.looks import Detector
from agent.core.masking.spotting import Spotted

HOLD: Final = 8192
"""Bytes at the end of what has arrived that wait for what follows, at least: a value that is longer than that, such as
a private key, is found when it begins in what is held, which then grows."""
MOST: Final = MIB
"""Bytes that wait at most."""
_CONTEXT: Final = 64
_TEXT_OID: Final = 25


class Flow:
    """Replaces in a stream of UTF-8 text what a detector finds, as Spotted does in a value; `null` leaves nothing of
    what is found. `count` is how many values were replaced."""

    def __init__(self, detector: Detector, way: str, key: bytes) -> None:
        self.count: int = 0
        self._detector: Final = detector
        self._spotted: Final = Spotted(detector, way, key, _TEXT_OID)
        self._context: bytes = b""
        self._held: bytes = b""

    def feed(self, piece: bytes) -> bytes:
        """What of the text is known to be done; the rest waits for more."""
        self._held += piece
        return self._passed(len(self._held) - HOLD) if len(self._held) > HOLD else b""

    def finish(self) -> bytes:
        """The rest of the text, which has ended."""
        return self._passed(len(self._held))

    def _passed(self, cut: int) -> bytes:
        """The held text up to `cut`, or to where what is found there begins."""
        text, before = self._context + self._held, len(self._context)
        cut += before
        parts: list[bytes] = []
        end = before
        for start, stop, _ in self._detector.find(text):
            if stop <= before or start >= cut:
                continue
            if stop > cut and len(self._held) <= MOST:
                cut = max(start, before)
                break
            start = max(start, before)
            parts.append(text[end:start])
            parts.append(self._spotted.piece(text[start:stop]))
            self.count += 1
            end = stop
        cut = max(cut, end)
        parts.append(text[end:cut])
        self._context = text[max(0, cut - _CONTEXT) : cut]
        self._held = text[cut:]
        return b"".join(parts)
