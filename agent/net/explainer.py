"""What statements would do, asked of a resource over a connection of the agent's own."""

from __future__ import annotations

from agent.core.events import Login
from agent.core.limits import EXPLAIN_TIMEOUT
from agent.core.pg.interrogation import Interrogation
from agent.net.asker import Asker
from agent.net.check import Dialler
from schemas.configuration import PgResource
from schemas.explanation import Explanation


class Explainer(Asker[Explanation]):
    """One login and one interrogation. `report` fires with an Explanation, or a ControlError when there is none."""

    def __init__(self, host: Dialler, resource: PgResource, login: Login, interrogation: Interrogation) -> None:
        super().__init__(
            host, resource, login, interrogation, lambda: interrogation.explanation, "policy explain", EXPLAIN_TIMEOUT
        )
