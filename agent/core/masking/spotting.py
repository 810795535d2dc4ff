"""Values of a column that may hold what a mask finds by its look: that is replaced where it stands, the rest stays.

In texts, JSON, XML, bytea and arrays of texts the parts found are replaced. Of any other type what the value's text
form would show decides: if something is found in it, the value is replaced as a whole.
"""

from __future__ import annotations

import html
from typing import Final

from agent.core.masking.canonical import bytea_bytes
from agent.core.masking.documents import Editor, rewrite_array, rewrite_json
from agent.core.masking.families import (
    ARRAY,
    BPCHAR,
    BYTEA,
    ELEMENTS,
    FAMILIES,
    JSON,
    JSONB,
    OTHER,
    TEXT,
    XML,
    characters,
    family,
)
from agent.core.masking.harmless import STARS, partial
from agent.core.masking.invention import seed, text_like
from agent.core.masking.looks import Detector, Span
from agent.core.masking.replacement import HASH_DIGITS, Replacement
from agent.core.masking.replacer import Replacer
from agent.core.pg.values import text_of

_JSONB_VERSION: Final = b"\x01"
_ARRAY_SIGNS: Final = frozenset(b'{}",\\')
_XML_SIGNS: Final = frozenset(b"<>&\"'")


class Spotted(Replacer):
    """The replacement of what a detector finds in one column's values; the arguments as for Replacement. `replace`
    returns the value it is given, the same object, when nothing is found in it."""

    def __init__(
        self, detector: Detector, way: str, key: bytes, type_oid: int, type_modifier: int = -1, binary: bool = False
    ) -> None:
        kind = family(type_oid)
        super().__init__(False, None, True, _shows(type_oid, kind, binary))
        self._detector: Final = detector
        self._way: Final = way
        self._key: Final = key
        self._type_oid: Final = type_oid
        self._binary: Final = binary
        self._kind: Final = kind
        self._limit: Final = characters(type_oid, type_modifier)
        self._whole: Final = Replacement(way, key, type_oid, type_modifier, binary)

    def replace(self, value: bytes) -> bytes | None:
        """The value without what is found in it, in the same format; None is NULL. Never raises."""
        kind = self._kind
        if kind == TEXT:
            return self._in_text(value)
        if kind == JSON:
            return self._in_json(value)
        if kind == XML:
            return self._in_xml(value)
        if kind == BYTEA:
            return self._in_bytes(value)
        if kind == ARRAY:
            return self._in_array(value)
        return self._whole.replace(value) if self._detector.find(self._shown(value)) else value

    def _shown(self, value: bytes) -> bytes:
        return text_of(self._type_oid, value).encode("utf-8", "replace") if self._binary else value

    def _piece(self, text: str) -> str:
        if self._way == "hash":
            return seed(self._key, "hash text", text.encode("utf-8", "surrogatepass")).hex()[:HASH_DIGITS]
        if self._way == "fake":
            return text_like(text, seed(self._key, "fake text 0", text.encode("utf-8", "surrogatepass")))
        shown = partial(text) if self._way == "partial" else None
        return STARS if shown is None else shown

    def piece(self, found: bytes) -> bytes:
        """What to write instead of a part that was found; nothing for `null`."""
        if self._way == "null":
            return b""
        return self._piece(found.decode("utf-8", "replace")).encode("utf-8", "replace")

    def _pieced(self, text: bytes, spans: list[Span]) -> bytes:
        parts: list[bytes] = []
        end = 0
        for start, stop, _ in spans:
            parts.append(text[end:start])
            parts.append(self.piece(text[start:stop]))
            end = stop
        parts.append(text[end:])
        return b"".join(parts)

    def _in_text(self, value: bytes) -> bytes | None:
        spans = self._detector.find(value)
        if not spans:
            return value
        if self._way == "null":
            return None
        made = self._pieced(value, spans)
        if self._limit < 0:
            return made
        text = made.decode("utf-8", "replace")
        if self._type_oid == BPCHAR:
            text = text.rstrip(" ").ljust(self._limit)
        return text.encode() if len(text) <= self._limit else self._whole.replace(value)

    def edited(self, text: str) -> str:
        """A string of a document, with what is found in it replaced; the same object if that is nothing."""
        encoded = text.encode("utf-8", "surrogatepass")
        spans = self._detector.find(encoded)
        return self._pieced(encoded, spans).decode("utf-8", "replace") if spans else text

    def _in_json(self, value: bytes) -> bytes | None:
        versioned = self._binary and self._type_oid == JSONB
        if versioned and value[:1] != _JSONB_VERSION:
            return self._whole.replace(value)
        text = value[1:] if versioned else value
        if not self._detector.suspects(text):
            return value
        made = rewrite_json(text, _Strings(self))
        if made is text:
            # Outside of strings and numbers JSON has no text of its own, so this is the end of what can be found,
            # but for patterns that go over several of them.
            return self._whole.replace(value) if self._beyond(text) else value
        if made is None or self._way == "null":
            return self._whole.replace(value)
        return _JSONB_VERSION + made if versioned else made

    def _beyond(self, text: bytes) -> bool:
        """Whether a pattern finds what goes over several strings of a document."""
        return any(b'"' in text[start:stop] or b":" in text[start:stop] for start, stop, _ in self._detector.find(text))

    def _in_xml(self, value: bytes) -> bytes | None:
        spans = self._detector.find(value)
        if b"&" in value:
            plain = html.unescape(value.decode("utf-8", "replace")).encode("utf-8", "replace")
            if len(self._detector.find(plain)) != len(spans):
                return self._whole.replace(value)
        if not spans:
            return value
        if self._way == "null" or _holds(value, spans, _XML_SIGNS):
            return self._whole.replace(value)
        return self._pieced(value, spans)

    def _in_bytes(self, value: bytes) -> bytes | None:
        try:
            plain = value if self._binary else bytea_bytes(value)
        except ValueError:
            plain = None
        if plain is None:
            return self._whole.replace(value)
        spans = self._detector.find(plain)
        if not spans:
            return value
        if self._way == "null":
            return None
        made = self._pieced(plain, spans)
        return made if self._binary else b"\\x" + made.hex().encode()

    def _in_array(self, value: bytes) -> bytes | None:
        element = ELEMENTS[self._type_oid]
        if self._binary:
            if not self._detector.find(self._shown(value)):
                return value
            made = None if self._way == "null" else rewrite_array(value, element, self._element(element))
            return self._whole.replace(value) if made is None else made
        if family(element) == BYTEA:
            plain = _bytes_within(value)
            return self._whole.replace(value) if self._detector.find(plain) else value
        spans = self._detector.find(value)
        if not spans:
            return value
        if self._way == "null" or family(element) != TEXT or _holds(value, spans, _ARRAY_SIGNS):
            return self._whole.replace(value)
        return self._pieced(value, spans)

    def _element(self, element: int) -> Spotted:
        return Spotted(self._detector, self._way, self._key, element, -1, True)


