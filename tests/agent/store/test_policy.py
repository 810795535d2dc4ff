"""policy.yaml: what is accepted, and that every problem is told at once, where it is."""

from __future__ import annotations

import hashlib
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.store.document import LIMIT, Document
from agent.store.policy import PolicyError, check, load, read
from schemas.policy import Approvers, Mask, Policy, Rule, Who

WHOLE = r"""
version: 1
rules:                      # the first rule that matches an operation decides it
  - name: keep-users
    on: pg/prod
    who: {groups: [staff]}
    match: ["DELETE app.users", "TRUNCATE *"]
    when: "!operation.where && identity.subject != 'etl'"
    effect: deny
    message: >
      Users are never deleted;
      set active = false instead.
  - name: dba-consent
    match: ["DROP *", "GRANT *", "REVOKE *", "* ROLE *"]
    effect: approve
    approvers: {groups: [dba], quorum: 1}
masks:
  - name: personal
    on: pg/prod
    columns: [app.users.email, "*.*.ssn"]
    types: [email, credit_card, iban, us_ssn, phone, jwt, aws_key]
    patterns: ['\bcust_[0-9a-z]{12}\b']
    with: redact
    predicates: deny
    unless: "'dpo' in identity.groups"
"""


def write(directory: Path, text: str) -> Path:
    file = directory / "policy.yaml"
    file.write_text(textwrap.dedent(text))
    return file


def problems(directory: Path, text: str) -> list[str]:
    """What load says about this text, one string a problem, without the directory."""
    with pytest.raises(PolicyError) as caught:
        load(write(directory, text))
    return [str(problem).replace(f"{directory}/", "") for problem in caught.value.problems]


def warnings(directory: Path, rules: str) -> list[str]:
    file = write(directory, "version: 1\nrules:\n" + textwrap.indent(textwrap.dedent(rules), "  "))
    return [str(warning).replace(f"{directory}/", "") for warning in check(file).warnings]


def test_whole_contract(tmp_path: Path) -> None:
    """The policy.yaml of the contract is read whole, without a warning; its version is the file's hash."""
    file = write(tmp_path, WHOLE)
    policy, noted = check(file)
    assert noted == []
    assert policy == load(file)
    assert policy.version == hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert policy.default == "allow"
    assert policy.rules == (
        Rule(
            "keep-users",
            ("DELETE app.users", "TRUNCATE *"),
            "deny",
            on=("pg/prod",),
            who=Who(groups=("staff",)),
            when="!operation.where && identity.subject != 'etl'",
            message="Users are never deleted; set active = false instead.",
        ),
        Rule("dba-consent", ("DROP *", "GRANT *", "REVOKE *", "* ROLE *"), "approve", approvers=Approvers(("dba",), 1)),
    )
    (mask,) = policy.masks
    assert mask == Mask(
        "personal",
        ("pg/prod",),
        ("app.users.email", "*.*.ssn"),
        types=("email", "credit_card", "iban", "us_ssn", "phone", "jwt", "aws_key"),
        patterns=(r"\bcust_[0-9a-z]{12}\b",),
        predicates="deny",
        opaque="deny",
        unless="'dpo' in identity.groups",
    )


@pytest.mark.parametrize("text", ["version: 1\n", "version: 1\nrules:\nmasks: []\n", "version: 1\nrules: []\n"])
def test_nothing(tmp_path: Path, text: str) -> None:
    """A policy may have no rules."""
    policy = load(write(tmp_path, text))
    assert policy == Policy(policy.version)


@pytest.mark.parametrize("written, expected", [("null", "null"), ('"null"', "null"), ("hash", "hash")])
def test_null_is_a_word(tmp_path: Path, written: str, expected: str) -> None:
    """`with: null` is what it says, quoted or not."""
    (mask,) = load(write(tmp_path, f"version: 1\nmasks: [{{name: a, columns: a.b.c, with: {written}}}]\n")).masks
    assert mask.replacement == expected
    assert problems(tmp_path, "version: 1\nmasks: [{name: a, columns: a.b.c, with: }]\n")


