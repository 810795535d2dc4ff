"""What a policy's author should be warned of: rules that never match, and patterns that name nothing."""

from __future__ import annotations

from agent.core.policy.globs import can_begin, covers
from agent.core.policy.verbs import ELSEWHERE, NAMING, PG, RENAMED, divided, normal
from schemas.policy import Rule


def shadowed(rules: tuple[Rule, ...], place: int) -> list[str] | None:
    """The names of earlier rules that leave nothing to the rule at this place, in their order; None when something is
    left to it, as far as can be told."""
    rule = rules[place]
    blamed: set[int] = set()
    for pattern in rule.match:
        for resource in rule.on:
            found = _covering(rules, place, normal(pattern), resource)
            if found is None:
                return None
            blamed.add(found)
    return [rules[earlier].name for earlier in sorted(blamed)]


def _covering(rules: tuple[Rule, ...], place: int, pattern: str, resource: str) -> int | None:
    for earlier in range(place):
        rule = rules[earlier]
        if rule.when is not None or (rule.who is not None and rule.who != rules[place].who):
            continue
        if any(covers(wide, resource) for wide in rule.on) and any(
            covers(normal(wide), pattern) for wide in rule.match
        ):
            return earlier
    return None


def strange_verb(pattern: str, resources: tuple[str, ...]) -> tuple[str, str | None] | None:
    """The verb of a glob over operations when no operation on these resources has one like it, and the verb that is
    meant if what is written is another name for it in SQL; else None."""
    if not any(can_begin(resource, "pg/") for resource in resources):
        return None
    verb = divided(pattern)[0]
    for written, meant in RENAMED.items():
        if f"{pattern} ".upper().startswith(written + " ") and len(verb) <= len(written):
            return written, meant
    compared = normal(pattern)
    elsewhere = any(can_begin(resource, "http/") or can_begin(resource, "ssh/") for resource in resources)
    for each in PG | ELSEWHERE if elsewhere else PG:
        if can_begin(compared, each + " ") or covers(compared, each):
            return None
    return verb, None


def without_object(pattern: str) -> str | None:
    """The verb of a glob that names no object though every operation with this verb has one; else None."""
    verb, name = divided(pattern)
    return verb if name == "" and verb in NAMING else None
