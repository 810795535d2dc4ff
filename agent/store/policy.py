"""policy.yaml, read and checked.

Every problem is told at once, with its line, its column and, for a name that isn't known, the nearest one that is;
conditions are checked for their types too. What is allowed and yet can't be meant, such as a rule that never matches,
is a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import yaml

from agent.core.masking.looks import TYPES, compiled
from agent.core.policy.conditions import NAMES, Condition, ConditionError, Fault
from agent.core.policy.globs import fault
from agent.core.policy.shadows import shadowed, strange_verb, without_object
from agent.core.policy.verbs import PG
from agent.store.document import LIMIT, Document, Problem, Value, nearest
from schemas.policy import Approvers, Effect, Mask, Policy, Rule, Who

__all__ = ["ConditionProblem", "Loaded", "PolicyError", "check", "load", "read"]

KEYS = ("version", "default", "rules", "masks")
RULE = ("name", "on", "who", "match", "when", "effect", "message", "approvers")
WHO = ("subjects", "groups", "actors")
APPROVERS = ("groups", "quorum")
MASK = ("name", "on", "columns", "fields", "types", "patterns", "with", "predicates", "opaque", "unless")
EFFECTS = ("allow", "deny", "approve")
DEFAULTS = ("allow", "deny")
REPLACEMENTS = ("redact", "partial", "hash", "null", "fake")
OPAQUE = ("deny", "mask")
MAX_QUORUM = 100


@dataclass(frozen=True)
class ConditionProblem(Problem):
    """What is wrong in a condition, and the line of it with a caret beneath the place."""

    expression: str
    caret: int

    def __str__(self) -> str:
        return f"{super().__str__()}\n    {self.expression}\n    {' ' * (self.caret - 1)}^"


class PolicyError(Exception):
    """policy.yaml can't be used. `problems` are all that was found, in the order of the file; `warnings` what there is
    to say besides, if it was asked for."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        self.problems = in_order(problems)
        self.warnings = list(warnings)
        first = self.problems[0]
        told = [str(problem) for problem in self.problems]
        self.message = told[0] if len(told) == 1 else "\n".join([f"{len(told)} problems in {first.file}", *told])
        self.hint = f"correct {first.file}, line {first.line}; hoopctl policy check {first.file} checks it again"
        super().__init__(self.message)


class Loaded(NamedTuple):
    """A policy that can be used, and what its author should know all the same."""

    policy: Policy
    warnings: list[Problem]


def load(path: Path) -> Policy:
    """The policy in this file. Raises PolicyError."""
    return _load(path, warn=False).policy


def check(path: Path) -> Loaded:
    """The policy in this file, with warnings. Raises PolicyError."""
    return _load(path, warn=True)


def _load(path: Path, warn: bool) -> Loaded:
    file = path.absolute()
    document = Document(str(file))
    try:
        with file.open("rb") as stream:
            content = stream.read(LIMIT + 1)
    except OSError as error:
        document.problem(1, 1, "", f"the file can't be read ({(error.strerror or str(error)).lower()})")
        raise PolicyError(document.problems) from error
    found = read(document, content, warn)
    if found is None or document.problems:
        raise PolicyError(document.problems, found.warnings if found else ())
    return found


def read(document: Document, content: bytes, warn: bool = False) -> Loaded | None:
    """The policy that these bytes are; what is wrong with it is noted in the document. None when nothing can be made
    of it."""
    top = document.compose(content)
    if top is None:
        return None
    keys = top.mapping(KEYS, required=("version",))
    if "version" in keys:
        keys["version"].choice(("1",), "1")
    default = keys["default"].choice(DEFAULTS, "deny") if "default" in keys else "allow"
    _refuse_nothing(top, ("version", "default"))
    items = keys["rules"].items() if "rules" in keys else []
    rules = tuple(_rule(item) for item in items)
    masks = tuple(_mask(item) for item in (keys["masks"].items() if "masks" in keys else []))
    for entries in (keys.get("rules"), keys.get("masks")):
        _refuse_twice(entries)
    policy = Policy(sha256(content).hexdigest()[:16], rules, masks, cast(Literal["allow", "deny"], default))
    return Loaded(policy, _warnings(document, items, rules) + _warnings_of_masks(document, keys) if warn else [])


def in_order(problems: Sequence[Problem]) -> list[Problem]:
    """The problems as they stand in the file."""
    return sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))


def _rule(item: Value) -> Rule:
    keys = _mapping(item, RULE, ("name", "match", "effect"))
    effect = keys["effect"].choice(EFFECTS, "deny") if "effect" in keys else "deny"
    approvers = _approvers(keys["approvers"]) if "approvers" in keys else None
    if approvers is not None and effect != "approve":
        keys["approvers"].problem(f"only a rule that asks for consent has approvers (got effect {effect})")
    return Rule(
        name=keys["name"].text() if "name" in keys else "",
        match=_globs(keys["match"]) if "match" in keys else (),
        effect=cast(Effect, effect),
        on=_resources(keys),
        who=_who(keys["who"]) if "who" in keys else None,
        when=_condition(keys["when"]) if "when" in keys else None,
        message=_prose(keys["message"]) if "message" in keys else None,
        approvers=approvers,
    )


