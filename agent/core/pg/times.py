"""Dates and times in PostgreSQL's binary form, as text in DateStyle ISO, IntervalStyle postgres, time zone UTC.

Python's datetime ends at year 9999 and starts at year 1; PostgreSQL's range is 4713 BC to 294276 AD, so the calendar
is computed here. https://www.postgresql.org/docs/current/datatype-datetime.html
"""

from __future__ import annotations

_EPOCH_DAYS = 10_957  # from 1970-01-01 to PostgreSQL's epoch, 2000-01-01
_DAY = 86_400_000_000
_INT32_MAX = 0x7FFFFFFF
_INT32_MIN = -0x80000000
_INT64_MAX = 0x7FFFFFFFFFFFFFFF
_INT64_MIN = -0x8000000000000000


def _civil(days: int) -> tuple[int, int, int]:
    """Year (astronomical: 0 is 1 BC), month and day of a day counted from 2000-01-01, in the proleptic Gregorian
    calendar. The algorithm is "civil_from_days" of https://howardhinnant.github.io/date_algorithms.html"""
    shifted = days + _EPOCH_DAYS + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * shifted_month + 2) // 5 + 1
    month = shifted_month + 3 if shifted_month < 10 else shifted_month - 9
    return year_of_era + era * 400 + (1 if month <= 2 else 0), month, day


def _calendar(days: int) -> tuple[str, str]:
    """The date and what follows the whole value: " BC" or nothing."""
    year, month, day = _civil(days)
    if year > 0:
        return f"{year:04d}-{month:02d}-{day:02d}", ""
    return f"{1 - year:04d}-{month:02d}-{day:02d}", " BC"


def _fraction(microseconds: int) -> str:
    return "." + f"{microseconds:06d}".rstrip("0") if microseconds else ""


def clock_text(microseconds: int) -> str:
    """A time of day, `24:00:00` included."""
    seconds, rest = divmod(microseconds, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}{_fraction(rest)}"


def zone_text(seconds_west: int) -> str:
    """A UTC offset as ISO 8601 writes it: positive is east."""
    sign = "-" if seconds_west > 0 else "+"
    minutes, second = divmod(abs(seconds_west), 60)
    hour, minute = divmod(minutes, 60)
    text = f"{sign}{hour:02d}"
    if minute or second:
        text += f":{minute:02d}"
    if second:
        text += f":{second:02d}"
    return text


def date_text(days: int) -> str:
    """A date, `infinity` and `-infinity` included."""
    if days == _INT32_MAX:
        return "infinity"
    if days == _INT32_MIN:
        return "-infinity"
    text, era = _calendar(days)
    return text + era


def timestamp_text(microseconds: int, zone: str) -> str:
    """A timestamp followed by `zone`, which is empty for timestamps without time zone."""
    if microseconds == _INT64_MAX:
        return "infinity"
    if microseconds == _INT64_MIN:
        return "-infinity"
    days, clock = divmod(microseconds, _DAY)
    text, era = _calendar(days)
    return f"{text} {clock_text(clock)}{zone}{era}"


def interval_text(microseconds: int, days: int, months: int) -> str:
    """An interval in PostgreSQL's own style: a part after a negative one shows its plus sign."""
    if microseconds == _INT64_MAX and days == _INT32_MAX and months == _INT32_MAX:
        return "infinity"
    if microseconds == _INT64_MIN and days == _INT32_MIN and months == _INT32_MIN:
        return "-infinity"
    years = abs(months) // 12 * (-1 if months < 0 else 1)
    parts: list[str] = []
    after_negative = False
    for count, unit in ((years, "year"), (months - years * 12, "mon"), (days, "day")):
        if count:
            plus = "+" if after_negative and count > 0 else ""
            parts.append(f"{plus}{count} {unit}{'' if count == 1 else 's'}")
            after_negative = count < 0
    if microseconds or not parts:
        sign = "-" if microseconds < 0 else "+" if after_negative else ""
        parts.append(sign + clock_text(abs(microseconds)))
    return " ".join(parts)
