"""A routine that is called by its OID, past SQL: FunctionCall, PostgreSQL's "fast path".

https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-FUNCTION-CALL
"""

from __future__ import annotations

from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted, together
from agent.core.sql.judgement import Judgement, TreeWanted
from agent.core.sql.routines import FIRST_USER
from agent.core.sql.statements import UTILITY, Statement
from agent.core.sql.touched import Touched


class Call(Judgement):
    """Of one call: the same operation as in a SELECT. Of its arguments nothing is known."""

    def __init__(self, oid: int, facts: Facts) -> None:
        self.statement = Statement("", 0, UTILITY)
        """It has no text."""
        super().__init__(self.statement, facts)
        self._oid = oid
        self._catalog = facts

    def step(self) -> Found | Wanted | TreeWanted:
        touched = Touched(self._catalog)
        touched.inner(self._oid)
        found = touched.found()
        if isinstance(found, Wanted):
            return found
        if self._catalog.routine(self._oid) is None:
            return Found(opaque=True)  # the server will say that there is none
        if self._oid >= FIRST_USER:
            return together(found, Found(opaque=True))  # its arguments are made values of types that may have code
        return found
