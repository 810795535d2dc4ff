"""Statements of every kind that PostgreSQL 18's grammar has (`stmt` in gram.y), many of them put together at random."""

from __future__ import annotations

from random import Random

SCHEMA = """
    CREATE SCHEMA gen;
    CREATE TABLE gen.a (id int PRIMARY KEY, n int DEFAULT 1, t text);
    CREATE TABLE gen.b (id int PRIMARY KEY, a_id int REFERENCES gen.a ON DELETE CASCADE ON UPDATE CASCADE, t text);
    CREATE TABLE gen.child () INHERITS (gen.a);
    CREATE TABLE gen.p (id int, t text) PARTITION BY LIST (id);
    CREATE TABLE gen.p1 PARTITION OF gen.p FOR VALUES IN (1, 2, 3);
    CREATE TABLE gen.p2 PARTITION OF gen.p DEFAULT;
    CREATE VIEW gen.v AS SELECT id, n, t FROM gen.a WHERE id > 0;
    CREATE VIEW gen.w AS SELECT id, t FROM gen.v;
    CREATE MATERIALIZED VIEW gen.m AS SELECT id FROM gen.a;
    CREATE TABLE gen.log (id int, t text);
    CREATE TABLE gen.ruled (id int, n int, t text);
    CREATE RULE r AS ON INSERT TO gen.ruled DO ALSO INSERT INTO gen.log VALUES (NEW.id, 'rule');
    CREATE TABLE gen.fired (id int, n int, t text);
    CREATE FUNCTION gen.fire() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO gen.log VALUES (1, TG_OP); RETURN COALESCE(NEW, OLD); END $$;
    CREATE TRIGGER t AFTER INSERT OR UPDATE OR DELETE ON gen.fired FOR EACH ROW EXECUTE FUNCTION gen.fire();
    CREATE FUNCTION gen.writes(x int) RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO gen.log VALUES (x, 'f'); RETURN x; END $$;
    CREATE FUNCTION gen.calm(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT x + 1';
    CREATE PROCEDURE gen.work(x int) LANGUAGE sql AS 'UPDATE gen.a SET n = x WHERE id = x';
    CREATE SEQUENCE gen.s;
    CREATE TYPE gen.pair AS (x int, y text);
    CREATE TYPE gen.mood AS ENUM ('good', 'bad');
    CREATE DOMAIN gen.even AS int CHECK (VALUE % 2 = 0);
    INSERT INTO gen.a SELECT i, i, 't' || i FROM generate_series(1, 9) i;
    INSERT INTO gen.b SELECT i, i, 't' || i FROM generate_series(1, 9) i;
    INSERT INTO gen.p SELECT i, 't' FROM generate_series(1, 9) i;
    INSERT INTO gen.fired SELECT i, i, 't' FROM generate_series(1, 9) i;
    INSERT INTO gen.ruled SELECT i, i, 't' FROM generate_series(1, 9) i;
    INSERT INTO gen.child SELECT i, i, 't' FROM generate_series(101, 109) i;
"""
WRITTEN = ["gen.a", "ONLY gen.a", "gen.child", "gen.p", "gen.p1", "gen.v", "gen.w", "gen.ruled", "gen.fired", "gen.b"]
READ = [*WRITTEN, "gen.m", "gen.log", "(SELECT 1 AS id, 'x' AS t)", "generate_series(1, 3)", "(VALUES (1), (2))"]

