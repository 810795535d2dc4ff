"""What is asked of the catalog: one SELECT for whatever is missing.

A client may put objects of its own before the system's (temporary tables, operators, a search_path), so every name here
says its schema, operators and types included; no syntax is used that looks an operator up by name (IN, BETWEEN, USING,
CASE x WHEN, NULLIF). It runs on PostgreSQL 13 to 18, as any role. An answer has eight columns of text.
"""

from __future__ import annotations

import re
from typing import Final

from agent.core.sql import closure
from agent.core.sql.naming import literal, parts

CALLED: Final = ":(?:op|neg|hash)?funcid ([0-9]+)"
"""Finds the routines that a stored expression calls."""


def _sql(text: str) -> str:
    """The short form that is easy to read, as the server gets it: every name with its schema."""
    for short, full in (
        (" == ", " OPERATOR(pg_catalog.=) "),
        (" != ", " OPERATOR(pg_catalog.<>) "),
        (" || ", " OPERATOR(pg_catalog.||) "),
        (" & ", " OPERATOR(pg_catalog.&) "),
        (" >= ", " OPERATOR(pg_catalog.>=) "),
    ):
        text = text.replace(short, full)
    return text.replace("@", "pg_catalog.")


_NULL: Final = "CAST(NULL AS @text)"
NOTHING: Final = _sql("SELECT " + ", ".join([_NULL] * 8) + " WHERE false")
"""What is asked when nothing can be."""

