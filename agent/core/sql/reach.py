"""How far code may reach beyond what a rollback undoes, told from its source before it runs.

What code does shows in its trace only when it is done. That is early enough for all that a transaction holds, and too
late for programs, files, other connections and code in C. Such things have names: what a source names, it may do. What
a text that is put together while the code runs will name is known as long as it is put together from constants and
quoted names; else it may be anything.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

from agent.core.sql.routines import RUNS_TEXT
from agent.core.sql.tokens import (
    CLOSE,
    COMMA,
    ICONST,
    IDENT,
    OPEN,
    SCONST,
    SEMICOLON,
    UIDENT,
    USCONST,
    Tokens,
    Unreadable,
    scan,
)
from schemas.operation import Operation

LASTING: Final = frozenset(
    (
        "pg_terminate_backend pg_cancel_backend lo_export pg_reload_conf pg_rotate_logfile pg_promote pg_switch_wal "
        "pg_create_restore_point pg_create_physical_replication_slot pg_create_logical_replication_slot "
        "pg_copy_physical_replication_slot pg_copy_logical_replication_slot pg_drop_replication_slot "
        "pg_replication_slot_advance pg_sync_replication_slots pg_wal_replay_pause pg_wal_replay_resume pg_stat_reset "
        "pg_stat_reset_shared pg_stat_reset_slru pg_stat_reset_replication_slot pg_stat_reset_subscription_stats "
        "pg_stat_reset_single_table_counters pg_stat_reset_single_function_counters pg_stat_reset_backend_stats "
        "pg_logical_slot_get_changes pg_logical_slot_get_binary_changes pg_logical_emit_message setval "
        "pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup pg_log_standby_snapshot"
    ).split()
)
"""Builtins whose effect no rollback undoes."""

LEFT: Final = frozenset(
    ("setval prepare pg_advisory_lock pg_advisory_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared").split()
)
"""What keeps a value that code gives it, though the code be undone, where the session can read it."""

MAX_WORDS: Final = 4_000
"""Words of a source that are looked up; one with more may be anything."""

_DEEPEST: Final = 6
"""Texts within texts that are read."""

_WORD: Final = re.compile(r"[a-z_\u0080-\U0010ffff][\w$\u0080-\U0010ffff]*")
_QUOTED: Final = re.compile(r'"([^"]+)"')
_ESCAPES: Final = re.compile(r"\\[^\\'\"bfnrt]")
_RUNNERS: Final = RUNS_TEXT | frozenset(
    "crosstab crosstab2 crosstab3 crosstab4 connectby ts_rewrite standard_conforming_strings".split()
)
"""Whoever names one of these may have any text run, or have texts read in another way."""
_MAKES: Final = (b"do", b"function", b"procedure")
"""Where one of these stands, constants may be code."""
_BODY: Final = re.compile(r"\bbegin\b|\bcopy\b", re.IGNORECASE)
_RAISED: Final = (b"raise", b"notice", b"warning", b"info", b"log", b"debug")
"""Before a constant that is just shown."""
_BEFORE_STATEMENT: Final = (b";", b"begin", b"then", b"else", b"loop", b">>", b"atomic")
_QUOTING: Final = ("quote_ident", "quote_literal", "quote_nullable")
_PLACE: Final = re.compile(r"%(?:(\d+)\$)?(-?\d*)([A-Za-z%])")
NAME: Final = '"\uf8ff"'
"""Stands for a quoted name that isn't known."""
_NAME: Final = NAME.encode()
VALUE: Final = "'\uf8ff'"
"""Stands for a quoted value that isn't known."""
_VALUE: Final = VALUE.encode()
_BESIDE: Final = re.compile(rb"[\w$&'\"\x80-\xff]")
ANY_TABLE: Final = "*"
"""Among the words: it names tables that aren't known."""
REDEFINED: Final = frozenset(("format", "concat", *_QUOTING))
"""What is understood of dynamic SQL, unless somebody has made functions that are called so, too."""


