"""Values found by what they look like, and what isn't taken for them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from agent.core.masking.flow import HOLD, Flow
from agent.core.masking.looks import PATTERN, TYPES, Detector, loosened
from agent.core.masking.spotting import Spotted
from agent.core.pg.values import text_of
from tests.agent.core.masking.lookalikes import EACH, found
from tests.agent.core.masking.values import KEY, array

EVERYTHING = Detector([name for name in TYPES if name != "national_id"])

FOUND = [
    ("email", "alice@corp.example"),
    ("email", "o'brien+tag@mail.corp.co.uk"),
    ("email", "ünal@bücher.example"),
    ("credit_card", "4111111111111111"),
    ("credit_card", "4111 1111 1111 1111"),
    ("credit_card", "5500-0000-0000-0004"),
    ("credit_card", "3782 822463 10005"),
    ("credit_card", "6011.1111.1111.1117"),
    ("credit_card", "2223003122003222"),
    ("credit_card", "3530111333300000"),
    ("iban", "DE89370400440532013000"),
    ("iban", "GB29 NWBK 6016 1331 9268 19"),
    ("iban", "NO93 8601 1117 947"),
    ("us_ssn", "123-45-6789"),
    ("us_ssn", "123 45 6789"),
    ("phone", "+1 202-555-0143"),
    ("phone", "+442079460958"),
    ("phone", "+49 (30) 901820"),
    ("phone", "+33 1 23 45 67 89"),
    ("phone", "(202) 555-0143"),
    ("phone", "202-555-0143"),
    ("phone", "202.555.0143"),
    ("phone", "1-202-555-0143"),
    ("phone", "020 7946 0958"),
    ("phone", "01 23 45 67 89"),
    ("phone", "030/90182000"),
    ("phone", "0171 5550123"),
    ("phone", "0049 30 901820"),
    ("ip_address", "192.168.17.4"),
    ("ip_address", "2001:db8::8a2e:370:7334"),
    ("ip_address", "fe80::1"),
    ("ip_address", "::1"),
    ("ip_address", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
    ("ip_address", "::ffff:10.0.0.1"),
    ("jwt", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"),
    ("pem_key", "-----BEGIN RSA PRIVATE KEY-----\nMIIBOgIBAAJBAK\n-----END RSA PRIVATE KEY-----"),
    ("pem_key", "-----BEGIN PRIVATE KEY-----\nMIIB, cut off"),
    ("aws_key", "AKIAIOSFODNN7EXAMPLE"),
    ("azure_key", "A" * 86 + "=="),
    ("github_token", "ghp_" + "a1B2" * 9),
    ("github_token", "github_pat_" + "11ABCDEFG0" * 3),
    ("gitlab_token", "glpat-" + "x9Y8" * 5),
    ("google_key", "AIza" + "Sy0_-" * 7),
    ("npm_token", "npm_" + "a1B2" * 9),
    ("slack_token", "xoxb-" + "123456789012-abcdef"),
    ("slack_token", "hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXX"),
    ("stripe_key", "sk_" + "live_4eC39HqLyjWDarjtT1zdp7dc"),
    ("ar_cuit", "20-05536168-2"),
    ("be_nn", "85.07.30-033.28"),
    ("br_cpf", "390.533.447-05"),
    ("ca_sin", "123-456-782"),
    ("ee_ik", "36805280109"),
    ("gb_nhs", "943 476 5919"),
    ("in_aadhaar", "2341 2341 2346"),
    ("ch_ssn", "756.9217.0769.85"),
    ("cl_rut", "12.531.909-2"),
    ("cn_ric", "11010519491231002X"),
    ("cz_rc", "710319/2745"),
    ("de_idnr", "36 574 261 809"),
    ("es_dni", "54362315K"),
    ("es_nie", "X-2482300W"),
    ("fi_hetu", "131052-308T"),
    ("fr_nir", "2 95 10 99 126 111 93"),
    ("it_codicefiscale", "RCCMNL83S18D969H"),
    ("kr_rrn", "971013-9019902"),
    ("mx_curp", "BOXW310820HNERXN09"),
    ("no_fodselsnummer", "151086 95088"),
    ("pl_pesel", "44051401359"),
    ("ro_cnp", "1630615123457"),
    ("se_personnummer", "880320-0016"),
    ("tr_tckimlik", "17291716060"),
    ("us_itin", "912-90-3456"),
    ("za_idnr", "7503305044089"),
]


@pytest.mark.parametrize("kind, value", FOUND)
@pytest.mark.parametrize("around", ["{}", "see {}, please", "x='{}';", "({})", "key:{}\nb", '["{}"]', "«{}»"])
def test_found(kind: str, value: str, around: str) -> None:
    """Each is found where it stands, whatever signs are around it, and suspected before."""
    detector = Detector([kind])
    before, after = around.split("{}")
    head = "AccountKey=" if kind == "azure_key" else ""
    text = f"{before}{head}{value}{after}".encode()
    start = len((before + head).encode())
    end = len(text) if "cut off" in value else start + len(value.encode())
    assert detector.suspects(text)
    assert detector.find(text) == [(start, end, kind)]
    assert EVERYTHING.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112 wrong check digit",
        "0000 0000 0000 0000",
        "DE88 3704 0044 0532 0130 00",
        "000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000",
        "256.1.1.1 1.2.3.4.5 v1.2.3.4 version 1.2.3.4 01.02.03.04",
        "12:34:56 08:00:2b:01:02:03 a::b [::2] x[1::2] std::add '1'::dec",
        "not@domain @handle a@b user@1.2.3 icon@2x.png a@ b.com",
        "eyJhbGciOiJIUzI1NiJ9 alone",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "2024-05-01 12:34:56.123456+00 1700000000000 20240501123456",
        "3f2504e0-4f89-41d3-9a0c-0305e82c3301 12345678-1234-1234-1234-123456789012",
        "5551234 555-1234 12345-6789 +12 +1 +000000000 1e+10000000",
    ],
)
def test_not_found(text: str) -> None:
    """What only resembles a value isn't taken for one."""
    assert EVERYTHING.find(text.encode()) == []


