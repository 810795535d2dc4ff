"""Tokens: a recognisable prefix and 256 random bits; what is stored is a digest.

The bits are as many as the digest's, so a plain SHA-256 without salt or stretching is enough: there is nothing to
guess. The prefix lets a scanner of repositories and logs find a token that leaked.
"""

from __future__ import annotations

import hashlib
import secrets
import string

SERVICE_ACCOUNT = "hoop_sa_"
CREDENTIAL = "hoop_cr_"

LONGEST = 256
"""Characters: longer ones are refused unread; ours have 51."""

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_DIGITS = 43
"""62**43 is the first power of 62 beyond 2**256."""


def generate(prefix: str) -> str:
    """A new token: the prefix and 256 random bits in base 62, always of the same length."""
    bits = secrets.randbits(256)
    letters: list[str] = []
    for _ in range(_DIGITS):
        bits, digit = divmod(bits, 62)
        letters.append(_BASE62[digit])
    return prefix + "".join(reversed(letters))


def digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def identifier(prefix: str) -> str:
    """A new name for a credential, to be spoken of where the token must not be: `sa_…`, `cr_…`; 80 random bits."""
    return f"{prefix}_{secrets.token_hex(10)}"
