"""ErrorResponse and NoticeResponse: https://www.postgresql.org/docs/current/protocol-error-fields.html."""

from __future__ import annotations

from agent.core.pg.messages import ERROR, NOTICE, message, text


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


def _fields(code: str, what: str, hint: str | None, detail: str | None, severity: str) -> bytes:
    body = b"S" + text(severity) + b"V" + text(severity) + b"C" + text(code) + b"M" + text(what)
    if detail is not None:
        body += b"D" + text(detail)
    if hint is not None:
        body += b"H" + text(hint)
    return body + b"\0"
