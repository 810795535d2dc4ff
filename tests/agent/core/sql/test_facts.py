"""Facts: asked once, kept until they are forgotten, and in words that nobody can twist."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sql.facts import Facts, Row
from agent.core.sql.found import Wanted
from agent.core.sql.naming import literal, parts, quoted
from agent.core.sql.questions import KINDS, NOTHING
from agent.core.sql.relations import CASCADE, DELETE, SET, UPDATE, Key, Relation, Trigger
from agent.core.sql.routines import CODE, MORE, Routine

WANTED = Wanted(frozenset((1, 2)), frozenset((3, 4)), frozenset((("relation", "app.t"), ("role", "x"))))
ROWS: list[Row] = [
    ("=relation", "1", "app", "t", "pr", "me", None, "7,8"),
    ("=trigger", "1", "28", "60", "61,62", None, None, None),
    ("=key", "1", "9", "1646", "1,2", None, None, None),
    ("=key", "1", "9", "1651", "1", None, None, None),
    ("=code", "1", "50,51", None, None, None, None, None),
    ("=routine", "3", "pg_temp_4", "f", "sql", "fvd", "a=1\nb=2,3", "5,0,6"),
    ("relation", "app.t", "1", "app", "t", "r", "me", "p"),
]


def test_learned() -> None:
    """What the rows say is known then; what was asked and is not in them is known not to be."""
    facts = Facts()
    assert facts.missing(WANTED) == WANTED
    facts.learn(ROWS, WANTED)
    assert facts.missing(WANTED) is None
    keys = (Key(9, DELETE, CASCADE, frozenset((1, 2))), Key(9, UPDATE, SET, frozenset((1,))))
    assert facts.relation(1) == Relation(
        1, "app", "t", "p", "me", (), (7, 8), False, True, (Trigger(28, 60, (61, 62)),), keys, (50, 51)
    )
    assert facts.relation(2) is None
    assert facts.routine(3) == Routine(3, "pg_temp", "f", "sql", "f", "v", True, ("a=1", "b=2,3"), (5, 6))
    assert facts.routine(4) is None
    assert facts.named("relation", "app.t") == (("1", "app", "t", "r", "me", "p"),)
    assert facts.named("role", "x") == ()


def test_effects() -> None:
    """What a routine may do is worked out when it is learned."""
    facts = Facts()
    wanted = Wanted(routines=frozenset((20000,)))
    facts.learn([("=routine", "20000", "app", "f", "sql", "fi", None, "")], wanted)
    assert facts.effects == {20000: MORE | CODE}


def test_only_what_is_missing() -> None:
    """Of what is wanted, only the rest is missing."""
    facts = Facts()
    facts.learn(ROWS, WANTED)
    more = Wanted(frozenset((1, 5)), frozenset((3,)), frozenset((("role", "x"), ("role", "y"))))
    assert facts.missing(more) == Wanted(frozenset((5,)), frozenset(), frozenset((("role", "y"),)))


def test_forgotten() -> None:
    """After `forget` everything has to be asked again."""
    facts = Facts()
    facts.learn(ROWS, WANTED)
    facts.forget()
    assert facts.missing(WANTED) == WANTED
    assert facts.effects == {}


@pytest.mark.parametrize("row", [(), ("=relation",), (None, "1", *[None] * 6), ("=relation", None, *[None] * 6)])
def test_not_an_answer(row: Row) -> None:
    """Rows of another shape are refused."""
    with pytest.raises(ValueError, match="not an answer"):
        Facts().learn([row], WANTED)


def test_prepared() -> None:
    """A name that may be read two ways gives both statements."""
    facts = Facts()
    wanted = Wanted(names=frozenset((("prepared", "P"), ("prepared", "q"))))
    rows: list[Row] = [("prepared", "P", "select 1 --", *[None] * 5), ("prepared", "P", "select 2", *[None] * 5)]
    facts.learn(rows, wanted)
    assert facts.prepared("P") == "select 1 --\n;\nselect 2"
    assert facts.prepared("q") is None


def everything() -> str:
    names = frozenset((kind, "16500" if kind == "type_code" else "app.t") for kind in KINDS)
    return Facts().question(Wanted(frozenset((1,)), frozenset((2,)), names))


def test_every_name_is_qualified() -> None:
    """Whatever the question calls, reads, compares with or casts to says that it means pg_catalog's."""
    text = re.sub(r"'(?:[^']|'')*'", "''", everything())
    for word in re.findall(r"(?<![.\w])([a-z_]\w*)\(", text):
        assert word in ("w", "q", "x", "y", "m"), word  # the names of its own tables' columns
    for source in re.findall(r"(?:FROM|JOIN) (?!LATERAL)([a-z_@]\w*)(?!\w*\.)", text):
        assert source in ("w", "pg_catalog"), source
    assert not re.search(r"(?<![.(])[=<>|&+*~!](?![\w)])", text.replace("OPERATOR(pg_catalog.", "(."))
    for cast in re.findall(r" AS ([a-z_]\w*)[.)]", text):
        assert cast == "pg_catalog"
    assert not re.search(r"::|\bIN\b|\bLIKE\b|\bBETWEEN\b|\bUSING\b|\bNULLIF\b|CASE (?!WHEN)|@|[{}]", text)


def test_names_that_cannot_be() -> None:
    """What is no name, or of no kind, isn't asked, and known not to be."""
    facts = Facts()
    impossible = Wanted(names=frozenset((("relation", "a b"), ("relation", ""), ("type_code", "x"), ("no kind", "a"))))
    assert facts.question(impossible) == NOTHING
    facts.learn([], impossible)
    assert facts.missing(impossible) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Users", ["users"]),
        ('"Users"', ["Users"]),
        ('App."a""b.c"', ["app", 'a"b.c']),
        ("a.b.c", ["a", "b", "c"]),
        ("ÄB$1", ["Äb$1"]),
        ("x" * 70, ["x" * 63]),
        ("é" * 40, ["é" * 31]),
        ('""', None),
        ("a..b", None),
        ("a b", None),
        ("1a", None),
        ("a;", None),
        ('"a', None),
        ("", None),
    ],
)
def test_parts(name: str, expected: list[str] | None) -> None:
    """Names are folded, unquoted and cut as PostgreSQL does; what is no name is None."""
    assert parts(name) == expected


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15))
def test_quoted_names_come_back(name: str) -> None:
    """A quoted name means itself."""
    assert parts(quoted(name)) == [name]


@given(st.text(st.characters(exclude_characters="\0")))
def test_literals(text: str) -> None:
    """A literal ends where it should with either setting of standard_conforming_strings, and means the text."""
    written = literal(text)
    body = written[2:-1] if written.startswith("E") else written[1:-1]
    assert "'" not in body.replace("''", "")
    assert ("\\" in body) <= written.startswith("E'")
    assert body.replace("''", "'").replace("\\\\", "\\") == text


@given(st.sampled_from([*KINDS, "other"]), st.text())
def test_any_name_can_be_asked(kind: str, name: str) -> None:
    """Whatever a name is, there is a question or none, and its quotes are closed."""
    text = Facts().question(Wanted(names=frozenset(((kind, name),))))
    if "E'" not in text:
        assert text.count("'") % 2 == 0
