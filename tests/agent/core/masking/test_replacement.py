"""One value, replaced: valid for its type in its format, and as the way says."""

from __future__ import annotations

import json
import re
import struct
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import iban as iban_check
from stdnum import luhn

from agent.core.masking.families import ELEMENTS, NEUTRAL
from agent.core.masking.replacement import WAYS, Replacement
from agent.core.pg.values import text_of
from tests.agent.core.masking.values import ANY, KEY, TEXTS

VALID = {
    16: "[tf]",
    17: r"\\x([0-9a-f]{2})*",
    20: "-?[0-9]{1,19}",
    21: "-?[0-9]{1,5}",
    23: "-?[0-9]{1,10}",
    700: r"-?[0-9.]+(e[+-][0-9]+)?",
    701: r"-?[0-9.]+(e[+-][0-9]+)?",
    774: "([0-9a-f]{2}:){7}[0-9a-f]{2}",
    829: "([0-9a-f]{2}:){5}[0-9a-f]{2}",
    869: "[0-9.]+|[0-9a-f:]+",
    1082: "[0-9]{4,7}-[0-9]{2}-[0-9]{2}( BC)?",
    1083: "[0-9]{2}:[0-9]{2}:[0-9]{2}",
    1114: r"[0-9]{4,7}-[0-9]{2}-[0-9]{2} [0-9:.]+( BC)?",
    1184: r"[0-9]{4,7}-[0-9]{2}-[0-9]{2} [0-9:.]+\+00( BC)?",
    1186: "00:00:00",
    1560: "[01]*",
    1700: r"-?[0-9]+(\.[0-9]+)?",
    2950: "[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
    3904: "empty",
    1009: "{}",
}


def replaced(way: str, oid: int, text: str, modifier: int = -1) -> str | None:
    made = Replacement(way, KEY, oid, modifier).replace(text.encode())
    return None if made is None else made.decode()


@given(ANY, st.sampled_from(WAYS))
def test_both_formats_agree_and_are_valid(value: tuple[int, bytes, bytes], way: str) -> None:
    """Whatever the value, its replacement is of its type, and the same whether it came as text or in binary."""
    oid, text, binary = value
    shown = Replacement(way, KEY, oid).replace(text)
    made = Replacement(way, KEY, oid, -1, True).replace(binary)
    if way == "null":
        assert shown is made is None
        return
    assert shown is not None and made is not None
    assert text_of(oid, made) == shown.decode()
    if oid in VALID:
        assert re.fullmatch(VALID[oid], shown.decode())
    if oid in (114, 3802):
        json.loads(shown)


@given(ANY, st.sampled_from(["hash", "fake"]))
def test_equal_stays_equal_and_the_key_decides(value: tuple[int, bytes, bytes], way: str) -> None:
    """The same value has the same replacement every time."""
    oid, text, _ = value
    assert Replacement(way, KEY, oid).replace(text) == Replacement(way, KEY, oid).replace(text)
    if oid in (25, 1043, 2950) and way == "hash":
        assert Replacement(way, KEY, oid).replace(text) != Replacement(way, b"other", oid).replace(text)


@given(TEXTS, st.sampled_from(["partial", "hash", "fake", "redact"]), st.integers(1, 12), st.sampled_from([1042, 1043]))
def test_limits_of_text(text: str, way: str, limit: int, oid: int) -> None:
    """A text is never longer than its column, and char(n) has its blanks."""
    made = replaced(way, oid, text[:limit], limit + 4)
    assert made is not None and len(made) <= limit
    assert oid == 1043 or len(made) == limit


@given(st.binary(max_size=60), st.sampled_from([*NEUTRAL, *ELEMENTS, 25, 1560, 1700, 99_999]), st.sampled_from(WAYS))
def test_nothing_raises(value: bytes, oid: int, way: str) -> None:
    """Bytes that aren't of the type are replaced all the same, in both formats."""
    for binary in (False, True):
        made = Replacement(way, KEY, oid, -1, binary).replace(value)
        assert made is None or isinstance(made, bytes)


