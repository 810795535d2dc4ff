"""What a policy's author should be warned of: rules that never match, and patterns that name nothing."""

from __future__ import annotations

from agent.core.policy.globs import can_begin, covers
from agent.core.policy.verbs import ELSEWHERE, NAMING, PG, RENAMED, divided, normal
from schemas.policy import Rule


def shadowed(rules: tuple[Rule, ...]) -> dict[int, list[str]]:
    """The rules, by their places, that earlier ones without a condition leave nothing to, as far as can be told; and
    the names of those."""
    found: dict[int, list[str]] = {}
    before = _Before(rules)
    for place, rule in enumerate(rules):
        patterns = [normal(pattern) for pattern in rule.match]
        blamed: set[int] = set()
        for pattern in patterns:
            for resource in rule.on:
                blamed.add(before.covering(rule, pattern, resource))
        if blamed and min(blamed) >= 0:
            found[place] = [rules[earlier].name for earlier in sorted(blamed)]
        before.add(place, patterns)
    return found


class _Before:
    """The rules so far that decide whatever they match, by what they match."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = rules
        self._literals: dict[str, list[int]] = {}
        self._globs: list[tuple[str, str, int]] = []

    def add(self, place: int, patterns: list[str]) -> None:
        if self._rules[place].when is not None:
            return
        for pattern in patterns:
            beginning = pattern.partition("*")[0].partition("?")[0]
            if beginning == pattern:
                self._literals.setdefault(pattern, []).append(place)
            else:
                self._globs.append((beginning, pattern, place))

    def covering(self, rule: Rule, pattern: str, resource: str) -> int:
        """The place of one that matches all that the pattern does on these resources; -1 when there is none."""
        for place in self._literals.get(pattern, []):
            if self._applies(place, rule, resource):
                return place
        for beginning, wide, place in self._globs:
            if pattern.startswith(beginning) and covers(wide, pattern) and self._applies(place, rule, resource):
                return place
        return -1

    def _applies(self, place: int, rule: Rule, resource: str) -> bool:
        earlier = self._rules[place]
        return (earlier.who is None or earlier.who == rule.who) and any(covers(wide, resource) for wide in earlier.on)


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
