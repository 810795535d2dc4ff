"""Statements explained, as a conversation with a server: what is asked, and what is made of the answers."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.pg.errors import fields
from agent.core.pg.interrogation import Interrogation
from agent.core.pg.messages import HEAD, ProtocolError
from schemas.explanation import Explanation, ServerError
from tests.agent.core.pg.dialogue import BOUND, CLOSED, PARSED, msg, ready, row, tag
from tests.agent.core.pg.dialogue import error as fatal

SETTINGS = row('"$user", public', "app", "app", "on", "UTF8", "notice", "on")
ENTRY = (
    "{RANGETBLENTRY :alias <> :rtekind 0 :relid 20001 :relkind r :inh true :requiredPerms 2 :selectedCols (b 8)"
    " :updatedCols (b)}"
)
TREE = (
    "{QUERY :commandType 1 :utilityStmt <> :resultRelation 0 :hasForUpdate false :rtable (%s) :rteperminfos ()"
    " :jointree {FROMEXPR :fromlist <> :quals <>} :targetList <> :stmt_len 0}"
)
USERS = row("=relation", "20001", "app", "users", "r", "owner", "", "")
Turn = tuple[str, bytes]


def said(sent: bytes) -> str:
    """The statements in these messages to a server."""
    found = []
    while sent:
        size = struct.unpack_from("!I", sent, 1)[0]
        body = sent[HEAD : size + 1]
        if sent[:1] == b"Q":
            found.append(body[:-1].decode())
        elif sent[:1] == b"P":
            found.append(body.split(b"\0")[1].decode())
        sent = sent[size + 1 :]
    return " | ".join(found)


def asked(*rows: bytes) -> bytes:
    """The answer to a statement that the agent asks for itself."""
    return PARSED + BOUND + b"".join(rows) + tag(f"SELECT {len(rows)}") + CLOSED + CLOSED


def error(code: str, what: str, **more: str) -> bytes:
    named = "".join(f"{key}{value}\0" for key, value in more.items())
    return msg("E", f"SERROR\0VERROR\0C{code}\0M{what}\0{named}\0".encode())


def notice(tree: str, **more: str) -> bytes:
    named = "".join(f"{key}{value}\0" for key, value in more.items())
    text = f"SLOG\0VLOG\0C00000\0Mrewritten parse tree:\0D({tree})\0Fprint.c\0L1\0Relog_node_display\0{named}\0"
    return msg("N", text.encode())


def shown(*notices: bytes) -> bytes:
    """The answer to the question for a tree."""
    parsed = tag("BEGIN") + ready("T") + asked(SETTINGS) + b"".join(notices) + PARSED + CLOSED + ready("T")
    return parsed + tag("ROLLBACK") + ready()


def refused(code: str, what: str, **more: str) -> bytes:
    parsed = tag("BEGIN") + ready("T") + asked(SETTINGS) + error(code, what, **more) + ready("E")
    return parsed + tag("ROLLBACK") + ready()


LEARN: Turn = ("SELECT pg_catalog.current_setting('search_path')", asked(SETTINGS) + ready())
FACTS: Turn = ("pg_class", asked(USERS) + ready())


def converse(machine: Interrogation, *turns: Turn) -> Explanation:
    """What is found when the server is asked these things, in this order, and answers so."""
    sent = machine.begin()
    for expected, answer in turns:
        assert expected in said(sent)
        sent = machine.received(answer)
    assert sent == b""
    assert machine.explanation is not None
    return machine.explanation


def test_tree_then_catalog() -> None:
    """A query's tree is taken in a read-only transaction that is rolled back; then the catalog says what it names."""
    machine = Interrogation("TABLE users")
    taken: Turn = ("TABLE users | ROLLBACK", shown(notice(TREE % ENTRY)))
    found = converse(machine, LEARN, taken, FACTS)
    (statement,) = found.statements
    assert [str(one) for one in statement.found.operations] == ["SELECT app.users"]
    assert (statement.text, statement.tag, statement.unsettled, statement.notes) == ("TABLE users", "SELECT", False, ())
    assert (found.role, found.search_path, found.error) == ("app", '"$user", public', None)


def test_nothing_is_executed() -> None:
    """The text goes to the server in Parse messages alone, and never outside of a read-only transaction."""
    machine = Interrogation("DELETE FROM users")
    machine.begin()
    sent = machine.received(LEARN[1])
    assert said(sent).startswith("BEGIN READ ONLY | ")
    assert sent.count(b"DELETE FROM users") == 1
    assert b"\0DELETE FROM users\0\0\0C" in sent  # Parse, and behind it nothing but a Close
    assert said(sent).endswith("DELETE FROM users | ROLLBACK")


