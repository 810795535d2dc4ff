"""What statements that differ only in their constants have in common.

https://github.com/pganalyze/libpg_query/wiki/Fingerprinting
"""

from __future__ import annotations

from typing import Final

import postgast

LONGEST: Final = 1 << 20
"""Characters of a statement that has a fingerprint: a longer one is generated as a rule, and making it takes time."""


def fingerprint(text: str) -> str | None:
    """16 hex digits; None for what libpg_query can't parse, and for what is too long."""
    if len(text) > LONGEST:
        return None
    try:
        return str(postgast.fingerprint(text).hex)
    except (postgast.PgQueryError, ValueError):
        return None