class Reach(Struct, frozen=True):
    """What a source may do: it names these `words`; `anything` if that can't be told."""

    words: frozenset[str] = frozenset()
    anything: bool = False
    copies: bool = False
    """There is a COPY among its statements: in code that is one of a file or program."""


ANYTHING: Final = Reach(frozenset(), True)


def reach(source: str, language: str, trusted: bool = True) -> Reach:
    """Of a routine's source, or of a statement's text."""
    if language in ("c", "internal"):
        return Reach()
    if language not in ("sql", "plpgsql") or not trusted:
        return Reach(words(source), True)
    return _read(source, 0)


def words(source: str) -> frozenset[str]:
    """All words of a text in lower case, wherever they stand."""
    lower = source.lower()
    return frozenset(_WORD.findall(lower)) | frozenset(_QUOTED.findall(lower))


def named(source: Reach) -> list[Operation]:
    """What words alone tell of what lasts: COPY, and the server's own functions."""
    found = [Operation("EXECUTE", f"pg_catalog.{name}") for name in sorted(LASTING)]
    if not source.anything:
        found = [one for one in found if one.object[11:] in source.words]
    if source.anything or source.copies:
        found.append(Operation("COPY FILE", "?"))
    return found


def programs(source: Reach) -> bool:
    """Whether it may start a program, should its role have the right."""
    return source.anything or (source.copies and "program" in source.words)


def _read(source: str, depth: int) -> Reach:
    found = words(source)
    if depth > _DEEPEST or len(found) > MAX_WORDS or found & _RUNNERS:
        return Reach(found, True)
    try:
        tokens = scan(source)
    except Unreadable:
        return Reach(found, True)
    makes = unsure = anything = copies = False
    texts: list[str] = []
    made: list[str] = []
    for at in range(len(tokens.kinds)):
        kind = tokens.kinds[at]
        if kind == SCONST:
            value = _value(tokens, at)
            unsure = unsure or value is None or (at > 0 and tokens.kinds[at - 1] == SCONST)
            if value is not None and (at == 0 or tokens.text(at - 1).lower() not in _RAISED):
                texts.append(value)
            continue
        word = tokens.text(at).lower()
        unsure = unsure or kind == USCONST
        anything = anything or kind == UIDENT or (word == _NAME and tokens.word(at + 1) == "(")
        makes = makes or word in _MAKES
        copies = copies or (word == b"copy" and (at == 0 or tokens.text(at - 1).lower() in _BEFORE_STATEMENT))
        if word == b"execute" and not _no_dynamic(tokens, at):
            text = _Made(tokens, at + 1).text()
            anything = anything or text is None
            made.append(text or "")
    if makes:
        anything = anything or unsure or VALUE in source
        made += [one for one in texts if b"sql" in tokens.data or _BODY.search(one) is not None]
    if "\uf8ff" in source and not _apart(tokens, source.count("\uf8ff")):
        anything = True
    for text in made:
        inner = _read(text, depth + 1)
        found |= inner.words
        anything = anything or inner.anything
        copies = copies or inner.copies
    return Reach(found | {ANY_TABLE} if NAME in source else found, anything, copies)


def _apart(tokens: Tokens, count: int) -> bool:
    """Whether what isn't known stands by itself: as a part of another word or constant it could end that."""
    for at in range(len(tokens.kinds)):
        text = tokens.text(at)
        if text == _VALUE:
            count -= 1
        elif text == _NAME:
            begin, end = tokens.starts[at], tokens.ends[at]
            if not _BESIDE.match(tokens.data[begin - 1 : begin]) and not _BESIDE.match(tokens.data[end : end + 1]):
                count -= 1
    return count == 0


def _no_dynamic(tokens: Tokens, at: int) -> bool:
    """EXECUTE as a right, or of a trigger."""
    after = tokens.word(at + 1)
    if after in ("ON", ","):
        return True
    return after in ("FUNCTION", "PROCEDURE") and at + 2 < len(tokens.kinds) and tokens.kinds[at + 2] == IDENT


