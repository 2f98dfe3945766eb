"""What the documents show is run: Python blocks as programs, console blocks in a shell."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI, OpenAI

from genai_config import override, safe_configure

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

ROOT = Path(__file__).parents[2]
README, TESTING = ROOT / "README.md", ROOT / "docs" / "testing.md"
OPENAI, PROXY = ROOT / "docs" / "openai.md", ROOT / "docs" / "proxy.md"
DIAGNOSIS = ROOT / "docs" / "diagnosis.md"


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands_and_output(transcript: str) -> tuple[list[str], list[str]]:
    """The lines that are typed, and those that the reader sees."""
    lines = transcript.splitlines()
    commands = [re.sub(r"^[$>] ", "", x) for x in lines if x[:2] in ("$ ", "> ", ". ")]
    return commands, [line for line in lines if line[:2] not in ("$ ", "> ", ". ")]


@pytest.mark.usefixtures("adc")
@pytest.mark.filterwarnings("ignore:genai.configure")
def test_the_readmes_python_blocks_run(
    server: GeminiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the local server, with keys of its own in the place of the reader's."""
    here: Any = {
        "client_options": {"api_endpoint": server.grpc_endpoint},
        "vertex_endpoint": server.rest_endpoint,
    }
    safe_configure(ca_certs=server.ca_file, **here)
    names = {"MY_KEY": server.api_key("mine"), "TENANT_KEY": server.api_key("tenant")}
    shown = blocks(README, "python")
    assert len(shown) == 6
    for number, block in enumerate(shown):
        with warnings.catch_warnings(), contextlib.ExitStack() as undo:
            if "import openai" in block:
                # OpenAI's clients speak REST alone.
                rest = {"api_endpoint": server.rest_endpoint}
                undo.enter_context(override(client_options=rest))
            exec(compile(block, f"README block {number}", "exec"), names)  # noqa: S102 -- our own
        if number == 0:
            # The SDK's own configure() has dropped where the server is, as it does.
            safe_configure(**here)
    assert [r.identity for r in server.requests if r.auth == "api_key"] == [
        "mine",
        "tenant",
        "mine",
    ]
    at_vertex = {r.resource for r in server.requests if "/endpoints/" in r.resource}
    assert at_vertex == {"projects/my-project/locations/us-central1/endpoints/1234567890"}
    assert "GenAIConfig(api_key=**********" in capsys.readouterr().out


