"""Whether an UPDATE, a DELETE or a MERGE says which rows it means.

It does when its condition holds for a row by virtue of that row's columns: `where true`, `where 1 = 1`,
`where note = note`, `where id = 4 or true` and conditions on other tables alone name no rows. That a condition about
the row's columns holds for every row (`id is not null`) is not looked for.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql.nodes import Node

_DEEPEST: Final = 60
"""Brackets of AND, OR and NOT that are looked into; deeper down nothing counts as a condition."""

_VAR: Final = re.compile(r":varno (\d{1,9}) :varattno (-?\d{1,9}) .*?:varlevelsup (\d{1,9})\b")
_CURSOR: Final = re.compile(r":cvarno (\d{1,9})\b")
_MATCHED: Final = ("", "0")


class Target:
    """The entries of a query's range table that stand for what it writes; `anything` where any column counts."""

    def __init__(self, entries: frozenset[int], anything: bool = False) -> None:
        self.entries = entries
        self.anything = anything


def names_rows(query: Node, target: Target) -> bool:
    """Of an UPDATE or DELETE: whether its condition is about the target's columns."""
    return _holds(_condition(query), target)


def merged_rows(query: Node, target: Target, command: str) -> bool:
    """Of a MERGE: whether each of its actions of this command (2 UPDATE, 4 DELETE) says which rows it means."""
    joined = _holds(query.within.get("mergeJoinCondition"), target) or _holds(_condition(query), target)
    for action in query.nodes("mergeActionList"):
        if action.token("commandType") != command:
            continue
        by_target = "matched" in action.fields or action.token("matchKind") in _MATCHED
        if not (by_target and joined) and not _holds(action.within.get("qual"), target):
            return False
    return True


def _condition(query: Node) -> object:
    tree = query.node("jointree")
    return None if tree is None else tree.within.get("quals")


def _holds(condition: object, target: Target, negated: bool = False, depth: int = 0) -> bool:
    if not isinstance(condition, Node) or depth > _DEEPEST:
        return False
    if condition.name != "BOOLEXPR":
        return not _tautology(condition) and _mentions(condition, target)
    args = condition.nodes("args")
    operator = condition.token("boolop")
    if operator == "not":
        return bool(args) and _holds(args[0], target, not negated, depth + 1)
    if (operator == "and") != negated:
        return any(_holds(arg, target, negated, depth + 1) for arg in args)
    return bool(args) and all(_holds(arg, target, negated, depth + 1) for arg in args)


def _tautology(condition: Node) -> bool:
    """`note = note`, `note is not distinct from note`: the same column on both sides."""
    args = condition.nodes("args")
    if len(args) != 2 or args[0].name != "VAR" or args[1].name != "VAR":
        return False
    one, other = _VAR.search(args[0].plain), _VAR.search(args[1].plain)
    return one is not None and other is not None and one.groups() == other.groups()


def _mentions(condition: Node, target: Target) -> bool:
    """Whether a column of the target is in it, sub-selects included."""
    waiting: list[tuple[object, int]] = [(condition, 0)]
    while waiting:
        at, level = waiting.pop()
        if isinstance(at, list):
            for item in at:
                if not isinstance(item, str):
                    waiting.append((item, level))
        elif isinstance(at, Node):
            if at.name == "VAR":
                found = _VAR.search(at.plain)
                if found is not None and int(found[3]) == level and _is_of(int(found[1]), target):
                    return True
            elif at.name == "CURRENTOFEXPR":
                cursor = _CURSOR.search(at.plain)
                if cursor is not None and _is_of(int(cursor[1]), target):
                    return True
            below = level + 1 if at.name == "QUERY" else level
            for value in at.within.values():
                waiting.append((value, below))
    return False


def _is_of(entry: int, target: Target) -> bool:
    return target.anything or entry in target.entries
