"""The database that trees of statements are taken from."""

from __future__ import annotations

from collections.abc import Iterator

from tests.e2e.servers import Server
from tests.e2e.trees import Shown

SCHEMA = """
    CREATE SCHEMA shop;
    CREATE TABLE shop.users (id int PRIMARY KEY, name text, email text, active boolean DEFAULT true);
    CREATE TABLE shop.staff (grade int) INHERITS (shop.users);
    CREATE TABLE shop.orders (id int PRIMARY KEY, user_id int REFERENCES shop.users ON DELETE CASCADE ON UPDATE CASCADE,
        note text, total int);
    CREATE TABLE shop.lines (id int PRIMARY KEY, order_id int REFERENCES shop.orders ON DELETE SET NULL);
    CREATE TABLE shop.plain (id int PRIMARY KEY, body text);
    CREATE TABLE shop.parted (id int, v text) PARTITION BY LIST (id);
    CREATE TABLE shop.parted_1 PARTITION OF shop.parted FOR VALUES IN (1);
    CREATE VIEW shop.contacts AS SELECT id, name FROM shop.users;
    CREATE VIEW shop.names AS SELECT name FROM shop.contacts;
    CREATE MATERIALIZED VIEW shop.copy AS SELECT id FROM shop.users;
    CREATE FUNCTION shop.f(x int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN x; END';
    CREATE FUNCTION shop.calm(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x';
    CREATE FUNCTION shop.quiet() RETURNS int LANGUAGE sql SET client_min_messages = error AS 'SELECT 1';
    CREATE FUNCTION shop.sly(t text DEFAULT set_config('client_min_messages', 'error', false)) RETURNS int
        LANGUAGE sql AS 'SELECT 1';
    CREATE FUNCTION shop.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE FUNCTION shop.positive(x int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN x > 0; END';
    CREATE FUNCTION shop.same(a shop.plain, b shop.plain) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN true; END';
    CREATE OPERATOR shop.=== (LEFTARG = shop.plain, RIGHTARG = shop.plain, FUNCTION = shop.same);
    CREATE FUNCTION shop.plus(a int, b int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN a; END';
    CREATE SEQUENCE shop.s;
    CREATE AGGREGATE shop.total (int) (SFUNC = shop.plus, STYPE = int);
    CREATE AGGREGATE shop.switch (text, boolean) (SFUNC = set_config, STYPE = text);
    CREATE PROCEDURE shop.work() LANGUAGE plpgsql AS 'BEGIN END';
    CREATE DOMAIN shop.positive_int AS int CHECK (shop.positive(VALUE));
    CREATE TYPE shop.pair AS (a shop.positive_int, b int);
    CREATE TYPE shop.color AS ENUM ('red', 'green');
    CREATE TABLE shop.numbered (id serial, n int);
    CREATE TABLE shop.painted (id int, shade shop.color);
    CREATE TABLE shop.triggered (id int);
    CREATE TRIGGER t BEFORE UPDATE ON shop.triggered FOR EACH ROW EXECUTE FUNCTION shop.fires();
    CREATE FUNCTION shop.hushes() RETURNS trigger LANGUAGE plpgsql SET client_min_messages = error
        AS 'BEGIN RETURN NEW; END';
    CREATE TABLE shop.hushed (id int);
    CREATE TRIGGER i AFTER INSERT ON shop.hushed FOR EACH ROW EXECUTE FUNCTION shop.hushes();
    CREATE TRIGGER d AFTER DELETE ON shop.hushed FOR EACH ROW WHEN (shop.f(OLD.id) > 0) EXECUTE FUNCTION shop.fires();
    CREATE TRIGGER u AFTER UPDATE ON shop.hushed FOR EACH ROW EXECUTE FUNCTION shop.fires();
    ALTER TABLE shop.hushed DISABLE TRIGGER u;
    CREATE VIEW shop.instead AS SELECT id + 1 AS id FROM shop.plain;
    CREATE TRIGGER t INSTEAD OF DELETE ON shop.instead FOR EACH ROW EXECUTE FUNCTION shop.fires();
    CREATE VIEW shop.ruled AS SELECT id, body FROM shop.plain;
    CREATE RULE r AS ON INSERT TO shop.ruled DO INSTEAD DELETE FROM shop.orders WHERE orders.id = NEW.id;
    CREATE TABLE shop.told (id int);
    CREATE RULE r AS ON INSERT TO shop.told DO ALSO NOTIFY "the news";
    CREATE TABLE shop.checked (id int CHECK (shop.positive(id)));
    CREATE TABLE shop.indexed (id int);
    CREATE INDEX ON shop.indexed (shop.positive(id));
    CREATE TABLE shop.defaulted (id int DEFAULT shop.f(1), n int);
    CREATE TABLE shop.domained (id shop.positive_int, n int);
    CREATE TABLE shop.secured (id int);
    ALTER TABLE shop.secured ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON shop.secured USING (EXISTS (SELECT FROM shop.plain WHERE plain.id = secured.id));
    GRANT USAGE ON SCHEMA shop TO app;
    GRANT ALL ON ALL TABLES IN SCHEMA shop TO app;
    CREATE FOREIGN DATA WRAPPER nothing;
    CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
    CREATE FOREIGN TABLE shop.far (id int) SERVER elsewhere;
    CREATE TABLE shop.":relid 1 ]" ("\\ {x}" int, "(" text);
    CREATE TABLE shop."it's \\ it" (id int);
"""


ROWS = """
    INSERT INTO shop.users SELECT i, 'u', 'e' FROM generate_series(1, 9) i;
    INSERT INTO shop.staff VALUES (11, 's', 'e', true, 1), (4, 's', 'e', true, 1);
    INSERT INTO shop.orders SELECT i, i, 'n', i FROM generate_series(1, 9) i;
    INSERT INTO shop.lines SELECT i, i FROM generate_series(1, 9) i;
    INSERT INTO shop.plain SELECT i, 'b' FROM generate_series(2, 9) i;
    INSERT INTO shop.parted VALUES (1, 'v');
    INSERT INTO shop.triggered VALUES (1);
    INSERT INTO shop.hushed VALUES (1);
    INSERT INTO shop.indexed VALUES (1);
"""


def populated(server: Server) -> Iterator[Shown]:
    server.sql("CREATE DATABASE trees")
    server.sql(SCHEMA, database="trees")
    server.sql(ROWS, database="trees")
    shown = Shown(server.dsn(database="trees"))
    yield shown
    shown.close()
    server.sql("DROP DATABASE trees WITH (FORCE)")
