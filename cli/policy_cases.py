"""Tests of a policy: cases in YAML beside it, `*.test.yaml`, each with what a session asks for and what is decided."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.core.policy.rulebook import Rules, Verdict
from agent.core.policy.verbs import operation
from agent.core.sql.found import Found
from agent.store.document import LIMIT, Document, Problem, Value, located
from agent.store.policy import EFFECTS, in_order, load
from cli.policy_decision import RUNS_CODE, UNSETTLED, Court, worst
from cli.policy_reader import Reader, ReaderError, refusal
from schemas.explanation import Explained
from schemas.identity import Identity
from schemas.operation import Operation

KEYS = ("policy", "resource", "identity", "search_path", "cases")
CASE = (
    "name",
    "resource",
    "identity",
    "session",
    "operations",
    "statement",
    "search_path",
    "where",
    "now",
    "decision",
    "rule",
)
IDENTITY = ("subject", "groups", "actor", "run")
SESSION = ("address", "client")
ENDINGS = (".test.yaml", ".test.yml")


Readers = Callable[[str], Reader | None]
"""The reader for a resource, TYPE/NAME; None when there is none."""


class CasesError(Exception):
    """A file of cases can't be used; `problems` are all that was found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class Case:
    """One case. `operations` None: they are those of the statement. `rule` None: any. `search_path` None: that of the
    agent's role."""

    name: str
    resource: str
    identity: Identity
    decision: str
    rule: str | None = None
    operations: tuple[Operation, ...] | None = None
    statement: str = ""
    address: str = "127.0.0.1"
    client: str = ""
    now: int | None = None
    search_path: str | None = None


@dataclass(frozen=True)
class CaseFile:
    """The cases of one file, and the policy that they are about."""

    path: Path
    policy: Path
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Outcome:
    """What became of a case: nothing is wrong, `failure` says what was decided instead, `error` why it couldn't be.
    `note` says what isn't known of it."""

    case: Case
    seconds: float
    failure: str | None = None
    error: str | None = None
    note: str | None = None


def find(place: Path) -> list[Path]:
    """The files of cases in this directory, or the one file that is named."""
    if place.is_dir():
        return sorted(path for path in place.iterdir() if path.name.endswith(ENDINGS) and path.is_file())
    return [place]


def read(path: Path) -> CaseFile:
    """The cases in a file. Raises CasesError."""
    document = Document(str(path))
    try:
        with path.open("rb") as stream:
            content = stream.read(LIMIT + 1)
    except OSError as error:
        document.problem(1, 1, "", f"the file can't be read ({(error.strerror or str(error)).lower()})")
        raise CasesError(document.problems) from error
    top = document.compose(content)
    keys = top.mapping(KEYS, ("cases",)) if top is not None else {}
    policy = located(keys["policy"].text() if "policy" in keys else "policy.yaml", path.absolute().parent)
    resource = keys["resource"].text() if "resource" in keys else ""
    identity = _identity(keys["identity"]) if "identity" in keys else None
    names_from = keys["search_path"].text() if "search_path" in keys else None
    cases = tuple(
        _case(item, resource, identity, names_from) for item in (keys["cases"].items() if "cases" in keys else [])
    )
    if document.problems:
        raise CasesError(document.problems)
    return CaseFile(path, Path(policy), cases)


def run(file: CaseFile, readers: Readers) -> Iterator[Outcome]:
    """Decides each case. Raises PolicyError when there is no policy to decide by."""
    rules = Rules(load(file.policy))
    asked: dict[str, Reader | None] = {}
    for case in file.cases:
        begun = time.perf_counter()
        failure = error = note = None
        try:
            if case.operations is None and case.resource not in asked:
                asked[case.resource] = readers(case.resource)
            verdict, note = _decide(case, rules, asked.get(case.resource))
            failure = _difference(case, verdict)
        except ReaderError as found:
            error = f"{found} ({found.hint})" if found.hint else str(found)
        yield Outcome(case, time.perf_counter() - begun, failure, error, note)


