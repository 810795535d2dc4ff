"""Who is let in, to what, as whom; and how long a guesser waits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.core.commands import Prove
from agent.core.events import Admitted, Refused
from agent.identity.accounts import Accounts
from agent.net.admission import LONGEST_RUN, Admission, session_id
from agent.store import control
from schemas.configuration import PgResource, PgUpstream, Secret
from tests.agent.net.loop import Loop


class Client:
    """A connection that notes what it is told."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        self.address = address
        self.over = False
        self.told: list[Any] = []

    def feed(self, event: object) -> None:
        self.told.append(event)

    def admit(self, admitted: Admitted, resource: PgResource) -> None:
        self.told.append(admitted)


class House:
    def __init__(self, state: Path) -> None:
        self.loop = Loop()
        self.notes: list[tuple[str, str | None, str | None, Mapping[str, object]]] = []
        self.accounts = Accounts(control.open_database(state), self.loop.seconds)
        self.admission = Admission(self.loop, self.accounts, self.loop.seconds, lambda *note: self.notes.append(note))
        upstream = PgUpstream("db", 5432, "app", "app")
        self.admission.resources = {"prod": PgResource("prod", upstream)}
        self.token = self.accounts.create("deploy", ["ops"], None, ["ann", "team-*"])

    def prove(self, token: str, **asked: Any) -> Client:
        client: Any = Client()
        wish = {"user": "", "resource": "prod", "run": None, "on_behalf_of": None} | asked
        self.admission.prove(client, Prove(token, **wish))
        found: Client = client
        return found


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def refusal(client: Client) -> Refused:
    assert len(client.told) == 1 and isinstance(client.told[0], Refused), client.told
    return client.told[0]


def test_let_in(house: House) -> None:
    """A token lets its account in at once, as whom and with the run that was named."""
    told = house.prove(house.token, user="deploy", run="r1", resource="pg/prod").told
    assert len(told) == 1 and isinstance(told[0], Admitted)
    assert (told[0].identity.subject, told[0].identity.run, told[0].resource) == ("deploy", "r1", "pg/prod")
    assert house.notes == []


def test_wrong_token_is_slowed(house: House) -> None:
    """A wrong token is recorded and refused later and later; a right one from there waits as well, then is let in."""
    for delay in (0.25, 0.5, 1.0):
        client = house.prove("hoop_sa_wrong")
        assert client.told == []
        house.loop.advance(delay)
        while not client.told:
            house.loop.advance(0.25)
        assert refusal(client).code == "28P01"
    assert [note[0] for note in house.notes] == ["login refused"] * 3
    assert "hoop_sa_wrong" not in repr(house.notes)
    client = house.prove(house.token)
    assert client.told == []
    house.loop.advance(8)
    assert isinstance(client.told[0], Admitted)
    assert isinstance(house.prove(house.token).told[0], Admitted)


def test_client_that_does_not_wait(house: House) -> None:
    """A client that left while it was made to wait is let into nothing."""
    house.prove("wrong")
    client = house.prove(house.token)
    client.over = True
    house.loop.advance(60)
    assert client.told == []


def test_credential_is_for_one_resource(house: House) -> None:
    """A credential of `connect` opens its own resource and no other."""
    admitted = house.prove(house.token).told[0]
    house.admission.resources["other"] = PgResource("other", PgUpstream("db", 1, "u", "d"))
    issued = house.accounts.issue(admitted.identity, "pg/prod", 60)
    assert isinstance(house.prove(issued.token).told[0], Admitted)
    assert refusal(house.prove(issued.token, resource="other")).code == "28000"


@pytest.mark.parametrize(
    ("whom", "may"), [("ann", True), ("team-x", True), ("bob", False), ("Ann", False), ("deploy", False), ("", False)]
)
def test_on_behalf_of(house: House, whom: str, may: bool) -> None:
    """An account acts for whom it may, and is recorded as the actor."""
    told = house.prove(house.token, on_behalf_of=whom).told[0]
    if may:
        assert (told.identity.subject, told.identity.actor) == (whom, "deploy")
    else:
        assert told.code == "28000"


def test_other_users(house: House) -> None:
    """A user that is not the token's is refused, and the error names the right one."""
    assert "user=deploy" in (refusal(house.prove(house.token, user="root")).hint or "")


def test_unknown_resource(house: House) -> None:
    """An unknown resource is 3D000 with the nearest name."""
    refused = refusal(house.prove(house.token, resource="prd"))
    assert (refused.code, refused.hint) == ("3D000", 'did you mean "prod"?')
    assert house.notes[0][0] == "login refused"


@pytest.mark.parametrize("run", ["x" * (LONGEST_RUN + 1), "a\nb", "\x1b[2J"])
def test_runs_that_cannot_be_recorded(house: House, run: str) -> None:
    """A run's id is short and printable."""
    assert refusal(house.prove(house.token, run=run)).code == "22023"


def test_password_that_is_not_there(house: House) -> None:
    """Without the server's password nobody is let in; the client isn't told where it should be, the record is."""
    secret = Secret(env="HOOP_TEST_NOWHERE")
    house.admission.resources["prod"] = PgResource("prod", PgUpstream("db", 1, "u", "d"), secret)
    refused = refusal(house.prove(house.token))
    assert refused.code == "08001"
    assert "NOWHERE" not in refused.message
    assert house.notes[0][0] == "secret missing"


def test_session_ids() -> None:
    """Ids have 20 characters, sort by time, and differ within a millisecond."""
    ids = [session_id(milliseconds) for milliseconds in (0, 1, 1_700_000_000_000, (1 << 48) - 1)]
    assert [len(each) for each in ids] == [20] * 4
    assert ids == sorted(ids)
    assert len({session_id(5) for _ in range(100)}) == 100
