"""Where a verb ends and its object begins."""

from __future__ import annotations

import pytest

from agent.core.policy.verbs import PG, divided, normal, operation
from schemas.operation import Operation


@pytest.mark.parametrize("verb", sorted(PG))
def test_every_verb(verb: str) -> None:
    """An operation that is written out is read back, whatever its verb."""
    where = verb != "TRUNCATE"
    assert operation(str(Operation(verb, "app.x"))) == Operation(verb, "app.x", where)
    assert operation(verb) == Operation(verb, "", where)


@pytest.mark.parametrize(
    "written, verb, name",
    [
        ("delete app.Users", "DELETE", "app.Users"),
        ("drop table app.my table", "DROP TABLE", "app.my table"),
        ("DELET app.users", "DELET", "app.users"),
        ("dele* app.users", "DELE*", "app.users"),
        ("* role *", "* ROLE", "*"),
        ("drop *", "DROP", "*"),
        ("*", "*", ""),
        ("GET /v1/Invoices/7", "GET", "/v1/Invoices/7"),
        ("EXEC systemctl restart web", "EXEC", "systemctl restart web"),
        ("ALTER TABLE OWNER app.x", "ALTER TABLE OWNER", "app.x"),
    ],
)
def test_dividing(written: str, verb: str, name: str) -> None:
    """The verb is compared in upper case, the object as it is."""
    assert divided(written) == (verb, name)
    assert normal(written) == f"{verb} {name}".strip()


def test_where_is_for_rows() -> None:
    """Only an UPDATE or DELETE can be without a WHERE."""
    assert not operation("DELETE app.x", where=False).where
    assert operation("SELECT app.x", where=False).where
