"""What all commands share: where they print, how help is laid out, and the option --profile."""

from __future__ import annotations

import contextlib
import re
import shutil
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer
from rich.console import Console
from typer.core import TyperGroup

from genai_config._masking import mask_exception
from genai_config._settings import profile_files
from genai_config._settings.environment import PROFILE_VARIABLE
from genai_config._settings.primitives import text_of
from genai_config.exceptions import ConfigurationError
from genai_config.testing.isolation import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH = 80


def console(*, stderr: bool = False) -> Console:
    """Where to print: with colour only on a terminal, and never wider than 80 columns."""
    made = Console(highlight=False, stderr=stderr)
    made.width = min(made.width, WIDTH)
    return made


@contextlib.contextmanager
def _masked() -> Iterator[None]:
    """Masks what an error quotes of the command line before typer lays it out, which cuts words."""
    try:
        yield
    except Exception as error:
        mask_exception(error)
        raise


class Group(TyperGroup):
    """The commands; their errors show no secret that was typed in the wrong place.

    On a narrow terminal, their help is plain text instead of a table of options: the table cuts
    long words there. The list of commands is short enough for every terminal.
    """

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Reads the options that stand before the command."""
        with _masked():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Finds the command, reads its arguments and runs it."""
        with _masked():
            return super().invoke(ctx)

    def main(self, *args: Any, **options: Any) -> Any:
        """Runs a command."""
        if shutil.get_terminal_size().columns < WIDTH:
            for command in self.commands.values():
                command.rich_markup_mode = None  # type: ignore[attr-defined] # all are typer's
        return super().main(*args, **options)


def _use(context: typer.Context, name: str | None) -> None:
    """Runs the command with a profile; a program that it starts gets the profile too."""
    if name:
        try:
            text_of("profile", name)
        except ConfigurationError as error:
            typer.echo(in_options(f"{error}"), err=True)
            raise typer.Exit(2) from None
        context.with_resource(environment({PROFILE_VARIABLE: name}))
        context.with_resource(profile_files.chosen_by("--profile"))


# Other names would have to be quoted, and a shell may run what is in them.
_COMPLETED = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def _complete_profile(incomplete: str) -> list[str]:
    """The profiles whose names start like this, for the completion of a shell."""
    try:
        names = profile_files.names()
    except Exception:  # noqa: BLE001 -- a traceback would be printed into the command line
        return []
    return [n for n in names if n.startswith(incomplete) and _COMPLETED.fullmatch(n)]


# The command itself gets None: the profile is in force.
Profile: TypeAlias = Annotated[
    str | None,
    typer.Option(
        callback=_use,
        autocompletion=_complete_profile,
        help="A named set of settings in genai-config.toml or pyproject.toml. Default: "
        f"{PROFILE_VARIABLE}.",
    ),
]

_OPTIONS = (
    "api_version|backend|base_url|credentials|endpoint|location|method|model|profile|project|"
    "quota_project|scopes"
)
_ARGUMENT = re.compile(
    rf"(?<![\w-])(?P<name>{_OPTIONS})="
    r"(?:(?P<quote>['\"])(?P<value>.*?)(?P=quote)|(?=[\s(,;.]|$))"
)
# The setting that a sentence is about.
_SUBJECT = re.compile(rf"(?m)(?:^|(?<=: ))(?P<name>{_OPTIONS})(?= (?:holds|is) )")
_PLACES_OF_SECRETS = (
    "export GEMINI_API_KEY=… for a key, and GOOGLE_APPLICATION_CREDENTIALS=/path/to/key.json for a "
    "key file."
)
_IN_PYTHON_ALONE = (
    (r"give a key as api_key=, .*credentials=function\.", _PLACES_OF_SECRETS),
    (r"an API key is given as api_key=\.", "export GEMINI_API_KEY=… for a key."),
    (
        r"an access token is given as credentials=lambda: TOKEN\.",
        "a token cannot be given here: give the path of a key file.",
    ),
    (r", or a key file's content as a dict: credentials=json\.loads\(text\)", ""),
    (r"client_options\['api_endpoint'\]='(\w+)'", r"--endpoint \1"),
    (r"client_options\['api_endpoint'\]", "--endpoint"),
    (r'safe_configure\(api_key="…"\) or ', ""),
)


def in_options(text: str) -> str:
    """An error's text with the options of the command line in place of arguments in Python."""
    for python, option in _IN_PYTHON_ALONE:
        text = re.sub(python, option, text)
    text = _SUBJECT.sub(lambda found: _as_option(found["name"]), text)
    text = re.sub(rf"safe_configure\(((?:{_OPTIONS})='[^']*')\)", r"\1", text)
    return _ARGUMENT.sub(_option, text)


def _as_option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _option(argument: re.Match[str]) -> str:
    option = _as_option(argument["name"])
    return option if argument["value"] is None else f"{option} {argument['value']}"
