"""Why an operation is decided as it is: rule by rule why not, then why."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from agent.core.policy.rulebook import CompiledRule, Rulebook, Rules
from agent.core.policy.verbs import UNKNOWN
from schemas.identity import Identity
from schemas.operation import Operation
from schemas.policy import Who


class Reason(Struct, frozen=True):
    """What a rule has to say of an operation; `decides`: this one decided it. `rule` None stands for the default."""

    rule: str | None
    effect: str
    decides: bool
    why: str


def reasons(
    rules: Rules, rulebook: Rulebook, identity: Identity, resource: str, operation: Operation, values: dict[str, Any]
) -> list[Reason]:
    """The rules in their order, up to the one that decides; the default, if none does. `rulebook` is that of the
    session, `values` what its conditions see of the statement (Rulebook.values)."""
    found: list[Reason] = []
    for compiled in rules.compiled:
        rule = compiled.rule
        wrong = _against(compiled, identity, resource, operation, values)
        found.append(Reason(rule.name, rule.effect, wrong is None, wrong or _because(compiled, operation, values)))
        if wrong is None:
            return found
    default = rulebook.policy.default
    return [*found, Reason(None, default, True, "no rule matches, so the policy's default decides")]


def _against(
    compiled: CompiledRule, identity: Identity, resource: str, operation: Operation, values: dict[str, Any]
) -> str | None:
    """Why the rule doesn't decide the operation; None when it does."""
    rule = compiled.rule
    who = rule.who or Who()
    missed = compiled.misses(identity, resource)
    if missed == "on":
        return f"it is about {_listed(rule.on)}, and this is {resource}"
    if missed == "subjects":
        return f"it is about {_listed(who.subjects or ())}, and this is {identity.subject}"
    if missed == "actors":
        return (
            f"it is about what {_listed(who.actors or ())} does for others, and here acts {identity.actor or 'nobody'}"
        )
    if missed == "groups":
        members = _listed(who.groups or ())
        return f"it is about members of {members}, and {identity.subject} is in {_listed(identity.groups)}"
    unknown = operation.verb == UNKNOWN and compiled.forbids
    if not compiled.names(operation) and not unknown:
        return f"it matches only {_listed(rule.match)}"
    held = compiled.held(operation, values)
    if compiled.unless_undecided(held):
        return None
    return f"its condition {'is not to be evaluated here' if held is None else 'does not hold'}: {rule.when}"


def _because(compiled: CompiledRule, operation: Operation, values: dict[str, Any]) -> str:
    why = "it matches"
    if not compiled.names(operation):
        why = "nobody knows what this does, so it is matched by whatever forbids something"
    if compiled.held(operation, values) is None:
        why += f", and its condition is not to be evaluated here: {compiled.rule.when}"
    return why


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
