from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.policy.conditions import NAMES
from agent.core.policy.verbs import PG
from agent.store import policy
from cli import policy_cases, policy_names
from cli.main import run
from tests.docs import pages

PAGE = (pages.ROOT / "docs" / "policy.md").read_text()


def keys(title: str) -> list[str]:
    return [row[0] for row in pages.rows(pages.section(PAGE, title))]


def test_example_passes_its_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's policy is one without a warning, and the page's cases pass under it."""
    example, masks, header, cases = pages.fenced(PAGE, "yaml")
    (tmp_path / "masks.yaml").write_text(masks)
    assert run(["policy", "check", "--strict", str(tmp_path / "masks.yaml")]) == 0
    (tmp_path / "policy.yaml").write_text(example)
    (tmp_path / "page.test.yaml").write_text(cases)
    assert run(["policy", "check", "--strict", str(tmp_path / "policy.yaml")]) == 0
    assert run(["policy", "test", str(tmp_path)]) == 0, capsys.readouterr().out
    (tmp_path / "other.yaml").write_text(header)
    policy.load(tmp_path / "other.yaml")


def test_names_are_documented() -> None:
    """The page names everything that a condition may use, in order, and nothing else."""
    assert keys("Conditions") == list(NAMES)


def test_keys_are_documented() -> None:
    """The page names every key of a policy, a rule, a mask and a case, and nothing else."""
    assert keys("Keys") == list(policy.KEYS)
    assert keys("A rule") == list(policy.RULE)
    assert keys("Masks") == list(policy.MASK)
    assert sorted(keys("Tests")) == sorted(policy_cases.CASE)


def test_names_of_columns_are_documented() -> None:
    """The page lists what columns are called that are proposed for masking."""
    lines = [line for line in pages.section(PAGE, "Discover").splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert {kind.strip("`"): tuple(names.split(", ")) for kind, names in cells} == policy_names.NAMES


def test_verbs_are_known() -> None:
    """The verbs that the page explains are verbs."""
    named = {verb.strip("` ") for cell in keys("Verbs") for verb in cell.split(",")}
    assert named <= PG
