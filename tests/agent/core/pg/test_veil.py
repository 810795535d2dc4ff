"""Answers behind a veil: which of their values are replaced, and that nothing but rows as foretold gets through."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.search import Search
from agent.core.pg.messages import COPY_DATA, DATA_ROW, ProtocolError
from agent.core.pg.veil import RowType, Veil
from agent.core.policy.masks import Cover
from agent.core.sql.copying import CopyForm
from schemas.policy import Mask
from tests.agent.core.pg.dialogue import msg, row

KEY = b"the key of a test"
MAIL = Cover("personal", "redact", ("app.users.email",))
AGE = Cover("ages", "redact", ("app.users.age",))
LOOK = Search([Mask("look", types=("email",))])


def described(*columns: tuple[int, int]) -> bytes:
    """The body of a RowDescription of columns with these types and formats."""
    body = struct.pack("!H", len(columns))
    for kind, form in columns:
        body += b"c\0" + struct.pack("!IhIhiH", 0, 0, kind, -1, -1, form)
    return body


def data(*values: bytes | None) -> bytes:
    body = struct.pack("!H", len(values))
    for value in values:
        body += struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value
    return msg("D", body)


def veil(*covers: Cover | None, row: bytes = b"", form: CopyForm | None = None) -> Veil:
    return Veil(covers, KEY, row, None, form)


def test_row_type() -> None:
    """Types, modifiers and formats are those of the columns; of an empty body there are none."""
    found = RowType(described((25, 0), (23, 1)))
    assert (found.types, found.modifiers, found.formats) == ([25, 23], [-1, -1], [0, 1])
    assert RowType(b"").types == RowType(b"\0").types == RowType(b"\0\0").types == []
    with pytest.raises(ProtocolError):
        RowType(described((25, 0))[:-1])


def test_covered_columns_alone() -> None:
    """What is covered is replaced, what isn't stays byte for byte, NULL stays NULL; columns and values are counted."""
    made = veil(None, MAIL)
    made.described(described((23, 0), (25, 0)))
    sent = data(b"1", b"a@corp.example") + data(b"2", None)
    assert made.rewrite(DATA_ROW, sent) == data(b"1", b"***") + data(b"2", None)
    assert (made.masked, made.values, made.rows) == (("app.users.email",), 1, 2)


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        ([], (b"0", b"***")),
        ([0], (b"0", b"***")),
        ([1], (bytes(4), b"***")),
        ([1, 0], (bytes(4), b"***")),
        ([0, 1], (b"0", b"***")),
    ],
)
def test_formats_of_a_bind(formats: list[int], expected: tuple[bytes, ...]) -> None:
    """A column is replaced in the format that its Bind asked for: none, one for all, one for each."""
    made = veil(AGE, MAIL, row=described((23, 0), (25, 0)))
    made.formatted(formats)
    age = struct.pack("!i", 41) if expected[0] == bytes(4) else b"41"
    assert made.rewrite(DATA_ROW, data(age, b"a@corp.example")) == data(*expected)


def test_type_that_is_not_known() -> None:
    """What was never described becomes NULL, which is valid for every type."""
    assert veil(AGE).rewrite(DATA_ROW, data(b"41")) == data(None)


def test_described_anew() -> None:
    """A second description counts from then on, and what was counted before stays counted."""
    made = veil(AGE)
    made.described(described((23, 0)))
    assert made.rewrite(DATA_ROW, data(b"41")) == data(b"0")
    made.described(described((25, 0)))
    assert made.rewrite(DATA_ROW, data(b"41")) == data(b"***")
    assert (made.values, made.rows) == (2, 2)


def test_another_execution() -> None:
    """`again` masks as the first did and counts from nothing."""
    made = veil(AGE, row=described((23, 0)))
    made.formatted([1])
    made.rewrite(DATA_ROW, data(struct.pack("!i", 41)))
    other = made.again()
    assert (other.masked, other.values) == ((), 0)
    assert other.rewrite(DATA_ROW, data(struct.pack("!i", 41))) == data(bytes(4))