OTHERS = """
ALTER AGGREGATE pg_catalog.sum(int) OWNER TO CURRENT_USER
ALTER COLLATION "C" REFRESH VERSION
ALTER CONVERSION pg_catalog.utf8_to_iso_8859_1 OWNER TO CURRENT_USER
ALTER DATABASE postgres SET work_mem = '5MB'
ALTER DATABASE postgres OWNER TO CURRENT_USER
ALTER DEFAULT PRIVILEGES IN SCHEMA gen GRANT SELECT ON TABLES TO public
ALTER DOMAIN gen.even SET DEFAULT 2
ALTER DOMAIN gen.even ADD CONSTRAINT small CHECK (VALUE < 100)
ALTER EVENT TRIGGER seen_ddl DISABLE
ALTER EXTENSION plpgsql UPDATE
ALTER FUNCTION gen.calm(int) STABLE
ALTER FUNCTION gen.calm(int) SET search_path = gen
ALTER GROUP pg_monitor ADD USER postgres
ALTER INDEX gen.a_pkey SET (fillfactor = 80)
ALTER INDEX gen.a_pkey RENAME TO a_key
ALTER LANGUAGE plpgsql OWNER TO CURRENT_USER
ALTER MATERIALIZED VIEW gen.m RENAME TO mm
ALTER OPERATOR + (int, int) OWNER TO CURRENT_USER
ALTER PROCEDURE gen.work(int) SECURITY DEFINER
ALTER ROLE postgres SET work_mem = '5MB'
ALTER ROUTINE gen.calm(int) COST 5
ALTER SCHEMA gen RENAME TO gen2
ALTER SEQUENCE gen.s RESTART WITH 5
ALTER SYSTEM RESET work_mem
ALTER TABLE gen.a ADD COLUMN x int DEFAULT 5
ALTER TABLE gen.a ALTER COLUMN t TYPE varchar USING t || 'x'
ALTER TABLE gen.a DROP COLUMN n CASCADE
ALTER TABLE gen.a RENAME TO aa
ALTER TABLE gen.a RENAME COLUMN t TO tt
ALTER TABLE gen.a SET SCHEMA public
ALTER TABLE gen.a DISABLE TRIGGER ALL
ALTER TABLE gen.a ENABLE ROW LEVEL SECURITY
ALTER TABLE gen.a ADD CHECK (gen.writes(id) > 0)
ALTER TABLE gen.p DETACH PARTITION gen.p2
ALTER TABLE gen.child NO INHERIT gen.a
ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE pg_default
ALTER TRIGGER t ON gen.fired RENAME TO tt
ALTER TYPE gen.mood ADD VALUE 'soso'
ALTER TYPE gen.pair ADD ATTRIBUTE z int
ALTER USER postgres VALID UNTIL 'infinity'
ALTER VIEW gen.v SET (security_barrier = true)
ANALYZE gen.a
CALL gen.work(3)
CHECKPOINT
CLUSTER gen.a USING a_pkey
COMMENT ON TABLE gen.a IS 'x'
COPY gen.a TO STDOUT
COPY (DELETE FROM gen.a WHERE id = 3 RETURNING *) TO STDOUT
COPY gen.a TO '/dev/null'
COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'
CREATE ACCESS METHOD am TYPE TABLE HANDLER heap_tableam_handler
CREATE AGGREGATE gen.total (int) (SFUNC = int4pl, STYPE = int)
CREATE CAST (gen.mood AS int) WITH FUNCTION gen.calm(int)
CREATE CAST (gen.mood AS int) WITH INOUT
CREATE COLLATION gen.c FROM "C"
CREATE DATABASE other
CREATE DOMAIN gen.odd AS int CHECK (VALUE % 2 = 1)
CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION gen.seen_ddl()
CREATE EXTENSION citext SCHEMA gen
CREATE FOREIGN DATA WRAPPER w
CREATE FUNCTION gen.g() RETURNS int LANGUAGE sql AS 'DELETE FROM gen.a; SELECT 1'
CREATE FUNCTION gen.g() RETURNS int BEGIN ATOMIC DELETE FROM gen.a; SELECT 1; END
CREATE INDEX ON gen.a (gen.calm(n))
CREATE UNIQUE INDEX CONCURRENTLY ON gen.a (n)
CREATE MATERIALIZED VIEW gen.m2 AS SELECT gen.writes(id) FROM gen.a
CREATE OPERATOR gen.@@@ (LEFTARG = int, RIGHTARG = int, FUNCTION = int4pl)
CREATE OPERATOR FAMILY gen.f USING btree
CREATE POLICY p ON gen.a USING (id > 0)
CREATE PROCEDURE gen.q() LANGUAGE sql AS 'TRUNCATE gen.log'
CREATE PUBLICATION p FOR TABLE gen.a
CREATE ROLE r
CREATE OR REPLACE RULE r AS ON INSERT TO gen.ruled DO INSTEAD NOTHING
CREATE SCHEMA s2 CREATE TABLE t (a int) CREATE VIEW v AS SELECT * FROM t
CREATE SEQUENCE gen.s2
CREATE SERVER srv FOREIGN DATA WRAPPER none
CREATE STATISTICS gen.st ON id, n FROM gen.a
CREATE TABLE gen.x (id int PRIMARY KEY, a_id int REFERENCES gen.a, s serial)
CREATE TABLE gen.x (LIKE gen.a INCLUDING ALL)
CREATE TABLE gen.x AS SELECT gen.writes(id) AS id FROM gen.a
CREATE TABLE gen.p3 PARTITION OF gen.p FOR VALUES IN (77)
CREATE TABLESPACE ts LOCATION '/nowhere'
CREATE TEMP TABLE x (a int) ON COMMIT DROP
CREATE TEXT SEARCH CONFIGURATION gen.tc (COPY = simple)
CREATE TRIGGER t2 BEFORE INSERT ON gen.a FOR EACH ROW EXECUTE FUNCTION gen.fire()
CREATE TYPE gen.y AS (a int)
CREATE TYPE gen.y AS ENUM ('a')
CREATE TYPE gen.y AS RANGE (subtype = int)
CREATE USER u PASSWORD 'x'
CREATE VIEW gen.vv AS SELECT * FROM gen.a
DECLARE c CURSOR FOR SELECT gen.writes(id) FROM gen.a
DO $$ BEGIN UPDATE gen.a SET n = 1; EXECUTE 'DELETE FROM gen.b'; END $$
DO $$ BEGIN CREATE TABLE gen.x (a int); DROP TABLE gen.x; END $$
DISCARD PLANS
DROP FUNCTION gen.calm(int)
DROP INDEX gen.a_pkey CASCADE
DROP MATERIALIZED VIEW gen.m
DROP OWNED BY pg_monitor
DROP PROCEDURE gen.work
DROP RULE r ON gen.ruled
DROP SCHEMA gen CASCADE
DROP SEQUENCE gen.s
DROP TABLE gen.b, gen.log
DROP TABLE gen.a CASCADE
DROP TRIGGER t ON gen.fired
DROP TYPE gen.mood
DROP VIEW gen.w
EXPLAIN DELETE FROM gen.a
EXPLAIN (ANALYZE) EXECUTE prepared(3)
EXECUTE prepared(4)
GRANT SELECT ON gen.a TO public
GRANT pg_monitor TO pg_read_all_data
IMPORT FOREIGN SCHEMA s FROM SERVER none INTO gen
LISTEN c
LOAD 'plpgsql'
LOCK TABLE gen.a IN SHARE MODE
NOTIFY c, 'x'
PREPARE q AS DELETE FROM gen.a
REASSIGN OWNED BY pg_monitor TO postgres
REFRESH MATERIALIZED VIEW gen.m
REINDEX TABLE gen.a
RESET work_mem
REVOKE ALL ON gen.a FROM public
SECURITY LABEL ON TABLE gen.a IS NULL
SELECT * INTO gen.x FROM gen.a
SELECT nextval('gen.s'), setval('gen.s', 9)
SELECT set_config('work_mem', '5MB', true)
SELECT '{2}'::gen.even[]
SET LOCAL work_mem = '5MB'
SET CONSTRAINTS ALL IMMEDIATE
SHOW work_mem
TABLE gen.w
TRUNCATE gen.log, gen.b
TRUNCATE gen.a CASCADE
TRUNCATE ONLY gen.a CASCADE
UNLISTEN *
VACUUM gen.a
VALUES (gen.writes(1))
BEGIN
COMMIT
PREPARE TRANSACTION 'x'
ROLLBACK
SAVEPOINT s
""".strip().splitlines()
"""One line a statement; what the server refuses in a transaction is analysed all the same."""


