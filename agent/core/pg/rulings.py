"""What was decided in a session, and for how long that holds.

A decision rests on the statement, its parameters' types, the settings in force and the catalog. It is kept by the first
three; about the catalog it is believed for a second, and for no longer than nobody changes it through this agent.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from agent.core.pg.ledger import Ruling
from agent.core.pg.refusals import refusal
from agent.core.policy.masks import Masked
from agent.core.policy.rulebook import Rulebook
from agent.core.policy.screening import Barred, beyond, screen, screen_inside
from agent.core.sql.catalog import Catalog
from agent.core.sql.copying import CopyForm, copy_form
from agent.core.sql.found import Found, Wanted
from agent.core.sql.judgement import UNKNOWN, TreeWanted
from agent.core.sql.outlines import MAX_OUTLINED, outline, telling
from agent.core.sql.statements import QUERY, Statement, shape
from schemas.operation import Operation as Act

LIFETIME: Final = 1_000_000
"""Microseconds that a decision, and what is known of the catalog, is believed: others may change the catalog."""

MAX_KEPT: Final = 2_048
"""Decisions that a session keeps; then it begins anew."""

LONGEST_KEPT: Final = 65_536
"""Characters of a statement whose decision is kept."""

MAX_KEPT_SIZE: Final = 1 << 21
"""Characters of all of them together; then it begins anew, too."""

MAX_RECENT: Final = 512
"""Messages that are known by their bytes."""

NEVER_ASKED: Final = -1

Row = tuple[str | None, ...]


class Judged:
    """A statement with what was found of it and what was decided."""

    def __init__(self, found: Found, ruling: Ruling, made: int) -> None:
        self.found = found
        self.ruling = ruling
        self.made = made
        self.denied: bool = ruling.decision == "deny"
        self.passes: bool = not self.denied and not found.opaque
        """It may go on as it is: it is allowed, and runs no code that has to be watched."""

    def refusal(self) -> bytes:
        """The ErrorResponse that tells of the denial."""
        return refusal(self.ruling)


class Rulings:
    """Decides for one session, and remembers."""

    def __init__(self, rulebook: Rulebook, masked: Masked, catalog: Catalog) -> None:
        self._rulebook = rulebook
        self.masked = masked
        self._catalog = catalog
        self._kept: dict[tuple[str, tuple[int, ...], int], Judged] = {}
        self._shapes: dict[tuple[str, tuple[int, ...], int], Judged] = {}
        self._size = 0
        self._messages: dict[tuple[bytes, tuple[int, ...], int], Judged] = {}
        self._outlines: dict[tuple[bytes, tuple[int, ...], int], Judged] = {}
        self._silent: set[bytes] = set()
        """Outlines that don't tell."""
        self._settings: dict[Row, int] = {}
        self._changes = catalog.changes

    def take(self, rulebook: Rulebook, masked: Masked) -> None:
        """Another policy."""
        self._rulebook = rulebook
        self.masked = masked
        self.forget()

    @property
    def permissive(self) -> bool:
        """Whether all is allowed whatever it does."""
        return self._rulebook.permissive and not self.masked.by_column

    @property
    def guardian(self) -> str | None:
        """The first rule or mask that something could be denied by; None where that is the policy's default."""
        return self._rulebook.guardian or self.masked.first or None

    def setting(self, row: Row) -> int:
        """A number for these settings."""
        if len(self._settings) >= MAX_KEPT:
            self.forget()
            self._settings.clear()
        return self._settings.setdefault(row, len(self._settings))

    def stale(self) -> bool:
        """Whether the catalog was changed through this agent since this was asked last."""
        if self._changes == self._catalog.changes:
            return False
        self._changes = self._catalog.changes
        self.forget()
        return True

    def changed(self) -> None:
        """This session changes the catalog."""
        self._catalog.changes += 1

    def forget(self) -> None:
        self._kept.clear()
        self._shapes.clear()
        self._size = 0
        self.read_otherwise()

    def read_otherwise(self) -> None:
        """The same bytes may be other statements now."""
        self._messages.clear()
        self._outlines.clear()
        self._silent.clear()

    def recalled(self, raw: bytes, types: tuple[int, ...], setting: int, now: int) -> Judged | None:
        """The decision about a message of one statement, by its bytes; None where it has to be read."""
        if self._changes != self._catalog.changes or not self._rulebook.stable:
            return None
        judged = self._messages.get((raw, types, setting))
        if judged is not None and now - judged.made < LIFETIME:
            return judged
        judged = self._outlines.get((outline(raw), types, setting))
        return judged if judged is not None and now - judged.made < LIFETIME else None

    def recall(self, raw: bytes, types: tuple[int, ...], setting: int, statement: Statement, judged: Judged) -> None:
        """Remembers that this message, read as it is read now, is this statement alone, about which `kept` knew."""
        if len(raw) > MAX_OUTLINED or not self._rulebook.stable:
            return
        if len(self._messages) >= MAX_RECENT or len(self._outlines) >= MAX_RECENT:
            self.read_otherwise()
        self._messages[(raw, types, setting)] = judged
        if statement.kind == QUERY and not judged.found.constants_matter:
            outlined = outline(raw)
            if outlined and outlined not in self._silent:
                if telling(outlined):
                    self._outlines[(outlined, types, setting)] = judged
                elif len(self._silent) < MAX_RECENT:
                    self._silent.add(outlined)

    def kept(self, statement: Statement, types: tuple[int, ...], setting: int, now: int) -> Judged | None:
        """The decision about a statement, if there is one that still holds."""
        text = statement.text
        if self._changes != self._catalog.changes or len(text) > LONGEST_KEPT:
            return None
        judged = self._kept.get((text, types, setting))
        if judged is None or now - judged.made >= LIFETIME:
            formed = shape(text) if statement.kind == QUERY else None
            judged = None if formed is None else self._shapes.get((formed, types, setting))
            if judged is None or now - judged.made >= LIFETIME:
                return None
        if not self._rulebook.stable:
            return Judged(judged.found, self.rule(judged.found, statement, now, judged.ruling.row), judged.made)
        return judged

    def keep(self, statement: Statement, types: tuple[int, ...], setting: int, judged: Judged) -> None:
        """Remembers a decision, for the statement and unless its constants matter for all of its shape."""
        if len(statement.text) > LONGEST_KEPT or judged.found.changes_catalog:
            return
        self._size += len(statement.text)
        if len(self._kept) >= MAX_KEPT or len(self._shapes) >= MAX_KEPT or self._size > MAX_KEPT_SIZE:
            self.forget()
        self._kept[(statement.text, types, setting)] = judged
        if statement.kind == QUERY and not judged.found.constants_matter:
            formed = shape(statement.text)
            if formed is not None:
                self._shapes[(formed, types, setting)] = judged

    def judge(self, found: Found, statement: Statement, now: int, row: bytes = b"") -> Judged:
        """`row` is the body of the statement's RowDescription, if it was described."""
        return Judged(found, self.rule(found, statement, now, row), now)

    def rule(self, found: Found, statement: Statement, now: int, row: bytes = b"") -> Ruling:
        """What the policy says, and what masks do."""
        ruling = self._decide(found, statement, now)
        if ruling.decision == "deny" or self.masked.empty:
            return ruling
        screened = screen(self.masked, found, self._allowed((*found.operations, *found.reaches), statement, now))
        if isinstance(screened, Barred):
            return self._barred(ruling, screened)
        form: CopyForm | None = None
        if statement.tag == "COPY" and (screened.covers is not None or self.masked.search is not None):
            form = copy_form(statement)
            if form is None:
                return self._barred(ruling, Barred(self.masked.name, "it copies in a form that can't be read"))
        return structs.replace(ruling, covers=screened.covers, row=row, form=form, secret=screened.secret)

    def _decide(self, found: Found, statement: Statement, now: int) -> Ruling:
        """What the rules say. Until there is consent to wait for, what needs it is denied."""
        operations = found.operations
        verdict = self._rulebook.decide(operations, statement.text, None, statement.tag, now)
        message = verdict.message
        if verdict.effect == "approve":
            message = "it needs consent, which this version can't ask for" + (f"; {message}" if message else "")
        names = tuple([str(operation) for operation in operations])
        version = self._rulebook.policy.version
        if verdict.effect != "allow":
            return Ruling(names, "deny", verdict.rule, version, message, str(verdict.operation or "") or None)
        if found.reaches:
            reached = self._rulebook.decide(found.reaches, statement.text, None, statement.tag, now)
            if reached.effect != "allow":
                message = f"{reached.message or ''} Code that it runs may do so, which could not be undone.".strip()
                return Ruling(names, "deny", reached.rule, version, message, str(reached.operation or "") or None)
        return Ruling(names, "allow", verdict.rule, version)

    def rule_inside(self, found: Found, parts: tuple[Found, ...], statement: Statement, now: int) -> Ruling:
        """The same of what code was seen to do: all of it, and statement by statement."""
        operations = found.operations
        ruling = self._decide(found, statement, now)
        if ruling.decision == "deny" or self.masked.empty:
            return ruling
        if UNKNOWN in operations:
            parts = (*parts, found)
        barred = screen_inside(self.masked, parts, self._allowed(operations, statement, now))
        return ruling if barred is None else self._barred(ruling, barred)

    def reads_masked(self, found: Found | Wanted | TreeWanted) -> bool:
        """Whether what was found of code so far has anything to do with masked columns; what isn't known may."""
        if not isinstance(found, Found):
            return True
        return self.masked.any_of(found.shown) or self.masked.any_of(found.compared)

    def _barred(self, ruling: Ruling, barred: Barred) -> Ruling:
        return Ruling(ruling.operations, "deny", barred.mask, ruling.policy, f"{barred.why}, so it can't be masked")

    def _allowed(self, operations: tuple[Act, ...], statement: Statement, now: int) -> tuple[Act, ...]:
        """Those of the operations that masks can't follow which a rule allows nevertheless."""
        found: list[Act] = []
        for one in operations:
            if beyond(one) and self._rulebook.decide((one,), statement.text, None, statement.tag, now).rule is not None:
                found.append(one)
        return tuple(found)
