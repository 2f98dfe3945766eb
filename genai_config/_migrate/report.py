"""The report of a migration step: each site found, whether it was migrated, and if not, why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Outcome = Literal["migrated", "unchanged", "note"]


@dataclass(frozen=True, order=True)
class Site:
    """One use of the old SDK in a file.

    Attributes:
        line: The line, from 1.
        what: What is used there, such as "GenerativeModel".
        outcome: "migrated", "unchanged", or "note": migrated, but needs a review.
        reason: Why it is unchanged, or what behaves differently; "" if there is nothing to say.
        todo: What to do by hand; "" if there is nothing to do.
        depends_on: The line that it stays unchanged with; 0 if the reason is its own.
    """

    line: int
    what: str
    outcome: Outcome
    reason: str = ""
    todo: str = ""
    depends_on: int = 0

    @property
    def cause(self) -> str:
        """The reason, without the line that it depends on."""
        return self.reason.removeprefix(depends(self.depends_on, ""))


def depends(line: int, reason: str) -> str:
    """The reason of a site that stays unchanged with a line."""
    return f"it depends on line {line}: {reason}"


class Entry(NamedTuple):
    """The sites of a file with one reason, as they are shown to people.

    Attributes:
        site: The first site.
        same: The other sites with the same reason.
        dependent: The sites on other lines that stay unchanged with one of these.
    """

    site: Site
    same: tuple[Site, ...]
    dependent: tuple[Site, ...]


def entries(sites: Iterable[Site]) -> list[Entry]:
    """The sites that people have to look at, one entry for each reason."""
    groups: dict[tuple[str, str, str], list[Site]] = {}
    for site in sites:
        if site.outcome != "migrated":
            groups.setdefault((site.outcome, site.cause, site.todo), []).append(site)
    found = []
    for group in groups.values():
        own = [site for site in group if not site.depends_on] or group[:1]
        lines = {site.line for site in own}
        dependent = (site for site in group if site.line not in lines)
        found.append(Entry(own[0], tuple(own[1:]), tuple(dependent)))
    return found


@dataclass
class FileReport:
    """The result for one file.

    Attributes:
        path: The path of the file.
        before: Its original text.
        after: Its new text; the same as `before` if nothing changes.
        sites: The sites found in it, ordered by line.
        problem: Why it cannot be read, parsed, or written; "" if there is no problem.
    """

    path: str
    before: str = ""
    after: str = ""
    sites: list[Site] = field(default_factory=list)
    problem: str = ""

    @property
    def changed(self) -> bool:
        """Whether the text of the file changes."""
        return self.before != self.after


def counts(reports: Iterable[FileReport]) -> dict[str, int]:
    """Counts the sites that were found, migrated and left unchanged, and the files that change."""
    reports = list(reports)
    sites = [site for report in reports for site in report.sites]
    moved = sum(site.outcome == "migrated" for site in sites)
    left = sum(site.outcome == "unchanged" for site in sites)
    return {
        "files": len(reports),
        "changed": sum(report.changed and not report.problem for report in reports),
        "unreadable": sum(bool(report.problem) and not report.changed for report in reports),
        "unwritten": sum(bool(report.problem) and report.changed for report in reports),
        "found": moved + left,
        "migrated": moved,
        "unchanged": left,
    }


def as_data(reports: Iterable[FileReport]) -> dict[str, Any]:
    """The whole report as JSON-compatible data."""
    reports = list(reports)
    return {
        **counts(reports),
        "reports": [
            {
                "path": report.path,
                "changed": report.changed,
                "problem": report.problem,
                "sites": [asdict(site) for site in report.sites],
            }
            for report in reports
        ],
    }
