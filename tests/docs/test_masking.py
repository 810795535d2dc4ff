"""docs/masking.md names every way and every type, and its figures are those of the corpus."""

from __future__ import annotations

import re

from agent.core.masking.looks import TYPES
from agent.core.masking.replacement import WAYS
from tests.agent.core.masking.lookalikes import EACH, found
from tests.docs import pages

PAGE = (pages.ROOT / "docs" / "masking.md").read_text()


def cells(title: str) -> list[list[str]]:
    """The rows of all tables of a section, without backticks."""
    lines = [line for line in pages.section(PAGE, title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_ways_and_types() -> None:
    """The tables have each way and each type, and nothing else."""
    assert set(WAYS) <= {row[0].strip("`") for row in cells("Ways")}
    named = [name for row in cells("Types") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(TYPES)


def test_figures() -> None:
    """The look-alikes taken for something are as many as the page says."""
    told = {row[0]: row[2] for row in cells("How often it is wrong") if row[1] == str(EACH)}
    assert told == {group: str(sum(taken.values())) for group, taken in found().items()}
