"""The JSON Schema of policy.yaml says what the reader of policy.yaml accepts."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import pytest

from agent.core.masking.looks import TYPES
from agent.core.policy.conditions import MAX_CONDITION
from agent.core.policy.globs import MAX_GLOB, fault
from agent.store import policy

SCHEMA: dict[str, Any] = json.loads(files("schemas").joinpath("policy.schema.json").read_text())
DEFINED = SCHEMA["$defs"]


@pytest.mark.parametrize(
    "described, known",
    [
        (SCHEMA["properties"], policy.KEYS),
        (DEFINED["rule"]["properties"], policy.RULE),
        (DEFINED["who"]["properties"], policy.WHO),
        (DEFINED["approvers"]["properties"], policy.APPROVERS),
        (DEFINED["mask"]["properties"], policy.MASK),
        (SCHEMA["properties"]["default"]["enum"], policy.DEFAULTS),
        (DEFINED["rule"]["properties"]["effect"]["enum"], policy.EFFECTS),
        (DEFINED["mask"]["properties"]["with"]["enum"], (*policy.REPLACEMENTS, None)),
        (DEFINED["mask"]["properties"]["predicates"]["enum"], policy.DEFAULTS),
        (DEFINED["mask"]["properties"]["opaque"]["enum"], policy.OPAQUE),
        (DEFINED["type"]["enum"], TYPES),
    ],
)
def test_keys_and_choices(described: Any, known: tuple[object, ...]) -> None:
    """Every key and every choice is in both."""
    assert list(described) == list(known)


def test_bounds() -> None:
    """Bounds are the same in both."""
    assert DEFINED["glob"]["maxLength"] == MAX_GLOB
    assert DEFINED["condition"]["maxLength"] == MAX_CONDITION
    assert DEFINED["approvers"]["properties"]["quorum"]["maximum"] == policy.MAX_QUORUM


@pytest.mark.parametrize("glob", ["DROP *", "*", "a", " a", "a ", "a  b", "{a}", "a]", "\\", 'app."Ä"', "GET /v1/?"])
def test_globs(glob: str) -> None:
    """The schema's pattern refuses the globs that the reader refuses."""
    assert bool(re.search(DEFINED["glob"]["pattern"], glob)) == (fault(glob) is None)


def test_references() -> None:
    """Everything that the schema refers to is in it, and nothing else is."""
    named = set(re.findall(r'"#/\$defs/(\w+)"', json.dumps(SCHEMA)))
    assert named == set(DEFINED)
