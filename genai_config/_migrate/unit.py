"""Units of migration: a model with its chats, responses, files and settings, all or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_config._migrate.report import Site, depends

if TYPE_CHECKING:
    from collections.abc import Callable

    import libcst as cst

    from genai_config._migrate.source import Source


class BlockedError(Exception):
    """Something cannot be migrated with certainty.

    Attributes:
        reason: Why it cannot.
        todo: What to do by hand.
    """

    def __init__(self, reason: str, todo: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.todo = todo


class Unit:
    """Edits that are applied together or not at all; units that share code are merged.

    Attributes:
        into: The unit that this one was merged into; None if it was not merged.
        edits: The nodes to change, each with its change.
        sites: The sites that it covers, each with what blocks it there; None if nothing does.
        notes: What to review if it is migrated.
        imports: The names that the changed code imports, such as "types".
    """

    def __init__(self) -> None:
        self.into: Unit | None = None
        self.edits: list[tuple[cst.CSTNode, Callable[[Any], Any]]] = []
        self.sites: dict[tuple[int, str], BlockedError | None] = {}
        self.notes: list[Site] = []
        self.imports: set[str] = set()

    @property
    def root(self) -> Unit:
        """The unit that this one was finally merged into; itself if it was not merged."""
        unit = self
        while unit.into is not None:
            unit = unit.into
        return unit

    def join(self, other: Unit) -> None:
        """Merges another unit into this one."""
        mine, theirs = self.root, other.root
        if mine is not theirs:
            theirs.into = mine
            mine.edits += theirs.edits
            mine.notes += theirs.notes
            mine.imports |= theirs.imports
            for site, blocker in theirs.sites.items():
                mine.sites[site] = mine.sites.get(site) or blocker

    def edit(self, node: cst.CSTNode, change: Callable[[Any], Any]) -> None:
        """Adds a change to a node."""
        self.root.edits.append((node, change))

    def cover(self, node: cst.CSTNode) -> None:
        """Marks a node as replaced by the change of an enclosing node."""
        self.edit(node, lambda updated: updated)

    def need(self, name: str) -> None:
        """Adds an import of the changed code: "google_genai", "types", "errors" or "os"."""
        self.root.imports.add(name)

    def site(self, line: int, what: str) -> None:
        """Adds a site that this unit covers."""
        self.root.sites.setdefault((line, what), None)

    def note(self, line: int, what: str, reason: str, todo: str) -> None:
        """Adds something to review if the unit is migrated."""
        self.root.notes.append(Site(line, what, "note", reason, todo))

    def block(self, line: int, what: str, error: BlockedError) -> None:
        """Leaves the whole unit unchanged, for a reason."""
        self.root.sites[line, what] = self.root.sites.get((line, what)) or error

    @property
    def cause(self) -> tuple[int, BlockedError] | None:
        """What leaves the whole unit unchanged, with its line; None if nothing does."""
        sites = self.root.sites.items()
        return next(((line, error) for (line, _), error in sites if error), None)

    def commit(self, source: Source) -> tuple[list[Site], set[str]]:
        """Applies the edits unless something blocks them; returns the sites and the imports."""
        sites, cause = self.sites, self.cause
        if cause is None:
            for node, change in self.edits:
                source.edits.add(node, change)
            moved = [Site(line, what, "migrated") for line, what in sites]
            return moved + self.notes, self.imports
        return [
            Site(line, what, "unchanged", error.reason, error.todo)
            if error
            else dependent(line, what, *cause)
            for (line, what), error in sites.items()
        ], set()


def dependent(line: int, what: str, at: int, cause: BlockedError) -> Site:
    """A site that stays unchanged because another line does."""
    return Site(line, what, "unchanged", depends(at, cause.reason), cause.todo, depends_on=at)
