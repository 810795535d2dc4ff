from __future__ import annotations

import re

from tests.docs import imports, pages

PAGE = (pages.ROOT / "docs" / "architecture.md").read_text()


def test_diagram_is_true() -> None:
    """The diagram shows every part of the source and every import between parts, and nothing else;
    `python -m tests.docs.imports` prints it anew."""
    assert pages.fenced(PAGE, "mermaid") == [imports.diagram()]


def test_every_part_is_described() -> None:
    """The table of parts names each part of the diagram."""
    described = {row[0] for row in pages.rows(pages.section(PAGE, "The parts"))}
    assert described == {imports.part(module) for module, _ in imports.modules()} - {None}


def test_named_modules_exist() -> None:
    """Every module that the page names is there."""
    known = {module for module, _ in imports.modules()}
    named = set(re.findall(r"`((?:agent|cli|schemas|bot)(?:\.\w+)+)`", PAGE))
    assert not named - known