def _who(value: Value) -> Who:
    keys = _mapping(value, WHO)
    if isinstance(value.node, yaml.MappingNode) and not value.node.value:
        value.problem(f"this names nobody (expected one or more of {', '.join(WHO)})")
    return Who(**{name: _globs(found) for name, found in keys.items()})


def _approvers(value: Value) -> Approvers:
    keys = _mapping(value, APPROVERS, ("groups",))
    quorum = 1
    if "quorum" in keys:
        written = keys["quorum"].written
        if written.isascii() and written.isdigit() and len(written) < 4 and 1 <= int(written) <= MAX_QUORUM:
            quorum = int(written)
        else:
            keys["quorum"].problem(f"this should be a number of people (got {written}, expected 1 to {MAX_QUORUM})")
    return Approvers(_globs(keys["groups"]) if "groups" in keys else (), quorum)


def _mask(item: Value) -> Mask:
    keys = _mapping(item, MASK, ("name",))
    if not {"columns", "fields", "types", "patterns"} & keys.keys():
        item.problem("this masks nothing (expected one or more of columns, fields, types, patterns)")
    pairs = item.node.value if isinstance(item.node, yaml.MappingNode) else []
    null = any(_is_nothing(node) and _is_null(key, node) for key, node in pairs)
    types = _texts(keys["types"]) if "types" in keys else []
    for found in types:
        found.choice(TYPES, "")
    patterns = _texts(keys["patterns"]) if "patterns" in keys else []
    for found in patterns:
        _check_pattern(found)
    return Mask(
        name=keys["name"].text() if "name" in keys else "",
        on=_resources(keys),
        columns=_globs(keys["columns"]) if "columns" in keys else (),
        fields=tuple(found.written for found in _texts(keys["fields"])) if "fields" in keys else (),
        types=tuple(found.written for found in types),
        patterns=tuple(found.written for found in patterns),
        replacement=cast(Any, "null" if null else _choice(keys, "with", REPLACEMENTS)),
        predicates=cast(Any, _choice(keys, "predicates", DEFAULTS)),
        opaque=cast(Any, _choice(keys, "opaque", OPAQUE)),
        unless=_condition(keys["unless"]) if "unless" in keys else None,
    )


def _choice(keys: dict[str, Value], name: str, choices: Sequence[str]) -> str:
    """The word behind a key; the first of the choices where there is none."""
    return keys[name].choice(choices, choices[0]) if name in keys else choices[0]


def _mapping(value: Value, known: Sequence[str], required: Sequence[str] = ()) -> dict[str, Value]:
    found = value.mapping(known, [name for name in required if name not in _empty(value)])
    _refuse_nothing(value, known)
    return found


def _empty(value: Value) -> list[str]:
    pairs = value.node.value if isinstance(value.node, yaml.MappingNode) else []
    return [str(key.value) for key, node in pairs if _is_nothing(node)]


