"""Random schemas with a value of its own in every cell, and random SELECTs over them.

Conditions, joins, groups and order are by `id` and `k` alone, which are never masked: two databases that differ in the
values of masked columns give the same rows, the same in every column that doesn't derive from a masked one.
"""

from __future__ import annotations

import random
import string

TYPES = {"text": "text", "int": "int", "json": "jsonb", "arr": "text[]", "pair": "pair"}
ROWS = 7

Columns = list[tuple[str, str]]
"""Names and types of what an alias has, without `id` and `k`."""


class Schema:
    """Tables t0, t1, t2, a partition p0 of t1, a child h0 of t2, views and a materialized view. `masked` has the names
    `table.column`."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.relations: dict[str, Columns] = {}
        self.masked: set[str] = set()
        for at in range(3):
            columns = [(f"c{n}", chance.choice([*TYPES, "text"])) for n in range(chance.randint(2, 5))]
            self.relations[f"t{at}"] = columns
            self.masked |= {f"t{at}.{name}" for name, _ in columns if chance.random() < 0.4}
        self.tables = dict(self.relations)
        self.relations["p0"] = self.relations["t1"]
        self.relations["h0"] = self.relations["t2"]
        writer = Writer(chance, self)
        self.views: list[str] = []
        for name, kind in (("v0", "VIEW"), ("v1", "VIEW"), ("m0", "MATERIALIZED VIEW"), ("v2", "VIEW")):
            query, columns = writer.query(1)
            self.views.append(f"CREATE {kind} {name} AS {query}")
            self.relations[name] = columns

    def statements(self, values: random.Random, other: random.Random) -> list[str]:
        """Makes it: values of masked columns from `values`, all others from `other`, so that those can be the same."""
        made = ["CREATE TYPE pair AS (p text, q int)"]
        for table, columns in self.tables.items():
            body = ", ".join(["id int", "k int", *(f"{name} {TYPES[kind]}" for name, kind in columns)])
            made.append(f"CREATE TABLE {table} ({body}){' PARTITION BY LIST (k)' if table == 't1' else ''}")
        made.append("CREATE TABLE p0 PARTITION OF t1 FOR VALUES IN (0, 1)")
        made.append("CREATE TABLE p1 PARTITION OF t1 FOR VALUES IN (2)")
        made.append("CREATE TABLE h0 () INHERITS (t2)")
        for table in ("t0", "t1", "t2", "h0"):
            base = "t2" if table == "h0" else table
            for row in range(ROWS):
                cells = [str(row), str(row % 3)]
                for name, kind in self.tables[base]:
                    chance = values if f"{base}.{name}" in self.masked else other
                    cells.append("NULL" if (row + len(name) + len(cells)) % 6 == 0 else value(kind, chance))
                made.append(f"INSERT INTO {table} VALUES ({', '.join(cells)})")
        return [*made, *self.views]


def word(chance: random.Random) -> str:
    return "".join(chance.choice(string.ascii_lowercase) for _ in range(chance.randint(9, 13)))


def value(kind: str, chance: random.Random) -> str:
    """A literal that has a value which no other cell has."""
    if kind == "text":
        return f"'{word(chance)}'"
    if kind == "int":
        return str(chance.randint(10**7, 10**8))
    if kind == "json":
        return f"""'{{"a": "{word(chance)}", "b": ["{word(chance)}"]}}'"""
    if kind == "arr":
        return f"ARRAY['{word(chance)}', '{word(chance)}']"
    return f"ROW('{word(chance)}', {chance.randint(10**7, 10**8)})"


class Writer:
    """Writes queries; every one has `id` and `k` first."""

    def __init__(self, chance: random.Random, schema: Schema) -> None:
        self.chance = chance
        self.schema = schema
        self._made = 0

    def _alias(self) -> str:
        self._made += 1
        return f"x{self._made}"

    def query(self, depth: int) -> tuple[str, Columns]:
        forms = [self._plain, self._plain, self._grouped, self._window]
        if depth > 0:
            forms += [self._union, self._with, self._recursive]
        return self.chance.choice(forms)(depth)

    def _plain(self, depth: int) -> tuple[str, Columns]:
        text, first, columns = self._from(depth)
        wanted = self.chance.choices(list(TYPES), k=self.chance.randint(1, 4))
        outputs = [(f"o{at}", kind) for at, kind in enumerate(wanted)]
        parts = [f"{self.expression(kind, columns, first, depth)} AS {name}" for name, kind in outputs]
        distinct = self.chance.choice(["", "", f"DISTINCT ON ({first}.id, {first}.k)"])
        order = f" ORDER BY {first}.id, {first}.k" if distinct or self.chance.random() < 0.3 else ""
        limit = self.chance.choice(["", "", " LIMIT 5"]) if order else ""
        return (
            f"SELECT {distinct} {first}.id, {first}.k, {', '.join(parts)} FROM {text}{self._where(first)}"
            f"{order}{limit}",
            outputs,
        )

    def _grouped(self, depth: int) -> tuple[str, Columns]:
        text, first, columns = self._from(depth)
        parts, outputs = [], Columns()
        for at in range(self.chance.randint(1, 3)):
            one = self.expression("text", columns, first, 0)
            made, kind = self.chance.choice(
                [
                    (f"max({one})", "text"),
                    (f"string_agg({one}, ',' ORDER BY {first}.id)", "text"),
                    (f"array_agg({one})", "arr"),
                    (f"count({self.column(columns, first)})::int", "int"),
                    ("count(*)::int", "int"),
                    (f"jsonb_build_object('a', json_agg({one}))", "json"),
                    (f"(array_agg(ROW({one}, 1)::pair))[1]", "pair"),
                    (f"bool_or({one} > 'm')::text", "text"),
                    (f"count(*) FILTER (WHERE {one} > 'm')::int", "int"),
                    (f"(SELECT max({one}))", "text"),
                ]
            )
            parts.append(f"{made} AS o{at}")
            outputs.append((f"o{at}", kind))
        having = self.chance.choice(["", f" HAVING count(*) > 0 AND min({first}.id) < 6"])
        group = self.chance.choice([f"{first}.k", f"GROUPING SETS (({first}.k), ({first}.id, {first}.k))"])
        return (
            f"SELECT min({first}.id) AS id, {first}.k, {', '.join(parts)} FROM {text}{self._where(first)}"
            f" GROUP BY {group}{having}",
            outputs,
        )

    def _window(self, depth: int) -> tuple[str, Columns]:
        text, first, columns = self._from(depth)
        parts, outputs = [], Columns()
        for at in range(self.chance.randint(1, 3)):
            one = self.expression("text", columns, first, 0)
            made, kind = self.chance.choice(
                [
                    (f"lag({one}) OVER w", "text"),
                    (f"first_value({one}) OVER w", "text"),
                    (f"string_agg({one}, ',') OVER w", "text"),
                    ("(row_number() OVER w)::int", "int"),
                    (f"(count({self.column(columns, first)}) OVER w)::int", "int"),
                ]
            )
            parts.append(f"{made} AS o{at}")
            outputs.append((f"o{at}", kind))
        return (
            f"SELECT {first}.id, {first}.k, {', '.join(parts)} FROM {text}{self._where(first)}"
            f" WINDOW w AS (PARTITION BY {first}.k ORDER BY {first}.id)",
            outputs,
        )

    def _union(self, depth: int) -> tuple[str, Columns]:
        text, first, columns = self._from(depth - 1)
        left, outputs = self._plain(depth - 1)
        parts = [self.expression(kind, columns, first, 0) for _, kind in outputs]
        right = f"SELECT {first}.id, {first}.k, {', '.join(parts)} FROM {text}{self._where(first)}"
        return f"({left}) UNION ALL ({right})", outputs

    def _with(self, depth: int) -> tuple[str, Columns]:
        name = self._alias()
        query, columns = self.query(depth - 1)
        self.schema.relations[name] = columns
        outer, outputs = self.query(depth - 1)
        del self.schema.relations[name]
        kind = self.chance.choice(["", "MATERIALIZED", "NOT MATERIALIZED"])
        return f"WITH {name} AS {kind} ({query}) {outer}", outputs

    def _recursive(self, depth: int) -> tuple[str, Columns]:
        name = self._alias()
        query, columns = self.query(depth - 1)
        parts = [f"{name}.{one}" for one, _ in columns]
        shuffled = [
            self.chance.choice([f"{name}.{other}" for other, same in columns if same == kind]) for _, kind in columns
        ]
        return (
            f"WITH RECURSIVE {name} AS (({query}) UNION ALL SELECT id, k + 3, {', '.join(shuffled)} FROM {name}"
            f" WHERE k < 3) SELECT id, k, {', '.join(parts)} FROM {name}",
            columns,
        )

    def _where(self, first: str) -> str:
        inner = self._alias()
        table = self.chance.choice(list(self.schema.tables))
        return self.chance.choice(
            [
                "",
                f" WHERE {first}.k < 2",
                f" WHERE EXISTS (SELECT * FROM {table} {inner} WHERE {inner}.id = {first}.id)",
                f" WHERE {first}.id IN (SELECT id FROM {table} {inner})",
            ]
        )

    # FROM

    def _from(self, depth: int) -> tuple[str, str, Columns]:
        """Its text, the alias whose keys count, and the columns, each with its alias."""
        text, first, columns = self._item(depth)
        form = self.chance.randint(0, 6)
        if form == 0:
            other, alias, more = self._item(depth)
            join = self.chance.choice(["JOIN", "LEFT JOIN", "FULL JOIN"])
            return f"{text} {join} {other} ON {alias}.id = {first}.id", first, columns + more
        if form == 1:
            other, _, more = self._item(depth)
            return f"{text} {self.chance.choice(['', 'LEFT ', 'FULL '])}JOIN {other} USING (id)", first, columns + more
        if form == 2:
            alias = self._alias()
            one = self.expression("text", columns, first, 0)
            return f"{text}, LATERAL (SELECT {one} AS l) {alias}", first, [*columns, (f"{alias}.l", "text")]
        if form == 3:
            alias = self._alias()
            one = self.expression("arr", columns, first, 0)
            return (
                f"{text} LEFT JOIN LATERAL unnest(({one})[1:1]) WITH ORDINALITY {alias}(e, n) ON true",
                first,
                [*columns, (f"{alias}.e", "text"), (f"{alias}.n::int", "int")],
            )
        if form == 4:
            alias = self._alias()
            one = self.expression("text", columns, first, 0)
            return (
                f"{text}, LATERAL (VALUES ({one}, 1), ('x', 2)) {alias}(v, n)",
                first,
                [*columns, (f"{alias}.v", "text"), (f"{alias}.n", "int")],
            )
        return text, first, columns

    def _item(self, depth: int) -> tuple[str, str, Columns]:
        alias = self._alias()
        if depth > 0 and self.chance.random() < 0.5:
            query, columns = self.query(depth - 1)
            text = f"({query}) {alias}"
        else:
            name = self.chance.choice(list(self.schema.relations))
            columns = self.schema.relations[name]
            text = f"{self.chance.choice(['', 'ONLY ']) if name == 't2' else ''}{name} {alias}"
        if self.chance.random() < 0.2:  # other names for its columns
            columns = [(f"r{at}", kind) for at, (_, kind) in enumerate(columns)]
            text += f"(id, k, {', '.join(name for name, _ in columns)})"
        return text, alias, [(f"{alias}.{name}", kind) for name, kind in columns]

    # Expressions

    def column(self, columns: Columns, first: str) -> str:
        return self.chance.choice([name for name, _ in columns] or [f"{first}.id"])

    def expression(self, kind: str, columns: Columns, first: str, depth: int) -> str:
        having = [name for name, same in columns if same == kind]
        if having and self.chance.random() < 0.5:
            return self.chance.choice(having)
        choices = getattr(self, f"_{kind}")(columns, first, depth)
        return str(self.chance.choice([*having, *choices]))

    def _some(self, kind: str, columns: Columns, literal: str) -> str:
        """A column of this type, or one that is made such."""
        found = [name for name, same in columns if same == kind]
        if found or not columns:
            return self.chance.choice(found or [literal])
        other = self.chance.choice(columns)[0]
        return {
            "text": f"({other})::text",
            "int": f"length(({other})::text)",
            "json": f"jsonb_build_object('a', {other})",
            "arr": f"ARRAY[({other})::text]",
            "pair": f"ROW(({other})::text, 1)::pair",
        }[kind]

    def _text(self, columns: Columns, first: str, depth: int) -> list[str]:
        one, two = self._some("text", columns, "'none'"), self._some("text", columns, "'nothing'")
        row = first if self.chance.random() < 0.3 else f"ROW({one}, {self.column(columns, first)})"
        inner, table = self._alias(), self.chance.choice(list(self.schema.tables))
        parts = [(f"{inner}.{name}", kind) for name, kind in self.schema.tables[table]]
        below = self._some("text", parts, "'inner'")
        field = self.chance.choice([name for name, _ in parts])
        return [
            f"({one} || {two})",
            f"upper({one})",
            f"reverse({one})",
            f"left({one}, 3)",
            f"coalesce({one}, {two})",
            f"greatest({one}, {two})",
            f"nullif({one}, {two})",
            f"CASE WHEN {first}.k = 1 THEN {one} ELSE {two} END",
            f"CASE WHEN {one} > 'm' THEN 'high' ELSE 'low' END",
            f"CASE {one} WHEN {two} THEN 'same' END",
            f"({one} IS NULL)::text",
            f"{row}::text",
            f"to_json({row})::text",
            f"{self._some('int', columns, '1')}::text",
            f"({self._some('json', columns, 'NULL::jsonb')} ->> 'a')",
            f"({self._some('arr', columns, 'NULL::text[]')})[1]",
            f"({self._some('pair', columns, 'NULL::pair')}).p",
            f"(SELECT max({below}) FROM {table} {inner} WHERE {inner}.k = {first}.k)",
            f"(SELECT {inner} FROM {table} {inner} ORDER BY id LIMIT 1)::text",
            f"(SELECT ({inner}).{field.split('.')[1]} FROM {table} {inner} ORDER BY id LIMIT 1)::text",
            f"((SELECT {inner} FROM {table} {inner} ORDER BY id LIMIT 1)).{field.split('.')[1]}::text",
            f"array_to_string(ARRAY(SELECT {below} FROM {table} {inner} ORDER BY id), ',')",
            f"(EXISTS (SELECT {below} FROM {table} {inner}))::text",
            f"(SELECT count({below}) FROM {table} {inner})::text",
            f"({one} IN (SELECT {below} FROM {table} {inner}))::text",
            f"concat({one}, {two}, 'z')",
            f"pg_typeof({one})::text",
        ]

    def _int(self, columns: Columns, first: str, depth: int) -> list[str]:
        one = self._some("int", columns, "7")
        text = self._some("text", columns, "'none'")
        return [f"({one} + 1)", f"length({text})", f"({self._some('pair', columns, 'NULL::pair')}).q", f"{first}.k"]

    def _json(self, columns: Columns, first: str, depth: int) -> list[str]:
        one = self._some("json", columns, "NULL::jsonb")
        text = self._some("text", columns, "'none'")
        return [
            f"jsonb_build_object('a', {text}, 'b', {self.column(columns, first)})",
            f"({one} || '{{\"z\": 1}}')",
            f"to_jsonb({first})",
            f"jsonb_build_object('a', {one} -> 'b')",
        ]

    def _arr(self, columns: Columns, first: str, depth: int) -> list[str]:
        text, two = self._some("text", columns, "'none'"), self._some("text", columns, "'other'")
        return [f"ARRAY[{text}, {two}]", f"array_append({self._some('arr', columns, 'NULL::text[]')}, {text})"]

    def _pair(self, columns: Columns, first: str, depth: int) -> list[str]:
        text = self._some("text", columns, "'none'")
        return [f"ROW({text}, {self._some('int', columns, '3')})::pair", f"ROW(upper({text}), {first}.k)::pair"]
