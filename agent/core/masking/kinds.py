"""What values look like that a mask's `types:` name: for each, patterns in RE2's syntax and a check of what they found.

`cheap` is what every such value contains: all of them together are looked for first, in whole buffers, so they match
little in ordinary text and look at nothing around. `pattern` finds candidates, and `check` says where one ends that is
such a value indeed (-1: it isn't). RE2 has no look-around, so checks do that.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Final

from agent.core.masking.checks import IBAN_LENGTHS, is_card, is_iban, is_us_ssn
from agent.core.masking.phones import check_phone

Check = Callable[[bytes, int, int], int]

_WORD: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_DIGITS: Final = frozenset(b"0123456789")
_HEXADECIMAL: Final = frozenset(b"0123456789ABCDEFabcdef:")
# What follows an @ in names of files and units, and isn't a domain.
_NO_DOMAINS: Final = frozenset(
    "css gif html jpeg jpg js json lock map md mjs mount path png py scope service sh slice socket svg target timer"
    " toml ts tsx txt webp xml yaml yml".split()
)


class Kind:
    """A kind of value. `bounded`: a candidate is short, and when it isn't one, another may begin at a later
    word of it; so its check wants it to stand apart.
    `latin`: the pattern is over bytes, else over UTF-8."""

    def __init__(
        self, cheap: tuple[str, ...], pattern: str, check: Check, bounded: bool = False, latin: bool = True
    ) -> None:
        self.cheap: Final = cheap
        self.pattern: Final = pattern
        self.check: Final = check
        self.bounded: Final = bounded
        self.latin: Final = latin


def apart(text: bytes, start: int, end: int, joints: bytes = b"") -> bool:
    """Whether neither a letter nor a digit goes on at either end, nor a digit behind one of the `joints`."""
    if start > 0:
        before = text[start - 1]
        if before in _WORD or (before in joints and start > 1 and text[start - 2] in _DIGITS):
            return False
    if end < len(text):
        after = text[end]
        if after in _WORD or (after in joints and end + 1 < len(text) and text[end + 1] in _DIGITS):
            return False
    return True


def next_word(text: bytes, at: int) -> int:
    """The first place from `at` on that isn't within a word: elsewhere nothing begins that stands apart."""
    while at < len(text) and text[at - 1] in _WORD:
        at += 1
    return at


def digits_of(text: bytes, start: int, end: int) -> str:
    """The digits in this part of the text."""
    return "".join([chr(byte) for byte in text[start:end] if 48 <= byte <= 57])


def word(text: bytes, start: int, end: int) -> int:
    """A check: it stands apart, as a word does."""
    return end if apart(text, start, end) else -1


def anything(text: bytes, start: int, end: int) -> int:
    """A check: what the pattern finds is it."""
    return end


def _email(text: bytes, start: int, end: int) -> int:
    while end > start and text[end - 1] == 0x2D:
        end -= 1
    name, _, domain = text[start:end].rpartition(b"@")
    last = domain[domain.rfind(b".") + 1 :].decode("latin-1").lower()
    if not name.strip(b".%+-'") or len(last) < 2 or b".." in domain or last in _NO_DOMAINS:
        return -1
    return end


def _card(text: bytes, start: int, end: int) -> int:
    joints = bytes({byte for byte in text[start:end] if byte not in _DIGITS})
    if len(joints) > 1 or not apart(text, start, end, joints or b".-"):
        return -1
    return end if is_card(digits_of(text, start, end)) else -1


def _iban(text: bytes, start: int, end: int) -> int:
    """The candidate may take in words that follow; the country says how long it is."""
    wanted = IBAN_LENGTHS.get(text[start : start + 2].decode("latin-1"), 0)
    letters: list[str] = []
    at = start
    while at < end and len(letters) < wanted:
        if text[at] != 0x20:
            letters.append(chr(text[at]))
        at += 1
    if not wanted or len(letters) != wanted or not apart(text, start, at):
        return -1
    return at if is_iban("".join(letters)) else -1


def _ssn(text: bytes, start: int, end: int) -> int:
    if text[start + 3] != text[start + 6] or not apart(text, start, end, b"-."):
        return -1
    return end if is_us_ssn(digits_of(text, start, end)) else -1


