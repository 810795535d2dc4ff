"""The journal: segment files that records are only ever added to.

What `append` takes is numbered, in order; `flush` hands it to a thread of the journal's own, which writes and syncs. It
is durable, that is on the disk, once `collect` has returned a count of records that includes it. One sync serves all
that was flushed before it began (group commit). A failed write or sync is final: a page whose sync failed once may
never reach the disk although the next sync succeeds, so the journal refuses everything from then on; who opens it again
recovers to the last whole record.
"""

from __future__ import annotations

import fcntl
import os
import queue
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from agent.core.journal.frame import HEADER, JournalDamage, first_leaf, frame, frames, header
from agent.core.limits import MAX_RECORD, MIB
from schemas.records import Record, encode

SEGMENT_SIZE = 16 * MIB
"""Bytes of a segment; small, because a new one is filled with zeros before it is used. A record may exceed it."""

_SPARE = "spare"


class JournalBusy(Exception):
    """Another process writes this journal."""

    hint = "is the agent running already? `hoopctl doctor` tells"


class JournalFailed(Exception):
    """The journal can't be written: nothing may run, because nothing could be recorded."""

    hint = "free space on the disk that holds `state`, or repair it; the agent goes on by itself"


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


@dataclass(frozen=True, slots=True)
class _Batch:
    """Frames to write; `count` records have been appended with the last of them. Synced only when `sync` asks for it:
    what nobody waits for need not keep the disk busy when somebody does."""

    data: bytes
    count: int
    sync: bool


@dataclass(frozen=True, slots=True)
class _Rotate:
    """The live segment ends; the next begins with this leaf."""

    first_leaf: int


@dataclass(frozen=True, slots=True)
class _News:
    """What the thread has done: records durable, leaves in closed segments; or why it can't."""

    durable: int
    closed_before: int
    failure: str | None = None


class Journal:
    """The one writer of a journal. Its methods are for one thread; the writing happens in another, its own."""

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
        self._unsynced = False
        self._live_size = HEADER
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._writer = _Writer(directory, segment_size, next_leaf, self._news, self._waker)

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
        self._live_size += len(data)
        self.bytes += len(data)
        self.next_leaf += 1
        self.appended += 1
        return self.appended

    @property
    def pending(self) -> bool:
        """Whether something appended was not flushed yet."""
        return bool(self._pending)

    def flush(self, sync: bool = True) -> None:
        """Has what was appended written, and synced unless that can wait for the next sync; returns at once."""
        self._hand_over(sync)
        if self._live_size >= self._segment_size:
            self.rotate()

    def rotate(self) -> int:
        """Closes the live segment, if it holds anything, and begins another; returns the latter's first leaf.

        Returns at once; the segments are closed when `closed_before` has reached that leaf.
        """
        self._hand_over(True)
        if self._live_size > HEADER:
            self._writer.work.put(_Rotate(self.next_leaf))
            self.first_live_leaf = self.next_leaf
            self._live_size = HEADER
        return self.first_live_leaf

    def collect(self) -> int:
        """How many of the appended records are durable by now. Sets `failure` when one can't be made so."""
        with suppress(BlockingIOError):
            while os.read(self._wake, 4096):
                pass
        with suppress(queue.Empty):
            while True:
                self._learn(self._news.get_nowait())
        return self.durable

    def wait(self) -> None:
        """Returns when everything appended is durable and every rotation done, or the journal has failed."""
        self._hand_over(True)
        while self.failure is None and (self.durable < self.appended or self.closed_before < self.first_live_leaf):
            self._learn(self._news.get())

    def close(self) -> None:
        """Writes what is left and releases the journal to other processes. Never raises: see `failure`."""
        self.wait()
        self._writer.stop()
        for fd in (self._wake, self._waker, self._lock):
            os.close(fd)

    def _hand_over(self, sync: bool) -> None:
        if self._pending:
            self._writer.work.put(_Batch(b"".join(self._pending), self.appended, sync))
            self._pending.clear()
            self._unsynced = not sync
        elif sync and self._unsynced:
            self._writer.work.put(_Batch(b"", self.appended, True))
            self._unsynced = False

    def _learn(self, news: _News) -> None:
        if news.failure is not None:
            self.failure = self.failure or news.failure
        elif self.failure is None:
            self.durable = news.durable
            self.closed_before = news.closed_before


class _Writer:
    """The journal's thread and the files that only it touches."""

    def __init__(
        self, directory: Path, segment_size: int, leaf: int, news: queue.SimpleQueue[_News], waker: int
    ) -> None:
        self.work: queue.SimpleQueue[_Batch | _Rotate | None] = queue.SimpleQueue()
        self._directory = directory
        self._segment_size = segment_size
        self._news = news
        self._waker = waker
        self._written = 0
        self._durable = 0
        self._closed_before = leaf
        self._spare: threading.Thread | None = None
        self._begin_segment(leaf)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.work.put(None)
        self._thread.join()
        if self._spare is not None:
            self._spare.join()
        (self._directory / _SPARE).unlink(missing_ok=True)

    def _run(self) -> None:
        running = True
        while running:
            try:
                running = self._perform(self.work.get())
            except OSError as error:
                self._tell(_News(0, 0, f"{error.strerror or error} ({self._path})"))
                break
            self._tell(_News(self._durable, self._closed_before))
        with suppress(OSError):
            self._end_segment()

    def _perform(self, work: _Batch | _Rotate | None) -> bool:
        """Writes this and everything else that waits, then syncs once if any of it asks for that; returns whether to
        go on."""
        sync = False
        while work is not None:
            if isinstance(work, _Rotate):
                self._end_segment()
                self._durable = self._written
                self._begin_segment(work.first_leaf)
                self._closed_before = work.first_leaf
            else:
                self._write(work.data)
                self._written = work.count
                sync = sync or work.sync
            if self.work.empty():
                break
            work = self.work.get()
        if sync and self._durable != self._written:
            os.fdatasync(self._fd)
            self._durable = self._written
        return work is not None

    def _tell(self, news: _News) -> None:
        self._news.put(news)
        with suppress(BlockingIOError):  # a full pipe wakes the reader just as well
            os.write(self._waker, b"\0")

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, self._offset)
            view = view[written:]
            self._offset += written

    def _begin_segment(self, leaf: int) -> None:
        if self._spare is not None:
            self._spare.join()
        self._path = self._directory / f"{leaf:016d}.seg"
        spare = self._directory / _SPARE
        if not spare.exists():
            _preallocate(spare, self._segment_size)
        self._fd = os.open(spare, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.pwrite(self._fd, header(leaf), 0)
        os.fdatasync(self._fd)
        spare.rename(self._path)
        _sync(self._directory)
        self._offset = HEADER
        self._spare = threading.Thread(target=_preallocate, args=(spare, self._segment_size), daemon=True)
        self._spare.start()

    def _end_segment(self) -> None:
        if self._offset == HEADER:
            self._path.unlink()
        else:
            os.ftruncate(self._fd, self._offset)
            os.fsync(self._fd)
        os.close(self._fd)
        _sync(self._directory)


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


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _recover(directory: Path) -> tuple[int, int]:
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
    _sync(directory)
    return first + len(bodies), (size - end if torn else 0)


def _sealed_leaf(directory: Path) -> int:
    """The first leaf that is not sealed; agent.store.seal writes the file."""
    try:
        manifest = msgspec.json.decode((directory / "sealed.json").read_bytes())
    except FileNotFoundError:
        return 0
    return int(manifest["leaf"])
