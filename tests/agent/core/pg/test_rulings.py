"""What was decided, for how long that holds, and what is refused until masks can replace values."""

from __future__ import annotations

import pytest

from agent.core.pg.errors import fields
from agent.core.pg.messages import HEAD
from agent.core.pg.refusals import refusal
from agent.core.pg.rulings import LIFETIME, Rulings
from agent.core.policy.masks import Masks
from agent.core.policy.rulebook import Rules
from agent.core.sql.catalog import Catalog
from agent.core.sql.found import Found
from agent.core.sql.statements import Statement, split
from schemas.identity import Identity
from schemas.operation import Operation
from schemas.policy import Mask, Policy, Rule

WHO = Identity("ann", ("staff",))
KEEP = Rule("keep-users", ("DELETE app.users",), "deny", message="set active = false")
HIDE = Mask("personal", columns=("app.users.email",), predicates="deny")
RENAMED = "app.users.email TO app.users.mail"
READ = Found((Operation("SELECT", "app.users"),))


def rulings(*rules: Rule, masks: tuple[Mask, ...] = (), catalog: Catalog | None = None) -> Rulings:
    policy = Policy("0" * 16, rules, masks)
    rulebook = Rules(policy).rulebook(WHO, "pg/shop")
    return Rulings(rulebook, Masks(policy).masked(WHO, "pg/shop"), catalog or Catalog())


def one(text: str) -> Statement:
    (statement,) = split(text)
    return statement


def test_kept_by_text_and_by_shape() -> None:
    """A decision holds for all statements that differ in constants alone, with the same settings and types."""
    made = rulings(KEEP)
    statement, other = one("select 1 from t where a = 1"), one("select 2 from t where a = 3")
    made.keep(statement, (), 0, made.judge(READ, statement, 0))
    assert made.kept(statement, (), 0, 1) is made.kept(other, (), 0, 1) is not None
    assert made.kept(statement, (), 1, 1) is None
    assert made.kept(statement, (23,), 0, 1) is None
    assert made.kept(one("select 1 from u where a = 1"), (), 0, 1) is None


def test_what_turns_on_the_statement_is_decided_each_time() -> None:
    """What was found of a statement is kept, but a condition on its text or on the time is asked anew."""
    made = rulings(Rule("late", ("*",), "deny", when="now >= timestamp('1970-01-01T00:00:00.5Z')"))
    statement = one("select 1 from t")
    judged = made.judge(READ, statement, 0)
    made.keep(statement, (), 0, judged)
    early, late = made.kept(statement, (), 0, 1), made.kept(statement, (), 0, LIFETIME // 2)
    assert early is not None and not early.denied and early.found is judged.found
    assert late is not None and late.denied


def test_constants_that_matter() -> None:
    """Where a constant is the meaning the decision holds for that text only."""
    made = rulings(KEEP)
    statement, other = one("select nextval('a')"), one("select nextval('b')")
    found = Found((), constants_matter=True)
    made.keep(statement, (), 0, made.judge(found, statement, 0))
    assert made.kept(statement, (), 0, 1) is not None
    assert made.kept(other, (), 0, 1) is None


def test_a_decision_grows_old() -> None:
    """Others may change the catalog: what was decided is believed for a second."""
    made = rulings(KEEP)
    statement = one("select 1")
    made.keep(statement, (), 0, made.judge(READ, statement, 0))
    assert made.kept(statement, (), 0, LIFETIME - 1) is not None
    assert made.kept(statement, (), 0, LIFETIME) is None


def test_another_session_changes_the_catalog() -> None:
    """What one session does to the catalog has every other of its resource decide anew."""
    catalog = Catalog()
    made, other = rulings(KEEP, catalog=catalog), rulings(KEEP, catalog=catalog)
    statement = one("select 1")
    made.keep(statement, (), 0, made.judge(READ, statement, 0))
    other.changed()
    assert made.kept(statement, (), 0, 1) is None
    assert made.stale()
    assert not made.stale()


def test_what_alters_the_catalog_is_not_kept() -> None:
    """The same DROP twice is two decisions."""
    made = rulings(KEEP)
    statement = one("drop table t")
    made.keep(
        statement, (), 0, made.judge(Found((Operation("DROP TABLE", "app.t"),), changes_catalog=True), statement, 0)
    )
    assert made.kept(statement, (), 0, 1) is None


def test_refusal_is_told() -> None:
    """The client reads SQLSTATE, rule, message, the operation and a hint."""
    made = rulings(KEEP)
    judged = made.judge(Found((Operation("DELETE", "app.users"),)), one("delete from app.users"), 0)
    assert judged.denied
    told = fields(refusal(judged.ruling)[HEAD:])
    assert told["C"] == "42501"
    assert "keep-users" in told["M"] and "set active = false" in told["M"]
    assert "DELETE app.users" in told["D"]
    assert told["H"]


def test_consent_that_cannot_be_asked_for() -> None:
    """What needs consent is denied, and says so."""
    made = rulings(Rule("ask", ("DROP *",), "approve"))
    judged = made.judge(Found((Operation("DROP TABLE", "app.t"),)), one("drop table app.t"), 0)
    assert (judged.ruling.decision, judged.ruling.rule) == ("deny", "ask")
    assert "consent" in (judged.ruling.message or "")


@pytest.mark.parametrize(
    "found",
    [
        Found(READ.operations, shown=("app.users.email",)),
        Found(READ.operations, compared=("app.users.email",)),
        Found(READ.operations, shown=("*",)),
        Found(READ.operations, shown=("*",), opaque=True),
        Found((Operation("CREATE INDEX", "app.i"),), defines=("app.users",)),
        Found(
            (Operation("RENAME", "app.users.email TO app.users.mail"),), defines=("app.users.email TO app.users.mail",)
        ),
        Found((Operation("FOREIGN", "app.far"),)),
        Found((Operation("COPY PROGRAM", "cat"),)),
        Found((Operation("EXECUTE", "pg_catalog.pg_read_file"),)),
    ],
)
def test_what_would_let_a_masked_column_out_is_refused(found: Found) -> None:
    """As long as values can't be replaced, whatever could show one is refused by the mask's name."""
    made = rulings(masks=(HIDE,))
    assert (made.rule(found, one("select 1"), 0).decision, made.rule(found, one("select 1"), 0).rule) == (
        "deny",
        "personal",
    )
    assert rulings(KEEP).rule(found, one("select 1"), 0).decision == "allow"


def test_other_columns_are_left_alone() -> None:
    """A mask on one column refuses nothing of the others."""
    made = rulings(masks=(HIDE,))
    found = Found(READ.operations, shown=("app.users.name",), compared=("app.users.id",))
    assert made.rule(found, one("select name from app.users"), 0).decision == "allow"
