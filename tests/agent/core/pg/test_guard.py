"""A session under a policy, as conversations: what is asked and what isn't, refusals, code, and what goes wrong."""

from __future__ import annotations

import struct

import pytest

from agent.core.commands import CancelServer, Close, Reading
from agent.core.events import CancelAsked, ClientEnded, PolicyChanged, ServerGone
from agent.core.pg.guard import MAX_WAITING
from agent.core.pg.rulings import LIFETIME
from agent.core.policy.rulebook import Rules
from schemas.policy import Policy, Rule
from tests.agent.core.pg.backend import KILL, NOTE, Backend, Conversation, told
from tests.agent.core.pg.dialogue import (
    SYNC,
    bind,
    close,
    execute,
    guarded,
    msg,
    parse,
    query,
    ready,
    to_client,
    to_server,
)

NO_INSERTS = Rules(Policy("1" * 16, (Rule("no-notes", ("INSERT *",), "deny"),)))
CALL = msg("F", struct.pack("!IHHH", KILL, 0, 0, 0))


def begun() -> Conversation:
    """A conversation in which the settings are known."""
    made = Conversation(guarded())
    made.client(query("select 0"))
    made.sent.clear()
    return made


def steps(text: str, name: str = "") -> bytes:
    return parse(text, name) + bind("", name) + execute()


def kinds(data: bytes) -> str:
    return "".join(kind for kind, _ in told(data))


def codes(data: bytes) -> list[str]:
    return [body for kind, body in told(data) if kind == "E"]


@pytest.mark.parametrize("again", ["select 1", "select  22", "select 1 /* once more */"])
def test_what_was_decided_is_not_asked_again(again: str) -> None:
    """The same text passes as it is, and what differs in constants and white space alone."""
    made = begun()
    made.client(query("select 1"))
    made.sent.clear()
    assert kinds(made.client(query(again))) == "TDCZ"
    assert made.sent == [query(again)]


def test_a_prepared_statement_is_decided_once() -> None:
    """Its Binds pass as they are as long as the decision holds."""
    made = begun()
    made.client(parse("insert into notes values (1)", "s") + SYNC)
    made.sent.clear()
    for _ in range(3):
        made.client(bind("", "s") + execute() + SYNC)
    assert b"".join(made.sent) == (bind("", "s") + execute() + SYNC) * 3


def test_a_decision_grows_old() -> None:
    """After a second the catalog may be another: it is asked anew."""
    made = begun()
    made.session.now += LIFETIME
    made.client(query("select 0"))
    assert len(made.sent) > 1 and made.sent[-1] == query("select 0")


def test_another_policy_between_parse_and_bind() -> None:
    """What is bound after the policy changed is decided by the new one, whatever was prepared or is under way."""
    made = begun()
    text = "insert into notes values (1)"
    assert kinds(made.client(parse(text, "s") + bind("p", "s") + execute("p"))) == "12C"
    made.session.feed(PolicyChanged(NO_INSERTS))
    heard = made.client(bind("p", "s") + execute("p") + SYNC)
    assert (kinds(heard), codes(heard)) == ("EZ", ["42501"])
    assert made.backend.committed == []
    assert codes(made.client(query(text) + query("do 'note'"))) == ["42501", "42501"]
    made.session.feed(PolicyChanged(None))
    assert codes(made.client(query(text))) == []
    assert made.backend.committed == ["insert"]


def test_another_policy_while_a_statement_is_asked_about() -> None:
    """The policy in force when it is decided counts, not that when it came."""
    made = begun()
    asked = made.session.client(query("insert into notes values (1)"))
    made.session.feed(PolicyChanged(NO_INSERTS))
    assert codes(made.settle(asked)) == ["42501"]
    assert made.backend.committed == []


@pytest.mark.parametrize("denied", ["delete from users", "do 'kill'"])
def test_refused_in_a_pipeline(denied: str) -> None:
    """What follows up to the Sync is passed over, what came before is undone, the next pipeline is another."""
    made = begun()
    heard = made.client(
        steps("insert into notes values (1)") + steps(denied) + steps("select 1") + SYNC + steps("select 2") + SYNC
    )
    assert codes(heard) == ["42501"]
    assert kinds(heard).startswith("12C1") and kinds(heard).endswith("EZ12DCZ")
    assert made.backend.ran[-1] == "select 2" and "select 1" not in made.backend.ran
    assert made.backend.committed == []
    outcomes = made.session.outcomes()
    assert (denied, "denied") in outcomes and ("select 2", "ok") in outcomes


def test_names_after_a_refusal() -> None:
    """A name means for the client what it means for the server, whatever was refused about it."""
    made = begun()
    assert kinds(made.client(parse("delete from users", "d") + SYNC)) == "1Z"
    assert codes(made.client(bind("", "d") + execute() + SYNC)) == ["42501"]
    assert codes(made.client(parse("select 1", "d") + SYNC)) == ["42P05"]
    assert codes(made.client(bind("", "d") + execute() + SYNC)) == ["42501"]
    heard = made.client(close("S", "d") + steps("select 1", "d") + SYNC)
    assert kinds(heard) == "312DCZ"
    assert codes(made.client(bind("", "none") + SYNC + bind() + SYNC)) == ["26000", "26000"]
    assert kinds(made.client(parse("select 1") + SYNC + bind() + execute() + SYNC)) == "1Z2DCZ"


