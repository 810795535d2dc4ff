"""Values that a session is searched for, in everything that is told to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.masking.search import Search
from schemas.policy import Mask

KEY = b"the key of a test"
MAIL = Search([Mask("mail", types=("email",))])
TWO = Search([Mask("mail", types=("email",), replacement="hash"), Mask("ticket", patterns=("T-[0-9]{4}",))])


def test_text() -> None:
    """What is found is replaced where it stands, by the way of its mask; a text without any is the same object."""
    assert MAIL.text(KEY, b"ask a@corp.example now") == b"ask *** now"
    clean = b"nothing here"
    assert MAIL.text(KEY, clean) is clean
    made = TWO.text(KEY, b"a@corp.example has T-1234")
    assert b"corp.example" not in made and made.endswith(b" has ***")
    assert TWO.names == ("mail", "ticket")


def test_report() -> None:
    """Of an error or a notice the fields that may quote a value are searched; kind, state and places stay."""
    body = b"SERROR\0C23505\0Mkey a@corp.example\0Dalso b@corp.example\0Wc@corp.example\0P3\0Rx@corp.example\0\0"
    assert MAIL.report(KEY, body) == b"SERROR\0C23505\0Mkey ***\0Dalso ***\0W***\0P3\0Rx@corp.example\0\0"
    clean = b"SERROR\0Mnothing\0\0"
    assert MAIL.report(KEY, clean) is clean


def test_told() -> None:
    """Of a notification and of a setting the value is searched, the name stays."""
    assert MAIL.told(KEY, bytes(4) + b"channel\0a@corp.example\0", 4) == bytes(4) + b"channel\0***\0"
    assert MAIL.told(KEY, b"application_name\0a@corp.example\0", 0) == b"application_name\0***\0"
    clean = b"TimeZone\0UTC\0"
    assert MAIL.told(KEY, clean, 0) is clean


@pytest.mark.parametrize("oid", [0, 25, 114, 1009])
def test_type_not_known(oid: int) -> None:
    """A value whose type isn't known is searched as a text."""
    assert b"corp" not in (MAIL.replacer(KEY, oid, -1, False).replace(b'{"a@corp.example"}') or b"")


@given(st.binary(max_size=80) | st.binary(max_size=30).map(lambda some: some + b"a@corp.example" + some))
def test_any_bytes(body: bytes) -> None:
    """Any bytes come back with as many strings as there were, and nothing is said to be clean that is changed."""
    made = MAIL.report(KEY, body)
    assert made.count(b"\0") == body.count(b"\0")
    assert (made is body) or MAIL.suspects(body)
    MAIL.told(KEY, body, 4)
    MAIL.told(KEY, body, 0)
    MAIL.text(KEY, body)
