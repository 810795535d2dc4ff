"""Fingerprints: the same for what differs in constants alone, and no text that they can't be asked for."""

from __future__ import annotations

import pytest

from agent.core.sql.fingerprints import LONGEST, fingerprint


def test_constants_make_no_difference() -> None:
    """16 hex digits that hang on everything but constants, comments, case and white space."""
    one = fingerprint("SELECT a FROM t WHERE b = 1")
    assert one is not None and len(one) == 16 and int(one, 16)
    assert one == fingerprint("select a /* x */\nfrom t where b = 22")
    assert one != fingerprint("SELECT a FROM u WHERE b = 1")


@pytest.mark.parametrize("text", ["selekt", "select 1;;;(", "(" * 10_000, "select '" + "x" * LONGEST + "'"])
def test_no_fingerprint(text: str) -> None:
    """What can't be parsed, and what is too long, has none."""
    assert fingerprint(text) is None


@pytest.mark.parametrize(
    "text",
    ["select 1" + " + 1" * 100_000, "select 1" + " union select 1" * 60_000, "select (" * 3_000 + "1" + ")" * 3_000],
)
def test_deep_statements(text: str) -> None:
    """However deep a statement is nested, asking for its fingerprint ends."""
    fingerprint(text)
