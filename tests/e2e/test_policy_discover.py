"""Masks proposed from samples: personal data is found in text, numbers, arrays and documents, look-alikes aren't, and
no value is told to anybody."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent.store.policy import load
from cli.client import Client
from cli.errors import HoopError
from tests.e2e.agent import AgentProcess, eventually
from tests.e2e.certificates import Authority
from tests.e2e.conftest import PASSWORD, resource
from tests.e2e.servers import Server

OBJECTS = """
    CREATE SCHEMA found AUTHORIZATION app;
    SET ROLE app;
    CREATE DOMAIN found.address AS varchar(80);
    CREATE FUNCTION found.luhn(digits text) RETURNS text LANGUAGE sql AS $$
        SELECT digits || (10 - sum(CASE WHEN i % 2 = length(digits) % 2 THEN d * 2 / 10 + d * 2 % 10 ELSE d END) % 10)
            % 10
        FROM (SELECT i, substr(digits, i, 1)::int AS d FROM generate_series(1, length(digits)) i) AS x $$;
    CREATE FUNCTION found.iban(n bigint) RETURNS text LANGUAGE sql AS $$
        SELECT 'DE' || lpad((98 - (b || '131400')::numeric % 97)::text, 2, '0') || b
        FROM (SELECT lpad((370400440532013000 + n)::text, 18, '0') AS b) AS x $$;
    CREATE TABLE found.people (
        id bigint PRIMARY KEY, contact found.address, "Card ""No"" {1}" text, card_digits numeric(16), account text,
        reach text, others text[], birth_date date, salary int, note text, profile jsonb, loose json
    );
    INSERT INTO found.people SELECT i, 'zoe' || i || '@example.org', found.luhn('41111111' || lpad(i::text, 7, '0')),
        found.luhn('51051051' || lpad(i::text, 7, '0'))::numeric, found.iban(i), '+49 30 9018' || (20000 + i),
        ARRAY['yan' || i || '@example.org', 'x, "y"'], date '1970-01-01' + i, 1000 + i,
        CASE WHEN i % 50 = 0 THEN 'Called, will write from tom' || i || '@example.org by Monday or so, as agreed.'
            ELSE 'Nothing to say about this one.' END,
        jsonb_build_object('contact', jsonb_build_object('mail', 'uma' || i || '@example.org', 'n', i)),
        ('{"to": "vic' || i || '\\u0040example.org", "iban": "' || found.iban(i) || '"}')::json
    FROM generate_series(1, 400) i;
    CREATE TABLE found.orders (
        id uuid PRIMARY KEY, number text, reference bigint, at timestamptz, at_text text, epoch bigint, sku text,
        amount numeric(12, 2), email_verified boolean, phone_id uuid, data jsonb
    );
    INSERT INTO found.orders SELECT gen_random_uuid(),
        'ORD-' || (2000 + i % 25) || '-' || lpad((i * 7919)::text, 6, '0'), 20260000000 + i, now(),
        (now() - i * interval '1 hour')::text, 1700000000 + i,
        'SKU-' || (10000 + i) || '-' || i,
        i * 1.37, true, gen_random_uuid(),
        jsonb_build_object('id', gen_random_uuid(), 'at', now(), 'order', 4000 + i)
    FROM generate_series(1, 3000) i;
    CREATE TABLE found.events (at date, mail text) PARTITION BY RANGE (at);
    CREATE TABLE found.events_2026 PARTITION OF found.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO found.events SELECT '2026-02-03', 'ada' || i || '@example.org' FROM generate_series(1, 50) i;
    CREATE MATERIALIZED VIEW found.mails AS SELECT contact AS c FROM found.people;
    CREATE MATERIALIZED VIEW found.empty AS SELECT contact AS c FROM found.people WITH NO DATA;
    CREATE TABLE found.bare (surname text, "Geburts-Datum" date, gehalt money, "e*mail{x}" text);
    CREATE TABLE found.large (filler text, mail text);
    INSERT INTO found.large SELECT repeat('x', 900), 'eve' || i || '@example.org' FROM generate_series(1, 12000) i;
    ANALYZE found.large;
    RESET ROLE;
    CREATE TABLE found.closed (email text);
    INSERT INTO found.closed VALUES ('max@example.org');
    CREATE TABLE found.half (id int, email text);
    INSERT INTO found.half VALUES (1, 'mia@example.org');
    GRANT SELECT (id) ON found.half TO app;
