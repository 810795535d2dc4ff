"""A session as JSON: one array, written as it is read.

Its elements: {"type": "session", …}, then for each statement {"type": "operation", …, "answer": […]}, and
{"type": "unasked", "answer": […]} for what the server said of its own accord. The elements of an answer have one key
each: columns, row, tag, suspended, error, notice, copy, copied, notification, value or unreadable.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TextIO, assert_never

from agent.core.pg.answers import (
    Columns,
    Completed,
    CopyBegun,
    CopyData,
    FunctionResult,
    Notification,
    Part,
    Report,
    Row,
    Suspended,
    Unreadable,
    guess_text,
)
from cli.replay_script import Asked, Began, Done, Left, Said, Scene
from cli.tables import plain

_INTERNAL = {"at", "end_at"}


def write_json(script: Iterable[Scene], out: TextIO) -> None:
    """Writes the session; no more than one message of an answer is held."""
    write = out.write
    write("[")
    separator = ""
    for scene in script:
        match scene:
            case Began(_, session):
                write("\n  " + _object("session", session) + "}")
            case Asked(_, operation):
                write(",\n  " + _object("operation", operation) + ', "answer": [')
                separator = "\n    "
            case Said(at, 0, said):
                unasked = ", ".join(_dump(part_as_json(part)) for part in said)
                write(f',\n  {{"type": "unasked", "at": {at}, "answer": [{unasked}]}}')
            case Said(_, _, said):
                for part in said:
                    write(separator + _dump(part_as_json(part)))
                    separator = ",\n    "
            case Done():
                write("]}")
            case Left():
                pass  # the session's own element tells when and why
            case _ as never:
                assert_never(never)
    write("\n]\n")


def _object(kind: str, fields: Any) -> str:
    known = {name: plain(value) for name, value in fields.items() if name not in _INTERNAL}
    return _dump({"type": kind, **known})[:-1]


def _dump(value: Any) -> str:
    # ASCII only: what goes to a terminal must not drive it.
    return json.dumps(value).replace("\x7f", "\\u007f")


def part_as_json(part: Part) -> dict[str, Any]:
    """A part of an answer as an object with one key."""
    match part:
        case Columns(columns):
            return {"columns": [{"name": c.name, "type_oid": c.type_oid, "format": c.format} for c in columns]}
        case Row(values):
            return {"row": list(values)}
        case Completed(tag):
            return {"tag": tag}
        case Suspended():
            return {"suspended": True}
        case Report(error, fields):
            return {"error" if error else "notice": fields}
        case CopyBegun(out, binary):
            return {"copy": {"out": out, "binary": binary}}
        case CopyData(data):
            return {"copied": guess_text(data)}
        case Notification(channel, payload, process):
            return {"notification": {"channel": channel, "payload": payload, "process": process}}
        case FunctionResult(value):
            return {"value": value}
        case Unreadable(size):
            return {"unreadable": size}
        case _ as never:
            assert_never(never)
