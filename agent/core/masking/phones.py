"""Telephone numbers as people write them: international (ITU-T E.123, E.164), and as in North America, France, the
United Kingdom, Germany and wherever else a national number begins with 0. Ten digits in a row alone are none: so are
too many other things."""

from __future__ import annotations

from typing import Final

_CODES: Final = frozenset(
    (
        "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65"
        " 66 81 82 84 86 90 91 92 93 94 95 98 211 212 213 216 218 220 221 222 223 224 225 226 227 228 229 230"
        " 231 232 233 234 235 236 237 238 239 240 241 242 243 244 245 246 247 248 249 250 251 252 253 254 255"
        " 256 257 258 260 261 262 263 264 265 266 267 268 269 290 291 297 298 299 350 351 352 353 354 355 356"
        " 357 358 359 370 371 372 373 374 375 376 377 378 379 380 381 382 383 385 386 387 389 420 421 423 500"
        " 501 502 503 504 505 506 507 508 509 590 591 592 593 594 595 596 597 598 599 670 672 673 674 675 676"
        " 677 678 679 680 681 682 683 685 686 687 688 689 690 691 692 800 808 850 852 853 855 856 870 878 880"
        " 881 882 883 886 888 960 961 962 963 964 965 966 967 968 970 971 972 973 974 975 976 977 979 992 993"
        " 994 995 996 998"
    ).split()
)
"""Country calling codes (ITU-T E.164)."""

_JOINTS: Final = b".-/"


def check_phone(text: bytes, start: int, end: int) -> int:
    """A check as agent.core.masking.kinds has them."""
    if start > 0 and (_wordlike(text[start - 1]) or _joined(text, start - 1, start - 2)):
        return -1
    if end < len(text) and (_wordlike(text[end]) or _joined(text, end, end + 1)):
        return -1
    found = text[start:end]
    digits = "".join([chr(byte) for byte in found if 48 <= byte <= 57])
    separators = {byte for byte in found if not 48 <= byte <= 57}
    if found[:1] == b"+":
        return end if _international(digits) else -1
    if digits[0] == "0":
        if start > 1 and text[start - 1] == 0x20 and 48 <= text[start - 2] <= 57:
            return -1  # digits in groups, of which this isn't the first
        known = _international(digits[2:]) if digits[1] == "0" else _national(found, digits, separators)
        return end if known else -1
    # North America: area code and exchange have no 11 behind their first digit, and are apart in one way.
    local = digits[-10:]
    single = 0x28 in separators or len(separators) == 1
    return end if single and local[1:3] != "11" and local[4:6] != "11" and len(digits) <= 11 else -1


def _wordlike(byte: int) -> bool:
    return 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte == 0x5F or byte == 0x2B


def _joined(text: bytes, joint: int, beyond: int) -> bool:
    """Whether the number goes on behind a separator."""
    return text[joint] in _JOINTS and 0 <= beyond < len(text) and 48 <= text[beyond] <= 57


def _international(digits: str) -> bool:
    known = digits[:1] in _CODES or digits[:2] in _CODES or digits[:3] in _CODES
    return known and 8 <= len(digits) <= 15 and len(set(digits)) > 2


def _national(found: bytes, digits: str, separators: set[int]) -> bool:
    if len(found.split(bytes([min(separators)]))) == 5:  # 01 23 45 67 89
        return len(digits) == 10 and len(separators) == 1
    return 10 <= len(digits) <= 12 and len(separators - {0x28, 0x29}) <= 2 and len(set(digits)) > 2
