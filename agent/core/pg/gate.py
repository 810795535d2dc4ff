"""Bytes that may leave only when a record is on the disk."""

from __future__ import annotations

from mypy_extensions import i64


class Gate:
    """One direction of a session. Each piece waits for the number of its session's records that must be durable
    before it leaves; the pieces leave in order."""

    def __init__(self) -> None:
        self.size: i64 = 0
        self._pieces: list[bytes] = []
        self._needs: list[int] = []

    def hold(self, data: bytes, need: int) -> None:
        self._pieces.append(data)
        self._needs.append(need)
        self.size += len(data)

    def release(self, durable: int) -> bytes:
        """What may leave once `durable` records are on the disk; empty when nothing may."""
        count = 0
        for need in self._needs:
            if need > durable:
                break
            count += 1
        if count == 0:
            return b""
        data = self._pieces[0] if count == 1 else b"".join(self._pieces[:count])
        del self._pieces[:count]
        del self._needs[:count]
        self.size -= len(data)
        return data