def _ip(text: bytes, start: int, end: int) -> int:
    return _ip6(text, start, end) if b":" in text[start:end] else _ip4(text, start, end)


def _ip4(text: bytes, start: int, end: int) -> int:
    if not apart(text, start, end, b".-"):
        return -1
    parts = text[start:end].split(b".")
    if any((len(part) > 1 and part[0] == 48) or int(part) > 255 for part in parts):
        return -1
    before = text[max(0, start - 9) : start].lower()
    if before.endswith((b"version ", b"version: ", b"version=", b"ver ", b"ver. ", b"v. ", b"release ")):
        return -1
    # Chrome/120.0.0.0: a product's version, as browsers send it.
    product = before.endswith(b"/") and before[-2:-1].isalpha() and parts[2] == b"0" and parts[3] == b"0"
    return -1 if product or parts == [b"0", b"0", b"0", b"0"] else end


def _ip6(text: bytes, start: int, end: int) -> int:
    while end > start and text[end - 1] == 0x2E:
        end -= 1
    if end - start > 2 and text[end - 1] == 0x3A and text[end - 2] != 0x3A:
        end -= 1  # a colon that belongs to the sentence
    found = text[start:end]
    goes_on = start > 1 and text[start - 1] == 0x3A and text[start - 2] in _HEXADECIMAL
    if not apart(text, start, end) or goes_on or text[end : end + 1] == b":":
        return -1
    # a::b and 1::2 are code; what addresses begin with is longer.
    short = b"::" in found and found.index(b":") < 3 and found != b"::1" and not found.lower().startswith(b"::ffff:")
    hardware = len(found) == 23 and all(len(group) == 2 for group in found.split(b":"))  # EUI-64
    if short or hardware or not any(byte in _DIGITS for byte in found):
        return -1
    try:
        ipaddress.IPv6Address(found.decode("ascii"))
    except ValueError:
        return -1
    return end


def _pem(text: bytes, start: int, end: int) -> int:
    """To the end of its last line; of one that is cut off everything."""
    close = text.find(b"-----END ", end)
    if close < 0:
        return len(text)
    stop = text.find(b"-----", close + 9)
    return len(text) if stop < 0 else stop + 5


_IP4: Final = r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}"
_KEY_LINE: Final = r"(?i:aws_?secret_?(?:access_?)?key|aws_?session_?token)['\"]?[ \t]{0,3}[:=>]{1,2}[ \t]{0,3}['\"]?"

