"""Which rule decides; what a session is subject to; that what isn't known counts against it."""

from __future__ import annotations

import pytest

from agent.core.policy.rulebook import MAX_VERDICTS, Rulebook, Rules, Verdict
from agent.core.policy.verbs import operation
from agent.core.sql.fingerprints import LONGEST, fingerprint
from schemas.identity import Identity
from schemas.operation import Operation
from schemas.policy import Approvers, Policy, Rule, Who

ANN = Identity("ann", ("staff",))
NOON = 1_700_049_600_000_000  # Wednesday 2023-11-15 12:00 UTC


def book(*rules: Rule, default: str = "allow", identity: Identity = ANN, resource: str = "pg/shop") -> Rulebook:
    policy = Policy("0" * 16, rules, default="deny" if default == "deny" else "allow")
    return Rules(policy).rulebook(identity, resource, "127.0.0.1:5000", "psql")


def rule(name: str, effect: str, *match: str, **more: object) -> Rule:
    return Rule(name, match, effect, **more)  # type: ignore[arg-type]


def decided(rulebook: Rulebook, *operations: str, where: bool = True, **statement: object) -> tuple[str, str | None]:
    verdict = rulebook.decide(tuple(operation(each, where) for each in operations), **statement)  # type: ignore[arg-type]
    return verdict.effect, verdict.rule


KEEP = rule("keep", "deny", "DELETE app.users", "TRUNCATE *", message="Never.")
ASK = rule("ask", "approve", "DROP *", approvers=Approvers(("dba",), 2))
READ = rule("read", "allow", "SELECT *")


def test_first_match_decides() -> None:
    """Of two rules that match the first decides; where none does, the default."""
    rulebook = book(rule("own", "allow", "DROP TABLE app.tmp_*"), ASK)
    assert decided(rulebook, "DROP TABLE app.tmp_1") == ("allow", "own")
    assert decided(rulebook, "DROP TABLE app.orders") == ("approve", "ask")
    assert decided(rulebook, "SELECT app.orders") == ("allow", None)
    assert decided(book(READ, default="deny"), "INSERT app.x") == ("deny", None)
    assert decided(book(READ, default="deny"), "SELECT app.x") == ("allow", "read")


def test_most_forbidden_wins() -> None:
    """A statement is as forbidden as the most forbidden operation in it, wherever that stands."""
    rulebook = book(READ, KEEP, ASK)
    assert decided(rulebook, "SELECT app.x", "DROP TABLE app.x", "DELETE app.users") == ("deny", "keep")
    assert decided(rulebook, "DROP TABLE app.x", "SELECT app.x") == ("approve", "ask")
    assert decided(rulebook, "INSERT app.x", "SELECT app.x") == ("allow", "read")
    assert decided(rulebook) == ("allow", None)


def test_verdict_says_what_to_tell() -> None:
    """A verdict names rule, message, operation, and who may consent."""
    rulebook = book(KEEP, ASK)
    found = rulebook.decide((Operation("SELECT", "app.x"), Operation("DELETE", "app.users")))
    assert found == Verdict("deny", "keep", "Never.", Operation("DELETE", "app.users"))
    found = rulebook.decide((Operation("DROP VIEW", "app.v"),))
    assert found == Verdict("approve", "ask", None, Operation("DROP VIEW", "app.v"), Approvers(("dba",), 2))


@pytest.mark.parametrize(
    "about, identity, applies",
    [
        ({"who": Who(groups=("staff",))}, ANN, True),
        ({"who": Who(groups=("dba", "st*"))}, ANN, True),
        ({"who": Who(groups=("dba",))}, ANN, False),
        ({"who": Who(groups=("*",))}, Identity("bob"), False),
        ({"who": Who(subjects=("a*",), groups=("dba",))}, ANN, False),
        ({"who": Who(subjects=("ann",))}, ANN, True),
        ({"who": Who(actors=("*",))}, ANN, False),
        ({"who": Who(actors=("bot-*",))}, Identity("ann", actor="bot-1"), True),
        ({"on": ("pg/shop",)}, ANN, True),
        ({"on": ("http/*", "pg/*")}, ANN, True),
        ({"on": ("pg/prod",)}, ANN, False),
        ({"when": "session.client == 'psql' && resource.name == 'shop'"}, ANN, True),
        ({"when": "identity.subject == 'bob'"}, ANN, False),
        ({"when": "session.address == '127.0.0.1'"}, ANN, True),
        ({"when": "'dba' in identity.groups"}, Identity("x", ("dba",)), True),
        ({"when": "http.headers.x == 'y'"}, ANN, True),
    ],
)
def test_what_a_session_is_subject_to(about: dict[str, object], identity: Identity, applies: bool) -> None:
    """A rule is left out that isn't about the resource or the identity, or whose condition already doesn't hold."""
    rulebook = book(rule("r", "deny", "*", **about), identity=identity)
    assert rulebook.empty is not applies
    assert decided(rulebook, "SELECT app.x") == (("deny", "r") if applies else ("allow", None))


