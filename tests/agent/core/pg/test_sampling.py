"""Samples of a database, as a conversation with a server: what is asked, and what is kept of the answers."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.limits import MAX_SAMPLED_TABLES
from agent.core.pg.messages import ProtocolError
from agent.core.pg.sampling import Sampling, Survey, detector
from schemas.discovery import Column, Sample, Sighting, Table, Tables
from tests.agent.core.pg.dialogue import error, msg, ready, row, tag
from tests.agent.core.pg.test_interrogation import said

LOOKS = detector()
BEGUN = tag("BEGIN") + tag("SET") * 3
HEAD = msg("T", b"\0\0")
CARD = "4111 1111 1111 1111"


def columns(*listed: str, pages: int = 1, density: int = 100) -> bytes:
    """The answer to the question for the columns, written `name kind` or `name kind f`."""
    made = []
    for one in listed:
        name, kind, readable = (*one.split(" "), "t")[:3]
        made.append(row(name, kind, readable, str(pages), str(density)))
    return BEGUN + HEAD + b"".join(made) + tag(f"SELECT {len(made)}") + ready("T")


def values(*given: str | None) -> bytes:
    """A row in which None is NULL."""
    sent = [b"\xff" * 4 if each is None else struct.pack("!I", len(each)) + each.encode() for each in given]
    return msg("D", struct.pack("!H", len(sent)) + b"".join(sent))


def fetched(*rows: tuple[str | None, ...]) -> bytes:
    return HEAD + b"".join(values(*each) for each in rows) + tag(f"FETCH {len(rows)}") + ready("T")


def sampled(columns: bytes, *answers: bytes, rows: int = 1000) -> tuple[list[str], Sample | None]:
    """What is asked, and what comes of it, when the server answers so."""
    machine = Sampling("app", "users", rows, LOOKS)
    asked = [said(machine.begin())]
    for answer in (columns, *answers):
        assert machine.answer is None
        sent = machine.received(answer)
        if sent:
            asked.append(said(sent))
    return asked, machine.answer


ENDED = tag("ROLLBACK") + ready()


def test_tables() -> None:
    """Tables are listed whose schema fits one of the globs and whose name, with or without it, the other."""
    machine = Survey(("app*", "hr"), "*users")
    asked = said(machine.begin())
    assert asked.startswith("BEGIN READ ONLY; SET LOCAL statement_timeout")
    assert asked.endswith("; ROLLBACK")
    rows = [row("app", "users", "t"), row("apps", "orders", "t"), row("hr", "old_users", "f"), row("x", "users", "t")]
    assert machine.received(BEGUN + HEAD + b"".join(rows) + tag("SELECT 4") + ENDED) == b""
    assert machine.answer == Tables((Table("app", "users", True), Table("hr", "old_users", False)))
    machine = Survey((), "hr.*")
    machine.begin()
    machine.received(BEGUN + HEAD + b"".join(rows) + ENDED)
    assert machine.answer == Tables((Table("hr", "old_users", False),))


def test_many_tables() -> None:
    """However many there are, only so many are listed, and that there are more is said."""
    machine = Survey((), "*")
    machine.begin()
    many = b"".join(row("app", f"t{number}", "t") for number in range(MAX_SAMPLED_TABLES + 1))
    machine.received(BEGUN + HEAD + many + ENDED)
    assert machine.answer is not None
    assert (len(machine.answer.tables), machine.answer.more) == (MAX_SAMPLED_TABLES, True)


def test_counted() -> None:
    """Each value counts once for each type, as a whole or within; NULL and blanks don't count."""
    asked, found = sampled(
        columns("mail text", "note text"),
        fetched(
            ("a@example.org", f"a@example.org, b@example.org, and a card for which we have no use: {CARD}, gone"),
            ("b@example.org", " "),
            (None, "ask nobody at all about it: c@example.org may or may not know anything"),
            ("-", CARD),
        ),
        fetched(),
        ENDED,
    )
    assert [asked[0].count("BEGIN READ ONLY"), asked[-1]] == [1, "ROLLBACK"]
    assert found == Sample(
        (
            Column("mail", "text", True, 3, (Sighting("email", 2, 0),)),
            Column("note", "text", True, 3, (Sighting("credit_card", 1, 1), Sighting("email", 0, 2))),
        ),
        4,
    )


@pytest.mark.parametrize(
    "kind, value, sighting",
    [
        ("number", "4111111111111111", Sighting("credit_card", 1, 0)),
        ("texts", "x\na@example.org", Sighting("email", 1, 0)),
        ("json", '{"a": ["\\u0061\\u0040example.org"]}', Sighting("email", 0, 1)),
        ("json", '{"a@example.org": null}', Sighting("email", 0, 1)),
        ("json", '{"n": 4111111111111111}', Sighting("credit_card", 0, 1)),
        ("json", '{"cut": 1, "a@example.org": "and no en', Sighting("email", 0, 1)),
        ("xml", "<p>a&#64;example.org</p>", Sighting("email", 0, 1)),
    ],
)
def test_kinds_of_columns(kind: str, value: str, sighting: Sighting) -> None:
    """Numbers, arrays and documents are looked into, with their escapes undone."""
    _, found = sampled(columns(f"c {kind}"), fetched((value,)), ENDED)
    assert found == Sample((Column("c", kind, True, 1, (sighting,)),), 1)


