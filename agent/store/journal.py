"""The journal: segment files that records are only ever added to.

What `append` takes is numbered, in order; `write` hands it to the operating system, `sync` has it brought to the disk.
It is durable once `durable` counts it, which `collect` brings up to date. One sync serves all that was written before
it began (group commit). A failed write or sync is final: a page whose sync failed once may never reach the disk
although the next sync succeeds, so the journal refuses everything from then on; who opens it again recovers to the
last whole record.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import Struct

from agent.core.journal.frame import HEADER, JournalDamage, first_leaf, frame, frames, header
from agent.core.limits import MAX_RECORD, MIB
from schemas.records import Record, encode

SEGMENT_SIZE = 16 * MIB
"""Bytes of a segment; small, because a new one is filled with zeros before it is used. A record may exceed it."""

FAST_SYNC = 0.001
"""Seconds that syncs may take, lately, to be waited for: below that, handing them to a thread and hearing from it costs
more than it gains (docs/decisions/0002). What arrives meanwhile shares the next one."""

_SPARE = "spare"
_ATTEMPTS = 100


class JournalBusy(Exception):
    """Another process writes this journal."""

    hint: ClassVar[str] = "is the agent running already? `hoopctl doctor` tells"


class JournalFailed(Exception):
    """The journal can't be written: nothing may run, because nothing could be recorded."""

    hint: ClassVar[str] = "free space on the disk that holds `state`, or repair it; the agent goes on by itself"


def segments(directory: Path) -> list[Path]:
    """The segment files of a journal, oldest first."""
    return sorted(directory.glob("*.seg"))


def read_segment(path: Path, last: bool) -> tuple[int, list[bytes]]:
    """First leaf and canonical records of a segment.

    The last segment may be live: what is not whole at its end is left out. Any other has to be whole: else raises
    JournalDamage, which names the file and the offset.
    """
    first, bodies, end, torn = _read(path)
    if torn and not last:
        raise JournalDamage(f"{path}: record {first + len(bodies)} is damaged at offset {end}", end)
    return first, bodies


def _read(path: Path) -> tuple[int, list[bytes], int, bool]:
    data = path.read_bytes()
    try:
        first = first_leaf(data)
    except JournalDamage as damage:
        raise JournalDamage(f"{path}: {damage.message}", damage.offset) from None
    return first, *frames(data)


class _Sync(Struct, frozen=True):
    """Sync this segment: `count` records have been written with the last of it."""

    fd: int
    count: int


class _Close(Struct, frozen=True):
    """A segment ended at `size` bytes; the next begins with `next_leaf`."""

    fd: int
    path: Path
    size: int
    next_leaf: int


class _News(Struct, frozen=True):
    """What the thread has done: records durable, leaves in closed segments; or why it can't."""

    durable: int
    closed_before: int
    failure: str | None = None