_INHERITED: Final = (
    "(WITH RECURSIVE w(o) AS (SELECT i.{to} FROM @pg_inherits i WHERE i.{of} == c.oid"
    " UNION SELECT i.{to} FROM w JOIN @pg_inherits i ON i.{of} == w.o)"
    " SELECT @string_agg(CAST(w.o AS @text), ',') FROM w)"
)
_TYPES: Final = (  # a type, and whatever a value of it consists of
    "RECURSIVE w(s, o) AS (SELECT q.s, q.o FROM ({seed}) q(s, o)"
    " UNION SELECT w.s, x.o FROM w, LATERAL (SELECT t.typbasetype FROM @pg_type t WHERE t.oid == w.o"
    " UNION ALL SELECT t.typelem FROM @pg_type t WHERE t.oid == w.o"
    " UNION ALL SELECT r.rngsubtype FROM @pg_range r WHERE r.rngtypid == w.o"
    " UNION ALL SELECT a.atttypid FROM @pg_type t JOIN @pg_attribute a ON a.attrelid == t.typrelid"
    " WHERE t.oid == w.o AND t.typtype == 'c' AND a.attnum >= 1 AND NOT a.attisdropped) x(o)"
    " WHERE x.o >= CAST(16384 AS @oid))"
)
_MADE: Final = "p.oid >= CAST(16384 AS @oid) AND (p.prolang != CAST(13 AS @oid) OR p.provolatile != 'i')"
"""Of routines p: those of users that may do more than compute."""
_PLAIN: Final = "'{moddatetime,autoinc,insert_username,triggered_change_notification,lo_manage}'"
"""The symbols of trigger functions in C that write nothing but the row and large objects."""
_RELATION: Final = (
    "SELECT '=relation', CAST(c.oid AS @text), CAST(n.nspname AS @text), CAST(c.relname AS @text),"
    " @concat(c.relkind, CASE WHEN c.relrowsecurity THEN 's' END, CASE WHEN EXISTS (SELECT FROM @pg_rewrite w"
    " WHERE w.ev_class == c.oid AND w.rulename != '_RETURN') THEN 'r' END,"
    " CASE WHEN EXISTS (SELECT FROM @pg_index i, LATERAL @unnest(i.indclass) x(o) WHERE i.indrelid == c.oid"
    " AND x.o >= CAST(16384 AS @oid)) OR EXISTS (SELECT FROM @pg_partitioned_table i, LATERAL @unnest(i.partclass) x(o)"
    " WHERE i.partrelid == c.oid AND x.o >= CAST(16384 AS @oid)) THEN 'o' END),"
    " CAST(@pg_get_userbyid(c.relowner) AS @text), "
    + _INHERITED.format(to="inhparent", of="inhrelid")
    + ", "
    + _INHERITED.format(to="inhrelid", of="inhparent")
    + " FROM @pg_class c JOIN @pg_namespace n ON n.oid == c.relnamespace WHERE c.oid == ANY ({oids})"
    " UNION ALL SELECT '=trigger', CAST(t.tgrelid AS @text), CAST(t.tgtype AS @text), CAST(t.tgfoid AS @text),"
    " (SELECT @string_agg(DISTINCT m.f[1], ',') FROM @regexp_matches(CAST(t.tgqual AS @text), '{called}', 'g') m(f))"
    + f", {_NULL}"
    * 3
    + " FROM @pg_trigger t WHERE t.tgrelid == ANY ({oids}) AND NOT t.tgisinternal AND t.tgenabled != 'D'"
    " UNION ALL SELECT '=key', CAST(t.tgrelid AS @text), CAST(t.tgconstrrelid AS @text), CAST(t.tgfoid AS @text),"
    " @array_to_string(k.confkey, ',')"
    + f", {_NULL}"
    * 3
    + " FROM @pg_trigger t LEFT JOIN @pg_constraint k ON k.oid == t.tgconstraint WHERE t.tgrelid == ANY ({oids})"
    " AND t.tgisinternal AND t.tgfoid == ANY (CAST('{{1646,1647,1650,1651,1652,1653}}' AS @oid[]))"
    " UNION ALL SELECT '=code', CAST(x.o AS @text), @string_agg(DISTINCT m.f[1], ',')"
    + f", {_NULL}"
    * 5
    + " FROM (SELECT d.adrelid, CAST(d.adbin AS @text) FROM @pg_attrdef d WHERE d.adrelid == ANY ({oids})"
    " UNION ALL SELECT k.conrelid, CAST(k.conbin AS @text) FROM @pg_constraint k WHERE k.conrelid == ANY ({oids})"
    " UNION ALL SELECT p.polrelid, @concat(p.polqual, ' ', p.polwithcheck) FROM @pg_policy p"
    " WHERE p.polrelid == ANY ({oids})"
    " UNION ALL SELECT i.indrelid, @concat(i.indexprs, ' ', i.indpred) FROM @pg_index i"
    " WHERE i.indrelid == ANY ({oids})"
    " UNION ALL SELECT p.partrelid, CAST(p.partexprs AS @text) FROM @pg_partitioned_table p"
    " WHERE p.partrelid == ANY ({oids})"
    " UNION ALL (WITH "
    + _TYPES.format(
        seed="SELECT a.attrelid, a.atttypid FROM @pg_attribute a WHERE a.attrelid == ANY ({oids})"
        " AND a.attnum >= 1 AND a.atttypid >= CAST(16384 AS @oid)"
    )
    + " SELECT w.s, CAST(k.conbin AS @text) FROM w JOIN @pg_constraint k ON k.contypid == w.o)"
    ") x(o, t), LATERAL @regexp_matches(x.t, '{called}', 'g') m(f) GROUP BY x.o"
)
_ROUTINE: Final = (
    "SELECT '=routine', CAST(p.oid AS @text), CAST(n.nspname AS @text), CAST(p.proname AS @text),"
    " CAST(l.lanname AS @text), @concat(p.prokind, p.provolatile, CASE WHEN p.prosecdef THEN 'd' END,"
    f" CASE WHEN p.prolang == CAST(13 AS @oid) AND p.prosrc == ANY (CAST({_PLAIN} AS @text[])) THEN 'k' END),"
    " @concat_ws(@chr(10), @array_to_string(p.proconfig, @chr(10)),"
    " CASE WHEN @textregexeq(p.prosrc, 'set_config|debug_print|client_min') AND p.prolang == CAST(14 AS @oid)"
    " THEN 'debug_print_rewritten=' END), @concat_ws(',', (SELECT @concat_ws(',', CAST(a.aggtransfn AS @oid),"
    " CAST(a.aggfinalfn AS @oid), CAST(a.aggcombinefn AS @oid), CAST(a.aggserialfn AS @oid),"
    " CAST(a.aggdeserialfn AS @oid), CAST(a.aggmtransfn AS @oid), CAST(a.aggminvtransfn AS @oid),"
    " CAST(a.aggmfinalfn AS @oid)) FROM @pg_aggregate a WHERE CAST(a.aggfnoid AS @oid) == p.oid"
    " AND p.oid >= CAST(16384 AS @oid)), (SELECT @string_agg(DISTINCT m.f[1], ',') FROM"
    " @regexp_matches(CAST(p.proargdefaults AS @text), '{called}', 'g') m(f)"
    " WHERE p.oid >= CAST(16384 AS @oid)))"
    " FROM @pg_proc p JOIN @pg_namespace n ON n.oid == p.pronamespace JOIN @pg_language l ON l.oid == p.prolang"
    " WHERE p.oid == ANY ({oids})"
)
_DEPENDENTS: Final = (
    " FROM (WITH RECURSIVE w(c, o, s) AS ({seed} UNION SELECT x.c, x.o, x.s FROM w, LATERAL ("
    "SELECT d.classid, d.objid, d.objsubid FROM @pg_depend d WHERE d.refclassid == w.c AND d.refobjid == w.o"
    " AND d.deptype != 'p' AND (w.s == 0 OR d.refobjsubid == w.s)"
    " UNION ALL SELECT d.refclassid, d.refobjid, d.refobjsubid FROM @pg_depend d WHERE d.classid == w.c"
    " AND d.objid == w.o AND d.deptype == 'i') x(c, o, s)) SELECT DISTINCT w.c, w.o, w.s FROM w) y(c, o, s),"
    " LATERAL @pg_identify_object(y.c, y.o, y.s) f"
)
_IDENTIFIED: Final = (
    "CAST(f.type AS @text), CAST(y.o AS @text), CAST(f.schema AS @text), CAST(f.name AS @text), f.identity, {null}"
)

