"""What a policy's author is warned of."""

from __future__ import annotations

import pytest

from agent.core.policy.shadows import shadowed, strange_verb, without_object
from schemas.policy import Rule, Who


def test_shadowed() -> None:
    """A rule that earlier ones without a condition leave nothing to is told, with their names; others aren't."""
    rules = (
        Rule("drops", ("DROP *",), "deny", on=("pg/*",)),
        Rule("staff", ("GRANT *",), "deny", who=Who(groups=("staff",))),
        Rule("maybe", ("SELECT *",), "deny", when="!operation.where"),
        Rule("deletes", ("delete *",), "allow"),
        Rule("never", ("DROP TABLE app.x", "DELETE app.?"), "deny", on=("pg/shop",)),
        Rule("partly", ("DROP TABLE app.x", "INSERT app.x"), "deny", on=("pg/shop",)),
        Rule("wider", ("DROP TABLE app.x",), "deny"),
        Rule("same", ("GRANT app.x",), "allow", who=Who(groups=("staff",))),
        Rule("others", ("GRANT app.x",), "allow", who=Who(groups=("dba",))),
        Rule("sometimes", ("SELECT app.x",), "deny"),
    )
    assert {rules[place].name: by for place, by in shadowed(rules).items()} == {
        "never": ["drops", "deletes"],
        "same": ["staff"],
    }


@pytest.mark.parametrize(
    "pattern, expected",
    [
        ("DELET app.users", ("DELET", None)),
        ("DROPP *", ("DROPP", None)),
        ("DROP TABEL app.x", ("DROP TABEL", None)),
        ("TRUNCATE TABLE app.x", ("TRUNCATE TABLE", "TRUNCATE")),
        ("DROP USER bob", ("DROP USER", "DROP ROLE")),
        ("CREATE USER MAPPING *", None),
        ("DROP *", None),
        ("* ROLE *", None),
        ("del* app.x", None),
        ("UNKNOWN", None),
        ("*", None),
        ("ALTER TABLE OWNER app.x", None),
    ],
)
def test_strange_verbs(pattern: str, expected: tuple[str, str | None] | None) -> None:
    """A verb that no operation has is told; a glob that reaches one isn't."""
    assert strange_verb(pattern, ("pg/shop",)) == expected
    assert strange_verb(pattern, ("http/*",)) is None


def test_verbs_of_other_resources() -> None:
    """Where a rule is about everything, the verbs of everything are known."""
    assert strange_verb("GET /v1/*", ("*",)) is None
    assert strange_verb("GET /v1/*", ("pg/*",)) == ("GET", None)


@pytest.mark.parametrize(
    "pattern, expected", [("TRUNCATE", "TRUNCATE"), ("TRUNCATE *", None), ("VACUUM", None), ("*", None)]
)
def test_without_object(pattern: str, expected: str | None) -> None:
    """A verb alone matches nothing where every operation has an object."""
    assert without_object(pattern) == expected
