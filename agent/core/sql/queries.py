"""What queries would do, by the trees that the server rewrote them to.

A tree has every name resolved, views expanded and rules applied. Each entry of a range table says what is asked of its
table: up to PostgreSQL 15 in itself (requiredPerms), from 16 on in an RTEPERMISSIONINFO that it points to. Utility
statements are read from their text elsewhere; what is looked at here is the queries within them.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql.calls import Calls
from agent.core.sql.conditions import Target, merged_rows, names_rows
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.nodes import Node
from agent.core.sql.nodes import command as command_of
from agent.core.sql.touched import DELETES, INSERTS, SELECTS, UPDATES, Touched

_SELECT: Final = "1"
_UPDATE: Final = "2"
_INSERT: Final = "3"
_DELETE: Final = "4"
_MERGE: Final = "5"
_UTILITY: Final = "6"
_WRITES: Final = {_UPDATE: UPDATES, _INSERT: INSERTS, _DELETE: DELETES}

_RELATION: Final = "0"
_TRANSITION: Final = "7"
_TARGET: Final = re.compile(r":resultRelation (\d{1,9})\b")
_NOTHING_BELOW: Final = frozenset(("VAR", "ALIAS", "RTEPERMISSIONINFO", "RANGETBLREF"))
_FIRST_COLUMN: Final = 7
"""The bit that stands for the whole row; the first column's is the next one (FirstLowInvalidHeapAttributeNumber)."""


def judge(trees: list[Node], facts: Facts) -> Found | Wanted:
    """All that the trees of one statement do, or the facts that are missing to tell."""
    reading = _Reading(facts)
    for tree in trees:
        reading.read(tree, len(trees) > 1)
    return reading.found()


class _Reading:
    def __init__(self, facts: Facts) -> None:
        self._touched = Touched(facts)
        self._calls = Calls(facts, self._touched)

    def found(self) -> Found | Wanted:
        return self._touched.found()

    def read(self, tree: Node, ruled: bool) -> None:
        """A tree and all queries in it; `ruled` when it is one of several that a rule made."""
        waiting: list[object] = [tree]
        while waiting:
            at = waiting.pop()
            if isinstance(at, list):
                for item in at:
                    if not isinstance(item, str):
                        waiting.append(item)
                continue
            if not isinstance(at, Node) or at.name in _NOTHING_BELOW:
                continue
            if at.name == "QUERY":
                self._query(at, ruled)
            else:
                self._calls.look(at)
            for value in at.within.values():
                if not isinstance(value, str):
                    waiting.append(value)

    def _query(self, query: Node, ruled: bool) -> None:
        command = command_of(query)
        if command == _UTILITY:
            if ruled:  # the only utility statement that a rule may run
                notified = query.node("utilityStmt")
                self._touched.operation("NOTIFY", "" if notified is None else notified.text("conditionname"))
            return
        if command not in "12345" or not command:
            if command != "7":
                self._touched.unknown()
            return
        entries = query.nodes("rtable")
        permissions = query.nodes("rteperminfos")
        found = _TARGET.search(query.plain)
        target = int(found[1]) if found is not None else 0
        locks = command == _SELECT and " :hasForUpdate true " in query.plain
        updates, deletes = self._named_rows(query, command, entries, target)
        for at in range(len(entries)):
            entry = entries[at]
            if entry.token("rtekind") not in (_RELATION, _TRANSITION) and not entry.number("relid"):
                continue
            asked = _asked(entry, permissions)
            bits = _bits(entry, asked)
            if locks:
                bits &= SELECTS  # SELECT … FOR UPDATE asks for the right to update
            elif at + 1 == target:
                bits |= _WRITES.get(command, 0)
            self._touched.relation(
                entry.number("relid"),
                bits,
                entry.true("inh"),
                frozenset(bit - _FIRST_COLUMN for bit in asked.numbers("updatedCols")),
                updates,
                deletes,
            )

    def _named_rows(self, query: Node, command: str, entries: list[Node], target: int) -> tuple[bool, bool]:
        """Whether what is updated, and what is deleted, is named by its columns."""
        if command in (_SELECT, _INSERT) or not 0 < target <= len(entries):
            return True, True
        written = entries[target - 1]
        relid = written.number("relid")
        same = frozenset(at + 1 for at in range(len(entries)) if entries[at].number("relid") == relid)
        meant = Target(same, written.token("relkind") == "v")
        if command == _MERGE:
            return merged_rows(query, meant, _UPDATE), merged_rows(query, meant, _DELETE)
        named = names_rows(query, meant)
        return named, named


def _asked(entry: Node, permissions: list[Node]) -> Node:
    """Where an entry's permissions stand."""
    index = entry.number("perminfoindex")
    return permissions[index - 1] if 0 < index <= len(permissions) else entry


def _bits(entry: Node, asked: Node) -> int:
    """What is asked of a table. Nothing, of the entries that stand for a rule's OLD and NEW and for a view that was
    expanded; one that says nothing of it is read."""
    if "requiredPerms" in asked.fields:
        return asked.number("requiredPerms")
    return SELECTS
