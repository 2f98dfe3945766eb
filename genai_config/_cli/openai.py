"""The commands for programs that speak OpenAI's language: env, token and exec."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genai_config._auth import headers as _headers
from genai_config._cli import console, shells
from genai_config._cli.programs import (
    Credentials,
    Model,
    Shell,
    errors,
    model_name,
    why_not_run,
    with_place,
)
from genai_config._clients.account import account, in_force_with
from genai_config._clients.link import attached_to
from genai_config._routing.decision import CLOUD_PLATFORM

if TYPE_CHECKING:
    from genai_config._clients.target import Target
    from genai_config._settings.model import GenAIConfig

_NOT_FOR_GOOGLE = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")

_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
_CODES = (
    "Exit code: 1 if there are no credentials or they were refused, 2 if the command line or a "
    "setting is invalid."
)

# Whether a command can take this process's place; else it runs beside it.
_REPLACES = os.name == "posix"

commands = typer.Typer()


@commands.command(
    "env",
    help="Print OPENAI_API_KEY, OPENAI_BASE_URL and MODEL_ID, for a shell to read.\n\n"
    "The key is an access token, which expires within the hour, or the Gemini API's key. For "
    "longer use: genai-config proxy\n\n"
    "Examples:\n\n"
    'eval "$(genai-config env --location us-central1)"\n\n'
    "genai-config env --shell fish | source\n\n"
    "genai-config env --shell powershell | Out-String | Invoke-Expression\n\n"
    "genai-config env --shell dotenv > .env\n\n" + _CODES,
)
@with_place
def env(
    *,
    place: dict[str, Any],
    shell: Shell = None,
    model: Model = None,
) -> None:
    """Prints the variables, and until when they are good."""
    with errors():
        config, target = account(place)
        variables = _variables(config, target, model)
        for line in shells.lines(variables, shell or shells.users()):
            typer.echo(line)
        # Last: a shell that gets all lines as one, by `eval $(…)`, reads nothing after it.
        typer.echo(f"# {_until(config, target)}")


@commands.command(
    "token",
    help="Print only an access token.\n\n"
    "Examples:\n\n"
    'curl -H "Authorization: Bearer $(genai-config token)" "$URL"\n\n'
    "genai-config token --scopes https://www.googleapis.com/auth/generative-language\n\n" + _CODES,
)
def token(
    *,
    scopes: Annotated[
        str | None,
        typer.Option(help="OAuth scopes, separated by commas. Default: the cloud-platform scope."),
    ] = None,
    credentials: Credentials = None,
    profile: console.Profile = None,
) -> None:
    """Prints a token of the credentials that are configured."""
    del profile
    with errors():
        config = in_force_with({"scopes": scopes, "credentials": credentials}).config
        source = _headers.source_for(config, config.scopes or (CLOUD_PLATFORM,))
        typer.echo(source.token())


@commands.command(
    "exec",
    help="Run a command with OPENAI_API_KEY, OPENAI_BASE_URL and MODEL_ID.\n\n"
    "Only this command gets them, not the shell. The values are those of `genai-config env`: for a "
    "command that runs longer than an hour, use `genai-config proxy`. OPENAI_ORG_ID, "
    "OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS are removed.\n\n"
    "Example: genai-config exec --location us-central1 -- python app.py\n\n"
    "Exit code: the command's own; 1 if there are no credentials or they were refused, 2 if the "
    "command line or a setting is invalid, 126 if the command cannot be run, 127 if it does not "
    "exist.",
    context_settings={"allow_interspersed_args": False},
)
@with_place
def execute(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    *,
    place: dict[str, Any],
    model: Model = None,
) -> None:
    """Becomes the command, where that is possible: signals and the exit code are then its own."""
    with errors():
        config, target = account(place)
        variables = _variables(config, target, model)
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_GOOGLE}
    environ |= variables
    sys.stdout.flush()
    try:
        if _REPLACES:
            _restore_signals()
            os.execvpe(command[0], command, environ)  # noqa: S606 -- what the user asked for
        done = subprocess.run(command, env=environ, check=False)  # noqa: S603 -- likewise
    except OSError as error:
        typer.echo(why_not_run(command, error, Path()), err=True)
        missing = isinstance(error, FileNotFoundError)
        raise typer.Exit(_NOT_FOUND if missing else _NOT_EXECUTABLE) from None
    raise typer.Exit(done.returncode)


def _restore_signals() -> None:
    """Undoes what Python ignores: a command would inherit it, and not end with a broken pipe."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def _variables(config: GenAIConfig, target: Target, model: str | None) -> dict[str, str]:
    headers = dict(attached_to(config, target).headers())
    return {
        "OPENAI_API_KEY": headers["authorization"].removeprefix("Bearer "),
        "OPENAI_BASE_URL": target.base_url,
        "MODEL_ID": model_name(target, model),
    }


def _until(config: GenAIConfig, target: Target) -> str:
    """How long the variables are good for."""
    if target.auth == "api_key":
        return "OPENAI_API_KEY is the API key, which does not expire by itself."
    expiry = _headers.source_for(config, target.scopes).found().credentials.expiry
    if expiry is None:
        return "It is not known when OPENAI_API_KEY expires. For longer use: genai-config proxy"
    # google-auth's expiry is naive UTC.
    end = expiry.replace(tzinfo=dt.timezone.utc)
    minutes = int(end.timestamp() - _headers.clock()) // 60
    when = end.astimezone().isoformat(timespec="seconds")
    return f"OPENAI_API_KEY expires at {when}, in {minutes} minutes; after that: genai-config proxy"
