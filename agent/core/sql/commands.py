"""Utility statements by the name of their parse node: which of them does what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from postgast.pg_query_pb2 import DiscardMode

from agent.core.sql import expressions
from agent.core.sql import utility_access as access
from agent.core.sql import utility_objects as objects
from agent.core.sql import utility_relations as relations
from agent.core.sql.kinds import type_name, words
from agent.core.sql.resolution import RELATION, ROUTINE, Resolution, relation_name, strings

Command = Callable[[Resolution, Any], None]

_GLOBAL: Final[dict[str, tuple[str, str]]] = {
    "create_table_space_stmt": ("CREATE TABLESPACE", "tablespacename"),
    "drop_table_space_stmt": ("DROP TABLESPACE", "tablespacename"),
    "alter_table_space_options_stmt": ("ALTER TABLESPACE", "tablespacename"),
    "create_fdw_stmt": ("CREATE FOREIGN DATA WRAPPER", "fdwname"),
    "alter_fdw_stmt": ("ALTER FOREIGN DATA WRAPPER", "fdwname"),
    "create_foreign_server_stmt": ("CREATE SERVER", "servername"),
    "alter_foreign_server_stmt": ("ALTER SERVER", "servername"),
    "create_am_stmt": ("CREATE ACCESS METHOD", "amname"),
    "create_event_trig_stmt": ("CREATE EVENT TRIGGER", "trigname"),
    "alter_event_trig_stmt": ("ALTER EVENT TRIGGER", "trigname"),
    "create_plang_stmt": ("CREATE LANGUAGE", "plname"),
    "createdb_stmt": ("CREATE DATABASE", "dbname"),
    "alter_database_stmt": ("ALTER DATABASE", "dbname"),
    "alter_database_refresh_coll_stmt": ("ALTER DATABASE", "dbname"),
    "alter_database_set_stmt": ("ALTER DATABASE", "dbname"),
    "dropdb_stmt": ("DROP DATABASE", "dbname"),
    "create_subscription_stmt": ("CREATE SUBSCRIPTION", "subname"),
    "alter_subscription_stmt": ("ALTER SUBSCRIPTION", "subname"),
    "drop_subscription_stmt": ("DROP SUBSCRIPTION", "subname"),
}
"""Objects that no schema holds: the verb, and the field with the name."""

_SESSION: Final[dict[str, tuple[str, str]]] = {
    "notify_stmt": ("NOTIFY", "conditionname"),
    "listen_stmt": ("LISTEN", "conditionname"),
    "unlisten_stmt": ("UNLISTEN", "conditionname"),
    "load_stmt": ("LOAD", "filename"),
    "declare_cursor_stmt": ("DECLARE CURSOR", "portalname"),
    "close_portal_stmt": ("CLOSE CURSOR", "portalname"),
    "check_point_stmt": ("CHECKPOINT", ""),
    "constraints_set_stmt": ("SET CONSTRAINTS", ""),
}
"""What changes nothing in the catalog."""

_NEW: Final[dict[str, tuple[str, str]]] = {
    "create_op_class_stmt": ("CREATE OPERATOR CLASS", "opclassname"),
    "create_op_family_stmt": ("CREATE OPERATOR FAMILY", "opfamilyname"),
    "create_conversion_stmt": ("CREATE CONVERSION", "conversion_name"),
}
_NAMED: Final[dict[str, tuple[str, str]]] = {
    "alter_collation_stmt": ("ALTER COLLATION", "collname"),
    "alter_stats_stmt": ("ALTER STATISTICS", "defnames"),
    "alter_op_family_stmt": ("ALTER OPERATOR FAMILY", "opfamilyname"),
    "alter_tsdictionary_stmt": ("ALTER TEXT SEARCH DICTIONARY", "dictname"),
    "alter_tsconfiguration_stmt": ("ALTER TEXT SEARCH CONFIGURATION", "cfgname"),
}


def command(state: Resolution, node: Any, executes: bool = True) -> None:
    """Tells what one statement does; `executes` is whether what EXPLAIN explains is run."""
    form = node.WhichOneof("node")
    of = getattr(node, form)
    if form in _SESSION:
        verb, field = _SESSION[form]
        state.say(verb, getattr(of, field) if field else "")
    elif form in _QUIET:
        _QUIET[form](state, of)
    elif form == "explain_stmt":
        _explain(state, of, executes)
    else:
        state.catalog = True
        if form in _GLOBAL:
            verb, field = _GLOBAL[form]
            state.say(verb, getattr(of, field))
        elif form in _NEW:
            verb, field = _NEW[form]
            objects.named_new(state, verb, strings(getattr(of, field)))
        elif form in _NAMED:
            verb, field = _NAMED[form]
            objects.named(state, verb, strings(getattr(of, field)))
        elif form in _COMMANDS:
            _COMMANDS[form](state, of)
        else:
            state.unknown()


def _explain(state: Resolution, node: Any, executes: bool) -> None:
    state.say("EXPLAIN")
    form = node.query.WhichOneof("node")
    if form == "select_stmt" and not _selects_into(node.query.select_stmt):
        return
    if form in ("insert_stmt", "update_stmt", "delete_stmt", "merge_stmt") or not executes:
        return
    command(state, node.query, executes)


def _selects_into(node: Any) -> bool:
    at = node
    while at.HasField("larg"):
        at = at.larg
    return bool(at.HasField("into_clause"))


def _tables(state: Resolution, verb: str, nodes: Any) -> None:
    if not nodes:
        state.say(verb)
    for each in nodes:
        at = each.vacuum_relation.relation if each.HasField("vacuum_relation") else each.range_var
        state.say(verb, state.object(RELATION, relation_name(at)))


def _vacuum(state: Resolution, node: Any) -> None:
    _tables(state, "VACUUM" if node.is_vacuumcmd else "ANALYZE", node.rels)


def _lock(state: Resolution, node: Any) -> None:
    _tables(state, "LOCK TABLE", node.relations)


def _on_relation(state: Resolution, verb: str, node: Any) -> None:
    known = node.HasField("relation")
    state.say(verb, state.object(RELATION, relation_name(node.relation)) if known else getattr(node, "name", ""))


def _refresh(state: Resolution, node: Any) -> None:
    """Runs the query of a materialized view, which the server doesn't show again."""
    _on_relation(state, "REFRESH MATERIALIZED VIEW", node)
    state.touched.opaque = True


