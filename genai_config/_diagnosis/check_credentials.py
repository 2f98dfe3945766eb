"""What can be wrong with OAuth credentials, as far as files tell; no network calls."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from genai_config._auth.credentials import adc_path, login_command
from genai_config._diagnosis import provenance
from genai_config._diagnosis.checks import Case, Check, Finding, Skipped
from genai_config._routing.decision import BASE_SCOPES, CLOUD_PLATFORM

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"
_NOT_NEEDED = "this request does not need OAuth"
_NOTHING = "no credentials to check"


def _leads_nowhere(case: Case) -> bool:
    path = case.environ.get(_VARIABLE)
    return bool(path) and not os.path.isfile(path or "")  # noqa: PTH113 -- Path's raises for odd names


def _variable(case: Case) -> Iterator[Finding | str]:
    if _leads_nowhere(case):
        yield Finding(
            f"{_VARIABLE} names a file that does not exist, so gcloud's own file is not used.",
            "set it to the path of a key file, or unset it.",
            f"unset {_VARIABLE}",
        )
    elif not case.environ.get(_VARIABLE):
        yield Skipped("not set")


def _credentials(case: Case) -> Iterator[Finding | str]:
    held = case.oauth
    if held.problem:
        if not case.oauth_matters:
            yield Skipped(_NOT_NEEDED)
        elif case.config.credentials is not None or not _leads_nowhere(case):
            yield Finding(held.problem, held.remedy)
        else:
            yield Skipped("see adc_variable")
        return
    if held.kind == "not known":
        yield Skipped(_NOTHING)
        return
    yield f"{held.kind} {held.identity or ''}".strip()
    yield f"from {held.origin}"


def _mode(case: Case) -> Iterator[Finding | str]:
    given = case.config.credentials
    named = case.environ.get(_VARIABLE)
    path = given if isinstance(given, Path) else Path(named) if named else adc_path()
    if os.name != "posix" or not os.path.isfile(path):  # noqa: PTH113 -- Path's raises for odd names
        yield Skipped("no key file with permissions to check")
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding(
            f"The key file {path} can be read or written by others (mode {mode:o}).",
            "make it readable only by you: chmod 600, or genai-config doctor --fix.",
            f"chmod 600 {shlex.quote(str(path))}",
            readable=str(path),
        )
    else:
        yield f"{path} has mode {mode:o}"


def _foretold(kind: str, case: Case) -> Iterator[Finding | str]:
    if case.oauth_matters:
        for problem in case.refusals:
            if problem.kind == kind:
                first = problem.remedy.split("\n")[0]
                command = first if first.startswith("gcloud ") else ""
                yield Finding(problem.problem, problem.remedy, command)


def _quota_project(case: Case) -> Iterator[Finding | str]:
    yield from _foretold("quota project", case)
    if case.oauth.problem:
        yield Skipped("see credentials")
    elif case.oauth.kind == "not known":
        yield Skipped(_NOTHING)
    elif case.oauth.quota_project:
        yield f"{case.oauth.quota_project}, from {case.oauth.quota_origin}"


def _scopes(case: Case) -> Iterator[Finding | str]:
    yield from _foretold("scopes", case)
    if case.oauth.problem:
        yield Skipped("see credentials")
    elif case.oauth.kind == "not known":
        yield Skipped(_NOTHING)
    elif case.oauth.scopes_held is None:
        yield Skipped("not known: only the service tells (--online)")


def _first_step(case: Case) -> str:
    """What to do for a request that has no credentials yet."""
    if case.on_vertex:
        return f"log in: {login_command((CLOUD_PLATFORM,))}"
    if case.tuned or case.config.auth == "oauth":
        return f"log in: {login_command()}"
    return f"export GEMINI_API_KEY=…; or for OAuth: {login_command(BASE_SCOPES)}"


def _metadata_server(case: Case) -> Iterator[Finding | str]:
    refused = case.environ.get("NO_GCE_CHECK", "").lower() == "true"
    if refused and case.environ.get("GCE_METADATA_HOST"):
        yield Finding(
            "GCE_METADATA_HOST names a metadata server, and NO_GCE_CHECK forbids asking it.",
            "unset one of the two.",
            "unset NO_GCE_CHECK",
        )
    if case.oauth.problem:
        yield Skipped("see credentials")
    if case.oauth.kind == "not known" and case.oauth_matters and not case.online:
        yield Finding(
            "There is no key file, so requests by OAuth ask the metadata server, which only "
            "machines of Google's cloud have; it has not been asked.",
            f"{_first_step(case)}. On a machine of Google's cloud: genai-config doctor --online",
            note=provenance.is_googles_machine(),
        )


CHECKS = (
    Check("adc_variable", f"{_VARIABLE} leads to a file", _variable),
    Check("credentials", "OAuth credentials are there where they are needed", _credentials),
    Check("adc_mode", "only you can read the key file", _mode),
    Check("quota_project", "end-user credentials have a quota project", _quota_project),
    Check("scopes", "the credentials have the scopes of tuned models", _scopes),
    Check("metadata_server", "the source of the credentials is clear", _metadata_server),
)
