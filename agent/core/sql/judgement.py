"""Finding out what a statement would do: a machine that says what it has to be told next.

`step` answers with Found at the end; until then with TreeWanted (have the server parse this and hand its tree to
`tree`) or with Wanted (have these facts asked, and told to the Facts that the judgement was made with).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct

from agent.core.sql import columns, definitions, outputs, queries, results, utility
from agent.core.sql.context import context_statement
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted, together, wanted_together
from agent.core.sql.lasting import Lasting
from agent.core.sql.nodes import Node, TreeError, command, read
from agent.core.sql.reach import ANYTHING, Reach, reach, words
from agent.core.sql.statements import EMPTY, QUERY, Statement, Unreadable, split
from schemas.operation import Operation

UNKNOWN: Final = Operation("UNKNOWN")
NOT_KNOWN: Final = Found((UNKNOWN,), changes_catalog=True, changes_settings=True, constants_matter=True)
"""What can't be determined: it may be anything."""

MAX_SHOWN: Final = 16 << 20
"""Characters of trees that one statement may print while it runs; a statement with more is not understood."""

_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE")
_HARMLESS: Final = ("INSERT", "TRUNCATE", "DROP TABLE", "GRANT", "REVOKE", "VACUUM", "ANALYZE", "LOCK", "COMMENT")
"""Utility commands that let nothing of a table's columns out."""
_COMPUTES_INDEXES: Final = ("REINDEX", "CLUSTER", "ANALYZE", "VACUUM")
_IN_C: Final = re.compile(r"\blanguage\b\W*(?:c|internal)\b", re.IGNORECASE)
_DO: Final = Operation("DO", "plpgsql")
_HOLD: Final = re.compile(r"\bwith(?:\s|/\*.*?\*/|--[^\n]*\n)+hold\b", re.IGNORECASE | re.DOTALL)

_DEEPEST: Final = 4
"""Statements by name within one another: EXPLAIN ANALYZE EXECUTE p, where p is EXECUTE q …"""


class TreeWanted(Struct, frozen=True):
    """A statement whose tree is missing. `before` is how many characters come before it in what the client sent, so
    that an error's position can be told as the client would have got it."""

    statement: str
    before: int


def judge_trees(trees: list[Node], facts: Facts) -> Found | Wanted:
    """What a query does, and which columns it lets out. The catalog itself is written by nobody who keeps to SQL."""
    found = queries.judge(trees, facts)
    if not isinstance(found, Found):
        return found
    if any(one.verb in _WRITES and one.object.startswith(("pg_catalog.", "pg_toast.")) for one in found.operations):
        found = together(found, NOT_KNOWN)
    if not facts.columns:
        return found
    used = columns.uses(trees, facts)
    given = outputs.of_trees(trees, facts, any(one.verb == "EXECUTE" for one in found.operations))
    if isinstance(used, Wanted):
        return wanted_together(used, given) if isinstance(given, Wanted) else used
    if isinstance(given, Wanted):
        return given
    handed = definitions.of_written(found.operations, facts) if found.opaque else ()
    if isinstance(handed, Wanted):
        return handed
    return msgspec.structs.replace(
        found, shown=used.shown, compared=used.compared, outputs=given.outputs, moves=given.moves, handed=handed
    )


def _utility(statement: Statement, facts: Facts, inside: bool = False) -> Found | Wanted:
    """What a utility statement does. Code in C, which SQL can't follow, is made by none but the server's owner."""
    found = _whole(utility.judge(statement, facts, inside))
    if isinstance(found, Found) and facts.columns:
        definition = definitions.read(statement, facts)
        if isinstance(definition, Wanted):
            return definition
        if definition is not None:
            shown = (*found.shown, *definition.shown)
            found = msgspec.structs.replace(found, defines=(), shown=shown, held=definition.held)
    if isinstance(found, Found) and statement.tag.startswith("CREATE FUNCTION") and _IN_C.search(statement.text):
        return together(found, NOT_KNOWN)
    return found


def _whole(found: Found | Wanted) -> Found | Wanted:
    """A utility statement is about its objects as a whole."""
    if isinstance(found, Wanted):
        return found
    about = tuple([operation.object for operation in found.operations if operation.verb not in _HARMLESS])
    return msgspec.structs.replace(found, defines=about)


