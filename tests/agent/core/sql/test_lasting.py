"""What code could do beyond a rollback, followed from source to source in a catalog made for it."""

from __future__ import annotations

from collections.abc import Iterable

from agent.core.sql.facts import Facts, Row
from agent.core.sql.found import Found, Wanted
from agent.core.sql.judgement import Judgement
from agent.core.sql.lasting import Lasting, key
from agent.core.sql.reach import Reach, reach
from agent.core.sql.statements import split

MAY: Row = ("may", "programs", None, None, None, None)


def routine(oid: int, name: str, source: str, language: str = "plpgsql t", schema: str = "app") -> Row:
    return ("routine", str(oid), language, schema, name, source)


def leads(what: str, oid: int) -> Row:
    return (what, str(oid), None, None, None, None)


class Catalog:
    """Answers what is asked. `hangs`: what a routine (by OID) or a table (by name or OID) leads to."""

    def __init__(
        self, routines: Iterable[Row] = (), powers: Iterable[Row] = (MAY,), outside: Iterable[str] = ()
    ) -> None:
        self.routines = list(routines)
        self.powers = list(powers)
        self.outside = list(outside)
        self.hangs: dict[str, list[Row]] = {}
        self.asked = 0

    def learn(self, facts: Facts, wanted: Wanted) -> None:
        self.asked += 1
        rows: list[Row] = []
        for kind, name in wanted.names:
            rows += [(kind, name, *row) for row in self._answer(kind, name)]
        facts.learn(rows, wanted)

    def _answer(self, kind: str, name: str) -> list[Row]:
        if kind == "powers":
            return self.powers
        if kind == "outside":
            return [("app", each, None, None, None, None) for each in self.outside]
        if kind != "reached":
            return []
        oids, tables, words, every = [set(part.split("\x1e")) for part in name.split("\x1f")]
        found = [row for row in self.routines if row[1] in oids or (row[4] or "").lower() in words]
        for at in sorted(oids | tables | words | every):
            found += self.hangs.get(at, [])
        return found


def lasting(catalog: Catalog, code: str = "", *oids: int) -> list[str]:
    """What a DO block of this code, or calls of these routines, could do."""
    own = reach(f"do $$ begin {code}; end $$", "sql") if code else Reach()
    facts = Facts()
    judged = Lasting(facts, oids, frozenset(), own)
    while isinstance(found := judged.step(), Wanted):
        catalog.learn(facts, found)
        assert catalog.asked < 20
    return [str(one) for one in found]


def test_ordinary_work() -> None:
    """Code that names nothing of the kind does nothing of the kind; two questions tell."""
    catalog = Catalog([routine(20001, "f", "begin return 1; end")], outside=["dblink_exec"])
    assert lasting(catalog, "perform app.f(); update app.users set name = 'x'") == []
    assert catalog.asked == 2


def test_chains() -> None:
    """What a routine names is followed: by its name, by what it was parsed to, through tables and their triggers."""
    c = routine(20009, "dblink_exec", "dblink_exec", "c ")
    catalog = Catalog(
        [routine(20001, "f", "select g()", "sql t"), routine(20002, "g", "begin perform dblink_exec(); end"), c]
    )
    assert lasting(catalog, "", 20001) == ["EXECUTE app.dblink_exec"]
    catalog = Catalog(
        [routine(20001, "f", "", "sql t"), routine(20003, "h", "begin insert into log values (1); end"), c]
    )
    catalog.hangs = {"20001": [leads("calls", 20003)], "log": [leads("reads", 30001)], "30001": [leads("calls", 20009)]}
    assert lasting(catalog, "perform f()", 20001) == ["EXECUTE app.dblink_exec"]


def test_circles() -> None:
    """Routines that call one another come to an end."""
    catalog = Catalog([routine(1, "f", "begin g(); end"), routine(2, "g", "begin f(); end")])
    assert lasting(catalog, "", 1) == []


def test_further_than_is_followed() -> None:
    """What is too far away may be anything."""
    catalog = Catalog([routine(n, f"f{n}", f"begin f{n + 1}(); end") for n in range(1, 40)], outside=["x"])
    assert "EXECUTE app.x" in lasting(catalog, "", 1)


def test_programs_take_a_right() -> None:
    """COPY to a program counts where the session, or a routine of somebody who may, has the right to it."""
    code = "copy t to program 'x'"
    assert lasting(Catalog(), code) == ["COPY FILE ?", "COPY PROGRAM ?"]
    nobody = ("may", None, None, None, None, None)
    assert lasting(Catalog(powers=[nobody]), code) == []
    brings = routine(20001, "f", f"begin {code}; end", "plpgsql tp")
    assert "COPY PROGRAM ?" in lasting(Catalog([brings], [nobody]), "perform f()")


def test_anything() -> None:
    """Dynamic SQL that can't be told may call whatever the database has in C; format is not believed when redefined."""
    catalog = Catalog(outside=["dblink_exec"])
    assert {"EXECUTE app.dblink_exec", "COPY PROGRAM ?"} <= set(lasting(catalog, "execute t"))
    assert lasting(Catalog(outside=["x"]), "execute format('select %L', t)") == []
    spoilt = Catalog([routine(20001, "format", "select 'x'", "sql t")], outside=["x"])
    assert "EXECUTE app.x" in lasting(spoilt, "execute format('select %L', t)")
    joins = Catalog(powers=[MAY, leads("joins", 20001)], outside=["x"])
    assert "EXECUTE app.x" in lasting(joins, "execute 'a' || 'b'")


def test_operators() -> None:
    """What operators and casts call may be called by any code."""
    catalog = Catalog([routine(20009, "evil", "evil", "c ")], [MAY, leads("calls", 20009)])
    assert lasting(catalog, "perform 1") == ["EXECUTE app.evil"]


def test_unknown_tables() -> None:
    """A table whose name is quoted when the code runs may be any."""
    catalog = Catalog([routine(20009, "evil", "evil", "c ")])
    catalog.hangs = {"*": [leads("calls", 20009)]}
    assert lasting(catalog, "execute format('insert into %I values (1)', t)") == ["EXECUTE app.evil"]
    assert lasting(catalog, "execute format('insert into t values (%L)', t)") == []


def judged(text: str, catalog: Catalog, quoting: bool = True) -> list[str]:
    (statement,) = split(text, quoting)
    facts = Facts()
    judgement = Judgement(statement, facts, quoting)
    while not isinstance(found := judgement.step(), Found):
        assert isinstance(found, Wanted), found
        catalog.learn(facts, found)
    return [str(one) for one in found.reaches]


def test_statements() -> None:
    """DO is read; of other statements that run code the names are; a language that isn't understood may do anything."""
    assert judged("do $$ begin perform pg_reload_conf(); end $$", Catalog()) == ["EXECUTE pg_catalog.pg_reload_conf"]
    assert "COPY PROGRAM ?" in judged("do language plpython3u $$ pass $$", Catalog())
    assert "COPY PROGRAM ?" in judged("do $$ begin raise notice '\\x'; end $$", Catalog(), quoting=False)
    catalog = Catalog([routine(20009, "evil", "evil", "c ")])
    catalog.hangs = {"v": [leads("calls", 20009)]}
    assert judged("refresh materialized view v", catalog) == ["EXECUTE app.evil"]
    assert judged("refresh materialized view w", catalog) == []


def test_keys() -> None:
    """What is asked is told apart, and the same however it came about."""
    assert key({2, 1}, {3}, {"b", "a", "*"}) == "1\x1e2\x1f3\x1fa\x1eb\x1f*"
    assert key(set(), set(), set()) == "\x1f\x1f\x1f"