def test_search_path() -> None:
    """A search path is put in force first, whatever is in it; what the server says against it is the answer."""
    machine = Interrogation("SELECT 1", "a'b\\c")
    sent = machine.begin()
    assert said(sent).startswith("SELECT pg_catalog.set_config('search_path', E'a''b\\\\c', true) | SELECT ")
    assert machine.received(error("22023", "invalid value", P="3") + ready()) == b""
    assert machine.explanation == Explanation(error=ServerError("22023", "invalid value"))


def test_search_path_of_each_question() -> None:
    """It holds for one transaction, so each question says it again: behind a pooler the next may be somebody else's."""
    path = asked(row("told"))
    tree = shown(notice(TREE % ENTRY)).replace(asked(SETTINGS), path + asked(SETTINGS))
    found = converse(
        Interrogation("TABLE users", "told"),
        ("'told', true) | SELECT ", path + LEARN[1]),
        ("BEGIN READ ONLY | SELECT pg_catalog.set_config('search_path', 'told', true) | SELECT ", tree),
        ("'told', true) | (SELECT ", path + FACTS[1]),
    )
    assert [str(one) for one in found.statements[0].found.operations] == ["SELECT app.users"]


def test_refused_statement() -> None:
    """The server's error is told in its words; what it refuses isn't asked about any more."""
    machine = Interrogation("TABLE nowhere")
    found = converse(machine, LEARN, ("TABLE nowhere", refused("42P01", "none such", D="why", H="what", P="7")))
    (statement,) = found.statements
    assert statement.error == ServerError("42P01", "none such", "why", "what", 7)
    assert statement.found.operations == ()


def test_refused_question() -> None:
    """An error of the catalog's is the statement's, without a position: that would be in the question."""
    taken: Turn = ("TABLE users", shown(notice(TREE % ENTRY)))
    found = converse(
        Interrogation("TABLE users"), LEARN, taken, ("pg_class", error("42501", "denied", P="9") + ready())
    )
    assert found.statements[0].error == ServerError("42501", "denied")


def test_several_statements() -> None:
    """They are read as a whole first, then one by one, each where it stands in the text."""
    several = error("42601", "cannot insert multiple commands", R="exec_parse_message") + ready()
    text = "SET search_path = x; SELECT 1;; COMMIT"
    found = converse(
        Interrogation(text),
        LEARN,
        (text, several),
        (" " * len("SET search_path = x;") + " SELECT 1 |", shown(notice(TREE % ""))),
    )
    assert [one.tag for one in found.statements] == ["SET", "SELECT", "COMMIT"]
    assert [one.start for one in found.statements] == [0, 20, 31]
    assert [one.unsettled for one in found.statements] == [False, True, True]


def test_mistake_in_one_of_several() -> None:
    """Where one of several statements is a mistake none of them would run: the error is that of the text."""
    found = converse(
        Interrogation("SELECT 1; SELEC"), LEARN, ("SELECT 1; SELEC", error("42601", "no", P="11") + ready())
    )
    assert found == Explanation((), ServerError("42601", "no", position=11), "app", '"$user", public')


@pytest.mark.parametrize("text", ["", " ; ;", "-- nothing"])
def test_nothing(text: str) -> None:
    """A text without a statement is explained by none."""
    assert converse(Interrogation(text), LEARN).statements == ()


def test_parsing_that_runs_code() -> None:
    """A tree that comes from inside of code is not the statement's: that code ran says that it is opaque."""
    ran = notice(TREE % ENTRY, W='SQL function "f" statement 1')
    (statement,) = converse(Interrogation("SELECT 1"), LEARN, ("SELECT 1", shown(ran, notice(TREE % "")))).statements
    assert statement.found.opaque
    assert statement.notes == ("reading it already runs code",)
    assert statement.found.operations == ()


def test_notices_that_are_no_trees() -> None:
    """What a server says besides, settings and notifications too, isn't taken for a tree."""
    other = msg("N", b"SNOTICE\0VNOTICE\0C00000\0Mhear\0D({QUERY})\0Fpl_exec.c\0Rexec_stmt_raise\0\0")
    besides = other + msg("S", b"application_name\0x\0") + msg("A", struct.pack("!I", 1) + b"c\0p\0")
    (statement,) = converse(
        Interrogation("SELECT 1"), LEARN, ("SELECT 1", shown(other, notice(TREE % ""), besides))
    ).statements
    assert (statement.found.operations, statement.found.opaque) == ((), False)


