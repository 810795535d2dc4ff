-- What psql 16 to 18 added: extended protocol by hand and pipelines.
SELECT $1::int + $2::int AS sum \bind 20 22 \g
SELECT $1 AS word \bind word \g
SELECT $1::int \bind x \g
SELECT id, name FROM people WHERE id = $1 \parse by_id
\bind_named by_id 3 \g
\bind_named by_id nonsense \g
\bind_named nobody 1 \g
\close_prepared by_id
\bind_named by_id 3 \g

\startpipeline
SELECT $1 AS a \bind 1 \sendpipeline
SELECT $1 AS b \bind 2 \sendpipeline
\flushrequest
\getresults
SELECT $1 AS c \bind 3 \sendpipeline
\syncpipeline
SELECT $1::int AS d \bind oops \sendpipeline
SELECT $1 AS skipped \bind 5 \sendpipeline
\syncpipeline
SELECT $1 AS e \bind 6 \sendpipeline
\endpipeline
\echo :PIPELINE_SYNC_COUNT :PIPELINE_COMMAND_COUNT :PIPELINE_RESULT_COUNT

\startpipeline
BEGIN \bind \sendpipeline
INSERT INTO ledger VALUES ($1, $2) \bind 1 'piped' \sendpipeline
SELECT count(*) FROM ledger \bind \sendpipeline
ROLLBACK \bind \sendpipeline
\endpipeline

\startpipeline
SELECT 1;
SELECT $1 \bind mixed \sendpipeline
\endpipeline
SELECT shout($1) \bind piped \g
SELECT 'end' AS of_it;
