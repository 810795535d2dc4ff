"""What a statement does that isn't planned, by its text: its operations and the objects that it names.

    judge(statement, facts) -> Found, or Wanted when facts are missing

PostgreSQL before 16 doesn't print these statements, and none prints what their names stand for: the text is parsed by
libpg_query within bounds (agent.core.sql.grammar), names are found by the search path in force. The query inside a
statement (Statement.inner) is judged by its tree, not here. What can't be told is UNKNOWN.
"""

from __future__ import annotations

from typing import Any, Final

from agent.core.sql import commands
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.grammar import Ungrammatical, parse
from agent.core.sql.resolution import Resolution
from agent.core.sql.routines import SETTING, UNCLEAR, setting_effect
from agent.core.sql.statements import EMPTY, QUERY, TRANSACTION, Statement
from agent.core.sql.statements import SETTING as SETTINGS
from agent.core.sql.tokens import Unreadable
from schemas.operation import Operation

UNKNOWN: Final = Found((Operation("UNKNOWN"),), changes_catalog=True, changes_settings=True, constants_matter=True)

_ALL: Final = 6
_MANY: Final = 4


def prepared_name(statement: Statement) -> str | None:
    """The prepared statement that EXECUTE (also in EXPLAIN or CREATE TABLE AS) runs, as a name is written in SQL."""
    return statement.runs


def judge(statement: Statement, facts: Facts, inside: bool = False) -> Found | Wanted:
    """What a statement does that is no query. `inside` says that code runs it, in the middle of another statement:
    it may then switch off what would show the rest."""
    if statement.kind in (TRANSACTION, EMPTY) or statement.tag == "SHOW":
        return Found()
    if statement.kind == QUERY:
        return UNKNOWN
    try:
        nodes = parsed(statement)
    except (Ungrammatical, Unreadable):
        return UNKNOWN
    if len(nodes) != 1:
        return UNKNOWN
    state = Resolution(facts)
    if statement.kind == SETTINGS:
        if nodes[0].WhichOneof("node") == "constraints_set_stmt":
            return Found()
        _setting(state, nodes[0].variable_set_stmt, inside)
    else:
        commands.command(state, nodes[0], statement.executes)
        if inside and statement.tag in ("DISCARD ALL", "DISCARD PLANS"):
            state.unknown()
    return state.found()


def parsed(statement: Statement) -> list[Any]:
    """What libpg_query reads of a utility statement, a short query in place of its own. Raises as grammar.parse."""
    return parse(_without_query(statement))


def _without_query(statement: Statement) -> str:
    """The statement's text, its query replaced by a short one: that is judged elsewhere, and may be too long here."""
    text, inner = statement.text, statement.inner
    if inner is None or statement.tag == "SELECT INTO":
        return text
    begin = statement.inner_offset
    if text[begin : begin + len(inner)] != inner:
        return text
    return text[:begin] + "select 1 " + text[begin + len(inner) :]


def _setting(state: Resolution, node: Any, inside: bool) -> None:
    """SET and RESET."""
    if node.kind == _ALL:
        state.touched.settings = True
        if inside:
            state.unknown()
        return
    if node.kind == _MANY:  # SET TRANSACTION, SET SESSION CHARACTERISTICS
        return
    name = node.name.lower()
    effect = setting_effect(name)
    if effect & (SETTING | UNCLEAR):
        state.touched.settings = True
    if effect & UNCLEAR and inside:
        state.unknown()
    if name in ("role", "session_authorization"):
        state.touched.settings = True
        values = [one.a_const.sval.sval for one in node.args if one.HasField("a_const")]
        verb = "SET ROLE" if name == "role" else "SET SESSION AUTHORIZATION"
        state.say(verb, values[0] if values else "DEFAULT")
