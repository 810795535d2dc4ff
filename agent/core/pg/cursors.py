"""Which columns the cursors of a session have in their rows."""

from __future__ import annotations

from typing import Final

from msgspec import structs

from agent.core.sql.found import Found, Output

MAX_CURSORS: Final = 1_024
"""Names that are remembered; then nothing is known of any."""


class Cursors:
    """What a name was declared for. It is never forgotten that it may have been something else: a DECLARE can fail, and
    a savepoint bring the former cursor back."""

    def __init__(self) -> None:
        self._outputs: dict[str, tuple[Output, ...] | None] = {}
        self._full = False

    def columns(self, name: str) -> tuple[str, ...]:
        """The columns in the rows of a cursor that SQL may have declared by this name; none if it hasn't."""
        if name not in self._outputs:
            return ("*",) if self._full else ()
        outputs = self._outputs[name]
        return ("*",) if outputs is None else _columns(outputs)

    def followed(self, found: Found, tag: str, veiled: bool = False) -> Found:
        """What was found of a statement, completed by what the cursor in it is for. `veiled`: the client has portals
        with masked rows, which code could fetch from."""
        name = found.cursor
        if not name:
            open_ = veiled or len(self._outputs) > 0
            return self._within_reach(found, veiled) if open_ and _may_fetch(found) else found
        if tag == "DECLARE CURSOR":
            self._declared(name, found.outputs)
            return found
        outputs = None if self._full else self._outputs.get(name)
        columns = ("*",) if outputs is None else _columns(outputs)
        return structs.replace(found, outputs=outputs, shown=(*found.shown, *columns))

    def _within_reach(self, found: Found, veiled: bool) -> Found:
        """Code can fetch from any cursor, and no statement shows that it does."""
        columns: dict[str, None] = {}
        for outputs in self._outputs.values():
            columns.update(dict.fromkeys(("*",) if outputs is None else _columns(outputs)))
        if self._full or veiled:
            columns["*"] = None
        return structs.replace(found, handed=(*found.handed, *columns), opaque=True)

    def _declared(self, name: str, outputs: tuple[Output, ...] | None) -> None:
        if name not in self._outputs:
            if len(self._outputs) >= MAX_CURSORS:
                self._full = True
                return
            self._outputs[name] = outputs
            return
        before = self._outputs[name]
        if before is None or outputs is None or len(before) != len(outputs):
            self._outputs[name] = None
        else:
            self._outputs[name] = tuple([_either(one, other) for one, other in zip(before, outputs, strict=True)])


def _may_fetch(found: Found) -> bool:
    return found.opaque or any(
        one.verb == "EXECUTE" and one.object.startswith("pg_catalog.cursor_to_xml") for one in found.operations
    )


def _columns(outputs: tuple[Output, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([source.column for output in outputs for source in output.sources]))


def _either(one: Output, other: Output) -> Output:
    if one == other:
        return one
    sources = (*one.sources, *[source for source in other.sources if source not in one.sources])
    return Output(one.name, sources, one.opaque or other.opaque, one.parameters or other.parameters)
