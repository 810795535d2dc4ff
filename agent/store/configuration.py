"""hoop.yaml, read and checked.

Every problem is told at once, with its line, its column and, for an unknown key, the nearest known one. Keys of parts
that this version doesn't have are checked for their form and named in `Configuration.later`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.store import upstream
from agent.store.document import LIMIT, Document, Problem, Value, located
from agent.store.secret import SecretError, resolve
from schemas.configuration import (
    Address,
    Audit,
    Configuration,
    Listen,
    PgResource,
    PgUpstream,
    Seal,
    Secret,
    Tls,
)

__all__ = ["ConfigurationError", "Problem", "SecretError", "described", "load", "read", "resolve"]

DEFAULT_LISTEN = Listen(pg=Address("127.0.0.1", 5439), control=Address("127.0.0.1", 8040))
"""Where the agent listens when hoop.yaml has no `listen`; when it has one, what is named there and nothing else."""

KEYS = ("version", "state", "policy", "listen", "tls", "resources", "identity", "audit", "approvals", "slack")
TYPES = ("pg", "http", "ssh")
LEAST_SEGMENT = 64 << 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class ConfigurationError(Exception):
    """hoop.yaml can't be used. `problems` are all that was found, in the order of the file."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: (problem.file, problem.line, problem.column))
        first = self.problems[0]
        self.message = (
            str(first)
            if len(problems) == 1
            else "\n".join([f"{len(problems)} problems in {first.file}", *map(str, self.problems)])
        )
        self.hint = f"correct {first.file}, line {first.line}; hoopctl doctor checks it again"
        super().__init__(self.message)


def load(path: Path) -> Configuration:
    """The configuration in this file, and that the policy it names can be acted on. Raises ConfigurationError."""
    file = path.absolute()
    document = Document(str(file))
    content = _content(document, file)
    configuration = read(document, content) if content is not None else None
    if configuration is None or document.problems:
        raise ConfigurationError(document.problems)
    return configuration


def described(configuration: Configuration) -> list[dict[str, object]]:
    """The resources as they are listed, without anything secret."""
    return [
        {
            "resource": f"pg/{resource.name}",
            "name": resource.name,
            "type": "pg",
            "upstream": f"{resource.upstream.host}:{resource.upstream.port}",
            "database": resource.upstream.database,
            "user": resource.upstream.user,
            "sslmode": resource.upstream.sslmode,
        }
        for resource in configuration.resources
    ]


def _content(document: Document, file: Path) -> bytes | None:
    try:
        with file.open("rb") as stream:
            return stream.read(LIMIT + 1)
    except OSError as error:
        document.problem(1, 1, "", f"the file can't be read ({(error.strerror or str(error)).lower()})")
        return None


def read(document: Document, content: bytes) -> Configuration | None:
    """The configuration that these bytes are; what is wrong with it is noted in the document. None when nothing can be
    made of it."""
    top = document.compose(content)
    if top is None:
        return None
    reading = _Reading(Path(document.file).parent)
    keys = top.mapping(KEYS, required=("version",))
    if "version" in keys:
        keys["version"].choice(("1",), "1")
    for name, check in _LATER.items():
        if name in keys:
            reading.later.append(name)
            check(keys[name])
    return Configuration(
        source=document.file,
        state=reading.path(keys.get("state"), "state"),
        listen=reading.listen(keys["listen"]) if "listen" in keys else DEFAULT_LISTEN,
        audit=reading.audit(keys.get("audit")),
        resources=reading.resources(keys["resources"]) if "resources" in keys else (),
        tls=reading.tls(keys["tls"]) if "tls" in keys else None,
        policy=reading.path(keys["policy"], "policy.yaml") if "policy" in keys else None,
        later=tuple(reading.later),
    )


