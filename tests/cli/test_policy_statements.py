"""`hoopctl policy explain` and `policy test` of statements that a database has understood."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

import cli.policy
import cli.policy_reader
from agent.core.limits import MAX_EXPLAINED
from agent.core.sql.found import Found, Move, Output, Source
from cli.client import AgentAbsent
from cli.errors import HoopError
from cli.main import run
from cli.policy_explain import place
from cli.policy_reader import AgentReader, ReaderError
from schemas.explanation import Explained, Explanation, ServerError
from schemas.operation import Operation
from tests.story import home

POLICY = """\
version: 1
rules:
  - name: keep-users
    match: ["DELETE app.users", "DROP TABLE app.users"]
    effect: deny
  - name: only-with-where
    match: ["UPDATE *"]
    when: "!operation.where || statement.tag != 'UPDATE'"
    effect: deny
masks:
  - name: personal
    on: pg/masked
    columns: [app.users.email]
  - name: secret
    on: pg/masked
    columns: [app.users.pin]
    predicates: deny
"""


def one(text: str, *operations: str, **more: Any) -> Explained:
    acts = tuple(Operation(*operation.partition(" ")[::2]) for operation in operations)
    settled = {name: more.pop(name) for name in ("unsettled", "notes", "error") if name in more}
    return Explained(text, 0, Found(acts, **more), text.split(" ")[0], **settled)


DELETE = one("DELETE FROM v", "DELETE app.v", "DELETE app.users")
SELECT = one("SELECT id FROM v", "SELECT app.v", shown=("app.users.email", "app.v.id"))
RETURNS = one(
    "SELECT …",
    "SELECT app.v",
    shown=("app.users.email", "app.users.id", "app.users.pin"),
    outputs=(
        Output("mail", (Source("app.users.email", ("view app.v",), True),)),
        Output("id", (Source("app.users.id"),)),
        Output("one"),
    ),
    moves=(Move("app.copies.body", (), (Source("app.users.email"),)), Move("app.copies.id", (), ())),
)
CHOOSES = one("SELECT FROM v", "SELECT app.v", compared=("app.users.pin",))
COMPARES = one("SELECT FROM v", "SELECT app.v", compared=("app.users.email",))
DO = one("DO $$$$", "DO plpgsql", opaque=True)
SETS = one("SET search_path = x")
LATER = one(" SELECT 1", unsettled=True)
NOWHERE = one("TABLE nowhere", error=ServerError("42P01", "no such relation", "detail", "look", 7))
KNOWN = {
    "delete": Explanation((DELETE,), None, "app", "public"),
    "select": Explanation((SELECT,)),
    "returns": Explanation((RETURNS,)),
    "chooses": Explanation((CHOOSES,)),
    "compares": Explanation((COMPARES,)),
    "update": Explanation((one("UPDATE x", "UPDATE app.x"),)),
    "code": Explanation((DO,)),
    "several": Explanation((SETS, LATER, NOWHERE)),
    "settled": Explanation((DELETE, SETS, LATER)),
    "unsettled": Explanation((SETS, LATER)),
    "nowhere": Explanation((NOWHERE,)),
    "broken": Explanation((), ServerError("42601", "syntax error", None, None, 3)),
    "rename": Explanation((one("ALTER TABLE …", "RENAME app.users TO app.others"),)),
    "nothing": Explanation((one("COMMIT"),)),
    "unknown": Explanation((one("EXECUTE p", "UNKNOWN", notes=("only its session knows",)),)),
    "": Explanation(),
}


class Known:
    """Knows some statements, and remembers what it was asked."""

    asked: list[tuple[str, str | None, bool]]

    def __init__(self) -> None:
        self.asked = []

    def read(self, text: str, search_path: str | None, columns: bool) -> Explanation:
        self.asked.append((text, search_path, columns))
        return KNOWN[text]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Known:
    found = Known()
    monkeypatch.setattr(cli.policy, "reader", lambda resource: found)
    (tmp_path / "policy.yaml").write_text(POLICY)
    file = home(tmp_path)
    file.write_text(file.read_text() + "policy: policy.yaml\n")
    monkeypatch.setenv("HOOPCTL_CONFIG", str(file))
    return found


def explained(capsys: pytest.CaptureFixture[str], text: str, *more: str, resource: str = "shop") -> list[Any]:
    status = run(["policy", "explain", text, "--resource", resource, "--format", "json", *more])
    out = capsys.readouterr().out
    assert status == 0
    rows: list[Any] = json.loads(out)
    return rows


def test_rule_by_rule(capsys: pytest.CaptureFixture[str], known: Known) -> None:
    """Each operation that was found is gone through; who was asked as is told beside the verdict."""
    rows = explained(capsys, "delete", "--search-path", "a, b")
    assert [(row["operation"], row["rule"], row["effect"]) for row in rows if row["decides"]] == [
        ("DELETE app.v", None, "allow"),
        ("DELETE app.users", "keep-users", "deny"),
    ]
    assert list(rows[0]) == ["statement", "operation", "column", "rule", "effect", "decides", "why"]
    assert known.asked == [("delete", "a, b", False)]
    assert run(["policy", "explain", "delete", "--resource", "shop", "--format", "table"]) == 0
    out, err = capsys.readouterr()
    assert out.split()[:5] == ["operation", "rule", "effect", "decides", "why"]
    assert err == "asked as app, names looked up in public\ndeny by keep-users for DELETE app.users\n"


def test_conditions_see_the_statement(capsys: pytest.CaptureFixture[str]) -> None:
    """The tag that conditions ask for is the statement's."""
    assert [row["rule"] for row in explained(capsys, "update") if row["decides"]] == [None]


