"""What a utility statement returns, and what it makes of the query inside it, column by column."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from agent.core.sql import utility
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Move, Output, Source, Wanted, together
from agent.core.sql.grammar import Ungrammatical
from agent.core.sql.holders import SETTING_COLUMN
from agent.core.sql.outputs import of_table, renamed
from agent.core.sql.resolution import Resolution, relation_name, strings
from agent.core.sql.sources import UNKNOWN_COLUMN
from agent.core.sql.statements import EMPTY, SETTING, TRANSACTION, Statement
from agent.core.sql.tokens import Unreadable

_MAKES: Final = ("CREATE TABLE AS", "CREATE MATERIALIZED VIEW", "CREATE VIEW")
_QUERIES: Final = ("PREPARE", "DECLARE CURSOR", "EXECUTE")
_UNKNOWN: Final = (Source(UNKNOWN_COLUMN),)


def added(whole: Found, statement: Statement, parts: list[Found], facts: Facts) -> Found | Wanted:
    """All that was found of a utility statement, with what it returns and moves. `parts`: of itself first, then of the
    query in it, and of the prepared statement that it executes."""
    first = parts[0]
    if any(one.verb == "UNKNOWN" for one in first.operations):
        return msgspec.structs.replace(whole, outputs=None)
    runs = _runs(statement, parts)
    moves = list(whole.moves)
    for operation in first.operations:
        if operation.verb in _MAKES and (statement.executes or not statement.tag.startswith("EXPLAIN")):
            moves += _made(operation.object, _columns(statement), runs)
    cursor = ""
    for operation in first.operations:
        if operation.verb == "FETCH" or (operation.verb == "DECLARE CURSOR" and statement.tag == "DECLARE CURSOR"):
            cursor = operation.object
    outputs = _outputs(statement, parts, runs, facts)
    if isinstance(outputs, Wanted):
        return outputs
    if statement.tag == "COPY" and statement.inner is None and outputs and not _elsewhere(first):
        read = tuple([source.column for output in outputs for source in output.sources])
        whole = msgspec.structs.replace(whole, defines=(), shown=(*whole.shown, *read))
    return msgspec.structs.replace(whole, outputs=outputs, moves=tuple(moves), cursor=cursor)


def inside(parts: list[Found]) -> Found:
    """All that ran inside a statement. Which of the queries a table was made of there isn't told: of any of them."""
    whole = together(*parts)
    made = [one.object for one in whole.operations if one.verb in _MAKES]
    outputs = [output for one in parts for output in one.outputs or ()] if made else []
    columns = {source.column: Source(source.column, source.path) for output in outputs for source in output.sources}
    sources = tuple([columns[column] for column in sorted(columns)])
    opaque = any(output.opaque for output in outputs)
    parameters = any(output.parameters for output in outputs)
    if not sources and not opaque and not parameters:
        return whole
    moves = tuple([Move(f"{relation}.*", (), sources, opaque, parameters) for relation in made])
    return msgspec.structs.replace(whole, moves=(*whole.moves, *moves))


def _runs(statement: Statement, parts: list[Found]) -> tuple[Output, ...] | None:
    """The columns of the query inside it, or of what it executes by name."""
    if statement.runs is not None:
        at = 2 if statement.inner is not None else 1  # its arguments come first
        return parts[at].outputs if len(parts) > at else None
    return parts[1].outputs if statement.inner is not None and len(parts) > 1 else None


def _outputs(
    statement: Statement, parts: list[Found], runs: tuple[Output, ...] | None, facts: Facts
) -> tuple[Output, ...] | Wanted | None:
    tag = statement.tag
    if statement.kind in (TRANSACTION, EMPTY) or (statement.kind == SETTING and tag != "SHOW"):
        return ()
    if tag == "SHOW":
        return (Output("", (Source(SETTING_COLUMN),)),)
    if tag == "EXPLAIN":
        return (Output("QUERY PLAN", (), any(one.opaque for one in parts)),)
    if tag in _QUERIES or (tag == "COPY" and statement.inner is not None):
        return runs
    if tag == "COPY":
        return _copied(statement, facts)
    if tag in ("FETCH", "CALL"):
        return None
    return ()


def _copied(statement: Statement, facts: Facts) -> tuple[Output, ...] | Wanted | None:
    """COPY of a table."""
    node = _parsed(statement)
    if node is None:
        return None
    if node.copy_stmt.is_from:
        return ()
    state = Resolution(facts)
    rows = state.found_as("relation", relation_name(node.copy_stmt.relation))
    if not rows:
        return None
    return of_table(int(rows[0][0] or "0"), tuple(strings(node.copy_stmt.attlist)), facts)


def _elsewhere(found: Found) -> bool:
    """Whether a COPY is one of a file or a program of the server's."""
    return any(one.verb in ("COPY FILE", "COPY PROGRAM") for one in found.operations)


def _made(relation: str, names: tuple[str, ...], outputs: tuple[Output, ...] | None) -> tuple[Move, ...]:
    """What goes into a table or a view that is made of a query."""
    if outputs is None:
        return (Move(f"{relation}.*", (), _UNKNOWN),)
    return renamed(outputs, relation, names)


def _columns(statement: Statement) -> tuple[str, ...]:
    """The names that CREATE TABLE … AS and CREATE VIEW give the columns."""
    node = _parsed(statement)
    if node is None:
        return ()
    if node.WhichOneof("node") == "explain_stmt":
        node = node.explain_stmt.query
    form = node.WhichOneof("node")
    if form == "view_stmt":
        return tuple(strings(node.view_stmt.aliases))
    return tuple(strings(node.create_table_as_stmt.into.col_names)) if form == "create_table_as_stmt" else ()


def _parsed(statement: Statement) -> Any:
    """The one statement that it is; None when it can't be read."""
    try:
        nodes = utility.parsed(statement)
    except (Ungrammatical, Unreadable):
        return None
    return nodes[0] if len(nodes) == 1 else None