@given(ANY, st.sampled_from(["redact", "hash"]))
def test_nothing_of_it_is_left(value: tuple[int, bytes, bytes], way: str) -> None:
    """Redacting gives the same for all values of a type, whatever they are (bit strings keep their length)."""
    oid, text, _ = value
    if way == "redact" and oid != 1560:
        replacement = Replacement(way, KEY, oid)
        assert replacement.fixed and replacement.replace(text) == replacement.constant


@pytest.mark.parametrize(
    "oid, modifier, value, expected",
    [
        (25, -1, "anything", "***"),
        (1043, 4 + 2, "ab", "**"),
        (1042, 4 + 5, "ab   ", "***  "),
        (23, -1, "5", "0"),
        (1700, ((10 << 16) | 2) + 4, "12.34", "0.00"),
        (1082, -1, "infinity", "1970-01-01"),
        (1184, -1, "2024-01-01 00:00:00+05:30", "1970-01-01 00:00:00+00"),
        (16, -1, "t", "f"),
        (3802, -1, '{"a": 1}', "null"),
        (142, -1, "<a/>", "<masked/>"),
        (1007, -1, "{1,2}", "{}"),
        (869, -1, "10.1.2.3/8", "0.0.0.0"),
        (1560, -1, "1011", "0000"),
        (1560, 3, "101", "000"),
        (1562, -1, "1011", ""),
        (790, -1, "$12.00", "$0.00"),
        (790, -1, "12,00 €", "0.00"),
        (2249, -1, "(1,2)", None),
        (16_400, -1, "an enum", None),
    ],
)
def test_redact(oid: int, modifier: int, value: str, expected: str | None) -> None:
    """A harmless value of the same type, NULL where none is known."""
    assert replaced("redact", oid, value, modifier) == expected


@pytest.mark.parametrize(
    "value, expected",
    [
        ("4111 1111 1111 1234", "**** **** **** 1234"),
        ("4111-1111-1111-1234", "****-****-****-1234"),
        ("+491701234567", "*********4567"),
        ("alice@corp.example", "a***@corp.example"),
        ("DE89 3704 0044 0532 0130 00", "**** **** **** **** **30 00"),
        ("seven77", "***"),
        ("", "***"),
    ],
)
def test_partial(value: str, expected: str) -> None:
    """Of eight characters or more the last four, of an e-mail address the first letter and the domain."""
    assert replaced("partial", 25, value) == expected


def test_partial_of_anything_else() -> None:
    """What isn't text is redacted."""
    assert replaced("partial", 20, "4111111111111234") == "0"


def test_hash_is_keyed_and_of_one_length() -> None:
    """Texts get 32 hexadecimal digits, cut to what the column holds; blanks at the end of char(n) don't matter."""
    made = replaced("hash", 25, "alice")
    assert made is not None and re.fullmatch("[0-9a-f]{32}", made)
    assert replaced("hash", 1043, "alice", 4 + 10) == made[:10]
    assert replaced("hash", 1042, "alice  ", 4 + 7) == made[:7]
    assert Replacement("hash", b"another", 25).replace(b"alice") != made.encode()


def test_hash_of_numbers() -> None:
    """7 and 7 hash alike as text and in binary, 1.0 and 1.00 too, and stay within the type."""
    assert replaced("hash", 1700, "1.0") == replaced("hash", 1700, "1.00")
    assert replaced("hash", 1700, "1.5", ((5 << 16) | 2) + 4) is not None
    for oid, code in ((21, "!h"), (23, "!i"), (20, "!q")):
        made = Replacement("hash", KEY, oid, -1, True).replace(struct.pack(code, 7))
        assert made is not None and str(struct.unpack(code, made)[0]) == replaced("hash", oid, "7")


@given(st.integers(0, 10**7), st.integers(1, 6), st.integers(0, 6))
def test_hash_and_fake_fit_numeric(number: int, whole: int, scale: int) -> None:
    """numeric(p, s) holds what a hash or a fake gives: not more digits before the point than p - s, s behind it."""
    number %= 10**whole
    value = f"{number}.{'1' * scale}" if scale else str(number)
    for way in ("hash", "fake"):
        made = replaced(way, 1700, value, (((whole + scale) << 16) | scale) + 4)
        assert made is not None
        before, _, behind = made.lstrip("-").partition(".")
        assert len(before.lstrip("0")) <= whole and len(behind) == scale


