"""Whether references to secrets lead anywhere: nothing is read and nothing is run."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from genai_config._diagnosis.checks import Case, Check, Finding, Skipped
from genai_config._settings.references import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator


def _references(case: Case) -> Iterator[Finding | str]:
    given = {"api_key": case.config.api_key, "credentials": case.config.credentials}
    found = {name: value for name, value in given.items() if isinstance(value, Reference)}
    if not found:
        yield Skipped("none is configured")
    for name, reference in found.items():
        yield _missing(case, name, reference) or f"{name} is {reference}"
    if found and not case.online:
        yield Skipped("they are read with --online")


def _missing(case: Case, name: str, reference: Reference) -> Finding | None:
    """What a reference leads to, if it is not there; whoever is asked for it may know more."""
    first = reference.where[0]
    if reference.variable is not None and not case.environ.get(first, "").strip():
        return Finding(
            f"{name} is {reference}, and {first} is not set.", f"export {first}, for this process."
        )
    if reference.kind == "from_file" and not os.access(first, os.R_OK):
        return Finding(
            f"{name} is {reference}, and this process cannot read that file.",
            "see whether the file is there (mounted?), and who may read it.",
        )
    if reference.kind == "from_command" and shutil.which(first) is None:
        return Finding(
            f"{name} is {reference}, and there is no program {first}.",
            "install it, or give its whole path.",
        )
    return None


CHECKS = (Check("references", "references to secrets lead somewhere", _references),)