def test_lookalikes() -> None:
    """Of the corpus of look-alikes not more than docs/masking.md says is taken for something: 1 in 50 of any class,
    1 in 200 of all."""
    counts = found()
    for group, taken in counts.items():
        assert sum(taken.values()) <= EACH // 50, (group, taken)
    assert sum(sum(taken.values()) for taken in counts.values()) <= EACH * len(counts) // 200


@given(st.text(max_size=60), st.sampled_from(FOUND), st.text(max_size=60))
def test_spans(before: str, value: tuple[str, str], after: str) -> None:
    """Spans are in order, apart, within the text, and none is there that wasn't suspected."""
    text = (before + " " + value[1] + " " + after).encode("utf-8", "replace")
    spans = EVERYTHING.find(text)
    end = 0
    for start, stop, _ in spans:
        assert end <= start < stop <= len(text)
        end = stop
    assert not spans or EVERYTHING.suspects(text)


@given(st.integers(10**14, 10**15 - 1), st.sampled_from([4, 5]))
def test_cards_among_digits(number: int, first: int) -> None:
    """A card behind other groups of digits is found all the same."""
    digits = (str(first) + "1" + str(number)[:13])[:15]
    digits += luhn.calc_check_digit(digits)
    groups = " ".join([digits[at : at + 4] for at in range(0, 16, 4)])
    spans = Detector(["credit_card"]).find(f"ref A {groups}.".encode())
    assert spans == [(6, 25, "credit_card")]


def test_patterns() -> None:
    """Patterns of the policy are RE2's; groups of one name in two of them don't matter; no pattern takes long."""
    detector = Detector([], [r"\bcust_(?P<id>[0-9a-z]{12})\b", r"(?i)(?P<id>secret) \d+"])
    assert detector.find(b"x cust_0123456789ab SECRET 12") == [(2, 19, PATTERN), (20, 29, PATTERN)]
    assert detector.find(b"nothing") == []
    slow = Detector([], ["(a*)*b", "x?" * 50 + "x" * 50])
    assert slow.find(b"a" * 100_000) == []
    with pytest.raises(ValueError, match="missing"):
        Detector([], ["(a"])
    with pytest.raises(ValueError, match="no such type"):
        Detector(["emial"])
    assert not Detector([]).suspects(b"alice@corp.example")


@pytest.mark.parametrize(
    "pattern, loose",
    [
        (r"\bcust_\d\b", r"cust_\d"),
        (r"^[^a$\]]+$", r"[^a$\]]+"),
        (r"[]^]x", r"[]^]x"),
        (r"[[:^alpha:]]\z", r"[[:^alpha:]]"),
        (r"\\bx", r"\\bx"),
        (r"a\b{2}c", None),
        (r"\Q$\E", None),
        (r"^$", None),
    ],
)
def test_patterns_in_messages(pattern: str, loose: str | None) -> None:
    """In whole messages patterns are looked for without what they say of a value's ends, or each value is searched."""
    assert loosened(pattern) == loose


def spotted(
    oid: int, value: str, way: str = "redact", modifier: int = -1, types: tuple[str, ...] = TYPES
) -> str | None:
    made = Spotted(Detector(types), way, KEY, oid, modifier).replace(value.encode())
    return None if made is None else made.decode()


