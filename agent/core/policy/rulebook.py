"""Which rule decides an operation, and what that makes of a statement.

Of each operation the first rule that matches decides, in the order of the policy; where none does, the policy's
default. A statement is as forbidden as the most forbidden of its operations.

What can't be known counts against it. An operation that couldn't be determined (UNKNOWN) is matched by the first rule
that denies or asks for consent, whatever its `match` says, and by one that allows only if its `match` names it. A
condition that can't be evaluated holds for a rule that denies or asks for consent, and doesn't for one that allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from agent.core.policy.conditions import OF_OPERATION, Condition, session_values
from agent.core.policy.globs import Globs, can_begin, matches
from agent.core.policy.masks import Masks
from agent.core.policy.verbs import UNKNOWN, normal
from agent.core.sql.fingerprints import fingerprint as fingerprint_of
from schemas.identity import Identity
from schemas.operation import Operation
from schemas.policy import Approvers, Policy, Rule, Who

MAX_VERDICTS: Final = 4096
"""Verdicts that a rulebook keeps, by operations; then it begins anew. An application has some hundred statements."""

MAX_VERBS: Final = 1024
"""Verbs for which it is kept which rules are about them. PostgreSQL has some 200."""

_RANK: Final[dict[str, int]] = {"allow": 0, "approve": 1, "deny": 2}
_RENAME: Final = "RENAME"
_FINGERPRINT: Final = "statement.fingerprint"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Verdict(Struct, frozen=True):
    """What is decided of a statement: `effect` is allow, deny or approve (who may consent is in `approvers`).

    `rule` names the rule that decided; None: the policy's default. `operation` is what is not allowed; None when all
    is allowed: then `rule` is that of the first operation that a rule allowed.
    """

    effect: str
    rule: str | None = None
    message: str | None = None
    operation: Operation | None = None
    approvers: Approvers | None = None


class Rules:
    """A policy, compiled. Raises ConditionError for a condition that agent.store.policy would have refused."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.masks: Masks = Masks(policy)
        self.compiled: list[CompiledRule] = [CompiledRule(rule) for rule in policy.rules]

    def ask_for(self, name: str) -> bool:
        """Whether a condition uses this name."""
        return any(one.condition is not None and name in one.condition.names for one in self.compiled)

    def rulebook(self, identity: Identity, resource: str, address: str = "", client: str = "") -> Rulebook:
        """What a session of this identity on the resource, TYPE/NAME, is subject to. `address` is the client's, with
        or without its port; `client` what it calls itself."""
        values = session_values(identity, resource, address, client)
        subject_to: list[_InForce] = []
        for compiled in self.compiled:
            if compiled.concerns(identity, resource):
                condition = compiled.condition
                if condition is not None and not condition.names <= values.keys():
                    subject_to.append(_InForce(compiled, True))
                elif condition is None or compiled.unless_undecided(condition.holds(values)):
                    subject_to.append(_InForce(compiled, False))
        return Rulebook(self.policy, subject_to, values)


class CompiledRule:
    """A rule, and how to tell what it matches."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.forbids: bool = rule.effect != "allow"
        self._patterns: tuple[str, ...] = tuple([normal(pattern) for pattern in rule.match])
        self.objects: tuple[str, ...] = tuple([pattern.rpartition(" ")[2] for pattern in self._patterns])
        """The globs of objects alone."""
        self._verbs: dict[str, bool] = {}
        self.match: Globs = Globs(self._patterns)
        self.condition: Condition | None = None if rule.when is None else Condition(rule.when)
        self._on: Globs = Globs(rule.on)
        who = rule.who or Who()
        self._subjects: Globs | None = None if who.subjects is None else Globs(who.subjects)
        self._groups: Globs | None = None if who.groups is None else Globs(who.groups)
        self._actors: Globs | None = None if who.actors is None else Globs(who.actors)

    def concerns(self, identity: Identity, resource: str) -> bool:
        """Whether the rule is about this resource and this identity."""
        return self.misses(identity, resource) == ""

    def misses(self, identity: Identity, resource: str) -> str:
        """What keeps the rule from being about them: its key `on`, `subjects`, `actors` or `groups`; "" when nothing
        does."""
        if not self._on.matches(resource):
            return "on"
        if self._subjects is not None and not self._subjects.matches(identity.subject):
            return "subjects"
        if self._actors is not None and (identity.actor is None or not self._actors.matches(identity.actor)):
            return "actors"
        groups = self._groups
        return "" if groups is None or any(groups.matches(group) for group in identity.groups) else "groups"

    def names(self, operation: Operation) -> bool:
        """Whether `match` matches the operation."""
        verb = operation.verb.upper()
        # An operation on everything, such as VACUUM without a table, is what "VACUUM *" means too.
        return self.match.matches(f"{verb} {operation.object}") or (not operation.object and self.match.matches(verb))

    def held(self, operation: Operation, values: Mapping[str, Any]) -> bool | None:
        """Whether the condition holds of the operation; None: that can't be said."""
        if self.condition is None:
            return True
        known = dict(values)
        # Nothing is said of an operation that isn't known, so a condition that turns on it is undecided.
        if not (self.forbids and operation.verb == UNKNOWN):
            known["operation.verb"] = operation.verb
            known["operation.object"] = operation.object
            known["operation.where"] = operation.where
        return self.condition.holds(known)

    def is_about(self, verb: str) -> bool:
        """Whether an operation with this verb, in upper case, can match at all."""
        known = self._verbs.get(verb)
        if known is None:
            if len(self._verbs) >= MAX_VERBS:
                self._verbs.clear()
            known = any(can_begin(pattern, verb + " ") or matches(pattern, verb) for pattern in self._patterns)
            self._verbs[verb] = known
        return known

    def unless_undecided(self, held: bool | None) -> bool:
        """Whether the condition counts as held: what can't be said counts against the operation."""
        return self.forbids if held is None else held


