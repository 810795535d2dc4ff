"""Which columns a definition deals with: what indexes, checks, keys, triggers and altered tables get of the rows.

    read(statement, facts) -> Definition, or Wanted when facts are missing; None for what is no definition of this kind
    of_written(operations, facts) -> the columns of the rows that triggers and checks of written tables get

A definition that says which columns it looks at is about these; any other is about all of its table's. Columns go by
all of their names: those of parents, and of what views are made of.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from postgast.pg_query_pb2 import AlterTableType, ObjectType, ReindexObjectType

from agent.core.sql import utility
from agent.core.sql.facts import Facts
from agent.core.sql.found import Output, Wanted, wanted_together
from agent.core.sql.grammar import Ungrammatical
from agent.core.sql.outputs import of_table
from agent.core.sql.resolution import Resolution, relation_name, strings
from agent.core.sql.statements import Statement
from agent.core.sql.tokens import Unreadable
from schemas.operation import Operation

_ROWS: Final = ("UPDATE", "DELETE", "MERGE")
_TAME: Final = frozenset(
    "AT_ColumnDefault AT_DropNotNull AT_SetNotNull AT_SetStatistics AT_SetOptions AT_ResetOptions AT_SetStorage"
    " AT_SetCompression AT_DropConstraint AT_ClusterOn AT_DropCluster AT_SetLogged AT_SetUnLogged AT_SetTableSpace"
    " AT_SetRelOptions AT_ResetRelOptions AT_ReplicaIdentity AT_EnableRowSecurity AT_DisableRowSecurity"
    " AT_ForceRowSecurity AT_NoForceRowSecurity AT_DropIdentity AT_SetIdentity AT_AddIdentity AT_ChangeOwner".split()
)
"""Commands of ALTER TABLE that look at no values."""
_PLAIN: Final = frozenset(range(1, 5)) | frozenset(range(11, 18))
"""Constraints that name no other column: null, not null, default, identity, and how others are enforced."""
_GENERATED: Final = 5
_FOREIGN: Final = 10
_INSERTS: Final = 4 | 32
"""Events of triggers that get no rows that were there before: INSERT, TRUNCATE."""


class Definition(Struct, frozen=True):
    """`shown`: columns whose values it may let out; `held`: those that its errors may tell of."""

    shown: tuple[str, ...] = ()
    held: tuple[str, ...] = ()


def read(statement: Statement, facts: Facts) -> Definition | Wanted | None:
    """Of one utility statement."""
    if not statement.tag.startswith(("CREATE", "ALTER", "REFRESH", "COPY", "REINDEX")):
        return None
    try:
        nodes = utility.parsed(statement)
    except (Ungrammatical, Unreadable):
        return None
    if len(nodes) != 1:
        return None
    form = nodes[0].WhichOneof("node")
    node: Any = getattr(nodes[0], form or "", None)
    looked = _Looked(facts)
    if form == "alter_table_stmt":
        looked.altered(node)
    elif form == "index_stmt":
        looked.indexed(node)
    elif form == "create_trig_stmt":
        looked.table(node.relation, None if node.events & ~_INSERTS else [])
    elif form == "rule_stmt":
        looked.table(node.relation, None)
    elif form == "create_policy_stmt" or form == "alter_policy_stmt":
        looked.table(node.table, [node.qual, node.with_check])
    elif form == "refresh_mat_view_stmt":
        looked.table(node.relation, [])
    elif form == "create_stmt":
        looked.created(node)
    elif form == "rename_stmt" and node.rename_type == ObjectType.OBJECT_COLUMN:
        looked.table(node.relation, [], (node.subname,))
    elif form == "reindex_stmt" and node.kind == ReindexObjectType.REINDEX_OBJECT_TABLE:
        looked.table(node.relation, [])
    elif form == "copy_stmt" and node.relation.relname and not node.is_from:
        looked.table(node.relation, [] if node.attlist else None, tuple(strings(node.attlist)))
    else:
        return None
    return looked.found()


def of_written(operations: tuple[Operation, ...], facts: Facts) -> tuple[str, ...] | Wanted:
    """Columns of tables whose rows are changed or deleted: code that hangs on these tables gets the old rows."""
    written = {one.object for one in operations if one.verb in _ROWS}
    found: dict[str, None] = {}
    wanted: list[Wanted] = []
    for oid, relation in list(facts.relations.items()):
        if relation is None or relation.object not in written:
            continue
        columns = of_table(oid, (), facts)
        if isinstance(columns, Wanted):
            wanted.append(columns)
        else:
            found.update(dict.fromkeys(_names(columns)))
    return wanted_together(*wanted) if wanted else tuple(found)


def _names(outputs: tuple[Output, ...] | None) -> list[str]:
    if outputs is None:
        return ["*"]
    return [source.column for output in outputs for source in output.sources]


class _Looked:
    """Collects the columns that a definition looks at."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._state = Resolution(facts)
        self._shown: dict[str, None] = {}
        self._held: dict[str, None] = {}
        self._wanted: list[Wanted] = []

    def found(self) -> Definition | Wanted:
        names = self._state.found()
        if isinstance(names, Wanted):
            return wanted_together(names, *self._wanted)
        if self._wanted:
            return wanted_together(*self._wanted)
        return Definition(tuple(self._shown), tuple(self._held))

    def table(self, node: Any, looks: list[Any] | None, keys: tuple[str, ...] = ()) -> None:
        """A table, of which these expressions and keys are looked at; all of it if that isn't known."""
        self._relation(relation_name(node), looks, keys)

    def _relation(self, name: list[str], looks: list[Any] | None, keys: tuple[str, ...] = ()) -> None:
        for row in self._state.found_as("relation", name):
            columns = of_table(int(row[0] or "0"), (), self._facts)
            if isinstance(columns, Wanted):
                self._wanted.append(columns)
                continue
            self._held.update(dict.fromkeys(_names(columns)))
            if columns is None or looks is None:
                self._shown.update(dict.fromkeys(_names(columns)))
                continue
            named = {*keys, *(word for one in looks for word in _columns(one))}
            every = "*" in named or (row[2] or "") in named
            known = {output.name for output in columns}
            for output in columns:
                if every or output.name in named:
                    self._shown.update(dict.fromkeys(_names((output,))))
            if every or not known >= set(keys):  # generated ones and those of the system aren't listed
                self._shown.update(dict.fromkeys(_names(columns)))

    def altered(self, node: Any) -> None:
        """ALTER TABLE: its commands, one by one."""
        looks: list[Any] | None = []
        keys: list[str] = []
        for each in node.cmds:
            command = each.alter_table_cmd
            what = AlterTableType.Name(command.subtype)
            of = getattr(command, "def")
            form = of.WhichOneof("node")
            if what in _TAME:
                continue
            if what == "AT_AddConstraint" and form == "constraint" and not of.constraint.indexname:
                self._constraint(of.constraint, looks, keys)
            elif what == "AT_AddColumn" and form == "column_def":
                for one in of.column_def.constraints:
                    if one.constraint.contype not in _PLAIN:
                        self._constraint(one.constraint, looks, keys)
            elif what == "AT_AlterColumnType" and form == "column_def" and not of.column_def.HasField("raw_default"):
                keys.append(command.name)
            else:
                looks = None
        self.table(node.relation, looks, tuple(keys))

    def _constraint(self, node: Any, looks: list[Any] | None, keys: list[str]) -> None:
        """What it compares of its own table; a key of another's that it refers to is looked at there."""
        keys += [*strings(node.keys), *strings(node.fk_attrs)]
        if looks is not None:
            looks += [node.raw_expr, node.where_clause, *node.exclusions]
        if node.contype == _FOREIGN:
            self._relation(relation_name(node.pktable), [], tuple(strings(node.pk_attrs)))

    def indexed(self, node: Any) -> None:
        """CREATE INDEX: a plain one tells nothing of its keys, a unique one of those that are there twice."""
        keys = [each.index_elem.name for each in node.index_params if each.index_elem.name and node.unique]
        own = [each.index_elem.opclass for each in node.index_params if each.index_elem.opclass]
        if own:
            keys += [each.index_elem.name for each in node.index_params if each.index_elem.name]
        looks = [each.index_elem.expr for each in node.index_params]
        self.table(node.relation, [*looks, node.where_clause], tuple(keys))

    def created(self, node: Any) -> None:
        """CREATE TABLE: a child with rules of its own about its rows, and keys that refer to others."""
        ruled = False
        for element in node.table_elts:
            form = element.WhichOneof("node")
            constraints = (
                [element.constraint]
                if form == "constraint"
                else [one.constraint for one in element.column_def.constraints]
                if form == "column_def"
                else []
            )
            for one in constraints:
                ruled = ruled or one.contype not in _PLAIN
                if one.contype == _FOREIGN:
                    self._relation(relation_name(one.pktable), [], tuple(strings(one.pk_attrs)))
        for parent in node.inh_relations:
            self.table(parent.range_var, None if ruled else [])


def _columns(node: Any) -> list[str]:
    """The words that name columns in an expression; * is all of them."""
    found: list[str] = []
    waiting: list[Any] = [node]
    while waiting:
        at = waiting.pop()
        if at.DESCRIPTOR.name == "ColumnRef":
            found += strings(at.fields)
        for field, value in at.ListFields():
            if field.message_type is None:
                continue
            if hasattr(value, "DESCRIPTOR"):
                waiting.append(value)
            else:
                waiting.extend(value)
    return found