@pytest.mark.parametrize(
    "oid, modifier, value, expected",
    [
        (25, -1, "to alice@corp.example, 4111111111111111", "to ***, ***"),
        (25, -1, "nothing", "nothing"),
        (1043, 4 + 18, "alice@corp.example", "***"),
        (1042, 4 + 20, "alice@corp.example  ", "***" + " " * 17),
        (20, -1, "4111111111111111", "0"),
        (20, -1, "4111111111111112", "4111111111111112"),
        (869, -1, "10.1.2.3", "0.0.0.0"),
        (3802, -1, '{"a": "x alice@corp.example", "b": [4111111111111111, 7]}', '{"a": "x ***", "b": [0, 7]}'),
        (114, -1, '{"a":"alice\\u0040corp.example"}', '{"a":"***"}'),
        (114, -1, '{"a":"\\nalice@corp.example\\t"}', '{"a":"\\n***\\t"}'),
        (114, -1, '{"alice@corp.example" : 1}', '{"***" : 1}'),
        (142, -1, "<a>alice@corp.example</a>", "<a>***</a>"),
        (142, -1, "<a>alice&#64;corp.example</a>", "<masked/>"),
        (17, -1, "\\x" + b"to bob@corp.example!".hex(), "\\x" + b"to ***!".hex()),
        (1009, -1, '{bob@corp.example,"a b",NULL,"\\"bob@corp.example"}', '{***,"a b",NULL,"\\"***"}'),
        (1016, -1, "{4111111111111111,1}", "{}"),
        (1001, -1, '{"\\\\x' + b"bob@corp.example".hex() + '"}', "{}"),
        (2249, -1, "(1,bob@corp.example)", None),
        (16_400, -1, "bob@corp.example", None),
        (16_400, -1, "happy", "happy"),
    ],
)
def test_within_values(oid: int, modifier: int, value: str, expected: str | None) -> None:
    """What is found is replaced where it stands; types that can't hold stars are replaced as a whole."""
    assert spotted(oid, value, "redact", modifier) == expected


def test_within_values_in_other_ways() -> None:
    """Partial, hash, fake and null of a part, the same as of a whole value."""
    text = "to alice@corp.example now"
    assert spotted(25, text, "partial") == "to a***@corp.example now"
    assert spotted(25, text, "null") is None
    hashed = spotted(25, text, "hash")
    assert hashed is not None and hashed[3:35] == spotted(25, "alice@corp.example", "hash")
    fake = spotted(25, text, "fake")
    assert fake is not None and "@example." in fake and "alice" not in fake
    card = spotted(20, "4111111111111111", "fake")
    assert card is not None and luhn.is_valid(card) and len(card) == 16


@given(st.text(max_size=30), st.sampled_from(["hash", "fake", "redact", "partial"]))
def test_json_stays_json(text: str, way: str) -> None:
    """JSON with anything in it stays JSON, and what was found isn't there any more."""
    text = text.encode("utf-8", "replace").decode()
    document = json.dumps({text: [text + " bob@corp.example ", 4111111111111111, "x"]})
    made = spotted(114, document, way, types=("email", "credit_card"))
    assert made is not None and "bob@" not in made and "4111111111111111" not in made
    assert next(iter(json.loads(made).values()))[2] == "x"


def test_binary_arrays() -> None:
    """Arrays in binary are replaced element by element, and stay arrays."""
    value = array(["bob@corp.example", None, "x"])
    made = Spotted(Detector(["email"]), "redact", KEY, 1009, -1, True).replace(value)
    assert made is not None and text_of(1009, made) == "{***,NULL,x}"


PIECES = st.lists(st.integers(0, 3 * HOLD), max_size=6)


@given(
    st.lists(st.sampled_from([each for _, each in FOUND if "cut" not in each] + ["lorem ipsum " * 400]), max_size=6),
    PIECES,
)
def test_flow(values: list[str], cuts: list[int]) -> None:
    """However a text is cut into pieces, what comes out is what would come out of it as a whole."""
    text = "\n; ".join(["", *values, ""]).encode()
    flow = Flow(EVERYTHING, "redact", KEY)
    made, at = b"", 0
    for cut in [*sorted(min(each, len(text)) for each in cuts), len(text)]:
        made += flow.feed(text[at:cut])
        at = cut
    made += flow.finish()
    assert made == Spotted(EVERYTHING, "redact", KEY, 25).replace(text)
    assert flow.count == len(EVERYTHING.find(text))


def test_flow_is_bounded() -> None:
    """No more is held back than a bounded tail of a text that has nothing in it."""
    flow = Flow(EVERYTHING, "redact", KEY)
    passed = sum(len(flow.feed(b"lorem ipsum " * 1000)) for _ in range(20))
    assert passed >= 12_000 * 20 - HOLD
