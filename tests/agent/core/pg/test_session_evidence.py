"""Which bytes belong to which operation, and that every operation ends once, whatever the server and client do."""

from __future__ import annotations

import pytest

from agent.core.events import ClientGone, ServerGone, Stop
from tests.agent.core.pg.dialogue import (
    BOUND,
    CLOSED,
    COLUMNS,
    PARSED,
    SUSPENDED,
    SYNC,
    bind,
    close,
    error,
    execute,
    msg,
    parse,
    query,
    ready,
    relaying,
    row,
    tag,
    to_client,
)


def test_rows_of_two_portals_in_one_pipeline_are_told_apart() -> None:
    """Rows that follow another portal's completion without a message between them belong to their own portal."""
    talk = relaying()
    talk.client(
        parse("select 1", "s") + bind("a", "s") + bind("b", "s") + execute("a") + execute("b") + SYNC,
    )
    talk.durable()
    talk.server(PARSED + BOUND + BOUND + row("1") + tag("SELECT 1") + row("2") + tag("SELECT 1") + ready())
    assert talk.content(1) == BOUND + row("1") + tag("SELECT 1")
    assert talk.content(2).replace(ready(), b"") == BOUND + row("2") + tag("SELECT 1")
    assert [end.rows for end in talk.ended().values()] == [1, 1]


def test_interleaved_portals_keep_their_rows() -> None:
    """Two portals read in turns, a row at a time, each have their own rows in the evidence."""
    talk = relaying()
    talk.client(query("begin"))
    talk.server(tag("BEGIN") + ready("T"))
    talk.client(parse("select 1", "s") + bind("a", "s") + bind("b", "s"))
    talk.client((execute("a", 1) + execute("b", 1)) * 2 + SYNC)
    talk.durable()
    rows = [row("a1"), SUSPENDED, row("b1"), SUSPENDED, row("a2"), SUSPENDED, row("b2"), SUSPENDED]
    talk.server(PARSED + BOUND + BOUND + b"".join(rows) + ready("T"))
    assert talk.content(2) == BOUND + row("a1") + SUSPENDED + row("a2") + SUSPENDED
    assert talk.content(3).replace(ready("T"), b"") == BOUND + row("b1") + SUSPENDED + row("b2") + SUSPENDED


def test_suspended_portal_keeps_what_came_before_ready() -> None:
    """Rows of a portal that suspends are its own also when ReadyForQuery arrives in the same read."""
    talk = relaying()
    talk.client(parse("select 1") + bind() + execute(rows=1) + SYNC)
    talk.durable()
    talk.server(PARSED + BOUND + row("1") + SUSPENDED + ready("T"))
    assert row("1") + SUSPENDED in talk.content(1)
    assert talk.outcomes() == [("select 1", "?")]
    talk.client(execute(rows=5) + SYNC)
    talk.server(row("2") + tag("SELECT 1") + ready("T"))
    assert row("2") + tag("SELECT 1") in talk.content(1)
    assert [(end.outcome, end.rows) for end in talk.ended().values()] == [("ok", 2)]


@pytest.mark.parametrize(
    "behind", [query("delete"), execute("cursor"), msg("F", b"\0\0\0\1\0\0\0\0\0\0"), bind("p", "x")]
)
def test_what_a_server_passes_over_is_skipped(behind: bytes) -> None:
    """Whatever stands behind a failed request of a pipeline without Sync never ran: `skipped`, once."""
    talk = relaying()
    talk.client(parse("selekt") + bind() + execute() + behind)
    talk.durable()
    talk.server(error())
    talk.client(SYNC)
    talk.server(ready())
    assert [outcome for _, outcome in talk.outcomes()] == ["skipped", "skipped", "error"]
    talk.feed(ClientGone("gone"))
    assert len(talk.ended()) == 3


@pytest.mark.parametrize("behind", [query("delete"), execute("cursor"), bind("p", "x")])
def test_what_comes_after_the_error_is_skipped_as_well(behind: bytes) -> None:
    """The same when the client sends it after the error has been seen."""
    talk = relaying()
    talk.client(parse("selekt"))
    talk.server(error())
    talk.client(behind + SYNC)
    talk.durable()
    talk.server(ready())
    assert [outcome for _, outcome in talk.outcomes()] == ["error", "skipped"]
    talk.client(query("select 1"))
    talk.durable()
    talk.server(tag("SELECT 0") + ready())
    assert talk.outcomes()[-1] == ("select 1", "ok")


