"""What the commands for OpenAI's programs share: their options and their errors."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from genai_config._cli.console import Profile, in_options
from genai_config._clients.target import GEMINI_ENDPOINT
from genai_config._masking import without_secrets
from genai_config._models import MODEL
from genai_config._settings.primitives import refuse_secret
from genai_config.exceptions import ConfigurationError, GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from genai_config._clients.target import Target

REFUSED, USAGE = 1, 2
"""Exit codes."""

Credentials: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Path of a key file. Default: Application Default Credentials."),
]
Quota: TypeAlias = Annotated[
    str | None,
    typer.Option(help="The project that requests are billed to. Default: the credentials' own."),
]
_PLACE: dict[str, Any] = {
    "backend": Annotated[
        Literal["vertex", "gemini"] | None,
        typer.Option(help="The service. Default: the one that is configured."),
    ],
    "project": Annotated[
        str | None,
        typer.Option(
            help="The project ID. Default: GOOGLE_CLOUD_PROJECT, else the credentials' project."
        ),
    ],
    "location": Annotated[
        str | None,
        typer.Option(help="A region, global, us or eu. Default: GOOGLE_CLOUD_LOCATION."),
    ],
    "endpoint": Annotated[
        str | None,
        typer.Option(help="The ID of an endpoint with your own model. Default: openapi."),
    ],
    "api_version": Annotated[
        Literal["v1", "v1beta1"] | None,
        typer.Option(help="The version of Vertex AI's API. Default: v1."),
    ],
    "base_url": Annotated[
        str | None,
        typer.Option(help="The whole URL, instead of the options above."),
    ],
    "credentials": Credentials,
    "quota_project": Quota,
    "profile": Profile,
}
"""The options that say where requests go, and as whom."""


def with_place(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of `_PLACE`, which it gets as one argument, `place`."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        place = {name: options.pop(name) for name in _PLACE}
        command(**options, place=place)

    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.name != "place"]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)
        for name, option in _PLACE.items()
    ]
    run.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined] # what typer reads
    run.__annotations__ = {one.name: one.annotation for one in [*own, *shared]}
    return run


Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help=f"What MODEL_ID becomes, in the form the service wants. Default: what it is, else "
        f"{MODEL}."
    ),
]
Shell: TypeAlias = Annotated[
    Literal["bash", "fish", "powershell", "dotenv"] | None,
    typer.Option(help="The syntax to print. Default: that of $SHELL."),
]


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Says what is wrong, and how to go on, in place of a traceback."""
    try:
        yield
    except GenAIConfigError as error:
        typer.echo(in_options(f"{error}"), err=True)
        is_setting = isinstance(error, ConfigurationError)
        raise typer.Exit(USAGE if is_setting else REFUSED) from None


def why_not_run(command: Sequence[str], error: OSError, folder: Path) -> str:
    """Why a command cannot be run in a folder, and what to type instead."""
    program = without_secrets(command[0])
    found = folder / command[0]
    if not found.is_file():
        remedy = "check its name, or give its path." if "/" in program else (
            "check its name and PATH, or give its path."
        )  # fmt: skip
    elif found.suffix == ".py":
        remedy = without_secrets(shlex.join(["python", *command]))
    elif isinstance(error, PermissionError):
        remedy = f"chmod +x {shlex.quote(program)}"
    elif "/" not in program:
        remedy = without_secrets(shlex.join([f"./{command[0]}", *command[1:]]))
    else:
        remedy = "begin it with the program that runs it, such as #!/bin/sh, or run it by that."
    problem = error.strerror
    if isinstance(error, FileNotFoundError):
        in_file = found.is_file() and "/" in program
        problem = "its first line names no program" if in_file else "no such program"
    return f"{program}: {problem}.\n  Remedy: {remedy}"


def model_name(target: Target, given: str | None) -> str:
    """What to call the model; that of an endpoint of one's own has any name."""
    # Not typer's `envvar`: version 0.26 does not look at it.
    name = "model" if given else "MODEL_ID"
    given = given or os.environ.get("MODEL_ID")
    refuse_secret(name, given or "")  # any name goes for an endpoint of one's own
    is_own = target.endpoint not in ("", GEMINI_ENDPOINT)
    return target.model(given or (target.endpoint if is_own else MODEL))
