"""The commands env, token, exec and proxy: what they print, run and refuse."""

from __future__ import annotations

import base64
import datetime as dt
import json
import logging
import os
import re
import shlex
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
import typer
from typer.testing import CliRunner, Result

from genai_config import safe_configure
from genai_config._auth import headers
from genai_config._cli import app, shells
from genai_config._cli import openai as _openai
from genai_config._clients import link
from genai_config._proxy import server as _server
from genai_config._settings import environment
from genai_config.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer

PLACE = "v1/projects/my-project/locations/global/endpoints/openapi"
MODEL = "gemini-3.6-flash"
HOSTILE = 'it\'s "a" $(b) `c` \\ \u2018d\u2019 é'


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of those that the commands print, or look at."""
    for name in ("MODEL_ID", "SHELL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def url(server: GeminiServer, adc: Path) -> str:
    """The server's Vertex AI, and credentials for it."""
    del adc
    return f"https://{server.rest_endpoint}/{PLACE}"


def run(*arguments: str, **environ: str) -> Result:
    """Runs the command line in this process."""
    return CliRunner().invoke(app.app, arguments, env=environ)


def program(server: GeminiServer, *arguments: str) -> dict[str, Any]:
    """How to run the command line in a process of its own, with the server's credentials."""
    dropped = {variable.name for variable in environment.VARIABLES}
    clean = {name: value for name, value in os.environ.items() if name not in dropped}
    return {
        "args": [sys.executable, "-W", "ignore", "-m", "genai_config", *arguments],
        "env": {**clean, **server.environ(adc="service_account")},
        "encoding": "utf-8",
    }


def exported(output: str) -> dict[str, str]:
    """What a POSIX shell would set."""
    lines = [line for line in output.splitlines() if line.startswith("export ")]
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)


# env


def test_env_for_vertex_ai(server: GeminiServer, url: str) -> None:
    """With the three variables, OpenAI's own client works; a comment tells for how long."""
    result = run("env", "--base-url", url)
    assert (result.exit_code, result.stderr) == (0, "")
    found = exported(result.stdout)
    assert found["OPENAI_BASE_URL"] == url
    assert found["MODEL_ID"] == f"google/{MODEL}"
    (comment,) = [line for line in result.stdout.splitlines() if line.startswith("#")]
    assert comment == result.stdout.splitlines()[-1]
    match = re.search(r"(\S+), in (\d+) minutes", comment)
    assert match
    left = dt.datetime.fromisoformat(match[1]) - dt.datetime.now(dt.timezone.utc)
    assert dt.timedelta(minutes=58) < left < dt.timedelta(minutes=60)
    assert match[2] in ("58", "59")
    server.respond("*", "Hello")
    with openai.OpenAI(
        api_key=found["OPENAI_API_KEY"], base_url=url, http_client=trusting(server)
    ) as client:
        create = client.chat.completions.create
        done = create(model=found["MODEL_ID"], messages=[{"role": "user", "content": "hi"}])
        assert done.choices[0].message.content == "Hello"


def trusting(server: GeminiServer) -> Any:
    """OpenAI's HTTP client, which trusts the server."""
    return openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=server.ca_file))


def test_env_counts_by_the_clock_of_tokens(
    url: str, monkeypatch: pytest.MonkeyPatch, server: GeminiServer
) -> None:
    """A token that has a while left says so."""
    clock = FakeClock()
    monkeypatch.setattr(headers, "clock", clock)
    credentials = server.user_credentials()
    safe_configure(credentials=credentials, ca_certs=server.ca_file)
    credentials.token = "given"
    credentials.expiry = dt.datetime.fromtimestamp(clock() + 90 * 60 + 30, dt.timezone.utc).replace(
        tzinfo=None
    )
    assert "in 90 minutes" in run("env", "--base-url", url).stdout


