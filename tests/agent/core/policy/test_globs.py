"""Globs: what they match, against a definition that is obviously right; and that they can't be made to take long."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.policy.globs import Globs, can_begin, covers, fault, matches

PATTERNS = st.text(alphabet="ab*?. ", min_size=1, max_size=9)
TEXTS = st.text(alphabet="ab. \n", max_size=9)


def by_definition(pattern: str, text: str) -> bool:
    parts = {"*": ".*", "?": "."}
    return re.fullmatch("".join(parts.get(c, re.escape(c)) for c in pattern), text, re.DOTALL) is not None


@given(PATTERNS, TEXTS)
def test_matching(pattern: str, text: str) -> None:
    """A glob matches exactly what its definition says, alone and among several, line feeds included."""
    assert matches(pattern, text) == by_definition(pattern, text)
    assert Globs((pattern, "no such text")).matches(text) == by_definition(pattern, text)


@given(PATTERNS, PATTERNS, TEXTS)
def test_covering(wide: str, narrow: str, text: str) -> None:
    """Where one glob covers another there is no text that only the other one matches."""
    if covers(wide, narrow) and matches(narrow, text):
        assert matches(wide, text)


@given(PATTERNS, TEXTS, TEXTS)
def test_beginning(pattern: str, beginning: str, rest: str) -> None:
    """A glob that matches a text can begin like it."""
    if matches(pattern, beginning + rest):
        assert can_begin(pattern, beginning)


@pytest.mark.parametrize(
    "wide, narrow, expected",
    [
        ("*", "DROP *", True),
        ("DROP *", "DROP TABLE app.x", True),
        ("DROP TABLE app.x", "DROP *", False),
        ("?ROP *", "DROP *", True),
        ("DROP ?", "DROP *", False),
        ("* ROLE *", "DROP ROLE *", True),
    ],
)
def test_examples_of_covering(wide: str, narrow: str, expected: bool) -> None:
    """The cases that a policy has."""
    assert covers(wide, narrow) is expected


@pytest.mark.parametrize("text", ["a" * 100_000, "a" * 100_000 + "b"])
def test_no_pattern_takes_long(text: str) -> None:
    """Stars don't multiply: a pattern of hundreds of them is done in a moment with a text of any length."""
    begun = time.perf_counter()
    assert not matches("a*" * 400 + "c", text)
    assert matches("*a" * 400 + "*", text)
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize(
    "pattern", ["", "DROP  *", " DROP *", "app.{users,orders}", "[a]", "a\\*", "a\x1b", "a" * 1001]
)
def test_faulty(pattern: str) -> None:
    """What can't match, or means something else elsewhere, is no glob."""
    assert fault(pattern)


@pytest.mark.parametrize(
    "pattern", ["*", "* ROLE *", "DELETE app.users", "GET /v1/invoices/?", "UNKNOWN", 'SELECT app."Ä"']
)
def test_good(pattern: str) -> None:
    """Ordinary globs are fine."""
    assert fault(pattern) is None
