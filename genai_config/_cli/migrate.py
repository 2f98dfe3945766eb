"""The command `migrate`: shows, checks or writes the changes of a migration step."""

from __future__ import annotations

import difflib
import importlib.util
import json
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.text import Text

from genai_config._cli import console as _console
from genai_config._masking import MASK, described, shown_path
from genai_config._migrate.masked_code import masked_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console

    from genai_config._migrate.report import FileReport, Site

commands = typer.Typer()

_STYLES = {"+": "green", "-": "red", "@": "cyan"}
_SHOWN = {"unchanged": "not migrated", "note": "note"}


@commands.command(
    help="Migrate code from google-generativeai, step by step.\n\n"
    "The first step, adopt, replaces genai.configure() with safe_configure(), or with override() "
    "where a function sets one caller's key. --to google-genai also migrates models, chats, "
    "streams, embeddings, files, caches, tools and errors to google-genai. Code that cannot be "
    "migrated with certainty stays unchanged; it is listed with the reason and what to do by "
    "hand.\n\n"
    "Shows a diff and writes nothing unless --write is given. The diff is for reading: secrets in "
    "it are masked. To check that the program still "
    "sends the same requests: genai-config compare.\n\n"
    "Examples: genai-config migrate src; genai-config migrate --to google-genai --write app.py\n\n"
    "Exit code: 0 if it succeeds; 1 if --check is given and a file would change, or a file cannot "
    "be written; 2 if the command line is invalid or a file cannot be read."
)
def migrate(
    paths: Annotated[list[Path], typer.Argument(help="Python files, or folders with them.")],
    *,
    to: Annotated[
        Literal["adopt", "google-genai"], typer.Option(help="The last step to run.")
    ] = "adopt",
    write: Annotated[bool, typer.Option("--write", help="Write the changed files.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Print no diff; exit with code 1 if a file would change."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Runs a step over files and reports the result."""
    _check_libcst()
    from genai_config._migrate import files, report

    if write and check:
        typer.echo("use --write or --check, not both.", err=True)
        raise typer.Exit(2)
    try:
        found = files.run(paths, to)
    except FileNotFoundError as error:
        typer.echo(f"{shown_path(str(error))}: no such file or folder.", err=True)
        raise typer.Exit(2) from None
    if write:
        for one in found:
            if one.changed:
                _write(one)
    counts = report.counts(found)
    if as_json:
        typer.echo(json.dumps(report.as_data(found), indent=2))
    else:
        console = _console.console()
        for one in found:
            _show(console, one, diff=not (write or check))
        console.print(Text(_total(counts, written=write), "bold"), soft_wrap=True)
    if counts["unreadable"]:
        raise typer.Exit(2)
    raise typer.Exit(1 if counts["unwritten"] or (check and counts["changed"]) else 0)


def _write(report: FileReport) -> None:
    """Writes a changed file, or adds to its report why it cannot be written."""
    from genai_config._migrate import files

    try:
        files.write(report)
    except (OSError, UnicodeError) as error:
        report.problem = f"cannot be written: {described(error)}"


def _check_libcst() -> None:
    if importlib.util.find_spec("libcst") is None:
        message = "genai-config migrate needs LibCST: pip install 'genai-config[migrate]'"
        typer.echo(message, err=True)
        raise typer.Exit(2)


def _show(console: Console, report: FileReport, *, diff: bool) -> None:
    """Prints a file: its diff, then what is not migrated and what to review."""
    if report.problem:
        console.print(Text(f"{report.path}: {report.problem}", "bold red"), soft_wrap=True)
    from genai_config._migrate.report import entries

    lines = list(_diff(report)) if diff else []
    for line in lines:
        console.print(Text(line, _STYLES.get(line[:1], "")), soft_wrap=True)
    if any(MASK in line for line in lines):
        note = "Secrets are masked in this diff; --write leaves them as they are."
        console.print(Text(note, "dim"), soft_wrap=True)
    for entry in entries(report.sites):
        site = entry.site
        style = "yellow" if site.outcome == "unchanged" else "dim"
        head = Text(f"{report.path}:{site.line}: {site.what}: ", style)
        said = f"{_SHOWN[site.outcome]}: {site.reason}"
        console.print(head.append(said, "default"), soft_wrap=True)
        console.print(Text(f"    By hand: {site.todo}"), soft_wrap=True)
        for title, others in (("The same on", entry.same), ("Unchanged with it:", entry.dependent)):
            if others:
                console.print(Text(f"    {title} {_listed(others)}"), soft_wrap=True)


def _listed(sites: Iterable[Site]) -> str:
    """The lines of some sites, each with what is used there."""
    whats: dict[int, list[str]] = {}
    for site in sites:
        whats.setdefault(site.line, []).append(site.what)
    return ", ".join(f"line {line} ({', '.join(what)})" for line, what in whats.items())


def _diff(report: FileReport) -> Iterator[str]:
    """The lines of a diff, without the secrets in the code: it may end up in the log of a CI."""
    shown: dict[str, str] = {}
    for text in (report.before, report.after):
        masked = zip(text.splitlines(), masked_code(text).splitlines(), strict=True)
        shown.update((line, told) for line, told in masked if line != told)
    lines = difflib.unified_diff(
        report.before.splitlines(),
        report.after.splitlines(),
        f"a/{report.path.lstrip('/')}",
        f"b/{report.path.lstrip('/')}",
        lineterm="",
    )
    for line in lines:
        yield line[:1] + shown.get(line[1:], line[1:])


def _total(counts: dict[str, int], *, written: bool) -> str:
    """The result for all files, in one sentence."""
    changed = counts["changed"]
    files = f"{changed} file{'' if changed == 1 else 's'}"
    action = f"{files} written" if written else f"{files} would change (--write)"
    if counts["unwritten"]:
        action += f", {counts['unwritten']} could not be written"
    elif not changed:
        action = "nothing to change"
    uses = f"{counts['found']} use{'' if counts['found'] == 1 else 's'}"
    return (
        f"{uses} found: {counts['migrated']} migrated, {counts['unchanged']} unchanged; {action}."
    )
