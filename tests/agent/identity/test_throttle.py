"""Guessing gets slow, and nothing else does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.identity.throttle import FORGOTTEN, LONGEST, Throttle, network


def test_doubling() -> None:
    """Each failure doubles the wait, from a quarter of a second to eight."""
    throttle = Throttle()
    assert throttle.wait("10.0.0.1", 0) == 0
    waits = [throttle.failed("10.0.0.1", second) for second in range(8)]
    assert waits == [0.25, 0.5, 1, 2, 4, 8, 8, 8]
    assert throttle.wait("10.0.0.2", 8) == 0


def test_forgotten() -> None:
    """Ten minutes after the last failure, or after a login, an address is as good as new."""
    throttle = Throttle()
    throttle.failed("10.0.0.1", 0)
    throttle.failed("10.0.0.1", 0)
    assert throttle.wait("10.0.0.1", FORGOTTEN - 1) == 0.5
    assert throttle.wait("10.0.0.1", FORGOTTEN) == 0
    assert len(throttle) == 0
    throttle.failed("10.0.0.1", 0)
    assert throttle.failed("10.0.0.1", FORGOTTEN) == 0.25
    throttle.succeeded("10.0.0.1")
    assert throttle.wait("10.0.0.1", FORGOTTEN) == 0


def test_many_failures() -> None:
    """A million failures are as slow as ten, not an overflow."""
    throttle = Throttle()
    for _ in range(5000):
        throttle.failed("a", 0)
    assert throttle.wait("a", 0) == LONGEST


def test_bounded() -> None:
    """The table is bounded, and what makes room is the address that was longest quiet."""
    throttle = Throttle(addresses=3)
    for number in range(3):
        throttle.failed(f"10.0.0.{number}", number)
    throttle.failed("10.0.0.0", 3)
    throttle.failed("10.0.0.9", 4)
    assert len(throttle) == 3
    assert throttle.wait("10.0.0.1", 4) == 0
    assert throttle.wait("10.0.0.0", 4) == 0.5


def test_one_host_is_one_address() -> None:
    """A host can't hide in its IPv6 network, nor behind an IPv4 address in IPv6 clothes."""
    assert network("2001:db8::1") == network("2001:db8::ffff") != network("2001:db8:0:1::1")
    assert network("::ffff:10.0.0.1") == network("10.0.0.1") == "10.0.0.1"
    assert network("fe80::1%eth0") == network("fe80::2")


@given(st.text(max_size=100))
def test_any_address(address: str) -> None:
    """Any text is an address, and its key is short."""
    assert len(network(address)) <= 64
