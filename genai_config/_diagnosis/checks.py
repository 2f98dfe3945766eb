"""What the doctor examines, and what it says: as data."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, NamedTuple

from genai_config._auth.credentials import adc_path
from genai_config._diagnosis import models
from genai_config._routing.decision import TUNED_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from genai_config._diagnosis.explain import Explanation, Problem
    from genai_config._diagnosis.provenance import Held
    from genai_config._settings.model import GenAIConfig
    from genai_config._settings.state import Layer


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong, or worth knowing.

    Attributes:
        problem: What was found.
        remedy: What to do about it.
        command: A line for a shell that does it; "": there is none.
        readable: The file that others may read and should not; "": it is about something else.
        note: Whether it is worth knowing, but not wrong.
    """

    problem: str
    remedy: str
    command: str = ""
    readable: str = ""
    note: bool = False


class Skipped(str):
    """A fact: why a check could not tell, or had nothing to look at."""

    __slots__ = ()


@dataclasses.dataclass(frozen=True)
class Case:
    """What is examined.

    Attributes:
        model: The model that was asked about; None: a base model.
        environ: The variables of the process.
        layers: The layers of the configuration, lowest first.
        config: The configuration in force, or what would be without what cannot be.
        refused: Why the configuration cannot be in force; None: it is.
        explanation: How a request on the model would be sent.
        oauth: The OAuth credentials, whether or not the model needs any.
        refusals: What the service would refuse of these on tuned models.
        online: Whether the network is asked as well.
    """

    model: str | None
    environ: Mapping[str, str]
    layers: tuple[Layer, ...]
    config: GenAIConfig
    refused: Problem | None
    explanation: Explanation
    oauth: Held
    refusals: tuple[Problem, ...]
    online: bool

    @property
    def tuned(self) -> bool:
        """Whether it is about a tuned model."""
        return (self.model or "").startswith(TUNED_PREFIX)

    @property
    def on_vertex(self) -> bool:
        """Whether requests on the model go to Vertex AI."""
        return models.on_vertex(self.config, self.model or "")

    @property
    def scopes(self) -> tuple[str, ...]:
        """The OAuth scopes that requests on the model ask for."""
        return models.scopes(self.config, self.model or "")

    @property
    def oauth_matters(self) -> bool:
        """Whether the request uses OAuth, or OAuth credentials are configured."""
        decision = self.explanation.decision
        return (
            self.tuned
            or self.on_vertex
            or self.config.auth == "oauth"
            or (decision is not None and decision.auth == "oauth")
            or self.config.credentials is not None
            or bool(self.environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
            or os.path.isfile(adc_path())  # noqa: PTH113 -- Path's raises for odd names
        )


class Check(NamedTuple):
    """One thing to look at.

    Attributes:
        name: What it is called, for machines and for people who ask for it.
        title: What is as it should be when nothing is found.
        run: Yields findings, and facts as strings.
        online: Whether it asks the network.
    """

    name: str
    title: str
    run: Callable[[Case], Iterable[Finding | str]]
    online: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of one check.

    Attributes:
        name: The check's name.
        title: The check's title.
        findings: What is wrong, or worth knowing.
        facts: What was seen.
        skipped: Whether it could not tell, or had nothing to look at; a fact says why.
    """

    name: str
    title: str
    findings: tuple[Finding, ...] = ()
    facts: tuple[str, ...] = ()
    skipped: bool = False

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The findings that are wrong."""
        return tuple(finding for finding in self.findings if not finding.note)
