"""Reasons say what the rulebook does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.core.policy.reasons import Reason, reasons
from agent.core.policy.rulebook import Rules
from agent.core.policy.verbs import operation
from schemas.identity import Identity
from schemas.operation import Operation
from schemas.policy import Policy, Rule, Who

ANN = Identity("ann", ("staff",))


def told(policy: Policy, asked: Operation, identity: Identity = ANN) -> list[Reason]:
    rules = Rules(policy)
    book = rules.rulebook(identity, "pg/shop")
    return reasons(rules, book, identity, "pg/shop", asked, book.values("", None, "", 0))


def test_rule_by_rule() -> None:
    """Each rule before the one that decides is told with what keeps it from deciding."""
    policy = Policy(
        "0",
        (
            Rule("elsewhere", ("*",), "deny", on=("pg/prod",)),
            Rule("others", ("*",), "deny", who=Who(groups=("dba",))),
            Rule("bots", ("*",), "deny", who=Who(actors=("bot-*",))),
            Rule("bob", ("*",), "deny", who=Who(subjects=("bob",))),
            Rule("reads", ("SELECT *",), "allow"),
            Rule("rows", ("DELETE *",), "deny", when="!operation.where"),
            Rule("users", ("DELETE app.users",), "deny"),
            Rule("after", ("*",), "deny"),
        ),
    )
    assert [(reason.rule, reason.decides, reason.why) for reason in told(policy, operation("DELETE app.users"))] == [
        ("elsewhere", False, "it is about pg/prod, and this is pg/shop"),
        ("others", False, "it is about members of dba, and ann is in staff"),
        ("bots", False, "it is about what bot-* does for others, and here acts nobody"),
        ("bob", False, "it is about bob, and this is ann"),
        ("reads", False, "it matches only SELECT *"),
        ("rows", False, "its condition does not hold: !operation.where"),
        ("users", True, "it matches"),
    ]
    (*_, unknown) = told(policy, operation("UNKNOWN"))
    assert unknown == Reason(
        "rows",
        "deny",
        True,
        "nobody knows what this does, so it is matched by whatever forbids something, and its condition is not to be "
        "evaluated here: !operation.where",
    )
    assert told(Policy("0"), operation("UNKNOWN"))[-1].rule is None


RULES = st.builds(
    Rule,
    name=st.text(alphabet="abc", min_size=1),
    match=st.lists(st.sampled_from(["DELETE *", "* app.x", "UNKNOWN", "SELECT app.?", "*"]), min_size=1).map(tuple),
    effect=st.sampled_from(["allow", "deny", "approve"]),
    on=st.sampled_from([("*",), ("pg/shop",), ("pg/prod",)]),
    who=st.sampled_from([None, Who(groups=("staff",)), Who(subjects=("bob",))]),
    when=st.sampled_from(
        [None, "operation.where", "!operation.where", "http.headers.x == ''", "1 / size(statement.text) == 1", "true"]
    ),
)


@given(
    st.lists(RULES, max_size=5).map(tuple),
    st.sampled_from(["allow", "deny"]),
    st.sampled_from(["DELETE app.x", "SELECT app.y", "UNKNOWN", "VACUUM"]),
    st.booleans(),
)
def test_agree_with_the_rulebook(rules: tuple[Rule, ...], default: str, asked: str, where: bool) -> None:
    """The rule that is told to decide is the one that decides."""
    policy = Policy("0", rules, default="deny" if default == "deny" else "allow")
    verdict = Rules(policy).rulebook(ANN, "pg/shop").decide((operation(asked, where),))
    (*before, last) = told(policy, operation(asked, where))
    assert (last.effect, last.rule, last.decides) == (verdict.effect, verdict.rule, True)
    assert not any(reason.decides for reason in before)
