"""The command line: the application, and the commands `demo` and `serve`."""

from __future__ import annotations

import contextlib
import shlex
import signal
import textwrap
import threading
from typing import TYPE_CHECKING, Annotated

import typer
from rich.syntax import Syntax
from rich.text import Text

import genai_config
from genai_config import _models
from genai_config._cli import compare, diagnosis, migrate, openai, proxy, trust
from genai_config._cli import console as _console
from genai_config._cli import demo as _demo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from rich.console import Console

    from genai_config.testing import GeminiServer

_LABEL = 12

app = typer.Typer(
    name="genai-config",
    cls=_console.Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show local variables, and so keys
)
app.add_typer(diagnosis.app)
app.add_typer(openai.commands)
app.add_typer(proxy.commands)
app.add_typer(migrate.commands)
app.add_typer(compare.commands)


def _show_version(asked: bool) -> None:  # noqa: FBT001 -- what typer calls
    if asked:
        typer.echo(f"genai-config {genai_config.__version__}")
        raise typer.Exit


@app.callback(
    help="Configuration for google-generativeai that merges, and routes every request.\n\n"
    "Example: genai-config demo"
)
def _root(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """What all commands have in common."""


@app.command(
    help="Show on a local server what the bare SDK sends, and what this library sends.\n\n"
    "Every call is real. No account is needed, and nothing leaves this machine. The exit code "
    "is 1 if a step did not behave as expected.\n\n"
    "Example: genai-config demo"
)
def demo() -> None:
    """Tells the story of `_demo`, step by step."""
    console = _console.console()
    results = []
    with _demo.stage() as stage:
        console.print(Text(_INTRODUCTION))
        for number, scene in enumerate(_demo.STORY, 1):
            console.print(Text(f"\n{number}. {scene.title}", "bold cyan"))
            stage.enter(scene)
            for step in scene.steps:
                _show_step(console, step)
                results.append(stage.play(step))
                _show_result(console, results[-1])
    right = sum(result.as_expected for result in results)
    calls = sum(len(result.seen) for result in results)
    connections = frozenset[str]().union(*(result.connections for result in results))
    wrong = right < len(results)
    console.print(
        Text(
            f"\n{right} of {len(results)} steps behaved as expected; "
            f"{calls} calls on {len(connections)} connections.",
            "bold red" if wrong else "bold green",
        )
    )
    raise typer.Exit(1 if wrong else 0)


@app.command(
    help="Run the local Gemini server until Ctrl-C or SIGTERM, for programs in any language.\n\n"
    "Prints the variables to export, for a shell; the keys and accounts are made up and known "
    "only to this server. The Gemini API, Vertex AI, OpenAI's protocol and OAuth are served; "
    "models answer with their name, call the functions that they are given, and follow JSON "
    "schemas.\n\n"
    "Example: genai-config serve --port 8443"
)
def serve(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port for gRPC and REST; 0 chooses a free one.")
    ] = 0,
    rest_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Another port, for REST alone.")
    ] = 0,
    today: Annotated[
        bool,
        typer.Option(
            "--today",
            help="Refuse retired models, and tuned models on the Gemini API, as the service does "
            "today.",
        ),
    ] = False,
) -> None:
    """Serves in this process; all it prints is for ``source <(…)`` or a file."""
    stop = threading.Event()
    # First of all: importing the server takes long enough for a Ctrl-C.
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):  # pragma: no branch -- Windows has no SIGHUP
            signal.signal(getattr(signal, name), lambda *_: stop.set())
    from genai_config.testing import GeminiServer

    with contextlib.ExitStack() as undo:
        try:
            server = GeminiServer(port=port, rest_port=rest_port)
            server.start()
        except OSError as error:
            flags = (
                str(error.strerror).replace("rest_port=", "--rest-port").replace("port=", "--port")
            )
            typer.echo(flags, err=True)
            raise typer.Exit(2) from None
        undo.callback(server.stop)
        if today:
            server.models, server.tuning = "today", "ended"
        authorities = server.ca_file
        with contextlib.suppress(OSError):  # a home that cannot be written to
            given = trust.bundle(authorities.read_bytes(), trust.folder())
            authorities = undo.enter_context(given)
        for line in _exports(server, authorities):
            typer.echo(line)
        stop.wait()


