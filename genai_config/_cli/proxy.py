"""The command `genai-config proxy`, and the file with its key."""

from __future__ import annotations

import logging
import os
import re
import secrets
import signal
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import Annotated, Any

import typer

from genai_config._cli import shells
from genai_config._cli.programs import (
    USAGE,
    Shell,
    errors,
    model_name,
    with_place,
)
from genai_config._clients.account import account
from genai_config._clients.link import attached_to, http_options
from genai_config._models import MODEL
from genai_config._settings.primitives import path_of, refuse_secret
from genai_config.exceptions import ConfigurationError

_KEY = re.compile(r"[A-Za-z0-9_-]{32,}")

commands = typer.Typer()


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
@with_place
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
    shell: Shell = None,
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

    with errors():
        for option, given in (
            ("--host", [host]), ("--allow-host", allow_host), ("--allow-origin", allow_origin)
        ):  # fmt: skip
            for text in given or ():
                refuse_secret(option, text)
        file = path_of("--key-file", key_file) if key_file else None
        config, target = account(place)
        attached_to(config, target).headers()  # who has no credentials hears of it now
        limits = Limits(requests=max_requests, body=max_bytes)
        seconds = timeout or config.timeout
        if seconds is not None:
            limits = limits._replace(timeout=seconds)
        key = _kept_key(file) if file else None
        chosen: list[str | None] = [*model] if model else [None]
        names = tuple(model_name(target, one) for one in chosen)
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
            typer.echo(error.strerror, err=True)
            raise typer.Exit(USAGE) from None
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
    if not path.is_file():
        raise ConfigurationError(
            f"The key file {path} is not a file, but a folder, for example.",
            "give the path of a file; one that does not exist is created.",
        )
    try:
        others = path.stat().st_mode & 0o077
        text = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The key file {path} cannot be read: {getattr(error, 'strerror', 'not ASCII')}.",
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