def test_masks(capsys: pytest.CaptureFixture[str], known: Known) -> None:
    """Where columns are masked each that is let out is told, with its mask; the mask that refuses it decides."""
    rows = explained(capsys, "select", resource="masked")
    assert known.asked == [("select", None, True)]
    assert [(row["column"], row["rule"], row["effect"]) for row in rows if row["column"]] == [
        ("app.users.email", "personal", "mask"),
        ("app.v.id", None, "allow"),
    ]
    assert [(row["rule"], row["effect"]) for row in rows if row["decides"]][-1] == ("personal", "deny")
    rows = explained(capsys, "chooses", resource="masked")
    assert [(row["rule"], row["effect"]) for row in rows if row["decides"]][-1] == ("secret", "deny")
    rows = explained(capsys, "compares", resource="masked")
    assert [row["why"] for row in rows if row["column"]] == [
        "rows are only chosen, joined, grouped or sorted by it, which its mask allows"
    ]
    assert [row["column"] for row in explained(capsys, "select")] == [None] * 3


def test_masked_on_its_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Of columns that are returned it is told where they come from, and through what."""
    rows = explained(capsys, "returns", resource="masked")
    assert [(row["column"], row["rule"], row["why"]) for row in rows if row["column"]] == [
        ("mail", "personal", "mail ← view app.v ← app.users.email, with redact"),
        ("id", None, "id ← app.users.id"),
        ("one", None, "nothing of a table is in it"),
        ("app.copies.body", "personal", "it is given app.users.email"),
        ("app.users.pin", "secret", "it computes with it"),
    ]


def test_code(capsys: pytest.CaptureFixture[str]) -> None:
    """That a statement runs code is told, in the verdict too."""
    said = "it runs code, and what that does is decided when it runs"
    assert said in [row["why"] for row in explained(capsys, "code")]
    assert run(["policy", "explain", "code", "--resource", "shop"]) == 0
    assert capsys.readouterr().err.endswith(f"allow by default; {said}\n")


def test_unknown_and_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Why something isn't known is told; a statement that no rule can be about is allowed."""
    rows = explained(capsys, "unknown")
    assert "only its session knows" in [row["why"] for row in rows]
    assert [row["rule"] for row in rows if row["decides"]] == ["keep-users"]
    assert [(row["effect"], row["decides"]) for row in explained(capsys, "nothing")] == [("allow", True)]


def test_renames(capsys: pytest.CaptureFixture[str]) -> None:
    """A rename out from under a rule is refused by it, and that is told as the reason."""
    rows = [row for row in explained(capsys, "rename") if row["decides"]]
    assert [(row["rule"], row["effect"]) for row in rows] == [("keep-users", "deny")]
    assert "out from under" in rows[0]["why"]


def test_several(capsys: pytest.CaptureFixture[str]) -> None:
    """Several statements are numbered; what the server refuses is told among them and fails the command."""
    assert run(["policy", "explain", "several", "--resource", "shop", "--format", "table"]) == 1
    out, err = capsys.readouterr()
    assert out.split()[0] == "statement"
    assert "what comes before it changes settings or objects" in out
    assert err.splitlines()[:3] == ["1: allow by default", "2: allow by default", "3: refused by the server"]
    assert err.splitlines()[3:5] == ["several", "      ^"]
    assert "hoopctl: error: the server refuses it: no such relation (SQLSTATE 42P01); detail\n" in err
    assert err.endswith("hoopctl: hint: look\n")