def _value(tokens: Tokens, at: int) -> str | None:
    """A string's value; None when it is written in a way that nobody needs."""
    text = tokens.text(at).decode("utf-8", "replace")
    if text[:1] == "$":
        mark = text.index("$", 1) + 1
        return text[mark:-mark]
    inner = text[text.index("'") + 1 : -1]
    escapes = text[0] in "eE"
    bare = inner.replace("\\\\", "").replace("\\'", "") if escapes else inner
    if "'" in bare.replace("''", ""):
        return None  # of two parts in two lines
    value = inner.replace("''", "'")
    if not escapes:
        return value
    if _ESCAPES.search(value) is not None:
        return None
    return value.replace("\\\\", "\uf8fe").replace("\\'", "'").replace("\\n", "\n").replace("\uf8fe", "\\")


class _Made:
    """A text that an expression makes: constants, quoted names and values, put together by || and format."""

    def __init__(self, tokens: Tokens, at: int) -> None:
        self._tokens = tokens
        self._at = at

    def text(self) -> str | None:
        """The text, NAME and VALUE for what isn't known; None when it may be anything."""
        made = self._joined()
        end = self._tokens.word(self._at)
        known = end in ("INTO", "USING", "LOOP", "") or self._kind() == SEMICOLON or self._text() in ("loop", "strict")
        return made if known else None

    def _kind(self) -> int:
        return self._tokens.kinds[self._at] if self._at < len(self._tokens.kinds) else 0

    def _text(self) -> str:
        return self._tokens.text(self._at).decode("utf-8", "replace").lower() if self._kind() else ""

    def _joined(self) -> str | None:
        made = self._one()
        while self._text() == "||" and made is not None:
            self._at += 1
            more = self._one()
            made = None if more is None else made + more
        return made

    def _one(self) -> str | None:
        kind, text = self._kind(), self._text()
        if kind == SCONST:
            value = _value(self._tokens, self._at)
            self._at += 1
            return None if self._kind() == SCONST else value
        if kind == ICONST:
            self._at += 1
            return text
        if kind == OPEN:
            self._at += 1
            made = self._joined()
            return made if self._closed() else None
        if text == "pg_catalog" and self._tokens.word(self._at + 1) == ".":
            self._at += 2
            text = self._text()
        self._at += 1
        if self._kind() != OPEN:
            return None
        self._at += 1
        if text in _QUOTING:
            self._skip()
            return (NAME if text == "quote_ident" else VALUE) if self._closed() else None
        return self._format() if text == "format" else None

    def _closed(self) -> bool:
        if self._kind() != CLOSE:
            return False
        self._at += 1
        return True

    def _skip(self) -> None:
        """Passes over an argument."""
        depth = 0
        while self._kind() and (depth or self._kind() not in (COMMA, CLOSE)):
            depth += (self._kind() == OPEN) - (self._kind() == CLOSE)
            self._at += 1

    def _format(self) -> str | None:
        """https://www.postgresql.org/docs/current/functions-string.html#FUNCTIONS-STRING-FORMAT"""
        pattern = self._joined()
        if pattern is None or "\uf8ff" in pattern:
            return None
        values: list[str | None] = []
        while self._kind() == COMMA:
            self._at += 1
            begin = self._at
            value = self._joined()
            if self._kind() not in (COMMA, CLOSE):
                self._at = begin
                value = None
                self._skip()
            values.append(value)
        if not self._closed():
            return None
        return _formatted(pattern, values)


def _formatted(pattern: str, values: list[str | None]) -> str | None:
    made: list[str] = []
    end = next_one = 0
    for place in _PLACE.finditer(pattern):
        made.append(pattern[end : place.start()])
        end = place.end()
        if place[3] == "%":
            made.append("%")
            continue
        if place[1]:
            next_one = int(place[1]) - 1
        value = values[next_one] if 0 <= next_one < len(values) else None
        next_one += 1
        if place[3] == "I":
            made.append(NAME if value is None else '"' + value.replace('"', '""') + '"')
        elif place[3] == "L":
            made.append(VALUE if value is None else "'" + value.replace("'", "''") + "'")
        elif place[3] == "s" and value is not None:
            made.append(value)
        else:
            return None
    made.append(pattern[end:])
    text = "".join(made)
    return None if "%" in pattern[end:] else text
