"""The project's pages: headings, links, tables and fenced blocks, as far as the tests need them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("changes/README.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")]
)

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^(#+) +(.+?) *$", re.MULTILINE)


def name(page: Path) -> str:
    """The page's path within the project, for a test's id."""
    return str(page.relative_to(ROOT))


def fenced(text: str, language: str) -> list[str]:
    """The contents of the fenced blocks in this language."""
    return [content for found, content in _FENCE.findall(text) if found == language]


def indented(text: str) -> list[str]:
    """Lines of indented code, without their indentation."""
    return [line[4:] for line in _FENCE.sub("", text).splitlines() if line.startswith("    ")]


def prose(text: str) -> str:
    """The text without its fenced blocks and inline code, in which brackets don't mean a link."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


def links(text: str) -> list[str]:
    """The targets of all links."""
    return _LINK.findall(prose(text))


def headings(text: str) -> list[str]:
    """The titles of all headings, in order."""
    return [title for _, title in _HEADING.findall(_FENCE.sub("", text))]


def anchors(text: str) -> set[str]:
    """What a link to a heading of this page ends in, as GitHub makes it."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings(text)}


def section(text: str, title: str) -> str:
    """What stands under the heading of this title, up to the next one of its own level or higher."""
    for found in _HEADING.finditer(text):
        if found[2] == title:
            end = re.compile(rf"^#{{1,{len(found[1])}}} ", re.MULTILINE).search(text, found.end())
            return text[found.end() : end.start() if end else len(text)]
    raise LookupError(f"no heading {title!r} (got {headings(text)})")


def rows(text: str) -> list[list[str]]:
    """The rows of the first table, without its heading; cells without surrounding blanks and backticks."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]
