"""Which masks are in force for whom, and which columns they hide."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.policy.conditions import ConditionError
from agent.core.policy.masks import Cover, Masked, Masks
from agent.core.sql.columns import UNKNOWN_COLUMN
from agent.core.sql.found import Output, Source
from schemas.identity import Identity
from schemas.policy import Mask, Policy

ANN = Identity("ann", ("staff",))
OFFICER = Identity("olga", ("staff", "dpo"))


def masked(*masks: Mask, identity: Identity = ANN, resource: str = "pg/shop", **session: str) -> Masked:
    return Masks(Policy("0" * 16, masks=masks)).masked(identity, resource, **session)


PERSONAL = Mask("personal", ("pg/shop",), ("app.users.email", "*.*.ssn"))


def test_hides_columns() -> None:
    """The first column that a mask's globs match is told, with the mask's name; others are left alone."""
    found = masked(PERSONAL, Mask("money", columns=("app.*.salary",)))
    assert found.hides(("app.users.id", "app.users.email")) == ("personal", "app.users.email")
    assert found.hides(("other.people.ssn",)) == ("personal", "other.people.ssn")
    assert found.hides(("app.staff.salary",)) == ("money", "app.staff.salary")
    assert found.hides(("app.users.id", "app.users.emails", "xapp.users.email")) is None
    assert found.hides(()) is None


def test_unknown_column_is_hidden() -> None:
    """What may be any column is hidden by any mask that hides columns at all."""
    assert masked(PERSONAL).hides((UNKNOWN_COLUMN,)) == ("personal", "*")
    assert masked(Mask("look", types=("email",))).hides((UNKNOWN_COLUMN,)) is None


def test_compared() -> None:
    """Columns that rows are only chosen by are hidden by the masks that say so."""
    strict = Mask("strict", columns=("app.users.ssn",), predicates="deny")
    found = masked(PERSONAL, strict)
    assert found.hides((), ("app.users.email",)) is None
    assert found.hides((), ("app.users.id", "app.users.ssn")) == ("strict", "app.users.ssn")
    assert found.hides(("app.users.email",), ("app.users.ssn",)) == ("personal", "app.users.email")


def test_resource() -> None:
    """A mask is about the resources that its `on` names."""
    assert masked(PERSONAL, resource="pg/other").empty
    assert masked(PERSONAL, resource="pg/other").hides(("app.users.email",)) is None
    assert not masked(PERSONAL).empty
    assert not masked(Mask("all", columns=("*",)), resource="pg/other").empty


def test_unless() -> None:
    """A mask is off for whom its condition holds, and for nobody else."""
    mask = Mask("personal", columns=("*.*.ssn",), unless="'dpo' in identity.groups && session.address == '10.0.0.1'")
    assert masked(mask, identity=OFFICER, address="10.0.0.1").empty
    assert masked(mask, identity=OFFICER, address="10.0.0.1:5432").empty
    assert not masked(mask, identity=OFFICER, address="10.0.0.2").empty
    assert not masked(mask, identity=ANN, address="10.0.0.1").empty


@pytest.mark.parametrize(
    "unless",
    [
        "operation.verb == 'SELECT'",
        "now > timestamp('2000-01-01T00:00:00Z')",
        "identity.groups[7] == 'dpo'",
        "1 / 0 == 1",
        "statement.text.contains('x')",
    ],
)
def test_undecided_condition(unless: str) -> None:
    """A condition that can't be evaluated, or that needs what a session doesn't have, leaves the mask on."""
    assert not masked(Mask("personal", columns=("*.*.ssn",), unless=unless), identity=OFFICER).empty


def test_http_values() -> None:
    """For a resource that isn't http, the names of http are empty texts."""
    mask = Mask("personal", columns=("*.*.ssn",), unless="http.path == '' && resource.type == 'pg'")
    assert masked(mask).empty
    assert not masked(mask, resource="http/shop").empty


def test_unenforceable() -> None:
    """Masks about fields of documents are named: a database has none. Types and patterns are searched for."""
    found = masked(
        PERSONAL,
        Mask("look", types=("email",)),
        Mask("both", columns=("a.b.c",), patterns=("x",)),
        Mask("json", fields=("$.email",)),
        Mask("off", types=("email",), unless="true"),
    )
    assert found.unenforceable == ("json",)
    assert found.search is not None and found.search.names == ("look", "both")
    assert masked(PERSONAL).unenforceable == ()
    assert masked(PERSONAL).search is None
    assert masked(Mask("json", fields=("$.email",))).empty


def test_looks_without_columns() -> None:
    """A mask by look alone hides no column, and isn't nothing."""
    found = masked(Mask("look", types=("email",)))
    assert (found.empty, found.by_column, found.first, found.name) == (False, False, "", "look")
    assert (masked().empty, masked().name) == (True, "")
    assert masked(PERSONAL, Mask("look", types=("email",))).name == "personal"


def test_searches_are_compiled_once() -> None:
    """Sessions with the same masks in force share what they are searched for; others don't."""
    masks = Masks(
        Policy(
            "0" * 16,
            masks=(Mask("a", types=("email",)), Mask("b", types=("iban",), unless="identity.subject == 'olga'")),
        )
    )
    first, second = masks.masked(ANN, "pg/shop"), masks.masked(ANN, "pg/other")
    assert first.search is second.search
    other = masks.masked(OFFICER, "pg/shop").search
    assert other is not None and other.names == ("a",)


def output(*sources: Source) -> Output:
    return Output("x", sources)


@pytest.mark.parametrize("way", ["redact", "partial", "hash", "null", "fake"])
def test_cover(way: Any) -> None:
    """A column is covered by the first mask that hides anything in it, in that mask's way where the value is the
    column's own; what is made of hidden values is redacted, lest it tells of them."""
    found = masked(Mask("ids", columns=("app.users.ssn",), replacement=way), Mask("rest", columns=("app.*.*",)))
    ssn, name = Source("app.users.ssn", plain=True), Source("app.users.name", plain=True)
    assert found.cover(output(ssn)) == Cover("ids", way, ("app.users.ssn",))
    assert found.cover(output(name, ssn)) == Cover("ids", way, ("app.users.ssn",))
    assert found.cover(output(name)) == Cover("rest", "redact", ("app.users.name",))
    assert found.cover(output(Source("other.t.c", plain=True))) is None
    assert found.cover(output()) is None
    made = found.cover(output(Source("app.users.ssn")))
    assert made == Cover("ids", "null" if way == "null" else "redact", ("app.users.ssn",))
    unknown = found.cover(output(Source(UNKNOWN_COLUMN)))
    assert unknown is not None and unknown.mask == "ids"


def test_concerns_tables() -> None:
    """It is told whether a table may have hidden columns."""
    found = masked(PERSONAL)
    assert found.concerns("app.users") == "personal"
    assert found.concerns("app.orders") == "personal"  # it may have an ssn
    found = masked(Mask("mail", columns=("app.users.email", "hr.staff*")))
    assert found.concerns("app.users") == "mail"
    assert found.concerns("app.user") is None
    assert found.concerns("app.orders") is None
    assert found.concerns("hr.staff_old") == "mail"


def test_condition_error() -> None:
    """A condition that isn't one is an error, as it is for rules."""
    with pytest.raises(ConditionError):
        masked(Mask("personal", columns=("*.*.ssn",), unless="identity.nobody"))
