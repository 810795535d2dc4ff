"""Objects of all kinds: made, dropped, renamed, moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agent.core.sql import expressions
from agent.core.sql.kinds import RELATIONS, RELKINDS, ROUTINES, object_name, type_name, words
from agent.core.sql.naming import quoted
from agent.core.sql.resolution import (
    RELATION,
    ROUTINE,
    TYPE,
    Resolution,
    Row,
    plain,
    relation_name,
    shown,
    strings,
    written,
)

_CASCADE: Final = 2
_DROPPED: Final[dict[str, str]] = {
    "table column": "DROP COLUMN",
    "table constraint": "DROP CONSTRAINT",
    "policy": "DROP POLICY",
    "rule": "DROP RULE",
    "trigger": "DROP TRIGGER",
}
"""What pg_identify_object calls things, where `DROP …` isn't followed by just that."""

_INTERNAL: Final = frozenset(("default value", "toast table"))
_ALONE: Final = frozenset(("TRIGGER", "RULE", "POLICY", "EVENT TRIGGER", "PUBLICATION", "STATISTICS", "TRANSFORM"))
"""Kinds of objects that nothing hangs on."""
_NOTHING: Final[frozenset[str]] = frozenset()
_TABLES: Final = frozenset(("table", "foreign table", "table column", "type", "index", "sequence"))


def drop(state: Resolution, node: Any) -> None:
    kind = words(node.remove_type)
    cascade = node.behavior == _CASCADE
    for each in node.objects:
        for name in object_name(state, kind, each):
            state.say(f"DROP {kind}", name)
        name_ = _written(kind, each)
        if kind in RELATIONS:
            _with_partitions(state, strings(each.list.items))
        if name_ and (cascade or kind == "EXTENSION"):
            _cascade(state, kind, name_)


def _written(kind: str, node: Any) -> str:
    form = node.WhichOneof("node")
    if form == "string":
        return quoted(node.string.sval)
    if form == "object_with_args":
        return written(strings(node.object_with_args.objname))
    if form == "type_name":
        return written(strings(node.type_name.names))
    return written(strings(node.list.items)) if form == "list" else ""


def _with_partitions(state: Resolution, name: list[str]) -> None:
    """Partitions are dropped with their table; a view's name tells what else it may be."""
    for row in state.found_as(RELATION, name):
        for relation in state.relations((int(row[0] or "0"),)):
            if relation.kind == "p":
                for one in state.relations(relation.descendants):
                    state.say("DROP TABLE", one.object)


def _cascade(state: Resolution, kind: str, name: str) -> None:
    """All that is dropped because it hangs on what is."""
    of = "relation" if kind in RELATIONS else "routine" if kind in ROUTINES else kind.lower()
    of = "type" if of == "domain" else of
    if of not in ("relation", "routine", "type", "schema", "extension"):
        if kind not in _ALONE:
            state.unknown()
        return
    _hanging(state, state.rows(f"cascade_{of}", name), _NOTHING)


def hanging(state: Resolution, name: list[str]) -> None:
    """What may go with a column or a constraint of a table, that is with any of them: no tables."""
    _hanging(state, state.rows("cascade_relation", written(name)), _TABLES)


def _hanging(state: Resolution, rows: tuple[Row, ...], without: frozenset[str]) -> None:
    made = {(row[2], row[3]) for row in rows if row[0] != "type"}
    for row in rows:
        what = row[0] or ""
        schema, name, identity = row[2], row[3] or "", row[4] or ""
        if what in _INTERNAL or what in without or schema == "pg_toast":
            continue
        if what == "type" and ((schema, name) in made or (schema, name.removeprefix("_")) in made):
            continue
        if "RI_ConstraintTrigger_" in identity or identity.startswith('"_RETURN" on '):
            continue
        state.say(_DROPPED.get(what, f"DROP {what.upper()}"), _identity(what, row))


def _identity(what: str, row: Row) -> str:
    """`schema.name`; of what belongs to a table `schema.table.name`."""
    schema, name, identity = row[2], row[3], row[4] or ""
    if what in ("function", "procedure", "aggregate"):
        return identity.partition("(")[0]
    if " on " in identity:
        part, _, of = identity.rpartition(" on ")
        return f"{of}.{part}"
    if schema and name and what != "table column":
        return f"{schema}.{name}"
    return identity


def rename(state: Resolution, node: Any) -> None:
    """Both names count: the one that it has, and the one that it gets."""
    kind = words(node.rename_type)
    if kind in ("COLUMN", "ATTRIBUTE", "CONSTRAINT", "POLICY", "RULE", "TRIGGER"):
        _rename_part(state, node, kind)
        return
    if node.HasField("relation"):
        old = state.object(RELATION, relation_name(node.relation))
        kind = _really(state, relation_name(node.relation), kind)
    elif node.HasField("object"):
        for old in object_name(state, kind, node.object):
            state.say(f"ALTER {kind}", old)
            state.say(f"ALTER {kind}", _beside(old, node.newname))
            moved(state, old, _beside(old, node.newname))
        return
    else:
        old = node.subname
    state.say(f"ALTER {kind}", old)
    state.say(f"ALTER {kind}", _beside(old, node.newname))
    if kind == "SCHEMA":
        moved(state, f"{old}.", f"{node.newname}.")
    else:
        moved(state, old, _beside(old, node.newname))


def moved(state: Resolution, old: str, new: str) -> None:
    """An object gets another name: what rules say of the one they don't say of the other."""
    state.say("RENAME", f"{old} TO {new}")