def _fetch(state: Resolution, node: Any) -> None:
    state.say("MOVE" if node.ismove else "FETCH", node.portalname)


def _discard(state: Resolution, node: Any) -> None:
    target = DiscardMode.Name(node.target).removeprefix("DISCARD_")
    state.say(f"DISCARD {target}")
    state.touched.settings = target == "ALL"
    state.catalog = target in ("ALL", "TEMP")


def _prepare(state: Resolution, node: Any) -> None:
    state.say("PREPARE", node.name)
    state.catalog = True  # what EXECUTE will find


def _deallocate(state: Resolution, node: Any) -> None:
    state.say("DEALLOCATE", node.name or "ALL")
    state.catalog = True


def _do(state: Resolution, node: Any) -> None:
    languages = [one.def_elem.arg.string.sval for one in node.args if one.def_elem.defname == "language"]
    state.say("DO", languages[0] if languages else "plpgsql")
    state.touched.opaque = True


def _call(state: Resolution, node: Any) -> None:
    for name in state.objects(ROUTINE, strings(node.funccall.funcname)):
        state.say("CALL", name)
        state.say("EXECUTE", name)
    expressions.look(state, node.funccall)  # the procedure itself, too
    state.touched.opaque = True


def _execute(state: Resolution, node: Any) -> None:
    """What was prepared is judged by its own text."""
    for each in node.params:
        expressions.look(state, each)


def _create_as(state: Resolution, node: Any) -> None:
    relations.create_as(state, node)
    if node.query.HasField("execute_stmt"):
        _execute(state, node.query.execute_stmt)


def _schema_element(state: Resolution, node: Any) -> None:
    command(state, node)


def _extension(state: Resolution, node: Any) -> None:
    """Its script makes objects, and may do anything else."""
    state.say("CREATE EXTENSION" if node.DESCRIPTOR.name == "CreateExtensionStmt" else "ALTER EXTENSION", node.extname)
    state.touched.opaque = True


def _extension_contents(state: Resolution, node: Any) -> None:
    state.say("ALTER EXTENSION", node.extname)


def _import(state: Resolution, node: Any) -> None:
    state.say("IMPORT FOREIGN SCHEMA", f"{node.server_name}.{node.remote_schema}")
    state.say("CREATE FOREIGN TABLE", f"{node.local_schema}.*")


def _system(state: Resolution, node: Any) -> None:
    state.say("ALTER SYSTEM", node.setstmt.name or "ALL")


def _move_all(state: Resolution, node: Any) -> None:
    state.say("ALTER TABLESPACE", node.orig_tablespacename)
    state.say(f"ALTER {words(node.objtype)}", "*.*")


def _create_trigger(state: Resolution, node: Any) -> None:
    objects.on_table(state, node, "CREATE TRIGGER", node.trigname, node.relation)


def _create_rule(state: Resolution, node: Any) -> None:
    objects.on_table(state, node, "CREATE RULE", node.rulename, node.relation)


