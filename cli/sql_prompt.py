"""The prompt of `hoopctl sql`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer

from agent.store.rows import TABLES
from cli.escape import escaped
from cli.sql_query import Query, QueryError

_LEAVE = {"\\q", "exit", "quit"}
_DESCRIBE = "\\d"
_WORD = re.compile(r"[\w.]+$")


def history_file() -> Path:
    """The user's file of what was typed here before, made for them alone if it isn't there."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = home / "hoopctl" / "sql_history"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    return path


class Words(Completer):
    """Completes the names of views and columns, then SQL's keywords; after `VIEW.` the columns of that view."""

    def __init__(self, keywords: Iterable[str]) -> None:
        columns = sorted({column for columns in TABLES.values() for column in columns})
        self._words = [*((view, "view") for view in TABLES), *((column, "column") for column in columns)]
        self._words += [(keyword, "") for keyword in keywords]

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """The words that begin as the one before the cursor."""
        found = _WORD.search(document.text_before_cursor)
        if found is None:
            return
        view, dot, word = found.group().lower().rpartition(".")
        words = [(column, view) for column in TABLES.get(view, ())] if dot else self._words
        for text, meta in words:
            if text.lower().startswith(word):
                yield Completion(text, start_position=-len(word), display_meta=meta)


def finished(text: str) -> bool:
    """Whether Enter ends what was typed rather than its line."""
    stripped = text.strip()
    return not stripped or stripped.endswith(";") or stripped in _LEAVE or stripped.startswith("\\")


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if finished(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return bindings


def converse(query: Query) -> None:
    """Asks for queries and answers them until the user leaves."""
    session: PromptSession[str] = PromptSession(
        history=FileHistory(str(history_file())),
        completer=Words(query.words()),
        complete_while_typing=False,
        lexer=PygmentsLexer.from_filename("query.sql"),
        multiline=True,
        key_bindings=_bindings(),
        prompt_continuation=lambda width, line, wrapped: "...> ".rjust(width),
    )
    print("a query ends with ; — \\d shows views and columns, \\q leaves", file=sys.stderr)
    while True:
        try:
            text = session.prompt("hoop> ").strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text.rstrip(";").lower() in _LEAVE:
            return
        answer(query, text)


def answer(query: Query, text: str) -> None:
    """Answers one query; an error is shown, and that is all."""
    if not text.strip(";"):
        return
    if text.rstrip(";") == _DESCRIBE:
        for view, columns in TABLES.items():
            print(f"{view}: {', '.join(columns)}")
        return
    try:
        query.refresh()
        query.run(text)
    except QueryError as error:
        print(f"error: {escaped(error.message, layout=True)}\nhint: {error.hint}", file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
