"""Who hears the answers to what the agent itself asks the server in a client's session."""

from __future__ import annotations

from agent.core.pg.exchange import Operation, Request


class Watch:
    """The guard (agent.core.pg.guard), as the replies know it."""

    def __init__(self) -> None:
        self.tracing = False
        """The server was told to show its trees: notices have to be looked at."""

    def notice(self, body: bytes) -> bool:
        """A NoticeResponse while tracing; returns whether it is kept from the client."""
        raise NotImplementedError

    def heard(self, request: Request, tag: int, body: bytes) -> None:
        """A message that answers something asked by the agent."""
        raise NotImplementedError

    def passed_over(self, request: Request) -> None:
        """Something asked by the agent will not be answered: an error came before it."""
        raise NotImplementedError

    def executed(self, request: Request, ending: bytes) -> None:
        """A held request is over but for these messages, which the client has not got."""
        raise NotImplementedError

    def error(self, body: bytes, operation: Operation | None) -> bytes | None:
        """What the client gets in place of this ErrorResponse to an operation, if not the same."""
        raise NotImplementedError

    def told(self, tag: int, body: bytes) -> bytes | None:
        """What the client gets in place of a notice, a notification or a setting, if not the same."""
        raise NotImplementedError

    def parameter(self, name: str, value: str) -> None:
        """A setting that the server reports."""
        raise NotImplementedError