"""
VALUES = re.compile(r"@example|41111111|51051051|9018|DE[0-9]{2}|ORD-|1[0-9]{3}-[0-9]{2}")
"""Something of every value that is sampled."""


@pytest.fixture(scope="module", params=["18", "system"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    found: Server = request.getfixturevalue("pg18" if request.param == "18" else "pg15")
    found.sql(OBJECTS, database="app")
    yield found
    found.sql("DROP SCHEMA found CASCADE", database="app")


@pytest.fixture(scope="module")
def agent(server: Server, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProcess]:
    directory = tmp_path_factory.mktemp("discover")
    verified = f"sslmode=verify-full&sslrootcert={authority.ca}" if server.binaries.tls else ""
    resources = [resource(server, query=verified), resource(server, "wrong", user="nobody_here", query=verified)]
    made = AgentProcess(directory, resources, {"APP_PASSWORD": PASSWORD})
    yield made.start()
    made.stop()


def discovered(agent: AgentProcess, *arguments: str) -> list[dict[str, Any]]:
    done = agent.hoopctl("policy", "discover", "--resource", "app", *arguments, "--format", "json")
    assert not VALUES.search(done.stdout + done.stderr)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def kinds(rows: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {f"{row['table']}.{row['column']}": (row["type"], row["by"]) for row in rows}


def test_found(agent: AgentProcess) -> None:
    """What is in the values is found, whatever the column's type; what isn't there is told by names."""
    rows = discovered(agent, "--schema", "found", "--table", "people")
    people = [("found.people." + row["column"], row["type"], row["by"]) for row in rows]
    assert people == [
        ("found.people.contact", "email", "value"),
        ('found.people.Card "No" {1}', "credit_card", "value"),
        ("found.people.card_digits", "credit_card", "value"),
        ("found.people.account", "iban", "value"),
        ("found.people.reach", "phone", "value"),
        ("found.people.others", "email", "value"),
        ("found.people.birth_date", "birth_date", "name"),
        ("found.people.salary", "salary", "name"),
        ("found.people.note", "email", "within"),
        ("found.people.profile", "email", "within"),
        ("found.people.loose", "email", "within"),
        ("found.people.loose", "iban", "within"),
    ]
    shares = {row["column"]: (row["share"], row["values"]) for row in rows}
    assert shares["contact"] == (1.0, 400)
    assert shares["note"] == (0.02, 400)
    assert shares["birth_date"] == (None, 0)


def test_look_alikes(agent: AgentProcess) -> None:
    """Order numbers, identifiers and times aren't taken for anything, nor are flags and keys that are called so."""
    assert discovered(agent, "--table", "found.orders", "--rows", "3000") == []


def test_every_kind_of_table(agent: AgentProcess) -> None:
    """Partitioned tables (not each partition), materialized views and empty tables are looked at."""
    found = kinds(discovered(agent, "--schema", "found"))
    assert found["found.events.mail"] == ("email", "value")
    assert found["found.mails.c"] == ("email", "value")
    assert found["found.large.mail"] == ("email", "value")
    assert found["found.bare.surname"] == ("person_name", "name")
    assert found["found.bare.Geburts-Datum"] == ("birth_date", "name")
    assert found["found.bare.gehalt"] == ("salary", "name")
    assert not [name for name in found if name.startswith(("found.events_2026", "found.closed", "found.half"))]


def test_policy(agent: AgentProcess, tmp_path: Path) -> None:
    """What is printed is a policy that passes its check, and that the agent can load; no value is in it."""
    done = agent.hoopctl("policy", "discover", "--resource", "app", "--schema", "found")
    assert not VALUES.search(done.stdout + done.stderr)
    file = tmp_path / "masks.yaml"
    file.write_text(done.stdout)
    assert "0 rules" in agent.hoopctl("policy", "check", "--strict", str(file)).stdout
    masks = {mask.name: mask for mask in load(file).masks}
    assert masks["email"].types == ("email",)
    assert "found.people.contact" in masks["email"].columns
    assert "found.people.note" not in masks["email"].columns
    assert masks["credit-card"].columns == ('found.people.Card "No" ?1?', "found.people.card_digits")
    assert masks["phone"].types == ()
    assert 'found.large.mail"  # 100 % of 1000 values' in done.stdout


def test_told_of_what_is_not_read(agent: AgentProcess) -> None:
    """Tables that can't be read are named with the reason, on standard error."""
    done = agent.hoopctl("policy", "discover", "--resource", "app", "--table", "found.nothing*", check=False)
    assert done.returncode == 1
    assert "there is no such table" in done.stderr
    done = agent.hoopctl("policy", "discover", "--resource", "app", "--schema", "found")
    assert "not looked at: found.closed: the agent's role has no right to read it" in done.stderr
    assert "not looked at: found.empty: it has not been filled yet" in done.stderr


def test_locked(agent: AgentProcess, server: Server) -> None:
    """A table that somebody has locked is passed over, and nothing waits for it."""
    with psycopg.connect(server.dsn(database="app")) as other:
        other.execute("LOCK found.bare")
        done = agent.hoopctl("policy", "discover", "--resource", "app", "--table", "found.bare")
    assert "not looked at: found.bare: it is locked" in done.stderr


def test_recorded(agent: AgentProcess) -> None:
    """Who had which resource looked through is in the evidence, and each table with it."""
    discovered(agent, "--table", "found.mails", "--rows", "7")
    kinds = "('masks discovered', 'table sampled')"
    events = agent.query(f"SELECT kind, subject, resource, details FROM events WHERE kind IN {kinds} ORDER BY time")
    listed, sampled = events[-2:]
    assert (listed["kind"], sampled["kind"], sampled["resource"]) == ("masks discovered", "table sampled", "pg/app")
    assert "found.mails" in str(sampled["details"])
    assert sampled["subject"].startswith("local:")


def test_only_for_the_agents_user(agent: AgentProcess) -> None:
    """A token doesn't let anybody have a database looked through."""
    token = agent.hoopctl("service-account", "create", "curious", "--group", "staff").stdout.strip()
    client = Client(agent.state / "control.sock", token)
    for what, body in (("tables", {}), ("sample", {"schema": "found", "table": "people"})):
        with pytest.raises(HoopError, match="for the agent's own user"):
            client.post("resources", "app", what, body=body)


def test_not_reached(agent: AgentProcess) -> None:
    """A login that is refused is an error with what to do."""
    done = agent.hoopctl("policy", "discover", "--resource", "wrong", check=False)
    assert "pg/wrong can't be asked" in done.stderr
    assert "`hoopctl resources check` tries them" in done.stderr


def test_nothing_is_left(agent: AgentProcess, server: Server) -> None:
    """No connection of the agent's stays behind, and nothing was written."""
    discovered(agent, "--table", "found.people")
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hoopctl policy discover'"
    eventually(lambda: server.sql(query, database="app")[0][0] == 0)