@pytest.mark.parametrize("asked", [query("do 'kill'"), steps("do 'kill'") + SYNC, CALL, query("select 1; do 'kill'")])
def test_code_is_undone(asked: bytes) -> None:
    """Outside of a transaction it has done nothing; in one it aborts that; the record says what it was denied for."""
    made = begun()
    heard = made.client(asked)
    assert (codes(heard), heard[-6:]) == (["42501"], ready("I"))
    assert (made.backend.committed, made.backend.status) == ([], "I")
    made.client(query("begin") + query("insert into notes values (1)"))
    heard = made.client(asked)
    assert (codes(heard), heard[-6:]) == (["42501"], ready("E"))
    assert codes(made.client(query("select 0"))) == ["25P02"]
    assert made.client(query("commit"))[-6:] == ready("I")
    assert made.backend.committed == []
    denied = [end for end in made.session.ended().values() if end.outcome == "denied"]
    assert [(end.operations_inside, end.denied_by) for end in denied] == [(("DELETE app.users",), "keep-users")] * 2


def test_code_that_is_allowed_is_recorded() -> None:
    """What it did is in the record of the statement that caused it."""
    made = begun()
    made.client(query("do 'note'"))
    assert made.backend.committed == ["insert"]
    (end,) = [end for end in made.session.ended().values() if end.operations_inside]
    assert (end.outcome, end.operations_inside, end.denied_by) == ("ok", ("INSERT app.notes",), None)


