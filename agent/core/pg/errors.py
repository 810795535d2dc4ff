"""ErrorResponse and NoticeResponse: https://www.postgresql.org/docs/current/protocol-error-fields.html."""

from __future__ import annotations

from typing import Final

from agent.core.pg.messages import ERROR, NOTICE, message, text

_LEVELS: Final = {
    "debug5": 1, "debug4": 2, "debug3": 3, "debug2": 4, "debug1": 5, "debug": 4, "log": 6, "notice": 7, "warning": 8,
    "error": 9,
}  # fmt: skip
"""https://www.postgresql.org/docs/current/runtime-config-client.html, client_min_messages, least severe first."""


def error_response(
    code: str, what: str, hint: str | None = None, detail: str | None = None, severity: str = "ERROR"
) -> bytes:
    """An ErrorResponse of the agent's own. `code` is an SQLSTATE; a `severity` of FATAL ends the session."""
    return message(ERROR, _fields(code, what, hint, detail, severity))


def notice_response(code: str, what: str, hint: str | None = None, severity: str = "NOTICE") -> bytes:
    """A NoticeResponse of the agent's own."""
    return message(NOTICE, _fields(code, what, hint, None, severity))


def fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse's or NoticeResponse's body by their one-letter types; what isn't UTF-8 is
    replaced. Takes what a broken server sends as well: a field without its end counts as whole."""
    found: dict[str, str] = {}
    for field in body.split(b"\0"):
        if field:
            found[field[:1].decode("latin-1")] = field[1:].decode("utf-8", "replace")
    return found


def is_told(severity: str, level: str) -> bool:
    """Whether a client whose client_min_messages is `level` gets a notice of this severity."""
    return severity == "INFO" or _LEVELS.get(severity.lower(), 7) >= _LEVELS.get(level, 7)


def _fields(code: str, what: str, hint: str | None, detail: str | None, severity: str) -> bytes:
    body = b"S" + text(severity) + b"V" + text(severity) + b"C" + text(code) + b"M" + text(what)
    if detail is not None:
        body += b"D" + text(detail)
    if hint is not None:
        body += b"H" + text(hint)
    return body + b"\0"
