"""Over many statements of every kind: reading them never fails, is quick, and misses no table that they write."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import Diagnostic

from agent.core.sql.found import Found, Wanted
from agent.core.sql.judgement import Inside, Judgement, TreeWanted
from agent.core.sql.statements import split
from schemas.operation import Operation
from tests.e2e.generated.statements import OTHERS, SCHEMA, Generator
from tests.e2e.servers import Server
from tests.e2e.trees import SHOWING, Shown

SLOWEST = 1.0  # seconds of our own, of one statement, on a machine that does other things too
MANY = 1500
SEED = 4
COUNTED = """
    SELECT schemaname || '.' || relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_xact_user_tables
    WHERE schemaname IN ('gen', 'public')
"""
SEEN_DDL = """
    CREATE FUNCTION gen.seen_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE o record; BEGIN
        IF TG_EVENT = 'sql_drop' THEN
            FOR o IN SELECT * FROM pg_event_trigger_dropped_objects() WHERE original LOOP
                RAISE NOTICE 'ddl:%|%|%', TG_TAG, o.object_type, o.object_identity; END LOOP;
        ELSE
            FOR o IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
                RAISE NOTICE 'ddl:%|%|%', o.command_tag, o.object_type, o.object_identity; END LOOP;
        END IF; END $$;
    CREATE EVENT TRIGGER seen_ddl ON ddl_command_end EXECUTE FUNCTION gen.seen_ddl();
    CREATE EVENT TRIGGER seen_drop ON sql_drop EXECUTE FUNCTION gen.seen_ddl();
"""
TABLES = ("table", "view", "materialized view", "foreign table")
WRITES = ("INSERT", "UPDATE", "DELETE")
MAKING = ("CREATE ", "SELECT INTO", "REFRESH ")
"""Verbs of what fills the relation that it makes: the server counts rows that are inserted."""
UNKNOWN = Operation("UNKNOWN")


class Watched(Shown):
    """A connection that knows what a statement did, and hears the statements that ran inside it."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.inner: list[tuple[str, str]] = []
        self.ddl: list[tuple[str, str, str]] = []
        self.connection.add_notice_handler(self._heard)

    def _heard(self, diagnostic: Diagnostic) -> None:
        if diagnostic.source_function == "elog_node_display":
            self.inner.append((diagnostic.message_detail or "", diagnostic.context or ""))
        elif (diagnostic.message_primary or "").startswith("ddl:"):
            tag, kind, identity = (diagnostic.message_primary or "")[4:].split("|", 2)
            self.ddl.append((tag, kind, identity))

    def judge(self, statement: str) -> tuple[Found | None, float]:
        """What reading it finds, and the seconds of our own that it took; None when the server refuses the text."""
        self.facts.forget()
        begun = time.perf_counter()
        away = 0.0
        found: list[Found] = []
        for one in split(statement):
            judgement = Judgement(one, self.facts)
            while not isinstance(step := judgement.step(), Found):
                asked = time.perf_counter()
                if isinstance(step, TreeWanted):
                    trees = self.printed(step.statement)
                    if trees is None:
                        return None, 0.0
                    away += time.perf_counter() - asked
                    judgement.tree(trees)
                else:
                    rows = self.connection.execute(self.facts.question(step).encode(), prepare=False).fetchall()
                    away += time.perf_counter() - asked
                    self.facts.learn(rows, step)
            found.append(step)
        assert len(found) == 1
        return found[0], time.perf_counter() - begun - away

    def printed(self, statement: str) -> list[str] | None:
        """The trees of a statement, None where the server refuses it; the transaction goes on."""
        self._printed.clear()
        self.run("SAVEPOINT asked")
        answer = self.connection.pgconn.prepare(b"", statement.encode())
        self.run("ROLLBACK TO asked")
        return None if answer.error_message else list(self._printed)

    def counts(self) -> dict[str, tuple[int, ...]]:
        return {row[0]: row[1:] for row in self.connection.execute(COUNTED, prepare=False).fetchall()}

    def run_inside(self, statement: str) -> tuple[Found, set[str]] | None:
        """Runs it: what is found of what it ran inside, and what it did, as operations. None when it fails."""
        before = self.counts()
        self.run("DISCARD PLANS")
        self.inner.clear()
        self.ddl.clear()
        answer = self.connection.pgconn.exec_(statement.encode())
        if answer.status == psycopg.pq.ExecStatus.COPY_OUT:
            while self.connection.pgconn.get_copy_data(0)[0] > 0:
                pass
            while (more := self.connection.pgconn.get_result()) is not None:
                answer = more
        if answer.error_message:
            return None
        done = {f"{tag} {name}" for tag, kind, name in self.ddl if kind in TABLES}
        inside = Inside(self.facts)
        for tree, context in list(self.inner):
            inside.shown(tree, context)
        while not isinstance(found := inside.step(), Found):
            if isinstance(found, Wanted):
                self.ask(found)
            else:
                inside.tree(self.trees(found.statement) or [])
        for table, after in self.counts().items():
            for verb, was, now in zip(WRITES, before.get(table, (0, 0, 0)), after, strict=False):
                if now > was:
                    done.add(f"{verb} {table}")
        return found, done


@pytest.fixture(scope="module")
def watched(pg18: Server) -> Iterator[Watched]:
    pg18.sql("CREATE DATABASE generated")
    pg18.sql(SCHEMA + SEEN_DDL, database="generated")
    made = Watched(pg18.dsn(database="generated"))
    yield made
    made.close()


def missed(found: Found, inside: Found, done: set[str]) -> set[str]:
    """What was done and is not among what was found; nothing when it was said to be unknown."""
    known = {*found.operations, *(inside.operations if found.opaque else ())}
    if UNKNOWN in known:
        return set()
    said = {str(one) for one in known}
    objects = {one.object for one in known}
    made = {f"INSERT {one.object}" for one in known if one.verb.startswith(MAKING)}
    return {one for one in done - said - made if one.startswith(WRITES) or one.split(" ")[-1] not in objects}


def test_statements_of_every_kind(watched: Watched) -> None:
    """No statement makes reading fail or take long; each table that was written or altered is named, or UNKNOWN is."""
    generator = Generator(SEED)
    statements = list(dict.fromkeys([*OTHERS, *(generator.statement() for _ in range(MANY))]))
    spent: list[float] = []
    gaps, unknown, ran, refused = [], [], 0, 0
    for statement in statements:
        watched.run(f"BEGIN; {SHOWING}; PREPARE prepared(int) AS DELETE FROM gen.a WHERE id = $1")
        found, seconds = watched.judge(statement)
        if found is None:
            refused += 1
        else:
            spent.append(seconds)
            if seconds > SLOWEST:
                gaps.append((statement, f"{seconds * 1000:.0f} ms"))
            if UNKNOWN in found.operations:
                unknown.append(statement)
            if not statement.startswith(("BEGIN", "COMMIT", "ROLLBACK", "PREPARE TRANSACTION")):
                told = watched.run_inside(statement)
                if told is not None:
                    ran += 1
                    if gap := missed(found, *told):
                        gaps.append((statement, str(sorted(gap))))
        watched.run("ROLLBACK; DEALLOCATE ALL; RESET ALL")
    print(f"\n{len(statements)} statements: {len(spent)} read, {ran} ran, {refused} refused by the server")
    print(f"UNKNOWN: {len(unknown)} ({len(unknown) / len(spent):.1%}); median {statistics.median(spent) * 1e6:.0f} us")
    print(f"slowest {max(spent) * 1000:.1f} ms; unknown: {unknown}")
    assert gaps == []
    assert ran > len(statements) / 2