@pytest.mark.parametrize("values", [(), (b"1",), (b"1", b"2", b"3")])
def test_another_width_than_foretold(values: tuple[bytes, ...]) -> None:
    """Rows of another number of columns are an error, at first and later."""
    with pytest.raises(ProtocolError):
        veil(None, MAIL).rewrite(DATA_ROW, data(*values))
    made = veil(None, MAIL)
    made.rewrite(DATA_ROW, data(b"1", b"2"))
    with pytest.raises(ProtocolError):
        made.rewrite(DATA_ROW, data(*values))


def test_look() -> None:
    """Where no column is covered values are searched, and what is found is counted by the mask's name."""
    made = Veil((), KEY, described((25, 0), (25, 0)), LOOK)
    assert made.rewrite(DATA_ROW, row("mail a@corp.example!", "none")) == row("mail ***!", "none")
    assert (made.masked, made.values) == (("look",), 1)


def test_cover_and_look() -> None:
    """A column that is covered is replaced as a whole; the others are searched."""
    made = Veil((AGE, None), KEY, described((25, 0), (25, 0)), LOOK)
    assert made.rewrite(DATA_ROW, row("a@corp.example x", "b@corp.example x")) == row("***", "*** x")
    assert (set(made.masked), made.values) == ({"app.users.age", "look"}, 2)


COPIED = [
    (None, b"\0\0\2", b"1\ta@corp.example\n", b"1\t***\n"),
    (CopyForm("text", delimiter="|", null="nil"), b"\0\0\2", b"1|nil\n2|b@x\n", b"1|nil\n2|***\n"),
    (CopyForm("csv"), b"\0\0\2", b'1,"a,""b"\n2,\n', b'1,"***"\n2,\n'),
    (CopyForm("csv", header=True), b"\0\0\2", b"id,email\n1,a@x\n", b"id,email\n1,***\n"),
    (CopyForm("csv", delimiter=";", quote="'", escape="\\"), b"\0\0\2", b"1;'a\\'b'\n", b"1;'***'\n"),
]