def test_empty() -> None:
    """Without rules and with everything allowed a session needs no policy; a default of deny is one."""
    assert book().empty
    assert not book(default="deny").empty


@pytest.mark.parametrize(
    "effect, when, expected",
    [
        ("deny", "http.headers['x'] == 'y'", True),
        ("approve", "1 / size(identity.run) == 1", True),
        ("allow", "1 / size(identity.run) == 1", False),
        ("deny", "1 / size(statement.text) == 1", True),
        ("allow", "1 / size(statement.text) == 1", False),
    ],
)
def test_failing_conditions_fail_closed(effect: str, when: str, expected: bool) -> None:
    """A condition that can't be evaluated holds for a rule that forbids and doesn't for one that allows."""
    found = decided(book(rule("r", effect, "*", when=when)), "SELECT app.x")
    assert found == ((effect, "r") if expected else ("allow", None))


@pytest.mark.parametrize(
    "rules, expected",
    [
        ((KEEP, ASK), ("deny", "keep")),
        ((ASK, KEEP), ("approve", "ask")),
        ((READ, KEEP), ("deny", "keep")),
        ((rule("all", "allow", "*"), KEEP), ("allow", "all")),
        ((rule("u", "allow", "UNKNOWN"), KEEP), ("allow", "u")),
        ((rule("u", "allow", "UNKNOWN *"), KEEP), ("allow", "u")),
        ((rule("other", "deny", "DELETE app.x", on=("pg/other",)),), ("allow", None)),
        ((rule("where", "deny", "DELETE app.x", when="!operation.where"),), ("deny", "where")),
        ((rule("etl", "deny", "DELETE app.x", when="!operation.where && identity.subject != 'ann'"),), ("allow", None)),
        ((rule("not", "allow", "SELECT *", when="operation.verb == 'UNKNOWN'"), KEEP), ("deny", "keep")),
        ((rule("u", "allow", "*", when="operation.verb == 'UNKNOWN'"), KEEP), ("allow", "u")),
    ],
)
def test_unknown(rules: tuple[Rule, ...], expected: tuple[str, str | None]) -> None:
    """What can't be determined is matched by the first rule that forbids anything; one that allows has to name it."""
    assert decided(book(*rules), "UNKNOWN") == expected
    assert book(*rules).decide((Operation("UNKNOWN", "dblink"),)).effect == expected[0] or rules[0].match == (
        "UNKNOWN",
    )


def test_operations_without_an_object() -> None:
    """VACUUM of everything is what `VACUUM *` means, and what `VACUUM` means."""
    assert decided(book(rule("r", "deny", "VACUUM *")), "VACUUM") == ("deny", "r")
    assert decided(book(rule("r", "deny", "VACUUM")), "VACUUM") == ("deny", "r")
    assert decided(book(rule("r", "deny", "VACUUM")), "VACUUM app.x") == ("allow", None)


def test_case() -> None:
    """Verbs are compared in upper case, objects exactly; a line feed in a name is a character like any other."""
    rulebook = book(rule("r", "deny", "delete app.Users", "drop *"))
    assert decided(rulebook, "DELETE app.Users") == ("deny", "r")
    assert decided(rulebook, "DELETE app.users") == ("allow", None)
    assert rulebook.decide((Operation("DROP TABLE", "app.a\nb"),)).rule == "r"


def test_conditions_on_the_operation() -> None:
    """`where` tells an UPDATE of everything from one of some rows; such a verdict may still be kept."""
    rulebook = book(rule("r", "deny", "UPDATE app.orders", when="!operation.where"))
    assert rulebook.stable
    assert decided(rulebook, "UPDATE app.orders", where=False) == ("deny", "r")
    assert decided(rulebook, "UPDATE app.orders") == ("allow", None)


