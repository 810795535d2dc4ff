"""What calling a routine may do, by what the catalog says of it."""

from __future__ import annotations

import pytest

from agent.core.sql.routines import (
    CODE,
    COMPUTES,
    CONSTANT,
    DOES_MORE,
    JSON,
    MORE,
    SETTING,
    UNCLEAR,
    Routine,
    effect,
    setting_effect,
)


def builtin(name: str, volatility: str = "v") -> int:
    return effect(Routine(100, "pg_catalog", name, "internal", "f", volatility))


@pytest.mark.parametrize(
    ("name", "volatility", "expected"),
    [
        ("lower", "i", 0),
        ("now", "s", 0),
        ("random", "v", 0),
        ("pg_sleep", "v", 0),
        ("pg_advisory_lock", "v", 0),
        ("nextval", "v", CONSTANT),
        ("setval", "v", MORE | CONSTANT),
        ("set_config", "v", MORE | CONSTANT | SETTING),
        ("pg_read_file", "v", MORE),
        ("pg_terminate_backend", "v", MORE),
        ("lo_import", "v", MORE | CONSTANT),
        ("query_to_xml", "v", MORE | CODE | CONSTANT),
        ("table_to_xml", "s", MORE | CODE | CONSTANT),
        ("ts_rewrite", "v", MORE | CODE | CONSTANT),
        ("ts_rewrite", "i", 0),
        ("to_json", "s", JSON),
        ("made_in_a_later_version", "v", MORE),
        ("made_in_a_later_version", "s", 0),
    ],
)
def test_builtins(name: str, volatility: str, expected: int) -> None:
    """Builtins go by their names; a volatile one that nobody wrote down does more than compute."""
    assert builtin(name, volatility) == expected


@pytest.mark.parametrize(
    ("language", "kind", "volatility", "expected"),
    [
        ("sql", "f", "i", MORE | CODE),
        ("plpgsql", "f", "v", MORE | CODE),
        ("plpgsql", "p", "v", MORE | CODE),
        ("plperlu", "f", "i", MORE | CODE),
        ("c", "f", "i", MORE),
        ("c", "f", "v", MORE | CODE),
        ("c", "w", "s", MORE | CODE),
        ("internal", "f", "v", MORE | CODE | UNCLEAR),
        ("internal", "a", "i", MORE),
    ],
)
def test_users_routines(language: str, kind: str, volatility: str, expected: int) -> None:
    """A user's routine always does more; it runs code unless it is C that is said to compute only. An aggregate is
    what its functions are."""
    assert effect(Routine(20000, "app", "f", language, kind, volatility)) == expected


def test_a_users_routine_in_pg_catalog() -> None:
    """A routine that somebody has put into pg_catalog is no builtin, whatever its name."""
    assert effect(Routine(20000, "pg_catalog", "lower", "sql", "f", "i")) == MORE | CODE


def test_settings_of_its_own() -> None:
    """A routine that switches off what would show its statements is unclear."""
    for settings, unclear in (
        (("search_path=app",), False),
        (("work_mem=1MB", "client_min_messages=error"), True),
        (("DEBUG_print_rewritten=off",), True),
        (("log_min_messages=panic",), True),
    ):
        assert bool(effect(Routine(20000, "app", "f", "sql", settings=settings)) & UNCLEAR) == unclear


def test_what_is_gone() -> None:
    """Nothing is known of a routine that doesn't exist."""
    assert effect(None) == UNCLEAR


def test_setting_effect() -> None:
    """Settings are told apart whatever their case."""
    assert setting_effect("Search_Path") == SETTING
    assert setting_effect("work_mem") == 0
    assert setting_effect("CLIENT_MIN_MESSAGES") == SETTING | UNCLEAR


def test_the_lists() -> None:
    """No builtin is in both lists."""
    assert not COMPUTES & DOES_MORE
