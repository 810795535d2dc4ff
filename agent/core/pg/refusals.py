"""What a client reads in place of an answer, and what has the server fail there."""

from __future__ import annotations

from typing import Final

from agent.core.limits import MAX_WITHHELD
from agent.core.pg import messages
from agent.core.pg.errors import error_response, fields
from agent.core.pg.ledger import Ruling
from agent.core.pg.messages import message, text
from agent.core.pg.requests import FAILS
from agent.core.policy.masks import Masked

FAIL_QUERY: Final = message(messages.QUERY, text(FAILS))
"""Fails as a Query or FunctionCall does: a ReadyForQuery follows."""
FAIL_PARSE: Final = message(messages.PARSE, b"_hoop_refused\0" + text(FAILS) + b"\0\0")
"""Fails as a message of the extended protocol does: the server passes over what follows, up to a Sync."""

_TERMINATION: Final = "2D000"  # invalid_transaction_termination
_TELLING: Final = (b"S", b"V", b"C", b"P")
"""Severity, in two ways; SQLSTATE; the position in what the client sent."""
_MASKED: Final = "hoopctl: the text of this error is masked, since its statement reads masked columns"
_SPI: Final = "spi.c"
"""The server's source file that raises it; RAISE can't."""


def failing(data: bytes) -> bytes:
    """What has the server fail in place of this message."""
    return FAIL_QUERY if data[0] in (messages.QUERY, messages.FUNCTION_CALL) else FAIL_PARSE


def refusal(ruling: Ruling) -> bytes:
    """What a client reads in place of an answer: CONTRACT's 42501 with rule, message and a hint."""
    return error_response(
        "42501",
        f"hoopctl: denied by {_named(ruling.rule)}" + (f": {ruling.message}" if ruling.message else ""),
        "hoopctl policy explain 'STATEMENT' --resource pg/NAME --group GROUP says what was found and why",
        None if ruling.operation is None else f"This statement would {ruling.operation}.",
    )


def commits(body: bytes) -> bool:
    """Whether an ErrorResponse says that code wanted to end a transaction in which it may not."""
    if _TERMINATION.encode() not in body:
        return False
    found = fields(body)
    return found.get("C") == _TERMINATION and found.get("F", "").endswith(_SPI)


def refused_commit(rule: str | None) -> bytes:
    """The error in place of that one, where the transaction is the agent's and not the client's. `rule` names what
    the code would have to be judged by."""
    return error_response(
        "42501",
        f"hoopctl: denied by {_named(rule)}: code that commits or rolls back by itself can't be judged before it does",
        "leave COMMIT and ROLLBACK to the client, or run it in a session that nothing which denies or masks is about",
    )


def masked_error(body: bytes) -> bytes:
    """An ErrorResponse of a statement that reads masked columns: what kind of error it is and where, and no more."""
    kept = [field + b"\0" for field in body.split(b"\0") if field[:1] in _TELLING]
    return message(messages.ERROR, b"".join(kept) + b"M" + text(_MASKED) + b"\0")


def concealed(body: bytes, masked: Masked, key: bytes) -> bytes | None:
    """What is told of any other ErrorResponse in its place, if not the same: where columns are masked, without what is
    quoted of a row, and without what is found by its look."""
    told = body
    if masked.by_column and b"\0D" in body:
        kept = [field for field in body.split(b"\0") if field and field[:1] != b"D"]
        told = b"".join([field + b"\0" for field in kept]) + b"\0"
    if masked.search is not None:
        told = masked.search.report(key, told)
    return None if told is body else message(messages.ERROR, told)


def too_much() -> bytes:
    """The error in place of an answer that would have had to be kept back, and is too long for that."""
    return error_response(
        "54000",
        f"hoopctl: the answer is too long to be judged before it is told (expected at most {MAX_WITHHELD} bytes)",
        "where columns are masked, what code answers is kept back until it is known what it read; ask for fewer rows",
    )


def _named(rule: str | None) -> str:
    return "the policy's default" if rule is None else f'rule "{rule}"'
