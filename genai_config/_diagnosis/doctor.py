"""The doctor: every check on its own, within bounds, and what came of them as data."""

from __future__ import annotations

import contextvars
import dataclasses
import os
import stat
import threading
import traceback
import warnings
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any

from genai_config._diagnosis import (
    check_credentials,
    check_environment,
    check_online,
    check_references,
    explain,
    models,
    provenance,
)
from genai_config._diagnosis.checks import Case, Check, Finding, Outcome, Skipped
from genai_config._masking import without_secrets
from genai_config._routing.decision import CLOUD_PLATFORM, TUNED_SCOPES
from genai_config._settings import environment
from genai_config._settings.patch import EMPTY, Patch, combine, environment_value
from genai_config._settings.state import Snapshot, state
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from genai_config._settings.model import GenAIConfig

CHECKS: tuple[Check, ...] = (
    *check_environment.CHECKS,
    *check_references.CHECKS,
    *check_credentials.CHECKS,
    *check_online.CHECKS,
)

BOUND = 25.0
"""Seconds for a check: more than the sum of its own waits."""


@dataclasses.dataclass(frozen=True)
class Report:
    """What the doctor has to say.

    Attributes:
        outcomes: What came of each check, in order.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """All that is wrong."""
        return tuple(finding for outcome in self.outcomes for finding in outcome.problems)

    def model_dump(self) -> dict[str, Any]:
        """The report as plain data, fit for JSON."""
        return {"ok": not self.problems, "checks": [dataclasses.asdict(o) for o in self.outcomes]}


def examine(
    model: str | None = None,
    *,
    online: bool = False,
    say: Callable[[Check], None] = lambda _: None,
    checks: Iterable[Check] = CHECKS,
) -> Report:
    """Runs the checks, each apart from the crashes and the waits of the others.

    Args:
        model: The model that requests are to be about; None: a base model.
        online: Whether the network is asked as well.
        say: Is told of each check before it runs.
        checks: Those to run.
    """
    with warnings.catch_warnings():
        # What they would say is a finding, and the SDK's end of support is none.
        warnings.simplefilter("ignore")
        case = _case(model, online=online)
        outcomes = []
        for check in checks:
            if online or not check.online:
                say(check)
                outcomes.append(_run(check, case))
    return Report(tuple(outcomes))


def _run(check: Check, case: Case) -> Outcome:
    future: Future[list[Finding | str]] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            found = context.run(lambda: list(check.run(case)))
        except Exception as error:  # noqa: BLE001 -- one check's crash is not the others'
            future.set_exception(error)
        else:
            future.set_result(found)

    threading.Thread(target=work, name=f"genai-config {check.name}", daemon=True).start()
    try:
        found = future.result(BOUND)
    except FutureTimeoutError:
        found = [Finding(
            f"The check {check.name} did not finish within {BOUND:g} s.",
            "check whether a disk or the network hangs.",
        )]  # fmt: skip
    except Exception as error:  # noqa: BLE001 -- it is a finding
        found = [Finding(
            f"The check {check.name} failed: {type(error).__name__} at {_place(error)}.",
            "this is a bug of genai-config: please report it.",
        )]  # fmt: skip
    findings = tuple(_scrubbed(one) for one in found if isinstance(one, Finding))
    facts = tuple(without_secrets(one) for one in found if isinstance(one, str))
    skipped = any(isinstance(one, Skipped) for one in found)
    return Outcome(check.name, check.title, findings, facts, skipped)


def _place(error: BaseException) -> str:
    """Where an error was raised; its message may hold anything, and is not shown."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{os.path.basename(last.filename)}:{last.lineno}"  # noqa: PTH119 -- a name, no file


def _scrubbed(finding: Finding) -> Finding:
    """A finding without what looks secret: much of what is in it, others have said."""
    return dataclasses.replace(
        finding,
        problem=without_secrets(finding.problem),
        remedy=without_secrets(finding.remedy),
        command=without_secrets(finding.command),
    )


def _case(model: str | None, *, online: bool) -> Case:
    explanation = explain.explain(model)
    try:
        snapshot, refused = explain.in_force(), None
    except ConfigurationError as error:
        snapshot = Snapshot(_without_what_cannot_be(), state.known_layers())
        refused = next((p for p in explanation.problems if p.kind == type(error).__name__), None)
    config = snapshot.config
    quota = next(
        setting
        for setting in provenance.settings(snapshot.layers, config)
        if setting.name == "quota_project"
    )
    oauth = provenance.oauth_held(config, models.scopes(config, model or ""), quota)
    enough = (CLOUD_PLATFORM,) if models.on_vertex(config, model or "") else TUNED_SCOPES
    refusals = [] if oauth.problem else explain.refusals(oauth, enough)
    return Case(
        model, dict(os.environ), snapshot.layers, config, refused, explanation, oauth,
        tuple(refusals), online,
    )  # fmt: skip


def _without_what_cannot_be() -> GenAIConfig:
    """The configuration without the keys of the environment, one of which cannot be used."""
    from genai_config._settings.model import build

    made = EMPTY
    for setting, found in environment.read(os.environ).items():
        if setting != "api_key":
            try:
                made = combine(made, Patch({setting: environment_value(setting, *found[0])}))
            except ConfigurationError:
                continue
    for layer in state.known_layers():
        made = combine(made, layer.patch)
    return build(made)


@dataclasses.dataclass(frozen=True)
class Fixed:
    """What was done about a finding, or is to be done by hand.

    Attributes:
        done: Whether it has been done.
        text: What was done, or why it was not; or the line to type.
    """

    done: bool
    text: str


def fix(report: Report) -> dict[Finding, Fixed]:
    """Mends what is safe to mend here: who may read a key file. Of the rest, the line to type."""
    fixed = {}
    for finding in report.problems:
        if finding.readable:
            fixed[finding] = _make_private(finding.readable)
        elif finding.command:
            fixed[finding] = Fixed(done=False, text=finding.command)
    return fixed


def _make_private(path: str) -> Fixed:
    try:
        before = stat.S_IMODE(os.stat(path).st_mode)  # noqa: PTH116 -- beside chmod
        os.chmod(path, 0o600)  # noqa: PTH101 -- likewise
    except OSError as error:
        return Fixed(done=False, text=f"# {path}: mode not changed: {error.strerror}")
    return Fixed(done=True, text=f"{path}: mode {before:o} is now 600; back: chmod {before:o}")