def test_env_of_a_token_without_an_end(url: str) -> None:
    """Some token endpoints do not tell it, and neither does a function."""
    safe_configure(credentials=lambda: "given")
    result = run("env", "--base-url", url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "genai-config proxy" in result.stdout
    assert "minutes" not in result.stdout


def test_env_for_the_gemini_api() -> None:
    """The key is the API key, and the model has its name there."""
    result = run("env", GEMINI_API_KEY="AIza-mine")
    assert exported(result.stdout) == {
        "OPENAI_API_KEY": "AIza-mine",
        "OPENAI_BASE_URL": "https://generativelanguage.googleapis.com/v1beta/openai",
        "MODEL_ID": MODEL,
    }
    assert "minutes" not in result.stdout


def test_env_of_a_place_in_the_environment(adc: Path) -> None:
    """Project and location come from variables, or options; the credentials know a project too."""
    del adc
    result = run("env", "--api-version", "v1beta1", GOOGLE_CLOUD_LOCATION="eu")
    assert exported(result.stdout)["OPENAI_BASE_URL"] == (
        "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/project/locations/eu/"
        "endpoints/openapi"
    )
    result = run("env", "--project", "other-project", "--location", "us-central1")
    assert "/projects/other-project/locations/us-central1/" in result.stdout


def test_env_of_an_endpoint_of_ones_own(adc: Path) -> None:
    """Its model has any name: the endpoint's, unless one is given."""
    del adc
    options = ("env", "--location", "us-central1", "--endpoint", "123", "--shell", "dotenv")
    assert "MODEL_ID=123\n" in run(*options).stdout
    assert "MODEL_ID=mine\n" in run(*options, "--model", "mine").stdout
    assert "MODEL_ID=theirs\n" in run(*options, MODEL_ID="theirs").stdout


@pytest.mark.skipif(not shutil.which("bash"), reason="a real bash reads the output")
@pytest.mark.parametrize("form", ['eval "$(cat)"', "eval $(cat)", ". /dev/stdin"])
def test_bash_reads_what_env_prints(server: GeminiServer, url: str, form: str) -> None:
    """A real one, with or without quotation marks around the substitution."""
    done = subprocess.run(
        **program(server, "env", "--base-url", url, "--shell", "bash"),
        capture_output=True,
        check=True,
    )
    show = f'{form}; printf "%s\\n" "$OPENAI_API_KEY" "$OPENAI_BASE_URL" "$MODEL_ID"'
    read = subprocess.run(  # noqa: S603 -- our own
        ["bash", "-c", show],  # noqa: S607 -- whichever there is
        input=done.stdout,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    found = exported(done.stdout)
    assert read.stdout.splitlines() == list(found.values())


def test_bash_reads_any_value() -> None:
    """Nothing in it is taken for the shell's own."""
    (line,) = shells.lines({"MODEL_ID": HOSTILE}, "bash")
    assert shlex.split(line) == ["export", f"MODEL_ID={HOSTILE}"]


def test_fish_reads_any_value() -> None:
    """Between single quotation marks two characters are escaped, and no other means anything."""
    (line,) = shells.lines({"MODEL_ID": HOSTILE}, "fish")
    match = re.fullmatch(r"set -gx MODEL_ID '((?:[^'\\]|\\['\\])*)'", line)
    assert match
    assert re.sub(r"\\(['\\])", r"\1", match[1]) == HOSTILE


def test_powershell_reads_any_value() -> None:
    """Between single quotation marks each of its five kinds is doubled."""
    (line,) = shells.lines({"MODEL_ID": HOSTILE}, "powershell")
    match = re.fullmatch(r"\$env:MODEL_ID = '((?:[^'\u2018-\u201b]|(['\u2018-\u201b])\2)*)'", line)
    assert match
    assert re.sub(r"(['\u2018-\u201b])\1", r"\1", match[1]) == HOSTILE


@pytest.mark.parametrize(
    ("shell", "value"), [("dotenv", "a b"), ("dotenv", "$x"), ("bash", "a\nb")]
)
def test_what_cannot_be_written_is_refused(shell: str, value: str) -> None:
    """Readers of .env files agree on plain values alone; a line stays a line."""
    with pytest.raises(ValueError, match="MODEL_ID has a character"):
        shells.lines({"MODEL_ID": value}, shell)


@pytest.mark.parametrize(
    ("shell", "first"),
    [
        ("/usr/bin/fish", "set -gx OPENAI_API_KEY 'k'"),
        ("/opt/pwsh", "$env:OPENAI_API_KEY = 'k'"),
        ("/bin/zsh", "export OPENAI_API_KEY=k"),
        ("", "export OPENAI_API_KEY=k"),
    ],
)
def test_the_users_shell(shell: str, first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of $SHELL, or the system's."""
    monkeypatch.setattr(shells, "_SYSTEMS_SHELL", "bash")
    result = run("env", GEMINI_API_KEY="k", SHELL=shell)
    assert result.stdout.splitlines()[0] == first


def test_env_in_vain() -> None:
    """Nothing on stdout; the exit code tells a setting from credentials."""
    nothing = run("env")
    assert (nothing.exit_code, nothing.stdout) == (2, "")
    assert "Remedy: " in nothing.stderr
    refused = run("env", "--backend", "vertex", "--location", "eu", "--project", "my-project")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "gcloud auth application-default login" in refused.stderr
    model = run("env", "--model", "a b", GEMINI_API_KEY="AIza-mine")
    assert (model.exit_code, model.stdout) == (2, "")
    assert "AIza" not in model.stderr


# token


def test_token(server: GeminiServer) -> None:
    """One line, with the scopes that were asked for."""
    safe_configure(credentials=server.user_credentials(), ca_certs=server.ca_file)
    result = run("token")
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(r"ya29\.\S+\n", result.stdout)


def test_token_with_scopes(adc: Path) -> None:
    """A service account's token names them."""
    del adc
    result = run("token", "--scopes", "https://a.example/x,https://a.example/y")
    payload = result.stdout.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["scope"] == "https://a.example/x https://a.example/y"


def test_profiles(server: GeminiServer, url: str, tmp_path: Path) -> None:
    """A token is that of the profile's account, and a command gets the profile's name too."""
    pytest.importorskip("tomli" if sys.version_info < (3, 11) else "tomllib")
    key_file = Path(server.service_account_file("of-the-profile")).as_posix()
    path = tmp_path / "genai-config.toml"
    path.write_text(f"[profiles.prod]\ncredentials = '{key_file}'\n", encoding="utf-8")
    file = {"GENAI_CONFIG_FILE": str(path)}
    payload = run("token", "--profile", "prod", **file).stdout.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["iss"].startswith("of-the-profile@")
    assert run("token", "--profile", "prdo", **file).exit_code == 2
    code = "import os; print(os.environ['GENAI_CONFIG_PROFILE'])"
    command = ["--profile", "prod", "--", sys.executable, "-c", code]
    how = program(server, "exec", "--base-url", url, *command)
    how["env"] |= file
    assert subprocess.check_output(**how) == "prod\n"


def test_token_in_vain() -> None:
    """The error is on stderr."""
    result = run("token")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Remedy: " in result.stderr
    assert run("token", "--scopes", "é").exit_code == 2


# exec


def test_exec_becomes_the_command(server: GeminiServer, url: str) -> None:
    """The variables are there, those for OpenAI are not, options pass, the exit code is its own."""
    code = (
        "import os, sys; print(*sys.argv[1:], *(os.environ.get(n, '-') for n in ("
        "'OPENAI_BASE_URL', 'MODEL_ID', 'OPENAI_ORG_ID', 'OPENAI_PROJECT_ID', "
        "'OPENAI_CUSTOM_HEADERS')), len(os.environ['OPENAI_API_KEY']) > 100, os.getpid()); "
        "sys.exit(7)"
    )
    how = program(
        server, "exec", "--base-url", url, "--", sys.executable, "-c", code, "--model", "x"
    )
    how["env"] |= {"OPENAI_ORG_ID": "o", "OPENAI_PROJECT_ID": "p", "OPENAI_CUSTOM_HEADERS": "h: 1"}
    with subprocess.Popen(**how, stdout=subprocess.PIPE) as process:
        output, _ = process.communicate()
    assert output.split()[:-1] == [
        "--model", "x", url, f"google/{MODEL}", "-", "-", "-", "True"
    ]  # fmt: skip
    assert process.returncode == 7
    # On Windows it is a process of its own.
    assert (int(output.split()[-1]) == process.pid) == (os.name == "posix")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_signal_reaches_the_command(server: GeminiServer, url: str) -> None:
    """It is the same process."""
    code = "print('ready', flush=True); import signal; signal.pause()"
    how = program(server, "exec", "--base-url", url, "--", sys.executable, "-c", code)
    with subprocess.Popen(**how, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_broken_pipe_ends_the_command(server: GeminiServer, url: str) -> None:
    """As it does without this program: Python ignores the signal, and it would be inherited."""
    how = program(server, "exec", "--base-url", url, "--", "sh", "-c", "while echo y; do :; done")
    with subprocess.Popen(**how, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "y\n"
        process.stdout.close()
        assert process.wait(30) == -signal.SIGPIPE
        assert process.stderr.read() == ""


def test_exec_replaces_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system can do that."""
    seen: list[Any] = []

    def replace(file: str, arguments: list[str], environ: dict[str, str]) -> None:
        seen.extend([file, arguments, environ["OPENAI_API_KEY"], "OPENAI_API_KEY" in os.environ])
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(_openai, "_REPLACES", True)
    monkeypatch.setattr(os, "execvpe", replace)
    restored: dict[int, Any] = {}
    with monkeypatch.context() as patch:
        patch.setattr(signal, "signal", restored.__setitem__)
        patch.setattr(signal, "SIGPIPE", 13, raising=False)  # Windows has neither
        patch.setattr(signal, "SIGXFSZ", 25, raising=False)
        result = run("exec", "cmd", "--backend", "x", GEMINI_API_KEY="AIza-mine")
    assert restored == {13: signal.SIG_DFL, 25: signal.SIG_DFL}
    assert seen == ["cmd", ["cmd", "--backend", "x"], "AIza-mine", False]
    assert result.exit_code == 126
    assert result.stderr.startswith("cmd: Permission denied")


def test_exec_beside_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system cannot: the exit code is handed on."""
    monkeypatch.setattr(_openai, "_REPLACES", False)
    code = "import os, sys; sys.exit(3 if os.environ['OPENAI_API_KEY'] == 'AIza-mine' else 4)"
    result = run("exec", "--", sys.executable, "-c", code, GEMINI_API_KEY="AIza-mine")
    assert result.exit_code == 3
    missing = run("exec", "--", "no-such-command-anywhere", GEMINI_API_KEY="AIza-mine")
    assert missing.exit_code == 127
    assert missing.stderr.startswith("no-such-command-anywhere: ")


def test_exec_in_vain() -> None:
    """Without credentials nothing runs; without a command there is nothing to run."""
    marker = "import os; os._exit(9)"
    location = ("--location", "eu", "--project", "my-project")
    assert run("exec", *location, "--", sys.executable, "-c", marker).exit_code == 1
    assert run("exec", GEMINI_API_KEY="AIza-mine").exit_code == 2


# proxy


@pytest.fixture
def handlers() -> Iterator[None]:
    """The proxy's signal handlers are taken back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_proxy(server: GeminiServer, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """It prints what to export, and serves; here it stops after an answer."""
    safe_configure(ca_certs=server.ca_file)
    printed: list[str] = []
    monkeypatch.setattr(typer, "echo", lambda line, **_: printed.append(line))
    real = _server.Proxy.run
    answers: list[str] = []

    def running(proxy: _server.Proxy) -> None:
        serving = threading.Thread(target=real, args=[proxy])
        serving.start()
        found = exported("\n".join(printed))
        with openai.OpenAI(
            api_key=found["OPENAI_API_KEY"], base_url=found["OPENAI_BASE_URL"]
        ) as client:
            create = client.chat.completions.create
            done = create(model=found["MODEL_ID"], messages=[{"role": "user", "content": "hi"}])
            answers.append(str(done.choices[0].message.content))
        proxy.stop()
        serving.join()

    monkeypatch.setattr(_server.Proxy, "run", running)
    log = logging.getLogger("genai_config.proxy.access")
    before = list(log.handlers)
    try:
        options = ("--timeout", "30", "--shell", "bash", "--access-log")
        result = run("proxy", "--base-url", url, *options)
    finally:
        log.handlers[:] = before
        log.setLevel(logging.NOTSET)
    assert result.exit_code == 0
    assert 'POST "/v1/chat/completions" 200' in result.stderr
    assert answers == [f"Hello from models/{MODEL}"]
    assert printed[-1].startswith("# ")
    assert f" {url}." in printed[-1]
    assert server.requests[-1].identity == "sa-1@project.iam.gserviceaccount.com"


@pytest.mark.usefixtures("handlers")
def test_a_signal_before_the_proxy_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not lost."""
    real = _server.Proxy.run

    def running(proxy: _server.Proxy) -> None:
        signal.raise_signal(signal.SIGTERM)
        real(proxy)

    monkeypatch.setattr(_server.Proxy, "run", running)
    assert run("proxy", GEMINI_API_KEY="AIza-mine").exit_code == 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_proxy_as_a_program(server: GeminiServer, url: str, number: int) -> None:
    """From the shell's lines to an answer; after the signal it ends without a word."""
    how = program(server, "proxy", "--base-url", url, "--shell", "bash")
    with subprocess.Popen(**how, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        found = exported("".join(process.stdout.readline() for _ in range(4)))
        with openai.OpenAI(
            api_key=found["OPENAI_API_KEY"], base_url=found["OPENAI_BASE_URL"]
        ) as client:
            done = client.chat.completions.create(
                model=found["MODEL_ID"], messages=[{"role": "user", "content": "hi"}]
            )
        assert done.choices[0].message.content == f"Hello from models/{MODEL}"
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "", "")


@pytest.mark.usefixtures("handlers")
def test_the_proxys_key_over_restarts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made once, for its owner alone."""
    path = tmp_path / "key"
    monkeypatch.setattr(_server.Proxy, "run", lambda proxy: proxy._listening.close())
    first, second = (
        exported(run("proxy", "--key-file", str(path), GEMINI_API_KEY="AIza-mine").stdout)
        for _ in range(2)
    )
    assert first["OPENAI_API_KEY"] == second["OPENAI_API_KEY"] == path.read_text().strip()
    assert first["OPENAI_BASE_URL"] != second["OPENAI_BASE_URL"]
    # Windows has no modes for others.
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600


def refused_key(path: Path) -> str:
    """What the proxy says of a key file."""
    result = run("proxy", "--key-file", str(path), GEMINI_API_KEY="AIza-mine")
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def test_key_files_that_cannot_be_used(tmp_path: Path) -> None:
    """Each says why; no content is shown."""
    assert "cannot be written" in refused_key(tmp_path / "no" / "key")
    assert "folder" in refused_key(tmp_path)
    path = tmp_path / "key"
    path.write_bytes(b"\xff" * 40)
    assert "cannot be read: not ASCII" in refused_key(path)
    path.write_text("sk-short")
    path.chmod(0o600)
    assert "holds no key" in refused_key(path)
    assert "sk-short" not in refused_key(path)


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_key_file_that_others_may_read(tmp_path: Path) -> None:
    """It is no secret any more."""
    path = tmp_path / "key"
    path.write_text("k" * 43)
    path.chmod(0o644)
    assert f"rm {path}" in refused_key(path)


def test_proxy_in_vain() -> None:
    """Without credentials, or on a port that cannot be had, it does not start."""
    nothing = run("proxy", "--location", "eu", "--project", "my-project")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "Remedy: " in nothing.stderr
    with _server._listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        result = run("proxy", "--port", port, GEMINI_API_KEY="AIza-mine")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Port {port} ")


@pytest.mark.parametrize("command", ["proxy", "serve"])
@pytest.mark.parametrize("port", ["99999", "-1", "x"])
def test_ports_that_are_none(command: str, port: str) -> None:
    """One message, no traceback."""
    result = run(command, "--port", port)
    assert result.exit_code == 2
    assert "--port" in result.output
    assert "Traceback" not in result.output


def test_http_options(server: GeminiServer) -> None:
    """Trust and proxy are those of the configuration."""
    config = safe_configure(ca_certs=server.ca_file, proxy="http://me:pw@proxy.example:3128")
    options = link.http_options(config)
    assert options["proxy"] == "http://me:pw@proxy.example:3128"
    assert options["verify"].get_ca_certs()


@pytest.mark.parametrize("command", ["env", "token", "exec", "proxy"])
def test_help(command: str) -> None:
    """It has an example and the exit codes."""
    output = run(command, "--help", COLUMNS="200").output
    assert f"genai-config {command}" in output
    assert "Exit code: " in output


@pytest.mark.parametrize("command", ["env", "token"])
def test_whose_credentials(command: str, server: GeminiServer, tmp_path: Path) -> None:
    """A key file on the command line goes before those that are configured."""
    file = server.service_account_file()
    options = ["--credentials", str(file)]
    if command == "env":
        options += [
            "--base-url",
            f"https://{server.rest_endpoint}/{PLACE}",
            "--quota-project",
            "billed-project",
        ]
    done = run(command, *options, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "none.json"))
    assert done.exit_code == 0, done.output
    missing = run(command, "--credentials", str(tmp_path / "none.json"), *options[2:])
    assert missing.exit_code == 1
    assert "none.json" in missing.output
