"""`hoopctl policy`: check, test and backtest."""

from __future__ import annotations

import json
import textwrap
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

import cli.policy
from agent.core.sql.found import Found
from cli.main import run
from cli.policy_reader import ReaderError
from schemas.explanation import Explained, Explanation
from schemas.operation import Operation
from schemas.records import OperationStarted, Record, SessionStarted
from tests.story import SECOND, home, write

POLICY = """\
version: 1
rules:
  - name: keep-users
    match: ["DELETE app.users", "TRUNCATE *"]
    effect: deny
    message: Never.
  - name: whole-tables
    match: ["UPDATE *"]
    when: "!operation.where"
    effect: deny
  - name: ask
    match: ["DROP *"]
    who: {groups: [staff]}
    effect: approve
  - name: at-night
    match: ["INSERT *"]
    when: now.getHours() < 6 && session.client != 'batch'
    effect: deny
"""

CASES = """\
resource: pg/shop
identity: {subject: ann, groups: [staff]}
cases:
  - name: users stay
    operations: ["SELECT app.orders", "DELETE app.users"]
    decision: deny
    rule: keep-users
  - operations: UPDATE app.orders
    where: false
    decision: deny
  - {operations: UPDATE app.orders, decision: allow}
  - {operations: DROP TABLE app.x, decision: approve, rule: ask}
  - {operations: DROP TABLE app.x, decision: allow, identity: {subject: root}}
  - {operations: INSERT app.x, decision: deny, now: "2026-01-31T05:00:00Z"}
  - {operations: INSERT app.x, decision: allow, now: "2026-01-31T05:00:00Z", session: {client: batch}}
"""


def place(directory: Path, policy: str = POLICY, **cases: str) -> Path:
    (directory / "policy.yaml").write_text(policy)
    for name, text in cases.items():
        (directory / f"{name}.test.yaml").write_text(textwrap.dedent(text))
    return directory


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good policy is told to be one, with its version; exit status 0."""
    assert run(["policy", "check", str(place(tmp_path) / "policy.yaml")]) == 0
    assert "4 rules, 0 masks, version " in capsys.readouterr().out


def test_check_finds_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every error and warning is told, with a caret into conditions; exit status 1."""
    wrong = POLICY.replace("operation.where", "operation.whre").replace("DROP *", "DRPO app.x").replace("deny", "no", 1)
    assert run(["policy", "check", str(place(tmp_path, wrong) / "policy.yaml")]) == 1
    out, err = capsys.readouterr()
    assert "policy.yaml:5:13: rules[0].effect: unknown value (got no, expected one of allow, deny, approve)" in out
    assert "policy.yaml:9:13: rules[1].when: unknown name operation.whre (did you mean operation.where?)\n" in out
    assert "\n    !operation.whre\n     ^\n" in out
    assert "warning: " in out
    assert "(got DRPO, did you mean DROP" in out
    assert "hoopctl: error: 2 errors in" in err


