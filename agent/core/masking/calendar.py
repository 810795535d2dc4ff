"""Dates, times and decimal numbers from text to PostgreSQL's binary form: the other way round than agent.core.pg.times
and agent.core.pg.numbers. Text is read in the ISO DateStyle; of any other nothing is made (None)."""

from __future__ import annotations

import re
import struct
from typing import Final

DAY: Final = 86_400_000_000
DATE_INFINITY: Final = (0x7FFFFFFF, -0x80000000)
TIME_INFINITY: Final = (0x7FFFFFFFFFFFFFFF, -0x8000000000000000)

_DATE: Final = re.compile(r"([0-9]{4,7})-([0-9]{2})-([0-9]{2})( BC)?")
_TIMESTAMP: Final = re.compile(
    r"([0-9]{4,7}-[0-9]{2}-[0-9]{2}) ([0-9:.]{8,15})(([+-])([0-9]{2})(?::([0-9]{2}))?(?::([0-9]{2}))?)?( BC)?"
)
_CLOCK: Final = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,6}))?")
_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")


def days_of(year: int, month: int, day: int) -> int:
    """Days from 2000-01-01 to a day of the proleptic Gregorian calendar; year 0 is 1 BC. The algorithm is
    "days_from_civil" of https://howardhinnant.github.io/date_algorithms.html"""
    shifted = year - 1 if month <= 2 else year
    era = shifted // 400
    year_of_era = shifted - era * 400
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 730_425


def date_days(text: str) -> int | None:
    """Days since 2000-01-01 of a date's text."""
    if text == "infinity":
        return DATE_INFINITY[0]
    if text == "-infinity":
        return DATE_INFINITY[1]
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year = int(found[1])
    return days_of(1 - year if found[4] else year, int(found[2]), int(found[3]))


def clock_microseconds(text: str) -> int | None:
    """Microseconds since midnight of a time's text."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    part = int((found[4] or "").ljust(6, "0"))
    return ((int(found[1]) * 60 + int(found[2])) * 60 + int(found[3])) * 1_000_000 + part


def timestamp_microseconds(text: str) -> tuple[int, int, str] | None:
    """Microseconds since 2000-01-01 (UTC where the text has a zone), the zone's offset east in microseconds, and the
    zone as it was written."""
    if text == "infinity":
        return TIME_INFINITY[0], 0, ""
    if text == "-infinity":
        return TIME_INFINITY[1], 0, ""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        return None
    days = date_days(found[1] + (found[8] or ""))
    clock = clock_microseconds(found[2])
    if days is None or clock is None:
        return None
    offset = 0
    if found[3]:
        offset = (int(found[5]) * 3600 + int(found[6] or 0) * 60 + int(found[7] or 0)) * 1_000_000
        offset = -offset if found[4] == "-" else offset
    return days * DAY + clock - offset, offset, found[3] or ""


def numeric_binary(text: str) -> bytes:
    """A decimal number, digits with an optional sign and point, in numeric's binary form. Raises ValueError."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"this is no decimal number (got {text!r})")
    whole, part = found[2].lstrip("0"), found[3] or ""
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    padded = whole + part.ljust(-(-len(part) // 4) * 4, "0")
    groups = [int(padded[at : at + 4]) for at in range(0, len(padded), 4)]
    weight = len(whole) // 4 - 1
    while groups and groups[-1] == 0:
        groups.pop()
    skipped = 0
    while skipped < len(groups) and groups[skipped] == 0:
        skipped += 1
    groups = groups[skipped:]
    if not groups:
        return struct.pack("!HhHH", 0, 0, 0, len(part))
    sign = 0x4000 if found[1] else 0
    return struct.pack(f"!HhHH{len(groups)}H", len(groups), weight - skipped, sign, len(part), *groups)
