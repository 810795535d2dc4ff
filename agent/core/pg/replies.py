"""The server's messages once a session is under way: matched to what was asked, recorded, passed on.

Rows and COPY data pass as whole slices of what arrived, their messages only counted, and unless they are huge never in
parts, so that a client whose server is lost in mid-row can still be told; everything else is read. Where values are
masked (agent.core.pg.veil), rows pass as whole messages, rewritten.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from agent.core.commands import Command
from agent.core.limits import MAX_MASKED_ROW, MAX_ROW, MAX_SERVER_MESSAGE, MAX_WHOLE_ROW, MAX_WITHHELD
from agent.core.pg import messages
from agent.core.pg.exchange import COMPLETES, FUNCTION, QUERY, REPLIES, SYNC, Request
from agent.core.pg.messages import HEAD, ProtocolError, u32
from agent.core.pg.outcomes import Outcomes
from agent.core.pg.watch import Watch

_ENDINGS: Final = (
    messages.BIND_COMPLETE,
    messages.COMMAND_COMPLETE,
    messages.EMPTY_QUERY,
    messages.FUNCTION_RESULT,
    messages.PORTAL_SUSPENDED,
    messages.READY,
)
"""What ends an answer without an error."""
_ASIDE: Final = (messages.NOTICE, messages.PARAMETER_STATUS, messages.NOTIFICATION)
"""What may come at any time."""
_AT_ONCE: Final = (messages.ERROR, messages.COPY_IN, messages.COPY_OUT, messages.ROW_DESCRIPTION)
"""What a client whose answer is withheld gets nevertheless: it is masked, or has no value in it."""


class Replies(Outcomes):
    """Reads the server."""

    def add(self, data: bytes) -> None:
        """Bytes of the server."""
        self._inbox.add(data)

    def read(self, out: list[Command], now: int) -> bytes:
        """Consumes what is whole, and of rows whatever there is; returns what the client gets. Raises ProtocolError."""
        if not self._inbox.ready() and not self._sent:
            return b""
        data = self._inbox.take() if self._inbox.ready() else b""
        size: i64 = len(data)
        at: i64 = 0
        start: i64 = 0
        needed: i64 = 0
        rows = self._row_taker()
        watched = self.watch is not None
        while at < size:
            if self._passing > 0:
                step = min(self._passing, size - at)
                at += step
                self._passing -= step
                continue
            if at + HEAD > size:
                needed = HEAD
                break
            tag: i64 = data[at]
            length = u32(data, at + 1)
            if length < 4:
                raise ProtocolError(f"invalid message length (got {length}, expected at least 4)")
            if watched and (tag != messages.DATA_ROW or rows is None) and self._watches(tag):
                end = at + 1 + length
                if length > MAX_SERVER_MESSAGE:
                    raise ProtocolError(
                        f"message too large (got {length} bytes, expected at most {MAX_SERVER_MESSAGE})"
                    )
                if end > size:
                    needed = end - at
                    break
                if self._watched(tag, data, start, at, end, out, now):
                    start = end
                else:
                    start = self._message(tag, data, start, at, end, out, now)
                at = end
                rows = self._row_taker()
                continue
            if tag == messages.DATA_ROW or tag == messages.COPY_DATA:
                if rows is None:
                    raise ProtocolError(f"message of type {tag:#04x} out of turn")
                if rows is not self._owner:
                    self._cut(data[start:at], out, now)
                    start = at
                    self._owner_is(rows)
                if rows.veil is not None:
                    end = _run(tag, data, at, size)
                    if end == at:
                        if length > MAX_MASKED_ROW:
                            raise ProtocolError(
                                f"masked row too large (got {length} bytes, expected at most {MAX_MASKED_ROW})"
                            )
                        needed = 1 + length
                        break
                    self._cut(data[start:at], out, now)
                    self._cut(rows.veil.rewrite(int(tag), data[at:end]), out, now)
                    start = at = end
                    continue
                if length > MAX_ROW:
                    raise ProtocolError(f"row too large (got {length} bytes, expected at most {MAX_ROW})")
                if at + 1 + length <= size:
                    rows.rows += 1
                    at += 1 + length
                    continue
                if length <= MAX_WHOLE_ROW:
                    needed = 1 + length
                    break
                rows.rows += 1
                at += HEAD
                self._passing = length - 4
                continue
            if length > MAX_SERVER_MESSAGE:
                raise ProtocolError(f"message too large (got {length} bytes, expected at most {MAX_SERVER_MESSAGE})")
            end = at + 1 + length
            if end > size:
                needed = end - at
                break
            start = self._message(tag, data, start, at, end, out, now)
            at = end
            rows = self._row_taker()
        if at < size:
            self._inbox.put_back(data[at:], needed)
        self._cut(data[start:at], out, now)
        answer = self._sent[0] if len(self._sent) == 1 else b"".join(self._sent)
        self._sent.clear()
        self._ledger.bytes_out += len(answer)
        return answer

    def _watches(self, tag: i64) -> bool:
        """Whether a message may be the guard's."""
        if tag in _ASIDE:
            return True
        head = self._exchange.head()
        if head is None:
            return False
        if head.held:
            return tag in _ENDINGS or (head.withheld and tag not in _AT_ONCE)
        return head.asking or (head.quiet_ready and tag == messages.READY)

    def _watched(self, tag: i64, data: bytes, start: i64, at: i64, end: i64, out: list[Command], now: int) -> bool:
        """Hands the guard what is its; returns whether the client doesn't get it. What came before is recorded then."""
        watch = self.watch
        if watch is None:
            return False
        body = data[at + HEAD : end]
        if tag in _ASIDE:
            return self._aside(watch, tag, data, start, at, end, out, now)
        request = self._exchange.head()
        if request is None:
            return False
        operation = request.operation
        self._cut(data[start:at], out, now)
        if tag == messages.READY:
            self.status = body[0] if body else messages.IDLE
        if request.asking:
            self._asked(request, tag, body)
        elif request.held and tag not in _ENDINGS:
            self._withhold(data[at:end])
        elif request.held:
            self._ending.append(data[at:end])
            if tag == messages.READY or (request.kind != QUERY and request.kind != FUNCTION):
                ending = b"".join(self._ending)
                self._ending.clear()
                self._exchange.pop()
                self._on_trial = request
                watch.executed(request, ending)
        else:
            if operation is not None:
                self._finishing.append(operation)
            self._cut(b"", out, now)
            self._owner = None
            self._exchange.pop()
        return True

    def _aside(
        self, watch: Watch, tag: i64, data: bytes, start: i64, at: i64, end: i64, out: list[Command], now: int
    ) -> bool:
        """A setting or a notice, that may come at any time."""
        body = data[at + HEAD : end]
        kept = False
        if tag == messages.PARAMETER_STATUS:
            name, _, value = body.partition(b"\0")
            watch.parameter(name.decode("latin-1"), value[:-1].decode("latin-1"))
        elif tag == messages.NOTICE:
            kept = watch.tracing and watch.notice(body)
        head = self._exchange.head()
        if not kept and tag != messages.NOTIFICATION and head is not None and head.held and head.withheld:
            self._withhold(data[at:end])
            kept = True
        told = None if kept else watch.told(int(tag), body)
        if kept or told is not None:
            self._cut(data[start:at], out, now)
        if told is not None:
            self._cut(told, out, now)
        return kept or told is not None

    def _withhold(self, content: bytes) -> None:
        self._withheld_size += len(content)
        if self._withheld_size <= MAX_WITHHELD:
            self._withheld.append(content)
        else:
            self._withheld.clear()

    def withheld(self) -> bytes | None:
        """What was kept back of an answer, to be resumed with; None when it was too much. Asked once for each."""
        kept = b"".join(self._withheld) if self._withheld_size <= MAX_WITHHELD else None
        self._withheld.clear()
        self._withheld_size = 0
        return kept

    def _asked(self, request: Request, tag: i64, body: bytes) -> None:
        effect = REPLIES.get((int(request.kind), int(tag)))
        if effect is None:
            raise ProtocolError(f"message of type {tag:#04x} in answer to request kind {request.kind}")
        if self.watch is None:
            return
        if tag == messages.ERROR and request.kind not in (QUERY, SYNC):
            for passed in self._exchange.fail():
                if passed is not request:
                    self.watch.passed_over(passed)
        elif effect == COMPLETES:
            self._exchange.pop()
        self.watch.heard(request, tag, body)

    def resume(self, request: Request, ending: bytes) -> None:
        """A held request goes on to its end with these messages, as if the server had sent them now."""
        request.held = request.withheld = False
        self._on_trial = None
        self._exchange.put_back(request)
        self._inbox.put_back(ending, 0)


def _run(tag: i64, data: bytes, at: i64, size: i64) -> i64:
    """Where the messages of this tag end that are whole, one behind the other."""
    while at + HEAD <= size and data[at] == tag:
        end = at + 1 + u32(data, at + 1)
        if end > size or end < at + HEAD:
            break
        at = end
    return at
