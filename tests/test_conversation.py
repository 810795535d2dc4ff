"""The conversation helper itself."""

from __future__ import annotations

from dataclasses import dataclass
from unittest.mock import ANY

import pytest
from msgspec import Struct

from tests.conversation import difference, talk


@dataclass(frozen=True)
class Said:
    words: bytes
    volume: int = 1


@dataclass(frozen=True)
class Echo:
    words: bytes
    volume: int


class Record(Struct, frozen=True):
    text: str
    size: int


class Append(Struct, frozen=True):
    record: Record


class Parrot:
    def feed(self, event: Said) -> list[Echo]:
        return [Echo(event.words, event.volume + 1)] if event.words else []


def test_a_right_answer_goes_on() -> None:
    """`expect` accepts equal commands and ANY; `silence` accepts none."""
    talk(Parrot()).when(Said(b"a")).expect(Echo(b"a", 2)).when(Said(b"b", 5)).expect(Echo(b"b", ANY))
    talk(Parrot()).when(Said(b"")).silence()


def test_a_wrong_answer_shows_a_diff() -> None:
    """The failure tells what was said before and marks just the fields that differ."""
    conversation = talk(Parrot()).when(Said(b"a")).expect(Echo(b"a", 2)).when(Said(b"b"))
    with pytest.raises(pytest.fail.Exception) as failure:
        conversation.expect(Echo(ANY, 3))
    text = str(failure.value)
    assert "when   Said(words=b'a', volume=1)" in text
    assert "-    volume=3," in text
    assert "+    volume=2," in text
    assert " \x20   words=b'b'," in text


def test_an_unexpected_answer_is_not_lost() -> None:
    """A `when` that follows an answer nobody took fails."""
    conversation = talk(Parrot()).when(Said(b"a"))
    with pytest.raises(pytest.fail.Exception):
        conversation.when(Said(b"b"))


def test_long_bytes_are_cut() -> None:
    """A failure stays readable when a command carries a lot of data."""
    with pytest.raises(pytest.fail.Exception) as failure:
        talk(Parrot()).when(Said(b"x" * 10_000)).silence()
    assert "(10000 bytes)" in str(failure.value)
    assert len(str(failure.value)) < 2_000


def test_structs_within_structs() -> None:
    """Nested structs are taken apart, so that one wrong field is one line of the diff."""
    diff = difference([Append(Record(ANY, 1))], [Append(Record("a", 2))])
    assert [line for line in diff if line[0] in "+-"][2:] == ["-        size=1,", "+        size=2,"]
