"""What of the journal is sealed: `sealed.json`, the commit point of sealing, and the file of what was open then.

sealed.json                {"version": 1, "leaf": N, "open": "open-….frames"}
open-{N:016d}.frames       starts without an end among the leaves below N (agent.store.pairing)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from agent.core.journal.frame import JournalDamage
from agent.store.journal import read_segment, segments
from agent.store.pairing import Pairing

SEALED = "sealed.json"


class Manifest(msgspec.Struct, frozen=True):
    """All leaves below `leaf` are in Parquet or in the file `open`."""

    version: int = 1
    leaf: int = 0
    open: str | None = None


class SealedMeanwhile(Exception):
    """The journal was sealed further while it was read: what was read may be in Parquet too. Read again."""


def load(journal: Path) -> Manifest:
    """The manifest of a journal; of one that was never sealed, the manifest that nothing is."""
    path = journal / SEALED
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except msgspec.DecodeError as error:
        raise JournalDamage(f"{path}: {error}") from None
    if manifest.version != 1:
        raise JournalDamage(f"{path}: written by a later version (got {manifest.version}, expected 1)")
    return manifest


def load_open(journal: Path, manifest: Manifest) -> Pairing:
    """What was open when the leaves below the manifest's were sealed. Raises SealedMeanwhile, JournalDamage."""
    if manifest.open is None:
        return Pairing()
    path = journal / manifest.open
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        if load(journal) != manifest:
            raise SealedMeanwhile from None
        raise JournalDamage(f"{path} is missing") from None
    return Pairing.load(data, str(path))


def commit(journal: Path, leaf: int, pairing: Pairing) -> Manifest:
    """Makes it durable that all leaves below `leaf` are sealed but for what is open."""
    name = f"open-{leaf:016d}.frames"
    replace(journal / name, pairing.dump())
    manifest = Manifest(1, leaf, name)
    replace(journal / SEALED, [msgspec.json.encode(manifest)])
    return manifest


def unsealed(journal: Path, manifest: Manifest) -> Iterator[tuple[int, bytes]]:
    """Leaf and canonical bytes of every record from the manifest's leaf on, one segment in memory at a time.

    Other processes may append and seal meanwhile: raises SealedMeanwhile when it may have missed something.
    """
    paths = segments(journal)
    expected = manifest.leaf
    for path in paths:
        try:
            first, bodies = read_segment(path, last=path == paths[-1])
        except FileNotFoundError:
            raise SealedMeanwhile from None
        if first > expected:
            if load(journal) != manifest:
                raise SealedMeanwhile
            raise JournalDamage(f"{journal}: records {expected} to {first - 1} are missing")
        for leaf, body in enumerate(bodies, first):
            if leaf >= expected:
                yield leaf, body
        expected = max(expected, first + len(bodies))
    if load(journal) != manifest:
        raise SealedMeanwhile


def replace(path: Path, pieces: Iterable[bytes]) -> None:
    """Writes a file that is there, whole and durable, or not at all."""
    unfinished = path.with_name(f".{path.name}.tmp")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with open(fd, "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Makes durable what was written to a file, or renamed within a directory."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