def test_every_problem_at_once(tmp_path: Path) -> None:
    """All problems are told in one go, in the order of the file; those in conditions with a caret beneath the place."""
    assert problems(
        tmp_path,
        """\
        version: 1
        defualt: deny
        rules:
          - name: a
            match: DELETE app.users
            effect: denyy
            when: "!operation.whre && identity.subjct != 'etl'"
          - name: a
            on: [pg/shop, shop]
            who: {group: [x]}
            match: ["DROP  *", "DROP {a,b}"]
            effect: deny
            when: |
              true &&
                statement == 'x'
          - match: []
            effect: allow
            who:
            when: identity.subject
            approvers: {groups: dba, quorum: 0}
        masks:
          - {name: p, columns: [a.b.c], with: redakt, patterns: ['(a'], types: [emial]}
          - {name: p, unless: 'true && foo'}
        """,
    ) == [
        "policy.yaml:2:1: defualt: unknown key (got defualt, did you mean default?)",
        "policy.yaml:6:13: rules[0].effect: unknown value (got denyy, did you mean deny?)",
        "policy.yaml:7:13: rules[0].when: unknown name operation.whre (did you mean operation.where?)\n"
        "    !operation.whre && identity.subjct != 'etl'\n"
        "     ^",
        "policy.yaml:7:31: rules[0].when: unknown name identity.subjct (did you mean identity.subject?)\n"
        "    !operation.whre && identity.subjct != 'etl'\n"
        "                       ^",
        "policy.yaml:8:11: rules[1].name: the name a stands here twice (first in line 4)",
        "policy.yaml:9:19: rules[1].on[1]: this is no resource (got shop, expected TYPE/NAME such as pg/prod, globs "
        "allowed)",
        "policy.yaml:10:11: rules[1].who.group: unknown key (got group, did you mean groups?)",
        "policy.yaml:11:13: rules[1].match[0]: blanks at the ends or two in a row never match (got 'DROP  *')",
        "policy.yaml:11:24: rules[1].match[1]: a glob has * for any characters and ? for one, but no { (write ? where "
        "it is meant itself)",
        "policy.yaml:15:1: rules[1].when: unknown name statement (expected one of statement.text, "
        "statement.fingerprint, statement.tag)\n"
        "      statement == 'x'\n"
        "      ^",
        "policy.yaml:16:5: rules[2]: the key name is missing",
        "policy.yaml:16:12: rules[2].match: the list is empty (expected at least one item, or no key)",
        "policy.yaml:18:5: rules[2].who: nothing stands here (write a value, or no key)",
        "policy.yaml:19:11: rules[2].when: the condition has no truth value (got string, expected bool)\n"
        "    identity.subject\n"
        "    ^",
        "policy.yaml:20:16: rules[2].approvers: only a rule that asks for consent has approvers (got effect allow)",
        "policy.yaml:20:38: rules[2].approvers.quorum: this should be a number of people (got 0, expected 1 to 100)",
        "policy.yaml:22:39: masks[0].with: unknown value (got redakt, did you mean redact?)",
        "policy.yaml:22:58: masks[0].patterns[0]: this is no regular expression of RE2's syntax (got (a: missing ): "
        "(a)",
        "policy.yaml:22:73: masks[0].types[0]: unknown value (got emial, did you mean email?)",
        "policy.yaml:23:5: masks[1]: this masks nothing (expected one or more of columns, fields, types, patterns)",
        "policy.yaml:23:12: masks[1].name: the name p stands here twice (first in line 22)",
        "policy.yaml:23:32: masks[1].unless: unknown name foo\n    true && foo\n            ^",
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "policy.yaml:1:1: the file is empty"),
        ("rules: []\n", "policy.yaml:1:1: the key version is missing"),
        ("version: 1\ndefault:\n", "policy.yaml:2:1: default: nothing stands here"),
        ("version: 1\nrules: [\n", "policy.yaml:3:1: this is not YAML"),
        ("version: 1\nrules: {}\n", "policy.yaml:2:8: rules: this should be a list (got a mapping)"),
        ("version: 1\nrules: [x]\n", "policy.yaml:2:9: rules[0]: this should be a mapping (got x"),
        ("version: 1\nrules: [{name: a, effect: deny}]\n", "rules[0]: the key match is missing"),
        ("version: 1\nrules: [{name: a, effect: deny, match: {a: b}}]\n", "match: this should be a list"),
        ("version: 1\nrules: [{name: a, effect: deny, match: [[a]]}]\n", "match[0]: this should be text"),
        ("version: 1\nrules: [{name: a, effect: deny, match: 'X *', who: {}}]\n", "who: this names nobody"),
        ("version: 1\nrules: [{name: a, effect: deny, match: 'X *', who: {groups: []}}]\n", "the list is empty"),
        ("version: 1\nrules: [{name: a, effect: deny, match: 'X *', when: [a]}]\n", "when: this should be text"),
        ("version: 1\nrules: [{name: a, effect: deny, match: 'X *', when: ''}]\n", "when: the condition ends too soon"),
        (
            "version: 1\nrules: [{name: a, effect: deny, match: 'X *', message: \"a\\x1b\"}]\n",
            "message: this should be",
        ),
        ("version: 1\nmasks: [{name: a, types: [email], predicates: no}]\n", "predicates: unknown value (got no"),
        ("version: 1\nmasks: [{name: a, types: [email], opaque: allow}]\n", "opaque: unknown value (got allow"),
        (
            "version: 1\nmasks: [{name: a, types: [national]}]\n",
            "unknown value (got national, did you mean national_id?",
        ),
        ("version: 1\nmasks: [{name: a, patterns: 'x*'}]\n", "patterns: this finds nothing as well as something"),
        ("version: 1\nmasks: [{name: a, patterns: '(?=x)'}]\n", "2:29: masks[0].patterns: this is no regular"),
        ("version: 1\nmasks: [{name: a, patterns: '(a)\\1'}]\n", "invalid escape sequence: \\1"),
    ],
)
def test_problem(tmp_path: Path, text: str, expected: str) -> None:
    """Each kind of mistake is told where it stands; what is left empty doesn't mean everything."""
    assert any(expected in problem for problem in problems(tmp_path, text)), problems(tmp_path, text)


