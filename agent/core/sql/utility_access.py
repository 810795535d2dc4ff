"""Roles, privileges and owners."""

from __future__ import annotations

from typing import Any, Final

from agent.core.sql.kinds import RELKINDS, object_name, words
from agent.core.sql.naming import quoted
from agent.core.sql.resolution import RELATION, Resolution, relation_name, role_name, shown, strings

_IN_SCHEMA: Final = 2
_DEFAULTS: Final = 3
_GRANTED: Final[dict[str, str]] = {"TABLE": "rpvmf", "SEQUENCE": "S"}
"""Kinds of relations that ALL … IN SCHEMA means."""
_SYSTEM: Final = frozenset(("pg_catalog", "information_schema", "pg_toast"))
"""Schemas of which no owner's objects can be dropped or given away together."""


def grant(state: Resolution, node: Any) -> None:
    """GRANT and REVOKE of privileges."""
    verb = "GRANT" if node.is_grant else "REVOKE"
    kind = words(node.objtype)
    if node.targtype == _DEFAULTS:
        state.say(verb, f"DEFAULT PRIVILEGES {kind}S")
        return
    if node.targtype == _IN_SCHEMA:
        for schema in strings(node.objects):
            state.say(verb, f"{schema}.*")
            for row in state.rows("schema_contents", quoted(schema)):
                if (row[3] or "-") in _GRANTED.get(kind, ""):
                    state.say(verb, shown(row))
        return
    for each in node.objects:
        for name in object_name(state, kind, each):
            state.say(verb, name)


def grant_role(state: Resolution, node: Any) -> None:
    """Membership in roles."""
    verb = "GRANT" if node.is_grant else "REVOKE"
    for role in node.granted_roles:
        state.say(verb, role.access_priv.priv_name)
        state.say(f"{verb} ROLE", role.access_priv.priv_name)


def default_privileges(state: Resolution, node: Any) -> None:
    schemas = [
        schema
        for option in node.options
        if option.def_elem.defname == "schemas"
        for schema in strings(option.def_elem.arg.list.items)
    ]
    verb = "GRANT" if node.action.is_grant else "REVOKE"
    kind = f"{words(node.action.objtype)}S"
    for schema in schemas:
        state.say(verb, f"{schema}.*")
    if not schemas:
        state.say(verb, "*.*")
    state.say("ALTER DEFAULT PRIVILEGES", kind)


def create_role(state: Resolution, node: Any) -> None:
    state.say("CREATE ROLE", node.role)
    for option in node.options:
        if option.def_elem.defname in ("addroleto", "rolemembers", "adminmembers"):
            of = option.def_elem.defname
            roles = [role_name(one.role_spec) for one in option.def_elem.arg.list.items]
            for role in roles if of == "addroleto" else [node.role]:
                state.say("GRANT", role)


def alter_role(state: Resolution, node: Any) -> None:
    role = role_name(node.role)
    state.say("ALTER ROLE", role)
    for option in node.options:
        if option.def_elem.defname == "rolemembers":  # ALTER GROUP … ADD USER
            state.say("GRANT" if node.action > 0 else "REVOKE", role)


def alter_role_set(state: Resolution, node: Any) -> None:
    state.say("ALTER ROLE", role_name(node.role) if node.HasField("role") else "ALL")
    if node.database:
        state.say("ALTER DATABASE", node.database)


def drop_role(state: Resolution, node: Any) -> None:
    for role in node.roles:
        state.say("DROP ROLE", role_name(role.role_spec))


def drop_owned(state: Resolution, node: Any) -> None:
    """Drops what roles own, and takes what they were granted."""
    for role in node.roles:
        name = role_name(role.role_spec)
        state.say("DROP OWNED", name)
        state.say("REVOKE", name)
        _of_owner(state, role.role_spec, "DROP {kind}")


def reassign_owned(state: Resolution, node: Any) -> None:
    for role in node.roles:
        state.say("REASSIGN OWNED", role_name(role.role_spec))
        _of_owner(state, role.role_spec, "ALTER TABLE OWNER")


def _of_owner(state: Resolution, role: Any, verb: str) -> None:
    if role.roletype != 1:
        state.unknown()  # who that is hangs on the moment
        return
    for row in state.rows("owned_by", quoted(role.rolename)):
        kind = RELKINDS.get(row[3] or "", "TABLE")
        if kind not in ("", "INDEX") and row[1] not in _SYSTEM:
            state.say(verb.format(kind=kind), shown(row))


def owner(state: Resolution, node: Any) -> None:
    """ALTER … OWNER TO; that of tables is one of the things that ALTER TABLE does."""
    kind = words(node.object_type)
    names = object_name(state, kind, node.object) if node.HasField("object") else []
    if node.HasField("relation"):
        names = [state.object(RELATION, relation_name(node.relation))]
    for name in names:
        state.say(f"ALTER {kind}", name)
        state.say(f"ALTER {kind} OWNER", name)


def user_mapping(state: Resolution, node: Any, verb: str) -> None:
    state.say(f"{verb} USER MAPPING", f"{role_name(node.user)}@{node.servername}")
