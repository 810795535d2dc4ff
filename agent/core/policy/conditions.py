"""Conditions of a policy, in CEL (https://cel.dev): checked when the policy is read, evaluated when it decides.

The names are declared as whole, `identity.subject` and not a map `identity` of anything: so the checker knows the type
of each, and a misspelt one is an error of the policy instead of a rule that never holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from cel_expr_python import cel

from schemas.identity import Identity

MAX_CONDITION: Final = 10_000
"""Characters of a condition; CEL itself bounds its nesting."""

_TEXT: Final = cel.Type.STRING
_TEXTS: Final = cel.Type.Map(_TEXT, _TEXT)

NAMES: Final[Mapping[str, Any]] = {
    "identity.subject": _TEXT,
    "identity.groups": cel.Type.List(_TEXT),
    "identity.actor": _TEXT,
    "identity.run": _TEXT,
    "resource.type": _TEXT,
    "resource.name": _TEXT,
    "session.address": _TEXT,
    "session.client": _TEXT,
    "statement.text": _TEXT,
    "statement.fingerprint": _TEXT,
    "statement.tag": _TEXT,
    "operation.verb": _TEXT,
    "operation.object": _TEXT,
    "operation.where": cel.Type.BOOL,
    "http.method": _TEXT,
    "http.path": _TEXT,
    "http.query": _TEXTS,
    "http.headers": _TEXTS,
    "now": cel.Type.TIMESTAMP,
}
"""Every name that a condition may use, and its type. A text that isn't there is empty."""

OF_OPERATION: Final = frozenset(name for name in NAMES if name.startswith("operation."))
"""Names whose values an operation itself has."""

_EMPTY: Final[Mapping[str, Any]] = {
    **dict.fromkeys(NAMES, ""),
    "identity.groups": [],
    "http.query": {},
    "http.headers": {},
    "now": datetime(1970, 1, 1, tzinfo=UTC),
}

_ENVIRONMENT: Final = cel.NewEnv(variables=dict(NAMES))
_FAULT: Final = re.compile(r"^(?:[A-Z_]+: )?ERROR: <input>:(-?\d+):(-?\d+): (.*)$", re.MULTILINE)
_STATUS: Final = re.compile(r" \[[A-Z_]+\]$")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)' \(in container ''\)")


def host(address: str) -> str:
    """The address of HOST:PORT, without brackets: what `session.address` is."""
    before, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or (":" in before and not before.endswith("]")):
        return address
    return before.strip("[]")


def session_values(identity: Identity, resource: str, address: str, client: str) -> dict[str, Any]:
    """What conditions see of a session on the resource, TYPE/NAME: all names that don't change while it lasts.
    `address` is the client's, with or without its port; `client` what it calls itself."""
    kind, _, name = resource.partition("/")
    values: dict[str, Any] = {
        "identity.subject": identity.subject,
        "identity.groups": list(identity.groups),
        "identity.actor": identity.actor or "",
        "identity.run": identity.run or "",
        "resource.type": kind,
        "resource.name": name,
        "session.address": host(address),
        "session.client": client,
    }
    if kind != "http":
        values |= {"http.method": "", "http.path": "", "http.query": {}, "http.headers": {}}
    return values


class Fault:
    """What is wrong in a condition. `line` and `column` count from 1; `name` is the name that isn't known, if that is
    what is wrong."""

    def __init__(self, line: int, column: int, message: str, name: str | None = None) -> None:
        self.line = line
        self.column = column
        self.message = message
        self.name = name


class ConditionError(Exception):
    """The condition can't be evaluated; `faults` are all that was found in it, at least one."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults[0].message)
        self.faults = faults


class Condition:
    """A condition, compiled. Raises ConditionError when it is misspelt, of a wrong type or not an expression."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_CONDITION:
            raise ConditionError(
                [
                    Fault(
                        1,
                        1,
                        f"the condition is too long (got {len(text)} characters, expected at most {MAX_CONDITION})",
                    )
                ]
            )
        try:
            compiled = _ENVIRONMENT.compile(text)
        except Exception as error:  # the library raises RuntimeError, and UnicodeError's kin for what isn't text
            raise ConditionError(_faults(text, str(error))) from None
        kind = compiled.return_type()
        if kind != cel.Type.BOOL:
            raise ConditionError(
                [Fault(1, 1, f"the condition has no truth value (got {kind.name().lower()}, expected bool)")]
            )
        said = _tried(compiled)
        if said:
            raise ConditionError([Fault(1, 1, said)])
        self._expression: Any = compiled
        self.text = text
        self.names: frozenset[str] = _used(compiled.serialize())
        """The names that it uses; it may be some more."""

    def holds(self, values: Mapping[str, Any]) -> bool | None:
        """Whether it holds for the values of its names. None: that can't be said, because evaluating it failed (a key
        that isn't there, a division by zero, …) or because a name that it turns on has no value here."""
        try:
            found = self._expression.eval(data={name: values[name] for name in self.names if name in values})
            value: object = found.value()
        except Exception:  # whatever a value can't be handed over for; who asks fails closed
            return None
        return value if isinstance(value, bool) else None


def _tried(compiled: Any) -> str:
    """What is wrong with the constants in it, as far as evaluating it with empty values tells; else ""."""
    for where in (False, True):
        said = str(compiled.eval(data={**_EMPTY, "operation.where": where}).value())
        for sign in ("invalid regular expression", "Invalid timezone"):
            if sign in said:
                return said.partition(": ")[2].lower() if sign == "Invalid timezone" else said.partition(": ")[2]
    return ""


def _used(serialized: bytes) -> frozenset[str]:
    # The serialized form lists every name that the checker resolved, as a protobuf string in field 1.
    return frozenset(name for name in NAMES if b"\n" + bytes([len(name)]) + name.encode() in serialized)


def _faults(text: str, said: str) -> list[Fault]:
    """The library's message, `ERROR: <input>:LINE:COLUMN: MESSAGE` for each fault, as values."""
    faults: list[Fault] = []
    lines = text.split("\n")
    for found in _FAULT.finditer(said):
        line, column = int(found[1]), int(found[2])
        if line < 1:
            line, column = 1, 1
        message = _STATUS.sub("", found[3])
        unknown = _UNDECLARED.search(message)
        if unknown is None:
            faults.append(Fault(line, column, _plain(message)))
            continue
        name = unknown[1]
        # The place of `a.b` is its dot.
        before = name.rpartition(".")[0]
        if before and lines[line - 1][: column - 1].endswith(before):
            column -= len(before)
        faults.append(Fault(line, column, f"unknown name {name}", name))
    return faults or [Fault(1, 1, _STATUS.sub("", said) or "this is not a condition")]


def _plain(message: str) -> str:
    """The library's message without the list of everything that could stand there."""
    if "'<EOF>'" in message:
        return "the condition ends too soon"
    return re.sub(r",? expecting .*$", "", message.removeprefix("Syntax error: "))
