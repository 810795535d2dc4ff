"""Service accounts, credentials and what proves them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.identity import tokens
from agent.identity.accounts import AccountError, Accounts, Proof, Refusal
from agent.store.control import open_database
from schemas.identity import Identity


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    database = open_database(tmp_path / "state")
    yield Accounts(database, clock)
    database.close()


def proof(accounts: Accounts, token: str) -> Proof:
    found = accounts.authenticate(token)
    assert isinstance(found, Proof)
    return found


def test_token_proves_its_account(accounts: Accounts) -> None:
    """The token of an account proves its name, groups and whom it may act for; for any resource."""
    token = accounts.create("etl", ["staff", "dba", "staff"], None, ["alice@*"])
    found = proof(accounts, token)
    (listed,) = accounts.list()
    assert found.identity == Identity("etl", ("staff", "dba"), credential_id=listed.credential_id)
    assert (found.resource, found.acts_for) == (None, ("alice@*",))


def test_token_is_stored_nowhere(accounts: Accounts, tmp_path: Path) -> None:
    """No file of the state directory holds a token, or the random part of one."""
    token = accounts.create("etl", [], None)
    issued = accounts.issue(proof(accounts, token).identity, "pg/prod", 60)
    stored = b"".join(file.read_bytes() for file in (tmp_path / "state").iterdir())
    assert b"etl" in stored
    for secret in (token, issued.token):
        assert secret.encode() not in stored
        assert secret[8:].encode() not in stored
    assert issued.token not in repr(issued)


def test_token_form() -> None:
    """Tokens have a prefix that scanners recognise, one length, and 256 bits that differ each time."""
    made = {tokens.generate(tokens.SERVICE_ACCOUNT) for _ in range(200)}
    assert len(made) == 200
    assert all(token.startswith("hoop_sa_") and len(token) == 51 and token.isascii() for token in made)
    assert len({token[8:] for token in made if token[8:].isalnum()}) == 200


def test_expiry(accounts: Accounts, clock: Clock) -> None:
    """A token is refused as expired from the very second on, and the refusal says whose it was."""
    token = accounts.create("etl", [], 60.0)
    clock.now += 59.9
    proof(accounts, token)
    clock.now += 0.1
    refusal = accounts.authenticate(token)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.subject) == ("expired", "etl")


def test_revocation_reaches_what_was_issued(accounts: Accounts) -> None:
    """Revoking an account refuses its token and every credential issued to it, and names them all."""
    token = accounts.create("etl", [], None)
    identity = proof(accounts, token).identity
    issued = [accounts.issue(identity, "pg/prod", 60) for _ in range(2)]
    other = accounts.create("other", [], None)
    assert set(accounts.revoke("etl")) == {identity.credential_id, *(one.credential_id for one in issued)}
    for one in (token, *(one.token for one in issued)):
        refusal = accounts.authenticate(one)
        assert isinstance(refusal, Refusal)
        assert refusal.reason == "revoked"
    proof(accounts, other)
    with pytest.raises(AccountError, match="no service account named 'etl'"):
        accounts.revoke("etl")
    with pytest.raises(AccountError, match="revoked"):
        accounts.issue(identity, "pg/prod", 60)


def test_name_is_free_again(accounts: Accounts) -> None:
    """A name belongs to one account at a time; after revocation a new one may have it, and the old token stays dead."""
    old = accounts.create("etl", [], None)
    with pytest.raises(AccountError, match="already"):
        accounts.create("etl", [], None)
    accounts.revoke("etl")
    new = accounts.create("etl", [], None)
    assert isinstance(accounts.authenticate(old), Refusal)
    proof(accounts, new)
    assert [account.revoked_at is None for account in accounts.list()] == [False, True]


def test_issued_credential(accounts: Accounts, clock: Clock) -> None:
    """A credential is good for one resource, for a while, never longer than the account that it was issued to."""
    token = accounts.create("etl", ["staff"], 100.0, ["a*"])
    issued = accounts.issue(proof(accounts, token).identity, "pg/prod", 300)
    assert issued.expires_at == clock.now + 100
    found = proof(accounts, issued.token)
    assert (found.resource, found.identity.subject, found.acts_for) == ("pg/prod", "etl", ("a*",))
    assert found.identity.credential_id == issued.credential_id
    clock.now += 100
    refusal = accounts.authenticate(issued.token)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "expired"


def test_issued_to_a_local_user(accounts: Accounts, clock: Clock) -> None:
    """Who comes over the control socket has no account; the credential is theirs all the same, a day at most."""
    issued = accounts.issue(Identity("local:root"), "pg/prod", 1e9)
    assert issued.expires_at == clock.now + 24 * 3600
    assert proof(accounts, issued.token).identity.subject == "local:root"


def test_expired_credentials_are_swept(accounts: Accounts, clock: Clock, tmp_path: Path) -> None:
    """A day after its end a credential is forgotten: the table doesn't grow with use."""
    old = accounts.issue(Identity("local:root"), "pg/prod", 60)
    clock.now += 2 * 24 * 3600
    accounts.issue(Identity("local:root"), "pg/prod", 60)
    assert accounts.authenticate(old.token) == Refusal("unknown")


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "x' OR 1=1 --",
        "a\nb",
        "local:root",
        "-rf",
        "a" * 64,
        "ä",
        "a\0",
        "../x",
        "a\n",
    ],
)
def test_names_that_are_none(accounts: Accounts, name: str) -> None:
    """What could be mistaken for something else, here or in a log, can't be a name; nor a local user's."""
    with pytest.raises(AccountError):
        accounts.create(name, [], None)


@pytest.mark.parametrize("group", ["", "a b", "a,b", "a\nb", "x" * 129])
def test_groups_that_are_none(accounts: Accounts, group: str) -> None:
    """A group is one word."""
    with pytest.raises(AccountError):
        accounts.create("etl", [group], None)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "hoop_sa_",
        "' OR 1=1 --",
        "x" * 10_000_000,
        "hoop_sa_" + "0" * 43,
        "\udcff",
        "ä\0",
        "%",
    ],
)
def test_tokens_that_are_none(accounts: Accounts, token: str) -> None:
    """Whatever is given as a token is refused as unknown, quickly, and nothing else happens."""
    accounts.create("etl", [], None)
    assert accounts.authenticate(token) == Refusal("unknown")


def test_almost_the_token(accounts: Accounts) -> None:
    """A token with anything before, after or changed in it is not that token."""
    token = accounts.create("etl", [], None)
    swapped = token[:-1] + ("0" if token[-1] != "0" else "1")
    for other in (token + " ", " " + token, token[:-1], swapped, token.swapcase(), token + "\0", token * 2):
        assert accounts.authenticate(other) == Refusal("unknown")


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    """A digest exists for any text that a client can send."""
    assert len(tokens.digest(text)) == 32


def test_unreadable_database(tmp_path: Path, clock: Clock) -> None:
    """When the database can't be read nobody is let in, and the reason is for the record."""
    database = open_database(tmp_path / "state")
    accounts = Accounts(database, clock)
    token = accounts.create("etl", [], None)
    database.close()
    assert accounts.authenticate(token) == Refusal("unavailable")


def test_injection_through_revoke(accounts: Accounts) -> None:
    """A name is a value, never SQL."""
    accounts.create("etl", [], None)
    with pytest.raises(AccountError):
        accounts.revoke("x' OR '1'='1")
    assert accounts.list()[0].revoked_at is None
