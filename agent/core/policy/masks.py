"""Which masks a session is subject to, and which columns they hide from it. agent.core.policy.screening says what that
means for a statement."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from agent.core.masking.search import Search
from agent.core.policy.conditions import Condition, session_values
from agent.core.policy.globs import Globs, can_begin
from agent.core.sql.found import Output
from schemas.identity import Identity
from schemas.policy import Mask, Policy

_ANY: Final = "*"
"""Among a statement's columns: perhaps any at all."""


class Cover(Struct, frozen=True):
    """How a column of a statement's rows is masked: by which mask, in which way, and for the sake of which columns."""

    mask: str
    way: str
    columns: tuple[str, ...]


class Masks:
    """The masks of a policy, compiled. Raises ConditionError for a condition that agent.store.policy would have
    refused."""

    def __init__(self, policy: Policy) -> None:
        self._compiled: list[_Compiled] = [_Compiled(mask) for mask in policy.masks]
        self._searches: dict[tuple[str, ...], Search] = {}

    def masked(self, identity: Identity, resource: str, address: str = "", client: str = "") -> Masked:
        """What is hidden from a session of this identity on the resource, TYPE/NAME. `address` is the client's, with
        or without its port; `client` what it calls itself. A mask whose `unless` can't be evaluated is in force."""
        values = session_values(identity, resource, address, client)
        found = [one for one in self._compiled if one.concerns(resource, values)]
        return Masked(found, self._search([one.mask for one in found if one.mask.types or one.mask.patterns]))

    def _search(self, masks: list[Mask]) -> Search | None:
        """What sessions with these masks are searched for: patterns are compiled once."""
        names = tuple([mask.name for mask in masks])
        if not names:
            return None
        if names not in self._searches:
            self._searches[names] = Search(masks)
        return self._searches[names]


class _Compiled:
    """A mask, and how to tell what it hides."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.columns: Globs | None = Globs(mask.columns) if mask.columns else None
        self._condition: Condition | None = None if mask.unless is None else Condition(mask.unless)
        self._on: Globs = Globs(mask.on)

    def concerns(self, resource: str, values: dict[str, Any]) -> bool:
        if not self._on.matches(resource):
            return False
        return self._condition is None or self._condition.holds(values) is not True


class Masked:
    """What one session doesn't see. Made by Masks.masked.

    `empty`: nothing at all. `by_column`: some columns are hidden. `search`: what values are looked for in whatever is
    told. `unenforceable` names the masks in force that are about documents, which databases have none of.
    """

    def __init__(self, masks: list[_Compiled], search: Search | None = None) -> None:
        self._masks: list[_Compiled] = [one for one in masks if one.columns is not None]
        self.by_column: bool = len(self._masks) > 0
        self.search: Search | None = search
        self.empty: bool = not self._masks and search is None
        self.first: str = self._masks[0].mask.name if self._masks else ""
        """The name of the first mask that hides columns."""
        self.name: str = self.first or ("" if search is None else search.names[0])
        """The name of the first mask."""
        self.unenforceable: tuple[str, ...] = tuple([one.mask.name for one in masks if one.mask.fields])

    def hides(self, columns: tuple[str, ...], compared: tuple[str, ...] = ()) -> tuple[str, str] | None:
        """The first of the columns, `schema.table.column`, that is hidden: the mask's name, and the column. Rows may be
        chosen, joined, grouped and sorted by those in `compared` unless the mask denies its columns in predicates."""
        return self._first(columns, False) or self._first(compared, True)

    def any_of(self, columns: tuple[str, ...]) -> bool:
        """Whether any of the columns is hidden."""
        return self._first(columns, False) is not None

    def _first(self, columns: tuple[str, ...], compared: bool) -> tuple[str, str] | None:
        for column in columns:
            for one in self._masks:
                globs = one.columns
                if globs is None or (compared and one.mask.predicates == "allow"):
                    continue
                if column == _ANY or globs.matches(column):
                    return one.mask.name, column
        return None

    def cover(self, output: Output) -> Cover | None:
        """How a column of a statement's rows is masked; None if nothing hidden is in it. What is made of hidden values
        tells of them whatever it is replaced by, if that depends on it: so it is redacted."""
        for one in self._masks:
            columns: list[str] = []
            plain = True
            for source in output.sources:
                if self._one_hides(one, source.column):
                    columns.append(source.column)
                    plain = plain and source.plain
            if columns:
                way = one.mask.replacement
                if way != "null" and not plain:
                    way = "redact"
                return Cover(one.mask.name, way, tuple(columns))
        return None

    def _one_hides(self, one: _Compiled, column: str) -> bool:
        return one.columns is not None and (column == _ANY or one.columns.matches(column))

    def concerns(self, table: str) -> str | None:
        """The name of the first mask that may hide a column of this table, `schema.table`."""
        for one in self._masks:
            for pattern in one.mask.columns:
                if can_begin(pattern, table + "."):
                    return one.mask.name
        return None
