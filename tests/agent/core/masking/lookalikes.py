"""Texts that look like something to be masked and aren't, in classes, made from a fixed seed.

`python -m tests.agent.core.masking.lookalikes` prints how many of each class are taken for what: the table of
docs/masking.md.
"""

from __future__ import annotations

import base64
import hashlib
import random
from collections import Counter
from collections.abc import Callable

from agent.core.masking.looks import TYPES, Detector

EACH = 2000
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORDS = (
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et dolore magna"
    " aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea commodo consequat"
).split()
CODE = (
    "def f(a: int) -> list[str]: return [str(x) for x in range(a)][::2]",
    "@app.route('/users/<int:id>')",
    "std::vector<std::pair<int, a::b>> v(10);",
    "SELECT '2024-01-01'::date, x::int, now()::timestamptz - interval '1 day' FROM t WHERE a @> b",
    "git@2x.png style@1.2.3.css getty@tty1.service",
    'npm install lodash@4.17.21 @types/node@20.11.5 && echo "$HOME"',
    "#define MASK 0xDEADBEEF + 1234567890",
    "if (a[1] == 0x1F && b->c::d != -1) { return 1e-10; }",
    "diff --git a/x.py b/x.py @@ -100,7 +100,9 @@ index 83db48f..bf2a3c1 100644",
    "docker run -p 8080:80 registry/image@sha256:deadbeef",
    "chmod 0755 /usr/lib/x86_64-linux-gnu/libssl.so.1.1.1",
    "awk -F: '{print $1::$2}' /etc/passwd",
    "<svg viewBox='0 0 100 100'><path d='M10 10 20 20 30.5 40.25'/></svg>",
    "Accept: text/html;q=0.9,*/*;q=0.8",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36",
    "C:\\Windows\\System32\\drivers 10.0.19045 KB5034122",
)


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choices("0123456789", k=count))


def version(chance: random.Random) -> str:
    parts = [str(chance.randrange(30)) for _ in range(chance.choice((2, 3, 3, 5)))]
    return (
        f"{chance.choice(['v', '', 'release ', 'python-'])}{'.'.join(parts)}{chance.choice(['', '-rc1', '+build.5'])}"
    )


def identifier(chance: random.Random) -> str:
    text = digits(chance, 32) if chance.random() < 0.1 else f"{chance.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def order(chance: random.Random) -> str:
    form = chance.choice(
        ["ORD-{4}-{6}", "{8}", "{10}", "{12}", "INV{7}", "{3}-{7}-{7}", "#{6}", "PO {4}/{5}", "SKU-{5}-{3}"]
    )
    for count in range(3, 13):
        while f"{{{count}}}" in form:
            form = form.replace(f"{{{count}}}", digits(chance, count), 1)
    return form


def timestamp(chance: random.Random) -> str:
    day = f"20{chance.randrange(10, 27)}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}"
    clock = f"{chance.randrange(24):02d}:{chance.randrange(60):02d}:{chance.randrange(60):02d}"
    year, month, date = day.split("-")
    return chance.choice(
        [
            f"{day} {clock}.{digits(chance, 6)}+00",
            f"{day}T{clock}Z",
            f"{day}T{clock}+05:30",
            f"{date}.{month}.{year} {clock}",
            f"{date}/{month}/{year} - {month}/{date}/{year}",
            f"{year}{month}{date}{clock.replace(':', '')}",
            f"17{digits(chance, 8)}",
            f"17{digits(chance, 11)}",
            f"17{digits(chance, 14)}",
            f"{date}-{month}-{year} {clock[:5]} - {day} {clock[:5]}",
        ]
    )


def digest(chance: random.Random) -> str:
    data = chance.randbytes(16)
    return chance.choice(
        [
            hashlib.md5(data).hexdigest(),
            hashlib.sha1(data).hexdigest(),
            hashlib.sha256(data).hexdigest().upper(),
            base64.b64encode(hashlib.sha512(data).digest()).decode(),
            base64.urlsafe_b64encode(data).decode(),
            "\\x" + data.hex(),
        ]
    )


