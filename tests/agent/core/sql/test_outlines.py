"""Messages without their plain constants: what has the same outline has the same shape, or no outline tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agent.core.sql.outlines import MAX_OUTLINED, outline, telling
from agent.core.sql.statements import EMPTY, Unreadable, shape, split

PIECES = (
    "select", "from t", "where", "a", "=", "= ", "(", ")", ",", ", ", " ", " ", "\n", ";", "; ", "'", "''", "\"", "--",
    "/*", "*/", "$a$", "$1", "\\", "e'", "x'", "u&'", "::int", " as ", "date ", "regclass", "order by ", "distinct on ",
    "group by", "1", "23", "4294967296", "0x1f", "1.5", "1e3", "7_0", "ü", "\1", "\2", "<", ">", "->", "->>", "like ",
    "by ", " by a", "by a.", " as for ", " as  limit ", "having ", " for ", "fetch", "a[", "over (partition by b)",
    "interval", "(3)", "limit ", "-", "+", "2147483647", "999999999", "0777", "[", "]", "and", "between ",
)  # fmt: skip


def read(message: str) -> list[str | None]:
    """The shapes of the statements of a message."""
    try:
        return [shape(one.text) for one in split(message) if one.kind != EMPTY]
    except Unreadable:
        return []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT abalance FROM accounts WHERE aid = 12;", "SELECT abalance FROM accounts WHERE aid = 9999999;"),
        ("insert into t values (1, 'a', 'b c')", "insert into t values (22, '', 'it -- is /* all ; one \" $')"),
        ("select a from t where b ='x' limit 5", "select a from t where b ='y' limit 6"),
        (
            "select a as b from t as u where c = 'x' and d = 1 group by e having f > 2 order by g limit 3;",
            "select a as b from t as u where c = 'y' and d = 2 group by e having f > 3 order by g limit 4;",
        ),
        ("update t set a = 1, b = 'x' where c->>'k' = 'v'", "update t set a = 2, b = 'y' where c->>'l' = 'w'"),
    ],
)
def test_ordinary_statements(one: str, other: str) -> None:
    """Statements as programs make them, with their constants written into them, have one outline, which tells."""
    assert outline(one.encode()) == outline(other.encode()) != b""
    assert telling(outline(one.encode()))
    assert read(one) == read(other)


@pytest.mark.parametrize(
    "message",
    [
        "select 'it''s' where a = 1",
        r"select a where b = 'c\' or d = 1 --'",
        "select a from t where b = 1 order by 2",
        "select a from t where b = 1 order by c, 2 limit 3",
        "select a from t where b = 1 order by f(c, 2) limit 3",
        "select a from t where b = 1 order by t.limit, 2",
        "select distinct on (1) a, b from t where c = 2",
        "select a from t group by 1 having b = 2",
        "select ('x')::regclass where a = 1",
        "select cast('x' as regclass), f('y')",
        "select a, 1 -- ' \n, 'b'",
        "select a /* ' */, 1, 'b'",
        "select $a$ '$a$ , 1, 'b'",
        "select \"a'\" , 1, 'b'",
        "select a where b = 'c' ; delete from t",
        "select 1 ;;",
        "select a where b = 'c'\n'd'",
        "select 'ü' where a = 1, 'é'",
        "select e'a' where a = 1",
    ],
)
def test_what_an_outline_does_not_tell(message: str) -> None:
    """Quotes of other kinds, comments, types beside strings, columns by number, several statements: they are read."""
    assert not telling(outline(message.encode()))


@pytest.mark.parametrize("message", ["select a", "select \1 , 1", "select 1" + " " * MAX_OUTLINED])
def test_no_outline(message: str) -> None:
    """Without a constant there is nothing to leave out; what looks like an outline itself, or is long, has none."""
    assert outline(message.encode()) == b"" and not telling(b"")


@given(some.lists(some.sampled_from(PIECES), max_size=14), some.lists(some.sampled_from(PIECES), max_size=5))
def test_one_outline_is_one_shape(pieces: list[str], others: list[str]) -> None:
    """Whatever is written: where the outline tells, what differs in what was left out alone reads the same."""
    message = "".join(pieces)
    outlined = outline(message.encode())
    if telling(outlined) and read(message):
        text = "".join(one for one in others if "'" not in one and "\\" not in one and one.isascii())
        other = outlined.replace(b"\1", b"'" + text.encode() + b"'").replace(b"\2", b"7").decode()
        assert read(other) == read(message)
        assert len(read(message)) == 1