def test_parse_that_failed_is_undone() -> None:
    """A statement's name means what it meant before a Parse that the server refused."""
    talk = relaying()
    talk.client(parse("select 1", "s") + SYNC)
    talk.server(PARSED + ready())
    talk.client(parse("drop table t", "s") + SYNC)
    talk.server(error("42P05", "exists already") + ready())
    talk.client(bind("", "s") + execute() + SYNC)
    assert talk.started()[-1].statement == "select 1"


def test_close_that_was_passed_over_is_undone() -> None:
    """A statement whose Close the server passed over is still there."""
    talk = relaying()
    talk.client(parse("select 1", "s") + SYNC)
    talk.server(PARSED + ready())
    talk.client(parse("selekt") + close("S", "s") + SYNC)
    talk.server(error() + ready())
    talk.client(bind("", "s"))
    assert talk.started()[-1].statement == "select 1"
    talk.client(SYNC + close("S", "s") + bind("", "s"))
    assert talk.started()[-1].statement == '[prepared statement "s"]'


def test_bind_that_failed_is_undone() -> None:
    """A portal's name means what it meant before a Bind that the server refused."""
    talk = relaying()
    talk.client(parse("select 1", "s") + parse("select 2", "t") + bind("p", "s") + execute("p", 1) + SYNC)
    talk.durable()
    talk.server(PARSED + PARSED + BOUND + row("1") + SUSPENDED + ready("T"))
    talk.client(bind("p", "t") + execute("p") + SYNC)
    talk.durable()
    talk.server(error("42P03", "portal exists") + ready("E"))
    assert [outcome for _, outcome in talk.outcomes()] == ["unfinished", "error"]


def test_names_are_cut_where_the_server_cuts_them() -> None:
    """PostgreSQL tells names of 63 bytes apart: two longer ones that begin alike mean the same statement."""
    talk = relaying()
    same = "n" * 63
    talk.client(parse("select 1", same + "x") + close("S", same + "y") + parse("delete from t", same + "z"))
    talk.client(bind("", same + "x"))
    assert talk.started()[-1].statement == "delete from t"


def test_names_that_are_not_utf8_are_told_apart() -> None:
    """Names are compared byte for byte: a client of another encoding can't make one statement look like another."""
    talk = relaying()
    talk.client(msg("P", b"\xff\0delete from t\0\0\0") + msg("P", b"\xfe\0select 1\0\0\0"))
    talk.client(msg("B", b"\0\xff\0\0\0\0\0\0\0"))
    assert talk.started()[-1].statement == "delete from t"


@pytest.mark.parametrize("last", [close("P", "p"), bind("p", "s"), SYNC, b""])
@pytest.mark.parametrize("end", [ClientGone("x"), ServerGone("x"), Stop("57P01", "x", "x")])
def test_open_portal_ends_with_its_session(last: bytes, end: ClientGone | ServerGone | Stop) -> None:
    """A portal that is open, being closed or being replaced when the session ends is unfinished, once."""
    talk = relaying()
    talk.client(parse("select 1", "s") + bind("p", "s") + execute("p", 1) + SYNC)
    talk.durable()
    talk.server(PARSED + BOUND + row("1") + SUSPENDED + ready("T"))
    talk.client(last)
    talk.feed(end)
    assert talk.ended()[1].outcome == "unfinished"
    assert len(talk.ended()) == len(talk.started())


def test_portal_that_replaces_another_ends_it() -> None:
    """Binding the unnamed portal anew ends the one before, and so does Close."""
    talk = relaying()
    talk.client(parse("select 1", "s") + bind("", "s") + bind("", "s") + close("P") + SYNC)
    talk.durable()
    talk.server(PARSED + BOUND + BOUND + CLOSED + ready("T"))
    assert [outcome for _, outcome in talk.outcomes()] == ["unfinished", "unfinished"]


def test_answers_larger_than_asked_for_are_counted_and_hashed() -> None:
    """Of an answer beyond `audit.responses` the beginning is kept, and the size of all of it told."""
    from hashlib import sha256

    talk = relaying(kept=30)
    talk.client(query("select 1"))
    talk.durable()
    answer = COLUMNS + row("1" * 100) * 5 + tag("SELECT 5") + ready()
    assert to_client(talk.server(answer[:50], answer[50:])) == answer
    end = talk.ended()[1]
    assert talk.content(1) == answer[:30]
    assert (end.bytes, end.rest_bytes, end.rows) == (len(answer), len(answer) - 30, 5)
    assert end.rest_sha256 == sha256(answer[30:]).hexdigest()
