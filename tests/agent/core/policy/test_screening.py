"""What masks mean for a statement: which columns of its rows are covered, what bars it, what is nobody's business."""

from __future__ import annotations

import pytest

from agent.core.policy.masks import Cover, Masked, Masks
from agent.core.policy.screening import CLEAR, Barred, Screened, beyond, screen, screen_inside
from agent.core.sql.found import Found, Move, Output, Source
from schemas.identity import Identity
from schemas.operation import Operation
from schemas.policy import Mask, Policy

EMAIL = "app.users.email"
READ = (Operation("SELECT", "app.users"),)
PLAIN = Output("email", (Source(EMAIL, plain=True),))
MADE = Output("upper", (Source(EMAIL),))
ID = Output("id", (Source("app.users.id", plain=True),))
COVER = Cover("personal", "redact", (EMAIL,))


def masked(*masks: Mask) -> Masked:
    return Masks(Policy("0" * 16, masks=masks)).masked(Identity("ann", ("staff",)), "pg/shop")


HIDE = masked(Mask("personal", columns=(EMAIL,)))
STRICT = masked(Mask("personal", columns=(EMAIL,), predicates="deny"))


def reads(*outputs: Output, **others: object) -> Found:
    shown = tuple(source.column for output in outputs for source in output.sources)
    return Found(**({"operations": READ, "shown": shown, "outputs": outputs} | others))  # type: ignore[arg-type]


def test_nothing_hidden() -> None:
    """Without a mask that hides columns nothing is barred and nothing covered, whatever is done."""
    wild = Found((Operation("COPY PROGRAM", "cat"),), shown=("*",), opaque=True, outputs=None)
    assert screen(masked(Mask("look", types=("email",))), wild) is CLEAR
    assert screen(masked(), wild) is CLEAR


def test_covers() -> None:
    """The columns of its rows that hidden columns have part in are covered, the others aren't; errors are secret."""
    assert screen(HIDE, reads(ID, PLAIN)) == Screened((None, COVER), True)
    assert screen(HIDE, reads(ID)) == Screened(None, False)
    assert screen(HIDE, reads(ID, compared=(EMAIL,))) == Screened(None, True)


CALL = Operation("EXECUTE", "app.note")
BARRED = {
    "read, and not known how": Found(READ, shown=(EMAIL,), outputs=None),
    "any column at all": Found(READ, shown=("*",)),
    "code that is handed it": reads(PLAIN, opaque=True),
    "code that is not known": reads(ID, opaque=True, shown=("*",)),
    "triggers of its table": reads(ID, opaque=True, operations=(Operation("UPDATE", "app.users"),)),
    "shown and nowhere accounted for": reads(ID, shown=(EMAIL,)),
    "written where nothing hides it": Found(
        (*READ, Operation("INSERT", "app.notes")),
        shown=(EMAIL,),
        outputs=(),
        moves=(Move("app.notes.body", (), (Source(EMAIL, plain=True),)),),
    ),
    "a function that does more than compute": reads(MADE, operations=(*READ, CALL)),
    "the table as a whole": Found((Operation("CREATE INDEX", "app.i"),), defines=("app.users",)),
    "the column's name": Found(READ, defines=("app.users.email TO app.users.mail",)),
    "another server": Found((Operation("FOREIGN", "app.far"),)),
    "a program": Found((Operation("COPY PROGRAM", "cat"),)),
    "a file": Found((Operation("EXECUTE", "pg_catalog.pg_read_file"),)),
    "unknown": Found((Operation("UNKNOWN", ""),)),
}


@pytest.mark.parametrize("found", BARRED.values(), ids=BARRED)
def test_barred(found: Found) -> None:
    """What could let a hidden column out elsewhere than in a row is refused by the mask's name, with the reason."""
    barred = screen(HIDE, found)
    assert isinstance(barred, Barred) and barred.mask == "personal" and barred.why


FREE = {
    "another table's code": reads(opaque=True, operations=(Operation("INSERT", "app.notes"),)),
    "another table": Found((Operation("CREATE INDEX", "app.i"),), defines=("app.notes",)),
    "a write to a masked column": Found(
        READ, shown=(EMAIL,), outputs=(), moves=(Move(EMAIL, (), (Source(EMAIL, plain=True),)),)
    ),
    "compared": Found(READ, compared=(EMAIL,), outputs=()),
}


@pytest.mark.parametrize("found", FREE.values(), ids=FREE)
def test_not_barred(found: Found) -> None:
    """What has to do with no hidden column, or keeps it where it is hidden, runs and nothing of it is covered."""
    screened = screen(HIDE, found)
    assert isinstance(screened, Screened) and screened.covers is None


def test_predicates() -> None:
    """`predicates: deny` refuses to choose rows by a hidden column, and to compute with it, whose errors would tell."""
    assert isinstance(screen(STRICT, reads(ID, compared=(EMAIL,))), Barred)
    assert isinstance(screen(STRICT, reads(MADE)), Barred)
    assert screen(STRICT, reads(PLAIN)) == Screened((COVER,), True)
    assert screen(HIDE, reads(MADE)) == Screened((COVER,), True)


def test_allowed_by_a_rule() -> None:
    """What masks can't follow runs where a rule allows that very operation."""
    wild = Operation("COPY PROGRAM", "cat")
    assert beyond(wild) and beyond(CALL) and not beyond(READ[0])
    assert screen(HIDE, Found((wild,)), (wild,)) == Screened(None, False)
    assert isinstance(screen(HIDE, Found((wild, Operation("FOREIGN", "app.far"))), (wild,)), Barred)
    assert isinstance(screen(HIDE, reads(MADE, operations=(*READ, CALL)), (CALL,)), Screened)


def test_inside() -> None:
    """What code ran is judged by each statement: any that read a hidden column bars all of it."""
    harmless = Found((Operation("INSERT", "app.notes"),))
    assert screen_inside(HIDE, (harmless, reads(ID)), ()) is None
    assert screen_inside(HIDE, (), ()) is None
    barred = screen_inside(HIDE, (harmless, reads(PLAIN)), ())
    assert barred is not None and EMAIL in barred.why