def test_what_is_asked() -> None:
    """Only columns that may be read and that hold text are asked for; names are quoted, values cut."""
    asked, found = sampled(columns('a"b text', "c texts", "d date", "e other", "f text f"), fetched(), ENDED)
    assert (
        'SELECT left(_t."a""b"::text, 2048), left(array_to_string(_t."c", chr(10)), 2048) FROM "app"."users"'
        in (asked[1])
    )
    assert "LIMIT 1000; FETCH 4 FROM _hoop" in asked[1]
    assert found is not None
    assert [(one.name, one.readable, one.values) for one in found.columns] == [
        ('a"b', True, 0), ("c", True, 0), ("d", True, 0), ("e", True, 0), ("f", False, 0),
    ]  # fmt: skip


def test_names_are_literals() -> None:
    """Whatever a schema or a table is called, it is a name."""
    asked = said(Sampling("a'b\\", "{table}", 1, LOOKS).begin())
    assert "n.nspname = E'a''b\\\\' AND c.relname = '{table}'" in asked


def test_a_few_rows_at_a_time() -> None:
    """Rows are fetched until there are no more, or as many as wanted."""
    few, full = fetched(*[("x",)] * 4), fetched(*[("x",)] * 200)
    asked, found = sampled(columns("c text"), few, full, fetched(("x",)), ENDED)
    assert asked[1].endswith("FETCH 4 FROM _hoop")
    assert asked[2:] == ["FETCH 200 FROM _hoop", "FETCH 200 FROM _hoop", "ROLLBACK"]
    assert found is not None
    assert found.rows == 205
    asked, found = sampled(columns("c text"), few, full, ENDED, rows=204)
    assert asked[2:] == ["FETCH 200 FROM _hoop", "ROLLBACK"]


def test_large_values() -> None:
    """Of large rows fewer are fetched at a time, and when enough text was searched it ends."""
    large = ("a@example.org " * 140,)
    machine = Sampling("app", "users", 10_000, LOOKS)
    machine.begin()
    sent = machine.received(columns("c text"))
    asked: list[str] = []
    while machine.answer is None:
        asked.append(said(sent))
        sent = machine.received(ENDED if asked[-1] == "ROLLBACK" else fetched(*[large] * 4))
        assert len(asked) < 1000
    assert asked[1] == "FETCH 4 FROM _hoop"
    assert 500 < machine.answer.rows < 600


def test_large_tables() -> None:
    """Of a large table pages are chosen by chance; where these hold no row, it is read from its beginning."""
    asked, found = sampled(columns("c text", pages=100_000, density=10), fetched(), fetched(("x",)), ENDED)
    assert "TABLESAMPLE SYSTEM (0.150000) LIMIT 1000" in asked[1]
    assert asked[2].startswith("CLOSE _hoop; DECLARE")
    assert "TABLESAMPLE" not in asked[2]
    assert found is not None
    assert found.rows == 1


def test_nothing_to_look_at() -> None:
    """A table without such columns isn't read, and one that is gone is told of."""
    asked, found = sampled(columns("d date"), ENDED)
    assert asked[1:] == ["ROLLBACK"]
    assert found == Sample((Column("d", "date", True),))
    _, found = sampled(columns(), ENDED)
    assert found == Sample(refused="42P01")


def test_refused() -> None:
    """Of an error nothing is kept but its code: its message may quote a value. What was seen before counts."""
    refused = error("22P02", "invalid input: a@example.org") + ready("E")
    _, found = sampled(columns("c text"), fetched(*[("a@example.org",)] * 4), refused)
    assert found is not None
    assert (found.refused, found.rows, found.columns[0].values) == ("22P02", 4, 4)
    assert "example" not in repr(found)
    _, found = sampled(error("57P01", "terminating", "FATAL"))
    assert found == Sample(refused="57P01")
    machine = Survey((), "*")
    machine.begin()
    machine.received(error("42501", "permission denied") + ready())
    assert machine.answer == Tables(refused="42501")


@pytest.mark.parametrize(
    "data",
    [msg("G", b"\0\0\0"), msg("D", b"\0\2\0\0\0\1x"), msg("D", b"\0\1\0\0\0\0"), msg("D"), b"D\0\0\0\0", msg("1")],
)
def test_broken_protocol(data: bytes) -> None:
    """What isn't an answer to what was asked breaks the protocol."""
    machine = Sampling("app", "users", 1, LOOKS)
    machine.begin()
    with pytest.raises(ProtocolError):
        machine.received(BEGUN + data)


@given(st.binary(max_size=60), st.integers(1, 7))
def test_any_bytes(data: bytes, size: int) -> None:
    """Whatever a server sends, in whatever pieces: an answer, a wait or a protocol error; the same in any split."""
    results = []
    for step in (size, len(data) + 1):
        machine = Sampling("app", "users", 10, LOOKS)
        machine.begin()
        try:
            for at in range(0, len(data), step):
                machine.received(data[at : at + step])
            results.append(repr(machine.answer))
        except ProtocolError as broken:
            results.append(broken.message)
    assert results[0] == results[1]