def test_missing_file(tmp_path: Path) -> None:
    """A file that can't be read is an error that names it, with what to do."""
    with pytest.raises(PolicyError, match=r"none\.yaml.*no such file") as caught:
        load(tmp_path / "none.yaml")
    assert "hoopctl policy check" in caught.value.hint


def test_warnings(tmp_path: Path) -> None:
    """Verbs that don't exist, verbs without an object and rules that earlier ones leave nothing to are warned of."""
    assert warnings(
        tmp_path,
        """\
        - {name: a, match: DELET app.users, effect: deny}
        - {name: b, match: "DROP *", effect: deny}
        - {name: c, match: ["DROP TABLE *", TRUNCATE, "TRUNCATE TABLE app.x"], effect: deny}
        - {name: d, match: ["DROP TABLE app.x"], effect: allow, when: "!operation.where"}
        - {name: e, on: http/*, match: ["FROB /x"], effect: allow}
        """,
    ) == [
        "policy.yaml:3:22: rules[0].match: no operation has this verb (got DELET, did you mean DELETE?)",
        "policy.yaml:5:39: rules[2].match[1]: without an object this matches nothing (got TRUNCATE, did you mean "
        "TRUNCATE *?)",
        "policy.yaml:5:49: rules[2].match[2]: no operation has this verb (got TRUNCATE TABLE, did you mean TRUNCATE?)",
        "policy.yaml:6:5: rules[3]: the rule d never decides: what it matches is matched by b before",
    ]


def test_warnings_of_masks(tmp_path: Path) -> None:
    """What a mask asks for and this version doesn't do is told, each at its place; all else goes without a word."""
    text = """\
        version: 1
        masks:
          - {name: a, fields: ["$.email"]}
          - {name: b, columns: a.b.c, opaque: mask}
          - {name: c, columns: a.b.c, types: [email], patterns: x+, with: fake, predicates: deny, opaque: deny}
    """
    assert [str(warning).replace(f"{tmp_path}/", "") for warning in check(write(tmp_path, text)).warnings] == [
        "policy.yaml:3:23: masks[0].fields: this version looks into no documents of HTTP: fields hide nothing",
        "policy.yaml:4:39: masks[1].opaque: this version refuses code that can't be followed, as opaque: deny says",
    ]


def test_warnings_beside_problems(tmp_path: Path) -> None:
    """A policy with problems is warned of as far as it can be."""
    file = write(tmp_path, "version: 1\nrules: [{name: a, match: DELET app.x, effect: no}]\n")
    with pytest.raises(PolicyError) as caught:
        check(file)
    assert ["DELET" in str(warning) for warning in caught.value.warnings] == [True]


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b"x" * (LIMIT + 1),
        b"\xff\xfe",
        b"rules: &r [*r, *r]\n",
        b"version: 1\nrules: [{name: a, name: b, ? [x] : y, when: &w {a: *w}, on: {}, who: x, match: 1}]\n",
        b"version: 1\nrules: [{name: a, match: '*', effect: deny, when: '" + b"(" * 9_000 + b"'}]\n",
        b"version: 1\nrules: [{name: a, match: '*', effect: deny, when: '" + b"a+" * 9_000 + b"'}]\n",
        b"version: 1\nrules: [{name: a, match: '" + b"*a" * 9_000 + b"', effect: deny}]\n",
    ],
)
def test_hostile_files(content: bytes) -> None:
    """Deep, large, self-referring and undecodable files give problems, never another exception."""
    document = Document("policy.yaml")
    read(document, content, warn=True)
    assert document.problems


@given(st.binary(max_size=60) | st.text(alphabet="when:matchwho\n[]{}&*!|>-#'\"\\%@ab?,", max_size=60).map(str.encode))
def test_any_bytes(content: bytes) -> None:
    """Any bytes give a policy or problems."""
    document = Document("policy.yaml")
    found = read(document, b"version: 1\nrules:\n - match: a\n   " + content, warn=True)
    assert found is not None or document.problems
