"""Which rule decides an operation, and why, as a listing."""

from __future__ import annotations

import time
from typing import Any

from agent.core.policy.reasons import reasons
from agent.core.policy.rulebook import Rules, Verdict
from schemas.identity import Identity
from schemas.operation import Operation
from schemas.policy import Policy

COLUMNS = ("operation", "rule", "effect", "decides", "why")


def explain(
    policy: Policy, identity: Identity, resource: str, operations: tuple[Operation, ...], statement: str
) -> tuple[Verdict, list[dict[str, Any]]]:
    """The verdict on a statement of these operations, and a row for each rule that was asked."""
    rules = Rules(policy)
    book = rules.rulebook(identity, resource)
    now = time.time_ns() // 1000
    values = book.values(statement, None, "", now)
    rows = [
        {"operation": str(each), "rule": why.rule, "effect": why.effect, "decides": why.decides, "why": why.why}
        for each in operations
        for why in reasons(rules, book, identity, resource, each, values)
    ]
    return book.decide(operations, statement, None, "", now), rows


def verdict_line(verdict: Verdict) -> str:
    """The verdict in a line."""
    said = f"{verdict.effect} by {verdict.rule or 'default'}"
    if verdict.operation is not None:
        said += f" for {verdict.operation}"
    if verdict.effect == "approve":
        said += "; who consents can't be asked yet, so it is denied"
    return f"{said}: {verdict.message}" if verdict.message else said
