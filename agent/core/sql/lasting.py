"""What code that a statement runs could do beyond what a rollback undoes, by its sources.

Begins with the routines that the statement calls and with the words of its own text, and goes on to whatever their
sources name: routines, and tables with their triggers, views and defaults (agent.core.sql.closure).
"""

from __future__ import annotations

from typing import Final

from agent.core.sql.facts import Facts
from agent.core.sql.found import Wanted
from agent.core.sql.reach import ANY_TABLE, ANYTHING, LEFT, MAX_WORDS, REDEFINED, Reach, named, programs, reach
from schemas.operation import Operation

_MOST_STEPS: Final = 10
"""How far it is followed; what is further may be anything."""
_POWERS: Final = ("powers", "x")
_OUTSIDE: Final = ("outside", "x")
_PROGRAM: Final = Operation("COPY PROGRAM", "?")
_BETWEEN: Final = "\x1e"
_PARTS: Final = "\x1f"


def key(routines: set[int], tables: set[int], words: set[str]) -> str:
    """What is new of each, as it is asked of the catalog."""
    every = ANY_TABLE if ANY_TABLE in words else ""
    lists = (map(str, sorted(routines)), map(str, sorted(tables)), sorted(words - {ANY_TABLE}))
    return _PARTS.join([*(_BETWEEN.join(each) for each in lists), every])


class Lasting:
    """Of one statement. `step` gives the operations, or the facts that are missing to tell."""

    def __init__(self, facts: Facts, routines: tuple[int, ...], names: frozenset[str], own: Reach) -> None:
        """`names`: words of the statement that may name code. `own`: what code it brings along may do."""
        self._facts = facts
        self._sources = [own]
        self._routines: set[int] = set()
        self._tables: set[int] = set()
        self._words: set[str] = set()
        self._new = (set(routines), set[int](), set(names | own.words))
        self._called: dict[Operation, None] = {}
        self._steps = 0
        self._may = False
        self._begun = False

    def step(self) -> tuple[Operation, ...] | Wanted:
        if not self._begun:
            wanted = self._facts.missing(Wanted(names=frozenset((_POWERS, ("reached", key(*self._new))))))
            if wanted is not None:
                return wanted
            self._begun = True
            self._powers()
        while any(self._new):
            if self._steps > _MOST_STEPS or len(self._new[2]) > MAX_WORDS:
                self._sources.append(ANYTHING)
                break
            name = ("reached", key(*self._new))
            wanted = self._facts.missing(Wanted(names=frozenset((name,))))
            if wanted is not None:
                return wanted
            self._steps += 1
            self._follow(self._facts.named(*name))
        return self._operations()

    @property
    def leaves(self) -> tuple[str, ...]:
        """What values may be left in, by the words of all sources."""
        return tuple(sorted(LEFT & {word for source in self._sources for word in source.words}))

    def _powers(self) -> None:
        for what, value, *_ in self._facts.named(*_POWERS):
            if what == "may":
                self._may = value is not None
            elif what == "joins":
                self._sources.append(ANYTHING)
            else:
                self._new[0].add(int(value or "0"))

    def _follow(self, rows: tuple[tuple[str | None, ...], ...]) -> None:
        """Takes what was answered: the next to be asked for is what it names and wasn't asked for yet."""
        routines, tables, words = self._new
        self._routines |= routines
        self._tables |= tables
        self._words |= words
        found = (set[int](), set[int](), set[str]())
        for what, oid, language, schema, name, source in rows:
            number = int(oid or "0")
            if what == "calls":
                found[0].add(number)
            elif what == "reads":
                found[1].add(number)
            else:
                self._routines.add(number)
                found[2].update(self._source(language or "", f"{schema}.{name}", source or ""))
                if name in REDEFINED:
                    self._sources.append(ANYTHING)
        self._new = (found[0] - self._routines, found[1] - self._tables, found[2] - self._words)

    def _source(self, language: str, of: str, source: str) -> frozenset[str]:
        language, _, flags = language.partition(" ")
        if language == "c":
            self._called[Operation("EXECUTE", of)] = None
            return frozenset()
        self._may = self._may or "p" in flags
        found = reach(source, language, "t" in flags)
        self._sources.append(found)
        return found.words

    def _operations(self) -> tuple[Operation, ...] | Wanted:
        found = dict(self._called)
        for source in self._sources:
            for operation in named(source):
                if self._may or operation.verb != "COPY FILE":
                    found[operation] = None
            if self._may and programs(source):
                found[_PROGRAM] = None
        if any(source.anything for source in self._sources):
            wanted = self._facts.missing(Wanted(names=frozenset((_OUTSIDE,))))
            if wanted is not None:
                return wanted
            for schema, name, *_ in self._facts.named(*_OUTSIDE):
                found[Operation("EXECUTE", f"{schema}.{name}")] = None
        return tuple(found)