def test_check_warns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A warning is told; with --strict it fails the check."""
    file = str(place(tmp_path, POLICY.replace("TRUNCATE *", "TRUNCATE")) / "policy.yaml")
    assert run(["policy", "check", file]) == 0
    assert "warning: " in capsys.readouterr().out
    assert run(["policy", "check", file, "--strict"]) == 1


def test_check_of_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that isn't there is wrong usage."""
    assert run(["policy", "check", str(tmp_path / "none.yaml")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_tests_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The cases beside a policy are run; exit status 0 when all pass."""
    assert run(["policy", "test", str(place(tmp_path, staff=CASES))]) == 0
    out = capsys.readouterr().out
    assert "  ok     users stay\n" in out
    assert out.endswith("7 passed, 0 failed\n")


def test_tests_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A case that is decided otherwise is told with what was expected, on the terminal and as JUnit's XML."""
    cases = CASES.replace("decision: approve, rule: ask", "decision: allow").replace("rule: keep-users", "rule: other")
    report = tmp_path / "report.xml"
    assert run(["policy", "test", str(place(tmp_path, staff=cases)), "--junit", str(report)]) == 1
    out = capsys.readouterr().out
    assert "  FAIL   users stay\n         expected deny by other, got deny by keep-users for DELETE app.users\n" in out
    assert "expected allow, got approve by ask for DROP TABLE app.x" in out
    assert out.endswith("5 passed, 2 failed\n")
    suite = ElementTree.parse(report).getroot()[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("7", "2", "0")
    assert [case[0].tag for case in suite if len(case)] == ["failure", "failure"]


def test_statement_without_a_reader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A statement alone can't be decided without a database: that is an error of the case, which says what to do."""
    cases = CASES + "  - {statement: delete from users, resource: http/shop, decision: deny}\n"
    report = tmp_path / "report.xml"
    assert run(["policy", "test", str(place(tmp_path, staff=cases)), "--junit", str(report)]) == 1
    out = capsys.readouterr().out
    assert "  ERROR  delete from users\n" in out
    assert 'operations: ["DELETE app.users"]' in out
    assert "7 passed, 0 failed, 1 error\n" in out
    assert ElementTree.parse(report).getroot()[0].get("errors") == "1"


def test_statement_with_a_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where something can tell what a statement does, its operations are decided."""

    monkeypatch.setattr(cli.policy, "reader", lambda resource: Known() if resource == "pg/shop" else None)
    cases = CASES + "  - {statement: delete from users, decision: deny}\n  - {statement: x, decision: deny}\n"
    assert run(["policy", "test", str(place(tmp_path, staff=cases))]) == 1
    out = capsys.readouterr().out
    assert "  ok     delete from users\n  ERROR  x\n         the server is away\n" in out


@pytest.mark.parametrize(
    "cases, expected",
    [
        ("cases: [{decision: deny}]", "the case asks for nothing"),
        ("cases: [{operations: [X y], decision: deny}]", "the key resource is missing"),
        ("cases: [{operations: [X y], decison: deny}]", "did you mean decision?"),
        (CASES.replace("subject: ann, ", ""), "the key subject is missing"),
        (CASES.replace("2026-01-31T05", "noon"), "this should be a time"),
        (CASES.replace("where: false", "where: no"), "unknown value"),
        ("cases: [", "this is not YAML"),
        ("policy: other.yaml\ncases: []", "other.yaml"),
    ],
)
def test_wrong_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str], cases: str, expected: str) -> None:
    """A file of cases that can't be used is a wrong configuration, told where it stands."""
    assert run(["policy", "test", str(place(tmp_path, staff=cases))]) == 2
    assert expected in capsys.readouterr().err


def test_no_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No tests is not success."""
    assert run(["policy", "test", str(place(tmp_path))]) == 2
    assert "*.test.yaml" in capsys.readouterr().err


class Known:
    """Knows one statement."""

    def read(self, text: str, search_path: str | None, columns: bool) -> Explanation:
        if text != "delete from users":
            raise ReaderError("the server is away")
        return Explanation((Explained(text, 0, Found((Operation("DELETE", "app.users"),)), "DELETE"),))


def explained(capsys: pytest.CaptureFixture[str]) -> list[tuple[str, str | None, bool]]:
    return [(row["operation"], row["rule"], row["decides"]) for row in json.loads(capsys.readouterr().out)]


def test_explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each operation's rules are gone through, up to the one that decides; then the verdict is told."""
    base = ["policy", "explain", "--policy", str(place(tmp_path) / "policy.yaml"), "--resource", "pg/shop"]
    names = ["--operation", "SELECT app.x", "--operation", "DELETE app.users", "--format"]
    assert run([*base, *names, "json"]) == 0
    assert explained(capsys) == [
        *(("SELECT app.x", rule, False) for rule in ("keep-users", "whole-tables", "ask", "at-night")),
        ("SELECT app.x", None, True),
        ("DELETE app.users", "keep-users", True),
    ]
    assert run([*base, *names, "table"]) == 0
    out, err = capsys.readouterr()
    assert "it matches only DELETE app.users, TRUNCATE *" in out
    assert err == "deny by keep-users for DELETE app.users: Never.\n"
    assert run([*base, "--operation", "DROP TABLE app.x", "--group", "staff"]) == 0
    assert (
        capsys.readouterr().err
        == "approve by ask for DROP TABLE app.x; who consents can't be asked yet, so it is denied\n"
    )
    assert run([*base, "--operation", "UPDATE app.x", "--no-where"]) == 0
    assert capsys.readouterr().err == "deny by whole-tables for UPDATE app.x\n"


def test_explain_by_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --policy it is the policy that hoop.yaml names."""
    file = home(place(tmp_path))
    monkeypatch.setenv("HOOPCTL_CONFIG", str(file))
    command = ["policy", "explain", "--resource", "pg/shop", "--operation", "DELETE app.users"]
    assert run(command) == 2
    assert "names no policy" in capsys.readouterr().err
    file.write_text(file.read_text() + "policy: policy.yaml\n")
    assert run(command) == 0


def test_explain_of_a_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A statement alone is explained where something can tell what it does; else the error says what to do."""
    base = ["policy", "explain", "--policy", str(place(tmp_path) / "policy.yaml"), "--resource", "pg/shop"]
    assert run(base) == 2
    assert run([*base[:-1], "http/shop", "delete from users"]) == 2
    assert '--operation "DELETE app.users"' in capsys.readouterr().err

    monkeypatch.setattr(cli.policy, "reader", lambda resource: Known())
    assert run([*base, "delete from users"]) == 0
    assert "deny by keep-users" in capsys.readouterr().err
    assert run([*base, "broken"]) == 1
    assert "the server is away" in capsys.readouterr().err


NOW = time.time_ns() // 1000


def session(name: str, subject: str, *groups: str) -> SessionStarted:
    session_id = name * 20
    return SessionStarted(
        NOW - 90 * SECOND, session_id, subject, groups, None, None, "c", "pg/shop", "pg", "127.0.0.1:5000", "psql"
    )


def asked(
    name: str, subject: str, number: int, decision: str, *operations: str, rule: str | None = None, age: int = 60
) -> OperationStarted:
    moment = NOW - age * SECOND + number
    return OperationStarted(
        moment,
        name * 20,
        number,
        subject,
        None,
        None,
        "pg/shop",
        "pg",
        operations,
        "…",
        None,
        decision,
        rule,
        None,
        "0" * 16,
    )


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with statements of two people recorded, decided by an earlier policy."""
    monkeypatch.setenv("HOOPCTL_CONFIG", str(home(tmp_path)))
    records: list[Record] = [
        session("a", "ann", "staff"),
        session("b", "bob"),
        asked("a", "ann", 1, "allow", "SELECT app.users"),
        asked("a", "ann", 2, "allow", "DELETE app.users", "SELECT app.users"),
        asked("a", "ann", 3, "allow", "DELETE app.users", "SELECT app.users"),
        asked("a", "ann", 4, "deny", "DROP TABLE app.x", rule="ask"),
        asked("b", "bob", 1, "deny", "DROP TABLE app.x", rule="old"),
        asked("b", "bob", 2, "allow", "UPDATE app.x"),
        asked("b", "bob", 3, "allow", "TRUNCATE app.x", age=10 * 86_400),
        asked("b", "bob", 4, "deny", "TRUNCATE app.x", rule="keep-users"),
        OperationStarted(NOW, "b" * 20, 5, "bob", None, None, "pg/shop", "pg", (), "select 1", None, "allow"),
    ]
    write(tmp_path / "state" / "journal", records)
    return place(tmp_path)


def test_backtest(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a policy would have decided otherwise is told: for whom, how often, which rule then and now. Where it turns
    on a WHERE, which isn't recorded, it is unclear; what was recorded without operations is counted."""
    assert run(["policy", "backtest", str(recorded / "policy.yaml"), "--format", "json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert [
        (row["statements"], row["subject"], row["was"], row["was_by"], row["would_be"], row["by"]) for row in rows
    ] == [
        (2, "ann", "allow", None, "deny", "keep-users"),
        (1, "bob", "deny", "old", "allow", None),
        (1, "bob", "allow", None, "unclear", "whole-tables"),
    ]
    assert rows[0]["operations"] == ["DELETE app.users", "SELECT app.users"]
    assert rows[0]["first"] < rows[0]["last"]
    assert "7 statements since" in err
    assert "4 decided otherwise" in err
    assert "1 unclear: whether an UPDATE or DELETE had a WHERE isn't recorded" in err
    assert "1 recorded without their operations" in err


def test_backtest_since(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--since says how far back; a table and CSV are to be had too."""
    assert run(["policy", "backtest", str(recorded / "policy.yaml"), "--since", "30d", "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert run(["policy", "backtest", str(recorded / "policy.yaml"), "--since", "1s", "--format", "table"]) == 0
    assert "would_be" in capsys.readouterr().out
    assert run(["policy", "backtest", str(recorded / "policy.yaml"), "--since", "often"]) == 2


def test_backtest_of_a_bad_policy(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A policy with errors is refused, all of them told."""
    (recorded / "policy.yaml").write_text("version: 1\nrulez: []\n")
    assert run(["policy", "backtest", str(recorded / "policy.yaml")]) == 2
    assert "did you mean rules?" in capsys.readouterr().err
