"""The routines that an expression calls, and the types that it makes values of."""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql.facts import Facts
from agent.core.sql.nodes import Node
from agent.core.sql.routines import CONSTANT, FIRST_USER, SETTING, setting_effect
from agent.core.sql.touched import Touched

_CALLED: Final = re.compile(r"(?:funcid|fnoid|tsmhandler|InRangeFunc) (\d{1,10})\b")
_ORDERED: Final = re.compile(r"(?:sortop|eqop|opno) (\d{1,10})\b")
_OF_PARTS: Final = frozenset(range(1070, 1076)) | frozenset(range(2860, 2866)) | frozenset(range(2988, 2994))
_OF_RANGES: Final = frozenset(range(3882, 3888))
"""Operators that compare arrays, multiranges, rows and ranges part by part (pg_operator.dat)."""
_MADE: Final = re.compile(r"(?:result|param)type (\d{5,10})\b")
_NAME_TYPES: Final = "24|2202|2203|2204|2205|2206|4089|4096"
"""regproc, regprocedure, regoper, regoperator, regclass, regtype, regnamespace, regrole."""
_CONSTANT: Final = re.compile(rf":consttype (?:({_NAME_TYPES})|(\d{{5,10}})) ")
_NOT_WRITTEN: Final = ":location -1"
"""Of what a default, a view or a rule has brought in: no constant of the statement's own."""
_TEXT: Final = ("25", "1043")
_POLYMORPHIC: Final = 10_000
"""Types from here on are users', and rows and ranges."""


class Calls:
    """Looks at nodes of expressions, and tells Touched."""

    def __init__(self, facts: Facts, touched: Touched) -> None:
        self._facts = facts
        self._touched = touched

    def look(self, node: Node) -> None:
        """At one node, not at those below it."""
        plain = node.plain
        if node.name == "CONST":
            self._constant(plain)
            return
        if "unc" in plain or "fno" in plain or "tsm" in plain:
            for oid in _CALLED.findall(plain):
                if oid != "0":
                    self._called(int(oid), node)
        if "op " in plain or "opno" in plain:
            for oid in _ORDERED.findall(plain):
                self._ordered(int(oid))
        if node.name == "ROWCOMPAREEXPR" or node.name == "ROWCOMPARE":  # without EXPR: before PostgreSQL 16
            for number in node.numbers("opnos"):
                self._ordered(number)
        elif node.name in ("MINMAXEXPR", "MINMAX") and node.number("minmaxtype") >= _POLYMORPHIC:
            self._touched.compares()
        if "resulttype" in plain or node.name == "PARAM":
            for oid in _MADE.findall(plain):
                self._made(int(oid))
        if node.name in ("RANGETBLFUNCTION", "TABLEFUNC"):
            for number in [*node.numbers("funccoltypes"), *node.numbers("coltypes")]:
                self._made(number)
        elif node.name == "JSONRETURNING":
            self._made(node.number("typid"))
        elif node.name == "JSONCONSTRUCTOREXPR":
            self._touched.json()

    def _called(self, oid: int, node: Node) -> None:
        effect = self._touched.call(oid)
        if effect & CONSTANT and _NOT_WRITTEN not in node.plain:
            self._touched.constants = True
        if effect & SETTING:
            name = _first_text(node)
            self._touched.changes(effect, None if name is None else setting_effect(name))

    def _ordered(self, operator: int) -> None:
        if operator >= FIRST_USER:
            self._touched.ordered(operator)
        elif operator in _OF_PARTS or operator in _OF_RANGES:
            self._touched.compares()

    def _constant(self, plain: str) -> None:
        found = _CONSTANT.match(plain)
        if found is None:
            return
        if found[1] is not None:
            self._touched.constants = self._touched.constants or _NOT_WRITTEN not in plain
        else:
            self._made(int(found[2]))

    def _made(self, of_type: int) -> None:
        if of_type >= FIRST_USER:
            self._touched.made(of_type)


def _first_text(call: Node) -> str | None:
    """The constant that is a call's first argument; None when it isn't a constant text."""
    args = call.nodes("args")
    if call.name != "FUNCEXPR" or not args:
        return None
    for arg in args:
        if arg.name == "NAMEDARGEXPR" and arg.number("argnumber") == 0:
            inner = arg.node("arg")
            return None if inner is None else _constant_text(inner)
    return _constant_text(args[0])


def _constant_text(node: Node) -> str | None:
    """A constant of a character type. Its bytes begin with their number, times four, in four bytes (varatt.h)."""
    if node.name == "RELABELTYPE":
        inner = node.node("arg")
        return None if inner is None else _constant_text(inner)
    if node.name != "CONST" or node.token("consttype") not in _TEXT:
        return None
    tokens = [token for token in node.items("constvalue") if isinstance(token, str)]
    try:
        value = bytes(int(token) & 0xFF for token in tokens if token not in "[]")[1:]
    except ValueError:
        return None
    if len(value) < 4 or len(tokens) < 2 or int.from_bytes(value[:4], "little") != len(value) << 2:
        return None
    return value[4:].decode("utf-8", "replace")
