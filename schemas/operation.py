"""What a statement, request or command would do, as policies and evidence name it."""

from __future__ import annotations

from msgspec import Struct


class Operation(Struct, frozen=True, gc=False):
    """`VERB OBJECT`: `DELETE app.users`, `DROP TABLE app.orders`, `EXECUTE app.email_of`, `UNKNOWN`.

    `where` says whether an UPDATE or DELETE names its rows; a TRUNCATE never does, and it is true for everything else.
    """

    verb: str
    object: str = ""
    where: bool = True

    def __str__(self) -> str:
        return f"{self.verb} {self.object}" if self.object else self.verb