class Journal:
    """The one writer of a journal. Its methods are for one thread; it has another of its own, for what takes long."""

    def __init__(self, directory: Path, lock: int, next_leaf: int, segment_size: int, torn_bytes: int) -> None:
        self.directory = directory
        self.next_leaf = next_leaf
        self.first_live_leaf = next_leaf
        self.closed_before = next_leaf
        self.torn_bytes = torn_bytes
        self.failure: str | None = None
        self.appended = 0
        self.durable = 0
        self.bytes = 0
        """Of everything appended since the journal was opened."""
        self._segment_size = segment_size
        self._lock = lock
        self._pending: list[bytes] = []
        self._written = 0
        self._sync_time = 0.0
        self._handed_over = 0
        self._syncing = False
        self._sync_again = False
        self._spare: threading.Thread | None = None
        self._begin_segment()
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        self._work: queue.SimpleQueue[_Sync | _Close | None] = queue.SimpleQueue()
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._run, name="journal", daemon=True)
        self._worker.start()

    @classmethod
    def open(cls, directory: Path, segment_size: int = SEGMENT_SIZE) -> Journal:
        """Recovers the journal in `directory` to its last whole record and begins a new segment.

        `torn_bytes` then tells how much of a torn record was cut off. Raises JournalBusy, JournalDamage, OSError.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leaf, torn_bytes = _recover(directory)
            return cls(directory, lock, leaf, segment_size, torn_bytes)
        except BlockingIOError:
            os.close(lock)
            raise JournalBusy(f"the journal in {directory} is being written by another process") from None
        except BaseException:
            os.close(lock)
            raise

    def fileno(self) -> int:
        """Readable when `collect` has news."""
        return self._wake

    def append(self, record: Record) -> int:
        """Adds a record; returns how many have been appended since the journal was opened.

        Raises JournalFailed when it can't be kept.
        """
        if self.failure is not None:
            raise JournalFailed(self.failure)
        body = encode(record)
        if len(body) > MAX_RECORD:
            raise JournalFailed(f"record too large (got {len(body)} bytes, expected at most {MAX_RECORD})")
        data = frame(body)
        self._pending.append(data)
        self.bytes += len(data)
        self.next_leaf += 1
        self.appended += 1
        return self.appended

    def write(self) -> None:
        """Hands what was appended to the operating system: it survives the agent, though not yet the machine."""
        if self._pending and self.failure is None:
            data = b"".join(self._pending)
            self._pending.clear()
            try:
                self._offset += _write(self._fd, data, self._offset)
            except OSError as error:
                self._fail(error)
                return
            self._written = self.appended
            if self._offset >= self._segment_size:
                self.rotate()

    def sync(self, at_once: bool) -> None:
        """Has what was written synced to the disk, in the thread unless it is wanted at once and the disk is fast."""
        if self.failure is not None or self.durable == self._written:
            return
        if at_once and self._sync_time < FAST_SYNC and not self._handed_over:
            begun = time.perf_counter()
            try:
                _to_disk(self._fd)
            except OSError as error:
                self._fail(error)
                return
            self.durable = self._written
            self._took(time.perf_counter() - begun)
        elif self._syncing:
            self._sync_again = True  # one serves all that is written until it begins
        else:
            self._syncing = True
            self._hand_over(_Sync(self._fd, self._written))

    def rotate(self) -> int:
        """Closes the live segment, if it holds anything, and begins another; returns the latter's first leaf.

        The segments before it are whole, and may be sealed, when `closed_before` has reached that leaf.
        """
        self.write()
        if self._offset > HEADER and self.failure is None:
            ended = _Close(self._fd, self._path, self._offset, self.next_leaf)
            try:
                _to_disk(self._fd)  # before the next one exists: only the last segment may end in a torn record
                self._begin_segment()
            except OSError as error:
                self._fail(error)
                return self.first_live_leaf
            self._syncing = True
            self._hand_over(_Sync(ended.fd, self._written))
            self._hand_over(ended)
        return self.first_live_leaf

    def collect(self) -> int:
        """How many of the appended records are durable by now. Sets `failure` when one can't be made so."""
        with suppress(BlockingIOError):
            os.read(self._wake, 4096)
        while not self._news.empty():
            self._learn(self._news.get())
        if self._sync_again and not self._syncing:
            self._sync_again = False
            self.sync(at_once=False)
        return self.durable

    def wait(self) -> None:
        """Returns when everything appended is durable and every rotation done, or the journal has failed."""
        self.write()
        self.sync(at_once=False)
        while self.failure is None and self._handed_over:
            self._learn(self._news.get())
            if not self._syncing:
                self.sync(at_once=False)

    def close(self) -> None:
        """Writes what is left and releases the journal to other processes. Never raises: see `failure`."""
        self.wait()
        self._work.put(None)
        self._worker.join()
        if self._spare is not None:
            self._spare.join()
        (self.directory / _SPARE).unlink(missing_ok=True)
        with suppress(OSError):
            _end_segment(_Close(self._fd, self._path, self._offset, self.next_leaf))
        for fd in (self._wake, self._waker, self._lock):
            os.close(fd)

    def _fail(self, error: OSError) -> None:
        self.failure = self.failure or f"{error.strerror or error} ({self._path})"

    def _took(self, seconds: float) -> None:
        self._sync_time += (seconds - self._sync_time) / 16

    def _begin_segment(self) -> None:
        if self._spare is not None:
            self._spare.join()
        self.first_live_leaf = self.next_leaf
        self._path = self.directory / f"{self.next_leaf:016d}.seg"
        spare = self.directory / _SPARE
        if not spare.exists():
            _preallocate(spare, self._segment_size)
        self._fd = os.open(spare, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._offset = HEADER
        os.pwrite(self._fd, header(self.next_leaf), 0)
        _to_disk(self._fd)
        spare.rename(self._path)
        _sync_directory(self.directory)
        self._spare = threading.Thread(target=_preallocate, args=(spare, self._segment_size), daemon=True)
        self._spare.start()

    def _hand_over(self, work: _Sync | _Close) -> None:
        self._handed_over += 1
        self._work.put(work)

    def _learn(self, news: _News) -> None:
        self._handed_over -= 1
        self._syncing = self._syncing and not news.durable
        if news.failure is not None:
            self.failure = self.failure or news.failure
        elif self.failure is None:
            self.durable = max(self.durable, news.durable)
            self.closed_before = max(self.closed_before, news.closed_before)

    def _run(self) -> None:
        """The thread: syncs and closes, in order. The first error is its last word."""
        broken = False
        while (work := self._work.get()) is not None:
            news = _News(0, 0)
            try:
                if broken:
                    pass
                elif isinstance(work, _Sync):
                    begun = time.perf_counter()
                    _to_disk(work.fd)
                    self._took(time.perf_counter() - begun)
                    news = _News(work.count, 0)
                else:
                    _end_segment(work)
                    news = _News(0, work.next_leaf)
            except OSError as error:
                broken = True
                news = _News(0, 0, f"{error.strerror or error} ({self.directory})")
            self._news.put(news)
            with suppress(BlockingIOError):  # a full pipe wakes the reader just as well
                os.write(self._waker, b"\0")


def _to_disk(fd: int) -> None:
    """Brings what was written to the disk itself; on macOS an fsync alone stops at the disk's own cache."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:
        fcntl.fcntl(fd, full)
    else:
        os.fdatasync(fd)


def _write(fd: int, data: bytes, offset: int) -> int:
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)
    return written


def _end_segment(segment: _Close) -> None:
    """Cuts a segment to its size; one that holds nothing is removed."""
    if segment.size == HEADER:
        segment.path.unlink()
    else:
        os.ftruncate(segment.fd, segment.size)
        os.fsync(segment.fd)
    os.close(segment.fd)
    _sync_directory(segment.path.parent)


def _preallocate(path: Path, size: int) -> None:
    """Makes a file of zeros that a segment can be written into.

    A sync of blocks that were written before takes two thirds of the time of new ones. Where there is no room the file
    is left out: the segment then begins empty, and the write that finds no room fails.
    """
    unfinished = path.with_suffix(".unfinished")
    try:
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            offset = 0
            while offset < size:
                offset += os.pwrite(fd, bytes(min(MIB, size - offset)), offset)
            os.fsync(fd)
        finally:
            os.close(fd)
        unfinished.rename(path)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _recover(directory: Path) -> tuple[int, int]:
    """As `_recovered`, again where the sealing of an agent that is gone has deleted a segment under our eyes."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            return _recovered(directory)
    return _recovered(directory)


def _recovered(directory: Path) -> tuple[int, int]:
    """Cuts the last segment to its whole records. Returns the next leaf and how many torn bytes were cut off."""
    for leftover in (_SPARE, _SPARE + ".unfinished"):
        (directory / leftover).unlink(missing_ok=True)
    paths = segments(directory)
    if not paths:
        return _sealed_leaf(directory), 0
    first, bodies, end, torn = _read(paths[-1])
    size = paths[-1].stat().st_size
    if not bodies:
        paths[-1].unlink()
    elif size > end:
        with open(paths[-1], "r+b") as file:
            file.truncate(end)
            os.fsync(file.fileno())
    _sync_directory(directory)
    return first + len(bodies), (size - end if torn else 0)


def _sealed_leaf(directory: Path) -> int:
    """The first leaf that is not sealed; agent.store.seal writes the file."""
    try:
        manifest = msgspec.json.decode((directory / "sealed.json").read_bytes())
    except FileNotFoundError:
        return 0
    return int(manifest["leaf"])
