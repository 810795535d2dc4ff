"""Masks that a sample of a database suggests, as a policy to edit or as a listing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from agent.core.masking.national import NATIONAL
from agent.core.policy.globs import fault
from cli.client import AgentAbsent, Client
from cli.errors import HoopError
from cli.policy_names import named
from schemas.discovery import Column, Sample, Sighting, Table, Tables

Answer = TypeVar("Answer")

COLUMNS = ("table", "column", "type", "by", "share", "values")

PATIENCE = 90.0
"""Seconds for an answer: the agent's own time-out ends sooner and says more."""

MOST = 0.5
"""The share of a column's values from which on it is masked as a whole; else only what is found in it."""

DOUBTFUL = {"credit_card": 0.1, "us_ssn": 0.1, "phone": 0.05, "ip_address": 0.05}
"""The share of values from which on these are believed: other numbers look like them now and then."""

DOUBTFUL_NATIONAL = 0.5
"""The same for national numbers, whose checks one in ten of other numbers of that length may pass."""

_REFUSALS = {
    "42501": "the agent's role has no right to read it",
    "42P01": "it is not there any more",
    "55000": "it has not been filled yet",
    "55P03": "it is locked",
    "57014": "it takes too long: try fewer --rows",
}


class Proposal(NamedTuple):
    """A column that holds a kind of value. `by`: `value`, most of its values are such; `within`, some are or hold one;
    `name`, only its name says so. `share` is that of `values`, the values that were looked at."""

    table: str
    column: str
    type: str
    by: str
    share: float | None
    values: int


class Found(NamedTuple):
    """What came of it: how many tables were looked at, and why others weren't, by their names."""

    proposals: list[Proposal]
    sampled: int
    passed_over: dict[str, str]


def discover(
    client: Client, resource: str, schemas: list[str], table: str, rows: int, progress: Callable[[str], None]
) -> Found:
    """Has the agent look at each table in turn; `progress` is told of each. Raises HoopError."""
    body = {"schemas": schemas, "tables": table}
    listed = _asked(client, resource, "tables", body, Tables)
    if listed.refused:
        raise HoopError(f"the server doesn't tell its tables (SQLSTATE {listed.refused})")
    if not listed.tables:
        raise HoopError("there is no such table (got none that fits)", "see --schema and --table; * fits every name")
    found = Found([], 0, {})
    sampled = failed = 0
    for number, one in enumerate(listed.tables, 1):
        name = f"{one.schema}.{one.name}"
        if not one.readable:
            found.passed_over[name] = _REFUSALS["42501"]
            continue
        progress(f"{number} of {len(listed.tables)}: {name}")
        try:
            why = _sampled(client, resource, one, rows, found.proposals)
            failed = 0
        except HoopError as error:
            failed += 1
            if failed > 1 or isinstance(error, AgentAbsent):
                raise  # it isn't the table
            why = error.message
        if why is None:
            sampled += 1
        else:
            found.passed_over[name] = why
    if listed.more:
        found.passed_over["others"] = f"there are more than {len(listed.tables)}: name --schema"
    return found._replace(sampled=sampled)


def _sampled(client: Client, resource: str, table: Table, rows: int, proposals: list[Proposal]) -> str | None:
    """Adds what is proposed for a table; returns why it wasn't looked at, if so."""
    body = {"schema": table.schema, "table": table.name, "rows": rows}
    sample = _asked(client, resource, "sample", body, Sample)
    for column in sample.columns:
        proposals.extend(proposed(f"{table.schema}.{table.name}", column))
    if sample.refused:
        return _REFUSALS.get(sample.refused, f"the server refuses it (SQLSTATE {sample.refused})")
    return None


def proposed(table: str, column: Column) -> Iterator[Proposal]:
    """What is proposed for a column: by its values, and where these tell nothing, by its name."""
    told = False
    for sighting in column.sightings:
        share = (sighting.whole + sighting.within) / max(1, column.values)
        if share >= _believed(sighting):
            told = True
            by = "value" if sighting.whole >= MOST * column.values else "within"
            yield Proposal(table, column.name, sighting.type, by, share, column.values)
    kind = None if told or not column.readable else named(column.name, column.kind)
    if kind is not None:
        yield Proposal(table, column.name, kind, "name", None, column.values)


def _believed(sighting: Sighting) -> float:
    return DOUBTFUL_NATIONAL if sighting.type in NATIONAL else DOUBTFUL.get(sighting.type, 0.0)


def listing(proposals: Iterable[Proposal]) -> Iterator[dict[str, Any]]:
    """A row for each proposal."""
    for one in proposals:
        yield one._asdict() | {"share": None if one.share is None else round(one.share, 3)}


def policy(proposals: Iterable[Proposal], resource: str, rows: int) -> str:
    """A policy with a mask for each kind, to edit. `hoopctl policy check` has nothing against it."""
    kinds: dict[str, list[Proposal]] = {}
    for one in proposals:
        kinds.setdefault(one.type, []).append(one)
    lines = [
        f"# Masks for {resource}, proposed by hoopctl policy discover from at most {rows} rows of each table.",
        "# Look through them: a sample doesn't show everything, and not everything that it shows need be hidden.",
        "version: 1",
    ]
    if not kinds:
        return "\n".join([*lines, "masks: []  # nothing was found", ""])
    lines.append("masks:")
    for kind in sorted(kinds):
        lines += _mask(kind, kinds[kind], resource)
    return "\n".join([*lines, ""])


def _mask(kind: str, proposals: list[Proposal], resource: str) -> Iterator[str]:
    yield f"  - name: {kind.replace('_', '-')}"
    yield f"    on: {json.dumps(resource)}"
    columns = [one for one in proposals if one.by != "within"]
    if columns:
        yield "    columns:"
        for one in columns:
            yield f"      - {json.dumps(glob(one), ensure_ascii=False)}  # {_share(one)}"
    within = [one for one in proposals if one.by == "within"]
    if within:
        yield "    # Wherever a value looks like one. It was found in"
        for one in within:
            yield f"    #   {glob(one)}: {_share(one)}"
        yield f"    types: [{kind}]"
    yield "    with: redact  # or partial, hash, fake, null"


def glob(proposal: Proposal) -> str:
    """A glob that matches the column and can stand in a policy: `?` is in place of what can't."""
    name = f"{proposal.table}.{proposal.column}"
    plain = "".join(
        letter if letter not in "*?" and letter.isprintable() and fault(f"a{letter}a") is None else "?"
        for letter in name
    )
    return plain if fault(plain) is None else plain.replace(" ", "?")


def _share(proposal: Proposal) -> str:
    if proposal.share is None:
        said = "by its name"
        return f"{said}; {proposal.values} values look like nothing known" if proposal.values else said
    percent = f"{100 * proposal.share:.0f} %" if proposal.share >= 0.01 else "under 1 %"
    return f"{percent} of {proposal.values} values"


class Progress:
    """Tells on a terminal's standard error what is looked at; elsewhere nothing."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()

    def __call__(self, text: str) -> None:
        if self._shown:
            from cli.escape import escaped

            sys.stderr.write(f"\r\x1b[K{escaped(text)[:100]}")
            sys.stderr.flush()

    def end(self) -> None:
        """Takes away what was told."""
        self("")


def _asked(client: Client, resource: str, what: str, body: object, kind: type[Answer]) -> Answer:
    try:
        return msgspec.convert(client.post("resources", resource, what, body=body, timeout=PATIENCE), kind)
    except msgspec.ValidationError as error:
        raise HoopError(f"the agent's answer can't be read ({error})", "is it of the same version?") from error
