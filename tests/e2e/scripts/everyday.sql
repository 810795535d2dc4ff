-- What people type into psql, for psql 15 and later. It leaves nothing behind and prints the same every time.
\set VERBOSITY verbose
\set SHOW_CONTEXT always
\d
\dt+ people
\d people
\d+ grown
\df twice
\sf shout
\dn
\du app
\l app
\dconfig search_path
\set VERBOSITY default

SELECT id, name, born, score, tags FROM people WHERE id <= 3 ORDER BY id;
SELECT NULL AS nothing, '' AS empty, E'two\nlines' AS lines, repeat('x', 100) AS long, '✓ ünï' AS unicode;
\pset null '(null)'
\x on
SELECT * FROM people WHERE id = 7;
\x off
\t on
\a
SELECT id, name FROM people WHERE id < 3 ORDER BY id;
\a
\t off

-- several statements in one message, and an error among them
SELECT 1 AS one\; SELECT 2 AS two\; SELECT 3 AS three;
SELECT 1 AS before\; SELECT 1/0\; SELECT 2 AS never;
SELECT 'still here' AS state;

-- errors
SELECT nocolumn FROM people;
SELEC 1;
SELECT * FROM nowhere;
INSERT INTO people (id, name) VALUES (1, 'twice');
SELECT 'abc'::int;
\errverbose

-- variables
SELECT count(*) AS total, min(name) AS first FROM people \gset
\echo :total :'first'
SELECT :total + 1 AS more;
SELECT 'SELECT ' || i || ' AS generated' FROM generate_series(1, 2) i \gexec
SELECT id FROM people WHERE id = 5 \gdesc
\echo :ROW_COUNT :SQLSTATE :LAST_ERROR_MESSAGE
SELECT 1 \; SELECT 2 \g (format=csv)

-- transactions
BEGIN;
INSERT INTO ledger VALUES (1, 'a');
SAVEPOINT s;
INSERT INTO ledger VALUES (1, 'again');
SELECT 1;
ROLLBACK TO s;
SELECT count(*) FROM ledger;
ROLLBACK;
SELECT count(*) FROM ledger;
COMMIT;
BEGIN READ ONLY;
INSERT INTO ledger VALUES (2, 'no');
ROLLBACK;
\set AUTOCOMMIT off
SELECT 1;
COMMIT;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT 1/0;
SELECT 'kept' AS transaction;
COMMIT;
\set ON_ERROR_ROLLBACK off

-- notices and warnings
SELECT shout('hello');
DO $$BEGIN RAISE WARNING 'careful'; RAISE INFO 'for you'; RAISE NOTICE E'first\nsecond'; END$$;
DROP TABLE IF EXISTS never_there;
SET client_min_messages = debug1;
SELECT shout('debug');
RESET client_min_messages;
DO $$BEGIN RAISE EXCEPTION 'own error' USING ERRCODE = 'HX001', DETAIL = 'd', HINT = 'h', TABLE = 't'; END$$;

-- LISTEN and NOTIFY
LISTEN news;
NOTIFY news, 'first';
SELECT pg_notify('news', repeat('n', 3000));
BEGIN;
NOTIFY news, 'inside';
SELECT 'not yet' AS heard;
COMMIT;
UNLISTEN news;

-- COPY
COPY (SELECT id, name FROM people WHERE id <= 3 ORDER BY id) TO STDOUT;
COPY (SELECT id, NULL, name FROM people WHERE id <= 3 ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER);
CREATE TEMP TABLE basket (id int, what text);
COPY basket FROM STDIN;
1	apple
2	\N
3	back\\slash
\.
COPY basket FROM STDIN WITH (FORMAT csv);
4,"quoted, with ""quotes"""
5,
\.
COPY basket FROM STDIN;
six	not a number
\.
SELECT * FROM basket ORDER BY id;
\copy basket TO PROGRAM 'cat'
\copy (SELECT count(*) FROM basket) TO STDOUT
\copy basket FROM PROGRAM 'printf "8\teight\n9\tnine\n"'
\copy basket FROM PROGRAM 'printf "x\ty\n"'
\copy basket FROM '/nowhere/to/be/found'
SELECT count(*) FROM basket;

-- large objects
\lo_import /dev/null
SELECT lo_unlink(:LASTOID);
BEGIN;
SELECT lo_create(424242);
SELECT lo_open(424242, 131072 | 262144) AS handle \gset
SELECT lowrite(:handle, '\x00ff10');
SELECT lo_lseek(:handle, 0, 0);
SELECT loread(:handle, 10);
ROLLBACK;

-- prepared statements, cursors
PREPARE by_id (int) AS SELECT name FROM people WHERE id = $1;
EXECUTE by_id (9);
EXECUTE by_id ('x');
DEALLOCATE by_id;
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM people ORDER BY id;
FETCH 2 FROM c;
FETCH BACKWARD 1 FROM c;
MOVE 10 IN c;
FETCH c;
CLOSE c;
COMMIT;
\set FETCH_COUNT 7
SELECT id FROM people WHERE id <= 20 ORDER BY id;
SELECT 100 / (id - 15) FROM people WHERE id <= 20 ORDER BY id;
\set FETCH_COUNT 0

-- settings that the server reports
SET application_name = 'everyday';
SET TimeZone = 'Europe/Berlin';
SELECT timestamptz '2026-01-01 00:00Z';
SET DateStyle = 'SQL, DMY';
SELECT date '2026-01-31';
\encoding LATIN1
SELECT length('x') AS latin;
\encoding UTF8
SET standard_conforming_strings = off;
SELECT 'plain';
RESET ALL;

-- wide and odd
SELECT i, i * i AS square FROM generate_series(1, 3) i \crosstabview i i square
SELECT * FROM generate_series(1, 0) AS none;
SELECT;
TABLE people LIMIT 0;
SELECT 1 AS "üñí col", 2 AS "a""b";
EXPLAIN (COSTS off) SELECT * FROM people WHERE id = 1;
VALUES (1, 'a'), (2, 'b');
CREATE TEMP TABLE made AS SELECT generate_series(1, 4) AS n;
UPDATE made SET n = n + 1 RETURNING n;
DELETE FROM made WHERE n > 3;
MERGE INTO made USING (VALUES (2), (77)) v (n) ON made.n = v.n WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.n);
TRUNCATE made;
VACUUM made;
\timing off
\if :{?total}
  \echo known
\else
  \echo unknown
\endif
SELECT current_user, current_database(), current_setting('search_path');
SELECT pg_terminate_backend(pg_backend_pid());
SELECT 'gone' AS never;
