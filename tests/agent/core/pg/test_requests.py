"""What a Bind says about its answer."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.pg.messages import ProtocolError
from agent.core.pg.requests import bound, result_formats

VALUES = st.lists(st.none() | st.binary(max_size=20), max_size=5)
CODES = st.lists(st.integers(0, 1), max_size=5)


def body(given: list[int], values: list[bytes | None], wanted: list[int]) -> bytes:
    """A Bind from its parameters' format codes on."""
    made = struct.pack(f"!H{len(given)}H", len(given), *given) + struct.pack("!H", len(values))
    for value in values:
        made += struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value
    return made + struct.pack(f"!H{len(wanted)}H", len(wanted), *wanted)


@given(st.binary(max_size=9), CODES, VALUES, CODES)
def test_result_formats(before: bytes, given: list[int], values: list[bytes | None], wanted: list[int]) -> None:
    """They are read whatever parameters come before them."""
    assert result_formats(before + body(given, values, wanted), len(before)) == wanted


@pytest.mark.parametrize("cut", range(1, 14))
def test_cut_short(cut: int) -> None:
    """A Bind that ends before they do is a protocol error."""
    with pytest.raises(ProtocolError):
        result_formats(body([0], [b"x"], [1, 0])[:-cut], 0)


@given(st.binary(max_size=80), st.integers(0, 90))
def test_any_bytes(data: bytes, at: int) -> None:
    """Any bytes give formats, or a protocol error; what `bound` refuses may be either."""
    for read in (lambda: result_formats(data, at), lambda: bound(data, at, [])):
        try:
            read()
        except ProtocolError:
            pass
