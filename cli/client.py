"""How commands reach the agent: its control API, over the Unix-domain socket in the state directory."""

from __future__ import annotations

import http.client
import json
import os
import socket
import struct
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cli import context
from cli.errors import HoopError

SOCKET = "control.sock"

TIMEOUT = 30.0
"""Seconds for an answer: longer than the agent itself waits for a database that doesn't answer."""

MAX_PATH = 107
"""Bytes of a Unix-domain socket's path (unix(7))."""

LARGEST = 64 << 20
"""Bytes of an answer; the largest is a list of sessions, of a few hundred bytes each."""


class AgentAbsent(HoopError):
    """No agent answers on this machine for this state directory."""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connects to the socket, and makes sure that who listens there may be told a token."""
        if len(os.fsencode(self._path)) > MAX_PATH:
            # No agent can listen there either, and it says so when it is started.
            raise FileNotFoundError(self._path)
        found = socket.socket(socket.AF_UNIX)
        try:
            found.settimeout(self.timeout)
            found.connect(str(self._path))
            owners = {0, os.geteuid(), self._path.parent.stat().st_uid}
            if _uid(found) not in owners:
                raise HoopError(
                    f"{self._path} is answered by another user (got uid {_uid(found)})",
                    "check who may write in the state directory",
                )
        except BaseException:
            found.close()
            raise
        self.sock = found


def _uid(peer: socket.socket) -> int:
    # unix(7), SO_PEERCRED: pid, uid, gid.
    return int(struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))[1])


class Client:
    """Asks an agent. Every method raises HoopError, AgentAbsent when there is none."""

    def __init__(self, path: Path, token: str | None = None, timeout: float = TIMEOUT) -> None:
        self._path = path
        self._token = token
        self._timeout = timeout

    def get(self, *words: str) -> Any:
        """The answer to GET /v1/WORD/…"""
        return self.ask("GET", words)

    def post(self, *words: str, body: object = None, timeout: float | None = None) -> Any:
        """The answer to POST /v1/WORD/…; `timeout` seconds, for what takes its time."""
        return self.ask("POST", words, body, timeout)

    def delete(self, *words: str) -> Any:
        """The answer to DELETE /v1/WORD/…"""
        return self.ask("DELETE", words)

    def ask(self, method: str, words: tuple[str, ...], body: object = None, timeout: float | None = None) -> Any:
        """What the agent answers, decoded. Raises HoopError with the agent's own error and hint when it refuses."""
        path = "/".join(["/v1", *(quote(word, safe="", errors="surrogateescape") for word in words)])
        connection = _Connection(self._path, timeout or self._timeout)
        try:
            connection.request(method, path, json.dumps(body or {}), self._headers())
            response = connection.getresponse()
            status, raw = response.status, response.read(LARGEST + 1)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
            raise AgentAbsent(
                f"the agent isn't running (nobody answers at {self._path})", "start it: hoopctl agent"
            ) from error
        except PermissionError as error:
            raise HoopError(
                f"the agent's socket {self._path} is not yours to use", "run hoopctl as the agent's user"
            ) from error
        except TimeoutError as error:
            raise HoopError(
                f"the agent did not answer (expected within {connection.timeout:g} s)", "its log may say why"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise HoopError(f"the agent at {self._path} broke off ({error})", "its log may say why") from error
        finally:
            connection.close()
        return _checked(status, raw)

    def _headers(self) -> dict[str, str]:
        if self._token is None:
            return {}
        if not (self._token.isascii() and self._token.isprintable()):
            raise HoopError(
                "the token in $HOOPCTL_TOKEN is not one (it holds characters that no token has)",
                "copy it again, the whole line",
                status=2,
            )
        return {"Authorization": f"Bearer {self._token}"}


def _checked(status: int, raw: bytes) -> Any:
    try:
        answer = json.loads(raw) if len(raw) <= LARGEST else None
    except (ValueError, RecursionError):
        answer = None
    if status == 200 and answer is not None:
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        hint = answer.get("hint")
        raise HoopError(answer["error"], hint if isinstance(hint, str) else None)
    raise HoopError(
        f"the agent's answer can't be read (got status {status}, {len(raw)} bytes)", "is the agent of the same version?"
    )


def socket_path() -> Path:
    """The control socket of this invocation: `--agent unix:PATH`, else the one in the configured state directory."""
    agent = context.current().agent
    if agent is None:
        return context.state() / SOCKET
    if agent.startswith("unix:"):
        return Path(agent.removeprefix("unix:").removeprefix("//"))
    raise HoopError(
        f"reaching an agent over the network is not in this version (got {agent}, expected unix:PATH)",
        "run hoopctl on the agent's machine, without --agent and $HOOPCTL_AGENT",
        status=2,
    )


def client(timeout: float = TIMEOUT) -> Client:
    """A client for this invocation's agent, acting as $HOOPCTL_TOKEN if that is set, else as the user."""
    return Client(socket_path(), os.environ.get("HOOPCTL_TOKEN") or None, timeout)