def prose(chance: random.Random) -> str:
    words = chance.choices(WORDS, k=12)
    words[chance.randrange(12)] = chance.choice(
        ["1,234,567.89", "3.14159265", "$1 200 000", "§ 12 34", "50%", "(1234)"]
    )
    return " ".join(words).capitalize() + "."


def number(chance: random.Random) -> str:
    return chance.choice(
        [
            f"{chance.uniform(-1e6, 1e6)!r}",
            f"{chance.uniform(-90, 90):.7f}, {chance.uniform(-180, 180):.7f}",
            f"{chance.randrange(10**15):,}",
            f"{chance.randrange(10**9):,}".replace(",", " "),
            f"{chance.randrange(10**9):,}".replace(",", "."),
            f"{chance.random()!r}",
            f"1.{digits(chance, 15)}e+{digits(chance, 2)}",
            f"[{', '.join(digits(chance, 4) for _ in range(5))}]",
            " ".join([str(chance.randrange(100)) for _ in range(8)]),
            digits(chance, chance.randrange(5, 25)),
        ]
    )


def phone_like(chance: random.Random) -> str:
    return chance.choice(
        [
            f"978-{digits(chance, 1)}-{digits(chance, 4)}-{digits(chance, 4)}-{digits(chance, 1)}",
            f"{digits(chance, 3)}-{digits(chance, 4)}",
            f"{digits(chance, 5)}-{digits(chance, 4)}",
            f"pages {digits(chance, 3)}-{digits(chance, 3)}",
            f"{digits(chance, 2)}-{digits(chance, 2)}-{digits(chance, 2)}",
            f"part 0{digits(chance, 3)}-{digits(chance, 4)}",
            f"{digits(chance, 3)} {digits(chance, 3)} kB",
            f"x+{digits(chance, 4)} y+{digits(chance, 3)}",
            f"+{digits(chance, 1)}.{digits(chance, 2)}%",
            f"({digits(chance, 4)}) {digits(chance, 5)}",
            f"{digits(chance, 13)}",
            f"00{digits(chance, 10)}",
        ]
    )


def hardware(chance: random.Random) -> str:
    data = chance.randbytes(8)
    return chance.choice(
        [data[:6].hex(":"), data.hex(":"), data[:6].hex("-"), f"{data.hex()}::{data.hex()}", "12:34:56:78"]
    )


def label(chance: random.Random) -> str:
    letters = "".join(chance.choices(LETTERS, k=4))
    return chance.choice(
        [
            f"{letters[:2]}{digits(chance, 2)} {letters}{digits(chance, 4)}",
            f"{letters}{digits(chance, 8)}",
            f"{digits(chance, 8)}{letters[0]}",
            f"{letters[:2]}-{digits(chance, 5)}-{letters[2:]}",
            f"{letters[:3]} {digits(chance, 3)}",
            f"{digits(chance, 5)}{letters}{digits(chance, 5)}",
        ]
    )


CLASSES: dict[str, Callable[[random.Random], str]] = {
    "version numbers": version,
    "UUIDs": identifier,
    "order numbers": order,
    "dates and times": timestamp,
    "hashes": digest,
    "prose": prose,
    "numbers": number,
    "part numbers, pages, ISBN": phone_like,
    "hardware addresses": hardware,
    "labels, plates": label,
    "code": lambda chance: chance.choice(CODE),
}


def found() -> dict[str, Counter[str]]:
    """How many values of each class are taken for what: by class, by type."""
    detector = Detector([name for name in TYPES if name != "national_id"])
    counts: dict[str, Counter[str]] = {}
    for name, make in CLASSES.items():
        chance = random.Random(name)
        counts[name] = Counter()
        for _ in range(EACH):
            counts[name].update({kind for _, _, kind in detector.find(f"see {make(chance)} here".encode())})
    return counts


if __name__ == "__main__":
    for group, taken in found().items():
        listed = ", ".join([f"{kind} {count}" for kind, count in sorted(taken.items(), key=lambda each: -each[1])])
        print(f"| {group} | {EACH} | {sum(taken.values())} | {listed or '-'} |")
