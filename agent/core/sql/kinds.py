"""The kinds of objects that utility statements name, and their names."""

from __future__ import annotations

from typing import Any, Final

from postgast.pg_query_pb2 import ObjectType

from agent.core.sql.resolution import RELATION, ROUTINE, TYPE, Resolution, plain, relation_name, strings

_SPECIAL: Final[dict[str, str]] = {
    "FDW": "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER": "SERVER",
    "LARGEOBJECT": "LARGE OBJECT",
    "MATVIEW": "MATERIALIZED VIEW",
    "OPCLASS": "OPERATOR CLASS",
    "OPFAMILY": "OPERATOR FAMILY",
    "PARAMETER ACL": "PARAMETER",
    "STATISTIC EXT": "STATISTICS",
    "TABCONSTRAINT": "CONSTRAINT",
    "DOMCONSTRAINT": "CONSTRAINT",
    "TSCONFIGURATION": "TEXT SEARCH CONFIGURATION",
    "TSDICTIONARY": "TEXT SEARCH DICTIONARY",
    "TSPARSER": "TEXT SEARCH PARSER",
    "TSTEMPLATE": "TEXT SEARCH TEMPLATE",
}
_KINDS: Final[dict[int, str]] = {
    number: _SPECIAL.get(name[7:].replace("_", " "), name[7:].replace("_", " ")) for name, number in ObjectType.items()
}
RELATIONS: Final = frozenset(("TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "INDEX"))
ROUTINES: Final = frozenset(("FUNCTION", "PROCEDURE", "AGGREGATE", "ROUTINE"))
_TYPES: Final = frozenset(("TYPE", "DOMAIN"))
_OF_RELATIONS: Final = frozenset(("TRIGGER", "RULE", "POLICY", "COLUMN", "CONSTRAINT", "DEFAULT"))
_BY_METHOD: Final = frozenset(("OPERATOR CLASS", "OPERATOR FAMILY"))

RELKINDS: Final[dict[str, str]] = {
    "r": "TABLE",
    "p": "TABLE",
    "v": "VIEW",
    "m": "MATERIALIZED VIEW",
    "f": "FOREIGN TABLE",
    "S": "SEQUENCE",
    "i": "INDEX",
    "I": "INDEX",
    "t": "",
    "c": "TYPE",
}
"""By pg_class.relkind, what a relation is called; nothing for what is never named."""


def words(kind: int) -> str:
    """An ObjectType as command tags have it."""
    return _KINDS.get(kind, "OBJECT")


def object_name(state: Resolution, kind: str, node: Any) -> list[str]:
    """The objects of a kind that a node names, as operations show them: a column or a trigger behind its table."""
    form = node.WhichOneof("node")
    if form == "range_var":
        return [state.object(RELATION, relation_name(node.range_var))]
    if form == "object_with_args":
        name = strings(node.object_with_args.objname)
        if kind in ROUTINES:
            return state.objects(ROUTINE, name)
        return [_unlooked(state, name)]
    if form == "type_name":
        return [type_name(state, node.type_name)]
    if form == "string":
        return [node.string.sval]
    if form == "integer":
        return [str(node.integer.ival)]
    if form == "float":
        return [node.float.fval]
    if form != "list":
        state.unknown()
        return []
    items = node.list.items
    typed = [type_name(state, item.type_name) for item in items if item.HasField("type_name")]
    name = strings(items)
    if kind == "CAST":
        return [" AS ".join(typed)]
    if typed:  # a domain's constraint, a transform
        return [".".join([*typed, *name])]
    if kind in RELATIONS:
        return [state.object(RELATION, name)]
    if kind in _TYPES:
        return [state.object(TYPE, name)]
    if kind in _OF_RELATIONS:
        return [f"{state.object(RELATION, name[:-1])}.{name[-1]}"]
    return [_unlooked(state, name[1:] if kind in _BY_METHOD else name)]


def _unlooked(state: Resolution, name: list[str]) -> str:
    """An object of a kind that nobody looks up: without its schema it may be any of that name."""
    if len(name) < 2:
        state.unknown()
    return plain(name)


def type_name(state: Resolution, node: Any) -> str:
    """A TypeName, as operations show it."""
    return state.object(TYPE, strings(node.names))