@given(st.integers(10**14, 10**15 - 1), st.sampled_from(["", " ", "-"]))
def test_fake_card(number: int, joint: str) -> None:
    """A card keeps its length, separators and first two digits, and passes Luhn."""
    digits = str(number) + luhn.calc_check_digit(str(number))
    value = joint.join([digits[at : at + 4] for at in range(0, 16, 4)])
    made = replaced("fake", 25, value)
    assert made is not None and made != value and len(made) == len(value)
    assert luhn.is_valid(made.replace(" ", "").replace("-", "")) and made[:2] == value[:2]


@pytest.mark.parametrize(
    "value",
    [
        "DE89 3704 0044 0532 0130 00",
        "GB29NWBK60161331926819",
        "BE68539007547034",
        "ES9121000418450200051332",
        "FR1420041010050500013M02606",
        "NL91ABNA0417164300",
        "NO9386011117947",
        "ME25505000012345678951",
        "MT84MALT011000012345MTLCAST001S",
    ],
)
def test_fake_iban(value: str) -> None:
    """An IBAN stays an IBAN of the same country, national check digits included."""
    made = replaced("fake", 25, value)
    assert made is not None and made != value and made[:2] == value[:2] and len(made) == len(value)
    assert iban_check.is_valid(made)


@pytest.mark.parametrize("value", ["alice@corp.example", "a.b+c@x.co", "Ünal@bücher.de"])
def test_fake_email(value: str) -> None:
    """An e-mail address becomes one that reaches nobody, within what the column holds."""
    made = replaced("fake", 25, value)
    assert made is not None and re.fullmatch(r"[a-z0-9.]+@example\.(com|net|org)", made)
    short = replaced("fake", 1043, value, 4 + 18)
    assert short is not None and short.endswith("@example.com") and len(short) <= 18


@given(TEXTS)
def test_fake_text_has_the_same_shape(text: str) -> None:
    """As many characters, digits for digits, upper case for upper case, punctuation in its place."""
    made = replaced("fake", 25, "#" + text)
    if made == "***":  # nothing to replace in it
        assert not any(letter.isalnum() or not letter.isascii() for letter in text)
        return
    assert made is not None
    if "@" in text:
        return  # an address
    assert len(made) == len(text) + 1
    for before, after in zip("#" + text, made, strict=True):
        if before.isascii():
            assert (before.isdigit(), before.isupper(), before.islower()) == (
                after.isdigit(),
                after.isupper(),
                after.islower(),
            )


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_fake_integer(number: int) -> None:
    """As many digits, the same sign, another number where there is one."""
    made = replaced("fake", 20, str(number))
    assert made is not None and len(made) == len(str(number))


def test_fake_of_names_dates_and_documents() -> None:
    """Names become names, dates stay near, JSON keeps its structure, a UUID its version."""
    name = replaced("fake", 25, "Grace Hopper")
    assert name is not None and re.fullmatch("[A-Z][a-z]+ [A-Z][a-z]+", name) and name != "Grace Hopper"
    date = replaced("fake", 1082, "1980-05-06")
    assert date is not None and date[:4] in ("1979", "1980", "1981")
    made = replaced("fake", 3802, '{"mail": "alice@corp.example", "n": [10, 2.5]}')
    assert made is not None
    (mail, numbers) = json.loads(made).values()
    assert "@example" in mail and 10 <= numbers[0] <= 99 and len(str(numbers[1])) == 3
    given_uuid = uuid.UUID("3f2504e0-4f89-41d3-9a0c-0305e82c3301")
    other = replaced("fake", 2950, str(given_uuid))
    assert other is not None and uuid.UUID(other).version == given_uuid.version
    zone = replaced("fake", 1184, "2024-01-01 12:00:00.5+05:30")
    assert zone is not None and zone.endswith("+05:30")


def test_null_and_unknown_ways() -> None:
    """`null` is NULL whatever the type; a way that there isn't is an error."""
    assert replaced("null", 25, "x") is None
    with pytest.raises(ValueError, match="no such way"):
        Replacement("redakt", KEY, 25)
