"""hoop.yaml: what is accepted, and that every problem is told at once, where it is."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.store.configuration import ConfigurationError, load, read
from agent.store.document import LIMIT, Document
from schemas.configuration import Address, Configuration, PgUpstream, Secret

WHOLE = """\
version: 1
state: ./state                         # keys, journal, control data
policy: ./policy.yaml
listen:
  pg: 127.0.0.1:5439
  http: 127.0.0.1:8039
  ssh: 127.0.0.1:2239
  control: 127.0.0.1:8040              # API, console
tls: {certificate: tls/agent.pem, key: /etc/hoopctl/agent.key}
resources:
  - name: prod
    type: pg
    upstream: postgresql://app@db.internal:5432/app?sslmode=verify-full
    password: {env: PROD_PASSWORD}
  - name: billing
    type: http
    upstream: https://billing.internal
    headers: {Authorization: {env: BILLING_TOKEN}}
  - name: web1
    type: ssh
    upstream: ssh://deploy@web1.internal:22
    key: {file: /etc/hoopctl/web1}
    host_key: ssh-ed25519 AAAAC3Nza
identity:
  oidc:
    - issuer: https://login.example.com
      audience: hoopctl
      groups_claim: groups
  ldap: {url: ldaps://ldap.example.com, users: "ou=people,dc=example", groups: "ou=groups,dc=example"}
  saml: {metadata: https://idp.example.com/metadata}
audit:
  path: ./audit
  durability: strict
  responses: 64MB
  seal: {every: 60s, size: 64MB}
  originals: {recipients: [age1qqq]}
  retention: 400d
approvals: {expire: 15m}
slack: {app_token: {env: A}, bot_token: {env: B}, channel: "#approvals"}
"""


def write(directory: Path, text: str) -> Path:
    file = directory / "hoop.yaml"
    file.write_text(textwrap.dedent(text))
    return file


def problems(directory: Path, text: str) -> list[str]:
    """What load says about this text, one string a problem, without the directory."""
    with pytest.raises(ConfigurationError) as caught:
        load(write(directory, text))
    return [str(problem).replace(f"{directory}/", "") for problem in caught.value.problems]


def of(directory: Path, text: str) -> Configuration:
    return load(write(directory, "version: 1\n" + textwrap.dedent(text)))


def test_whole_contract(tmp_path: Path) -> None:
    """The hoop.yaml of the contract is accepted whole; what this version doesn't act on is named."""
    (tmp_path / "policy.yaml").write_text("version: 1\nrules: []\n")
    configuration = load(write(tmp_path, WHOLE))
    (resource,) = configuration.resources
    assert resource.name == "prod"
    assert resource.password == Secret(env="PROD_PASSWORD")
    assert resource.upstream == PgUpstream("db.internal", 5432, "app", "app", sslmode="verify-full")
    assert configuration.state == str(tmp_path / "state")
    assert configuration.tls is not None
    assert configuration.tls.certificate == str(tmp_path / "tls/agent.pem")
    assert configuration.tls.key == "/etc/hoopctl/agent.key"
    assert configuration.audit.seal.every == 60
    assert configuration.audit.responses == 64 * 1024 * 1024
    assert configuration.listen.pg == Address("127.0.0.1", 5439)
    assert set(configuration.later) == {
        "identity",
        "approvals",
        "slack",
        "listen.http",
        "listen.ssh",
        "audit.originals",
        "audit.retention",
        "resources.http/billing",
        "resources.ssh/web1",
    }


def test_defaults(tmp_path: Path) -> None:
    """`version: 1` is a whole configuration: loopback, strict, everything beside the file."""
    configuration = of(tmp_path, "")
    assert configuration.listen.pg == Address("127.0.0.1", 5439)
    assert configuration.audit.path == str(tmp_path / "audit")
    assert configuration.audit.durability == "strict"
    assert configuration.source == str(tmp_path / "hoop.yaml")
    assert configuration.later == ()


def test_listen_is_exactly_what_is_named(tmp_path: Path) -> None:
    """A `listen` that names one listener opens no other; `off` closes one; IPv6 stands in brackets."""
    listen = of(tmp_path, "listen: {pg: '[::1]:0', control: off}").listen
    assert listen.pg == Address("::1", 0)
    assert listen.control is None


def test_every_problem_at_once(tmp_path: Path) -> None:
    """All problems are told in one go, in the order of the file, with line, column, key and the nearest known key."""
    assert problems(
        tmp_path,
        """\
        version: 1
        sate: ./state
        audit:
          durabilty: strict
          responses: 64 megs
          seal: {every: 60, size: 1B}
        listen: {pg: 5439}
        resources:
          - name: a b
            type: pgg
          - type: pg
            upstream: postgresql://db/app?sslmod=require
        """,
    ) == [
        "hoop.yaml:2:1: sate: unknown key (got sate, did you mean state?)",
        "hoop.yaml:4:3: audit.durabilty: unknown key (got durabilty, did you mean durability?)",
        "hoop.yaml:5:14: audit.responses: this should be a size (got 64 megs, expected one such as 64MB)",
        "hoop.yaml:6:17: audit.seal.every: this should be a time (got 60, expected one such as 60s, 15m or 90d)",
        "hoop.yaml:6:27: audit.seal.size: the size is out of range (got 1B, expected at least 65536 bytes)",
        "hoop.yaml:7:14: listen.pg: this should be an address (got 5439, expected HOST:PORT such as 127.0.0.1:5439)",
        "hoop.yaml:10:11: resources[0].type: unknown value (got pgg, did you mean pg?)",
        "hoop.yaml:11:5: resources[1]: the key name is missing",
        "hoop.yaml:12:15: resources[1].upstream: unknown parameter in the upstream (got sslmod, did you mean sslmode?)",
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", "hoop.yaml:1:1: the file is empty"),
        ("state: x\n", "hoop.yaml:1:1: the key version is missing"),
        ("version: 2\n", "hoop.yaml:1:10: version: unknown value (got 2, expected one of 1)"),
        ("- a\n", "hoop.yaml:1:1: this should be a mapping (got a list, expected keys such as version"),
        ("version: 1\nversion: 1\n", "hoop.yaml:2:1: version: this key stands here twice"),
        ("version: 1\nstate: [\n", "hoop.yaml:3:1: this is not YAML"),
        ("version: 1\n? [a]\n: b\n", "hoop.yaml:2:3: a key should be a word"),
        ("version: 1\n---\nversion: 1\n", "hoop.yaml:2:1: this is not YAML"),
        ('version: 1\nstate: "a\\x1b[2J"\n', "hoop.yaml:2:8: state: control characters don't belong here"),
        ("version: 1\nst\\x1b: 1\n", "hoop.yaml:2:1: st\\x1b: unknown key"),
        (
            "version: 1\naudit: {path: 's3://b/p'}\n",
            "hoop.yaml:2:15: audit.path: object storage is not in this version",
        ),
        (
            "version: 1\nresources: [{name: a, type: pg, upstream: 'postgresql://u@h'}, "
            "{name: a, type: pg, upstream: 'postgresql://u@h'}]\n",
            "the resource pg/a stands here twice",
        ),
    ],
)
def test_problem(tmp_path: Path, text: str, expected: str) -> None:
    """Each kind of mistake is told where it stands."""
    assert any(expected in problem for problem in problems(tmp_path, text)), problems(tmp_path, text)


@pytest.mark.parametrize(
    "line",
    [
        "password: hunter2",
        "password: {env: A, file: hunter2}",
        "upstream: postgresql://u:hunter2@h/d",
        "upstream: postgresql://u@h/d?password=hunter2",
        "upstream: 'postgresql://u:hunter2@h/d\x7f'",
        "upstream: 'u:hunter2@h'",
    ],
)
def test_secret_in_the_file(tmp_path: Path, line: str) -> None:
    """A secret written in the file is refused, and the error doesn't repeat it."""
    upstream = "" if "upstream" in line else "upstream: 'postgresql://u@h/d', "
    found = problems(tmp_path, f"version: 1\nresources:\n  - {{name: a, type: pg, {upstream}{line}}}\n")
    assert found
    assert "hunter2" not in "".join(found)


def test_missing_file(tmp_path: Path) -> None:
    """A file that can't be read is a configuration error that names it."""
    with pytest.raises(ConfigurationError, match=r"none\.yaml.*no such file"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 200_000,
        b"a: " + b"{a: " * 5_000,
        b"x" * (LIMIT + 1),
        b"\xff\xfe",
        b"version: 1\nstate: \x00\n",
        b"a: &a [*a, *a]\n",
        b"a: &a\n  <<: *a\n",
        b"a: &a [1,1]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\nresources: [*c,*c,*c]\n",
        b"version: 1\nstate: ~nobody-of-that-name/x\npolicy: ''\n",
        b"version: 1\nresources: &r [{resources: *r}]\n",
    ],
)
def test_hostile_files(content: bytes) -> None:
    """Deep, large, self-referring and undecodable files give problems, never another exception."""
    document = Document("hoop.yaml")
    read(document, content)
    assert document.problems


