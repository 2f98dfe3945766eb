"""The commands for programs that speak OpenAI's language: env, token, exec and proxy."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import inspect
import logging
import os
import re
import secrets
import signal
import stat
import subprocess
import sys
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from genai_config._auth import headers as _headers
from genai_config._cli import shells
from genai_config._cli.console import Profile, in_options
from genai_config._clients.account import account, in_force_with
from genai_config._clients.http import attached_to, http_options
from genai_config._clients.target import GEMINI_ENDPOINT
from genai_config._models import MODEL
from genai_config._routing.decision import CLOUD_PLATFORM
from genai_config.exceptions import ConfigurationError, GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config._clients.target import Target
    from genai_config._settings.model import GenAIConfig

_NOT_FOR_GOOGLE = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")

_REFUSED, _USAGE, _NOT_EXECUTABLE, _NOT_FOUND = 1, 2, 126, 127
_CODES = (
    "Exit code: 1 if there are no credentials or they were refused, 2 if the command line or a "
    "setting is invalid."
)

_KEY = re.compile(r"[A-Za-z0-9_-]{32,}")

# Whether a command can take this process's place; else it runs beside it.
_REPLACES = os.name == "posix"

commands = typer.Typer()

_Credentials: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Path of a key file. Default: Application Default Credentials."),
]
_Quota: TypeAlias = Annotated[
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
    "credentials": _Credentials,
    "quota_project": _Quota,
    "profile": Profile,
}
"""The options that say where requests go, and as whom."""


def _with_place(command: Callable[..., None]) -> Callable[..., None]:
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


_Model: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help=f"What MODEL_ID becomes, in the form the service wants. Default: what it is, else "
        f"{MODEL}."
    ),
]
_Shell: TypeAlias = Annotated[
    Literal["bash", "fish", "powershell", "dotenv"] | None,
    typer.Option(help="The syntax to print. Default: that of $SHELL."),
]


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
@_with_place
def env(
    *,
    place: dict[str, Any],
    shell: _Shell = None,
    model: _Model = None,
) -> None:
    """Prints the variables, and until when they are good."""
    with _errors():
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
    'curl -H "Authorization: Bearer $(genai-config token)" …\n\n'
    "genai-config token --scopes https://www.googleapis.com/auth/generative-language\n\n" + _CODES,
)
def token(
    *,
    scopes: Annotated[
        str | None,
        typer.Option(help=f"OAuth scopes, separated by commas. Default: {CLOUD_PLATFORM}."),
    ] = None,
    credentials: _Credentials = None,
    profile: Profile = None,
) -> None:
    """Prints a token of the credentials that are configured."""
    del profile
    with _errors():
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
@_with_place
def execute(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments.")],
    *,
    place: dict[str, Any],
    model: _Model = None,
) -> None:
    """Becomes the command, where that is possible: signals and the exit code are then its own."""
    with _errors():
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
        typer.echo(f"{command[0]}: {error.strerror}", err=True)
        missing = isinstance(error, FileNotFoundError)
        raise typer.Exit(_NOT_FOUND if missing else _NOT_EXECUTABLE) from None
    raise typer.Exit(done.returncode)


def _restore_signals() -> None:
    """Undoes what Python ignores: a command would inherit it, and not end with a broken pipe."""
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


@commands.command(
    "proxy",
    help="Serve OpenAI's API on this machine, with a key that never expires, until Ctrl-C or "
    "SIGTERM.\n\n"
    "Forwards requests to Vertex AI or the Gemini API with fresh credentials; streams pass as they "
    "arrive. Prints the variables to export; only clients with this key are accepted, by default "
    "only from this machine.\n\n"
    "Examples:\n\n"
    "genai-config proxy --location us-central1 --port 8080 --key-file ~/.genai-config-proxy\n\n"
    "genai-config proxy > proxy.env &\n\n"
    ". ./proxy.env\n\n"
    "Exit code: 1 if there are no credentials or they were refused, 2 if the command line or a "
    "setting is invalid or the port is in use.",
)
@_with_place
def proxy(  # noqa: PLR0913 -- options
    *,
    place: dict[str, Any],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port; 0 chooses a free one.")
    ] = 0,
    key_file: Annotated[
        Path | None,
        typer.Option(help="Keep the key in this file; created if it does not exist."),
    ] = None,
    shell: _Shell = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model that programs may see in the list of models; repeatable. The first is "
            f"what MODEL_ID becomes. Default: what it is, else {MODEL}."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; 0.0.0.0 for a container.")
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A further name of this machine, such as host.docker.internal; repeatable."
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="A web page that may ask, such as http://localhost:3000; repeatable."),
    ] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log", help="Log each request on stderr, without its content.")
    ] = False,
    max_requests: Annotated[int, typer.Option(min=1, help="Requests at the same time.")] = 64,
    max_bytes: Annotated[int, typer.Option(min=1, help="Bytes of a request.")] = 100 << 20,
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Seconds without a byte from either side. Default: 600."),
    ] = None,
) -> None:
    """Serves in this process."""
    from genai_config._proxy.rules import Limits
    from genai_config._proxy.server import Proxy

    with _errors():
        config, target = account(place)
        attached_to(config, target).headers()  # who has no credentials hears of it now
        limits = Limits(requests=max_requests, body=max_bytes)
        seconds = timeout or config.timeout
        if seconds is not None:
            limits = limits._replace(timeout=seconds)
        key = _kept_key(key_file) if key_file else None
        chosen: list[str | None] = [*model] if model else [None]
        names = tuple(_model(target, one) for one in chosen)
        if access_log:
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            log = logging.getLogger("genai_config.proxy.access")
            log.addHandler(handler)
            log.setLevel(logging.INFO)
        try:
            server = Proxy(
                target,
                lambda: attached_to(config, target),
                http_options(config),
                host=host,
                port=port,
                key=key,
                hosts=tuple(allow_host or ()),
                origins=tuple(allow_origin or ()),
                # The Gemini API lists its models itself, Vertex AI does not.
                models=names if model or target.backend == "vertex" else (),
                limits=limits,
            )
        except OSError as error:
            typer.echo(f"{error}", err=True)
            raise typer.Exit(_USAGE) from None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: server.stop())
        variables = {
            "OPENAI_API_KEY": server.key,
            "OPENAI_BASE_URL": server.url,
            "MODEL_ID": names[0],
        }
        for line in shells.lines(variables, shell or shells.users()):
            typer.echo(line)
        typer.echo(f"# Forwards requests to {target.base_url}. Stop with Ctrl-C.")
        server.run()


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Says what is wrong, and how to go on, in place of a traceback."""
    try:
        yield
    except GenAIConfigError as error:
        typer.echo(in_options(f"{error}"), err=True)
        is_setting = isinstance(error, ConfigurationError)
        raise typer.Exit(_USAGE if is_setting else _REFUSED) from None


