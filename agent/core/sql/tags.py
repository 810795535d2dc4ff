"""Command tags by the first words of a statement."""

from __future__ import annotations

from typing import Final

from agent.core.sql.tokens import CLOSE, OPEN, Tokens

_NOTHING: Final = frozenset(
    "OR REPLACE TEMP TEMPORARY LOCAL GLOBAL UNLOGGED RECURSIVE UNIQUE TRUSTED PROCEDURAL CONSTRAINT DEFAULT".split()
)
"""Words between CREATE and what is created."""

_LONGER: Final[dict[str, tuple[str, ...]]] = {
    "MATERIALIZED": ("VIEW",),
    "FOREIGN": ("TABLE", "DATA"),
    "EVENT": ("TRIGGER",),
    "ACCESS": ("METHOD",),
    "TEXT": ("SEARCH",),
    "SEARCH": ("CONFIGURATION", "DICTIONARY", "PARSER", "TEMPLATE"),
    "DATA": ("WRAPPER",),
    "OPERATOR": ("CLASS", "FAMILY"),
    "USER": ("MAPPING",),
    "LARGE": ("OBJECT",),
    "DEFAULT": ("PRIVILEGES",),
}
_FIRST: Final[dict[str, str]] = {
    "END": "COMMIT",
    "ABORT": "ROLLBACK",
    "START": "START TRANSACTION",
    "TABLE": "SELECT",
    "VALUES": "SELECT",
    "DECLARE": "DECLARE CURSOR",
    "CLOSE": "CLOSE CURSOR",
    "TRUNCATE": "TRUNCATE TABLE",
    "LOCK": "LOCK TABLE",
    "REFRESH": "REFRESH MATERIALIZED VIEW",
    "IMPORT": "IMPORT FOREIGN SCHEMA",
    "SECURITY": "SECURITY LABEL",
    "ANALYSE": "ANALYZE",
}


def tag_of(tokens: Tokens, first: int, stop: int) -> str:
    """The tag of the statement that the tokens from `first` to `stop` are; "" when even its first word is none."""
    word = tokens.word(first)
    if word in ("CREATE", "ALTER", "DROP"):
        return _definition(tokens, first, stop, word)
    if word == "WITH" or word == "(":
        return _query(tokens, first, stop)
    second = tokens.word(first + 1) if first + 1 < stop else ""
    if word in ("COMMIT", "ROLLBACK", "PREPARE") and second in ("PREPARED", "TRANSACTION"):
        return f"{word} {second}" if (word == "PREPARE") == (second == "TRANSACTION") else word
    if word == "SET" and second == "CONSTRAINTS":
        return "SET CONSTRAINTS"
    if word in ("REASSIGN", "DISCARD") or (word == "DEALLOCATE" and second == "ALL"):
        return f"{word} {_discarded(second)}".strip()
    return _FIRST.get(word, word if word.isalpha() else "")


def _discarded(word: str) -> str:
    return "TEMP" if word == "TEMPORARY" else word


def _definition(tokens: Tokens, first: int, stop: int, verb: str) -> str:
    at = first + 1
    while at < stop and verb == "CREATE" and tokens.word(at) in _NOTHING:
        at += 1
    words = [verb]
    word = tokens.word(at)
    if verb == "DROP" and word == "OWNED":
        return "DROP OWNED"
    if word in ("TRUSTED", "PROCEDURAL"):
        at += 1
        word = tokens.word(at)
    while at < stop and word.isalpha():
        words.append(word)
        at += 1
        following = tokens.word(at) if at < stop else ""
        if following not in _LONGER.get(word, ()):
            break
        word = following
    tag = " ".join(words)
    for alias in ("USER", "GROUP"):
        if tag == f"{verb} {alias}":
            return f"{verb} ROLE"
    return tag


def _query(tokens: Tokens, first: int, stop: int) -> str:
    """Of a query behind WITH or brackets."""
    depth = 0
    for at in range(first, stop):
        kind = tokens.kinds[at]
        if kind == OPEN:
            depth += 1
        elif kind == CLOSE:
            depth -= 1
        elif depth == 0 or tokens.word(first) == "(":
            word = tokens.word(at)
            if word in ("INSERT", "UPDATE", "DELETE", "MERGE") and tokens.word(at - 1) in (")", ""):
                return word
            if word in ("SELECT", "VALUES", "TABLE"):
                return "SELECT"
    return "SELECT"