def _is_nothing(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _is_null(key: yaml.Node, node: yaml.Node) -> bool:
    """Whether these are `with: null`, which means the word."""
    return bool(key.value == "with" and node.value == "null")


def _refuse_nothing(value: Value, known: Sequence[str]) -> None:
    # Left empty, `who`, `on` and `when` would read as everyone, everything and always.
    if not isinstance(value.node, yaml.MappingNode):
        return
    for key, node in value.node.value:
        if isinstance(key, yaml.ScalarNode) and key.value in known and _is_nothing(node) and not _is_null(key, node):
            Value(value.document, key, value.below(str(key.value))).problem(
                "nothing stands here (write a value, or no key)"
            )


def _refuse_twice(entries: Value | None) -> None:
    seen: dict[str, int] = {}
    for item in entries.items() if entries is not None and isinstance(entries.node, yaml.SequenceNode) else []:
        pairs = item.node.value if isinstance(item.node, yaml.MappingNode) else []
        for key, node in pairs:
            if key.value == "name" and isinstance(node, yaml.ScalarNode) and node.value:
                if node.value in seen:
                    name = Value(item.document, node, item.below("name"))
                    name.problem(f"the name {node.value} stands here twice (first in line {seen[node.value]})")
                seen.setdefault(str(node.value), node.start_mark.line + 1)


def _texts(value: Value) -> list[Value]:
    """The items of a list of texts, or the one text that stands for a list; not none."""
    if value.is_scalar():
        items = [value]
    else:
        items = value.items()
        if not items and isinstance(value.node, yaml.SequenceNode):
            value.problem("the list is empty (expected at least one item, or no key)")
    return [item for item in items if item.text()]


def _globs(value: Value) -> tuple[str, ...]:
    found = []
    for item in _texts(value):
        wrong = fault(item.written)
        if wrong:
            item.problem(f"{wrong} (got {item.written!r})" if "(" not in wrong else wrong)
        else:
            found.append(item.written)
    return tuple(found)


def _resources(keys: dict[str, Value]) -> tuple[str, ...]:
    if "on" not in keys:
        return ("*",)
    globs = _globs(keys["on"])
    for item in _texts(keys["on"]) if globs else []:
        kind, slash, _ = item.written.partition("/")
        if "*" not in kind and "?" not in kind and not (slash and kind in ("pg", "http", "ssh")):
            item.problem(f"this is no resource (got {item.written}, expected TYPE/NAME such as pg/prod, globs allowed)")
    return globs


def _prose(value: Value) -> str:
    """Text that may go over several lines of the file, as one line."""
    if not value.is_scalar():
        return value.text()
    line = " ".join(value.written.split())
    if not line or not line.isprintable():
        value.problem("this should be text without control characters")
    return line


def _check_pattern(value: Value) -> None:
    try:
        expression = compiled(value.written)
    except ValueError as error:
        value.problem(f"this is no regular expression of RE2's syntax (got {value.written}: {error})")
        return
    if expression.match("") is not None:
        value.problem(f"this finds nothing as well as something (got {value.written}, which matches the empty text)")


def _condition(value: Value) -> str | None:
    if not value.is_scalar():
        value.text()
        return None
    try:
        Condition(value.written)
    except ConditionError as error:
        for wrong in error.faults:
            value.document.problems.append(_located(value, wrong))
    return value.written


def _located(value: Value, wrong: Fault) -> ConditionProblem:
    lines = value.written.split("\n")
    line, column = _place(value, wrong)
    message = wrong.message
    if wrong.name is not None:
        below = [name for name in NAMES if name.startswith(wrong.name + ".")]
        near = nearest(wrong.name, NAMES)
        message += f" (expected one of {', '.join(below)})" if below else f" (did you mean {near}?)" if near else ""
    shown = "".join(letter if letter.isprintable() else " " for letter in lines[wrong.line - 1])
    return ConditionProblem(value.document.file, line, column, value.key, message, shown, wrong.column)


def _place(value: Value, wrong: Fault) -> tuple[int, int]:
    """Where in the file a place in the condition is; where it begins if its style doesn't tell."""
    mark = value.node.start_mark
    style = getattr(value.node, "style", None)
    if style is None and "\n" not in value.written:
        return mark.line + 1, mark.column + wrong.column
    if style in ("'", '"') and mark.line == value.node.end_mark.line:
        # Only where nothing is escaped is the text as long as what it is written with.
        plain = value.node.end_mark.column - mark.column == len(value.written) + 2
        return mark.line + 1, mark.column + 1 + (wrong.column if plain else 0)
    return (mark.line + 1 + wrong.line, 1) if style == "|" else (mark.line + 1, mark.column + 1)


def _warnings(document: Document, items: list[Value], rules: tuple[Rule, ...]) -> list[Problem]:
    noted = Document(document.file)
    # What remains of rules that have problems may be less than is meant.
    covered = {} if document.problems else shadowed(rules)
    for place, (item, rule) in enumerate(zip(items, rules, strict=True)):
        if place in covered:
            before = ", ".join(covered[place])
            value = Value(noted, item.node, item.key)
            value.problem(f"the rule {rule.name} never decides: what it matches is matched by {before} before")
        match = Value(Document(document.file), item.node, item.key).mapping(None).get("match")
        for pattern in [each for each in _texts(match) if not fault(each.written)] if match else []:
            _warn_of_pattern(Value(noted, pattern.node, pattern.key), rule.on)
    return in_order(noted.problems)


def _warn_of_pattern(pattern: Value, resources: tuple[str, ...]) -> None:
    strange = strange_verb(pattern.written, resources)
    bare = without_object(pattern.written)
    if strange is not None:
        verb, meant = strange
        near = meant or nearest(verb, sorted({word.lower() for each in PG for word in (each, each.split(" ")[0])}))
        said = f"did you mean {near.upper()}?" if near else "it matches nothing"
        pattern.problem(f"no operation has this verb (got {verb}, {said})")
    elif bare is not None:
        pattern.problem(f"without an object this matches nothing (got {bare}, did you mean {bare} *?)")


def _warnings_of_masks(document: Document, keys: dict[str, Value]) -> list[Problem]:
    noted = Document(document.file)
    items = keys["masks"].items() if "masks" in keys and not document.problems else []
    for item in items:
        found = Value(noted, item.node, item.key).mapping(None)
        if "fields" in found:
            found["fields"].problem("this version looks into no documents of HTTP: fields hide nothing")
        if "opaque" in found and found["opaque"].written == "mask":
            found["opaque"].problem("this version refuses code that can't be followed, as opaque: deny says")
    return in_order(noted.problems)
