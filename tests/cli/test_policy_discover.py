"""What is proposed for what was seen, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cli.client
from agent.core.masking.looks import TYPES
from agent.store.policy import load
from cli.client import AgentAbsent
from cli.errors import HoopError
from cli.main import run
from cli.policy_discover import Proposal, glob, policy, proposed
from cli.policy_names import NAMES, named
from schemas.discovery import Column, Sample, Sighting, Table, Tables
from tests.story import home


@pytest.mark.parametrize(
    "column, kind, expected",
    [
        ("email", "text", "email"),
        ("Customer_EMail2", "text", "email"),
        ("homePhone", "text", "phone"),
        ("phone_number", "number", "phone"),
        ("PhoneNumber", "text", "phone"),
        ("phonenumber", "text", "phone"),
        ("dob", "date", "birth_date"),
        ("date_of_birth", "text", "birth_date"),
        ("Geburtsdatum", "date", "birth_date"),
        ("correo_electrónico", "text", "email"),
        ("Straße", "text", "address"),
        ("base_salary", "number", "salary"),
        ("password_hash", "text", "password"),
        ("email_verified", "other", None),
        ("email", "other", None),
        ("email_sent_at", "date", None),
        ("email", "date", None),
        ("phone_id", "number", None),
        ("card_type", "text", None),
        ("ip_address", "text", None),
        ("order_number", "number", None),
        ("spin", "text", None),
        ("newborn", "date", None),
        ("", "text", None),
        ("_", "text", None),
    ],
)
def test_names(column: str, kind: str, expected: str | None) -> None:
    """A name tells by its last words, whatever its case and accents, where the column can hold such a thing."""
    assert named(column, kind) == expected


def seen(name: str, values: int, *sightings: tuple[str, int, int], kind: str = "text") -> Column:
    return Column(name, kind, True, values, tuple(Sighting(*each) for each in sightings))


@pytest.mark.parametrize(
    "column, expected",
    [
        (seen("c", 100, ("email", 50, 0)), [("email", "value", 0.5)]),
        (seen("c", 100, ("email", 49, 51)), [("email", "within", 1.0)]),
        (seen("c", 1000, ("email", 1, 0)), [("email", "within", 0.001)]),
        (seen("c", 1000, ("phone", 20, 0)), []),
        (seen("c", 1000, ("credit_card", 99, 0)), []),
        (seen("c", 1000, ("credit_card", 999, 0)), [("credit_card", "value", 0.999)]),
        (seen("c", 1000, ("pl_pesel", 200, 0)), []),
        (seen("c", 1000, ("pl_pesel", 900, 0), ("ee_ik", 90, 0)), [("pl_pesel", "value", 0.9)]),
        (seen("phone", 1000, ("phone", 20, 0)), [("phone", "name", None)]),
        (seen("email", 10, ("iban", 10, 0)), [("iban", "value", 1.0)]),
        (seen("email", 0), [("email", "name", None)]),
        (Column("email", "text", False), []),
        (seen("c", 7), []),
    ],
)
def test_proposed(column: Column, expected: list[tuple[str, str, float | None]]) -> None:
    """Values tell first, and kinds that other numbers look like only where there are enough; else names tell."""
    assert [(one.type, one.by, one.share) for one in proposed("app.users", column)] == expected


NAME = st.text(min_size=1, max_size=20)
PROPOSALS = st.lists(
    st.builds(
        Proposal,
        st.builds("{}.{}".format, NAME, NAME),
        NAME,
        st.sampled_from([*TYPES, *NAMES]),
        st.sampled_from(["value", "name"]),
        st.one_of(st.none(), st.floats(0, 1)),
        st.integers(0, 10_000),
    ),
    max_size=5,
)


@given(PROPOSALS, st.integers(0, 3))
def test_always_a_policy(proposals: list[Proposal], within: int) -> None:
    """Whatever columns are called, what is printed is a policy that can be loaded, and its globs are those columns'."""
    import tempfile

    proposals = [
        one._replace(by="within", share=0.5) if number < within and one.type in TYPES else one
        for number, one in enumerate(proposals)
    ]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "masks.yaml"
        file.write_text(policy(proposals, "pg/prod", 10), encoding="utf-8", errors="strict")
        masks = load(file).masks
    assert {column for mask in masks for column in mask.columns} == {
        glob(one) for one in proposals if one.by != "within"
    }
    assert {kind for mask in masks for kind in mask.types} == {one.type for one in proposals if one.by == "within"}