class _InForce:
    """A rule that a session is subject to, and whether its condition is still to be asked."""

    def __init__(self, compiled: CompiledRule, conditional: bool) -> None:
        self.compiled = compiled
        self.conditional = conditional
        self.forbids: bool = compiled.forbids
        self.match: Globs = compiled.match
        rule = compiled.rule
        self.allowed: Verdict = Verdict("allow", rule.name)


class Rulebook:
    """What one session is subject to. Made by Rules.rulebook.

    `empty`: every statement is allowed, without asking. `permissive`: every statement is allowed, whatever it does;
    else `guardian` names the first rule that denies or asks for consent, None where that is the policy's default.
    `stable`: verdicts turn on the operations alone, not on the statement's text nor on the time, and are kept here.
    """

    def __init__(self, policy: Policy, rules: list[_InForce], values: dict[str, Any]) -> None:
        conditions = [rule.compiled.condition for rule in rules if rule.conditional]
        self.policy = policy
        self.stable: bool = all(one is None or one.names <= values.keys() | OF_OPERATION for one in conditions)
        self.empty: bool = not rules and policy.default == "allow"
        guardians = [rule.compiled.rule.name for rule in rules if rule.forbids]
        self.guardian: str | None = guardians[0] if guardians else None
        self.permissive: bool = not guardians and policy.default == "allow"
        self._fingerprints: bool = any(one is not None and _FINGERPRINT in one.names for one in conditions)
        self._rules = rules
        self._values = values
        self._kept: dict[tuple[Operation, ...], Verdict] = {}
        self._of_verb: dict[str, list[_InForce]] = {}

    def decide(
        self,
        operations: tuple[Operation, ...],
        text: str = "",
        fingerprint: str | None = None,
        tag: str = "",
        now: int = 0,
    ) -> Verdict:
        """The verdict on a statement that consists of these operations. A statement of none is allowed.

        `text`, `fingerprint` and `tag` are the statement's, `now` is in microseconds since 1970; none of them matters
        where the rulebook is stable. A fingerprint that isn't given is made of the text, if a condition asks for it.
        """
        if not self.stable:
            return self._judge(operations, self.values(text, fingerprint, tag, now))
        kept = self._kept.get(operations)
        if kept is None:
            kept = self._judge(operations, self._values)
            if len(self._kept) >= MAX_VERDICTS:
                self._kept.clear()
            self._kept[operations] = kept
        return kept

    def values(self, text: str, fingerprint: str | None, tag: str, now: int) -> dict[str, Any]:
        """What conditions see, but for the operation."""
        values = dict(self._values)
        values["statement.text"] = text
        if fingerprint is None and self._fingerprints:
            fingerprint = fingerprint_of(text) if text else ""
        if fingerprint is not None:
            values[_FINGERPRINT] = fingerprint  # else it can't be told, and what turns on it is undecided
        values["statement.tag"] = tag
        values["now"] = _EPOCH + timedelta(microseconds=now)
        return values

    def _judge(self, operations: tuple[Operation, ...], values: dict[str, Any]) -> Verdict:
        worst = Verdict("allow")
        for operation in operations:
            verdict = self._decide_one(operation, values)
            rank, worst_rank = _RANK[verdict.effect], _RANK[worst.effect]
            if rank > worst_rank or (rank == worst_rank and worst.rule is None and worst.operation is None):
                worst = verdict
            if rank == 2:
                break
        return worst

    def _decide_one(self, operation: Operation, values: dict[str, Any]) -> Verdict:
        unknown = operation.verb == UNKNOWN
        verb = operation.verb.upper()
        # An operation on everything, such as VACUUM without a table, is what "VACUUM *" means too.
        text = f"{verb} {operation.object}"
        bare = "" if operation.object else verb
        for rule in self._rules if unknown else self._about(verb):
            if rule.match.matches(text) or (bare and rule.match.matches(bare)) or (unknown and rule.forbids):
                if rule.conditional and not rule.compiled.unless_undecided(rule.compiled.held(operation, values)):
                    continue
                return rule.allowed if not rule.forbids else _refusal(rule.compiled.rule, operation)
        if self.policy.default == "allow":
            return self._moved(operation) if verb == _RENAME else Verdict("allow")
        return Verdict("deny", None, None, operation)

    def _moved(self, operation: Operation) -> Verdict:
        """An object that gets another name must not get out from under a rule that names it. `old TO new`; of a schema
        both end in a dot, and mean all that is in it."""
        old, _, new = operation.object.partition(" TO ")
        for rule in self._rules:
            if rule.forbids and any(_leaves(glob, old, new) for glob in rule.compiled.objects):
                return _refusal(rule.compiled.rule, operation)
        return Verdict("allow")

    def _about(self, verb: str) -> list[_InForce]:
        found = self._of_verb.get(verb)
        if found is None:
            if len(self._of_verb) >= MAX_VERBS:
                self._of_verb.clear()
            found = [rule for rule in self._rules if rule.compiled.is_about(verb)]
            self._of_verb[verb] = found
        return found


def _leaves(glob: str, old: str, new: str) -> bool:
    if old.endswith("."):
        return can_begin(glob, old) and not can_begin(glob, new)
    return matches(glob, old) and not matches(glob, new)


def _refusal(rule: Rule, operation: Operation) -> Verdict:
    return Verdict(rule.effect, rule.name, rule.message, operation, rule.approvers)