class Generator:
    """Random statements that read and write; the same seed, the same statements."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def statement(self) -> str:
        body = self._random.choice((self.insert, self.update, self.delete, self.merge, self.select, self.upsert))()
        return self._random.choice((self.plain, self.plain, self.common, self.explained, self.block, self.copied))(body)

    def one(self, *choices: str) -> str:
        return self._random.choice(choices)

    def table(self) -> str:
        return self._random.choice(WRITTEN)

    def condition(self, table: str) -> str:
        first = self.one("id = 3", "id > 4", "true", "id = ANY (ARRAY[1, 2])", "t LIKE '%1'", "gen.calm(id) = 2")
        inner = f"EXISTS (SELECT FROM {self._random.choice(READ[:12])} x WHERE x.id = y.id)"
        return self.one("", f" WHERE {first}", f" WHERE {first} AND NOT {inner}", f" WHERE {inner} OR {first}")

    def value(self) -> str:
        return self.one("'x'", "NULL", "(SELECT max(t) FROM gen.b)", "upper('y')", "gen.writes(5)::text", "DEFAULT")

    def insert(self) -> str:
        table = self.table().removeprefix("ONLY ")
        values = self.one("VALUES (50, 'x'), (51, NULL)", f"SELECT id + 200, t FROM {self._random.choice(READ[:12])} y")
        return f"INSERT INTO {table} (id, t) {values}{self.one('', ' RETURNING id')}"

    def upsert(self) -> str:
        return (
            f"INSERT INTO gen.a (id, t) VALUES (3, 'u') ON CONFLICT (id) DO {self.one('NOTHING', 'UPDATE SET n = 7')}"
        )

    def update(self) -> str:
        table = self.table()
        source = self.one("", " FROM gen.b z")
        return f"UPDATE {table} y SET t = {self.value()}{source}{self._qualified(self.condition(table), source)}"

    def delete(self) -> str:
        table = self.table()
        source = self.one("", " USING gen.b z")
        condition = self._qualified(self.condition(table), source)
        return f"DELETE FROM {table} y{source}{condition}{self.one('', ' RETURNING 1')}"

    @staticmethod
    def _qualified(condition: str, source: str) -> str:
        return (
            condition
            if not source
            else condition.replace(" id", " y.id").replace(" t ", " y.t ").replace("(id)", "(y.id)")
        )

    def merge(self) -> str:
        what = self.one("DELETE", "UPDATE SET t = 'm'", "DO NOTHING")
        added = self.one("", " WHEN NOT MATCHED THEN INSERT (id, t) VALUES (s.id, 'm')")
        lost = self.one("", " WHEN NOT MATCHED BY SOURCE AND y.id = 9 THEN DELETE")
        table = self._random.choice(["gen.a", "gen.child", "gen.v", "gen.p", "gen.fired"])
        return f"MERGE INTO {table} y USING gen.b s ON s.id = y.id WHEN MATCHED AND y.id < 5 THEN {what}{added}{lost}"

    def select(self) -> str:
        columns = self.one("*", "count(*)", "gen.writes(3)", "row_number() OVER ()")
        return f"SELECT {columns} FROM {self._random.choice(READ)} y{self.one('', ' LIMIT 3')}"

    def plain(self, body: str) -> str:
        return body

    def common(self, body: str) -> str:
        if (
            body.startswith(("INSERT", "SELECT", "DELETE"))
            and "RETURNING" not in body
            and not body.startswith("SELECT")
        ):
            body += " RETURNING 1"
        return f"WITH c AS ({body}) SELECT count(*) FROM {self.one('c', 'c, gen.m')}" if "RETURNING" in body else body

    def explained(self, body: str) -> str:
        return f"EXPLAIN {self.one('', 'ANALYZE ', '(ANALYZE off) ', '(VERBOSE, ANALYZE 1) ')}{body}"

    def block(self, body: str) -> str:
        if body.startswith("SELECT") or "RETURNING" in body:
            return body
        return f"DO $$ BEGIN {self.one(body, 'EXECUTE $x$' + body + '$x$')}; END $$"

    def copied(self, body: str) -> str:
        return f"COPY ({body}) TO STDOUT" if body.startswith("SELECT") or "RETURNING" in body else body