KINDS: Final[dict[str, Kind]] = {
    "email": Kind(
        (r"@[A-Za-z0-9\x80-\xff-]+\.[A-Za-z\x80-\xff]",),
        r"[\pL\pN_%+][\pL\pN._%+'-]*@(?:[\pL\pN-]+\.)+\pL[\pL\pN-]+",
        _email,
        latin=False,
    ),
    "credit_card": Kind(
        (r"[0-9]{13}", r"[0-9]{4}[ .-][0-9]{4,6}[ .-][0-9]{4}"),
        r"[0-9]{4}(?:[ .-][0-9]{4}){2,3}(?:[ .-][0-9]{1,4})?|[0-9]{4}[ .-][0-9]{6}[ .-][0-9]{4,5}|[0-9]{13,19}",
        _card,
        True,
    ),
    "iban": Kind(
        (r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4}",), r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}", _iban, True
    ),
    "us_ssn": Kind((r"[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}",), r"[0-9]{3}[ -][0-9]{2}[ -][0-9]{4}", _ssn, True),
    "phone": Kind(
        (
            r"\+\(?[1-9](?:[ ().-]{0,2}[0-9]){6}",
            r"\([2-9][0-9]{2}\)[ -]?[2-9][0-9]{2}[ .-][0-9]{4}",
            r"[2-9][0-9]{2}[ .-][2-9][0-9]{2}[ .-][0-9]{4}",
            r"\(0[1-9][0-9]{1,4}\)[ -]?[0-9]{2}",
            r"0[1-9][0-9][ /-](?:[ -]?[0-9]){7}",
            r"0[1-9][0-9]{2}[ /-](?:[ -]?[0-9]){6}",
            r"0[1-9][0-9]{3}[ /-](?:[ -]?[0-9]){5}",
            r"0[1-9][0-9]{4}[ /-](?:[ -]?[0-9]){4}",
            r"0[1-9](?:[ .-][0-9]{2}){4}",
            r"00[1-9][0-9]{0,2}[ -](?:[ -]?[0-9]){6}",
        ),
        r"\+\(?[1-9](?:[ ().-]{0,2}[0-9]){6,16}"
        r"|(?:1[ .-])?\([2-9][0-9]{2}\)[ -]?[2-9][0-9]{2}[ .-][0-9]{4}"
        r"|(?:1[ .-])?[2-9][0-9]{2}[ .-][2-9][0-9]{2}[ .-][0-9]{4}"
        r"|0[1-9](?:[ .-][0-9]{2}){4}"
        r"|(?:\(0[1-9][0-9]{1,4}\)[ -]?|0[1-9][0-9]{1,4}[ /-])[0-9]{2,8}(?:[ -][0-9]{2,8}){0,3}"
        r"|00[1-9][0-9]{0,2}[ -](?:[ -]?[0-9]){6,12}",
        check_phone,
        True,
    ),
    "ip_address": Kind(
        (
            r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]",
            r"::(?:1|[Ff]{4}:)",
            r"[0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{1,4}:){0,6}:",
            r"(?:[0-9A-Fa-f]{1,4}:){7}",
        ),
        r"(?:[0-9A-Fa-f]{0,4}:){2,8}(?:" + _IP4 + r"|[0-9A-Fa-f]{0,4})|" + _IP4,
        _ip,
        True,
    ),
    "jwt": Kind(
        (r"eyJ[A-Za-z0-9_-]{8}",),
        r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_.-]+)?",
        word,
    ),
    "pem_key": Kind((r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",), r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----", _pem),
    "aws_key": Kind(
        (r"A(?:KIA|SIA|BIA|CCA|GPA|IDA|IPA|NPA|NVA|ROA)[A-Z2-7]{16}", _KEY_LINE + r"[A-Za-z0-9/+]{16}"),
        r"A(?:KIA|SIA|BIA|CCA|GPA|IDA|IPA|NPA|NVA|ROA)[A-Z2-7]{16}|" + _KEY_LINE + r"([A-Za-z0-9/+]{40,}=*)",
        word,
    ),
    "azure_key": Kind((r"AccountKey=[A-Za-z0-9/+]{40}",), r"AccountKey=([A-Za-z0-9/+]{40,}={0,2})", anything),
    "github_token": Kind(
        (r"gh[oprsu]_[A-Za-z0-9]{36}", r"github_pat_[A-Za-z0-9_]{22}"),
        r"gh[oprsu]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}",
        word,
    ),
    "gitlab_token": Kind(
        (r"gl(?:pat|ptt|dt|rt|soat)-[A-Za-z0-9_-]{20}",), r"gl(?:pat|ptt|dt|rt|soat)-[A-Za-z0-9_.-]{20,}", word
    ),
    "google_key": Kind(
        (r"AIza[A-Za-z0-9_-]{35}", r"ya29\.[A-Za-z0-9_-]{20}", r"GOCSPX-[A-Za-z0-9_-]{20}"),
        r"AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}",
        word,
    ),
    "npm_token": Kind((r"npm_[A-Za-z0-9]{36}",), r"npm_[A-Za-z0-9]{36}", word),
    "slack_token": Kind(
        (
            r"xox[abceoprs][.-][A-Za-z0-9.-]{10}",
            r"xapp-[0-9]-[A-Za-z0-9-]{10}",
            r"hooks\.slack\.com/services/[A-Za-z0-9]",
        ),
        r"xox[abceoprs][.-][A-Za-z0-9.-]{10,}|xapp-[0-9]-[A-Za-z0-9-]{10,}"
        r"|hooks\.slack\.com/services/[A-Za-z0-9]+/[A-Za-z0-9]+/[A-Za-z0-9]+",
        word,
    ),
    "stripe_key": Kind(
        (r"[prs]k_(?:live|test)_[A-Za-z0-9]{16}", r"whsec_[A-Za-z0-9/+]{24}"),
        r"[prs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9/+]{24,}",
        word,
    ),
}
"""By the name that a mask's `types:` give it; agent.core.masking.national has the national numbers."""