KINDS: Final[dict[str, str]] = {
    # relation, routine, type: oid, schema, name, kind, and more
    "relation": "CAST(c.oid AS @text), CAST(n.nspname AS @text), CAST(c.relname AS @text), CAST(c.relkind AS @text),"
    " CAST(@pg_get_userbyid(c.relowner) AS @text), CAST(c.relpersistence AS @text)"
    " FROM @pg_class c JOIN @pg_namespace n ON n.oid == c.relnamespace"
    " WHERE c.relname == {name} AND {visible_table}",
    "routine": "CAST(p.oid AS @text), CAST(n.nspname AS @text), CAST(p.proname AS @text), CAST(p.prokind AS @text),"
    " CAST(l.lanname AS @text), CAST(@pg_get_userbyid(p.proowner) AS @text)"
    " FROM @pg_proc p JOIN @pg_namespace n ON n.oid == p.pronamespace JOIN @pg_language l ON l.oid == p.prolang"
    " WHERE p.proname == {name} AND {visible_function}",
    "type": "CAST(t.oid AS @text), CAST(n.nspname AS @text), CAST(t.typname AS @text), CAST(t.typtype AS @text),"
    " CAST(@pg_get_userbyid(t.typowner) AS @text), CAST(t.typrelid AS @text)"
    " FROM @pg_type t JOIN @pg_namespace n ON n.oid == t.typnamespace"
    " WHERE t.typname == {name} AND {visible_type}",
    "domain": "CAST(t.oid AS @text), CAST(n.nspname AS @text), CAST(t.typname AS @text),"
    " CAST(t.typbasetype AS @text), CAST(@pg_get_userbyid(t.typowner) AS @text), {null}"
    " FROM @pg_type t JOIN @pg_namespace n ON n.oid == t.typnamespace"
    " WHERE t.typtype == 'd' AND t.typname == {name} AND {visible_type}",
    # schema, role, extension: oid, name, and more
    "schema": "CAST(n.oid AS @text), CAST(n.nspname AS @text), CAST(@pg_get_userbyid(n.nspowner) AS @text),"
    " {null}, {null}, {null} FROM @pg_namespace n WHERE {is_schema}",
    "role": "CAST(r.oid AS @text), CAST(r.rolname AS @text), CAST(r.rolsuper AS @text),"
    " CAST(r.rolcanlogin AS @text), {null}, {null} FROM @pg_roles r WHERE r.rolname == {name}",
    "extension": "CAST(e.oid AS @text), CAST(e.extname AS @text), CAST(n.nspname AS @text), {null}, {null}, {null}"
    " FROM @pg_extension e JOIN @pg_namespace n ON n.oid == e.extnamespace WHERE e.extname == {name}",
    # prepared: the text of the statement, and whether it was made by PREPARE
    "prepared": "s.statement, CAST(s.from_sql AS @text), {null}, {null}, {null}, {null}"
    " FROM @pg_prepared_statements s WHERE s.name == {name} OR s.name == {asked}",
    # whatever the name: the schema that a new object goes to
    "current_schema": "CAST(@current_schema() AS @text), {null}, {null}, {null}, {null}, {null}",
    # of the database, whatever the name: an index that calls a routine which isn't the server's own
    "index_code": "CAST(i.indexrelid AS @text), {null}, {null}, {null}, {null}, {null} FROM @pg_index i"
    " WHERE @textregexeq(@concat(i.indexprs, i.indpred), 'funcid [1-9][0-9]{4}') LIMIT 1",
    # of the database, whatever the name: an event trigger's name and function
    "event_triggers": "CAST(g.evtname AS @text), CAST(g.evtfoid AS @text), {null}, {null}, {null}, {null}"
    " FROM @pg_event_trigger g WHERE g.evtenabled != 'D'",
    # of a table: name, the function's oid, schema and name, enabled
    "trigger": "CAST(g.tgname AS @text), CAST(g.tgfoid AS @text), CAST(k.nspname AS @text), CAST(p.proname AS @text),"
    " CAST(g.tgenabled AS @text), {null} FROM @pg_class c JOIN @pg_namespace n ON n.oid == c.relnamespace"
    " JOIN @pg_trigger g ON g.tgrelid == c.oid JOIN @pg_proc p ON p.oid == g.tgfoid"
    " JOIN @pg_namespace k ON k.oid == p.pronamespace"
    " WHERE NOT g.tgisinternal AND c.relname == {name} AND {visible_table}",
    "rule": "CAST(w.rulename AS @text), CAST(w.ev_type AS @text), CAST(w.ev_enabled AS @text), {null}, {null}, {null}"
    " FROM @pg_class c JOIN @pg_namespace n ON n.oid == c.relnamespace JOIN @pg_rewrite w ON w.ev_class == c.oid"
    " WHERE c.relname == {name} AND {visible_table}",
    "policy": "CAST(w.polname AS @text), CAST(w.polcmd AS @text), {null}, {null}, {null}, {null}"
    " FROM @pg_class c JOIN @pg_namespace n ON n.oid == c.relnamespace JOIN @pg_policy w ON w.polrelid == c.oid"
    " WHERE c.relname == {name} AND {visible_table}",
    # relations of a schema, or that a role owns: oid, schema, name, kind
    "schema_contents": "CAST(c.oid AS @text), CAST(n.nspname AS @text), CAST(c.relname AS @text),"
    " CAST(c.relkind AS @text), CAST(@pg_get_userbyid(c.relowner) AS @text), {null}"
    " FROM @pg_class c JOIN @pg_namespace n ON n.oid == c.relnamespace WHERE {is_schema}",
    "owned_by": "CAST(c.oid AS @text), CAST(n.nspname AS @text), CAST(c.relname AS @text),"
    " CAST(c.relkind AS @text), CAST(r.rolname AS @text), {null}"
    " FROM @pg_class c JOIN @pg_namespace n ON n.oid == c.relnamespace JOIN @pg_roles r ON r.oid == c.relowner"
    " WHERE r.rolname == {name}",
    # what goes with it when it is dropped with CASCADE, itself among it: what it is (pg_identify_object's words),
    # oid, schema, name, identity
    "cascade_relation": _IDENTIFIED
    + _DEPENDENTS.format(
        seed="SELECT CAST(1259 AS @oid), c.oid, 0 FROM @pg_class c JOIN @pg_namespace n ON n.oid == c.relnamespace"
        " WHERE c.relname == {name} AND {visible_table}"
    ),
    "cascade_schema": _IDENTIFIED
    + _DEPENDENTS.format(seed="SELECT CAST(2615 AS @oid), n.oid, 0 FROM @pg_namespace n WHERE {is_schema}"),
    "cascade_type": _IDENTIFIED
    + _DEPENDENTS.format(
        seed="SELECT CAST(1247 AS @oid), t.oid, 0 FROM @pg_type t JOIN @pg_namespace n ON n.oid == t.typnamespace"
        " WHERE t.typname == {name} AND {visible_type}"
    ),
    "cascade_routine": _IDENTIFIED
    + _DEPENDENTS.format(
        seed="SELECT CAST(1255 AS @oid), p.oid, 0 FROM @pg_proc p JOIN @pg_namespace n ON n.oid == p.pronamespace"
        " WHERE p.proname == {name} AND {visible_function}"
    ),
    "cascade_extension": _IDENTIFIED
    + _DEPENDENTS.format(seed="SELECT CAST(3079 AS @oid), e.oid, 0 FROM @pg_extension e WHERE e.extname == {name}"),
    # routines of users that compare: those in the families of an operator, by its OID as digits; and those that stand
    # behind a type's own order or hash, whatever the name
    "operator_code": "CAST(p.oid AS @text), {null}, {null}, {null}, {null}, {null} FROM (SELECT CAST(f.amproc AS @oid)"
    " FROM @pg_amop a JOIN @pg_amproc f ON f.amprocfamily == a.amopfamily WHERE a.amopopr == CAST({name} AS @oid)"
    " UNION SELECT CAST(o.oprcode AS @oid) FROM @pg_amop a JOIN @pg_amop b ON b.amopfamily == a.amopfamily"
    " JOIN @pg_operator o ON o.oid == b.amopopr WHERE a.amopopr == CAST({name} AS @oid)) x(o)"
    f" JOIN @pg_proc p ON p.oid == x.o WHERE {_MADE}",
    "order_code": "CAST(x.o AS @text), {null}, {null}, {null}, {null}, {null} FROM (SELECT DISTINCT p.oid"
    " FROM @pg_opclass k JOIN @pg_amproc f ON f.amprocfamily == k.opcfamily"
    f" JOIN @pg_proc p ON p.oid == CAST(f.amproc AS @oid) WHERE k.opcdefault AND {_MADE}) x(o)",
    # by the OID of a table: what compares the values of its indexes and its partition key, if users have made that
    "index_code_of": "CAST(p.oid AS @text), {null}, {null}, {null}, {null}, {null}"
    " FROM (SELECT i.indclass FROM @pg_index i WHERE i.indrelid == CAST({name} AS @oid) UNION ALL"
    " SELECT i.partclass FROM @pg_partitioned_table i WHERE i.partrelid == CAST({name} AS @oid)) x(k)"
    " JOIN @pg_opclass k ON k.oid == ANY (x.k) JOIN @pg_amproc f ON f.amprocfamily == k.opcfamily"
    f" JOIN @pg_proc p ON p.oid == CAST(f.amproc AS @oid) WHERE {_MADE}",
    # by the OID of a partitioned table: the columns that its partitions go by, and those below it
    "moves": "CAST(b.attnum AS @text), {null}, {null}, {null}, {null}, {null}"
    " FROM @pg_partition_tree(CAST(CAST({name} AS @oid) AS @regclass)) t"
    " JOIN @pg_partitioned_table k ON k.partrelid == CAST(t.relid AS @oid)"
    " JOIN @pg_attribute a ON a.attrelid == k.partrelid AND (a.attnum == ANY (k.partattrs)"
    " OR @textregexeq(CAST(k.partexprs AS @text), @concat(':varattno ', a.attnum, ' ')))"
    " JOIN @pg_attribute b ON b.attrelid == CAST({name} AS @oid) AND b.attname == a.attname",
    # what code may come to (closure.py)
    "reached": closure.STEP,
    "powers": closure.POWERS,
    "outside": closure.OUTSIDE,
    # by the OID of a relation, as digits: its columns (number, name, the expression of a generated one), and the tree
    # that defines a view or a materialized view, views within it not expanded
    "columns": "CAST(a.attnum AS @text), CAST(a.attname AS @text),"
    " CASE WHEN a.attgenerated != '' THEN CAST(d.adbin AS @text) END, {null}, {null}, {null}"
    " FROM @pg_attribute a LEFT JOIN @pg_attrdef d ON d.adrelid == a.attrelid"
    " AND d.adnum == a.attnum WHERE a.attrelid == CAST({name} AS @oid) AND a.attnum >= 1 AND NOT a.attisdropped",
    "definition": "CAST(w.ev_action AS @text), {null}, {null}, {null}, {null}, {null} FROM @pg_rewrite w"
    " WHERE w.ev_class == CAST({name} AS @oid) AND w.ev_type == '1'",
    # by the OID of a type, as digits: the routines that making a value of it may call (domains' checks)
    "type_code": "@string_agg(DISTINCT m.f[1], ','), {null}, {null}, {null}, {null}, {null} FROM (WITH "
    + _TYPES.format(seed="SELECT CAST({name} AS @oid), CAST({name} AS @oid)")
    + " SELECT CAST(k.conbin AS @text) FROM w JOIN @pg_constraint k ON k.contypid == w.o) x(t),"
    " LATERAL @regexp_matches(x.t, '{called}', 'g') m(f)",
    # routines of users that turn values into JSON, called from to_json and the like: their OIDs; asked with any name
    "json_casts": "CAST(k.castfunc AS @text), {null}, {null}, {null}, {null}, {null} FROM @pg_cast k"
    " WHERE k.oid >= CAST(16384 AS @oid) AND k.castfunc >= CAST(16384 AS @oid)"
    " AND k.casttarget == CAST(114 AS @oid)",
}
"""By kind of name: the columns of the answer behind `kind` and the name as it was asked, and where they come from."""

