"""What a client reads in place of the server's words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.core.limits import MAX_WITHHELD
from agent.core.pg.errors import fields
from agent.core.pg.messages import HEAD
from agent.core.pg.refusals import masked_error, too_much

BODY = (
    b'SERROR\0VERROR\0C22P02\0Minvalid input syntax for type integer: "a@corp.example"\0'
    b"Da@corp.example\0Ha@corp.example\0"
    b"P17\0p3\0qselect 'a@corp.example'\0Wa@corp.example\0"
    b"sapp\0tusers\0cemail\0dtext\0na@corp.example\0Fint8.c\0L1\0Rx\0\0"
)


def test_masked_error() -> None:
    """SQLSTATE, severity and the position in the client's own text stay; everything that may quote a value is gone."""
    made = masked_error(BODY)
    found = fields(made[HEAD:])
    assert {name: found[name] for name in "SVCP"} == {"S": "ERROR", "V": "ERROR", "C": "22P02", "P": "17"}
    assert set(found) == set("SVCPM") and found["M"].startswith("hoopctl:")
    assert b"corp.example" not in made
    assert made[1:HEAD] == (len(made) - 1).to_bytes(4, "big")


@given(st.binary(max_size=200))
def test_any_error(body: bytes) -> None:
    """Of any bytes only fields of these four kinds are kept."""
    made = masked_error(body)
    assert set(fields(made[HEAD:])) <= set("SVCPM")
    assert made[-2:] == b"\0\0"


def test_too_much() -> None:
    """The bound is told."""
    found = fields(too_much()[HEAD:])
    assert found["C"] == "54000" and str(MAX_WITHHELD) in found["M"]