class Judgement:
    """Of one statement, before it runs."""

    def __init__(
        self, statement: Statement, facts: Facts, quoting: bool = True, depth: int = 0, readable: bool = True
    ) -> None:
        self._statement = statement
        self._facts = facts
        self._quoting = quoting
        self._depth = depth
        self._trees: list[Node] | None = None
        self._unreadable = not readable
        self._refused = False
        self._asked: list[tuple[str, str]] = []
        self._named: list[Judgement] | None = None
        self._lasting: Lasting | None = None

    def step(self) -> Found | Wanted | TreeWanted:
        """What to tell it next, or what it found. What can't be understood is shown to the server first: if it is no
        statement at all, the client had better read that."""
        found = self._step()
        if isinstance(found, Found) and UNKNOWN in found.operations and self._trees is None and not self._refused:
            self._refused = True
            return TreeWanted(self._statement.text, self._statement.start)
        return self._reaching(found) if isinstance(found, Found) and found.opaque else found

    def _reaching(self, found: Found) -> Found | Wanted:
        """Adds what code could do that can't be undone."""
        if self._lasting is None:
            own, names = Reach(), frozenset[str]()
            statement = self._statement
            if statement.tag == "DO":
                plain = self._quoting or "\\" not in statement.text
                known = plain and _DO in found.operations
                own = reach(statement.text, "sql") if known else ANYTHING
            elif statement.kind != QUERY and statement.inner is None:
                names = words(statement.text)
            self._lasting = Lasting(self._facts, found.code, names, own)
        reaches = self._lasting.step()
        if isinstance(reaches, Wanted):
            return reaches
        return msgspec.structs.replace(found, reaches=reaches, leaves=self._lasting.leaves)

    def _step(self) -> Found | Wanted | TreeWanted:
        statement = self._statement
        if self._unreadable:
            return NOT_KNOWN
        if statement.kind == QUERY:
            return self._query(statement.text, statement.start)
        self._asked.clear()
        first = _utility(statement, self._facts)
        if isinstance(first, Wanted):
            return first
        found: list[Found | Wanted | TreeWanted] = [first]
        if statement.inner is not None:
            found.append(self._query(statement.inner, statement.start + statement.inner_offset))
        name = utility.prepared_name(statement)
        if name is not None:
            found.append(self._prepared(name))
            if "(" in statement.text:
                found.append(Found(opaque=True))  # its arguments are made values of types that may have code
        if first.changes_catalog and self._any("event_triggers"):
            found.append(Found(opaque=True, code=self._event_triggers()))
        if statement.tag in _COMPUTES_INDEXES and self._any("index_code"):
            found.append(NOT_KNOWN)  # some of them can't be run where they could be undone
        if self._asked:
            found.append(Wanted(names=frozenset(self._asked)))
        known: list[Found] = []
        given: list[Found] = []
        for one in found:
            if not isinstance(one, Found):
                return one
            given.append(one)
            # What is only planned isn't done; but planning may call functions.
            # Its estimates tell of the values that it compares.
            planned = Found((), one.opaque, code=one.code, compared=one.compared)
            known.append(one if statement.executes or one is first else planned)
        whole = together(*known)
        return results.added(whole, statement, given, self._facts) if self._facts.columns else whole

    def _any(self, kind: str) -> bool:
        """Whether the database has any such; where that isn't known, it is to be asked."""
        name = (kind, "x")
        if self._facts.missing(Wanted(names=frozenset((name,)))) is not None:
            self._asked.append(name)
        return bool(self._facts.named(*name))

    def _event_triggers(self) -> tuple[int, ...]:
        return tuple(int(row[1] or "0") for row in self._facts.named("event_triggers", "x"))

    def tree(self, printed: list[str]) -> None:
        """The server's trees of the statement that was asked for last; none if it printed none."""
        if self._refused:
            return
        if self._named is not None:
            for one in self._named:
                if isinstance(one.step(), TreeWanted):
                    one.tree(printed)
                    return
        try:
            self._trees = [tree for text in printed for tree in read(text)]
        except TreeError:
            self._unreadable = True
        if not printed:
            self._unreadable = True

    def _query(self, text: str, before: int) -> Found | Wanted | TreeWanted:
        if self._trees is None:
            return TreeWanted(text, before)
        return judge_trees(self._trees, self._facts)

    def _prepared(self, name: str) -> Found | Wanted | TreeWanted:
        """EXECUTE runs what PREPARE, or the protocol, has prepared under this name."""
        if self._named is None:
            wanted = self._facts.missing(Wanted(names=frozenset((("prepared", name),))))
            if wanted is not None:
                return wanted
            text = self._facts.prepared(name)
            if text is None:
                return Found()  # the server will say that there is none
            try:
                statements = [one for one in split(text, self._quoting) if one.kind != EMPTY]
            except Unreadable:
                return NOT_KNOWN
            if self._depth >= _DEEPEST:
                return NOT_KNOWN
            self._named = [
                Judgement(_prepared_body(one), self._facts, self._quoting, self._depth + 1) for one in statements
            ]
        known: list[Found] = []
        for judgement in self._named:
            found = judgement.step()
            if not isinstance(found, Found):
                return found
            known.append(found)
        return together(*known)


