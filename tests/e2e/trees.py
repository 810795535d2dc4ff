"""One connection that shows statements' trees and answers questions of facts, as a session does."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.errors import Diagnostic

from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.nodes import read
from agent.core.sql.queries import judge

SHOWING = "SET client_min_messages = log; SET debug_print_rewritten = on; SET debug_pretty_print = off"
MOST_ROUNDS = 6


class Refused(Exception):
    """The server doesn't take the statement."""


class Shown:
    """`tree` parses a statement, which runs nothing, and gives what the server printed; `found` judges it."""

    def __init__(self, dsn: str) -> None:
        self.connection: psycopg.Connection[Any] = psycopg.connect(dsn, autocommit=True)
        self.facts = Facts()
        self.rounds = 0
        self._printed: list[str] = []
        self.printed_with_context: list[tuple[str, str]] = []
        self.connection.add_notice_handler(self._notice)
        self.run(SHOWING)

    def _notice(self, diagnostic: Diagnostic) -> None:
        if diagnostic.source_function == "elog_node_display":
            self._printed.append(diagnostic.message_detail or "")
            self.printed_with_context.append((diagnostic.message_detail or "", diagnostic.context or ""))

    def run(self, statement: str) -> None:
        self.connection.execute(statement.encode(), prepare=False)

    def tree(self, statement: str) -> str:
        """The one tree that is printed when the statement is parsed."""
        (tree,) = self.trees(statement)
        return tree

    def trees(self, statement: str) -> list[str]:
        """Whatever is printed when it is parsed."""
        self._printed.clear()
        answer = self.connection.pgconn.prepare(b"", statement.encode())
        if answer.error_message:
            raise Refused(f"{statement}: {answer.error_message.decode()}")
        return list(self._printed)

    def found(self, statement: str) -> Found:
        """What parsing the statement tells that it would do, all facts asked for."""
        trees = read(self.tree(statement))
        self.rounds = 0
        while isinstance(found := judge(trees, self.facts), Wanted):
            self.rounds += 1
            assert self.rounds < MOST_ROUNDS, found
            self.ask(found)
        return found

    def operations(self, statement: str) -> set[str]:
        """Its operations; a `!` behind those that don't say which rows."""
        return {f"{one}{'' if one.where else ' !'}" for one in self.found(statement).operations}

    def ask(self, wanted: Wanted) -> None:
        rows = self.connection.execute(self.facts.question(wanted).encode(), prepare=False).fetchall()
        self.facts.learn(rows, wanted)

    def close(self) -> None:
        self.connection.close()
