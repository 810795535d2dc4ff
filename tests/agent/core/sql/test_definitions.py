"""Which columns a definition deals with."""

from __future__ import annotations

import pytest

from agent.core.sql import definitions
from agent.core.sql.definitions import Definition
from agent.core.sql.facts import Facts
from agent.core.sql.found import Wanted
from agent.core.sql.statements import split


@pytest.mark.parametrize(
    "text", ["drop table t", "create type t as enum ('a')", "alter table t rename to u", "copy t from stdin"]
)
def test_what_is_no_definition_of_rows_is_left_to_others(text: str) -> None:
    """Statements of other kinds are about their objects as a whole, or about none."""
    (statement,) = split(text, True)
    assert definitions.read(statement, Facts()) is None


@pytest.mark.parametrize(
    "text",
    [
        "alter table t add column c int",
        "create index on t (a)",
        "create trigger r before update on t execute function f()",
    ],
)
def test_the_table_is_asked_for(text: str) -> None:
    """What the table's name stands for has to be known first."""
    (statement,) = split(text, True)
    wanted = definitions.read(statement, Facts())
    assert isinstance(wanted, Wanted)
    assert ("relation", '"t"') in wanted.names


def test_a_table_without_parents_and_keys_deals_with_nothing() -> None:
    """A new table has no rows that anybody could get to see."""
    (statement,) = split("create table t (a int check (a > 0))", True)
    assert definitions.read(statement, Facts()) == Definition()
