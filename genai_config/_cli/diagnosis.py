"""The commands `explain` and `doctor`."""

from __future__ import annotations

import contextlib
import json
import warnings
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from genai_config._api import scopes
from genai_config._cli import console as _console
from genai_config._diagnosis import doctor as _doctor
from genai_config._diagnosis import explain as _explain
from genai_config._diagnosis import layout
from genai_config._masking import without_secrets
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

    from genai_config._diagnosis.checks import Check, Outcome

app = typer.Typer()

_NARROW = 40
"""Columns; a narrower terminal breaks the lines by itself."""

_Model = Annotated[
    str | None, typer.Option(help="The model, such as tunedModels/mine. Default: a base model.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
_EXTRA = {"allow_extra_args": True}


def _check_arguments(context: typer.Context) -> None:
    """Refuses a model that is given as an argument: elsewhere that is the usual way."""
    if context.args:
        named = without_secrets(context.args[0])
        typer.echo(f"Unexpected argument {named!r}. A model is an option: --model NAME.", err=True)
        raise typer.Exit(2)


@app.command(
    context_settings=_EXTRA,
    help="Show how a request would be sent: credentials, transport, why, and where every "
    "setting came from.\n\n"
    "Makes no network calls and shows no secret. The exit code is 0 if no problem is known, "
    "1 if the request would fail, 2 if the command line is invalid.\n\n"
    "Example: genai-config explain --model tunedModels/mine",
)
def explain(
    context: typer.Context,
    *,
    model: _Model = None,
    method: Annotated[
        str, typer.Option(help="The method, such as upload_file.")
    ] = "generate_content",
    profile: _console.Profile = None,
    as_json: _Json = False,
) -> None:
    """Prints an explanation of the environment's configuration, as wide as the terminal."""
    del profile
    _check_arguments(context)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they would say, doctor says
            told = _explain.explain(model or None, method)
    except ConfigurationError as error:
        typer.echo(_console.in_options(str(error)), err=True)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(told.model_dump_json(indent=2))
    else:
        console = _console.console()
        text = layout.text(told.sections(of_program=False), max(console.width, _NARROW))
        for line in text.split("\n"):
            title = line[:1] not in ("", " ")
            console.print(Text(line, "bold cyan" if title else ""), soft_wrap=True)
    raise typer.Exit(1 if told.problems else 0)


@app.command(
    context_settings=_EXTRA,
    help="Find configuration problems on this machine, and show how to fix them.\n\n"
    "With --online it also checks that the endpoint can be reached and accepts the key and the "
    "token; every wait is bounded. The exit code is 0 if there is no problem, 1 if there is one, "
    "2 if the command line is invalid.\n\n"
    "Examples: genai-config doctor --online --model tunedModels/mine; genai-config doctor --fix",
)
def doctor(  # noqa: PLR0913 -- one parameter for each option
    context: typer.Context,
    *,
    model: _Model = None,
    online: Annotated[
        bool, typer.Option("--online", help="Check the network and the service as well.")
    ] = False,
    endpoint: Annotated[
        str | None,
        typer.Option(
            help="Where requests go, host:port; only --online asks there. Default: Google's."
        ),
    ] = None,
    profile: _console.Profile = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Make the key file readable only by you (chmod 600); print the commands for the "
            "rest.",
        ),
    ] = False,
    as_json: _Json = False,
) -> None:
    """Runs the checks of `_doctor`, and prints what came of them."""
    del profile
    _check_arguments(context)
    with contextlib.ExitStack() as undo:
        if endpoint:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of the SDK's import
                    undo.enter_context(scopes.override(client_options={"api_endpoint": endpoint}))
            except ConfigurationError as error:
                typer.echo(_console.in_options(str(error)), err=True)
                raise typer.Exit(2) from None
        status = undo.enter_context(_console.console(stderr=True).status("looking …"))

        def say(check: Check) -> None:
            status.update(Text(f"{check.name} …"))

        report = _doctor.examine(model or None, online=online, say=say)
    fixed = _doctor.fix(report) if fix else {}
    left = [finding for finding in report.problems if not (fixed.get(finding) or _UNTOUCHED).done]
    if as_json:
        actions = [{"done": one.done, "text": one.text} for one in fixed.values()]
        typer.echo(json.dumps({**report.model_dump(), "fixed": actions}, indent=2))
        raise typer.Exit(1 if left else 0)
    console = _console.console()
    for outcome in report.outcomes:
        _show(console, outcome)
    notes = sum(len(outcome.findings) for outcome in report.outcomes) - len(report.problems)
    total = f"{len(report.outcomes)} checks; problems: {len(report.problems)}; notes: {notes}."
    console.print(Text(f"\n{total}", "bold red" if report.problems else "bold green"))
    for done, title in ((True, "Done:"), (False, "Review these commands, then run them:")):
        lines = [one.text for one in fixed.values() if one.done is done]
        if lines:
            console.print(Text("\n".join(["", title, *lines])), soft_wrap=True)
    raise typer.Exit(1 if left else 0)


_UNTOUCHED = _doctor.Fixed(done=False, text="")
_MARKS = {"ok": "green", "skipped": "dim", "note": "yellow", "problem": "bold red"}
_COLUMN = 27


def _show(console: Console, outcome: Outcome) -> None:
    """A check in three columns: the mark, its name, and what it has to say."""
    told = [
        ("note" if finding.note else "problem", [finding.problem, f"Remedy: {finding.remedy}"])
        for finding in outcome.findings
    ] or [("skipped" if outcome.skipped else "ok", [outcome.title])]
    told[-1][1].extend(outcome.facts)
    for mark, paragraphs in told:
        lines = [
            line
            for paragraph in paragraphs
            for part in paragraph.split("\n")
            for line in layout.wrapped(part, max(console.width - _COLUMN, _COLUMN))
        ]
        start = Text(f"{mark:8} ", _MARKS[mark]).append(f"{outcome.name:17} ", "default")
        for line in lines:
            console.print(start + Text(line), soft_wrap=True)
            start = Text(" " * _COLUMN)
