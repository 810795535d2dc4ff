"""Which rule decides what a statement does, and why, as a listing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.core.policy.reasons import reasons
from agent.core.policy.rulebook import Verdict
from agent.core.sql.found import Source
from cli.escape import escaped
from cli.policy_decision import RUNS_CODE, UNSETTLED, Court
from cli.policy_reader import refusal
from schemas.explanation import Explained
from schemas.operation import Operation

COLUMNS = ("statement", "operation", "column", "rule", "effect", "decides", "why")
LONGEST_LINE = 160
"""Characters that are shown of a line that has a mistake."""


def rows(court: Court, statements: tuple[Explained, ...], now: int) -> Iterator[dict[str, Any]]:
    """A row for each rule that is asked about an operation, for each column that a statement returns or uses where
    columns are masked, and for whatever isn't known. A statement is as forbidden as the most forbidding row that
    decides."""
    for number, statement in enumerate(statements, 1):
        for row in _of_statement(court, statement, now):
            yield {"statement": number, **row}


def columns_for_table(listed: list[dict[str, Any]]) -> list[str]:
    """The columns that a reader needs: not the number of the only statement, nor what is empty throughout."""
    left_out = set()
    if all(row["statement"] == 1 for row in listed):
        left_out.add("statement")
    if not any(row.get("column") for row in listed):
        left_out.add("column")
    return [name for name in COLUMNS if name not in left_out]


def verdict_line(verdict: Verdict, statement: Explained) -> str:
    """The verdict in a line."""
    said = f"{verdict.effect} by {verdict.rule or 'default'}"
    if verdict.operation is not None:
        said += f" for {verdict.operation}"
    if verdict.effect == "approve":
        said += "; who consents can't be asked yet, so it is denied"
    if verdict.effect == "allow" and statement.found.opaque:
        said += f"; {RUNS_CODE}"
    return f"{said}: {verdict.message}" if verdict.message else said


def place(text: str, position: int) -> str:
    """The line of the text that this character is in, counted from 1, and a caret below it."""
    at = min(max(position - 1, 0), len(text))
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:].partition("\n")[0]
    cut = max(0, at - begin - LONGEST_LINE // 2)
    before = escaped(line[cut : at - begin])
    return f"{before}{escaped(line[at - begin : cut + LONGEST_LINE])}\n{' ' * len(before)}^"


def _of_statement(court: Court, statement: Explained, now: int) -> Iterator[dict[str, Any]]:
    if statement.error is not None:
        yield _note(f"the server refuses it: {refusal(statement.error)}")
        return
    for operation in statement.found.operations:
        yield from _of_operation(court, statement, operation, now)
    allowed = court.by_rules(statement, now).effect == "allow"
    besides = court.besides(statement, now) if allowed else None
    if not statement.found.operations and besides is None:
        yield {"effect": "allow", "decides": True, "why": "it does nothing that a rule is about"}
    if not court.masked.empty:
        yield from _of_columns(court, statement)
    if besides is not None:
        about = None if besides.operation is None else str(besides.operation)
        yield {
            "operation": about,
            "rule": besides.rule,
            "effect": besides.effect,
            "decides": True,
            "why": besides.message,
        }
    if statement.found.opaque:
        yield _note(RUNS_CODE)
    for note in statement.notes:
        yield _note(note)
    if statement.unsettled:
        yield _note(UNSETTLED)


def _of_operation(court: Court, statement: Explained, operation: Operation, now: int) -> Iterator[dict[str, Any]]:
    book = court.rulebook
    values = book.values(statement.text, None, statement.tag, now)
    verdict = book.decide((operation,), statement.text, None, statement.tag, now)
    for why in reasons(court.rules, book, court.identity, court.resource, operation, values):
        # A rename is refused by a rule that doesn't match it, if it takes an object out from under that rule.
        decides = why.decides and why.effect == verdict.effect
        yield {
            "operation": str(operation),
            "rule": why.rule,
            "effect": why.effect,
            "decides": decides,
            "why": why.why,
        }
        if why.decides and not decides:
            yield {
                "operation": str(operation),
                "rule": verdict.rule,
                "effect": verdict.effect,
                "decides": True,
                "why": "it takes an object out from under what this rule matches",
            }


def _of_columns(court: Court, statement: Explained) -> Iterator[dict[str, Any]]:
    found = statement.found
    returned: set[str] = set()
    for output in found.outputs or ():
        returned.update(source.column for source in output.sources)
        cover = court.masked.cover(output)
        if cover is None:
            come = "; ".join(_path(output.name, source) for source in output.sources)
            yield _column(output.name, None, come or "nothing of a table is in it")
            continue
        come = "; ".join(_path(output.name, source) for source in output.sources if source.column in cover.columns)
        yield _column(output.name, (cover.mask, cover.columns[0]), f"{come}, with {cover.way}")
    for move in found.moves:
        hidden = court.masked.hides(tuple(source.column for source in move.sources))
        returned.update(source.column for source in move.sources)
        if hidden is not None:
            yield _column(move.column, hidden, f"it is given {hidden[1]}")
    why = "it lets out of its values" if found.outputs is None else "it computes with it"
    for column in found.shown:
        hidden = court.masked.hides((column,))
        if found.outputs is None or (hidden is not None and column not in returned):
            yield _column(column, hidden, why)
    for column in found.compared:
        hidden = court.masked.hides((), (column,))
        allowed = hidden is None and court.masked.hides((column,)) is not None
        why = "rows are only chosen, joined, grouped or sorted by it"
        yield _column(column, hidden, why + (", which its mask allows" if allowed else ""))


def _path(name: str, source: Source) -> str:
    """`email ← view app.contacts ← app.users.email`."""
    return " ← ".join((name, *source.path, "any column" if source.column == "*" else source.column))


def _column(column: str, hidden: tuple[str, str] | None, why: str) -> dict[str, Any]:
    name = "any column" if column == "*" else column
    mask = None if hidden is None else hidden[0]
    effect = "allow" if hidden is None else "mask"
    return {"column": name, "rule": mask, "effect": effect, "decides": False, "why": why}


def _note(said: str) -> dict[str, Any]:
    return {"decides": False, "why": said}