class Several(Replacer):
    """Searches for several masks, one after the other; what one makes NULL stays so."""

    def __init__(self, each: list[Spotted]) -> None:
        super().__init__(False, None, True, all([one.shows for one in each]))  # noqa: C419
        self._each: Final = each

    def replace(self, value: bytes) -> bytes | None:
        """The value without what any of them finds; the same object if that is nothing. Never raises."""
        made: bytes | None = value
        for one in self._each:
            if made is None:
                return None
            made = one.replace(made)
        return made


class _Strings(Editor):
    """The strings and numbers of a JSON document, each searched by itself."""

    def __init__(self, spotted: Spotted) -> None:
        self._spotted: Final = spotted

    def string(self, text: str) -> str:
        return self._spotted.edited(text)

    def number(self, text: str) -> str:
        return self._spotted.edited(text)


def _shows(type_oid: int, kind: int, binary: bool) -> bool:
    """Whether what is looked for in values of this type can be seen in the bytes of a message."""
    if kind == ARRAY:
        kind = FAMILIES.get(ELEMENTS[type_oid], OTHER)
        return kind in (TEXT, JSON, XML) or (not binary and kind != BYTEA)
    return kind in (TEXT, JSON, XML) or (not binary and kind != BYTEA)


def _holds(text: bytes, spans: list[Span], signs: frozenset[int]) -> bool:
    """Whether what was found goes over signs that the type's own grammar needs."""
    return any(byte in signs for start, stop, _ in spans for byte in text[start:stop])


def _bytes_within(value: bytes) -> bytes:
    """The bytes of an array of bytea in hex form, one after the other with a line end between."""
    parts: list[bytes] = []
    for item in value.replace(b'"', b"").strip(b"{}").split(b","):
        try:
            parts.append(bytes.fromhex(item.lstrip(b"\\x").decode("latin-1")))
        except ValueError:
            parts.append(item)
    return b"\n".join(parts)
