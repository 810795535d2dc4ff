"""Trees as the server prints them: read whole, or a TreeError, whatever the text is."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.sql.nodes import MAX_TREE, Node, TreeError, command, read, string, unescape

TREE = r"""({QUERY :commandType 1 :utilityStmt <> :hasAggs false :cteList <> :rtable ({RANGETBLENTRY :alias {ALIAS
 :aliasname \<> :colnames <>} :eref {ALIAS :aliasname a\ b :colnames ("id" "two\ words" "\"q\"")} :rtekind 0
 :relid 16490 :relkind r :inh true :selectedCols (b 8 9)}) :targetList ({TARGETENTRY :expr {CONST :consttype 25
 :constisnull false :constvalue 5 [ 20 0 0 0 -120 ]} :resno 1 :resname :relid :resjunk false}) :coltypes (o 23 25)
 :empty (b) :values_lists (({CONST :constvalue <>}) ({PARAM :paramid 1})) :stmt_len 0})
"""


def one(text: str) -> Node:
    (node,) = read(text)
    return node


def test_fields() -> None:
    """Tokens, numbers, names, lists and nodes are found by their fields' names."""
    query = one(TREE)
    assert (query.name, query.number("commandType"), query.number("nothing"), query.true("hasAggs")) == (
        "QUERY",
        1,
        0,
        False,
    )
    assert query.token("utilityStmt") == ""
    (entry,) = query.nodes("rtable")
    assert (entry.number("relid"), entry.true("inh"), entry.token("relkind")) == (16490, True, "r")
    assert entry.numbers("selectedCols") == [8, 9]
    assert query.numbers("coltypes") == [23, 25]
    assert query.items("empty") == ["b"]
    assert len(query.items("values_lists")) == 2
    assert query.node("targetList") is None
    assert query.token("stmt_len") == "0"


def test_names() -> None:
    """Escapes are undone, and what looks like syntax within a name is not."""
    (entry,) = one(TREE).nodes("rtable")
    alias, eref = entry.node("alias"), entry.node("eref")
    assert alias is not None
    assert eref is not None
    assert alias.text("aliasname") == "<>"
    assert alias.token("colnames") == ""
    assert eref.text("aliasname") == "a b"
    assert eref.strings("colnames") == ["id", "two words", '"q"']
    (target,) = one(TREE).nodes("targetList")
    assert (target.text("resname"), target.number("resno")) == (":relid", 1)
    assert "relid" not in target.fields


@pytest.mark.parametrize(
    "name", ["a b", "(", "{x}", ":relid 5", "\\", "<>", '"', "[ 1 ]", "a\u00a0b", "a\u3000:x 1", "\x85", "\x1c:x 2"]
)
def test_any_name(name: str) -> None:
    """A name may hold brackets, spaces of any alphabet and field names: the fields behind it stay what they are."""
    escaped = "".join("\\" + c if c in " \n\t(){}\\" else c for c in name)
    escaped = "\\" + escaped if escaped[0] in '<"' else escaped
    node = one(f"{{ALIAS :aliasname {escaped} :colnames <> :x 7}}")
    assert node.text("aliasname") == name
    assert (node.number("x"), set(node.fields)) == (7, {"aliasname", "colnames", "x"})


def test_constants() -> None:
    """A constant's bytes stand behind their number."""
    (target,) = one(TREE).nodes("targetList")
    constant = target.node("expr")
    assert constant is not None
    assert constant.items("constvalue") == ["5", "[", "20", "0", "0", "0", "-120", "]"]
    assert not constant.true("constisnull")


def test_words_without_a_field() -> None:
    """Unanalysed expressions have words that belong to no field."""
    node = one(
        '{A_EXPR IN :name ("=") :lexpr {COLUMNREF :fields ("id") :location 5} :rexpr ({A_CONST NULL :location 9})}'
    )
    assert node.strings("name") == ["="]
    assert node.nodes("rexpr")[0].number("location") == 9
    assert node.token("") == "IN"


def test_walk() -> None:
    """Every node is walked over, each before those below it."""
    names = [node.name for node in one(TREE).walk()]
    assert names[:2] == ["QUERY", "RANGETBLENTRY"]
    assert sorted(names[2:]) == ["ALIAS", "ALIAS", "CONST", "CONST", "PARAM", "TARGETENTRY"]


