"""Texts with a grammar of their own, in which parts are replaced: they stay valid."""

from __future__ import annotations

import json
import re
from typing import Final

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
    lone = any("\ud800" <= letter <= "\udfff" for letter in edited)
    return json.dumps(edited, ensure_ascii=lone).encode("utf-8")


def _number(token: bytes, editor: Editor) -> bytes:
    text = token.decode("ascii")
    edited = editor.number(text)
    if edited is text:
        return token
    made = edited.encode("ascii", "replace")
    return made if _NUMBER.fullmatch(made) else b"0"