def _really(state: Resolution, name: list[str], kind: str) -> str:
    """ALTER TABLE is understood for views and sequences too."""
    for row in state.found_as(RELATION, name):
        really = RELKINDS.get(row[3] or "", kind) or kind
        if really != kind:
            state.say(f"ALTER {kind}", shown(row))
            return really
    return kind


def _rename_part(state: Resolution, node: Any, kind: str) -> None:
    if node.HasField("relation"):
        of = state.object(RELATION, relation_name(node.relation))
        table = words(node.relation_type) if kind in ("COLUMN", "ATTRIBUTE") else "TABLE"
        state.say(f"ALTER {table}", of)
    else:
        of = " ".join(object_name(state, kind, node.object))
        state.say("ALTER DOMAIN", of)
    if kind in ("COLUMN", "ATTRIBUTE"):
        moved(state, f"{of}.{node.subname}", f"{of}.{node.newname}")
    if kind in ("POLICY", "RULE", "TRIGGER"):
        state.say(f"ALTER {kind}", f"{of}.{node.subname}")
        state.say(f"ALTER {kind}", f"{of}.{node.newname}")


def _beside(name: str, new: str) -> str:
    schema = name.rpartition(".")[0]
    return f"{schema}.{new}" if schema else new


def set_schema(state: Resolution, node: Any) -> None:
    kind = words(node.object_type)
    if node.HasField("relation"):
        names = [state.object(RELATION, relation_name(node.relation))]
        kind = _really(state, relation_name(node.relation), kind)
    else:
        names = object_name(state, kind, node.object)
    for name in names:
        state.say(f"ALTER {kind}", name)
        state.say(f"ALTER {kind}", f"{node.newschema}.{name.rpartition('.')[2]}")
        moved(state, name, f"{node.newschema}.{name.rpartition('.')[2]}")


def depends(state: Resolution, node: Any) -> None:
    kind = words(node.object_type)
    if node.HasField("relation"):
        state.say(f"ALTER {kind}", state.object(RELATION, relation_name(node.relation)))
        return
    for name in object_name(state, kind, node.object):
        state.say(f"ALTER {kind}", name)


def comment(state: Resolution, node: Any) -> None:
    for name in object_name(state, words(node.objtype), node.object):
        state.say("COMMENT", name)


def label(state: Resolution, node: Any) -> None:
    for name in object_name(state, words(node.objtype), node.object):
        state.say("SECURITY LABEL", name)


def create_schema(state: Resolution, node: Any, element: Callable[[Resolution, Any], None]) -> None:
    name = node.schemaname or node.authrole.rolename
    state.say("CREATE SCHEMA", name)
    if not name and node.schema_elts:
        state.unknown()
    for each in node.schema_elts:
        inside = each.WhichOneof("node")
        for part in ("relation", "view", "sequence"):
            of = getattr(each, inside)
            if part in of.DESCRIPTOR.fields_by_name and of.HasField(part) and not getattr(of, part).schemaname:
                getattr(of, part).schemaname = name
        for granted in each.grant_stmt.objects if inside == "grant_stmt" else ():
            if granted.HasField("range_var") and not granted.range_var.schemaname:
                granted.range_var.schemaname = name
        element(state, each)


def create_function(state: Resolution, node: Any) -> None:
    state.say("CREATE PROCEDURE" if node.is_procedure else "CREATE FUNCTION", state.new(strings(node.funcname)))


def alter_function(state: Resolution, node: Any) -> None:
    kind = words(node.objtype)
    for name in state.objects(ROUTINE, strings(node.func.objname)):
        state.say(f"ALTER {kind}", name)


def define(state: Resolution, node: Any) -> None:
    state.say(f"CREATE {words(node.kind)}", state.new(strings(node.defnames)))


def new_type(state: Resolution, node: Any) -> None:
    """Composite types, enumerations, ranges, domains."""
    form = node.DESCRIPTOR.name
    if form == "CompositeTypeStmt":
        state.say("CREATE TYPE", state.new(relation_name(node.typevar)))
    elif form == "CreateDomainStmt":
        state.say("CREATE DOMAIN", state.new(strings(node.domainname)))
        expressions.look(state, node)
    else:
        state.say("CREATE TYPE", state.new(strings(node.type_name)))


def alter_type(state: Resolution, node: Any) -> None:
    kind = "DOMAIN" if node.DESCRIPTOR.name == "AlterDomainStmt" else "TYPE"
    state.say(f"ALTER {kind}", state.object(TYPE, strings(node.type_name)))
    if kind == "DOMAIN":
        expressions.look(state, getattr(node, "def"))
        state.touched.opaque = True  # the rows there are may be checked


def create_cast(state: Resolution, node: Any) -> None:
    state.say("CREATE CAST", f"{type_name(state, node.sourcetype)} AS {type_name(state, node.targettype)}")


def on_table(state: Resolution, node: Any, verb: str, name: str, table: Any) -> None:
    """Triggers, rules, policies: they change what the table does."""
    of = state.object(RELATION, relation_name(table))
    state.say(verb, f"{of}.{name}")


def named_new(state: Resolution, verb: str, name: list[str]) -> None:
    state.say(verb, state.new(name))


def named(state: Resolution, verb: str, name: list[str]) -> None:
    """An object of a kind that nobody looks up."""
    if len(name) < 2:
        state.unknown()
    state.say(verb, plain(name))
