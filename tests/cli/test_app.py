"""The command line: its output, its exit codes, and what it says where something is missing."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner, Result

import genai_config
from genai_config.__main__ import main
from genai_config._cli import app, demo
from genai_config._models import MODEL
from genai_config._settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genai_config.testing import GeminiServer

ANSI = "\x1b["
SECRETS = ("AIza", "ya29", "eyJ", "PRIVATE KEY", "1//", "junk")
HOSTILE = {
    "GEMINI_API_KEY": "AIza-junk-key-of-the-environment-1",
    "GOOGLE_API_KEY": "AIza-junk-key-of-the-environment-2",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere/junk.json",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "grpc_proxy": "http://127.0.0.1:9",
}
# What decides about colour and width, but for the terminal itself.
LOOKS = ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
STEP = demo.STORY[1].steps[0]


def run(*arguments: str, **environ: str) -> Result:
    """Runs the command line in this process, as if its output were piped."""
    env = {**dict.fromkeys(LOOKS), **environ}
    return CliRunner().invoke(app.app, arguments, env=env)


def tell(monkeypatch: pytest.MonkeyPatch, *steps: demo.Step) -> Result:
    """Runs the demo with another story."""
    monkeypatch.setattr(demo, "STORY", (demo.Scene("Another story", steps),))
    return run("demo")


def as_program(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, in an environment without configuration."""
    dropped = {*LOOKS, *(variable.name for variable in environment.VARIABLES)}
    clean = {name: value for name, value in os.environ.items() if name not in dropped}
    return subprocess.run(  # noqa: S603 -- this Python
        [sys.executable, *arguments],
        env={**clean, **environ},
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def totals(output: str) -> list[int]:
    """The numbers of the last line: steps as expected, steps, calls, connections."""
    return [int(number) for number in re.findall(r"\d+", output.splitlines()[-1])]


def labelled(output: str) -> list[tuple[str, list[str]]]:
    """What the demo says of each step: label by label, the words beside it and below."""
    found: list[tuple[str, list[str]]] = []
    for line in output.splitlines():
        if match := re.fullmatch(r"  (server saw|raised|expected)  +(.*)", line):
            found.append((match[1], match[2].split()))
        elif found and line.startswith(" " * 14):
            found[-1][1].extend(line.split())
    return found


def test_the_demo_as_a_program(tmp_path: Path) -> None:
    """In a hostile environment, every step behaves as expected and no secret is printed."""
    done = as_program(tmp_path, "-m", "genai_config", "demo", **HOSTILE)
    assert (done.returncode, done.stderr) == (0, "")
    right, steps, calls, connections = totals(done.stdout)
    assert right == steps == len([s for scene in demo.STORY for s in scene.steps])
    assert calls > steps > connections > 0
    assert ANSI not in done.stdout
    assert [secret for secret in SECRETS if secret in done.stdout] == []
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_demo_shows_the_code_and_what_the_server_saw() -> None:
    """Every line of code is there, and for each call its model, credentials and transport."""
    result = run("demo", COLUMNS="200")
    assert result.exit_code == 0
    for scene in demo.STORY:
        assert scene.title in result.stdout
        for step in scene.steps:
            assert step.title in result.stdout
            assert all(f"    {line}\n" in result.stdout for line in step.code.splitlines())
    lines = result.stdout.splitlines()
    words = [line.split() for line in lines]
    assert ["server", "saw", MODEL, "API", "key", '"demo-key"', "gRPC"] in words
    assert ["endpoints/1234567890", "OAuth", '"demo-account"', "REST"] in words
    assert any(line.startswith("  raised      NotFound: 404") for line in lines)
    assert "expected" not in dict(labelled(result.stdout))
    assert not any(line != line.rstrip() for line in lines)
    assert max(map(len, lines)) <= 80


def test_a_narrow_terminal() -> None:
    """What is not code wraps."""
    result = run("demo", COLUMNS="30")
    assert result.exit_code == 0
    assert "  raised      NotFound: 404" in [line[:28] for line in result.stdout.splitlines()]


def test_colour() -> None:
    """A terminal has colours, unless NO_COLOR is set."""
    colours = re.compile(r"\x1b\[[\d;]*3\d")
    assert colours.search(run("demo", FORCE_COLOR="1").stdout)
    assert not colours.search(run("demo", FORCE_COLOR="1", NO_COLOR="1").stdout)
    assert ANSI not in run("demo", NO_COLOR="1").stdout


def test_other_calls_than_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step shows what was seen and what was expected, and the code is 1."""
    wrong = dataclasses.replace(
        STEP, expected=(demo.Seen("other", "none", None, "rest", "NOT_FOUND"),) * 2
    )
    result = tell(monkeypatch, wrong, STEP)
    assert result.exit_code == 1
    assert labelled(result.stdout)[:2] == [
        ("server saw", [demo.BASE, "API", "key", '"demo-key"', "gRPC"]),
        ("expected", ["other", "none", "REST", "NOT_FOUND"] * 2),
    ]
    assert totals(result.stdout) == [1, 2, 2, 1]


def test_an_exception_that_was_not_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its type and message are shown, and the story goes on."""
    result = tell(monkeypatch, demo.Step("Wrong.", "1 / 0", ()), STEP)
    assert result.exit_code == 1
    labels, words = zip(*labelled(result.stdout)[:3], strict=True)
    assert labels == ("server saw", "raised", "expected")
    assert words[1] == ["ZeroDivisionError:", "division", "by", "zero"]
    assert totals(result.stdout) == [1, 2, 1, 1]


def test_an_exception_that_did_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The expected type is shown."""
    result = tell(monkeypatch, dataclasses.replace(STEP, error="PermissionDenied"))
    assert result.exit_code == 1
    label, words = labelled(result.stdout)[-1]
    assert label == "expected"
    assert "PermissionDenied" in words


def test_messages_are_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brackets in a message are printed as they are, and a secret is not."""
    code = "raise ValueError(f'[bold]x[/] {KEY}')"
    result = tell(monkeypatch, demo.Step("[red]Wrong[/red].", code, ()))
    assert "  raised      ValueError: [bold]x[/] ****" in result.stdout
    assert "  [red]Wrong[/red]." in result.stdout
    assert "AIza" not in result.stdout


def test_help_and_version() -> None:
    """The help has an example; the version is that of the package."""
    for arguments in (["--help"], ["demo", "--help"], []):
        assert "genai-config demo" in run(*arguments).output
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"genai-config {genai_config.__version__}\n")
    assert run("tell").exit_code == 2


