"""Every bound on size and time that the agent keeps, with its reason."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024

MAX_STARTUP: Final = 10_000
"""Bytes of a startup packet; PostgreSQL's own MAX_STARTUP_PACKET_LENGTH."""

MAX_PASSWORD: Final = 65_535
"""Bytes of a password message before the client is let in; PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH."""

MAX_STATEMENT: Final = 64 * MIB
"""Bytes of one client message that has to be read whole (Query, Parse, Bind …). A statement is copied about three
times on its way to the journal; COPY data is not bound by this, it passes in slices."""

MAX_SERVER_MESSAGE: Final = 64 * MIB
"""Bytes of one server message that has to be read whole (errors, notices, parameters); rows pass in slices."""

MAX_ROW: Final = 0x3FFFFFFF
"""Bytes of one row or piece of COPY data: PostgreSQL makes none larger (MaxAllocSize)."""

MAX_WHOLE_ROW: Final = 256 * KIB
"""Bytes of a row that is passed on only when it is there as a whole; larger ones pass in slices."""

MAX_MASKED_ROW: Final = 64 * MIB
"""Bytes of a row, or piece of COPY data, with masked values: it is read whole, and about three times in memory."""

MAX_WITHHELD: Final = 4 * MIB
"""Bytes of an answer that is kept back until what its statement did is judged; one with more is refused."""

MAX_LOGIN_MESSAGE: Final = 30_000
"""Bytes of one server message before the agent is logged in; libpq's own bound is 30,000 for errors."""

MAX_RECORD: Final = 257 * MIB
"""Bytes of one journal record: a statement, binary parameters in four times their size as text, and some room."""

MAX_PENDING: Final = 65_536
"""Requests of a pipeline that wait for their answers; then the client is read no further until some arrive."""

MAX_HELD: Final = 1 * MIB
"""Bytes that wait in one direction for the disk; then their source is read no further."""

READ_SIZE: Final = 256 * KIB
"""Bytes asked of a socket at once: large enough that a bulk answer costs few system calls."""

HIGH_WATER: Final = 512 * KIB
"""Bytes waiting to be written to one peer before the other is read no further."""

LOGIN_TIMEOUT: Final = 60.0
"""Seconds for a client to log in; PostgreSQL's default authentication_timeout."""

EXPLAIN_TIMEOUT: Final = 60.0
"""Seconds for a server to be logged in to and to tell what a statement would do: as long as a login alone may take."""

MAX_EXPLAINED: Final = 256 * KIB
"""Characters of a text whose statements are explained: generous for what people write, small for the agent."""

MAX_EXPLAINING: Final = 8
"""Texts explained at a time: each takes a connection to a server."""

SAMPLE_TIMEOUT: Final = 40.0
"""Seconds for a sample of one table, login and all; one statement of it may take half."""

MAX_SAMPLED_ROWS: Final = 10_000
"""Rows of one table that are sampled: more tell nothing more of what it holds."""

MAX_SAMPLED_VALUE: Final = 2_048
"""Characters of a value of a sample that are looked at: thirty milliseconds, if it is nothing but e-mail addresses."""

MAX_SAMPLED_TEXT: Final = 1 * MIB
"""Bytes of values of one table in which something may be found: to look at them takes ten seconds and more."""

MAX_SAMPLED_TABLES: Final = 10_000
"""Tables that are listed at once; whoever has more names schemas."""

CANCEL_TIMEOUT: Final = 10.0
"""Seconds for a CancelRequest to reach the server."""

MAX_SCRAM_ITERATIONS: Final = 1_000_000
"""Rounds of PBKDF2 that a server may ask of the agent: about half a second. PostgreSQL's default is 4,096."""

MAX_PREPARED: Final = 65_536
"""Prepared statements and portals that one session may keep open at the agent."""

MAX_STATEMENT_STORE: Final = 128 * MIB
"""Bytes of prepared statements' text that one session may keep open at the agent."""

MAX_UNPROVEN: Final = 1_000
"""Connections that are not logged in yet; further ones are refused, so that nobody exhausts memory unnamed."""

CREDENTIAL_LIFETIME: Final = 600.0
"""Seconds within which a credential of `hoopctl connect` must be used."""

VALUE_NESTING: Final = 8
"""Arrays and records within one another that a binary value is shown with; what is nested deeper is shown as bytes."""

MAX_UNHEARD: Final = 1 * MIB
"""Bytes of answers that are read on, for the record, after their client is gone; what goes on is cancelled then."""

MAX_WELCOME: Final = 256 * KIB
"""Bytes of parameters and notices that a server may send before it is ready; PostgreSQL's are under 1 KiB."""

CLOSE_TIMEOUT: Final = 30.0
"""Seconds for a client to take what it was still to be sent when its session is over."""