def _prepared_body(statement: Statement) -> Statement:
    """What pg_prepared_statements shows of SQL's PREPARE is the whole command: its inner statement is what runs."""
    if statement.tag != "PREPARE" or statement.inner is None:
        return statement
    (inner,) = split(statement.inner, True)[:1] or [statement]
    return inner


def holds_cursor(statement: Statement) -> bool:
    """Whether it declares a cursor that outlives its transaction: the rest of its query is run by the commit."""
    return statement.tag == "DECLARE CURSOR" and _HOLD.search(statement.text) is not None


class Inside:
    """Of what statements printed while they ran."""

    def __init__(self, facts: Facts, quoting: bool = True) -> None:
        self._facts = facts
        self._quoting = quoting
        self._seen: set[tuple[str, str | None]] = set()
        self._parts: list[list[Node] | Statement] = []
        self._queries: list[str] = []
        """Queries inside of utility statements, whose trees weren't printed."""
        self._size = 0
        self._unknown = False
        self.known: tuple[Found, ...] = (NOT_KNOWN,)
        """What each of the statements did, once `step` has told what all of them did."""

    def shown(self, tree: str, context: str) -> None:
        """A tree, and where it came from: nothing for the statement that the client itself sent."""
        statement = context_statement(context) if context else None
        key = (tree, statement)
        if key in self._seen or self._unknown:
            return
        self._size += len(tree)
        self._seen.add(key)
        if self._size > MAX_SHOWN:
            self._unknown = True
            return
        try:
            trees = read(tree)
        except TreeError:
            self._unknown = True
            return
        self._parts.append(trees)
        if context and any(command(node) == _UTILITY for node in trees):
            self._utility(statement)

    def untraced(self) -> None:
        """The trace was switched off: what ran isn't known."""
        self._unknown = True

    def tree(self, printed: list[str]) -> None:
        """The server's trees of the query that was asked for."""
        self._queries.pop()
        try:
            self._parts += [read(text) for text in printed]
        except TreeError:
            self._unknown = True
        if not printed:
            self._unknown = True

    def step(self) -> Found | Wanted | TreeWanted:
        if self._queries and not self._unknown:
            return TreeWanted(self._queries[-1], 0)
        wanted: list[Wanted] = []
        known: list[Found] = []
        for part in self._parts:
            found = (
                _utility(part, self._facts, inside=True)
                if isinstance(part, Statement)
                else judge_trees(part, self._facts)
            )
            if isinstance(found, Wanted):
                wanted.append(found)
            else:
                known.append(found)
        if self._unknown:
            return NOT_KNOWN
        self.known = tuple(known)
        if wanted:
            return wanted_together(*wanted)
        return results.inside(known)

    def _utility(self, text: str | None) -> None:
        if text is None:
            self._unknown = True
            return
        try:
            for one in split(text, self._quoting):
                if one.kind != EMPTY and one.kind != QUERY:
                    self._parts.append(one)
                    if one.runs is not None or holds_cursor(one):
                        self._unknown = True
                    elif one.inner is not None and one.executes:
                        self._queries.append(one.inner)
        except Unreadable:
            self._unknown = True


_UTILITY: Final = "6"
