"""The query inside a statement: what EXPLAIN explains, what a view or a cursor is of, what COPY copies.

Found by the tokens and their brackets, in the places where PostgreSQL's grammar has it. What is found is text that the
server can parse by itself.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from agent.core.sql.tokens import CLOSE, COMMA, DOT, INTO, OPEN, UIDENT, Tokens

_QUERIES: Final = frozenset("SELECT VALUES TABLE WITH INSERT UPDATE DELETE MERGE (".split())
_TEMPORARY: Final = frozenset("OR REPLACE TEMP TEMPORARY LOCAL GLOBAL UNLOGGED".split())
_FALSE: Final = frozenset((b"false", b"off", b"0", b"'false'", b"'off'"))


class Inner(Struct, frozen=True):
    """As the fields of Statement that are called so; `begin` is where the text begins, in bytes of the message."""

    text: str | None = None
    begin: int = 0
    types: tuple[str, ...] = ()
    executes: bool = True
    runs: str | None = None


def find_inner(tokens: Tokens, first: int, stop: int) -> Inner:
    """Of the statement that the tokens from `first` to `stop` are."""
    executes = True
    types: tuple[str, ...] = ()
    while first < stop:
        word = tokens.word(first)
        if word in _QUERIES:
            text = _without_into(tokens, first, stop)
            return Inner(text, tokens.starts[first], types, executes)
        if word == "EXPLAIN":
            first, analyze = _explained(tokens, first + 1, stop)
            executes = executes and analyze
        elif word == "EXECUTE" or word == "CALL":
            return _arguments(tokens, first + 1, stop, executes, word == "EXECUTE")
        elif word == "PREPARE":
            body = _find(tokens, first, stop, "AS")
            types = _items(tokens, first + 2, body)
            first = body + 1
        elif word == "DECLARE":
            first = _find(tokens, first, stop, "FOR") + 1
        elif word == "COPY" and tokens.word(first + 1) == "(":
            stop = min(_closing(tokens, first + 1, stop), stop)
            first += 2
        elif word == "CREATE":
            return _created(tokens, first, stop, executes)
        else:
            break
    return Inner(executes=executes)


def selects_into(tokens: Tokens, first: int, stop: int) -> int:
    """The token INTO of SELECT … INTO, which makes a table; -1 when there is none."""
    for at in range(first + 1, stop):
        if tokens.kinds[at] == INTO and tokens.word(at - 1) not in _BEFORE_OTHER_INTO:
            return at
    return -1


_BEFORE_OTHER_INTO: Final = frozenset(("INSERT", "MERGE", ".", "AS"))


def _without_into(tokens: Tokens, first: int, stop: int) -> str:
    """The query's text, its INTO clause blanked."""
    begin, end = tokens.starts[first], tokens.ends[stop - 1]
    into = selects_into(tokens, first, stop)
    if into < 0:
        return tokens.data[begin:end].decode()
    at = into + 1
    while at < stop and tokens.word(at) in ("TEMP", "TEMPORARY", "LOCAL", "GLOBAL", "UNLOGGED", "TABLE"):
        if tokens.word(at) != "TABLE" and (at + 1 >= stop or tokens.word(at + 1) in (".", "FROM")):
            break  # a table of that name
        at += 1
    at += 1
    while at + 1 < stop and tokens.kinds[at] == DOT:
        at += 2
    gap = tokens.starts[into], tokens.ends[min(at, stop) - 1]
    blanks = b" " * (gap[1] - gap[0])
    return (tokens.data[begin : gap[0]] + blanks + tokens.data[gap[1] : end]).decode()


def _explained(tokens: Tokens, at: int, stop: int) -> tuple[int, bool]:
    """Where the statement that EXPLAIN explains begins, and whether it is run."""
    analyze = False
    if tokens.word(at) == "(" and not _begins_query(tokens, at + 1):
        closing = _closing(tokens, at, stop)
        expects = True
        for option in range(at + 1, closing):
            if expects:
                analyze = analyze or _is_analyze(tokens, option, closing)
            expects = tokens.kinds[option] == COMMA
        return closing + 1, analyze
    if tokens.word(at) in ("ANALYZE", "ANALYSE"):
        analyze = True
        at += 1
    return (at + 1 if tokens.word(at) == "VERBOSE" else at), analyze


def _begins_query(tokens: Tokens, at: int) -> bool:
    word = tokens.word(at)
    return word in _QUERIES and (word != "VALUES" or tokens.word(at + 1) == "(")


def _is_analyze(tokens: Tokens, option: int, closing: int) -> bool:
    """Whether an option may be ANALYZE, and on."""
    name = tokens.text(option).lower()
    if tokens.kinds[option] != UIDENT and name.strip(b'"') not in (b"analyze", b"analyse"):
        return False
    return option + 1 >= closing or tokens.text(option + 1).lower() not in _FALSE


