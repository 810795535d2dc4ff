"""What a policy decides of a statement whose operations are known: as the agent decides it in a session."""

from __future__ import annotations

from collections.abc import Iterable

from agent.core.pg.rulings import Rulings
from agent.core.policy import verbs
from agent.core.policy.masks import Masked
from agent.core.policy.rulebook import Rulebook, Rules, Verdict
from agent.core.sql.catalog import Catalog
from agent.core.sql.statements import UTILITY, Statement
from schemas.explanation import Explained
from schemas.identity import Identity

RUNS_CODE = "it runs code, and what that does is decided when it runs"
UNSETTLED = "what comes before it changes settings or objects, and it was looked at without that"

_RANK = {"allow": 0, "approve": 1, "deny": 2}


class Court:
    """A policy, for one session."""

    def __init__(
        self, rules: Rules, identity: Identity, resource: str, address: str = "127.0.0.1", client: str = ""
    ) -> None:
        self.rules = rules
        self.identity = identity
        self.resource = resource
        self.rulebook: Rulebook = rules.rulebook(identity, resource, address, client)
        self.masked: Masked = rules.masks.masked(identity, resource, address, client)

    def decide(self, statement: Explained, now: int) -> Verdict:
        """The verdict, `now` in microseconds since 1970."""
        verdict = self.by_rules(statement, now)
        return verdict if verdict.effect != "allow" else self.besides(statement, now) or verdict

    def by_rules(self, statement: Explained, now: int) -> Verdict:
        """What the rules say of what was found that it does."""
        return self.rulebook.decide(statement.found.operations, statement.text, None, statement.tag, now)

    def besides(self, statement: Explained, now: int) -> Verdict | None:
        """What else refuses a statement that the rules allow: a mask that it would get round, say. None: nothing."""
        found = statement.found
        about = Statement(statement.text, statement.start, UTILITY, statement.tag)
        ruling = Rulings(self.rulebook, self.masked, Catalog()).rule(found, about, now)
        if ruling.decision != "deny":
            return None
        operation = None if ruling.operation is None else verbs.operation(ruling.operation)
        return Verdict("deny", ruling.rule, ruling.message, operation)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The most forbidding of them, the first of several such; allow when there is none."""
    found = Verdict("allow")
    for verdict in verdicts:
        rank, least = _RANK[verdict.effect], _RANK[found.effect]
        if rank > least or (rank == least and found.rule is None and found.operation is None):
            found = verdict
    return found
