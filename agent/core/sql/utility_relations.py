"""Tables, views, indexes and sequences: made, altered, emptied, copied."""

from __future__ import annotations

from typing import Any, Final

from postgast.pg_query_pb2 import AlterTableType

from agent.core.sql import expressions
from agent.core.sql.kinds import RELKINDS, words
from agent.core.sql.naming import parts
from agent.core.sql.relations import TRUNCATE
from agent.core.sql.resolution import RELATION, Resolution, relation_name, strings
from agent.core.sql.touched import INSERTS, SELECTS
from agent.core.sql.utility_objects import hanging

_CASCADE: Final = 2
_READS_ROWS: Final = frozenset(
    "AT_AlterColumnType AT_AddColumn AT_ValidateConstraint AT_SetExpression AT_SetNotNull".split()
)


def family(state: Resolution, node: Any, always: bool = False) -> list[str]:
    """The tables that are altered or emptied with one that is named: its partitions and children, unless it stands
    behind ONLY; itself too."""
    name = relation_name(node)
    first = state.object(RELATION, name)
    relation = state.relation(name)
    if relation is None or not (node.inh or always):
        return [first]
    return [first, *(one.object for one in state.relations(relation.descendants))]


def is_temporary(node: Any) -> bool:
    return str(node.relpersistence) == "t"


def new_relation(state: Resolution, node: Any) -> str:
    return state.new(relation_name(node), is_temporary(node))


def create_table(state: Resolution, node: Any, verb: str = "CREATE TABLE") -> None:
    state.say(verb, new_relation(state, node.relation))
    for parent in node.inh_relations:
        state.say("ALTER TABLE", state.object(RELATION, relation_name(parent.range_var)))
    _elements(state, node.table_elts)
    expressions.look(state, node.partbound)
    expressions.look(state, node.partspec)


def _elements(state: Resolution, elements: Any) -> None:
    """Columns and constraints: tables copied by LIKE, tables that are referred to, defaults and checks."""
    for element in elements:
        form = element.WhichOneof("node")
        if form == "constraint":
            _constraint(state, element.constraint)
        elif form == "column_def":
            for constraint in element.column_def.constraints:
                _constraint(state, constraint.constraint)
            if element.column_def.HasField("raw_default"):
                expressions.look(state, element.column_def.raw_default)


def _constraint(state: Resolution, node: Any) -> None:
    if node.HasField("raw_expr"):
        expressions.look(state, node.raw_expr)
    for each in (*node.exclusions, node.where_clause):
        expressions.look(state, each)
    if node.HasField("pktable"):
        state.say("REFERENCES", state.object(RELATION, relation_name(node.pktable)))


def create_foreign_table(state: Resolution, node: Any) -> None:
    create_table(state, node.base_stmt, "CREATE FOREIGN TABLE")


def create_as(state: Resolution, node: Any) -> None:
    state.say(f"CREATE {words(node.objtype)}{' AS' if words(node.objtype) == 'TABLE' else ''}", _into(state, node.into))


def select_into(state: Resolution, node: Any) -> None:
    at = node
    while not at.HasField("into_clause") and at.HasField("larg"):
        at = at.larg
    if not at.HasField("into_clause"):
        state.unknown()
        return
    state.say("SELECT INTO", _into(state, at.into_clause))
    state.say("CREATE TABLE AS", _into(state, at.into_clause))


def _into(state: Resolution, node: Any) -> str:
    return new_relation(state, node.rel)


def create_view(state: Resolution, node: Any) -> None:
    state.say("CREATE VIEW", new_relation(state, node.view))


def create_index(state: Resolution, node: Any) -> None:
    table = relation_name(node.relation)
    of = state.object(RELATION, table)
    schema = of.rpartition(".")[0]
    columns = [each.index_elem.name or "expr" for each in node.index_params]
    name = node.idxname or "_".join([table[-1], *columns, "idx"])  # the server may put a number behind it
    state.say("CREATE INDEX", f"{schema}.{name}" if schema else name)
    for each in (*node.index_params, node.where_clause):
        expressions.look(state, each)
    _evaluated(state, *node.index_params, node.where_clause)


def _evaluated(state: Resolution, *nodes: Any) -> None:
    """Expressions that are evaluated for every row there is, now."""
    if any(node.ByteSize() and b"funccall" in str(node).encode() for node in nodes):
        state.touched.opaque = True