_PLACES: Final = re.compile("[\1-\3]")
_OF_OIDS: Final = frozenset(("type_code", "columns", "definition", "operator_code", "moves", "index_code_of"))
_AS_IT_IS: Final = frozenset(
    "type_code prepared json_casts current_schema event_triggers index_code reached powers outside order_code".split()
)
"""Kinds whose names need not be identifiers: prepared statements of the protocol, OIDs."""
_VISIBLE: Final = {
    "visible_table": "@pg_table_is_visible(c.oid)",
    "visible_function": "@pg_function_is_visible(p.oid)",
    "visible_type": "@pg_type_is_visible(t.oid)",
}


def _fill(text: str, **values: str) -> str:
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text


def _oids(numbers: frozenset[int]) -> str:
    return "CAST('{" + ",".join(str(number) for number in sorted(numbers)) + "}' AS @oid[])"


def about_relations(oids: frozenset[int]) -> str:
    return _sql(_fill(_RELATION.replace("{{", "{").replace("}}", "}"), oids=_oids(oids), called=CALLED))


def about_routines(oids: frozenset[int]) -> str:
    return _sql(_fill(_ROUTINE, oids=_oids(oids), called=CALLED))


def askable(kind: str, name: str) -> bool:
    """Whether it can be asked for; what can't is nothing that the catalog has."""
    if kind not in KINDS or "\0" in name:
        return False
    if kind in _OF_OIDS:
        return name.isascii() and name.isdigit() and len(name) <= 10 and int(name) < 1 << 32
    if kind in _AS_IT_IS:
        return True
    found = parts(name)
    return found is not None and len(found) <= 3


def about_name(kind: str, name: str) -> str:
    """The rows that are known of a name, for which `askable` holds."""
    found = [name] if kind in _OF_OIDS else (parts(name) or [name])
    body = _fill(KINDS[kind], null=_NULL, called=CALLED)
    if len(found) == 1:
        for key, value in _VISIBLE.items():
            body = body.replace("{" + key + "}", value)
    else:
        schema = "n.oid == @pg_my_temp_schema()" if found[-2] == "pg_temp" else "n.nspname == \1"
        for key in _VISIBLE:
            body = body.replace("{" + key + "}", schema)
    is_schema = "n.oid == @pg_my_temp_schema()" if found[-1] == "pg_temp" else "n.nspname == {name}"
    text = _sql(
        f"SELECT '{kind}', \2, "
        + body.replace("{is_schema}", is_schema).replace("{name}", "\3").replace("{asked}", "\2")
    )
    values = {"\1": found[-2] if len(found) > 1 else "", "\2": name, "\3": found[-1]}
    return _PLACES.sub(lambda place: literal(values[place.group()]), text)
