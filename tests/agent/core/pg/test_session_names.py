"""What a prepared statement's name stands for, and a COPY that is cut short."""

from __future__ import annotations

import pytest

from tests.agent.core.pg import dialogue as d


@pytest.mark.parametrize(
    ("statement", "tag"),
    [
        ("DEALLOCATE p", "DEALLOCATE"),
        ('deallocate prepare "p"', "DEALLOCATE"),
        ("DISCARD ALL", "DISCARD ALL"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
    ],
)
def test_deallocated_name_stands_for_nothing(statement: str, tag: str) -> None:
    """After SQL did away with a prepared statement, its name isn't recorded as what it once meant."""
    talk = d.relaying()
    talk.client(d.parse("select 1", "p") + d.SYNC)
    talk.server(d.msg("1") + d.ready())
    talk.client(d.query(statement))
    talk.durable()
    talk.server(d.tag(tag) + d.ready())
    talk.client(d.bind("", "p") + d.execute() + d.SYNC)
    assert [each.statement for each in talk.started()] == [statement, '[prepared statement "p"]']


def test_other_names_stay() -> None:
    """Only the statement that was deallocated is forgotten."""
    talk = d.relaying()
    talk.client(d.parse("select 1", "p") + d.parse("select 2", "q") + d.SYNC)
    talk.server(d.msg("1") + d.msg("1") + d.ready())
    talk.client(d.query("DEALLOCATE p"))
    talk.server(d.tag("DEALLOCATE") + d.ready())
    talk.client(d.bind("", "q") + d.execute() + d.SYNC)
    assert talk.started()[-1].statement == "select 2"


def test_sync_during_a_simple_copy_is_ignored() -> None:
    """A Sync inside the COPY data of a simple query gets no answer, and the session goes on in step."""
    talk = d.relaying()
    talk.client(d.query("copy t from stdin"))
    talk.server(d.msg("G", bytes(3)))
    talk.client(d.msg("d", b"1\n") + d.SYNC + d.msg("c"))
    talk.server(d.tag("COPY 1") + d.ready())
    talk.client(d.query("select 1"))
    talk.server(d.tag("SELECT 1") + d.ready())
    assert talk.outcomes() == [("copy t from stdin", "ok"), ("select 1", "ok")]
    assert not talk.session.busy


def test_copy_that_fails_before_an_early_sync_is_read() -> None:
    """A COPY that fails before the server came to a pipelined Sync answers that Sync after all: nobody loses step."""
    talk = d.relaying()
    talk.client(d.parse("copy t from stdin") + d.bind() + d.execute() + d.SYNC)
    talk.server(d.msg("1") + d.msg("2") + d.msg("G", bytes(3)))
    talk.client(d.msg("d", b"1\n") + d.msg("c") + d.SYNC)
    talk.server(d.error("57014") + d.ready() + d.ready())
    assert talk.outcomes() == [("copy t from stdin", "error")]
    assert not talk.session.busy


def test_password_without_its_end_is_refused() -> None:
    """A password message that isn't terminated is a protocol error, not a shorter password."""
    talk = d.Talking()
    talk.client(d.startup(user="u", database="prod"), d.msg("p", b"hoop_sa_x"))
    assert b"invalid password packet" in d.to_client(talk.heard)
