"""The report of a migration step: each site found, whether it was migrated, and if not, why."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

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
    """

    line: int
    what: str
    outcome: Outcome
    reason: str = ""
    todo: str = ""


@dataclass
class FileReport:
    """The result for one file.

    Attributes:
        path: The path of the file.
        before: Its original text.
        after: Its new text; the same as `before` if nothing changes.
        sites: The sites found in it, ordered by line.
        problem: Why it cannot be read or parsed; "" if there is no problem.
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
        "changed": sum(report.changed for report in reports),
        "unreadable": sum(bool(report.problem) for report in reports),
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
