"""The form in which COPY sends its rows, by its statement."""

from __future__ import annotations

import pytest

from agent.core.sql.copying import CopyForm, copy_form
from agent.core.sql.statements import split

FORMS = {
    "COPY t TO STDOUT": CopyForm(),
    "copy (select 1) to stdout with (format csv)": CopyForm("csv"),
    "COPY t TO STDOUT (FORMAT 'CSV', HEADER)": CopyForm("csv", header=True),
    "COPY t TO STDOUT (FORMAT csv, HEADER true, QUOTE '''', ESCAPE '\\', DELIMITER ';', NULL 'nil')": CopyForm(
        "csv", ";", "nil", "'", "\\", True
    ),
    "COPY t TO STDOUT (FORMAT csv, HEADER off)": CopyForm("csv"),
    "COPY t TO STDOUT (FORMAT csv, HEADER 0)": CopyForm("csv"),
    "COPY t TO STDOUT (FORMAT csv, HEADER 1)": CopyForm("csv", header=True),
    "COPY t TO STDOUT (FORMAT binary)": CopyForm("binary"),
    "COPY t TO STDOUT BINARY": CopyForm("binary"),
    "COPY BINARY t TO STDOUT": CopyForm("binary"),
    "COPY t TO STDOUT CSV HEADER": CopyForm("csv", header=True),
    "COPY t TO STDOUT WITH DELIMITER '|' NULL AS ''": CopyForm("text", "|", ""),
    "COPY t TO STDOUT (ENCODING 'UTF8')": CopyForm(),
    "COPY t TO STDOUT (DELIMITER E'\\t')": CopyForm("text", "\t"),
    "COPY t TO STDOUT (FORMAT csv, FORCE_QUOTE *)": CopyForm("csv"),
}


@pytest.mark.parametrize("text", FORMS)
def test_form(text: str) -> None:
    """Every way of writing the options means what PostgreSQL takes it for."""
    (statement,) = split(text, True)
    assert copy_form(statement) == FORMS[text]


@pytest.mark.parametrize(
    "text",
    [
        "COPY t TO STDOUT (ENCODING 'LATIN1')",
        "COPY t TO STDOUT (FORMAT parquet)",
        "SELECT 1",
        "COPY t TO",
    ],
)
def test_none(text: str) -> None:
    """What isn't such a statement, or can't be read as text of ours, has no form."""
    (statement,) = split(text, True)
    assert copy_form(statement) is None