@pytest.mark.parametrize("pieces", [1, 3, 7])
def test_copy(pieces: int) -> None:
    """Its data pass as they come, and what follows waits for its end, done or failed."""
    made = begun()
    data = query("copy notes from stdin") + msg("d", b"1\n" * 40) + msg("c") + query("do 'note'")
    data += query("copy notes from stdin") + msg("d", b"2\n") + msg("f", b"no\0") + query("select 0")
    heard = made.client(*[data[at : at + len(data) // pieces] for at in range(0, len(data), len(data) // pieces)])
    assert (kinds(heard), codes(heard)) == ("GCZCZGEZTDCZ", ["57014"])
    assert made.backend.committed == ["copy", "insert"]


def test_copy_data_and_its_end_in_one_piece() -> None:
    """What stands behind COPY data in the same piece is read without waiting for more, as drivers send it; and what a
    further piece of the data begins with is no message's tag."""
    made = begun()
    made.client(query("copy notes from stdin"))
    made.client(msg("d", b"1\n") + msg("d", b"2\n") + msg("c"))
    assert made.backend.committed == ["copy"]
    for piece in (query("copy notes from stdin"), b"d\0\0\0\x0aPQ", b"SX1\n", msg("c")):
        made.client(piece)
    assert made.backend.committed == ["copy", "copy"]
    assert kinds(made.client(query("select 0"))) == "TDCZ"


def test_copy_in_a_message_of_several() -> None:
    """A COPY at a message's end runs in the same transaction as what comes before it."""
    made = begun()
    heard = made.client(query("insert into notes values (1); copy notes from stdin") + msg("d", b"1\n") + msg("c"))
    assert kinds(heard) == "CGCZ"
    assert made.backend.committed == ["insert", "copy"]
    assert codes(made.client(query("insert into notes; copy notes from stdin") + msg("f", b"no\0"))) == ["57014"]
    assert made.backend.committed == ["insert", "copy"]


WATCHED = [
    query("insert into notes values (1)"),
    query("do 'note'"),
    query("do 'note'; select 1"),
    steps("do 'note'") + SYNC,
    steps("insert into notes values (1)") + SYNC,
    msg("F", struct.pack("!IHHH", NOTE, 0, 0, 0)),
]
NAMES = ["insert", "do", "several", "extended do", "extended insert", "function"]


@pytest.mark.parametrize("asked", WATCHED, ids=NAMES)
def test_cancelled_at_any_moment(asked: bytes) -> None:
    """Whatever is under way when the client cancels, the agent's own question or the statement: the client gets one
    error or one answer, and what it is told is what was done; the session goes on."""
    told_of = set()
    for moment in range(24):
        made = begun()
        backend = made.backend
        commands = made.session.client(asked)
        heard = to_client(commands)
        for turn in range(40):
            durable = made.session.durable()
            heard += to_client(durable)
            data = to_server([*commands, *durable])
            if not data:
                break
            if turn == moment:
                assert made.session.feed(CancelAsked()) == [CancelServer(4711, b"skey")]
                backend.interrupted = True
            commands = made.session.server(backend.answer(data))
            heard += to_client(commands)
        backend.interrupted = False
        cancelled = codes(heard)
        assert cancelled in ([], ["57014"]) and heard[-6:] == ready("I"), (moment, told(heard))
        assert backend.committed == ([] if cancelled else ["insert"])
        assert backend.status == "I"
        assert kinds(made.client(query("select 0"))) == "TDCZ"
        told_of.add(bool(cancelled))
    assert told_of == {True, False}


@pytest.mark.parametrize("asked", WATCHED, ids=NAMES)
def test_server_lost_at_any_moment(asked: bytes) -> None:
    """The client is told once, whatever was under way; every operation that began has ended, and nothing is left."""
    for moment in range(24):
        made = begun()
        commands = made.session.client(asked)
        for _ in range(moment):
            data = to_server(commands) + to_server(made.session.durable())
            if not data:
                break
            commands = made.session.server(made.backend.answer(data))
        commands = made.session.feed(ServerGone("reset"))
        assert codes(to_client(commands)) == ["08006"]
        assert any(isinstance(command, Close) for command in commands)
        assert sorted(made.session.ended()) == [start.sequence for start in made.session.started()]
        assert made.session.client(query("select 1")) == []


def test_client_that_sends_on_waits() -> None:
    """While a statement is decided no more than MAX_WAITING bytes are taken from its client; then it is read again."""
    made = begun()
    first = made.session.client(query("insert into notes values (1)"))
    more = query("select '" + "x" * 1_000 + "'")
    held = [command for _ in range(MAX_WAITING // len(more) + 2) for command in made.session.client(more)]
    assert [command for command in held if isinstance(command, Reading)] == [Reading(False, True)]
    assert to_server(held) == b""
    before = len(made.session.heard)
    heard = made.settle(first)
    assert kinds(heard) == "CZ" + "TDCZ" * (MAX_WAITING // len(more) + 2)
    assert [command for command in made.session.heard[before:] if isinstance(command, Reading)] == [Reading(True, True)]


def test_client_that_closes_its_side() -> None:
    """What it asked before is decided and done, what it left unfinished never is."""
    made = begun()
    first = made.session.client(
        query("insert into notes values (1)") + query("delete from users") + query("do 'n")[:-3]
    )
    made.settle([*first, *made.session.feed(ClientEnded())])
    assert made.backend.committed == ["insert"]
    assert made.sent[-1].endswith(msg("X"))


def test_a_session_without_rules_asks_nothing() -> None:
    """Where no rule is about the session everything passes as it is."""
    made = Conversation(guarded(Rules(Policy("0" * 16))))
    data = query("select 1") + steps("do 'kill'") + SYNC + CALL
    assert told(made.client(data)) == told(Backend().answer(data))
    assert b"".join(made.sent) == data


def passes(made: Conversation, message: bytes) -> bool:
    """Whether a message goes to the server alone, nothing being asked about it."""
    made.sent.clear()
    made.client(message)
    return made.sent == [message]


def thrice(made: Conversation, text: str = "select 0 where a = {}") -> None:
    """Has the message known by its bytes and by its outline."""
    for number in (1, 1, 2, 3):
        made.client(query(text.format(number)))
    assert passes(made, query(text.format(1))) and passes(made, query(text.format(44)))


def test_what_is_known_by_its_bytes_grows_old() -> None:
    """A message that needs no reading is asked about anew after a second, with the same constants and with others."""
    made = begun()
    thrice(made)
    made.session.now += LIFETIME
    assert not passes(made, query("select 0 where a = 1"))
    made.session.now += LIFETIME
    assert not passes(made, query("select 0 where a = 77"))


@pytest.mark.parametrize("statement", ["set search_path = a", "do 'note'"])
def test_settings_and_what_is_known_by_its_bytes(statement: str) -> None:
    """After what may have changed a setting, settings are asked before anything passes."""
    made = begun()
    thrice(made)
    made.client(query(statement))
    assert not passes(made, query("select 0 where a = 1"))


def test_another_policy_and_what_is_known_by_its_bytes() -> None:
    """Another policy is in force at once for messages that need no reading."""
    made = begun()
    thrice(made, "insert into notes values ({})")
    made.session.feed(PolicyChanged(NO_INSERTS))
    for number in (1, 5):
        assert codes(made.client(query(f"insert into notes values ({number})")))


def test_another_session_and_what_is_known_by_its_bytes() -> None:
    """What another session did to the catalog has every message asked about anew."""
    made = begun()
    thrice(made)
    made.session.session._catalog.changes += 1
    assert not passes(made, query("select 0 where a = 66"))


def test_another_quoting_and_what_is_known_by_its_bytes() -> None:
    """When the server says that it reads strings otherwise, the same bytes are read anew."""
    made = begun()
    thrice(made)
    guard = made.session.session._guard
    assert guard is not None
    guard.parameter("standard_conforming_strings", "off")
    assert guard._rulings.recalled(b"select 0 where a = 1", (), guard._setting, made.session.now) is None


def test_a_refusal_is_never_recalled_as_allowed() -> None:
    """What is denied by its text is denied by its bytes, and by its outline."""
    made = begun()
    made.session.feed(PolicyChanged(NO_INSERTS))
    for number in (1, 1, 1, 2, 3, 1):
        assert codes(made.client(query(f"insert into notes values ({number})")))
    assert made.backend.committed == []
