"""Which columns a cursor's rows have, by what it was declared for."""

from __future__ import annotations

from agent.core.pg.cursors import MAX_CURSORS, Cursors
from agent.core.sql.found import Found, Output, Source

MAIL = Output("email", (Source("app.users.email", plain=True),))
NAME = Output("name", (Source("app.users.name", plain=True),))
FETCH = "FETCH"
DECLARE = "DECLARE CURSOR"


def declared(cursors: Cursors, *outputs: Output, name: str = "c") -> None:
    cursors.followed(Found(cursor=name, outputs=outputs), DECLARE)


def fetched(cursors: Cursors, name: str = "c") -> Found:
    return cursors.followed(Found(cursor=name, outputs=()), FETCH)


def test_fetch_is_what_was_declared() -> None:
    """FETCH returns the columns of the cursor's query, and shows what they are made of."""
    cursors = Cursors()
    declared(cursors, NAME, MAIL)
    found = fetched(cursors)
    assert found.outputs == (NAME, MAIL)
    assert found.shown == ("app.users.name", "app.users.email")


def test_without_a_cursor() -> None:
    """Of a statement that has to do with no cursor nothing is added."""
    found = Found(shown=("app.users.id",))
    assert Cursors().followed(found, "SELECT") is found


def test_nothing_is_known_of_others() -> None:
    """A cursor that code made, or whose columns weren't found, may return anything."""
    cursors = Cursors()
    cursors.followed(Found(cursor="c", outputs=None), DECLARE)
    for name in ("c", "other"):
        found = fetched(cursors, name)
        assert (found.outputs, found.shown) == (None, ("*",))


def test_declared_twice() -> None:
    """A name that was declared for two queries may stand for either: its columns come from both, plain or not."""
    cursors = Cursors()
    declared(cursors, NAME)
    declared(cursors, MAIL)
    declared(cursors, NAME)
    (output,) = fetched(cursors).outputs or ()
    assert {source.column for source in output.sources} == {"app.users.name", "app.users.email"}
    declared(cursors, NAME, MAIL)
    assert fetched(cursors).shown == ("*",)
    declared(cursors, NAME)
    assert fetched(cursors).shown == ("*",)


def test_opaque_stays() -> None:
    """What code had part in stays so, whichever declaration it was."""
    cursors = Cursors()
    declared(cursors, Output("x", (), opaque=True))
    declared(cursors, Output("x", (), parameters=True))
    (output,) = fetched(cursors).outputs or ()
    assert output.opaque and output.parameters


def test_too_many() -> None:
    """Behind so many names nothing is known of any."""
    cursors = Cursors()
    for number in range(MAX_CURSORS):
        declared(cursors, NAME, name=f"c{number}")
    assert fetched(cursors, "c7").outputs == (NAME,)
    declared(cursors, NAME, name="one more")
    assert fetched(cursors, "c7").outputs is None
    assert fetched(cursors, "one more").shown == ("*",)
