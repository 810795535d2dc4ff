"""What the sessions of a resource have to know of one another."""

from __future__ import annotations


class Catalog:
    """A resource's catalog, as far as all of its sessions have to know: `changes` counts what they did to it."""

    def __init__(self) -> None:
        self.changes = 0
