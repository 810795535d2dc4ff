"""Conditions: what is refused when the policy is read, and what they say of values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.core.policy.conditions import NAMES, Condition, ConditionError, host

VALUES: dict[str, Any] = {
    "identity.subject": "ann",
    "identity.groups": ["staff", "dpo"],
    "identity.actor": "",
    "operation.where": False,
    "http.headers": {},
    "statement.text": "select 1",
    "now": datetime(2026, 1, 5, 9, tzinfo=UTC),
}


def faults(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(ConditionError) as caught:
        Condition(text)
    return [(fault.line, fault.column, fault.message) for fault in caught.value.faults]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("!operation.where && identity.subject != 'etl'", True),
        ("operation.where || identity.subject == 'etl'", False),
        ("'dpo' in identity.groups", True),
        ("identity.groups.exists(g, g.startsWith('admin'))", False),
        ("now.getHours('UTC') < 8 || now.getDayOfWeek() == 1", True),
        ("now > timestamp('2026-01-01T00:00:00Z')", True),
        ("identity.actor == ''", True),
        ("statement.text.matches('^select')", True),
        ("identity\n  .subject == 'ann'", True),
        ("http.headers['x'] == 'y'", None),
        ("1 / 0 == 1", None),
        ("session.client == 'psql'", None),
        ("session.client == 'psql' && identity.subject == 'bob'", False),
        ("session.client == 'psql' || identity.subject == 'ann'", True),
    ],
)
def test_evaluating(text: str, expected: bool | None) -> None:
    """It holds, doesn't, or can't be said: for an error, or when it turns on a value that isn't there."""
    assert Condition(text).holds(VALUES) is expected


@pytest.mark.parametrize(
    "text, expected",
    [
        ("identity.subjct == 'a'", [(1, 1, "unknown name identity.subjct")]),
        ("true && idenity.subject == 'a'", [(1, 9, "unknown name idenity.subject")]),
        ("true &&\n  operation.x", [(2, 3, "unknown name operation.x")]),
        ("a || operation.whre", [(1, 1, "unknown name a"), (1, 6, "unknown name operation.whre")]),
        ("identity == 'x'", [(1, 1, "unknown name identity")]),
        ("operation.where + 1 == 2", [(1, 17, "found no matching overload for '_+_' applied to '(bool, int)'")]),
        ("identity.subject > 1", [(1, 18, "found no matching overload for '_>_' applied to '(string, int)'")]),
        ("identity.subject", [(1, 1, "the condition has no truth value (got string, expected bool)")]),
        ("1 +", [(1, 4, "the condition ends too soon")]),
        ("", [(1, 1, "the condition ends too soon")]),
        ("statement.text.matches('a(')", [(1, 1, "invalid regular expression: missing ): a(")]),
        ("operation.where && now.getHours('Mars') == 1", [(1, 1, "invalid timezone")]),
        ("a b", [(1, 3, "extraneous input 'b'")]),
    ],
)
def test_refused(text: str, expected: list[tuple[int, int, str]]) -> None:
    """A misspelt name, a wrong type and what is no expression are told where they stand, all at once."""
    assert faults(text) == expected


@pytest.mark.parametrize(
    "text", ["(" * 5000 + "true" + ")" * 5000, "1" + "+1" * 4900 + " > 1", "[" * 9000, "x" * 20_000, "\udc80"]
)
def test_hostile(text: str) -> None:
    """Deep, long and broken ones are refused, nothing worse."""
    assert faults(text)


def test_names_that_are_used() -> None:
    """It says which names it uses, however they are written; a text that looks like one isn't."""
    found = Condition("identity . subject == 'statement.text' && http.headers.now == 'unknown'").names
    assert found == {"identity.subject", "http.headers"}


def test_values_that_cannot_be_handed_over() -> None:
    """A value that CEL can't take leaves the condition undecided, it doesn't end the session."""
    assert Condition("statement.text == 'x'").holds({"statement.text": "\udc80"}) is None


def test_every_name() -> None:
    """Each name is declared and found again."""
    assert {name for name in NAMES for used in Condition(f"{name} == {name}").names if used == name} == set(NAMES)


@pytest.mark.parametrize(
    "address, expected",
    [
        ("127.0.0.1:5000", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]:5000", "::1"),
        ("::1", "::1"),
        ("fe80::1:22", "fe80::1:22"),
        ("", ""),
        ("local", "local"),
    ],
)
def test_addresses(address: str, expected: str) -> None:
    """Conditions see an address without its port, whatever kind of address it is."""
    assert host(address) == expected
