"""Floating-point and decimal numbers in PostgreSQL's binary form, as text.

https://www.postgresql.org/docs/current/datatype-numeric.html and src/backend/utils/adt/{float,numeric}.c
"""

from __future__ import annotations

import math
import struct


class Malformed(ValueError):
    """The bytes aren't a value of the type."""


def _float(shortest: str, precision: int) -> str:
    """What Python calls the shortest form, written as PostgreSQL writes it: with an exponent of two digits at
    least, from 10 ** precision on and below 10 ** -4."""
    mantissa, _, exponent = shortest.partition("e")
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    whole, _, part = digits.partition(".")
    joined = (whole + part).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + part) - len(joined))
    joined = joined.rstrip("0")
    if not joined:
        return sign + "0"
    power = point - 1
    if power < -4 or power >= precision:
        tail = "." + joined[1:] if len(joined) > 1 else ""
        return f"{sign}{joined[0]}{tail}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{joined}"
    if point >= len(joined):
        return sign + joined + "0" * (point - len(joined))
    return f"{sign}{joined[:point]}.{joined[point:]}"


def _special(number: float) -> str | None:
    if number != number:
        return "NaN"
    if number in (float("inf"), float("-inf")):
        return "Infinity" if number > 0 else "-Infinity"
    return None


def _halfway(number: float, text: str) -> bool:
    """Whether `text` lies exactly between two float8: it reads back as `number` only because ties go to even, which
    PostgreSQL doesn't count on. Only integers past 2 ** 53 can have so few digits and be that."""
    if not 2.0**53 <= abs(number) < 1e40:
        return False
    mantissa, _, exponent = text.partition("e")
    whole, _, part = mantissa.partition(".")
    power = int(exponent or 0) - len(part)
    digits = int(whole + part)
    exact = digits * 10**power if power >= 0 else digits // 10**-power
    low, high = (int(math.nextafter(number, limit)) for limit in (-math.inf, math.inf))
    return 2 * exact in (low + int(number), high + int(number))


def float8_text(value: bytes) -> str:
    """A float8 in the fewest digits that stand for it and for no other, as extra_float_digits = 1 has it."""
    if len(value) != 8:
        raise Malformed
    number: float = struct.unpack("!d", value)[0]
    special = _special(number)
    if special is not None:
        return special
    shortest = repr(number)
    if _halfway(number, shortest):
        shortest = f"{number:.15e}"
        if float(shortest) != number or _halfway(number, shortest):
            shortest = f"{number:.16e}"
    return _float(shortest, 15)


def float4_text(value: bytes) -> str:
    """A float4 in the fewest digits that stand for it and for no other. (Of a power of two PostgreSQL may show a
    last digit that is further off but saves one: 1.2379401e+27 for what is here 1.23794004e+27.)"""
    if len(value) != 4:
        raise Malformed
    number: float = struct.unpack("!f", value)[0]
    special = _special(number)
    if special is not None:
        return special
    bits = int.from_bytes(value, "big") & 0x7FFFFFFF
    around = [struct.unpack("!f", other.to_bytes(4, "big"))[0] for other in (max(bits - 1, 0), bits + 1)]
    ties = [(abs(number) + other) / 2 for other in around]
    shortest = f"{number:.0e}"
    for digits in range(9):
        shortest = f"{number:.{digits}e}"
        try:
            if struct.pack("!f", float(shortest)) == value and (number == 0 or abs(float(shortest)) not in ties):
                break
        except OverflowError:
            pass  # rounded past the largest float4: more digits are needed
    return _float(shortest, 6)


def numeric_text(value: bytes) -> str:
    """Digits to base 10000, the first of weight 10000 ** weight; `scale` decimal places are shown."""
    if len(value) < 8:
        raise Malformed
    count, weight, sign, scale = struct.unpack_from("!HhHH", value)
    if sign in (0xC000, 0xD000, 0xF000):
        return {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}[sign]
    if sign not in (0, 0x4000) or len(value) != 8 + 2 * count:
        raise Malformed
    digits = struct.unpack_from(f"!{count}H", value, 8)
    if any(digit > 9999 for digit in digits):
        raise Malformed
    padded = "0" * (4 * max(0, -weight - 1)) + "".join([f"{digit:04d}" for digit in digits])
    point = 4 * (weight + 1) if weight >= 0 else 0
    whole = padded[:point].ljust(point, "0").lstrip("0") or "0"
    part = padded[point : point + scale].ljust(scale, "0")
    return ("-" if sign else "") + whole + ("." + part if scale else "")