def alter_table(state: Resolution, node: Any) -> None:
    kind = words(node.objtype)
    names = family(state, node.relation)
    relation = state.relation(relation_name(node.relation))
    kinds = {kind}
    if relation is not None and RELKINDS.get(relation.kind):
        kinds.add(RELKINDS[relation.kind])
    if kind == "TYPE":
        names = [state.object("type", relation_name(node.relation))]
    for name in names:
        for each in sorted(kinds):
            state.say(f"ALTER {each}", name)
        for command in node.cmds:
            _command(state, command.alter_table_cmd, name, kinds)
    for command in node.cmds:
        _about_others(state, command.alter_table_cmd)
        if command.alter_table_cmd.behavior == _CASCADE:
            hanging(state, relation_name(node.relation))


def _command(state: Resolution, node: Any, table: str, kinds: set[str]) -> None:
    """What one command of ALTER TABLE does to one table."""
    what = AlterTableType.Name(node.subtype)
    if what == "AT_ChangeOwner":
        for kind in sorted({*kinds, "TABLE"}):
            state.say(f"ALTER {kind} OWNER", table)
    elif what == "AT_DropColumn":
        state.say("DROP COLUMN", f"{table}.{node.name}")
    elif what == "AT_DropConstraint":
        state.say("DROP CONSTRAINT", f"{table}.{node.name}")
    elif "Trig" in what and what.startswith("AT_Disable"):
        state.say("DISABLE TRIGGER", f"{table}.{node.name or '*'}")
    elif what == "AT_DisableRule":
        state.say("DISABLE RULE", f"{table}.{node.name}")
    elif what in ("AT_DisableRowSecurity", "AT_NoForceRowSecurity"):
        state.say("DISABLE ROW SECURITY", table)


def _about_others(state: Resolution, node: Any) -> None:
    """What one command does beside the table: other tables, code, columns dropped with CASCADE."""
    what = AlterTableType.Name(node.subtype)
    of = getattr(node, "def")
    form = of.WhichOneof("node")
    if what in ("AT_AddInherit", "AT_DropInherit") and form == "range_var":
        state.say("ALTER TABLE", state.object(RELATION, relation_name(of.range_var)))
    elif form == "partition_cmd":
        state.say("ALTER TABLE", state.object(RELATION, relation_name(of.partition_cmd.name)))
        state.touched.opaque = state.touched.opaque or what == "AT_AttachPartition"
    elif form == "constraint":
        _constraint(state, of.constraint)
    elif form == "column_def":
        _elements(state, [of])
    elif form is not None:
        expressions.look(state, of)
    if what in _READS_ROWS or form == "constraint":
        state.touched.opaque = True  # rows are written or checked, by code that may be anywhere


def truncate(state: Resolution, node: Any) -> None:
    cascade = node.behavior == _CASCADE
    waiting = [(relation_name(each.range_var), each.range_var.inh) for each in node.relations]
    done: set[str] = set()
    while waiting:
        name, children = waiting.pop()
        shown = state.object(RELATION, name)
        if shown in done:
            continue
        done.add(shown)
        state.say("TRUNCATE", shown, where=False)
        relation = state.relation(name)
        if relation is not None:
            state.touched.fires(relation, TRUNCATE)
            if children or relation.kind == "p":
                below = state.relations(relation.descendants)
                waiting += [([one.schema, one.name], True) for one in below]
        if cascade:
            waiting += [(other, True) for other in _referring(state, name)]


def _referring(state: Resolution, name: list[str]) -> list[list[str]]:
    """The tables with foreign keys that hang on a table, and a few too many."""
    found: list[list[str]] = []
    for row in state.found_as("cascade_relation", name):
        if row[0] == "table constraint":
            other = parts((row[4] or "").rpartition(" on ")[2])
            if other is None:
                state.unknown()
            else:
                found.append(other)
    return found


def copy(state: Resolution, node: Any) -> None:
    if node.HasField("relation"):
        for row in state.found_as(RELATION, relation_name(node.relation)):
            oid = int(row[0] or "0")
            state.touched.relation(oid, INSERTS if node.is_from else SELECTS, False, frozenset(), True, True)
            for relation in state.relations((oid,)):
                state.touched.opaque = state.touched.opaque or relation.row_security
        if node.HasField("where_clause"):
            expressions.look(state, node.where_clause)
            state.touched.opaque = True
    if node.is_program:
        state.say("COPY PROGRAM", node.filename)
    elif node.filename:
        state.say("COPY FILE", node.filename)


def create_sequence(state: Resolution, node: Any) -> None:
    state.say("CREATE SEQUENCE", new_relation(state, node.sequence))


def alter_sequence(state: Resolution, node: Any) -> None:
    state.say("ALTER SEQUENCE", state.object(RELATION, relation_name(node.sequence)))
    for option in node.options:
        if option.def_elem.defname == "owned_by":
            owner = strings(option.def_elem.arg.list.items)
            if len(owner) > 1:
                state.say("ALTER TABLE", state.object(RELATION, owner[:-1]))