@pytest.mark.parametrize("text, status", [("broken", 1), ("nowhere", 1), ("", 2)])
def test_refused(capsys: pytest.CaptureFixture[str], text: str, status: int) -> None:
    """What is no statement, and a single one that the server refuses, is an error and no listing."""
    assert run(["policy", "explain", text, "--resource", "shop"]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert "hoopctl: error: " in err


def test_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, known: Known) -> None:
    """`-` reads the statement from standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("delete"))
    assert run(["policy", "explain", "-", "--resource", "shop"]) == 0
    assert known.asked[0][0] == "delete"


def test_standard_input_of_bytes(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't text is refused as such."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff"), encoding="utf-8"))
    assert run(["policy", "explain", "-", "--resource", "shop"]) == 2
    assert "not UTF-8" in capsys.readouterr().err


def test_which_resource(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The only resource is meant where none is named; of several one has to be."""
    file = tmp_path / "hoop.yaml"
    named = "resources:\n  - {name: %s, type: pg, upstream: 'postgresql://u@h'}\n"
    file.write_text("version: 1\npolicy: policy.yaml\n" + named % "masked")
    assert run(["policy", "explain", "select"]) == 0
    assert "deny by personal" in capsys.readouterr().err
    file.write_text("version: 1\npolicy: policy.yaml\n")
    assert run(["policy", "explain", "select"]) == 2


def test_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the statements are shown, control characters as they are written."""
    monkeypatch.setitem(KNOWN, "evil", Explanation((one("SELECT '\x1b[2J'"), one("SELECT 2"))))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert run(["policy", "explain", "evil", "--resource", "shop"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1:\n")
    assert "\\x1b[2J" in out
    assert "\x1b[2J" not in out


def test_place() -> None:
    """The line of a mistake, and the caret below it: in long lines a part of it, control characters escaped."""
    assert place("SELECT 1;\nSELEC 2", 11) == "SELEC 2\n^"
    assert place("a\tbc", 3) == "a\\tbc\n   ^"
    assert place("", 5) == "\n^"
    assert place("abc", 99) == "abc\n   ^"
    line, caret = place("x" * 1000 + "y" + "z" * 1000, 1001).split("\n")
    assert len(line) == 160
    assert line[len(caret) - 1] == "y"


CASES = """\
resource: pg/shop
identity: {subject: ann}
search_path: app
cases:
  - {statement: delete, decision: deny, rule: keep-users}
  - {statement: delete, search_path: other, decision: allow}
  - {statement: code, decision: allow}
  - {statement: settled, decision: deny}
  - {statement: unsettled, decision: allow}
  - {statement: nowhere, decision: allow}
  - {statement: select, resource: pg/masked, decision: deny, rule: personal}
  - {statement: rename, decision: deny}
"""


def test_cases(capsys: pytest.CaptureFixture[str], tmp_path: Path, known: Known) -> None:
    """A case is decided as a session would be; what can't be said of it is an error, what isn't known is noted."""
    (tmp_path / "x.test.yaml").write_text(CASES)
    assert run(["policy", "test", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    words = [line.split()[0] for line in lines if line[2] != " "]
    assert words[:-1] == ["ok", "FAIL", "ok", "ok", "ERROR", "ERROR", "ok", "ok"]
    assert "         it runs code, and what that does is decided when it runs" in lines
    assert any("give each statement a case of its own" in line for line in lines)
    assert any("no such relation (SQLSTATE 42P01); detail (look)" in line for line in lines)
    assert known.asked[:2] == [("delete", "app", False), ("delete", "other", False)]
    assert ("select", "app", True) in known.asked


def test_where_is_not_for_statements(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Whether a statement has a WHERE it says itself: a case that says so too is wrong."""
    case = "{statement: delete, resource: pg/shop, identity: {subject: a}, where: false, decision: deny}"
    (tmp_path / "x.test.yaml").write_text(f"cases:\n  - {case}\n")
    assert run(["policy", "test", str(tmp_path)]) == 2
    assert "the key where is for operations" in capsys.readouterr().err


class Agent:
    """Answers or raises what it is given."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Any] = []

    def post(self, *words: str, body: Any = None, timeout: float | None = None) -> Any:
        self.asked.append((words, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_agent_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent is asked once for each text; what it says against it keeps its hint."""
    built = msgspec.to_builtins(KNOWN["delete"])
    agent = Agent(built, AgentAbsent("not running", "start it"), HoopError("refused"), {"statements": 7})
    monkeypatch.setattr(cli.policy_reader, "client", lambda: agent)
    reader = AgentReader("pg/shop")
    assert reader.read("x", "a", True) == reader.read("x", "a", True) == KNOWN["delete"]
    words = ("resources", "pg/shop", "explain")
    assert agent.asked == [(words, {"text": "x", "search_path": "a", "columns": True})]
    for expected, hint in (("not running", "start it"), ("refused", None), ("can't be read", "same version")):
        with pytest.raises(ReaderError, match=expected) as caught:
            reader.read("y", None, False)
        assert caught.value.hint == hint or (hint or "") in (caught.value.hint or "")
    for text in ("x" * (MAX_EXPLAINED + 1), "\udcff"):
        with pytest.raises(ReaderError, match="the statement is"):
            reader.read(text, None, False)
