"""The outcomes of a policy's tests as JUnit's XML, which continuous integration reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement

from cli.escape import escaped
from cli.policy_cases import Outcome


def write(file: Path, outcomes: Mapping[Path, Sequence[Outcome]]) -> None:
    """Writes a test suite for each file of cases. Raises OSError."""
    top = Element("testsuites")
    for path, found in outcomes.items():
        suite = SubElement(top, "testsuite", _counts(found), name=str(path))
        for outcome in found:
            case = SubElement(
                suite, "testcase", name=_text(outcome.case.name), classname=str(path), time=f"{outcome.seconds:.6f}"
            )
            for kind, said in (("failure", outcome.failure), ("error", outcome.error)):
                if said is not None:
                    SubElement(case, kind, message=_text(said))
    ElementTree(top).write(file, encoding="utf-8", xml_declaration=True)


def _counts(found: Sequence[Outcome]) -> dict[str, str]:
    return {
        "tests": str(len(found)),
        "failures": str(sum(outcome.failure is not None for outcome in found)),
        "errors": str(sum(outcome.error is not None for outcome in found)),
        "time": f"{sum(outcome.seconds for outcome in found):.6f}",
    }


def _text(said: str) -> str:
    # XML has no way to write most control characters.
    return escaped(said)
