"""Text of others, made harmless to a terminal."""

from __future__ import annotations

from typing import Final

_NAMED: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}

# C0, DEL and C1 drive the terminal; the bidirectional controls and line separators reorder or hide what is shown.
_CONTROLS: Final = [
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
    0xFEFF,
]


def _shown(code: int) -> str:
    return _NAMED.get(chr(code)) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


_ALL: Final = {code: _shown(code) for code in _CONTROLS}
_BUT_LAYOUT: Final = {code: shown for code, shown in _ALL.items() if chr(code) not in "\t\n"}


def escaped(text: str, layout: bool = False) -> str:
    r"""The text with every control character shown as `\x1b` and the like; `layout` leaves line feeds and tabs."""
    return text.translate(_BUT_LAYOUT if layout else _ALL)
