"""What moves together: a model with its chats, answers, files and settings, or nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_config._migrate.report import Site

if TYPE_CHECKING:
    from collections.abc import Callable

    import libcst as cst

    from genai_config._migrate.source import Source


class BlockedError(Exception):
    """Something cannot be moved without a guess.

    Attributes:
        reason: Why.
        todo: What to do by hand.
    """

    def __init__(self, reason: str, todo: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.todo = todo


class Unit:
    """Edits that are made all together, or not at all; units that touch become one.

    Attributes:
        into: The unit that this one was joined to; None: it stands for itself.
        edits: The changes, each of a node.
        sites: The places that it moves, each with what blocks it there.
        notes: What to look at, if it is moved.
        imports: What the changed code imports, as "types".
    """

    def __init__(self) -> None:
        self.into: Unit | None = None
        self.edits: list[tuple[cst.CSTNode, Callable[[Any], Any]]] = []
        self.sites: dict[tuple[int, str], BlockedError | None] = {}
        self.notes: list[Site] = []
        self.imports: set[str] = set()

    @property
    def root(self) -> Unit:
        """The unit that this one has become part of."""
        unit = self
        while unit.into is not None:
            unit = unit.into
        return unit

    def join(self, other: Unit) -> None:
        """Makes one unit of two."""
        mine, theirs = self.root, other.root
        if mine is not theirs:
            theirs.into = mine
            mine.edits += theirs.edits
            mine.notes += theirs.notes
            mine.imports |= theirs.imports
            for site, blocker in theirs.sites.items():
                mine.sites[site] = mine.sites.get(site) or blocker

    def edit(self, node: cst.CSTNode, change: Callable[[Any], Any]) -> None:
        """Adds a change of a node."""
        self.root.edits.append((node, change))

    def cover(self, node: cst.CSTNode) -> None:
        """Says that a node is replaced together with what it is in."""
        self.edit(node, lambda updated: updated)

    def need(self, name: str) -> None:
        """Adds something that the changed code imports: "google_genai", "types" or "errors"."""
        self.root.imports.add(name)

    def site(self, line: int, what: str) -> None:
        """Adds a place that this unit moves."""
        self.root.sites.setdefault((line, what), None)

    def note(self, line: int, what: str, reason: str, todo: str) -> None:
        """Adds what to look at, if the unit is moved."""
        self.root.notes.append(Site(line, what, "note", reason, todo))

    def block(self, line: int, what: str, error: BlockedError) -> None:
        """Keeps the unit as it is, for a reason."""
        self.root.sites[line, what] = self.root.sites.get((line, what)) or error

    def commit(self, source: Source) -> tuple[list[Site], set[str]]:
        """Makes the edits, unless something blocks them; says what came of each site."""
        sites = self.sites
        first = next(((site, error) for site, error in sites.items() if error), None)
        if first is None:
            for node, change in self.edits:
                source.edits.add(node, change)
            moved = [Site(line, what, "moved") for line, what in sites]
            return moved + self.notes, self.imports
        (at, _), cause = first
        return [
            Site(line, what, "left", error.reason, error.todo)
            if error
            else Site(line, what, "left", f"it stays with line {at}: {cause.reason}", cause.todo)
            for (line, what), error in sites.items()
        ], set()