def _model(target: Target, given: str | None) -> str:
    """What to call the model; that of an endpoint of one's own has any name."""
    # Not typer's `envvar`: version 0.26 does not look at it.
    given = given or os.environ.get("MODEL_ID")
    is_own = target.endpoint not in ("", GEMINI_ENDPOINT)
    return target.model(given or (target.endpoint if is_own else MODEL))


def _variables(config: GenAIConfig, target: Target, model: str | None) -> dict[str, str]:
    headers = dict(attached_to(config, target).headers())
    return {
        "OPENAI_API_KEY": headers["authorization"].removeprefix("Bearer "),
        "OPENAI_BASE_URL": target.base_url,
        "MODEL_ID": _model(target, model),
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


def _kept_key(path: Path) -> str:
    """The key in a file; if there is no such file, a new one that only its owner can read.

    Raises:
        ConfigurationError: The file cannot be used, or others may read it.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_key(path)
    except OSError as error:
        raise ConfigurationError(
            f"The key file {path} cannot be written: {error.strerror}.",
            "give the path of a file in a folder that this process may write to.",
        ) from None
    key = secrets.token_urlsafe(32)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"{key}\n")
    return key


def _read_key(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ValueError("not a file")  # noqa: TRY301 -- told like the others
        others = mode & 0o077
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The key file {path} cannot be read: {type(error).__name__}.",
            "give a file that this process may read, or one that does not exist yet.",
        ) from None
    if others and os.name == "posix":
        raise ConfigurationError(
            f"Others than its owner may read or write the key file {path}.",
            f"rm {path}; then a new key is made.",
        )
    if not _KEY.fullmatch(text):
        raise ConfigurationError(
            f"{path} holds no key of this proxy: 32 letters, digits, '-' or '_' at least.",
            "give a file that does not exist yet; a key is made and put there.",
        )
    return text
