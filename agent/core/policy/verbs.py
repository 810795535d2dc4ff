"""The verbs that operations have, and where a verb ends and its object begins.

For PostgreSQL they are the command tags of its utility statements (src/include/tcop/cmdtaglist.h of PostgreSQL 18) and
those that hoopctl adds or keeps shorter.
"""

from __future__ import annotations

from typing import Final

from schemas.operation import Operation

UNKNOWN: Final = "UNKNOWN"
"""The verb of what can't be determined."""

_OBJECTS: Final = (
    "ACCESS METHOD,AGGREGATE,CAST,COLLATION,CONSTRAINT,CONVERSION,DATABASE,DOMAIN,EVENT TRIGGER,EXTENSION,"
    "FOREIGN DATA WRAPPER,FOREIGN TABLE,FUNCTION,INDEX,LANGUAGE,MATERIALIZED VIEW,OPERATOR,OPERATOR CLASS,"
    "OPERATOR FAMILY,POLICY,PROCEDURE,PUBLICATION,ROLE,ROUTINE,RULE,SCHEMA,SEQUENCE,SERVER,STATISTICS,SUBSCRIPTION,"
    "TABLE,TABLESPACE,TEXT SEARCH CONFIGURATION,TEXT SEARCH DICTIONARY,TEXT SEARCH PARSER,TEXT SEARCH TEMPLATE,"
    "TRANSFORM,TRIGGER,TYPE,USER MAPPING,VIEW"
).split(",")

_OTHERS: Final = (
    "ALTER DEFAULT PRIVILEGES,ALTER LARGE OBJECT,ALTER SYSTEM,ALTER TABLE OWNER,ANALYZE,BEGIN,CALL,CHECKPOINT,CLOSE,"
    "CLOSE CURSOR,CLOSE CURSOR ALL,CLUSTER,COMMENT,COMMIT,COMMIT PREPARED,COPY,COPY FROM,CREATE TABLE AS,DEALLOCATE,"
    "DEALLOCATE ALL,DECLARE CURSOR,DELETE,DISCARD,DISCARD ALL,DISCARD PLANS,DISCARD SEQUENCES,DISCARD TEMP,DO,"
    "DROP COLUMN,DROP OWNED,EXECUTE,EXPLAIN,FETCH,FOREIGN,GRANT,GRANT ROLE,IMPORT FOREIGN SCHEMA,INSERT,LISTEN,LOAD,"
    "LOCK TABLE,MOVE,NOTIFY,PREPARE,PREPARE TRANSACTION,REASSIGN OWNED,REFRESH MATERIALIZED VIEW,REINDEX,RELEASE,"
    "RESET,REVOKE,REVOKE ROLE,ROLLBACK,ROLLBACK PREPARED,SAVEPOINT,SECURITY LABEL,SELECT,SELECT INTO,SET,"
    "SET CONSTRAINTS,SHOW,START TRANSACTION,TRUNCATE,UNLISTEN,UPDATE,VACUUM"
).split(",")

PG: Final = frozenset(
    [f"{verb} {what}" for verb in ("ALTER", "CREATE", "DROP") for what in _OBJECTS] + [*_OTHERS, UNKNOWN]
)
"""The verbs of resources of type pg."""

ELSEWHERE: Final = frozenset("CONNECT,DELETE,EXEC,GET,HEAD,OPTIONS,PATCH,POST,PUT,SHELL,TOOL,TRACE,UNKNOWN".split(","))
"""The verbs of other resources, as far as they are known here: any word may be one."""

RENAMED: Final[dict[str, str]] = {
    "ALTER GROUP": "ALTER ROLE",
    "ALTER USER": "ALTER ROLE",
    "CREATE GROUP": "CREATE ROLE",
    "CREATE USER": "CREATE ROLE",
    "DROP GROUP": "DROP ROLE",
    "DROP USER": "DROP ROLE",
    "LOCK": "LOCK TABLE",
    "TRUNCATE TABLE": "TRUNCATE",
}
"""What is written in SQL, and the verb that it is here."""

NAMING: Final = frozenset(
    [f"{verb} {what}" for verb in ("ALTER", "CREATE", "DROP") for what in _OBJECTS]
    + ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"]
)
"""Verbs whose operations all have an object."""

_VERBS: Final = PG | ELSEWHERE
_LONGEST: Final = max(verb.count(" ") + 1 for verb in _VERBS)


def divided(written: str) -> tuple[str, str]:
    """The verb, in upper case, and the object of what is written as "VERB OBJECT", globs included.

    A known verb ends where the longest one ends; any other before the first word that looks like a name, else before
    the last word.
    """
    words = written.split(" ")
    for count in range(min(_LONGEST, len(words)), 0, -1):
        verb = " ".join(words[:count]).upper()
        if verb in _VERBS:
            return verb, " ".join(words[count:])
    end = len(words) - 1
    for place in range(1, len(words)):
        if "." in words[place] or "/" in words[place] or '"' in words[place]:
            end = place
            break
    if end == 0:
        return written.upper(), ""
    return " ".join(words[:end]).upper(), " ".join(words[end:])


def normal(pattern: str) -> str:
    """The glob as it is compared: its verb in upper case, its object as it is."""
    verb, name = divided(pattern)
    return f"{verb} {name}" if name else verb


def operation(written: str, where: bool = True) -> Operation:
    """The operation that is written as "VERB OBJECT"; `where` is kept for what it can be true and false for."""
    verb, name = divided(written)
    return Operation(verb, name, verb != "TRUNCATE" and (where or verb not in ("UPDATE", "DELETE")))
