"""policy.yaml as read and checked.

agent.store.policy reads it; a key that is not here is an error that names its line. policy.schema.json beside this
file describes the same to editors. Globs know `*` (any run of characters, also none) and `?` (one character);
conditions are CEL and evaluate to a bool.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Effect = Literal["allow", "deny", "approve"]


class Who(Struct, frozen=True):
    """Whom a rule is about: an identity that fits each of those that are given. None: it isn't asked for."""

    subjects: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None
    actors: tuple[str, ...] | None = None


class Approvers(Struct, frozen=True):
    """Who may consent: members of one of these groups, so many of them."""

    groups: tuple[str, ...]
    quorum: int = 1


class Rule(Struct, frozen=True):
    """`on` are globs over TYPE/NAME of the resource, `match` globs over "VERB OBJECT" of an operation, any of them.

    `when` is a condition that must hold besides; `message` tells those who are refused what to do instead.
    """

    name: str
    match: tuple[str, ...]
    effect: Effect
    on: tuple[str, ...] = ("*",)
    who: Who | None = None
    when: str | None = None
    message: str | None = None
    approvers: Approvers | None = None


class Mask(Struct, frozen=True, rename={"replacement": "with"}):
    """What is hidden in answers. `columns` are globs over SCHEMA.TABLE.COLUMN, `fields` JSON paths, `types` kinds of
    values by their look, `patterns` regular expressions in RE2's syntax; the mask is off where `unless` holds.
    `opaque` says what becomes of the answer of code that can't be followed: refused, or masked whole."""

    name: str
    on: tuple[str, ...] = ("*",)
    columns: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    replacement: Literal["redact", "partial", "hash", "null", "fake"] = "redact"
    predicates: Literal["allow", "deny"] = "allow"
    opaque: Literal["mask", "deny"] = "deny"
    unless: str | None = None


class Policy(Struct, frozen=True):
    """The whole of policy.yaml. `version` are the first 16 hexadecimal digits of the SHA-256 of the file's bytes: what
    a record of a decision names. `default` is for operations that no rule matches."""

    version: str
    rules: tuple[Rule, ...] = ()
    masks: tuple[Mask, ...] = ()
    default: Literal["allow", "deny"] = "allow"


NOTHING = Policy("0" * 16)
"""The policy where there is no file: no rule, everything allowed."""