@pytest.mark.parametrize(("form", "head", "sent", "expected"), COPIED)
@pytest.mark.parametrize("pieces", [1, 3])
def test_copy(form: CopyForm | None, head: bytes, sent: bytes, expected: bytes, pieces: int) -> None:
    """Rows of COPY data are rewritten in the form that the statement named, in whatever pieces they come."""
    made = veil(None, Cover("personal", "redact", ("app.users.email",)), row=described((23, 0), (25, 0)), form=form)
    made.copied(head + bytes(4))
    step = -(-len(sent) // pieces)
    heard = b"".join(made.rewrite(COPY_DATA, msg("d", sent[at : at + step])) for at in range(0, len(sent), step))
    heard += made.finished()
    payload = b""
    while heard:
        (length,) = struct.unpack("!I", heard[1:5])
        payload, heard = payload + heard[5 : length + 1], heard[length + 1 :]
    assert payload == expected
    assert made.values == 1 and made.rows == 0


def test_copy_binary() -> None:
    """The binary form is told by the server; its fields are replaced in binary."""
    made = veil(AGE, None, row=described((23, 0), (25, 0)), form=CopyForm("binary"))
    made.copied(b"\1\0\2" + b"\0\1" * 2)
    head = b"PGCOPY\n\xff\r\n\0" + bytes(8)
    fields = struct.pack("!HIiI", 2, 4, 41, 1) + b"x"
    sent = msg("d", head) + msg("d", fields) + msg("d", b"\xff\xff")
    heard = made.rewrite(COPY_DATA, sent) + made.finished()
    assert struct.pack("!HIiI", 2, 4, 0, 1) + b"x" in heard
    assert fields not in heard


@pytest.mark.parametrize("form", [None, CopyForm("csv"), CopyForm("text")])
def test_copy_in_another_form(form: CopyForm | None) -> None:
    """A form, or a number of columns, that wasn't foretold is an error."""
    if form is not None:
        with pytest.raises(ProtocolError):
            veil(None, MAIL, form=form).copied(b"\1\0\2" + b"\0\1" * 2)
    with pytest.raises(ProtocolError):
        veil(None, MAIL, form=form).copied(b"\0\0\3" + bytes(6))
    with pytest.raises(ProtocolError):
        veil(None, MAIL, form=form).rewrite(COPY_DATA, msg("d", b"1\t2\n"))


def test_function_result() -> None:
    """What a function called by its OID returns is searched; without a search it stays."""
    sent = msg("V", struct.pack("!I", 14) + b"a@corp.example")
    made = Veil((), KEY, b"", LOOK)
    assert made.returned(sent) == msg("V", struct.pack("!I", 3) + b"***")
    assert (made.masked, made.values) == (("look",), 1)
    for same in (msg("V", struct.pack("!i", -1)), msg("V", struct.pack("!I", 2) + b"42"), msg("V")):
        assert Veil((), KEY, b"", LOOK).returned(same) == same
    assert veil().returned(sent) == sent


@given(st.binary(max_size=200))
def test_any_row_description(body: bytes) -> None:
    """Any bytes are a RowDescription with as many of each as it has columns, or a protocol error."""
    try:
        found = RowType(body)
    except ProtocolError:
        return
    assert len(found.types) == len(found.modifiers) == len(found.formats)


COVERS = st.lists(
    st.sampled_from([None, MAIL, AGE, Cover("m", "fake", ("a.b.c",)), Cover("m", "null", ("*",))]), max_size=4
)
TYPES = st.lists(
    st.tuples(st.sampled_from([0, 16, 17, 23, 25, 114, 1009, 1082, 1700, 3802, 99_999]), st.integers(0, 1))
)
VALUES = st.lists(st.none() | st.binary(max_size=30), max_size=4)


@given(COVERS, TYPES, VALUES | st.binary(max_size=60), st.booleans(), st.lists(st.integers(0, 2), max_size=4))
def test_any_rows(
    covers: list[Cover | None],
    types: list[tuple[int, int]],
    sent: list[bytes | None] | bytes,
    look: bool,
    formats: list[int],
) -> None:
    """Whatever comes as a row gives rows with as many columns, those that aren't covered unchanged, or a protocol
    error."""
    made = Veil(tuple(covers), KEY, described(*types), LOOK if look else None)
    made.formatted(formats)
    whole = msg("D", sent) if isinstance(sent, bytes) else data(*sent)
    try:
        heard = made.rewrite(DATA_ROW, whole)
    except ProtocolError:
        return
    assert struct.unpack("!I", heard[1:5]) == (len(heard) - 1,)
    assert heard[5:7] == whole[5:7]
    if isinstance(sent, list):
        values = _values(heard)
        assert len(values) == len(sent)
        for at, value in enumerate(sent):
            hidden = covers[at] if covers else None
            assert (value is None and values[at] is None) or hidden is not None or look or values[at] == value


def _values(message: bytes) -> list[bytes | None]:
    found: list[bytes | None] = []
    at = 7
    while at < len(message):
        (length,) = struct.unpack("!i", message[at : at + 4])
        found.append(None if length < 0 else message[at + 4 : at + 4 + length])
        at += 4 + max(length, 0)
    return found


FORMS = st.sampled_from(
    [None, CopyForm(), CopyForm("csv"), CopyForm("csv", quote="'", escape="\\", header=True), CopyForm("binary")]
)


@given(COVERS, FORMS, st.binary(max_size=8), st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_any_copy(
    covers: list[Cover | None], form: CopyForm | None, head: bytes, pieces: list[bytes], look: bool
) -> None:
    """Whatever comes as COPY data gives COPY data or a protocol error."""
    made = Veil(tuple(covers), KEY, b"", LOOK if look else None, form)
    try:
        made.copied(head)
        heard = b"".join([made.rewrite(COPY_DATA, msg("d", piece)) for piece in pieces]) + made.finished()
    except ProtocolError:
        return
    while heard:
        assert heard[:1] == b"d"
        heard = heard[1 + struct.unpack("!I", heard[1:5])[0] :]


@given(st.binary(max_size=60))
def test_any_function_result(body: bytes) -> None:
    """Any bytes come back as one message."""
    heard = Veil((), KEY, b"", LOOK).returned(msg("V", body))
    assert heard[:1] == b"V" and struct.unpack("!I", heard[1:5]) == (len(heard) - 1,)
