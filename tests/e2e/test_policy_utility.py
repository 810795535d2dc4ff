"""Every kind of utility statement, judged with the facts of real servers and compared with what event triggers saw."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from agent.core.sql.context import context_statement
from agent.core.sql.facts import Facts
from agent.core.sql.found import Found, Wanted
from agent.core.sql.statements import EMPTY, QUERY, Statement, split
from agent.core.sql.utility import judge
from tests.e2e.servers import Server

SCHEMA = """
    CREATE SCHEMA app;
    CREATE TABLE app.users (id int PRIMARY KEY, name text, phone text);
    CREATE TABLE app.orders (id int PRIMARY KEY, user_id int REFERENCES app.users, note text);
    CREATE TABLE app.employees (grade int) INHERITS (app.users);
    CREATE TABLE app.people (id int, name text) PARTITION BY LIST (id);
    CREATE TABLE app.people_low PARTITION OF app.people FOR VALUES IN (1, 2);
    CREATE TABLE app.people_new (id int, name text);
    CREATE VIEW app.contacts AS SELECT id, name FROM app.users;
    CREATE MATERIALIZED VIEW app.copies AS SELECT id FROM app.users;
    CREATE SEQUENCE app.numbers;
    CREATE TYPE app.mood AS ENUM ('sad', 'ok');
    CREATE TYPE app.pair AS (a int, b int);
    CREATE DOMAIN app.positive AS int CHECK (value > 0);
    CREATE FUNCTION app.twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * x';
    CREATE FUNCTION app.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE PROCEDURE app.work(x int) LANGUAGE plpgsql AS 'BEGIN END';
    CREATE TRIGGER fires BEFORE INSERT ON app.orders FOR EACH ROW EXECUTE FUNCTION app.fires();
    CREATE RULE quiet AS ON DELETE TO app.people_new DO INSTEAD NOTHING;
    CREATE POLICY mine ON app.orders;
    CREATE STATISTICS app.kinds ON id, name FROM app.users;
    CREATE COLLATION app.plain FROM "C";
    CREATE TEXT SEARCH CONFIGURATION app.words (COPY = pg_catalog.simple);
    CREATE TEXT SEARCH DICTIONARY app.plain (TEMPLATE = pg_catalog.simple);
    CREATE FOREIGN DATA WRAPPER far;
    CREATE SERVER away FOREIGN DATA WRAPPER far;
    CREATE FOREIGN TABLE app.elsewhere (id int) SERVER away;
    CREATE PUBLICATION news FOR TABLE app.orders;
    CREATE TABLE seen (tag text, kind text, name text);
    CREATE FUNCTION seen_end() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.seen SELECT command_tag, object_type, object_identity FROM pg_event_trigger_ddl_commands();
    END $$;
    CREATE FUNCTION seen_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.seen SELECT 'DROP', object_type, object_identity FROM pg_event_trigger_dropped_objects()
            WHERE object_type IN ('table', 'view', 'materialized view', 'sequence', 'foreign table', 'table column');
    END $$;
"""
TRIGGERS = """
    CREATE EVENT TRIGGER seen_end ON ddl_command_end EXECUTE FUNCTION seen_end();
    CREATE EVENT TRIGGER seen_drop ON sql_drop EXECUTE FUNCTION seen_drop();
