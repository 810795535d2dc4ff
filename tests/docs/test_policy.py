from __future__ import annotations

from pathlib import Path

import pytest

from agent.core.policy.conditions import NAMES
from agent.core.policy.verbs import PG
from agent.store import policy
from cli import policy_cases
from cli.main import run
from tests.docs import pages

PAGE = (pages.ROOT / "docs" / "policy.md").read_text()


def keys(title: str) -> list[str]:
    return [row[0] for row in pages.rows(pages.section(PAGE, title))]


def test_example_passes_its_tests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's policy is one without a warning, and the page's cases pass under it."""
    example, header, cases = pages.fenced(PAGE, "yaml")
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
    """The page names every key of a policy, of a rule and of a case, and nothing else."""
    assert keys("Keys") == list(policy.KEYS)
    assert keys("A rule") == list(policy.RULE)
    assert sorted(keys("Tests")) == sorted(policy_cases.CASE)


def test_verbs_are_known() -> None:
    """The verbs that the page explains are verbs."""
    named = {verb.strip("` ") for cell in keys("Verbs") for verb in cell.split(",")}
    assert named <= PG
