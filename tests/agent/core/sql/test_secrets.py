"""No secret in evidence: what is found in statements, in every form that PostgreSQL reads."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sql.secrets import REPLACEMENT, redact

SECRET = "s3cr3t"

FORMS = [
    "ALTER ROLE r PASSWORD 's3cr3t'",
    "alter role r with login password 's3cr3t' valid until 'infinity'",
    "CREATE USER u ENCRYPTED PASSWORD 's3cr3t'",
    "CREATE ROLE r PASSWORD\n\t's3cr3t'",
    "CREATE ROLE r PASSWORD" + " " * 500 + "'s3cr3t'",
    "CREATE ROLE r PASSWORD's3cr3t'",
    "CREATE ROLE r PASSWORD E's3cr3t'",
    "CREATE ROLE r PASSWORD e'x\\'s3cr3t'",
    "CREATE ROLE r PASSWORD e'x\\\\' VALID UNTIL 'x'; CREATE ROLE q PASSWORD 's3cr3t'",
    "CREATE ROLE r PASSWORD 'it''s3cr3t'",
    "CREATE ROLE r PASSWORD U&'s3cr3t' UESCAPE '!'",
    "CREATE ROLE r PASSWORD u&'s3cr3t'",
    "CREATE ROLE r PASSWORD N's3cr3t'",
    "CREATE ROLE r PASSWORD $$s3cr3t$$",
    "CREATE ROLE r PASSWORD $tag$s3cr3t$tag$",
    "CREATE ROLE r PASSWORD $é$s3cr3t$é$",
    "CREATE ROLE r PASSWORD 's3cr3t",
    "CREATE ROLE r PASSWORD -- the new one\n 's3cr3t'",
    "CREATE ROLE r PASSWORD /* the new one */ 's3cr3t'",
    "CREATE ROLE r PASSWORD /** it's * new **/ 's3cr3t'",
    "CREATE ROLE r PASSWORD 'x'\n's3cr3t'",
    "CREATE ROLE r PASSWORD 'x' \n\t 'y'\n  's3cr3t'",
    "CREATE USER MAPPING FOR u SERVER s OPTIONS (user 'u', password 's3cr3t')",
    "ALTER USER MAPPING FOR u SERVER s OPTIONS (SET password 's3cr3t')",
    "CREATE USER MAPPING FOR u SERVER s OPTIONS (\"password\" 's3cr3t')",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password=s3cr3t dbname=d' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password = s3cr3t' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION 'host=h password=''s3cr3t'' user=u' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION 'postgresql://u:s3cr3t@h/d' PUBLICATION p",
    "CREATE SUBSCRIPTION s CONNECTION 'postgresql://u@h/d?password=s3cr3t&sslmode=require' PUBLICATION p",
    "SELECT dblink_connect('host=h password=s3cr3t')",
    "SELECT dblink_connect('c', 'sslpassword=s3cr3t')",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE r PASSWORD ''s3cr3t'''; END $$",
    "DO 'BEGIN EXECUTE ''ALTER ROLE r PASSWORD ''''s3cr3t''''''; END'",
    'SELECT \'{"user": "u", "password": "s3cr3t"}\'::json',
    'SELECT \'{"password":"x\\"s3cr3t"}\'::json',
    "SELECT connect(password => 's3cr3t')",
    "SELECT connect(password := 's3cr3t')",
    "SELECT set_config('my.password', 's3cr3t', false)",
    "UPDATE accounts SET passwd = 's3cr3t' WHERE id = 1",
    "-- hoop_sa_s3cr3t",
    "SELECT 'hoop_cr_s3cr3tAbc'",
    "ALTER ROLE a PASSWORD 's3cr3t'; ALTER ROLE b PASSWORD 's3cr3t'",
]


@pytest.mark.parametrize("statement", FORMS)
def test_secret_is_replaced(statement: str) -> None:
    """The secret is gone, a replacement stands in its place, and doing it again changes nothing."""
    redacted = redact(statement)
    assert SECRET not in redacted
    assert REPLACEMENT in redacted
    assert redact(redacted) == redacted


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1",
        "CREATE ROLE r PASSWORD NULL",
        "ALTER ROLE r PASSWORD ''",
        "SELECT password FROM users",
        "SELECT password, name FROM users WHERE id = 1",
        "SELECT 'postgresql://host/db'",
        "SELECT 'a://b' || '@'",
        "SELECT hoop_safe(1)",
        "ALTER ROLE r VALID UNTIL 'infinity'",
        "ALTER ROLE r CONNECTION LIMIT 3",
    ],
)
def test_what_holds_no_secret_stays(statement: str) -> None:
    """A statement without a secret is recorded as it is."""
    assert redact(statement) == statement


def test_what_surrounds_a_secret_stays() -> None:
    """Only the secret is replaced: what else the statement says can still be read."""
    assert (
        redact("ALTER ROLE r PASSWORD 'x''y' VALID UNTIL 'infinity'; SELECT 'a'")
        == f"ALTER ROLE r PASSWORD '{REPLACEMENT}' VALID UNTIL 'infinity'; SELECT 'a'"
    )


@given(st.text().filter(lambda text: not any(word in text.lower() for word in ("passw", "://", "hoop_"))))
def test_text_without_suspects_stays(text: str) -> None:
    """Text in which none of the signs occurs comes back as it is."""
    assert redact(text) == text


WORDS = "password PASSWD '' ' $$ $a$ = := : , ; \" \\ -- /* */ ( ) E' U&' x [secret] ://u:p@h hoop_sa_x é".split()
PIECES = st.lists(st.sampled_from([*WORDS, " ", "\n", "' \n '"]), max_size=12).map("".join)


@given(PIECES)
def test_any_text_is_answered(text: str) -> None:
    """Whatever the pieces are put together to, there is an answer."""
    assert isinstance(redact(text), str)


@given(st.text("abcdefgh0123456789!#%+-_.", min_size=8, max_size=30), st.sampled_from([0, 1, 2]))
def test_any_password_is_found_at_any_depth(password: str, depth: int) -> None:
    """A password in a literal in a literal … is replaced, whatever it is made of."""
    statement = f"ALTER ROLE r PASSWORD '~{password}~'"
    for _ in range(depth):
        statement = "DO '" + statement.replace("'", "''") + "'"
    assert f"~{password}~" not in redact(statement)


@pytest.mark.parametrize(
    "piece",
    [
        "password",
        "password ",
        "password'",
        "password '' ",
        "password = ",
        "password 'x' \n",
        "password 'x'\n'",
        "password $$",
        "password $a$ $b$",
        "password /*",
        "password --",
        'password: "',
        "password e'\\",
        "passw",
        "'",
        "\\",
        " ",
        "\n",
        "password 'a''",
        "://",
        "://a",
        "://a:",
        ":a://b:c",
        "://a:b",
        "hoop_sa_",
        "hoop_",
    ],
)
@pytest.mark.parametrize("before", ["", "password", "password '", "password e'", "x://", "hoop_sa_x password /* "])
def test_time_is_linear(before: str, piece: str) -> None:
    """A quarter of a megabyte of whatever is looked at in no time."""
    statement = before + piece * (250_000 // len(piece))
    begun = time.process_time()
    redact(statement)
    assert time.process_time() - begun < 2
