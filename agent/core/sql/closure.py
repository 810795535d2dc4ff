"""What code may come to, as it is asked of the catalog: whatever its source names, and what that names in turn.

In the short form of agent.core.sql.questions. Names are taken without their schemas, whatever is called so counts; what
a view, a default, a check, a policy or a routine with a parsed body calls is known by its dependencies.
"""

from __future__ import annotations

from typing import Final

_MAY: Final = (
    "EXISTS (SELECT FROM @pg_roles r WHERE (r.rolsuper OR r.rolname == ANY (CAST("
    "'{{pg_execute_server_program,pg_write_server_files}}' AS @name[])))"
    " AND @pg_has_role({who}, r.oid, 'MEMBER'))"
)
_FIRST_USER: Final = "CAST(16384 AS @oid)"
_C: Final = "CAST(13 AS @oid)"
_PART: Final = "@string_to_array(@split_part({asked}, @chr(31), {n}), @chr(30))"
_OIDS: Final = "CAST(" + _PART + " AS @oid[])"
_WORDS: Final = _PART.replace("{n}", "3")

STEP: Final = (
    "y.a, y.b, y.c, y.d, y.e, y.f FROM (SELECT 'routine', CAST(p.oid AS @text), @concat(l.lanname, ' ',"
    " CASE WHEN l.lanpltrusted THEN 't' END, CASE WHEN p.prosecdef AND "
    + _MAY.replace("{who}", "p.proowner")
    + " THEN 'p' END), CAST(n.nspname AS @text), CAST(p.proname AS @text), p.prosrc FROM @pg_proc p"
    " JOIN @pg_namespace n ON n.oid == p.pronamespace JOIN @pg_language l ON l.oid == p.prolang"
    f" WHERE p.oid >= {_FIRST_USER} AND (p.oid == ANY ({_OIDS.replace('{n}', '1')})"
    f" OR @lower(CAST(p.proname AS @text)) == ANY ({_WORDS}))"
    " UNION ALL SELECT DISTINCT CASE WHEN d.refclassid == CAST(1255 AS @oid) THEN 'calls' ELSE 'reads' END,"
    " CAST(d.refobjid AS @text), {null}, {null}, {null}, {null} FROM ("
    "SELECT CAST(1255 AS @oid), p.oid FROM @pg_proc p WHERE p.oid == ANY (" + _OIDS.replace("{n}", "1") + ")"
    f" OR (p.oid >= {_FIRST_USER} AND @lower(CAST(p.proname AS @text)) == ANY ({_WORDS}))"
    " UNION ALL (WITH w(o) AS (SELECT c.oid FROM @pg_class c WHERE c.oid == ANY (" + _OIDS.replace("{n}", "2") + ")"
    f" OR (c.oid >= {_FIRST_USER} AND c.relkind == ANY (CAST('{{r,v,m,f,p}}' AS @\"char\"[]))"
    f" AND (@lower(CAST(c.relname AS @text)) == ANY ({_WORDS}) OR @split_part({{asked}}, @chr(31), 4) == '*')))"
    " SELECT CAST(2618 AS @oid), k.oid FROM w JOIN @pg_rewrite k ON k.ev_class == w.o"
    " UNION ALL SELECT CAST(2604 AS @oid), k.oid FROM w JOIN @pg_attrdef k ON k.adrelid == w.o"
    " UNION ALL SELECT CAST(2606 AS @oid), k.oid FROM w JOIN @pg_constraint k ON k.conrelid == w.o"
    " UNION ALL SELECT CAST(3256 AS @oid), k.oid FROM w JOIN @pg_policy k ON k.polrelid == w.o"
    " UNION ALL SELECT CAST(2620 AS @oid), k.oid FROM w JOIN @pg_trigger k ON k.tgrelid == w.o)"
    ") x(c, o) JOIN @pg_depend d ON d.classid == x.c AND d.objid == x.o"
    f" WHERE d.refclassid == ANY (CAST('{{1255,1259}}' AS @oid[])) AND d.refobjid >= {_FIRST_USER}"
    ") y(a, b, c, d, e, f)"
)
"""For the routines, the tables and the words that are new (agent.core.sql.lasting.key): `routine` with its OID, its
language and flags (t trusted, p it brings along the right to programs and files), schema, name and source, of each that
was asked for or is called like a word; `calls` and `reads` with the OID of a routine or table that one of these hangs
on."""

POWERS: Final = (
    "y.a, y.b, {null}, {null}, {null}, {null} FROM (SELECT 'may', CASE WHEN "
    + _MAY.replace("{who}", "session_user")
    + " OR EXISTS (SELECT FROM @pg_stat_get_activity(@pg_backend_pid()) a WHERE "
    + _MAY.replace("{who}", "a.usesysid")
    + ") THEN 'programs' END"
    " UNION ALL SELECT 'joins', CAST(k.oid AS @text) FROM @pg_operator k WHERE k.oid >= "
    + _FIRST_USER
    + " AND k.oprname == '||' AND k.oprleft == CAST(25 AS @oid)"
    " UNION ALL SELECT 'calls', CAST(p.oid AS @text) FROM @pg_operator k JOIN @pg_proc p ON p.oid =="
    f" CAST(k.oprcode AS @oid) WHERE k.oid >= {_FIRST_USER} AND (p.prolang != {_C} OR p.provolatile != 'i')"
    " UNION ALL SELECT 'calls', CAST(p.oid AS @text) FROM @pg_cast k JOIN @pg_proc p ON p.oid == k.castfunc"
    f" WHERE k.oid >= {_FIRST_USER} AND (p.prolang != {_C} OR p.provolatile != 'i')) y(a, b)"
)
"""Whatever the name: `may` with `programs` if the session's user has, or may take, the right to start programs or
to write files; `joins` if somebody has made an operator || for texts; `calls` with each routine that an operator or a
cast calls."""

_HARMLESS: Final = (
    "hstore,citext,pg_trgm,btree_gin,btree_gist,intarray,ltree,cube,earthdistance,fuzzystrmatch,pgcrypto,unaccent,"
    "uuid-ossp,tablefunc,isn,seg,lo,tcn,pg_stat_statements,dict_int,dict_xsyn,bloom,plpgsql,tsm_system_rows,"
    "tsm_system_time,amcheck,pageinspect,pgstattuple,pgrowlocks,pg_freespacemap,pg_visibility,sslinfo,xml2,vector,"
    "autoinc,insert_username,moddatetime,hstore_plperl,jsonb_plperl,ltree_plpython3u,postgis,postgis_topology"
)
OUTSIDE: Final = (
    "CAST(n.nspname AS @text), CAST(p.proname AS @text), {null}, {null}, {null}, {null} FROM @pg_proc p"
    " JOIN @pg_namespace n ON n.oid == p.pronamespace WHERE p.prolang == " + _C + " AND p.oid >= CAST(16384 AS @oid)"
    " AND p.provolatile != 'i' AND p.prorettype != ALL (CAST('{2279,3838,2280,3115,325,269,3310,2281}' AS @oid[]))"
    " AND NOT EXISTS (SELECT FROM @pg_depend d JOIN @pg_extension e ON e.oid == d.refobjid"
    " WHERE d.classid == CAST(1255 AS @oid) AND d.objid == p.oid AND d.deptype == 'e'"
    " AND d.refclassid == CAST(3079 AS @oid) AND e.extname == ANY (CAST('{" + _HARMLESS + "}' AS @name[])))"
)
"""Of the database, whatever the name: routines in C that may do what lasts; schema and name. Those of extensions that
are known to compute, or to run only statements that are seen, are none."""