@pytest.mark.usefixtures("adc")
def test_the_page_on_openais_clients_runs(
    server: GeminiServer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Each sample by itself, and the error as it is shown."""
    for name in ("work", "lab"):
        shutil.copy(server.service_account_file(name), tmp_path / f"{name}.json")
    safe_configure(ca_certs=server.ca_file, client_options={"api_endpoint": server.rest_endpoint})
    for number, block in enumerate(blocks(OPENAI, "python")):
        with override(api_key=server.api_key()) if number == 0 else override():
            names: dict[str, Any] = {}
            if "openai.client()" in block:
                export = blocks(OPENAI, "console")[1].removeprefix("$ export ")
                for variable, value in (pair.split("=") for pair in export.split()):
                    monkeypatch.setenv(variable, value)
            code = block.replace("/path/to", str(tmp_path))
            exec(compile(code, f"openai page {number}", "exec"), names)  # noqa: S102 -- our own
            clients = [one for one in names.values() if isinstance(one, OpenAI | AsyncOpenAI)]
            assert "projects" in {one.base_url.path.split("/")[2] for one in clients}
    shown = f"Hello from models/gemini-3.6-flash\n{blocks(OPENAI, 'text')[0]}"
    assert capsys.readouterr().out == shown
    assert [request.resource for request in server.requests] == ["google/gemini-3.6-flash"]


def test_the_readme_is_short() -> None:
    """Under 200 lines, so that it is read."""
    assert len(README.read_text(encoding="utf-8").splitlines()) < 200


def test_the_first_test_of_a_reader_is_green(tmp_path: Path) -> None:
    """The files of the page, and the command as printed."""
    app, test, *_ = blocks(TESTING, "python")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    (tmp_path / "test_app.py").write_text(test, encoding="utf-8")
    transcript = blocks(TESTING, "console")[0]
    command, _, expected = transcript.removeprefix("$ ").partition("\n")
    assert command == "pytest -q"
    done = subprocess.run(  # noqa: S603 -- our own
        [sys.executable, "-m", *command.split(), "-p", "no:cacheprovider", "-W", "ignore"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.sub(r" in [\d.]+s", "", done.stdout) == expected


def test_the_page_configures_the_server_again(tmp_path: Path) -> None:
    """After a reset, as the page says."""
    app, _, again, *_ = blocks(TESTING, "python")
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "app.py").write_text(app, encoding="utf-8")
    (tmp_path / "test_again.py").write_text(again, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)  # noqa: S603 -- our own
    assert done.stdout.startswith("."), done.stdout


def test_the_pages_programs_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Programming the server, reading it, and OpenAI's client on it."""
    programs = blocks(TESTING, "python")[3:]
    assert len(programs) == 4
    for program in programs:
        exec(compile(program, "testing page", "exec"), {})  # noqa: S102 -- our own
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="the page shows curl in a shell"
)
def test_the_servers_transcript_is_what_a_reader_sees(tmp_path: Path) -> None:
    """The server in a process of its own, and each command of the page with its output."""
    start, session, bare = blocks(TESTING, "console")[1:]
    assert start == "$ genai-config serve > server.env\n"
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    program = [sys.executable, "-m", "genai_config", "serve"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as served:  # noqa: S603 -- our own
        assert served.stdout is not None
        exports = itertools.takewhile(lambda line: not line.startswith("# Stop"), served.stdout)
        (tmp_path / "server.env").write_text("".join(exports), encoding="utf-8")
        for transcript in (session, ". ./server.env\n" + bare):
            commands, expected = commands_and_output(transcript)
            done = subprocess.run(  # noqa: S603 -- our own
                ["bash", "-e", "-c", "\n".join(commands)],  # noqa: S607 -- the reader's
                cwd=tmp_path,
                env={**os.environ, "PATH": path},
                capture_output=True,
                text=True,
                check=False,
            )
            shown = re.sub(r'": *"', '": "', done.stdout)
            assert shown.splitlines() == expected, done.stderr
        served.send_signal(signal.SIGTERM)
    assert served.returncode == 0


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("bash")), reason="the page shows curl in a shell"
)
def test_the_page_for_programs_that_are_not_yours(server: GeminiServer, tmp_path: Path) -> None:
    """Each command with its output, on the local server in the place of us-central1."""
    server.respond("*", "Because of Rayleigh scattering.")
    (tmp_path / "ask.py").write_text(blocks(PROXY, "python")[0], encoding="utf-8")
    install, shell, one_command, token, start, other_terminal = blocks(PROXY, "console")
    assert install == "$ pip install 'genai-config[proxy]'\n"
    place = "v1/projects/my-project/locations/us-central1/endpoints/openapi"
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    environ = {**os.environ, **server.environ(adc="service_account"), "PATH": path}
    environ["SHELL"] = "/bin/bash"
    # What may be typed as `genai-config`, wherever it is installed.
    prelude = f'genai-config() {{ "{sys.executable}" -W ignore -m genai_config "$@"; }}; set -e'

    def here(line: str) -> str:
        return line.replace(
            "--location us-central1", f"--base-url https://{server.rest_endpoint}/{place}"
        )

    (command,), _ = commands_and_output(start)
    arguments = here(command).removesuffix(" > proxy.env").split()[1:]
    with subprocess.Popen(  # noqa: S603 -- our own
        [sys.executable, "-W", "ignore", "-m", "genai_config", *arguments],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=environ,
        text=True,
    ) as proxy:
        assert proxy.stdout is not None
        exports = itertools.takewhile(lambda line: not line.startswith("#"), proxy.stdout)
        (tmp_path / "proxy.env").write_text("".join(exports), encoding="utf-8")
        for transcript in (shell + token, one_command, other_terminal):
            commands, expected = commands_and_output(transcript)
            done = subprocess.run(  # noqa: S603 -- our own
                ["bash", "-c", "\n".join([prelude, *map(here, commands)])],  # noqa: S607 -- the reader's
                cwd=tmp_path,
                env=environ,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.stdout.splitlines() == expected, done.stderr
        proxy.send_signal(signal.SIGTERM)
    assert proxy.returncode == 0
    assert {request.resource for request in server.requests} == {"google/gemini-3.6-flash"}


@pytest.mark.usefixtures("adc")
def test_the_explanations_of_the_page_are_what_a_reader_sees(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The first program's output is the page's, the second finds nothing wrong."""
    names: dict[str, object] = {}
    for block in blocks(DIAGNOSIS, "python"):
        exec(compile(block, "app.py", "exec"), names)  # noqa: S102 -- our own
    assert capsys.readouterr().out == blocks(DIAGNOSIS, "text")[0]


@pytest.mark.skipif(not shutil.which("bash"), reason="the page shows a shell")
def test_the_doctors_transcripts_are_what_a_reader_sees(tmp_path: Path) -> None:
    """The commands of the page, one after the other, with their output."""
    ours = re.compile(r"(?i)(no_|grpc_|https?_|all_)proxy|OPENAI_\w+|\w+CA_BUNDLE|SSL_CERT_FILE")
    dropped = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", *filter(ours.fullmatch, os.environ)}
    clean = {name: value for name, value in os.environ.items() if name not in dropped}
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    transcript = "".join(blocks(DIAGNOSIS, "console"))
    commands = [line[2:] for line in transcript.splitlines() if line.startswith("$ ")]
    expected = [line for line in transcript.splitlines() if not line.startswith("$ ")]
    done = subprocess.run(  # noqa: S603 -- our own
        ["bash", "-c", "\n".join(commands)],  # noqa: S607 -- the reader's
        cwd=tmp_path,
        env={**clean, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == expected, done.stderr
