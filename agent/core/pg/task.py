"""A message of the client that the client waits behind, and where it stands."""

from __future__ import annotations

from typing import Final

from agent.core.pg.exchange import FUNCTION, QUERY, Operation, Request
from agent.core.pg.rulings import Judged
from agent.core.sql.judgement import Inside, Judgement
from agent.core.sql.statements import EMPTY, UTILITY, Statement, Unreadable, split

# Stages
LEARN: Final = 0
DECIDE: Final = 1
BEGIN: Final = 2
RUN: Final = 3
RUNNING: Final = 4
INSIDE: Final = 5
NEXT: Final = 7
REFUSE: Final = 8
DEFERRED: Final = 9
END: Final = 10

COMMITTING: Final = ("DO", "CALL")
"""What may commit by itself, where no transaction is open."""


class Task:
    """A message that the client waits behind: where it stands. `kind` is that of its request (agent.core.pg.exchange),
    `types` are its parameters'; a FunctionCall's routine stands in their place."""

    def __init__(self, kind: int, data: bytes, statements: list[Statement], types: tuple[int, ...]) -> None:
        self.kind = kind
        self.data = data
        self.statements = statements
        self.types = types
        self.index = 0
        self.stage = DECIDE
        self.questions = 0
        self.judged: Judged | None = None
        self.judgement: Judgement | None = None
        self.inside: Inside | None = None
        self.fault: bytes | None = None
        """What the server said against it when it was asked: the client gets that."""
        self.began = False
        """A transaction was begun for it."""
        self.watched = False
        """It runs code: what that does is judged before it counts."""
        self.operation: Operation | None = None
        self.request: Request | None = None
        self.row = b""
        """The body of the RowDescription of the statement, as the server described it when it was asked."""
        self.withheld: bytes | None = b""
        """What comes before the end of its answer, where that was kept back, too; None if it is too much."""
        self.ending = b""
        """The end of its answer, which the client hasn't got yet."""
        self.failed = False
        self.checked = False
        self.closed = False
        self.scanned = False
        """The server has read all of its statements."""
        self.coded = False
        """Code ran while it was parsed."""

    @property
    def alone(self) -> bool:
        """Whether a ReadyForQuery ends its answer: it belongs to no pipeline."""
        return self.kind == QUERY or self.kind == FUNCTION

    def next(self) -> None:
        """The next statement's turn."""
        self.index += 1
        self.stage = DECIDE
        self.judged = None
        self.judgement = None
        self.inside = None
        self.request = None
        self.questions = 0
        self.row = b""
        self.withheld = b""
        self.ending = b""

    def may_commit(self, quoting: bool) -> bool:
        """Whether, outside of a transaction, the server would let it commit by itself: DO and CALL alone."""
        statements = self.statements
        if not statements and self.operation is not None:
            try:
                statements = [one for one in split(self.operation.statement, quoting) if one.kind != EMPTY]
            except Unreadable:
                return False
        return len(statements) == 1 and statements[0].tag in COMMITTING

    def about(self) -> Statement:
        """The statement, as far as rules may ask for it."""
        return self.statements[self.index] if self.statements else Statement("", 0, UTILITY, "")

    @property
    def statement(self) -> Statement:
        return self.statements[self.index]

    @property
    def last(self) -> bool:
        """Whether no statement follows."""
        return self.index + 1 >= len(self.statements)
