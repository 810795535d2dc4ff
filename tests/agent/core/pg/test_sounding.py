"""What `resources check` finds out about a server, from what a server answers."""

from __future__ import annotations

import pytest

from agent.core.pg.messages import ProtocolError
from agent.core.pg.sounding import Depth, Sounding
from tests.agent.core.pg.dialogue import error, msg, ready

TREE = msg("N", b"SLOG\0VLOG\0C00000\0Mrewritten parse tree:\0D(\0Fprint.c\0Relog_node_display\0\0")
DONE = ready()


def row(*values: str) -> bytes:
    body = b"".join(len(value).to_bytes(4, "big") + value.encode() for value in values)
    return msg("D", len(values).to_bytes(2, "big") + body)


def depth(*answers: bytes, pieces: int = 0) -> Depth:
    """What is found of a server that gives these answers, one to each question; in pieces of so many bytes."""
    sounding = Sounding(77)
    assert sounding.begin()
    for answer in answers:
        assert sounding.depth is None
        step = pieces or len(answer)
        for at in range(0, len(answer), step):
            sounding.received(answer[at : at + step])
    assert sounding.depth is not None
    return sounding.depth


def about(superuser: str = "off", version: str = "180001", level: str = "warning", process: str = "77") -> bytes:
    return row(process, superuser, version, level, "app") + DONE


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_a_superuser(pieces: int) -> None:
    """Everything is to be had, and the log stays clean; however the answers come."""
    assert depth(about("on"), DONE, TREE + DONE, DONE, pieces=pieces) == Depth(True, "", True)


def test_grants() -> None:
    """From 15 on the right to the setting is asked for, and the GRANT is told; before, ALTER ROLE."""
    grant = "GRANT SET ON PARAMETER log_min_messages TO app"
    assert depth(about(), row("f") + DONE, DONE, TREE + DONE, DONE) == Depth(True, "", False, grant)
    assert depth(about(), row("t") + DONE, DONE, TREE + DONE, DONE) == Depth(True, "", True)
    alter = "ALTER ROLE app SET log_min_messages = fatal"
    assert depth(about(version="140009"), DONE, TREE + DONE, DONE) == Depth(True, "", False, alter)
    assert depth(about(version="140009", level="fatal"), DONE, TREE + DONE, DONE) == Depth(True, "", True)


def test_no_tree() -> None:
    """A server that prints none, or refuses to be asked, is told of with its reason."""
    assert depth(about("on"), DONE, DONE, DONE) == Depth(False, "no tree is printed", True)
    refused = error("42501", "permission denied")
    assert depth(about("on"), refused + DONE) == Depth(False, "permission denied", True)
    assert depth(refused + DONE) == Depth(False, "permission denied")


def test_a_pooler() -> None:
    """Where another process answers than the one that was logged in to, something stands in between."""
    assert depth(about("on", process="78"), DONE, TREE + DONE, DONE) == Depth(True, "", True, "", True)


def test_notices_before() -> None:
    """A tree that nobody asked for is none of ours."""
    assert not depth(TREE + about("on"), DONE, DONE, DONE).trace


def test_lengths_that_lie() -> None:
    """A message whose length can't be is refused."""
    sounding = Sounding(1)
    with pytest.raises(ProtocolError, match="invalid message length"):
        sounding.received(b"D\0\0\0\1")