@dataclass
class _Reading:
    """The part of reading that remembers: where relative paths begin, and what belongs to later versions."""

    directory: Path
    later: list[str] = field(default_factory=list)

    def path(self, value: Value | None, fallback: str) -> str:
        written = value.text(fallback) if value is not None else fallback
        return located(written, self.directory)

    def listen(self, value: Value) -> Listen:
        keys = value.mapping(("pg", "http", "ssh", "control"))
        found = {name: _address(keys[name]) for name in keys}
        self.later += [keys[name].key for name in ("http", "ssh") if found.get(name) is not None]
        return Listen(**found)

    def tls(self, value: Value) -> Tls | None:
        keys = value.mapping(("certificate", "key"), required=("certificate", "key"))
        if len(keys) < 2:
            return None
        return Tls(certificate=self.path(keys["certificate"], ""), key=self.path(keys["key"], ""))

    def audit(self, value: Value | None) -> Audit:
        keys = value.mapping(("path", "durability", "responses", "seal", "originals", "retention")) if value else {}
        default = Audit(path="")
        path = keys.get("path")
        if path is not None and "://" in path.written:
            path.problem(f"object storage is not in this version (got {path.written}, expected a directory)")
        if "originals" in keys:
            recipients = keys["originals"].mapping(("recipients",), required=("recipients",))
            if "recipients" in recipients:
                _texts(recipients["recipients"])
        if "retention" in keys:
            keys["retention"].duration(0, least=1)
        self.later += [keys[name].key for name in ("originals", "retention") if name in keys]
        durability = keys.get("durability")
        responses = keys.get("responses")
        return Audit(
            path=self.path(path, "audit"),
            durability=durability.choice(("strict", "group"), "strict") if durability else default.durability,
            responses=responses.size(default.responses) if responses else default.responses,
            seal=_seal(keys["seal"]) if "seal" in keys else default.seal,
        )

    def resources(self, value: Value) -> tuple[PgResource, ...]:
        found: list[PgResource] = []
        seen: set[tuple[str, str]] = set()
        for item in value.items():
            kind = _kind(item)
            resource = self.pg(item) if kind == "pg" else None
            if kind in ("http", "ssh"):
                self.other(item, kind)
            name = _name(item)
            if kind is not None and name and (kind, name) in seen:
                item.problem(f"the resource {kind}/{name} stands here twice")
            elif kind is not None:
                seen.add((kind, name))
            if resource is not None:
                found.append(resource)
        return tuple(found)

    def pg(self, item: Value) -> PgResource | None:
        keys = item.mapping(("name", "type", "upstream", "password"), required=("name", "upstream"))
        password = _secret(keys["password"], self.directory) if "password" in keys else None
        if "name" in keys:
            _check_name(keys["name"])
        server = self.server(keys["upstream"]) if "upstream" in keys else None
        if server is None or "name" not in keys:
            return None
        return PgResource(name=keys["name"].written, upstream=server, password=password)

    def server(self, value: Value) -> PgUpstream | None:
        try:
            # A URI that is refused isn't repeated: it may hold a password.
            return upstream.parse(value.written if value.is_scalar() else "", self.directory)
        except upstream.UpstreamError as error:
            value.problem(str(error))
            return None

    def other(self, item: Value, kind: str) -> None:
        secrets = {"http": ("headers",), "ssh": ("key", "password")}[kind]
        known = ("name", "type", "upstream", *secrets, *(("host_key",) if kind == "ssh" else ()))
        keys = item.mapping(known, required=("name", "upstream"))
        for name in ("name", "upstream", "host_key"):
            if name in keys:
                keys[name].text()
        for secret in [*keys["headers"].mapping(None).values()] if "headers" in keys else []:
            _secret(secret, self.directory)
        for name in ("key", "password"):
            if name in keys:
                _secret(keys[name], self.directory)
        if "name" in keys:
            _check_name(keys["name"])
            self.later.append(f"resources.{kind}/{keys['name'].written}")


def _address(value: Value) -> Address | None:
    if value.is_scalar() and value.written in ("off", "none"):
        return None
    address = value.address()
    return Address(*address) if address else None


def _seal(value: Value) -> Seal:
    keys = value.mapping(("every", "size"))
    default = Seal()
    return Seal(
        every=keys["every"].duration(default.every, least=1) if "every" in keys else default.every,
        size=keys["size"].size(default.size, least=LEAST_SEGMENT) if "size" in keys else default.size,
    )


def _quiet(item: Value) -> dict[str, Value]:
    # The keys without noting problems: who needs the kind first reads the item's keys again, by that kind.
    return Value(Document(item.document.file), item.node, item.key).mapping(None)


def _kind(item: Value) -> str | None:
    keys = _quiet(item)
    if "type" not in keys:
        if keys or not item.is_scalar():
            item.problem(f"the key type is missing (expected one of {', '.join(TYPES)})")
        else:
            item.mapping(("name", "type", "upstream"))
        return None
    kind = keys["type"].written
    if kind in TYPES:
        return kind
    Value(item.document, keys["type"].node, keys["type"].key).choice(TYPES, "")
    return None


def _name(item: Value) -> str:
    keys = _quiet(item)
    return keys["name"].written if "name" in keys else ""


def _check_name(value: Value) -> None:
    if not _NAME.fullmatch(value.text("x")):
        value.problem(f"this is not a resource's name (got {value.written}, expected letters, digits, _ . -)")


def _texts(value: Value) -> tuple[str, ...]:
    return tuple(item.text() for item in value.items())


def _secret(value: Value, directory: Path) -> Secret | None:
    if value.is_scalar():
        # What is written here may be the secret: it is not repeated.
        value.problem(
            "a secret is never written in the file itself (expected {env: NAME}, {file: PATH} or {command: [WORD, …]})"
        )
        return None
    keys = value.mapping(("env", "file", "command"))
    if len(keys) != 1:
        value.problem(f"a secret has one source (got {len(keys)}, expected one of env, file, command)")
        return None
    ((source, where),) = keys.items()
    if source == "command":
        words = _texts(where)
        if not words:
            where.problem("the command is empty (expected [WORD, …])")
            return None
        return Secret(command=words)
    if source == "file":
        return Secret(file=located(where.text(), directory))
    return Secret(env=where.text())


def _identity(value: Value) -> None:
    keys = value.mapping(("oidc", "ldap", "saml"))
    for issuer in keys["oidc"].items() if "oidc" in keys else []:
        _all_text(issuer, ("issuer", "audience", "groups_claim", "client_id", "subject_claim"), ("issuer", "audience"))
    if "ldap" in keys:
        _all_text(keys["ldap"], ("url", "users", "groups"), ("url", "users"))
    if "saml" in keys:
        _all_text(keys["saml"], ("metadata",), ("metadata",))


def _approvals(value: Value) -> None:
    keys = value.mapping(("expire",))
    if "expire" in keys:
        keys["expire"].duration(0, least=1)


def _slack(value: Value) -> None:
    keys = value.mapping(("app_token", "bot_token", "channel"))
    for name in ("app_token", "bot_token"):
        if name in keys:
            _secret(keys[name], Path(value.document.file).parent)
    if "channel" in keys:
        keys["channel"].text()


def _all_text(value: Value, known: tuple[str, ...], required: tuple[str, ...]) -> None:
    for item in value.mapping(known, required).values():
        item.text()


_LATER: Mapping[str, Callable[[Value], None]] = {"identity": _identity, "approvals": _approvals, "slack": _slack}
