"""What a statement returns and what it writes, column by column, by the trees that the server rewrote it to."""

from __future__ import annotations

from msgspec import Struct

from agent.core.sql import scopes
from agent.core.sql.facts import Facts
from agent.core.sql.found import Move, Output, Wanted
from agent.core.sql.lineage import Lineage
from agent.core.sql.nodes import Node
from agent.core.sql.scopes import Scope


class Given(Struct, frozen=True):
    """The columns that it returns, None when that isn't known, and those that it writes."""

    outputs: tuple[Output, ...] | None = None
    moves: tuple[Move, ...] = ()


def of_trees(trees: list[Node], facts: Facts, calls: bool = True) -> Given | Wanted:
    """Of one statement; where rules have made several of it, one of them returns what it does. `calls`: it may call
    routines that do more than compute."""
    lineage = Lineage(facts)
    outputs: tuple[Output, ...] | None = ()
    moves: list[Move] = []
    returned = False
    for tree in trees:
        if tree.name != "QUERY":
            return Given()
        scope = Scope(tree, None, False, True)
        if scope.command == scopes.UTILITY:
            continue
        moves += lineage.moves(scope, calls)
        if tree.true("canSetTag") and scope.targets():
            outputs = None if returned else lineage.outputs(scope)
            returned = True
    wanted = lineage.wanted()
    return Given(outputs, tuple(moves)) if wanted is None else wanted


def of_table(oid: int, names: tuple[str, ...], facts: Facts) -> tuple[Output, ...] | Wanted | None:
    """What COPY of a table puts out: these columns, or all that aren't generated when there are no names. None when
    there is no such table, or no such column."""
    lineage = Lineage(facts)
    found = lineage.columns(oid, names)
    wanted = lineage.wanted()
    return found if wanted is None else wanted


def renamed(outputs: tuple[Output, ...], relation: str, names: tuple[str, ...]) -> tuple[Move, ...]:
    """What is written to a relation that is made of a query: its columns are called as those of the query, the first
    of them by these names instead."""
    found: list[Move] = []
    for at, output in enumerate(outputs):
        name = names[at] if at < len(names) else output.name
        if output.sources or output.opaque or output.parameters:
            found.append(Move(f"{relation}.{name}", (), output.sources, output.opaque, output.parameters))
    return tuple(found)