def _created(tokens: Tokens, first: int, stop: int, executes: bool) -> Inner:
    """CREATE TABLE … AS, CREATE [MATERIALIZED | RECURSIVE] VIEW … AS."""
    at = first + 1
    while tokens.word(at) in _TEMPORARY:
        at += 1
    recursive = tokens.word(at) == "RECURSIVE"
    if recursive or tokens.word(at) == "MATERIALIZED":
        at += 1
    if tokens.word(at) not in ("TABLE", "VIEW"):
        return Inner(executes=executes)
    body = _find(tokens, at, stop, "AS") + 1
    if body >= stop:
        return Inner(executes=executes)
    if tokens.word(body) == "EXECUTE":
        return _arguments(tokens, body + 1, stop, executes, True)
    stop = _before_options(tokens, body, stop)
    if not _begins_query(tokens, body):
        return Inner(executes=executes)
    text = _without_into(tokens, body, stop)
    if recursive:
        text = _recursive(tokens, at, text)
    return Inner(text, tokens.starts[body], (), executes)


def _recursive(tokens: Tokens, view: int, query: str) -> str:
    """What CREATE RECURSIVE VIEW name (columns) AS query means."""
    opened = view
    while opened + 1 < len(tokens.kinds) and tokens.kinds[opened] != OPEN:
        opened += 1
    name = tokens.text(opened - 1).decode()
    columns = tokens.data[tokens.starts[opened] : tokens.ends[_closing(tokens, opened, len(tokens.kinds) - 1)]].decode()
    return f"WITH RECURSIVE {name} {columns} AS ({query}\n) SELECT * FROM {name}"


_OPTIONS: Final = (
    ["WITH", "DATA"],
    ["WITH", "NO", "DATA"],
    ["WITH", "CHECK", "OPTION"],
    ["WITH", "CASCADED", "CHECK", "OPTION"],
    ["WITH", "LOCAL", "CHECK", "OPTION"],
)


def _before_options(tokens: Tokens, first: int, stop: int) -> int:
    """Where WITH [NO] DATA or WITH [CASCADED | LOCAL] CHECK OPTION at the end begins."""
    end = [tokens.word(at) for at in range(max(first, stop - 4), stop)]
    for option in (
        "WITH DATA",
        "WITH NO DATA",
        "WITH CHECK OPTION",
        "WITH CASCADED CHECK OPTION",
        "WITH LOCAL CHECK OPTION",
    ):
        words = option.split()
        if end[-len(words) :] == words:
            return stop - len(words)
    return stop


def _arguments(tokens: Tokens, first: int, stop: int, executes: bool, by_name: bool) -> Inner:
    """EXECUTE name (…) and CALL name (…): arguments that call something are a query by themselves."""
    runs = tokens.text(first).decode() if by_name and first < stop else None
    at = first
    while at < stop and tokens.kinds[at] != OPEN:
        at += 1
    closing = _closing(tokens, at, stop)
    if at + 1 >= closing or OPEN not in tokens.kinds[at + 1 : closing]:
        return Inner(executes=executes, runs=runs)
    begin = tokens.starts[at] + 1
    data = bytearray(tokens.data[begin : _start(tokens, closing)])
    for token in range(at + 1, closing):
        start, end = tokens.starts[token] - begin, tokens.ends[token] - begin
        if tokens.text(token) in (b"=>", b":=") and token > at + 1:
            start = tokens.starts[token - 1] - begin  # the argument's name too
        elif tokens.word(token) != "VARIADIC":
            continue
        data[start:end] = b" " * (end - start)
    return Inner("SELECT " + data.decode(), begin, (), executes, runs)


def _start(tokens: Tokens, at: int) -> int:
    return tokens.starts[at] if at < len(tokens.starts) else len(tokens.data)


def _items(tokens: Tokens, first: int, stop: int) -> tuple[str, ...]:
    """What is between the brackets that open at `first`, divided at its commas."""
    if first >= stop or tokens.kinds[first] != OPEN:
        return ()
    closing = _closing(tokens, first, stop)
    found: list[str] = []
    begin = first + 1
    depth = 0
    for at in range(first + 1, closing + 1):
        kind = tokens.kinds[at] if at < len(tokens.kinds) else CLOSE
        if at >= closing or (depth == 0 and kind == COMMA):
            if begin < at:
                found.append(tokens.data[tokens.starts[begin] : tokens.ends[at - 1]].decode())
            begin = at + 1
        elif kind == OPEN:
            depth += 1
        elif kind == CLOSE:
            depth -= 1
    return tuple(found)


def _find(tokens: Tokens, first: int, stop: int, word: str) -> int:
    """The first token outside of brackets that is this reserved word; `stop` when there is none."""
    depth = 0
    for at in range(first, stop):
        kind = tokens.kinds[at]
        if kind == OPEN:
            depth += 1
        elif kind == CLOSE:
            depth -= 1
        elif depth == 0 and tokens.keywords[at] and tokens.word(at) == word and tokens.word(at - 1) != ".":
            return at
    return stop


def _closing(tokens: Tokens, opened: int, stop: int) -> int:
    """The bracket that closes the one at `opened`; `stop` when there is none."""
    depth = 0
    for at in range(opened, stop):
        kind = tokens.kinds[at]
        if kind == OPEN:
            depth += 1
        elif kind == CLOSE:
            depth -= 1
            if depth == 0:
                return at
    return stop
