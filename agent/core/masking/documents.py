"""Texts with a grammar of their own, in which parts are replaced: they stay valid."""

from __future__ import annotations

import json
import re
from typing import Final

from agent.core.masking.replacer import Replacer

_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*', re.DOTALL)
_NUMBER: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


class Editor:
    """What becomes of the strings and numbers of a document. Returns what it is given, the same object, to leave it."""

    def string(self, text: str) -> str:
        return text

    def number(self, text: str) -> str:
        return text


def rewrite_json(text: bytes, editor: Editor) -> bytes | None:
    """JSON with its strings, keys among them, and numbers edited; the same object when none was changed. What isn't a
    number any more becomes 0. None for what isn't UTF-8 or has a string that isn't one."""
    parts: list[bytes] = []
    end = 0
    try:
        for found in _TOKEN.finditer(text):
            token = found.group()
            edited = _string(token, editor) if token[:1] == b'"' else _number(token, editor)
            if edited is not token:
                parts.append(text[end : found.start()])
                parts.append(edited)
                end = found.end()
    except ValueError:
        return None
    if not parts:
        return text
    parts.append(text[end:])
    return b"".join(parts)


def _string(token: bytes, editor: Editor) -> bytes:
    text: str = json.loads(token, strict=False) if b"\\" in token else token[1:-1].decode("utf-8")
    edited = editor.string(text)
    if edited is text:
        return token
    lone = any([0xD800 <= ord(letter) <= 0xDFFF for letter in edited])  # noqa: C419
    return json.dumps(edited, ensure_ascii=lone).encode("utf-8")


def _number(token: bytes, editor: Editor) -> bytes:
    text = token.decode("ascii")
    edited = editor.number(text)
    if edited is text:
        return token
    made = edited.encode("ascii", "replace")
    return made if _NUMBER.fullmatch(made) else b"0"


def rewrite_array(value: bytes, element: int, replacer: Replacer) -> bytes | None:
    """An array in binary form with its elements replaced; None for what isn't an array of that type of element.
    The form is that of array_send (src/backend/utils/adt/arrayfuncs.c)."""
    if len(value) < 12 or int.from_bytes(value[8:12], "big") != element:
        return None
    at = 12 + 8 * int.from_bytes(value[:4], "big")
    head = value[8:at]
    parts: list[bytes] = []
    nulls = 0
    while at < len(value):
        length = int.from_bytes(value[at : at + 4], "big", signed=True)
        if length < -1 or at + 4 + length > len(value):
            return None
        made = replacer.replace(value[at + 4 : at + 4 + length]) if length >= 0 else None
        nulls = 1 if made is None else nulls
        parts.append(b"\xff\xff\xff\xff" if made is None else len(made).to_bytes(4, "big") + made)
        at += 4 + max(length, 0)
    if at != len(value):
        return None
    return value[:4] + nulls.to_bytes(4, "big") + head + b"".join(parts)
