from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs import pages


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of every page leads to a file of the project and, behind `#`, to a heading in it."""
    broken = []
    for target in pages.links(page.read_text()):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.is_relative_to(pages.ROOT) or not found.exists():
            broken.append(f"{target}: no such file")
        elif anchor and anchor not in pages.anchors(found.read_text()):
            broken.append(f"{target}: no such heading")
    assert not broken


def test_every_page_is_reached() -> None:
    """From the README every page of docs/ is reached by links."""
    reached = set()
    waiting = [pages.ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        local = [target.partition("#")[0] for target in pages.links(page.read_text())]
        waiting += [(page.parent / path).resolve() for path in local if path.endswith(".md") and "://" not in path]
    assert {pages.name(page) for page in pages.PAGES if page.is_relative_to(pages.ROOT / "docs")} <= {
        pages.name(page) for page in reached
    }
