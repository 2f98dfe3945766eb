"""What a step found in a file: each site, whether it was moved, and why not."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Outcome = Literal["moved", "left", "note"]


@dataclass(frozen=True, order=True)
class Site:
    """One place in a file that uses the old SDK.

    Attributes:
        line: The line, from 1.
        what: What is used there, such as "GenerativeModel".
        outcome: "moved", "left" as it was, or "note": moved, and worth a look.
        reason: Why it was left, or what differs; "" if it was moved.
        todo: What to do by hand; "" if it was moved.
    """

    line: int
    what: str
    outcome: Outcome
    reason: str = ""
    todo: str = ""


@dataclass
class FileReport:
    """What came of one file.

    Attributes:
        path: The file.
        before: Its text.
        after: Its new text; the same if nothing is to change.
        sites: What was found in it, by line.
        problem: Why it could not be read; "" if it could.
    """

    path: str
    before: str = ""
    after: str = ""
    sites: list[Site] = field(default_factory=list)
    problem: str = ""

    @property
    def changed(self) -> bool:
        """Whether the file is to be written."""
        return self.before != self.after


def counts(reports: Iterable[FileReport]) -> dict[str, int]:
    """How many sites were found, moved and left, and how many files change."""
    reports = list(reports)
    sites = [site for report in reports for site in report.sites]
    moved = sum(site.outcome == "moved" for site in sites)
    left = sum(site.outcome == "left" for site in sites)
    return {
        "files": len(reports),
        "changed": sum(report.changed for report in reports),
        "unreadable": sum(bool(report.problem) for report in reports),
        "found": moved + left,
        "moved": moved,
        "left": left,
    }


def as_data(reports: Iterable[FileReport]) -> dict[str, Any]:
    """The whole report, for machines."""
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
