"""Who imports whom, read from the source: what the diagram of docs/architecture.md has to show."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT

PARTS = (
    "cli",
    "bot",
    "agent",
    "agent.net",
    "agent.identity",
    "agent.store",
    "agent.core",
    "agent.core.pg",
    "agent.core.sql",
    "agent.core.policy",
    "agent.core.masking",
    "agent.core.journal",
    "schemas",
)


def part(module: str) -> str | None:
    """The innermost part that a module belongs to; None for what isn't ours."""
    within = [each for each in PARTS if module == each or module.startswith(f"{each}.")]
    return max(within, key=len, default=None)


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the four packages by its name."""
    for top in ("agent", "bot", "cli", "schemas"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), path


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, at whatever depth and under whatever condition."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def edges() -> set[tuple[str, str]]:
    """Pairs of parts of which the first imports something of the second."""
    found = set()
    for module, path in modules():
        for target in imported(path):
            here, there = part(module), part(target)
            if here and there and here != there:
                found.add((here, there))
    return found


def diagram() -> str:
    """The Mermaid flowchart of all parts that hold a module and of their imports."""
    inhabited = {part(module) for module, _ in modules()}
    lines = ["flowchart TD"]
    lines += [f"    {each}" for each in PARTS if each in inhabited]
    lines += [
        f"    {here} --> {there}"
        for here, there in sorted(edges(), key=lambda e: (PARTS.index(e[0]), PARTS.index(e[1])))
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(diagram(), end="")