class Agent:
    """Answers as an agent: tables, then a sample each; a HoopError is raised."""

    def __init__(self, tables: Tables, samples: dict[str, Sample | HoopError]) -> None:
        self.tables = tables
        self.samples = samples

    def post(self, *words: str, body: Any = None, timeout: float | None = None) -> Any:
        answer = self.tables if words[2] == "tables" else self.samples[body["table"]]
        if isinstance(answer, HoopError):
            raise answer
        return msgspec.to_builtins(answer)


Discover = Callable[..., tuple[int, str, str]]


@pytest.fixture
def discover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Discover:
    """Runs the command against an agent that answers so; status, standard output and error."""

    def run_it(tables: Tables, *arguments: str, **samples: Sample | HoopError) -> tuple[int, str, str]:
        monkeypatch.setattr(cli.client, "client", lambda: Agent(tables, samples))
        status = run(["policy", "discover", "--resource", "pg/prod", *arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return run_it


def tables(*names: str) -> Tables:
    return Tables(tuple(Table("app", name.removeprefix("-"), not name.startswith("-")) for name in names))


USERS = Sample((seen("mail", 200, ("email", 199, 0)), seen("note", 90, ("email", 0, 9)), seen("salary", 3)), 200)
PRINTED = """\
# Masks for pg/prod, proposed by hoopctl policy discover from at most 1000 rows of each table.
# Look through them: a sample doesn't show everything, and not everything that it shows need be hidden.
version: 1
masks:
  - name: email
    on: "pg/prod"
    columns:
      - "app.users.mail"  # 100 % of 200 values
    # Wherever a value looks like one. It was found in
    #   app.users.note: 10 % of 90 values
    types: [email]
    with: redact  # or partial, hash, fake, null
  - name: salary
    on: "pg/prod"
    columns:
      - "app.users.salary"  # by its name; 3 values look like nothing known
    with: redact  # or partial, hash, fake, null
"""


def test_printed(discover: Discover) -> None:
    """A policy to edit, and on standard error what wasn't looked at."""
    locked = Sample(refused="55P03")
    odd = Sample(refused="XX001")
    status, out, err = discover(tables("users", "-x\n", "locked", "odd"), users=USERS, locked=locked, odd=odd)
    assert (status, out) == (0, PRINTED)
    assert err.splitlines() == [
        "not looked at: app.x\\n: the agent's role has no right to read it",
        "not looked at: app.locked: it is locked",
        "not looked at: app.odd: the server refuses it (SQLSTATE XX001)",
        "1 table sampled, 3 columns to mask",
    ]


def test_formats(discover: Discover) -> None:
    """As a listing it has a row for each column and type."""
    status, out, _ = discover(tables("users"), "--format", "json", users=USERS)
    assert status == 0
    assert json.loads(out)[1] == {
        "table": "app.users", "column": "note", "type": "email", "by": "within", "share": 0.1, "values": 90,
    }  # fmt: skip
    status, out, _ = discover(tables("users"), "--format", "table", users=USERS)
    assert "salary" in out


def test_nothing_found(discover: Discover, tmp_path: Path) -> None:
    """Where nothing is found, that is a policy too; where there is no table, an error."""
    status, out, err = discover(tables("users"), users=Sample((seen("c", 3),), 3))
    (tmp_path / "masks.yaml").write_text(out)
    assert load(tmp_path / "masks.yaml").masks == ()
    status, _, err = discover(tables())
    assert (status, "there is no such table" in err) == (1, True)
    assert discover(Tables(refused="42501"))[0] == 1


def test_failures(discover: Discover) -> None:
    """One table that fails is passed over; when the next fails too, it isn't the table, nor if the agent is gone."""
    late = HoopError("pg/prod can't be asked: the server did not answer")
    status, out, err = discover(tables("slow", "users"), slow=late, users=USERS)
    assert (status, out) == (0, PRINTED)
    assert "not looked at: app.slow: pg/prod can't be asked" in err
    assert discover(tables("slow", "users"), slow=late, users=late)[:2] == (1, "")
    assert discover(tables("users"), users=AgentAbsent("gone"))[:2] == (1, "")


def test_many_tables(discover: Discover) -> None:
    """That there are more tables than are listed is said."""
    _, _, err = discover(msgspec.structs.replace(tables("users"), more=True), users=USERS)
    assert "not looked at: others: there are more than 1: name --schema" in err


@pytest.mark.parametrize("rows", ["0", "10001", "many"])
def test_rows(rows: str, tmp_path: Path) -> None:
    """How many rows is bounded."""
    home(tmp_path)
    assert run(["policy", "discover", "--resource", "pg/prod", "--rows", rows]) == 2