def _decide(case: Case, rules: Rules, reader: Reader | None) -> tuple[Verdict, str | None]:
    """The verdict, and what isn't known. Raises ReaderError."""
    now = time.time_ns() // 1000 if case.now is None else case.now
    court = Court(rules, case.identity, case.resource, case.address, case.client)
    if case.operations is not None:
        return court.by_rules(Explained(case.statement, 0, found=Found(case.operations)), now), None
    statements = _read(case, reader, not court.masked.empty)
    verdict = worst(court.decide(each, now) for each in statements if not each.unsettled)
    if verdict.effect != "deny" and any(each.unsettled for each in statements):
        raise ReaderError(UNSETTLED, "give each statement a case of its own; search_path says where names are found")
    code = verdict.effect != "deny" and any(each.found.opaque for each in statements)
    return verdict, RUNS_CODE if code else None


def _read(case: Case, reader: Reader | None, columns: bool) -> tuple[Explained, ...]:
    """What the case's statements do. Raises ReaderError."""
    if reader is None:
        raise ReaderError(
            "what a statement does is the database's to say, and none is to be had here",
            'write the operations instead: operations: ["DELETE app.users"]',
        )
    found = reader.read(case.statement, case.search_path, columns)
    for error in (found.error, *(each.error for each in found.statements)):
        if error is not None:
            raise ReaderError(f"the server refuses it: {refusal(error)}", error.hint)
    if not found.statements:
        raise ReaderError("there is no statement in it")
    return found.statements


def _difference(case: Case, verdict: Verdict) -> str | None:
    if verdict.effect == case.decision and case.rule in (None, verdict.rule):
        return None
    expected = case.decision + (f" by {case.rule}" if case.rule else "")
    found = f"{verdict.effect} by {verdict.rule or 'default'}"
    return f"expected {expected}, got {found}" + (f" for {verdict.operation}" if verdict.operation else "")


def _case(item: Value, resource: str, identity: Identity | None, search_path: str | None) -> Case:
    keys = item.mapping(CASE, ("decision",))
    if "operations" not in keys and "statement" not in keys:
        item.problem("the case asks for nothing (expected operations, or a statement)")
    elif "where" in keys and "operations" not in keys:
        item.problem("the key where is for operations (whether a statement has a WHERE, it says itself)")
    for name, given in (("resource", resource), ("identity", identity)):
        if name not in keys and not given:
            item.problem(f"the key {name} is missing (here, or before the cases for all of them)")
    session = keys["session"].mapping(SESSION) if "session" in keys else {}
    statement = keys["statement"].written if "statement" in keys else ""
    where = "where" not in keys or keys["where"].choice(("true", "false"), "true") == "true"
    operations = None
    if "operations" in keys:
        listed = [keys["operations"]] if keys["operations"].is_scalar() else keys["operations"].items()
        operations = tuple(operation(each.text("UNKNOWN"), where) for each in listed)
    written = " ".join(statement.split()) or ", ".join(map(str, operations or ()))
    return Case(
        name=keys["name"].text() if "name" in keys else written,
        resource=keys["resource"].text() if "resource" in keys else resource,
        identity=_identity(keys["identity"]) if "identity" in keys else identity or Identity(""),
        decision=keys["decision"].choice(EFFECTS, "allow") if "decision" in keys else "",
        rule=keys["rule"].text() if "rule" in keys else None,
        operations=operations,
        statement=statement,
        address=session["address"].text() if "address" in session else "127.0.0.1",
        client=session["client"].text() if "client" in session else "",
        now=_moment(keys["now"]) if "now" in keys else None,
        search_path=keys["search_path"].text() if "search_path" in keys else search_path,
    )


def _identity(value: Value) -> Identity:
    keys = value.mapping(IDENTITY, ("subject",))
    groups = keys.get("groups")
    listed = [] if groups is None else [groups] if groups.is_scalar() else groups.items()
    return Identity(
        keys["subject"].text() if "subject" in keys else "",
        tuple(each.text() for each in listed),
        keys["actor"].text() if "actor" in keys else None,
        keys["run"].text() if "run" in keys else None,
    )


def _moment(value: Value) -> int:
    try:
        moment = datetime.fromisoformat(value.written)
    except ValueError:
        value.problem(f"this should be a time (got {value.written}, expected one such as 2026-01-31T09:00:00Z)")
        return 0
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
