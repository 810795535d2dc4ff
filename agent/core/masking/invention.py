"""Values of the same shape as the given ones: made from chance that a key and the value itself decide, so that equal
values get equal replacements, and nobody without the key can tell which belong together.
"""

from __future__ import annotations

import hmac
import re
from hashlib import shake_256
from typing import Final

from agent.core.masking.checks import is_iban, luhn_sum, with_iban_check, with_luhn

FIRST: Final = (
    "Ada Alma Anton Bela Bruno Carla Clara Dario Diana Edgar Elena Emil Erika Fabio Flora Georg Greta Hanna Henry Ida"
    " Igor Irene Jakob Jonas Julia Karla Klara Laura Leon Lina Lukas Maria Marta Milan Mona Nadia Nils Nora Oskar Otto"
    " Paula Petra Quinn Rita Robin Rosa Samir Selma Simon Sonja Tamara Theo Tilda Ulla Viktor Vera Walter Wanda Yusuf"
    " Zoe"
).split()
LAST: Final = (
    "Abbot Adler Baker Barton Becker Bell Berger Brandt Carter Clark Cole Dalton Decker Doyle Eaton Ebert Falk Fisher"
    " Fox Gibson Graf Grant Haas Harper Hayes Hunter Jansen Jensen Keller Klein Koch Lambert Lange Lehmann Mason Mayer"
    " Moreno Nash Nolan Novak Olsen Ortega Palmer Parker Quist Ramos Reed Roth Sanders Silva Stone Tanner Turner Ulrich"
    " Vargas Vogel Wagner Walsh Weber Wolf Young Ziegler"
).split()
DOMAINS: Final = ("example.com", "example.net", "example.org")

EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_NAME: Final = re.compile(r"[^\W\d_][\w'’-]+( [^\W\d_]\.)?(?: [^\W\d_][\w'’-]+){1,2}")
_DIGITS: Final = re.compile(r"[0-9](?:[ .-]?[0-9])+")
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}")
_UPPER: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"


def seed(key: bytes, kind: str, value: bytes) -> bytes:
    """32 bytes that the key, the kind of value and the value decide: HMAC-SHA256."""
    return hmac.digest(key, kind.encode() + b"\0" + value, "sha256")


def drawn(chance: bytes, count: int) -> bytes:
    """So many bytes of chance out of a seed."""
    return shake_256(chance).digest(count)


def text_like(text: str, chance: bytes, limit: int = -1) -> str:
    """A text of the same kind: an e-mail address, card number, IBAN or name for one; for any other a text of as many
    characters, letters for letters and digits for digits. At most `limit` characters, which the given text has not more
    of; -1: any number."""
    if EMAIL.fullmatch(text):
        made = email(chance)
        if 0 <= limit < len(made):
            made = made[:1] + "@" + DOMAINS[0]
        if not 0 <= limit < len(made):
            return made
    if _DIGITS.fullmatch(text):
        return number_like(text, chance)
    if _IBAN.fullmatch(text) and is_iban(text.replace(" ", "")):
        return _iban_like(text, chance)
    if _NAME.fullmatch(text) and text.istitle():
        made = name(chance)
        if not 0 <= limit < len(made):
            return made
    return letters_like(text, chance)


def email(chance: bytes) -> str:
    """An address that reaches nobody (RFC 2606)."""
    draw = drawn(chance, 8)
    first, last = FIRST[draw[0] % len(FIRST)], LAST[draw[1] % len(LAST)]
    number = int.from_bytes(draw[2:7], "big") % 10_000
    return f"{first}.{last}{number}@{DOMAINS[draw[7] % len(DOMAINS)]}".lower()


def name(chance: bytes) -> str:
    """A first name and a last one."""
    draw = drawn(chance, 2)
    return f"{FIRST[draw[0] % len(FIRST)]} {LAST[draw[1] % len(LAST)]}"


def letters_like(text: str, chance: bytes) -> str:
    """Letters for letters of the same case, digits for digits; ASCII's other characters stay. What isn't ASCII becomes
    a letter, too."""
    draw = drawn(chance, len(text))
    made: list[str] = []
    for place, letter in enumerate(text):
        if letter.isascii() and not letter.isalnum():
            made.append(letter)
        elif "0" <= letter <= "9":
            made.append(chr(48 + draw[place] % 10))
        elif letter.isupper():
            made.append(_UPPER[draw[place] % 26])
        else:
            made.append(_LOWER[draw[place] % 26])
    return "".join(made)


def digits_like(digits: str, chance: bytes) -> str:
    """As many digits, the first of several not 0 unless it was; a number that passes the Luhn check gives another
    one, with the same first two digits, when it is as long as a card's."""
    draw = drawn(chance, len(digits))
    made = [chr(48 + byte % 10) for byte in draw]
    if len(made) > 1:
        made[0] = "0" if digits[0] == "0" else chr(49 + draw[0] % 9)
    if 12 <= len(digits) <= 19 and luhn_sum(digits) % 10 == 0:
        return with_luhn(digits[:2] + "".join(made[2:]))
    return "".join(made)


def number_like(text: str, chance: bytes) -> str:
    """Other digits in the places of the digits."""
    made = digits_like("".join([letter for letter in text if "0" <= letter <= "9"]), chance)
    place = 0
    parts: list[str] = []
    for letter in text:
        if "0" <= letter <= "9":
            parts.append(made[place])
            place += 1
        else:
            parts.append(letter)
    return "".join(parts)


def _iban_like(text: str, chance: bytes) -> str:
    made = with_iban_check(text[:4] + letters_like(text.replace(" ", "")[4:], chance))
    place = 0
    parts: list[str] = []
    for letter in text:
        if letter == " ":
            parts.append(letter)
        else:
            parts.append(made[place])
            place += 1
    return "".join(parts)


def integer_like(number: int, chance: bytes, largest: int) -> int:
    """A number of as many digits and the same sign, no further from 0 than `largest`."""
    digits = str(abs(number))
    made = int(digits_like(digits, chance))
    if made > largest:
        least = 10 ** (len(digits) - 1)
        made = least + int.from_bytes(drawn(chance, 16), "big") % (largest - least + 1)
    return -made if number < 0 else made


def decimal_like(text: str, chance: bytes) -> str:
    """A decimal number, perhaps with an exponent, with as many digits before and behind the point."""
    mantissa, mark, exponent = text.partition("e")
    sign = mantissa[: len(mantissa) - len(mantissa.lstrip("-"))]
    whole, point, part = mantissa[len(sign) :].partition(".")
    made = "".join([chr(48 + byte % 10) for byte in drawn(chance, len(whole) + len(part))])
    if whole == "0":
        made = "0" + made[1:]
    elif len(whole) > 1 and made[0] == "0":
        made = "1" + made[1:]
    last = len(made) - 1
    if part and made[last] == "0":
        made = made[:last] + "7"  # else the number would have fewer digits
    return sign + made[: len(whole)] + point + made[len(whole) :] + mark + exponent
