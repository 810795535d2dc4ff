"""Slowing down whoever guesses: the more logins from an address failed, the longer the next one waits.

Pure: the time comes in as an argument, and the waiting is done by who asks.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

FIRST = 0.25
LONGEST = 8.0
"""Seconds to wait after the first failure, doubling to the longest: a person who mistypes hardly notices."""

FORGOTTEN = 600.0
"""Seconds after the last failure until an address is as good as new."""

ADDRESSES = 10_000
"""Addresses remembered, a few hundred bytes each; the one whose last failure is longest ago makes room."""


class Throttle:
    """Failed logins by client address."""

    def __init__(self, addresses: int = ADDRESSES) -> None:
        self._addresses = addresses
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Seconds that a login from this address waits before its token is looked at."""
        key = network(address)
        count, last = self._failures.get(key, (0, 0.0))
        if count == 0:
            return 0.0
        if now - last >= FORGOTTEN:
            del self._failures[key]
            return 0.0
        # The exponent is bounded before it is used: 2.0 ** 1100 is an OverflowError.
        return min(LONGEST, FIRST * 2.0 ** min(count - 1, 16))

    def failed(self, address: str, now: float) -> float:
        """Notes a failed login; the seconds that its refusal, and the next login from there, wait."""
        key = network(address)
        count, last = self._failures.pop(key, (0, now))
        self._failures[key] = (1 if now - last >= FORGOTTEN else count + 1, now)
        while len(self._failures) > self._addresses:
            self._failures.popitem(last=False)
        return self.wait(address, now)

    def succeeded(self, address: str) -> None:
        """Notes a login that was let in: the address is as good as new."""
        self._failures.pop(network(address), None)

    def __len__(self) -> int:
        return len(self._failures)


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, the /64 of an IPv6 one (a host has all of it), any other text."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, 64), strict=False))
    return str(parsed)
