"""What a part of an expression is, as far as it matters to the columns in it."""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql.nodes import Node
from agent.core.sql.routines import FIRST_USER

_CALLED: Final = re.compile(r"(?:funcid|fnoid) (\d+)")
_SET: Final = (":funcretset true", ":opretset true")
_COUNTED: Final = (":aggfnoid 2147 ", ":winfnoid 2147 ")
"""count("any"), as an aggregate and as a window function."""


_COMPARING: Final = frozenset(
    (
        *("BOOLEXPR", "BOOLEANTEST", "ROWEXPR", "RELABELTYPE", "COLLATEEXPR", "COALESCEEXPR", "ARRAYEXPR", "CASEEXPR"),
        *("CASEWHEN", "FIELDSELECT", "INFERENCEELEM", "MERGEACTION", "WITHCHECKOPTION"),
    )
)
_OPERATORS: Final = frozenset(("OPEXPR", "SCALARARRAYOPEXPR", "DISTINCTEXPR", "ROWCOMPAREEXPR"))
_HARMLESS: Final = re.compile(r":funcid (?:870|871|885|1174|1178|1317|2024|2027|2028|2029) ")
"""lower, upper, btrim, length of a text, timestamps and dates made of one another: they raise no error."""


def compares(part: Node) -> bool:
    """Whether its result is no more than a comparison of what is in it, or the same value again: nobody else gets that,
    and no error quotes it."""
    if part.name in _COMPARING:
        return True
    if part.name in _OPERATORS:
        made = part.number("opno") >= FIRST_USER or any(oid >= FIRST_USER for oid in part.numbers("opnos"))
        return not made and (part.name != "OPEXPR" or ":opresulttype 16 " in part.plain)
    return part.name == "FUNCEXPR" and _HARMLESS.search(part.plain) is not None


def called(node: Node) -> list[int] | None:
    """The functions that it calls, those below it not counted; None when it has an operator of somebody's own of which
    no more is known."""
    plain = node.plain
    if node.name == "VAR" or node.name == "CONST":
        return []
    if ":opfuncid 0 " in plain and node.number("opno") >= FIRST_USER:
        return None
    return [int(oid) for oid in _CALLED.findall(plain) if oid != "0"]


def does_more(part: Node) -> list[int] | None:
    """The functions that are called anywhere in it, if it computes one value a row as far as can be seen here; None if
    it returns sets, takes numbers from a sequence, or calls what isn't known."""
    found: list[int] = []
    for node in part.walk():
        if node.name == "NEXTVALUEEXPR" or _SET[0] in node.plain or _SET[1] in node.plain:
            return None
        here = called(node)
        if here is None:
            return None
        found += here
    return found


def bare(value: Node) -> Node:
    """Without the casts that compute nothing."""
    while value.name == "RELABELTYPE":
        inner = value.node("arg")
        if inner is None:
            break
        value = inner
    return value


def is_row(value: Node | None) -> bool:
    return value is not None and value.name == "VAR" and ":varattno 0 " in value.plain


def names_row(target: Node, value: Node) -> bool:
    """What PostgreSQL 13 adds to an UPDATE or DELETE, so that a trigger or a foreign server gets the row."""
    return target.true("resjunk") and target.token("resname") == "wholerow" and is_row(value)


def counted_column(value: Node) -> Node | None:
    """The argument of count(), when it is a column and all rows that have one are counted."""
    if value.name not in ("AGGREF", "WINDOWFUNC") or (
        _COUNTED[0] not in value.plain and _COUNTED[1] not in value.plain
    ):
        return None
    if "aggfilter" in value.within or "aggorder" in value.within or "aggdistinct" in value.within:
        return None
    arguments = value.nodes("args")
    if len(arguments) != 1:
        return None
    argument = arguments[0].node("expr") if arguments[0].name == "TARGETENTRY" else arguments[0]
    return argument if argument is not None and argument.name == "VAR" else None