"""
ORDINARY = """
    ABORT; BEGIN; COMMIT; END; ROLLBACK; SAVEPOINT a; RELEASE a; ROLLBACK TO a; START TRANSACTION READ ONLY; PREPARE
    TRANSACTION 'x'; COMMIT PREPARED 'x'; ROLLBACK PREPARED 'x'; SET work_mem = '4MB'; SET LOCAL search_path = app;
    SET TIME ZONE 'UTC'; SET NAMES 'UTF8'; SET ROLE postgres; RESET ALL; RESET ROLE; SET SESSION AUTHORIZATION
    DEFAULT; SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL DEFERRED; SET SESSION CHARACTERISTICS AS TRANSACTION
    READ WRITE; SHOW ALL; SHOW work_mem; SET XML OPTION CONTENT; ALTER AGGREGATE pg_catalog.sum(int) OWNER TO app;
    ALTER COLLATION app.plain RENAME TO plainer; ALTER CONVERSION pg_catalog.utf8_to_win RENAME TO x; ALTER DATABASE
    app SET work_mem = '4MB'; ALTER DATABASE app CONNECTION LIMIT 9; ALTER DATABASE app OWNER TO postgres; ALTER
    DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC; ALTER DOMAIN app.positive DROP NOT NULL;
    ALTER DOMAIN app.positive ADD CHECK (value < 100); ALTER EVENT TRIGGER seen_end DISABLE; ALTER EXTENSION plpgsql
    UPDATE; ALTER FOREIGN DATA WRAPPER far OPTIONS (a 'b'); ALTER FOREIGN TABLE app.elsewhere ADD COLUMN name text;
    ALTER FUNCTION app.twice(int) STABLE; ALTER FUNCTION app.twice(int) OWNER TO app; ALTER FUNCTION app.twice
    RENAME TO double; ALTER GROUP app ADD USER postgres; ALTER INDEX app.users_pkey RENAME TO users_key; ALTER
    LANGUAGE plpgsql OWNER TO postgres; ALTER LARGE OBJECT 5 OWNER TO app; ALTER MATERIALIZED VIEW app.copies RENAME
    TO copied; ALTER OPERATOR pg_catalog.+ (int, int) OWNER TO app; ALTER OPERATOR CLASS pg_catalog.int4_ops USING
    btree OWNER TO app; ALTER OPERATOR FAMILY pg_catalog.integer_ops USING btree OWNER TO app; ALTER POLICY mine ON
    app.orders USING (true); ALTER PROCEDURE app.work(int) SECURITY DEFINER; ALTER PUBLICATION news ADD TABLE
    app.users; ALTER ROLE app CREATEDB; ALTER ROLE app SET work_mem = '4MB'; ALTER ROUTINE app.twice(int) STRICT;
    ALTER RULE quiet ON app.people_new RENAME TO x; ALTER SCHEMA app RENAME TO apps; ALTER SCHEMA app OWNER TO app;
    ALTER SEQUENCE app.numbers RESTART; ALTER SEQUENCE app.numbers OWNED BY app.users.id; ALTER SERVER away OPTIONS
    (a 'b'); ALTER STATISTICS app.kinds RENAME TO x; ALTER SUBSCRIPTION s DISABLE; ALTER SYSTEM SET work_mem =
    '4MB'; ALTER SYSTEM RESET ALL; ALTER TABLE app.users ADD COLUMN more int DEFAULT 1; ALTER TABLE app.users DROP
    COLUMN phone; ALTER TABLE app.users DROP COLUMN name CASCADE; ALTER TABLE app.users ALTER COLUMN phone TYPE
    varchar(20); ALTER TABLE app.users ALTER COLUMN phone TYPE int USING app.twice(id); ALTER TABLE app.users OWNER
    TO app; ALTER TABLE app.users RENAME COLUMN phone TO telephone; ALTER TABLE app.users RENAME TO customers; ALTER
    TABLE app.users SET SCHEMA public; ALTER TABLE app.users ENABLE ROW LEVEL SECURITY; ALTER TABLE app.orders
    DISABLE TRIGGER fires; ALTER TABLE app.orders DROP CONSTRAINT orders_user_id_fkey; ALTER TABLE app.orders ADD
    CONSTRAINT long CHECK (length(note) > 0); ALTER TABLE app.users REPLICA IDENTITY FULL; ALTER TABLE app.people
    ATTACH PARTITION app.people_new FOR VALUES IN (3); ALTER TABLE app.people DETACH PARTITION app.people_low; ALTER
    TABLE app.employees NO INHERIT app.users; ALTER TABLE app.contacts OWNER TO app; ALTER TABLE ALL IN TABLESPACE
    pg_default SET TABLESPACE pg_default; ALTER TABLESPACE pg_default RESET (seq_page_cost); ALTER TEXT SEARCH
    CONFIGURATION app.words RENAME TO x; ALTER TEXT SEARCH DICTIONARY app.plain (stopwords); ALTER TEXT SEARCH
    PARSER pg_catalog.default RENAME TO x; ALTER TRIGGER fires ON app.orders RENAME TO x; ALTER TYPE app.mood ADD
    VALUE 'great'; ALTER TYPE app.pair ADD ATTRIBUTE c int; ALTER TYPE app.mood RENAME VALUE 'sad' TO 'low'; ALTER
    TYPE app.pair OWNER TO app; ALTER USER app NOLOGIN; ALTER USER MAPPING FOR app SERVER away OPTIONS (a 'b');
    ALTER VIEW app.contacts RENAME TO c; ALTER VIEW app.contacts ALTER COLUMN name SET DEFAULT 'x'; ALTER FUNCTION
    app.twice(int) DEPENDS ON EXTENSION plpgsql; ANALYZE app.users; CALL app.work(1); CHECKPOINT; CLUSTER app.users
    USING users_pkey; CLOSE ALL; COMMENT ON TABLE app.users IS 'x'; COMMENT ON COLUMN app.users.id IS 'x'; COMMENT
    ON FUNCTION app.twice(int) IS 'x'; COMMENT ON DATABASE app IS 'x'; COMMENT ON TRIGGER fires ON app.orders IS
    'x'; COMMENT ON CAST (int AS text) IS 'x'; COPY app.users TO STDOUT; COPY app.users FROM STDIN; COPY app.users
    TO '/nowhere/x'; COPY app.users FROM PROGRAM 'x'; COPY (SELECT 1) TO STDOUT; CREATE ACCESS METHOD x TYPE TABLE
    HANDLER heap_tableam_handler; CREATE AGGREGATE app.total (int) (SFUNC = int4pl, STYPE = int); CREATE CAST
    (app.mood AS int) WITH INOUT; CREATE COLLATION app.x FROM "C"; CREATE CONVERSION app.x FOR 'UTF8' TO 'LATIN1'
    FROM utf8_to_iso8859_1; CREATE DATABASE x; CREATE DOMAIN app.x AS int; CREATE EVENT TRIGGER x ON sql_drop
    EXECUTE FUNCTION seen_drop(); CREATE EXTENSION IF NOT EXISTS plpgsql; CREATE FOREIGN DATA WRAPPER x; CREATE
    FOREIGN TABLE app.x (a int) SERVER away; CREATE FUNCTION app.x() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE
    GROUP x; CREATE INDEX ON app.users (name); CREATE FUNCTION app.x() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT
    1; SELECT 2; END; CREATE INDEX x ON app.users (app.twice(id)) WHERE id > 0; CREATE LANGUAGE x HANDLER
    plpgsql_call_handler; CREATE MATERIALIZED VIEW app.x AS SELECT 1; CREATE OPERATOR app.@@@@ (FUNCTION = int4pl,
    LEFTARG = int, RIGHTARG = int); CREATE OPERATOR CLASS app.x FOR TYPE int USING hash AS OPERATOR 1 =; CREATE
    OPERATOR FAMILY app.x USING btree; CREATE POLICY x ON app.users; CREATE PROCEDURE app.x() LANGUAGE sql AS '';
    CREATE PUBLICATION x FOR TABLE app.users; CREATE ROLE x; CREATE RULE x AS ON INSERT TO app.users DO ALSO (SELECT
    1; SELECT 2); CREATE SCHEMA x; CREATE SCHEMA x CREATE TABLE t (a int) CREATE VIEW v AS SELECT 1 GRANT SELECT ON
    t TO PUBLIC; CREATE SEQUENCE app.x; CREATE SERVER x FOREIGN DATA WRAPPER far; CREATE STATISTICS app.x ON id,
    name FROM app.users; CREATE SUBSCRIPTION x CONNECTION 'dbname=x' PUBLICATION x WITH (connect = false); CREATE
    TABLE app.x (a int); CREATE TABLE app.x (LIKE app.users INCLUDING ALL); CREATE TABLE app.x PARTITION OF
    app.people FOR VALUES IN (9); CREATE TABLE app.x AS SELECT 1 AS a; CREATE TEMP TABLE x (a int); SELECT 1 AS a
    INTO app.x; CREATE TABLESPACE x LOCATION '/x'; CREATE TEXT SEARCH CONFIGURATION app.x (COPY =
    pg_catalog.simple); CREATE TEXT SEARCH DICTIONARY app.x (TEMPLATE = simple); CREATE TEXT SEARCH PARSER app.x
    (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype); CREATE TEXT SEARCH
    TEMPLATE app.x (LEXIZE = dsimple_lexize); CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION
    x(internal)); CREATE TRIGGER x BEFORE INSERT ON app.users FOR EACH ROW EXECUTE FUNCTION app.fires(); CREATE TYPE
    app.x AS ENUM ('a'); CREATE TYPE app.x AS (a int); CREATE TYPE app.x AS RANGE (SUBTYPE = int); CREATE TYPE
    app.x; CREATE USER x; CREATE USER MAPPING FOR app SERVER away; CREATE VIEW app.x AS SELECT 1; CREATE RECURSIVE
    VIEW app.x (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM x; DEALLOCATE ALL; DEALLOCATE p; DECLARE c CURSOR FOR
    SELECT 1; DISCARD ALL; DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP; DO 'BEGIN END'; DROP ACCESS METHOD x;
    DROP AGGREGATE app.total(int); DROP CAST (app.mood AS int); DROP COLLATION app.plain; DROP CONVERSION app.x;
    DROP DATABASE x; DROP DOMAIN app.positive; DROP EVENT TRIGGER seen_end; DROP EXTENSION plpgsql; DROP FOREIGN
    DATA WRAPPER far; DROP FOREIGN TABLE app.elsewhere; DROP FUNCTION app.twice; DROP GROUP x; DROP INDEX
    app.users_pkey CASCADE; DROP LANGUAGE plpgsql; DROP MATERIALIZED VIEW app.copies; DROP OPERATOR app.@@@@ (int,
    int); DROP OPERATOR CLASS app.x USING hash; DROP OPERATOR FAMILY app.x USING btree; DROP OWNED BY app; DROP
    POLICY mine ON app.orders; DROP PROCEDURE app.work; DROP PUBLICATION news; DROP ROLE x; DROP ROUTINE app.work;
    DROP RULE quiet ON app.people_new; DROP SCHEMA app CASCADE; DROP SEQUENCE app.numbers; DROP SERVER away; DROP
    STATISTICS app.kinds; DROP SUBSCRIPTION x; DROP TABLE app.orders; DROP TABLE app.people; DROP TABLE app.users
    CASCADE; DROP TABLESPACE x; DROP TEXT SEARCH CONFIGURATION app.words; DROP TEXT SEARCH DICTIONARY app.plain;
    DROP TEXT SEARCH PARSER app.x; DROP TEXT SEARCH TEMPLATE app.x; DROP TRANSFORM FOR int LANGUAGE plpgsql; DROP
    TRIGGER fires ON app.orders; DROP TYPE app.mood, app.pair; DROP USER x; DROP USER MAPPING IF EXISTS FOR app
    SERVER away; DROP VIEW app.contacts; EXECUTE p; EXECUTE p (1, 'a'); EXPLAIN SELECT 1; EXPLAIN (ANALYZE) CREATE
    TABLE app.x AS SELECT 1 AS a; FETCH 5 FROM c; GRANT SELECT ON app.users TO app; GRANT ALL ON ALL TABLES IN
    SCHEMA app TO app; GRANT USAGE ON SCHEMA app TO app; GRANT app TO postgres; GRANT EXECUTE ON FUNCTION
    app.twice(int) TO app; GRANT SELECT (id), UPDATE (name) ON app.users TO app; GRANT ALL ON DATABASE app TO app;
    GRANT USAGE ON TYPE app.mood TO app; GRANT SET ON PARAMETER work_mem TO app; GRANT USAGE ON LANGUAGE plpgsql TO
    app; GRANT USAGE ON SEQUENCE app.numbers TO app; GRANT ALL ON LARGE OBJECT 5 TO app; IMPORT FOREIGN SCHEMA x
    FROM SERVER away INTO app; LISTEN x; LOAD 'plpgsql'; LOCK TABLE app.users; MOVE 5 FROM c; NOTIFY x, 'y'; PREPARE
    p (int) AS SELECT $1; REASSIGN OWNED BY app TO postgres; REFRESH MATERIALIZED VIEW app.copies; REINDEX TABLE
    app.users; REINDEX DATABASE app; REVOKE ALL ON app.users FROM app; REVOKE app FROM postgres; SECURITY LABEL ON
    TABLE app.users IS 'x'; TRUNCATE app.orders; TRUNCATE app.users CASCADE; UNLISTEN *; VACUUM; VACUUM (FULL)
    app.users;
"""
UNCLEAR = """
    DROP SERVER away CASCADE; DROP FOREIGN DATA WRAPPER far CASCADE;
    DROP COLLATION plain; ALTER STATISTICS kinds RENAME TO x; DROP OPERATOR @@@@ (int, int); DROP OWNED BY CURRENT_USER;
    REASSIGN OWNED BY SESSION_USER TO app; ALTER TEXT SEARCH CONFIGURATION words RENAME TO x;
"""
SHOWN = {"CREATE TABLE", "ALTER TABLE", "CREATE VIEW", "ALTER VIEW", "CREATE SEQUENCE", "CREATE INDEX", "DROP"}
SERVERS = ["pg18", "pg15"]


def judged(connection: psycopg.Connection[tuple[str | None, ...]], statement: Statement) -> Found:
    """What a session says, having asked the server for all that it wants to know."""
    facts = Facts()
    for _ in range(20):
        answer = judge(statement, facts)
        if isinstance(answer, Found):
            return answer
        wanted: Wanted | None = facts.missing(answer)
        assert wanted is not None, f"asked for what is known: {statement.text}"
        question = facts.question(wanted)
        facts.learn(connection.execute(question.encode()).fetchall() if question else [], wanted)
    raise AssertionError(f"never satisfied: {statement.text}")


def statements(text: str) -> list[Statement]:
    return [one for one in split(text) if one.kind != EMPTY]


@pytest.fixture(scope="module", params=SERVERS)
def connection(request: pytest.FixtureRequest) -> Iterator[psycopg.Connection[tuple[str | None, ...]]]:
    """A database of its own on either server."""
    server: Server = request.getfixturevalue(request.param)
    server.sql("CREATE DATABASE utility")
    server.sql(SCHEMA, database="utility")
    server.sql(TRIGGERS, database="utility")
    with psycopg.connect(server.dsn(database="utility"), autocommit=True) as made:
        yield made
    server.sql("DROP DATABASE utility WITH (FORCE)")


def test_every_command_is_understood(connection: psycopg.Connection[tuple[str | None, ...]]) -> None:
    """None of the commands of PostgreSQL's grammar is UNKNOWN, and none is without an operation but those that do
    nothing to objects."""
    unknown, silent = [], []
    found = statements(ORDINARY)
    for statement in found:
        if statement.kind == QUERY:
            continue
        said = [str(one) for one in judged(connection, statement).operations]
        if "UNKNOWN" in said:
            unknown.append(statement.text.strip())
        if not said and statement.kind == "UTILITY" and statement.tag != "EXECUTE" and statement.inner is None:
            silent.append(statement.text.strip())
    assert len(found) > 250
    assert (unknown, silent) == ([], [])


def test_what_is_not_looked_up_is_unknown(connection: psycopg.Connection[tuple[str | None, ...]]) -> None:
    """Names without a schema, of kinds that nobody looks up, and roles that depend on the moment."""
    for statement in statements(UNCLEAR):
        assert "UNKNOWN" in [str(one) for one in judged(connection, statement).operations], statement.text


def test_event_triggers_see_nothing_else(connection: psycopg.Connection[tuple[str | None, ...]]) -> None:
    """Every table, view, sequence and column that a command makes, alters or drops is among its operations."""
    ran = 0
    missed = []
    for statement in statements(ORDINARY):
        if statement.kind != "UTILITY" or "STDIN" in statement.text or "STDOUT" in statement.text:
            continue
        said = {str(one) for one in judged(connection, statement).operations}
        saw: list[tuple[str | None, ...]] = []
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(b"DELETE FROM public.seen")
                connection.execute(statement.text.encode())
                saw = connection.execute(b"SELECT tag, kind, name FROM public.seen").fetchall()
                ran += 1
        except psycopg.Error:
            continue
        for tag, kind, name in saw:
            of_column = tag != "DROP" and kind == "table column"
            if tag not in SHOWN or of_column or (kind == "index" and statement.tag != "CREATE INDEX"):
                continue
            verb = f"DROP {'COLUMN' if kind == 'table column' else (kind or '').upper()}" if tag == "DROP" else tag
            if not any(one.startswith(verb) and one.endswith(f" {name}") for one in said):
                missed.append((statement.text.strip(), verb, name, sorted(said)))
    assert ran > 100
    assert not missed, missed


@pytest.mark.parametrize("name", SERVERS)
def test_contexts_of_real_servers(name: str, request: pytest.FixtureRequest) -> None:
    """The text of a statement that code runs is found in the NOTICE about it, however deep it is called."""
    server: Server = request.getfixturevalue(name)
    heard: list[str | None] = []
    with psycopg.connect(server.dsn(), autocommit=True) as session:
        session.execute(
            "CREATE FUNCTION pg_temp.inner() RETURNS void LANGUAGE plpgsql AS"
            " $$ BEGIN EXECUTE 'create temp table a' || chr(10) || '(\"b\" int)'; DROP TABLE a; END $$"
        )
        session.execute("SET client_min_messages = log; SET debug_print_rewritten = on")
        session.add_notice_handler(
            lambda notice: heard.append(context_statement(notice.context)) if notice.context else None
        )
        session.execute("DO $$ BEGIN PERFORM pg_temp.inner(); EXECUTE 'DO $x$ BEGIN LISTEN y; END $x$'; END $$")
    assert {'create temp table a\n("b" int)', "DROP TABLE a", "LISTEN y"} <= set(heard)