def test_no_tree() -> None:
    """A server that shows no tree leaves it unknown."""
    (statement,) = converse(Interrogation("SELECT 1"), LEARN, ("SELECT 1", shown())).statements
    assert [str(one) for one in statement.found.operations] == ["UNKNOWN"]


def test_prepared_statement() -> None:
    """What EXECUTE runs only its own session knows."""
    none: Turn = ("pg_prepared_statements", asked() + ready())
    (statement,) = converse(Interrogation("EXECUTE p"), LEARN, none).statements
    assert "UNKNOWN" in [str(one) for one in statement.found.operations]
    assert statement.notes


def test_catalog_that_makes_no_sense() -> None:
    """Answers that aren't such leave it unknown, within bounds."""
    machine = Interrogation("TABLE users")
    machine.begin()
    machine.received(LEARN[1])
    machine.received(shown(notice(TREE % ENTRY)))
    for _ in range(100):
        if machine.explanation is None:
            machine.received(asked(row("?")) + ready())
    assert machine.explanation is not None
    (statement,) = machine.explanation.statements
    assert [str(one) for one in statement.found.operations] == ["UNKNOWN"]
    assert statement.notes == ("it takes more questions than are asked",)


def test_what_is_not_read_alike() -> None:
    """Where the server may read a text in another way than the agent, it is unknown what it does."""
    machine = Interrogation(r"SELECT 'a\'")
    machine.parameter("standard_conforming_strings", "off")
    found = converse(machine, LEARN, (r"SELECT 'a\'", shown(notice(TREE % ""))))
    assert [str(one) for one in found.statements[0].found.operations] == ["UNKNOWN"]
    machine = Interrogation("SELECT 'é'")
    machine.parameter("client_encoding", "LATIN1")
    found = converse(machine, LEARN, ("SELECT 'é'", shown(notice(TREE % ""))))
    assert found.statements[0].notes == ("it can't be read the way that the server reads it",)


def test_server_that_ends() -> None:
    """A server that ends the session has the last word."""
    machine = Interrogation("SELECT 1")
    machine.begin()
    machine.received(fatal("57P01", "going down", "FATAL"))
    assert machine.explanation == Explanation(error=ServerError("57P01", "going down"))


@pytest.mark.parametrize("data", [ready(), msg("D", b""), msg("E")[:1] + bytes(4), b"Z\xff\xff\xff\xff", msg("W")])
def test_broken_protocol(data: bytes) -> None:
    """What answers nothing that was asked is a protocol error."""
    machine = Interrogation("SELECT 1")
    machine.begin()
    with pytest.raises(ProtocolError):
        machine.received(data)


ALL = LEARN[1] + shown(notice(TREE % ENTRY)) + FACTS[1]


@given(st.lists(st.integers(0, len(ALL)), max_size=30))
def test_any_split(places: list[int]) -> None:
    """However the server's bytes arrive, what is found is the same."""
    machine = Interrogation("TABLE users")
    machine.begin()
    ends = (len(LEARN[1]), len(LEARN[1]) + len(shown(notice(TREE % ENTRY))))  # it answers only what was asked
    cuts = sorted({0, *places, *ends, len(ALL)})
    for begin, end in pairwise(cuts):
        machine.received(ALL[begin:end])
    assert machine.explanation is not None
    assert [str(one) for one in machine.explanation.statements[0].found.operations] == ["SELECT app.users"]


@given(st.binary(max_size=200), st.integers(0, len(ALL)))
def test_any_bytes(junk: bytes, at: int) -> None:
    """A server that says anything at all is refused, or understood as far as it can be."""
    machine = Interrogation("TABLE users")
    machine.begin()
    try:
        machine.received(ALL[:at])
        machine.received(junk)
    except ProtocolError:
        pass


def test_error_fields() -> None:
    """The notices of these tests are as the server's."""
    assert fields(notice("x")[HEAD:])["R"] == "elog_node_display"


def test_malformed_row() -> None:
    """A row that ends before it says how long it is breaks the protocol."""
    machine = Interrogation("SELECT 1")
    machine.begin()
    with pytest.raises(ProtocolError):
        machine.received(PARSED + BOUND + msg("D", b"\0\2\0\0"))