@given(st.binary(max_size=60) | st.text(alphabet="version: 1\n[]{}&*!|>-#'\"\\%@ab?,", max_size=60).map(str.encode))
def test_any_bytes(content: bytes) -> None:
    """Any bytes give a configuration or problems."""
    document = Document("hoop.yaml")
    configuration = read(document, b"version: 1\n" + content)
    assert configuration is not None or document.problems


@pytest.mark.parametrize(
    "uri, expected",
    [
        ("postgresql://app@db:6432/shop?sslmode=require", PgUpstream("db", 6432, "app", "shop", sslmode="require")),
        ("postgres://app@[::1]", PgUpstream("::1", 5432, "app", "app")),
        ("postgresql://app@/shop?host=/var/run/postgresql", PgUpstream("/var/run/postgresql", 5432, "app", "shop")),
        ("postgresql://app@%2Ftmp/shop", PgUpstream("/tmp", 5432, "app", "shop")),
        (
            "postgresql://a%40b@h/s%20p?sslrootcert=system&sslcert=c.pem",
            PgUpstream("h", 5432, "a@b", "s p", sslrootcert="system", sslcert="DIR/c.pem"),
        ),
        (
            "postgresql:///d?user=u&connect_timeout=3&channel_binding=require",
            PgUpstream("localhost", 5432, "u", "d", connect_timeout=3.0, channel_binding="require"),
        ),
    ],
)
def test_upstream(tmp_path: Path, uri: str, expected: PgUpstream) -> None:
    """A connection URI is read as libpq reads it."""
    (resource,) = of(tmp_path, f"resources: [{{name: a, type: pg, upstream: '{uri}'}}]").resources
    found = resource.upstream
    assert found == expected or (found.sslcert == f"{tmp_path}/c.pem" and found.user == expected.user)


@pytest.mark.parametrize(
    "uri",
    [
        "mysql://u@h",
        "postgresql://h/d",
        "postgresql://u@a,b/d",
        "postgresql://u@h:0/d",
        "postgresql://u@h:99999",
        "postgresql://u@h?sslmode=on",
        "postgresql://u@h?sslmode",
        "postgresql://u@h?a=%00",
        "postgresql://u@h%00",
    ],
)
def test_upstream_refused(tmp_path: Path, uri: str) -> None:
    """What can't be an upstream is refused at its place."""
    (found,) = problems(tmp_path, f"version: 1\nresources: [{{name: a, type: pg, upstream: '{uri}'}}]")
    assert found.startswith("hoop.yaml:2:43: resources[0].upstream: ")


def test_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths are relative to the file, wherever hoopctl is called from."""
    monkeypatch.chdir("/")
    write(tmp_path, "version: 1\nstate: ../s\n")
    relative = Path(os.path.relpath(tmp_path / "hoop.yaml", "/"))
    assert load(relative).state == str(tmp_path.parent / "s")
