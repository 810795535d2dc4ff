"""What a client says before it is let in.

https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.core.limits import MAX_STARTUP
from agent.core.pg.messages import NEGOTIATE_VERSION, ProtocolError, message, text, u32

TLS_HANDSHAKE: Final = 0x16
"""First byte of a TLS handshake record: a client that begins TLS directly, without an SSLRequest."""

ALPN: Final = "postgresql"

_CANCEL: Final = 80_877_102
_SSL: Final = 80_877_103
_GSS: Final = 80_877_104
_MAJOR: Final = 3
NEWEST_MINOR: Final = 2
_PROTOCOL_OPTION: Final = "_pq_."
_OWN_SETTINGS: Final = ("hoop.run", "hoop.on_behalf_of")
_NOT_PASSED: Final = ("user", "database", "replication", "options", *_OWN_SETTINGS)


@dataclass(frozen=True)
class TlsRequest:
    """The client would like TLS (SSLRequest)."""


@dataclass(frozen=True)
class GssRequest:
    """The client would like GSSAPI encryption."""


@dataclass(frozen=True)
class CancelRequest:
    """The client asks to cancel what the session with this key runs; then it is done."""

    key: bytes


@dataclass(frozen=True)
class StartupMessage:
    """The client wants a session in protocol 3.`minor`."""

    minor: int
    parameters: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The last value given for a parameter."""
        found = None
        for key, value in self.parameters:
            if key == name:
                found = value
        return found


Request = TlsRequest | GssRequest | CancelRequest | StartupMessage


def request(data: bytes) -> tuple[Request, int] | None:
    """The request at the beginning of `data` and its size in bytes; None while it is not whole.

    Raises ProtocolError for what is none.
    """
    if len(data) < 4:
        return None
    length = u32(data, 0)
    if length < 8 or length > MAX_STARTUP:
        raise ProtocolError(f"invalid length of startup packet (got {length}, expected 8 to {MAX_STARTUP})")
    if len(data) < length:
        return None
    return _read(u32(data, 4), data[8:length]), length


def _read(code: int, body: bytes) -> Request:
    if code in (_SSL, _GSS):
        if body:
            raise ProtocolError(f"invalid encryption request (got {len(body)} bytes more than expected)")
        return TlsRequest() if code == _SSL else GssRequest()
    if code == _CANCEL:
        if not 8 <= len(body) <= 260:
            raise ProtocolError(f"invalid length of cancel request (got a key of {len(body)} bytes)")
        return CancelRequest(body)
    if code >> 16 != _MAJOR:
        raise ProtocolError(
            f"unsupported frontend protocol {code >> 16}.{code & 0xFFFF}: "
            f"server supports {_MAJOR}.0 to {_MAJOR}.{NEWEST_MINOR}",
            "0A000",
        )
    return StartupMessage(code & 0xFFFF, _parameters(body))


def _parameters(body: bytes) -> tuple[tuple[str, str], ...]:
    words = body.split(b"\0")
    if len(words) < 2 or words[-1] != b"" or words[-2] != b"" or len(words) % 2 != 0:
        raise ProtocolError("invalid startup packet layout: expected terminator as last byte")
    if b"" in words[0:-2:2]:
        raise ProtocolError("invalid startup packet layout: empty parameter name")
    decoded = [word.decode("utf-8", "replace") for word in words[:-2]]
    return tuple((decoded[at], decoded[at + 1]) for at in range(0, len(decoded), 2))


def negotiation(startup: StartupMessage) -> bytes:
    """The NegotiateProtocolVersion that the client needs to read first; empty when it asked for what there is."""
    unknown = [name for name, _ in startup.parameters if name.startswith(_PROTOCOL_OPTION)]
    if startup.minor <= NEWEST_MINOR and not unknown:
        return b""
    body = ((_MAJOR << 16) | min(startup.minor, NEWEST_MINOR)).to_bytes(4, "big") + len(unknown).to_bytes(4, "big")
    return message(NEGOTIATE_VERSION, body + b"".join(text(name) for name in unknown))


@dataclass(frozen=True)
class Wish:
    """What a client asks for in its startup message, its own part and the server's told apart."""

    user: str
    resource: str
    run: str | None
    on_behalf_of: str | None
    client_name: str
    parameters: tuple[tuple[str, str], ...]
    """What the server is to be told as well."""


def wish(startup: StartupMessage) -> Wish:
    """Raises ProtocolError for a client that names no user or wants to replicate."""
    user = startup.get("user") or ""
    resource = startup.get("database") or user
    replication = (startup.get("replication") or "false").lower()
    if replication not in ("false", "off", "no", "0", "f", "n"):
        raise ProtocolError(
            "replication connections do not pass hoopctl: what they stream could not be masked", "0A000"
        )
    if not resource:
        raise ProtocolError("no resource named in startup packet (expected its name as the database)", "28000")
    own, options = divide_options(startup.get("options") or "")
    passed = [
        (name, value)
        for name, value in startup.parameters
        if name not in _NOT_PASSED and not name.startswith(_PROTOCOL_OPTION)
    ]
    for name, value in startup.parameters:
        if name in _OWN_SETTINGS:
            own[name] = value
    if options:
        passed.append(("options", options))
    return Wish(
        user,
        resource,
        own.get("hoop.run"),
        own.get("hoop.on_behalf_of"),
        startup.get("application_name") or "",
        tuple(passed),
    )


def divide_options(options: str) -> tuple[dict[str, str], str]:
    """hoopctl's own settings in the command-line options of a startup message, and the options without them.

    As PostgreSQL reads them (pg_split_opts): words between white space, a backslash takes the next character as it is;
    `-c name=value`, `-cname=value` and `--name=value` set.
    """
    words = _split(options)
    own: dict[str, str] = {}
    kept: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        taken = 1
        setting = ""
        if word == "-c" and at + 1 < len(words):
            setting, taken = words[at + 1], 2
        elif word.startswith("-c") or word.startswith("--"):
            setting = word[2:]
        name, _, value = setting.partition("=")
        name = name.strip().lower().replace("-", "_")
        if name in _OWN_SETTINGS:
            own[name] = value
        else:
            kept.extend(words[at : at + taken])
        at += taken
    return own, " ".join(_escaped(word) for word in kept)


def _split(options: str) -> list[str]:
    words: list[str] = []
    word = ""
    inside = False
    at = 0
    while at < len(options):
        char = options[at]
        if char.isspace() and char in " \t\n\r\f\v":
            if inside:
                words.append(word)
            word, inside = "", False
        else:
            if char == "\\" and at + 1 < len(options):
                at += 1
                char = options[at]
            word += char
            inside = True
        at += 1
    if inside:
        words.append(word)
    return words


def _escaped(word: str) -> str:
    return "".join("\\" + char if char in " \t\n\r\f\v\\" else char for char in word)
