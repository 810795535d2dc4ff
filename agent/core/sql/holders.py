"""Routines that put out more than what is made of their arguments: what they read, or what some place holds.

Code that runs statements is opaque: each of them shows when it runs. What neither a tree nor a trace tells is unknown:
code in C that reads, files, large objects, other sessions' statements, another cursor's rows.
"""

from __future__ import annotations

from typing import Final

from agent.core.sql.routines import CODE, FIRST_USER, JSON, MORE, UNCLEAR, Routine, effect

NOTHING: Final = 0
OPAQUE: Final = 1
UNKNOWN: Final = 2
SETTINGS: Final = 3
"""It reads settings."""
CASTS: Final = 4
"""It turns values into JSON, by casts that users may have made."""

SETTING_COLUMN: Final = "pg_catalog.pg_settings.setting"
"""What settings hold, for SHOW and current_setting too."""

_UNKNOWN: Final = frozenset(
    (
        "lo_get loread pg_read_file pg_read_file_old pg_read_binary_file pg_logical_slot_get_changes "
        "pg_logical_slot_peek_changes pg_logical_slot_get_binary_changes pg_logical_slot_peek_binary_changes "
        "pg_stat_get_backend_activity cursor_to_xml"
    ).split()
)
_TEXTS: Final[dict[str, tuple[int, ...]]] = {
    "pg_stat_get_activity": (6,),
    "pg_prepared_statement": (2,),
    "pg_cursor": (2,),
    "pg_stat_statements": (4, 5),
}
"""Functions that return the text of statements, other sessions' among them, and in which columns: of the last, an
extension's, in one or the other."""
_COMPUTES: Final = frozenset(
    (
        "uuid_generate_v1 uuid_generate_v1mc uuid_generate_v3 uuid_generate_v4 uuid_generate_v5 uuid_nil uuid_ns_dns "
        "uuid_ns_url uuid_ns_oid uuid_ns_x500 unaccent gen_random_uuid gen_random_bytes gen_salt armor "
        "similarity_op word_similarity_op strict_word_similarity_op show_limit"
    ).split()
)
"""Functions in C of extensions that come with PostgreSQL, not immutable, whose result is made of their arguments. Only
a superuser can make others of these names."""


_PLACES: Final = {
    "set_config": SETTING_COLUMN,
    "setval": "pg_catalog.pg_sequences.last_value",
    **dict.fromkeys(
        "lo_put lowrite lo_from_bytea lo_truncate lo_truncate64 lo_creat lo_create".split(),
        "pg_catalog.pg_largeobject.data",
    ),
}


def place(routine: Routine | None) -> str:
    """Where what a call is given goes to, when it does more than compute and isn't code that shows what it does:
    `schema.table.column`, or `schema.routine()` itself. Empty for any other."""
    if routine is None or not effect(routine) & MORE:
        return ""
    if routine.oid < FIRST_USER:
        return _PLACES.get(routine.name, f"{routine.object}()")
    return f"{routine.object}()" if routine.language in ("c", "internal") and routine.volatility != "i" else ""


def holds(routine: Routine | None) -> int:
    """What a call of it puts out beside what its arguments give."""
    if routine is None:
        return UNKNOWN
    if routine.oid < FIRST_USER:
        return _builtin(routine)
    if routine.kind == "a":
        return NOTHING  # its functions are looked at for themselves
    if routine.language in ("c", "internal"):
        computes = routine.volatility == "i" or (routine.language == "c" and routine.name in _COMPUTES)
        return NOTHING if computes else UNKNOWN
    return UNKNOWN if effect(routine) & UNCLEAR else OPAQUE


def _builtin(routine: Routine) -> int:
    name = routine.name
    if name in _UNKNOWN or name in _TEXTS:
        return UNKNOWN
    if name == "current_setting":
        return SETTINGS
    found = effect(routine)
    if found & CODE:
        return OPAQUE
    return CASTS if found & JSON else NOTHING


def texts(routine: Routine | None) -> tuple[int, ...]:
    """The columns that may hold anything, of the rows of a function whose other columns don't; none of any other."""
    if routine is None or (routine.oid >= FIRST_USER and routine.language != "c"):
        return ()
    return _TEXTS.get(routine.name, ())
