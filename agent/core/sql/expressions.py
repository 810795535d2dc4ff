"""Code inside utility statements: defaults, checks, USING, index expressions, arguments.

The server doesn't show what these were understood as. What they call is found by name: every routine of a name counts,
whatever its arguments. An expression that may run code makes the statement opaque.
"""

from __future__ import annotations

from typing import Any, Final

from agent.core.sql.resolution import ROUTINE, Resolution, relation_name, strings
from agent.core.sql.touched import SELECTS

_OWN: Final = "pg_catalog"


def look(state: Resolution, node: Any) -> None:
    """Tells what an expression, or whatever has expressions in it, may do when it is evaluated."""
    waiting: list[Any] = [node]
    while waiting:
        at = waiting.pop()
        name = at.DESCRIPTOR.name
        if name == "FuncCall":
            call(state, strings(at.funcname))
        elif name == "RangeVar":
            reads(state, relation_name(at))
        elif name == "A_Expr" or name == "TypeCast":
            _unseen(state, at)
        for field, value in at.ListFields():
            if field.message_type is None:
                continue
            if hasattr(value, "DESCRIPTOR"):
                waiting.append(value)
            else:
                waiting.extend(value)


def call(state: Resolution, name: list[str]) -> None:
    """A call of any routine of this name."""
    for row in state.found_as(ROUTINE, name):
        state.touched.inner(int(row[0] or "0"))


def reads(state: Resolution, name: list[str]) -> None:
    """A table that is read."""
    rows = state.found_as("relation", name)
    for row in rows:
        state.touched.relation(int(row[0] or "0"), SELECTS, True, frozenset(), True, True)


def _unseen(state: Resolution, node: Any) -> None:
    """Operators and casts that users have made call functions too."""
    if node.DESCRIPTOR.name == "A_Expr":
        name = strings(node.name)
        if len(name) > 1 and name[0] != _OWN:
            state.touched.opaque = True
    elif len(node.type_name.names) == 1 or strings(node.type_name.names)[:1] != [_OWN]:
        state.touched.opaque = True