def test_several_trees_and_none() -> None:
    """A rule makes several trees of one statement, or none."""
    assert [tree.name for tree in read("({QUERY :a 1} {QUERY :a 2})")] == ["QUERY", "QUERY"]
    assert read("<>") == []
    assert read(" {QUERY :a 1} \n")[0].number("a") == 1


def test_pretty_trees() -> None:
    """Line breaks and indentation change nothing."""
    node = one("(\n   {QUERY \n   :commandType 2 \n   :rtable (\n      {X \n      :y 1\n      }\n   )\n   }\n)\n")
    assert (node.number("commandType"), node.nodes("rtable")[0].number("y")) == (2, 1)


@pytest.mark.parametrize(
    "text",
    ["", "(", ")", "{", "}", "{A", "(}", "{A)", "{A :x 1}}", "{A {B}}", "{A :x {B} (1)}", "x", "(x)", "{A} {B}", "\\"],
)
def test_refused(text: str) -> None:
    """What isn't one whole tree, or list of trees, is a TreeError."""
    with pytest.raises(TreeError):
        read(text)


def test_too_large() -> None:
    """A tree of more than MAX_TREE characters is refused."""
    with pytest.raises(TreeError, match="too large"):
        read(" " * (MAX_TREE + 1))


def test_depth_and_time() -> None:
    """A hundred thousand nodes within one another take time in proportion, and no stack."""
    depth = 100_000
    started = time.process_time()
    node = one("{A :x " * depth + "{B :y 1}" + "}" * depth)
    assert sum(1 for _ in node.walk()) == depth + 1
    assert time.process_time() - started < 5


PIECES = st.sampled_from(
    [
        "{",
        "}",
        "(",
        ")",
        "{QUERY",
        ":relid 5",
        ":x",
        " ",
        "\\",
        '"a"',
        "<>",
        "[",
        "]",
        "b",
        "1",
        "-3",
        "\n",
        "é",
        "\udc28",
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join), st.lists(PIECES).map("".join)))
def test_any_text(text: str) -> None:
    """Any text is read, or is a TreeError; what was read can be looked at."""
    try:
        trees = read(text)
    except TreeError:
        return
    for tree in trees:
        for node in tree.walk():
            for field in list(node.fields):
                node.text(field)
                node.number(field)
                node.strings(field)
                node.numbers(field)
            repr(node)


@given(st.integers(0, len(TREE)), st.integers(0, 40), PIECES)
def test_damaged_trees(at: int, length: int, piece: str) -> None:
    """A tree of which a part is something else is read, or is a TreeError."""
    try:
        for tree in read(TREE[:at] + piece + TREE[at + length :]):
            assert all(isinstance(node.fields, dict) for node in tree.walk())
    except TreeError:
        pass


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_names_come_back(name: str) -> None:
    """What the server escapes is unescaped to the same name."""
    escaped = "".join("\\" + c if c in " \n\t(){}\\" else c for c in name)
    node = one(f'{{A :names ("{escaped}" "b") :c 1}}')
    assert node.strings("names") == [name.replace("\n", "\n"), "b"]
    assert node.number("c") == 1


def test_empty_names() -> None:
    """An empty name is written as two quotes."""
    assert (unescape('""'), string('""'), string('"')) == ("", "", "")


def test_commands_of_older_servers() -> None:
    """Before PostgreSQL 15, which brought MERGE, utility statements are 5 and nothing is 6: both are told apart."""
    for kind, utility, expected in (
        ("1", "<>", "1"),
        ("4", "<>", "4"),
        ("5", "<>", "5"),
        ("5", "?", "6"),
        ("5", "{NOTIFY :conditionname x}", "6"),
        ("6", "?", "6"),
        ("6", "{NOTIFY :conditionname x}", "6"),
        ("6", "<>", "7"),
        ("7", "<>", "7"),
    ):
        (tree,) = read(f"{{QUERY :commandType {kind} :querySource 0 :utilityStmt {utility} :resultRelation 0}}")
        assert command(tree) == expected, (kind, utility)