def _create_policy(state: Resolution, node: Any) -> None:
    objects.on_table(state, node, "CREATE POLICY", node.policy_name, node.table)


def _alter_policy(state: Resolution, node: Any) -> None:
    objects.on_table(state, node, "ALTER POLICY", node.policy_name, node.table)


def _statistics(state: Resolution, node: Any) -> None:
    name = strings(node.defnames)
    state.say("CREATE STATISTICS", state.new(name) if name else "")


def _publication(state: Resolution, node: Any) -> None:
    verb = "CREATE" if node.DESCRIPTOR.name == "CreatePublicationStmt" else "ALTER"
    state.say(f"{verb} PUBLICATION", node.pubname)


def _transform(state: Resolution, node: Any) -> None:
    state.say("CREATE TRANSFORM", f"{type_name(state, node.type_name)}.{node.lang}")


def _alter_operator(state: Resolution, node: Any) -> None:
    objects.named(state, "ALTER OPERATOR", strings(node.opername.objname))


_QUIET: Final[dict[str, Command]] = {
    "copy_stmt": relations.copy,
    "truncate_stmt": relations.truncate,
    "vacuum_stmt": _vacuum,
    "lock_stmt": _lock,
    "cluster_stmt": lambda state, node: _on_relation(state, "CLUSTER", node),
    "reindex_stmt": lambda state, node: _on_relation(state, "REINDEX", node),
    "refresh_mat_view_stmt": _refresh,
    "fetch_stmt": _fetch,
    "discard_stmt": _discard,
    "prepare_stmt": _prepare,
    "deallocate_stmt": _deallocate,
    "do_stmt": _do,
    "call_stmt": _call,
    "execute_stmt": _execute,
    "alter_system_stmt": _system,
}
_COMMANDS: Final[dict[str, Command]] = {
    "drop_stmt": objects.drop,
    "rename_stmt": objects.rename,
    "alter_object_schema_stmt": objects.set_schema,
    "alter_object_depends_stmt": objects.depends,
    "comment_stmt": objects.comment,
    "sec_label_stmt": objects.label,
    "create_schema_stmt": lambda state, node: objects.create_schema(state, node, _schema_element),
    "create_function_stmt": objects.create_function,
    "alter_function_stmt": objects.alter_function,
    "define_stmt": objects.define,
    "composite_type_stmt": objects.new_type,
    "create_enum_stmt": objects.new_type,
    "create_range_stmt": objects.new_type,
    "create_domain_stmt": objects.new_type,
    "alter_enum_stmt": objects.alter_type,
    "alter_type_stmt": objects.alter_type,
    "alter_domain_stmt": objects.alter_type,
    "create_cast_stmt": objects.create_cast,
    "create_transform_stmt": _transform,
    "alter_operator_stmt": _alter_operator,
    "create_stats_stmt": _statistics,
    "create_trig_stmt": _create_trigger,
    "rule_stmt": _create_rule,
    "create_policy_stmt": _create_policy,
    "alter_policy_stmt": _alter_policy,
    "create_publication_stmt": _publication,
    "alter_publication_stmt": _publication,
    "create_extension_stmt": _extension,
    "alter_extension_stmt": _extension,
    "alter_extension_contents_stmt": _extension_contents,
    "import_foreign_schema_stmt": _import,
    "alter_table_move_all_stmt": _move_all,
    "create_stmt": relations.create_table,
    "create_foreign_table_stmt": relations.create_foreign_table,
    "create_table_as_stmt": _create_as,
    "select_stmt": relations.select_into,
    "view_stmt": relations.create_view,
    "index_stmt": relations.create_index,
    "create_seq_stmt": relations.create_sequence,
    "alter_seq_stmt": relations.alter_sequence,
    "alter_table_stmt": relations.alter_table,
    "grant_stmt": access.grant,
    "grant_role_stmt": access.grant_role,
    "alter_default_privileges_stmt": access.default_privileges,
    "create_role_stmt": access.create_role,
    "alter_role_stmt": access.alter_role,
    "alter_role_set_stmt": access.alter_role_set,
    "drop_role_stmt": access.drop_role,
    "drop_owned_stmt": access.drop_owned,
    "reassign_owned_stmt": access.reassign_owned,
    "alter_owner_stmt": access.owner,
    "create_user_mapping_stmt": lambda state, node: access.user_mapping(state, node, "CREATE"),
    "alter_user_mapping_stmt": lambda state, node: access.user_mapping(state, node, "ALTER"),
    "drop_user_mapping_stmt": lambda state, node: access.user_mapping(state, node, "DROP"),
}
