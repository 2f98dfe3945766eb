"""Whether references to secrets lead anywhere: nothing is read and nothing is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genai_config._diagnosis.checks import Case, Check, Finding, Skipped
from genai_config._diagnosis.references import missing
from genai_config._settings.references import Reference

if TYPE_CHECKING:
    from collections.abc import Iterator


def _references(case: Case) -> Iterator[Finding | str]:
    given = {"api_key": case.config.api_key, "credentials": case.config.credentials}
    found = {name: value for name, value in given.items() if isinstance(value, Reference)}
    if not found:
        yield Skipped("none is configured")
    for name, reference in found.items():
        lacking = missing(case.environ, name, reference)
        yield Finding(*lacking) if lacking else f"{name} is {reference}"
    if found and not case.online:
        yield Skipped("they are read with --online")


CHECKS = (Check("references", "references to secrets lead somewhere", _references),)
