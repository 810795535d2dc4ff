"""Rows and COPY data: what is masked is replaced, all else stays byte for byte, what isn't as foretold is refused."""

from __future__ import annotations

import csv
import io
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.copies import BinaryCopy, Copy, CsvCopy, TextCopy
from agent.core.masking.looks import Detector
from agent.core.masking.replacement import Replacement
from agent.core.masking.replacer import Replacer
from agent.core.masking.rows import Plan, RowError, Rows
from agent.core.masking.spotting import Several, Spotted
from tests.agent.core.masking.values import KEY

Row = list[bytes | None]
VALUES = st.one_of(st.none(), st.binary(max_size=12), st.sampled_from([b"a\tb", b"\\N", b'"', b"\r\n", b"x,y", b"\\."]))
TABLES = st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(VALUES, min_size=width, max_size=width), max_size=6))


def message(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("!I", len(body) + 4) + body


def tuple_of(row: Row) -> bytes:
    values = [b"\xff" * 4 if each is None else struct.pack("!i", len(each)) + each for each in row]
    return struct.pack("!h", len(row)) + b"".join(values)


def data_row(row: Row) -> bytes:
    return message(b"D", tuple_of(row))


def parsed(data: bytes, tag: bytes) -> list[bytes]:
    bodies = []
    while data:
        assert data[:1] == tag
        size = int.from_bytes(data[1:5], "big")
        bodies.append(data[5 : 1 + size])
        data = data[1 + size :]
    return bodies


def values_of(body: bytes) -> Row:
    count, at = int.from_bytes(body[:2], "big"), 2
    row: Row = []
    for _ in range(count):
        size = int.from_bytes(body[at : at + 4], "big", signed=True)
        row.append(None if size < 0 else body[at + 4 : at + 4 + size])
        at += 4 + max(size, 0)
    assert at == len(body)
    return row


def masked(row: Row, places: set[int], replacement: Replacer) -> Row:
    return [
        replacement.replace(each) if place in places and each is not None else each for place, each in enumerate(row)
    ]


def plan_of(width: int, places: set[int], replacement: Replacer, keep: bool = False) -> Plan:
    return Plan([replacement if place in places else None for place in range(width)], (), keep)


WAYS = st.sampled_from(["redact", "null", "hash", "fake", "partial"])
PLACES = st.sets(st.integers(0, 4), max_size=3)


@given(TABLES, PLACES, WAYS)
def test_data_rows(table: list[Row], places: set[int], way: str) -> None:
    """Rewritten rows are rows, their masked columns replaced and the others as they were; what was replaced is counted
    and, if asked for, kept."""
    width = len(table[0]) if table else 1
    replacement = Replacement(way, KEY, 25)
    plan = plan_of(width, places, replacement, keep=True)
    data = b"".join([data_row(row) for row in table])
    made = Rows(plan).rewrite(data)
    assert [values_of(body) for body in parsed(made, b"D")] == [masked(row, places, replacement) for row in table]
    hidden = [(at, place, row[place]) for at, row in enumerate(table) for place in sorted(places) if place < width]
    assert plan.taken() == [each for each in hidden if each[2] is not None]
    assert sum(plan.counts) == len([each for each in hidden if each[2] is not None])
    assert plan.taken() == [] and plan.rows == len(table)


@given(TABLES, st.data())
def test_rows_that_are_not_as_foretold(table: list[Row], data: st.DataObject) -> None:
    """Cut anywhere, or with any byte changed, rows are rewritten to whole rows of as many columns, or refused."""
    width = len(table[0]) if table else 1
    whole = b"".join([data_row(row) for row in table])
    cut = data.draw(st.integers(0, len(whole)))
    broken = bytearray(whole[:cut])
    if broken:
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        made = Rows(plan_of(width, {0}, Replacement("redact", KEY, 25))).rewrite(bytes(broken))
    except RowError:
        return
    assert all(len(values_of(body)) == width for body in parsed(made, b"D"))


@pytest.mark.parametrize("wrong", [[b"a"], [b"a", b"b", b"c"], []])
def test_number_of_columns(wrong: Row) -> None:
    """Rows with fewer or more columns than the plan are refused."""
    with pytest.raises(RowError, match="another number of columns"):
        Rows(plan_of(2, {0}, Replacement("redact", KEY, 25))).rewrite(data_row(wrong))


def test_untouched_is_the_same_object() -> None:
    """Without anything to replace the buffer itself is passed on."""
    data = data_row([b"a", None]) * 3
    assert Rows(plan_of(2, set(), Replacement("redact", KEY, 25))).rewrite(data) is data
    assert Rows(plan_of(2, {1}, Replacement("redact", KEY, 25))).rewrite(data) is data


def test_what_looks_like_something() -> None:
    """Columns that are searched: buffers without a suspicion pass as they are, others are replaced where it stands."""
    detector = Detector(["email"])
    plan = Plan([None, Spotted(detector, "redact", KEY, 25)], [detector])
    clean = data_row([b"1", b"nothing here"])
    assert Rows(plan).rewrite(clean) is clean
    made = Rows(plan).rewrite(clean + data_row([b"2", b"mail bob@corp.example now"]))
    assert [values_of(body) for body in parsed(made, b"D")] == [[b"1", b"nothing here"], [b"2", b"mail *** now"]]
    assert plan.counts == [0, 1]


LOOKS = st.lists(
    st.one_of(
        st.none(),
        st.binary(max_size=70),
        st.sampled_from(
            [
                b"bob@corp.example",
                b"4111111111111111",
                b"cust_1",
                b"x cust_12",
                b"discust_1",
                b"+1 202-555-0143",
                b"4" * 47 + b" bob@corp.example",
                b"@" * 64,
            ]
        ),
    ),
    min_size=3,
    max_size=3,
)


@given(st.lists(LOOKS, max_size=8), st.sampled_from([[r"\bcust_\d"], [r"^cust_\d$"], [r"\Qcust_\E1"], []]))
def test_what_surrounds_a_value_does_not_matter(table: list[Row], patterns: list[str]) -> None:
    """Looking at whole buffers first finds the same as looking at each value: lengths and tags between values are
    nothing that a value begins or ends with, and patterns see the ends of values."""
    detectors = [Detector(["email", "phone", "credit_card"], patterns), Detector(["iban"])]
    several = Several([Spotted(each, "redact", KEY, 25) for each in detectors])
    plan = Plan([several, None, several], detectors)
    made = Rows(plan).rewrite(b"".join([data_row(row) for row in table]))
    wanted = [masked(row, {0, 2}, several) for row in table]
    assert [values_of(body) for body in parsed(made, b"D")] == wanted
    hidden = [(row[place], want[place]) for row, want in zip(table, wanted, strict=True) for place in (0, 2)]
    assert sum(plan.counts) == len([1 for before, after in hidden if before is not after])
    assert plan.rows == len(table)
    lines = b"".join([text_line(row) for row in table])
    assert fed(TextCopy(Plan([several, None, several], detectors)), lines, []) == b"".join(map(text_line, wanted))


def test_what_does_not_show_in_the_bytes() -> None:
    """A card number as int8 in binary is found though no digit of it is in the message."""
    detector = Detector(["credit_card"])
    plan = Plan([Spotted(detector, "redact", KEY, 20, -1, True)], [detector])
    made = Rows(plan).rewrite(data_row([struct.pack("!q", 4111111111111111)]) + data_row([struct.pack("!q", 42)]))
    assert [values_of(body) for body in parsed(made, b"D")] == [[bytes(8)], [struct.pack("!q", 42)]]


SIGNS = {b"\\": b"\\\\", b"\t": b"\\t", b"\n": b"\\n", b"\r": b"\\r", b"\b": b"\\b", b"\f": b"\\f", b"\v": b"\\v"}


def text_line(row: Row, delimiter: bytes = b"\t") -> bytes:
    """As CopyAttributeOutText writes it."""
    signs = {delimiter: b"\\" + delimiter, **SIGNS}
    fields = [
        b"\\N" if each is None else b"".join([signs.get(bytes([byte]), bytes([byte])) for byte in each]) for each in row
    ]
    return delimiter.join(fields) + b"\n"


def csv_line(row: Row, delimiter: bytes = b",") -> bytes:
    """As CopyAttributeOutCSV writes it."""
    fields = []
    for each in row:
        quote = each == b"" or (each is not None and any(byte in each for byte in b'"\r\n' + delimiter))
        quote = quote or (each == b"\\." and len(row) == 1)
        fields.append(b"" if each is None else b'"' + each.replace(b'"', b'""') + b'"' if quote else each)
    return delimiter.join(fields) + b"\n"


def binary_copy(table: list[Row]) -> bytes:
    return b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join([tuple_of(row) for row in table]) + b"\xff\xff"


def fed(copy: Copy, content: bytes, cuts: list[int]) -> bytes:
    """What is sent on when the content comes in messages cut so."""
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    made = b"".join([copy.feed(message(b"d", content[at:end])) for at, end in pairwise(places)])
    return b"".join(parsed(made + copy.finish(), b"d"))


CUTS = st.lists(st.integers(0, 200), max_size=5)


@given(TABLES, PLACES, WAYS, CUTS, st.sampled_from([b"\t", b"|"]))
def test_copy_text(table: list[Row], places: set[int], way: str, cuts: list[int], delimiter: bytes) -> None:
    """COPY in text format, cut into messages anywhere: the masked columns replaced, the rest as it was."""
    width = len(table[0]) if table else 1
    replacement = Replacement(way, KEY, 25)
    content = b"".join([text_line(row, delimiter) for row in table])
    expected = b"".join([text_line(masked(row, places, replacement), delimiter) for row in table])
    assert fed(TextCopy(plan_of(width, places, replacement), delimiter), content, cuts) == expected


@given(TABLES, PLACES, WAYS, CUTS, st.sampled_from([b",", b";"]))
def test_copy_csv(table: list[Row], places: set[int], way: str, cuts: list[int], delimiter: bytes) -> None:
    """COPY in CSV, values over several lines included."""
    width = len(table[0]) if table else 1
    replacement = Replacement(way, KEY, 25)
    content = b"".join([csv_line(row, delimiter) for row in table])
    made = fed(CsvCopy(plan_of(width, places, replacement), delimiter), content, cuts)
    wanted = b"".join([csv_line(masked(row, places, replacement), delimiter) for row in table])
    read = [list(csv.reader(io.StringIO(each.decode("latin-1"), newline=""), delimiter=delimiter.decode()))
            for each in (made, wanted)]  # fmt: skip
    assert read[0] == read[1]
    if not places:
        assert made == content


@given(TABLES, PLACES, WAYS, CUTS)
def test_copy_binary(table: list[Row], places: set[int], way: str, cuts: list[int]) -> None:
    """COPY in binary, cut into messages anywhere."""
    width = len(table[0]) if table else 1
    replacement = Replacement(way, KEY, 25)
    made = fed(BinaryCopy(plan_of(width, places, replacement)), binary_copy(table), cuts)
    assert made == binary_copy([masked(row, places, replacement) for row in table])


def test_copy_keeps_the_messages() -> None:
    """A row a message, as PostgreSQL sends them, stays a row a message, the header before the first row."""
    replacement = Replacement("redact", KEY, 25)
    made = TextCopy(plan_of(1, {0}, replacement)).feed(message(b"d", b"a\n") + message(b"d", b"b\n"))
    assert parsed(made, b"d") == [b"***\n", b"***\n"]
    content = binary_copy([[b"a"], [b"b"]])
    copy = BinaryCopy(plan_of(1, {0}, replacement))
    sent = [content[:26], content[26:33], content[33:]]
    bodies = parsed(b"".join([copy.feed(message(b"d", each)) for each in sent]), b"d")
    assert [len(each) for each in bodies] == [28, 9, 2] and copy.finish() == b""


def test_copy_options() -> None:
    """Headers pass, NULL is what the options say, quotes and escapes too."""
    replacement = Replacement("redact", KEY, 25)
    text = TextCopy(plan_of(2, {1}, replacement), b"|", b"nil", header=True)
    assert fed(text, b"id|name\n1|bob\n2|nil\n3|\\|x\n", []) == b"id|name\n1|***\n2|nil\n3|***\n"
    text = TextCopy(plan_of(1, {0}, replacement), b"\t", b"***")
    assert fed(text, b"bob\n", []) == b"\\x2a**\n"
    made = CsvCopy(plan_of(2, {1}, replacement), b";", b"NULL", b"'", b"\\", header=True)
    assert fed(made, b"id;name\n1;'it\\'s;\nbob'\n2;NULL\n3;x\n", []) == b"id;name\n1;'***'\n2;NULL\n3;***\n"
    made = CsvCopy(plan_of(1, {0}, replacement), b",", b"***")
    assert fed(made, b"x\n", []) == b'"***"\n'
    gone = CsvCopy(plan_of(1, {0}, Replacement("null", KEY, 25)), b",", b"-")
    assert fed(gone, b"x\n", []) == b"-\n"


def wrong_copies() -> list[tuple[Copy, bytes]]:
    replacement = Replacement("redact", KEY, 25)
    plan = [plan_of(2, {1}, replacement) for _ in range(9)]
    return [
        (TextCopy(plan[0]), b"1\t2\t3\n"),
        (TextCopy(plan[1]), b"1\n"),
        (CsvCopy(plan[2]), b"1\n"),
        (CsvCopy(plan[3]), b'1,"a"b\n'),
        (CsvCopy(plan[4]), b'1,"a\n'),
        (BinaryCopy(plan[5]), b"no signature, no data"),
        (BinaryCopy(plan[6]), binary_copy([[b"1"]])),
        (BinaryCopy(plan[7]), binary_copy([[b"1", b"2"]])[:-5]),
        (BinaryCopy(plan[8]), binary_copy([[b"1", b"2"]]) + b"\0\2"),
    ]


@pytest.mark.parametrize("place", range(9))
def test_copies_that_are_not_as_foretold(place: int) -> None:
    """Other numbers of columns, quotes in odd places, half rows at the end: refused."""
    copy, content = wrong_copies()[place]
    with pytest.raises(RowError):
        fed(copy, content, [])


@pytest.mark.parametrize("data", [b"D\0\0\0\x04", b"d\0\0\0\x03", b"d\0\0\0\x09ab", b"d\0\0"])
def test_messages_that_are_none(data: bytes) -> None:
    """Anything but whole CopyData messages is refused."""
    with pytest.raises(RowError):
        TextCopy(plan_of(1, {0}, Replacement("redact", KEY, 25))).feed(data)
    with pytest.raises(RowError):
        Rows(plan_of(1, {0}, Replacement("redact", KEY, 25))).rewrite(data)