GROUP: Any = typer.main.get_command(app.app)


def shown_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, *command: str
) -> str:
    """What --help prints on a terminal of this width; typer's runner would fix the width."""
    for name in LOOKS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit):
        app.app([*command, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("command", [(), *((name,) for name in GROUP.commands)], ids="-".join)
@pytest.mark.parametrize("width", [60, 79, 80, 120])
def test_help_is_not_cut(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    width: int,
    command: tuple[str, ...],
) -> None:
    """No line is wider than the terminal, and no word is shortened."""
    output = shown_help(monkeypatch, capsys, width, *command)
    assert "…" not in output
    assert max(map(len, output.splitlines())) <= width


@pytest.mark.parametrize("name", GROUP.commands)
def test_help_on_a_narrow_terminal_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """It has the whole text of the command and its options; only line breaks differ."""
    output = "".join(shown_help(monkeypatch, capsys, 60, name).split())
    command = GROUP.commands[name]
    for text in (command.help, *(one.help for one in command.params)):
        assert "".join((text or "").split()) in output


def test_the_list_of_commands_on_a_narrow_terminal_is_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has the whole summary of each command."""
    output = "".join(shown_help(monkeypatch, capsys, 60).replace("│", "").split())
    for command in GROUP.commands.values():
        assert "".join(command.help.partition("\n\n")[0].split()) in output


# One for each place that imports them: the commands, the demo, the server.
@pytest.mark.parametrize("missing", ["rich", "grpc", "uvicorn"])
def test_a_missing_package_as_a_program(missing: str, tmp_path: Path) -> None:
    """Without one of the extras' packages, one sentence says what to install."""
    program = (
        f"import sys; sys.modules[{missing!r}] = None; from genai_config.__main__ import main; "
        "main()"
    )
    done = as_program(tmp_path, "-c", program, "demo")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert missing in done.stderr
    assert "pip install 'genai-config[all]'" in done.stderr


def test_a_missing_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same in this process: the exit code is 2, and there is no traceback."""
    monkeypatch.delitem(sys.modules, "genai_config._cli.app")
    monkeypatch.delattr("genai_config._cli.app")
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    assert "pip install 'genai-config[all]'" in output.err


def test_the_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It reads the arguments of the process."""
    monkeypatch.setattr(sys, "argv", ["genai-config", "--version"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"genai-config {genai_config.__version__}\n"


def test_a_mistake_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of this library that is not there is no matter of what is installed."""
    monkeypatch.delattr("genai_config._cli.app")
    monkeypatch.setitem(sys.modules, "genai_config._cli.app", None)
    with pytest.raises(ModuleNotFoundError, match=r"genai_config\._cli"):
        main()


def handled() -> list[int]:
    """The signals that end a server."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def test_serve_prints_what_to_export_and_stops_on_a_signal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Here the signal comes when all has been printed."""
    exports = app._exports
    found: list[str] = []

    def then_stop(server: GeminiServer, authorities: Path) -> Iterator[str]:
        assert authorities.read_bytes().endswith(server.ca_file.read_bytes())
        assert (server.tuning, server.models) == ("ended", "today")
        found.append(server.endpoint)
        yield from exports(server, authorities)
        signal.raise_signal(getattr(signal, "SIGHUP", signal.SIGTERM))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(app, "_exports", then_stop)
    before = {number: signal.getsignal(number) for number in handled()}
    try:
        result = run("serve", "--today")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert result.exit_code == 0
    bundle = tmp_path / "genai-config" / "ca-bundle.pem"
    assert f"export SSL_CERT_FILE={bundle}\n" in result.stdout
    assert ssl.create_default_context(cafile=str(bundle)).get_ca_certs()
    for name in ("GEMINI_API_KEY", "GEMINI_GRPC_ENDPOINT", "GOOGLE_APPLICATION_CREDENTIALS"):
        assert f"export {name}=" in result.stdout
    # One address: whichever a program takes, both wires work.
    wires = re.findall(r"^export GEMINI_(?:GRPC|REST)_ENDPOINT=(.+)$", result.stdout, re.MULTILINE)
    assert wires == [found[0]] * 2
    place = "v1/projects/my-project/locations/us-central1/endpoints/openapi"
    for path in ("v1beta/openai", place):
        assert re.search(
            rf"^# OpenAI .*: https://localhost:\d+/{path}$", result.stdout, re.MULTILINE
        )
    assert "export OPENAI_" not in result.stdout


def test_serve_where_no_bundle_can_be_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server's own file is named; it is gone when the server is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").touch()
    found: list[Path] = []

    def then_stop(_: GeminiServer, authorities: Path) -> Iterator[str]:
        found.append(authorities)
        signal.raise_signal(signal.SIGTERM)
        return iter(())

    monkeypatch.setattr(app, "_exports", then_stop)
    before = {number: signal.getsignal(number) for number in handled()}
    try:
        result = run("serve")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert result.exit_code == 0
    assert found[0].name == "ca.pem"
    assert not found[0].exists()


def test_ctrl_c_before_a_command_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ends the program as a shell expects it, without a traceback."""

    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "app", interrupted)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 130


def test_serve_on_a_port_that_is_taken() -> None:
    """One sentence that says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 2
    assert "is in use; choose another with --port" in result.output
    assert result.output.startswith("Port ")
