"""Checksums and ranges that tell a number of some kind from other digits: payment cards, IBANs, US SSNs."""

from __future__ import annotations

from typing import Final

MIN_CARD: Final = 12
MAX_CARD: Final = 19

IBAN_LENGTHS: Final[dict[str, int]] = {
    country: int(length)
    for country, length in [
        each.split("=")
        for each in (
            "AD=24 AE=23 AL=28 AT=20 AZ=28 BA=20 BE=16 BG=22 BH=22 BI=27 BR=29 BY=28 CH=21 CR=22 CY=28 CZ=24 DE=22"
            " DJ=27 DK=18 DO=28 EE=20 EG=29 ES=24 FI=18 FK=18 FO=18 FR=27 GB=22 GE=22 GI=23 GL=18 GR=27 GT=28 HN=28"
            " HR=21 HU=28 IE=22 IL=23 IQ=23 IS=26 IT=27 JO=30 KW=30 KZ=20 LB=28 LC=32 LI=21 LT=20 LU=20 LV=21 LY=25"
            " MC=27 MD=24 ME=22 MK=19 MN=20 MR=27 MT=31 MU=30 NI=28 NL=18 NO=15 OM=23 PK=24 PL=28 PS=29 PT=25 QA=29"
            " RO=24 RS=22 RU=33 SA=24 SC=31 SD=18 SE=24 SI=19 SK=24 SM=27 SO=23 ST=25 SV=28 TL=23 TN=24 TR=26 UA=29"
            " VA=22 VG=24 XK=20 YE=30"
        ).split()
    ]
}
"""Characters of an IBAN by country: the registry of ISO 13616."""


def luhn_sum(digits: str) -> int:
    """The sum that the Luhn algorithm (ISO/IEC 7812-1, annex B) takes modulo 10, over a number with its check digit."""
    total = 0
    double = False
    for letter in reversed(digits):
        digit = ord(letter) - 48
        if double:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
        double = not double
    return total


def with_luhn(digits: str) -> str:
    """The digits with the last of them replaced by the check digit."""
    return digits[:-1] + str((10 - luhn_sum(digits[:-1] + "0") % 10) % 10)


def is_card(digits: str) -> bool:
    """Whether these digits are the number of a payment card: an issuer's prefix with a length that it gives out, a
    right check digit, and not one digit all over."""
    count = len(digits)
    if not MIN_CARD <= count <= MAX_CARD or not _issued(digits, count):
        return False
    return luhn_sum(digits) % 10 == 0 and len(set(digits)) > 1


def _issued(digits: str, count: int) -> bool:
    two, four = int(digits[:2]), int(digits[:4])
    if digits[0] == "4":  # Visa
        return count in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:  # Mastercard
        return count == 16
    if two in (34, 37):  # American Express
        return count == 15
    if 3528 <= four <= 3589 or 2200 <= four <= 2204:  # JCB, Mir
        return 16 <= count <= 19
    if 300 <= four // 10 <= 305 or two in (36, 38, 39):  # Diners Club
        return 14 <= count <= 19
    if four == 6011 or 644 <= four // 10 <= 649 or two in (62, 65):  # Discover, UnionPay
        return 16 <= count <= 19
    return (two == 50 or 56 <= two <= 58 or two in (63, 67)) and count in (13, 15, 16, 18, 19)  # Maestro


def iban_remainder(iban: str) -> int:
    """What ISO 7064 MOD 97-10 leaves of an IBAN without blanks: 1 when it is right. Letters are upper-case."""
    return int("".join([str(int(letter, 36)) for letter in iban[4:] + iban[:4]])) % 97


def is_iban(iban: str) -> bool:
    """Whether this, without blanks, is an IBAN of the length that its country gives it, with right check digits."""
    if IBAN_LENGTHS.get(iban[:2]) != len(iban) or not iban.isascii() or not iban.isalnum() or not iban[2:4].isdigit():
        return False
    return iban_remainder(iban) == 1


def with_iban_check(iban: str) -> str:
    """The IBAN with its check digits put right; those that some countries have in their account numbers, too."""
    country, account = iban[:2], iban[4:]
    if account.isdigit():
        account = _account(country, account)
    return f"{country}{98 - iban_remainder(country + '00' + account):02d}{account}"


def _account(country: str, account: str) -> str:
    if country == "BE":
        return account[:10] + f"{int(account[:10]) % 97 or 97:02d}"
    if country in ("BA", "ME", "MK", "PT", "RS", "SI"):
        return account[:-2] + f"{98 - int(account[:-2] + '00') % 97:02d}"
    if country == "ES" and len(account) == 20:
        return account[:8] + _spanish("00" + account[:8]) + _spanish(account[10:]) + account[10:]
    if country == "NO" and len(account) == 11:
        check = _norwegian(account)
        if check == 10:  # there is no account with it; another first digit makes it 5, or 0
            account = f"{(int(account[0]) + 1) % 10}{account[1:]}"
            check = _norwegian(account)
        return account[:10] + str(check % 10)
    return account


def _norwegian(account: str) -> int:
    weights = (6, 7, 8, 9, 4, 5, 6, 7, 8, 9)
    return sum([int(digit) * weight for digit, weight in zip(account, weights, strict=False)]) % 11


def _spanish(digits: str) -> str:
    """The check digit of half a Spanish account number."""
    total = sum([int(digit) * 2**place % 11 for place, digit in enumerate(digits)])
    check = 11 - total % 11
    return str(1 if check == 10 else 0 if check == 11 else check)


def is_us_ssn(digits: str) -> bool:
    """Whether nine digits are a Social Security number that can have been given out
    (https://www.ssa.gov/employer/randomization.html)."""
    if len(digits) != 9 or digits[:3] in ("000", "666") or digits[0] == "9":
        return False
    return digits[3:5] != "00" and digits[5:] != "0000"