def test_conditions_on_the_statement_and_the_time() -> None:
    """What turns on text, fingerprint, tag or time isn't stable, and is decided each time anew."""
    text = book(rule("r", "deny", "*", when="statement.text.contains('secret') || statement.tag == 'COPY'"))
    assert not text.stable
    assert decided(text, "SELECT app.x", text="select 1") == ("allow", None)
    assert decided(text, "SELECT app.x", text="select secret") == ("deny", "r")
    assert decided(text, "SELECT app.x", tag="COPY") == ("deny", "r")
    hours = book(rule("r", "deny", "*", when="now.getHours() >= 13"))
    assert not hours.stable
    assert decided(hours, "SELECT app.x", now=NOON) == ("allow", None)
    assert decided(hours, "SELECT app.x", now=NOON + 3_600_000_000) == ("deny", "r")
    assert book(rule("r", "deny", "*", when="now.getHours() >= 13", on=("pg/other",))).stable


def test_kept_verdicts_are_bounded() -> None:
    """However many different statements a session sends, what is kept stays bounded, and right."""
    rulebook = book(KEEP)
    for number in range(MAX_VERDICTS + 10):
        assert decided(rulebook, f"SELECT app.t{number}") == ("allow", None)
    assert decided(rulebook, "DELETE app.users") == ("deny", "keep")
    assert len(rulebook._kept) <= MAX_VERDICTS


@pytest.mark.parametrize(
    ("move", "effect"),
    [
        ("app.users TO app.people", "deny"),
        ("app.users TO other.users", "deny"),
        ("app. TO other.", "deny"),
        ("app.orders TO app.o", "allow"),
        ("app.people TO app.users", "allow"),
        ("other. TO third.", "allow"),
    ],
)
def test_renaming_from_under_a_rule(move: str, effect: str) -> None:
    """What a rule forbids to be done to an object forbids to give the object a name that the rule doesn't know; a rule
    about everything knows every name."""
    rules = (Rule("keep", ("DELETE app.users",), "deny"), Rule("drops", ("DROP *",), "deny"))
    rulebook = Rules(Policy("0" * 16, rules)).rulebook(Identity("ann"), "pg/shop")
    verdict = rulebook.decide((Operation("RENAME", move),))
    assert (verdict.effect, verdict.rule) == (effect, "keep" if effect == "deny" else None)


def test_fingerprint() -> None:
    """A condition sees the statement's fingerprint, the same whatever its constants; where there is none it is
    undecided, and counts against the operation."""
    one = fingerprint("SELECT * FROM app.users WHERE id = 1")
    rulebook = book(rule("known", "allow", "*", when=f"statement.fingerprint == '{one}'"), rule("rest", "deny", "*"))
    asked = Operation("SELECT", "app.users")
    assert rulebook.decide((asked,), "select *\nfrom app.users where id = 815").rule == "known"
    assert rulebook.decide((asked,), "select * from app.users where id > 1").rule == "rest"
    assert rulebook.decide((asked,), "", one).rule == "known"
    assert rulebook.decide((asked,), "").rule == "rest"
    forbids = book(rule("never", "deny", "*", when=f"statement.fingerprint == '{one}'"))
    assert forbids.decide((asked,), "selekt").rule == "never"
    assert forbids.decide((asked,), "select 1 /*" + "x" * LONGEST + "*/").rule == "never"
    assert forbids.decide((asked,), "").rule is None


def test_truncate_names_no_rows() -> None:
    """`!operation.where` holds of every TRUNCATE, and of an UPDATE or DELETE of all rows."""
    rulebook = book(rule("all", "deny", "DELETE app.users", "TRUNCATE *", when="!operation.where"))
    assert decided(rulebook, "TRUNCATE app.x") == ("deny", "all")
    assert decided(rulebook, "DELETE app.users") == ("allow", None)
    assert decided(rulebook, "DELETE app.users", where=False) == ("deny", "all")


def test_whether_anything_can_be_denied() -> None:
    """A rulebook says whether all is allowed whatever it does, and else which rule comes first that forbids."""
    assert (book(READ).permissive, book(READ).guardian) == (True, None)
    assert (book(READ, default="deny").permissive, book(READ, default="deny").guardian) == (False, None)
    assert (book(READ, ASK, KEEP).permissive, book(READ, ASK, KEEP).guardian) == (False, "ask")
    conditional = book(rule("late", "deny", "*", when="now.getHours() > 20"))
    assert (conditional.permissive, conditional.guardian) == (False, "late")