def _exports(server: GeminiServer, authorities: Path) -> Iterator[str]:
    """What a program needs to reach the server, as a shell reads it."""
    rest = f"https://{server.endpoint}"
    place = "projects/my-project/locations/us-central1"
    yield f"# gRPC and REST, with TLS: {rest}"
    yield f"# Vertex AI: {rest}/v1beta1/{place}/publishers/google/models/{_models.MODEL}"
    # No variables of OpenAI's own: whoever reads these lines may have an account there.
    yield f"# OpenAI clients with GEMINI_API_KEY: {rest}/v1beta/openai"
    yield f"# OpenAI clients with an access token: {rest}/v1/{place}/endpoints/openapi"
    variables = {
        "GEMINI_API_KEY": server.api_key("serve-key"),
        # One address: by their names it is read which wire a program has in mind.
        "GEMINI_GRPC_ENDPOINT": server.endpoint,
        "GEMINI_REST_ENDPOINT": server.endpoint,
        "GEMINI_OPENAI_URL": f"{rest}/v1beta/openai",
        # What google-genai reads.
        "GOOGLE_GEMINI_BASE_URL": rest,
        "GOOGLE_VERTEX_BASE_URL": rest,
        **server.environ(adc="service_account"),
    }
    old = str(server.ca_file)
    for name, value in variables.items():
        yield f"export {name}={shlex.quote(str(authorities) if value == old else value)}"
    yield f"# To undo: unset {' '.join(variables)}"
    yield "# Stop with Ctrl-C."


_INTRODUCTION = """\
Real calls by the real SDK, to a server on this machine that is both the Gemini
API and Vertex AI (Gemini Enterprise Agent Platform), and accepts and refuses
credentials as they do. It knows three API keys and one service account, which
is what Application Default Credentials (ADC) find here. The settings that point
the SDK at this server are not shown."""


def _show_step(console: Console, step: _demo.Step) -> None:
    console.print(Text(f"\n  {step.title}\n"))
    code = Syntax("", "python", theme="ansi_dark", background_color="default").highlight(step.code)
    code.rstrip()
    for line in code.split("\n"):
        console.print(Text("    ").append_text(line), soft_wrap=True)
    console.print()


def _show_result(console: Console, result: _demo.Result) -> None:
    step = result.step
    _show(console, "server saw", _calls(result.seen))
    if result.error:
        _show(console, "raised", [f"{result.error}: {result.message}"])
    if result.as_expected:
        console.print(Text("  as expected", "green"))
        return
    console.print(Text("  UNEXPECTED", "bold red"))
    if result.seen != step.expected:
        _show(console, "expected", _calls(step.expected))
    if result.error != step.error:
        _show(console, "expected", [f"to raise {step.error}" if step.error else "no exception"])


def _show(console: Console, label: str, paragraphs: Iterable[str]) -> None:
    """Prints paragraphs with a label to the left of the first."""
    width = max(console.width - _LABEL - 2, _LABEL)
    for paragraph in paragraphs:
        for line in textwrap.wrap(paragraph, width):
            row = Text("  ").append(label.ljust(_LABEL), "dim").append(line)
            console.print(row, soft_wrap=True)
            label = ""


_CREDENTIALS = {"api_key": "API key", "oauth": "OAuth", "none": "none", "both": "key and token"}
_TRANSPORTS = {"grpc": "gRPC", "rest": "REST"}


def _calls(calls: Iterable[_demo.Seen]) -> list[str]:
    """One line per call, in columns."""
    lines = []
    for call in calls:
        identity = f'"{call.identity}"' if call.identity else ""
        credentials = f"{_CREDENTIALS[call.auth]} {identity}"
        transport = _TRANSPORTS[call.transport]
        status = "" if call.status == "OK" else call.status
        lines.append(f"{call.model:20}  {credentials:20}  {transport}  {status}".rstrip())
    return lines or ["no call"]
