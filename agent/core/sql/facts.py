"""What is known of the catalog, and how to ask for what isn't.

    facts.missing(wanted) -> what of it has to be asked
    facts.question(wanted) -> one SELECT, to be run in the client's own session
    facts.learn(rows, wanted) -> its answer; what was asked and is not in it does not exist

Facts hold for one session at one moment: names are found by its search_path, and anybody may alter what they say.
Whoever keeps them decides when to `forget`.
"""

from __future__ import annotations

from agent.core.sql import questions
from agent.core.sql.found import Wanted
from agent.core.sql.relations import ACTIONS, Key, Relation, Trigger, shown_schema
from agent.core.sql.routines import Routine, effect

Row = tuple[str | None, ...]
"""Eight columns of text as they came from the server; None is NULL."""


class Facts:
    """Relations and routines by OID, and what names stand for."""

    def __init__(self, columns: bool = False) -> None:
        self.columns = columns
        """Whether it matters which columns a statement lets out."""
        self.relations: dict[int, Relation | None] = {}
        self.routines: dict[int, Routine | None] = {}
        self.effects: dict[int, int] = {}
        """By routine: what calling it may do (routines.effect)."""
        self.names: dict[tuple[str, str], tuple[Row, ...]] = {}

    def relation(self, oid: int) -> Relation | None:
        """The relation; None when there is none, or it was not asked for."""
        return self.relations.get(oid)

    def routine(self, oid: int) -> Routine | None:
        """The routine; None when there is none, or it was not asked for."""
        return self.routines.get(oid)

    def named(self, kind: str, name: str) -> tuple[Row, ...]:
        """What the name stands for: six columns a row, as questions.KINDS has them. Empty when there is nothing of
        that name, or it was not asked for."""
        return self.names.get((kind, name), ())

    def prepared(self, name: str) -> str | None:
        """The text of the statement prepared under this name, None when there is none. A name that reads differently
        quoted and unquoted may be two statements: both are given then, one behind the other."""
        rows = self.named("prepared", name)
        return "\n;\n".join(row[0] or "" for row in rows) if rows else None

    def missing(self, wanted: Wanted) -> Wanted | None:
        """What of it isn't known yet; None when all of it is."""
        relations = frozenset(oid for oid in wanted.relations if oid not in self.relations)
        routines = frozenset(oid for oid in wanted.routines if oid not in self.routines)
        names = frozenset(name for name in wanted.names if name not in self.names)
        return Wanted(relations, routines, names) if relations or routines or names else None

    def question(self, wanted: Wanted) -> str:
        """One SELECT for all of it, whose rows `learn` takes."""
        asked: list[str] = []
        if wanted.relations:
            asked.append(questions.about_relations(wanted.relations))
        if wanted.routines:
            asked.append(questions.about_routines(wanted.routines))
        asked += [questions.about_name(*name) for name in sorted(wanted.names) if questions.askable(*name)]
        return " UNION ALL ".join(f"({one})" for one in asked) if asked else questions.NOTHING

    def learn(self, rows: list[Row], wanted: Wanted) -> None:
        """Keeps the answer to `question(wanted)`. Raises ValueError when it isn't one."""
        answers: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            if len(row) != 8 or row[0] is None or row[1] is None:
                raise ValueError(f"not an answer of the catalog (got {row!r}, expected 8 columns)")
            answers.setdefault((row[0], row[1]), []).append(row[2:])
        for oid in wanted.relations:
            self.relations[oid] = _relation(oid, answers)
        for oid in wanted.routines:
            self._learn_routine(oid, answers.get(("=routine", str(oid)), []))
        for name in wanted.names:
            self.names[name] = tuple(answers.get(name, ()))

    def _learn_routine(self, oid: int, rows: list[Row]) -> None:
        known = _routine(oid, rows[0]) if rows else None
        self.routines[oid] = known
        self.effects[oid] = effect(known)

    def forget(self) -> None:
        """Knows nothing any more."""
        self.relations.clear()
        self.routines.clear()
        self.effects.clear()
        self.names.clear()


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number) if text else ()


def _relation(oid: int, answers: dict[tuple[str, str], list[Row]]) -> Relation | None:
    rows = answers.get(("=relation", str(oid)))
    if not rows:
        return None
    schema, name, flags, owner, ancestors, descendants = rows[0]
    triggers = [
        Trigger(int(row[0] or "0"), int(row[1] or "0"), _numbers(row[2]))
        for row in answers.get(("=trigger", str(oid)), ())
    ]
    code = answers.get(("=code", str(oid)))
    keys = [_key(row) for row in answers.get(("=key", str(oid)), ())]
    return Relation(
        oid,
        shown_schema(schema or ""),
        name or "",
        (flags or "")[:1],
        owner or "",
        _numbers(ancestors),
        _numbers(descendants),
        "s" in (flags or "")[1:],
        "r" in (flags or "")[1:],
        tuple(triggers),
        tuple(keys),
        _numbers(code[0][0]) if code else (),
        "o" in (flags or "")[1:],
    )


def _key(row: Row) -> Key:
    found = ACTIONS.get(int(row[1] or "0"))
    if found is None:
        raise ValueError(f"not a foreign key's action (got function {row[1]})")
    event, action = found
    return Key(int(row[0] or "0"), event, action, frozenset(_numbers(row[2])))


def _routine(oid: int, row: Row) -> Routine:
    schema, name, language, flags, settings, components = row
    flags = flags or "f v"
    return Routine(
        oid,
        shown_schema(schema or ""),
        name or "",
        language or "",
        flags[:1],
        flags[1:2],
        "d" in flags[2:],
        tuple((settings or "").split("\n")) if settings else (),
        tuple(number for number in _numbers(components) if number),
        "k" in flags[2:],
    )
