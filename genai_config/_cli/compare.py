"""The command `compare`: runs a program before and after, and shows different requests."""

from __future__ import annotations

import errno
import importlib.util
import json
import shlex
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from genai_config._cli import console as _console
from genai_config._cli import programs
from genai_config._masking import described, shown_path, without_secrets

if TYPE_CHECKING:
    from rich.console import Console

    from genai_config._compare.differences import Compared
    from genai_config._compare.running import Run

commands = typer.Typer()

_LAST_LINES = 15
_NOT_RUN = (errno.ENOENT, errno.EACCES, errno.ENOEXEC)


@commands.command(
    help="Run a program before and after a migration, and compare the requests that it sends.\n\n"
    "Both runs use a local server instead of Google: nothing leaves this machine, and no "
    "account is needed. It compares method, model, contents, config, tools and "
    "the kind of credentials. The second run uses a migrated copy of the folder, or the folder "
    "of --after.\n\n"
    "Examples: genai-config compare -- python app.py; genai-config compare --to adopt -- pytest\n\n"
    "Exit code: 0 if both runs send the same requests; 1 if requests or exit codes differ, none is "
    "sent, or one cannot be compared; 2 if the command line is invalid, or a program cannot be run "
    "or takes too long.",
    context_settings={"allow_interspersed_args": False},
)
def compare(  # noqa: PLR0913 -- options
    command: Annotated[list[str], typer.Argument(help="The program and its arguments.")],
    *,
    to: Annotated[
        Literal["adopt", "google-genai"],
        typer.Option(help="The last step that the copy is migrated by."),
    ] = "google-genai",
    folder: Annotated[Path, typer.Option(help="The folder of the program.")] = Path(),
    after: Annotated[
        Path | None,
        typer.Option(help="The folder of the migrated program. Default: a migrated copy."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="The limit for each run, in seconds.")
    ] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Runs the program twice, compares the requests, and prints the result."""
    from genai_config._compare.differences import compare as compared

    for option, path in (("--folder", folder), ("--after", after)):
        if path is not None and not path.is_dir():
            typer.echo(f"{option} {shown_path(path)}: no such folder.", err=True)
            raise typer.Exit(2)
    with tempfile.TemporaryDirectory(prefix="genai-config-") as made:
        try:
            second = after or _migrated(folder, Path(made), to)
            runs = [_run(command, where, timeout) for where in (folder, second)]
        except OSError as error:
            # Others come from copying the folder, or from the local server.
            is_command = error.errno in _NOT_RUN and error.filename in (None, command[0])
            why = programs.why_not_run(command, error, folder) if is_command else described(error)
            typer.echo(why, err=True)
            raise typer.Exit(2) from None
        except subprocess.TimeoutExpired:
            typer.echo(
                f"{without_secrets(shlex.join(command))}: still running after {timeout:g} s."
                "\n  Remedy: give a longer limit with --timeout.",
                err=True,
            )
            raise typer.Exit(2) from None
    found = compared(runs[0].said, runs[1].said)
    differing = [one for one in found if one.differences]
    if as_json:
        typer.echo(json.dumps(_data(runs, found), indent=2))
    else:
        _show(_console.console(), runs, found)
    failed = runs[0].code != runs[1].code or any(run.failures for run in runs)
    raise typer.Exit(1 if differing or failed or not found else 0)


def _migrated(folder: Path, target: Path, to: Literal["adopt", "google-genai"]) -> Path:
    """A copy of a folder, migrated."""
    if importlib.util.find_spec("libcst") is None:
        typer.echo("genai-config compare needs --after, or LibCST: "
                   "pip install 'genai-config[migrate]'", err=True)  # fmt: skip
        raise typer.Exit(2)
    from genai_config._compare.running import copied
    from genai_config._migrate import files

    copy = copied(folder, target)
    for report in filter(lambda one: one.changed, files.run([copy], to)):
        files.write(report)
    return copy


def _run(command: list[str], folder: Path, timeout: float) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from the import of the SDK
        from genai_config._compare.running import run

        return run(command, folder, timeout)


def _data(runs: list[Run], found: list[Compared]) -> dict[str, object]:
    """The result as JSON-compatible data."""
    return {
        "requests": [len(run.said) for run in runs],
        "exit_codes": [run.code for run in runs],
        "server_errors": [list(run.failures) for run in runs],
        "differences": sum(len(one.differences) for one in found),
        "compared": [
            {
                "method": one.method,
                "resource": one.resource,
                "differences": [difference._asdict() for difference in one.differences],
            }
            for one in found
        ],
    }


def _show(console: Console, runs: list[Run], found: list[Compared]) -> None:
    """Prints a line for each request, with its differences below it, and the total."""
    for number, one in enumerate(found, 1):
        mark = Text("differs " if one.differences else "same    ",
                    "bold red" if one.differences else "green")  # fmt: skip
        console.print(Text(f"{number:3} ") + mark + Text(f"{one.method} {one.resource}"),
                      soft_wrap=True)  # fmt: skip
        for difference in one.differences:
            console.print(Text(f"      {difference.where or 'whole request'}"), soft_wrap=True)
            console.print(Text(f"        before: {difference.before}", "red"), soft_wrap=True)
            console.print(Text(f"        after:  {difference.after}", "green"), soft_wrap=True)
    for name, run in zip(("before the migration", "after it"), runs, strict=True):
        if run.code:
            console.print(Text(f"The run {name} exited with code {run.code}:", "bold red"))
            last = without_secrets("\n".join(run.output.splitlines()[-_LAST_LINES:]))
            console.print(Text(last), soft_wrap=True)
        if run.refused:
            hosts = ", ".join(run.refused)
            console.print(Text(f"The run {name} was refused access to {hosts}: only Google's "
                               "hosts are served."), soft_wrap=True)  # fmt: skip
        for failure in run.failures:
            console.print(Text(f"The local server failed in the run {name}: {failure}", "bold red"),
                          soft_wrap=True)  # fmt: skip
    count = sum(len(one.differences) for one in found)
    before, after = (len(run.said) for run in runs)
    differences = f"{count} difference{'' if count == 1 else 's'}"
    total = f"Requests: {before} before, {after} after; {differences}."
    if not found:
        total = "Neither run sent a request: there is nothing to compare."
    console.print(Text(total, "bold red" if count or not found else "bold green"), soft_wrap=True)
