"""What kinds of values a resource holds, asked over a connection of the agent's own."""

from __future__ import annotations

from agent.core.events import Login
from agent.core.limits import SAMPLE_TIMEOUT
from agent.core.pg.sampling import Sampling, Survey
from agent.net.asker import Asker
from agent.net.check import Dialler
from schemas.configuration import PgResource
from schemas.discovery import Sample, Tables

_NAME = "policy discover"


class Surveyor(Asker[Tables]):
    """One login and one list of tables."""

    def __init__(self, host: Dialler, resource: PgResource, login: Login, survey: Survey) -> None:
        super().__init__(host, resource, login, survey, lambda: survey.answer, _NAME, SAMPLE_TIMEOUT)


class Sampler(Asker[Sample]):
    """One login and a sample of one table."""

    def __init__(self, host: Dialler, resource: PgResource, login: Login, sampling: Sampling) -> None:
        super().__init__(host, resource, login, sampling, lambda: sampling.answer, _NAME, SAMPLE_TIMEOUT)
