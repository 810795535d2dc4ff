"""What a session's evidence says: its operations, and what the client received for each."""

from __future__ import annotations

from typing import Final

from msgspec import Struct
from mypy_extensions import i64

from agent.core.commands import Append, Command
from agent.core.masking.search import Search
from agent.core.pg.exchange import Operation, Rest
from agent.core.pg.veil import Covers, Veil
from agent.core.sql.copying import CopyForm
from schemas.identity import Identity
from schemas.records import OperationEnded, OperationStarted, ResponseChunk, SessionEnded, SessionStarted


class Ruling(Struct, frozen=True):
    """What was decided about a statement, and why. `decision` is `allow` or `deny`."""

    operations: tuple[str, ...] = ()
    decision: str = "allow"
    rule: str | None = None
    policy: str | None = None
    message: str | None = None
    operation: str | None = None
    """The one that the rule forbids."""
    covers: Covers | None = None
    """Which columns of its rows are masked, if any."""
    row: bytes = b""
    """The body of the RowDescription that it was described with."""
    form: CopyForm | None = None
    """Of a COPY whose rows are masked."""
    secret: bool = False
    """It reads masked columns: what its errors say isn't told."""


UNRULED: Final = Ruling()
"""No rule applies to the session."""


class Ledger:
    """Turns what happens in a session into records, in the order in which it happens.

    `kept` is how many bytes of an operation's answer are recorded as they are; what is beyond is counted and hashed.
    `key` is what masked values are hashed with.
    """

    def __init__(self, session_id: str, identity: Identity, resource: str, kept: int, key: bytes = b"") -> None:
        self.session_id = session_id
        self.identity = identity
        self.resource = resource
        self.appended: i64 = 0
        """How many records this session had appended so far."""
        self.sequence: i64 = 0
        self.bytes_in: i64 = 0
        self.bytes_out: i64 = 0
        self._kept: i64 = kept
        self.key = key
        self.search: Search | None = None
        """What the session's answers are searched for."""
        self.ruling = UNRULED
        """What was decided about the statement that begins next."""
        self._aside = Operation(0, 0, "", None)

    def session_started(self, out: list[Command], now: int, client_address: str, client_name: str) -> None:
        who = self.identity
        self._append(
            out,
            SessionStarted(
                now,
                self.session_id,
                who.subject,
                who.groups,
                who.actor,
                who.run,
                who.credential_id,
                self.resource,
                "pg",
                client_address,
                client_name,
            ),
        )

    def session_ended(self, out: list[Command], now: int, reason: str) -> None:
        self._append(
            out, SessionEnded(now, self.session_id, reason, int(self.sequence), int(self.bytes_in), int(self.bytes_out))
        )

    def begin(
        self, out: list[Command], now: int, statement: str, parameters: tuple[str | None, ...] | None
    ) -> Operation:
        """Records a statement before it leaves for the server."""
        self.sequence += 1
        operation = Operation(int(self.sequence), now, statement, parameters)
        ruling = self.ruling
        who = self.identity
        self._append(
            out,
            OperationStarted(
                now,
                self.session_id,
                operation.sequence,
                who.subject,
                who.actor,
                who.run,
                self.resource,
                "pg",
                ruling.operations,
                statement,
                parameters,
                ruling.decision,
                ruling.rule,
                None,
                ruling.policy,
            ),
        )
        operation.known = ruling.operations
        operation.denied = ruling.decision == "deny"
        operation.appended = self.appended
        operation.secret = ruling.secret
        if ruling.covers is not None or self.search is not None:
            operation.veil = Veil(ruling.covers or (), self.key, ruling.row, self.search, ruling.form)
        return operation

    def received(self, out: list[Command], now: int, operation: Operation | None, content: bytes) -> None:
        """Records what the client is about to receive; without an operation, under sequence 0."""
        if operation is None:
            operation = self._aside
        size: i64 = len(content)
        operation.bytes += size
        room: i64 = self._kept - operation.kept
        if operation.sequence == 0:
            room = size  # what arrives outside of operations comes in small pieces, over a session's whole life
        if room < size:
            if operation.rest is None:
                operation.rest = Rest()
            operation.rest.add(content[max(room, 0) :])
            content = content[: max(room, 0)]
        if content:
            operation.kept += len(content)
            self._append(out, ResponseChunk(now, self.session_id, operation.sequence, int(operation.chunks), content))
            operation.chunks += 1

    def end(self, out: list[Command], now: int, operation: Operation, outcome: str) -> None:
        """Records what became of an operation, once; an error it met makes the outcome `error`."""
        if operation.ended:
            return
        operation.ended = True
        rest, copied, veil = operation.rest, operation.copied, operation.veil
        masked = () if veil is None else veil.masked
        if veil is not None:
            operation.rows += veil.rows
        if operation.error_code is not None:
            outcome = "denied" if operation.denied else "error"
        finished = operation.finished if operation.finished else now
        self._append(
            out,
            OperationEnded(
                now,
                self.session_id,
                operation.sequence,
                outcome,
                tuple(operation.tags),
                operation.row_count(),
                int(operation.bytes),
                max(finished - operation.started, 0),
                operation.error_code,
                operation.error_message,
                masked,
                0 if veil is None else veil.values,
                0 if rest is None else int(rest.size),
                None if rest is None else rest.hexdigest(),
                0 if copied is None else int(copied.size),
                None if copied is None else copied.hexdigest(),
                operation.inside,
                operation.denied_by,
            ),
        )

    def _append(
        self,
        out: list[Command],
        record: SessionStarted | SessionEnded | OperationStarted | OperationEnded | ResponseChunk,
    ) -> None:
        out.append(Append(record))
        self.appended += 1
