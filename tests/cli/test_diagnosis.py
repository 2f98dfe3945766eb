"""`genai-config explain` and `genai-config doctor`: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from genai_config import get_config, safe_configure
from genai_config._cli import app
from genai_config._diagnosis import doctor
from genai_config._diagnosis.checks import Check, Finding, Skipped
from genai_config._settings import environment

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config.testing import GeminiServer

KEY = "AIza-a-key-that-nobody-may-see"
TUNED = "tunedModels/mine"
LOOKS = ("FORCE_COLOR", "NO_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
COLOUR = re.compile(r"\x1b\[[\d;]*3\d")
PROBLEM = Finding("It is broken.", "mend it.\nor: leave it.", "mend --it")
NOTE = Finding("It is odd.", "see why.", "look at", note=True)


def run(*arguments: str, **environ: str) -> Result:
    """Runs the command line in this process, as if its output were piped."""
    env = {**dict.fromkeys(LOOKS), **environ}
    return CliRunner().invoke(app.app, arguments, env=env)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[Check]:
    """The doctor's checks, for a test to fill."""
    made: list[Check] = []
    examine = doctor.examine
    monkeypatch.setattr(
        doctor, "examine", lambda model, **options: examine(model, checks=made, **options)
    )
    return made


class TestExplain:
    def test_for_people(self) -> None:
        """The explanation as `explain` gives it; nothing is known to be wrong."""
        result = run("explain", "--model", "gemini-3.6-flash", GEMINI_API_KEY=KEY)
        assert result.exit_code == 0
        assert result.stdout.startswith("generative.generate_content on gemini-3.6-flash\n")
        assert "over" not in result.stdout
        assert "from environment, GEMINI_API_KEY" in result.stdout
        assert KEY not in result.output
        assert "\x1b" not in result.stdout

    def test_for_machines(self, adc: Path) -> None:
        """JSON and nothing else."""
        del adc
        safe_configure(client_options={"api_endpoint": "localhost:8443"})
        data = json.loads(run("explain", "--model", TUNED, "--json").stdout)
        assert data["decision"]["auth"] == "oauth"
        assert data["problems"] == []

    def test_a_request_that_would_fail(self) -> None:
        """The exit code says so."""
        result = run("explain", "--method", "upload_file")
        assert result.exit_code == 1
        assert "API key" in result.stdout

    def test_a_profile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the file that is found; it is in force for this command alone."""
        text = '[profiles.prod]\nlocation = "us"\n'
        (tmp_path / "genai-config.toml").write_text(text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        told = json.loads(run("explain", "--profile", "prod", "--json").stdout)
        (location,) = (one for one in told["settings"] if one["name"] == "location")
        assert location["value"] == "us"
        assert location["source"]["kind"] == "profile"
        assert location["source"]["place"].endswith("genai-config.toml [profiles.prod]")
        assert get_config().location is None
        refused = run("explain", "--profile", "prdo")
        assert refused.exit_code == 1
        assert "did you mean 'prod'" in " ".join(refused.stdout.split())

    def test_the_sdk_of_no_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """There is none that runs here, which could be without this library."""
        monkeypatch.delitem(sys.modules, "google.generativeai.client")
        told = run("explain", GEMINI_API_KEY=KEY).stdout
        assert "safe_configure" not in told
        assert "note" not in told

    @pytest.mark.parametrize("command", ["explain", "doctor"])
    def test_a_model_without_its_option(self, command: str) -> None:
        """The option is named; nothing secret is shown of what was typed."""
        result = run(command, "gemini-3.6-flash")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "'gemini-3.6-flash'" in result.stderr
        assert "--model" in result.stderr
        assert KEY not in run(command, KEY).output

    def test_no_such_method(self) -> None:
        """It is the command that is wrong."""
        result = run("explain", "--method", "generate_contnet")
        assert result.exit_code == 2
        assert "'generate_content'" in result.stderr
        assert result.stdout == ""

    def test_two_keys_are_no_warning(self) -> None:
        """The doctor tells of them."""
        result = run("explain", GEMINI_API_KEY=KEY, GOOGLE_API_KEY="AIza-another")
        assert (result.exit_code, result.stderr) == (0, "")

    def test_colour(self) -> None:
        """On a terminal alone, and not where NO_COLOR is set."""
        assert COLOUR.search(run("explain", FORCE_COLOR="1").stdout)
        assert not COLOUR.search(run("explain", FORCE_COLOR="1", NO_COLOR="1").stdout)


@pytest.mark.parametrize("command", ["explain", "doctor"])
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_it_fits_the_terminal(command: str, columns: int, checks: list[Check]) -> None:
    """No line is longer than the terminal, nor than one reads with ease."""
    checks.append(Check("fine", "all is well", lambda _: ["a fact " + "and more " * 20]))
    checks.append(Check("broken", "it works", lambda _: [PROBLEM]))
    lines = run(command, GEMINI_API_KEY=KEY, COLUMNS=str(columns)).stdout.splitlines()
    assert 40 < max(map(len, lines)) <= min(columns, 80)


class TestDoctor:
    def test_nothing_is_wrong(self, checks: list[Check]) -> None:
        """Notes are no problems."""
        checks += [
            Check("fine", "all is well", lambda _: ["a fact " + "and more " * 20]),
            Check("odd", "nothing is odd", lambda _: [NOTE]),
            Check("unknown", "it is known", lambda _: [Skipped("not asked")]),
        ]
        result = run("doctor")
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert [line.split()[:2] for line in lines if line[:1].isalpha()] == [
            ["ok", "fine"], ["note", "odd"], ["skipped", "unknown"]
        ]  # fmt: skip
        assert re.findall(r"\d+", lines[-1]) == ["3", "0", "1"]
        assert "\x1b" not in result.output

    def test_something_is_wrong(self, checks: list[Check]) -> None:
        """Each problem has its remedy, and the exit code is 1."""
        checks.append(Check("broken", "it works", lambda _: [PROBLEM, NOTE, "a fact"]))
        result = run("doctor")
        assert result.exit_code == 1
        words = " ".join(result.stdout.split())
        assert re.search(
            r"problem broken It is broken\. .*mend it\. or: leave it\. "
            r"note broken It is odd\. .*see why\. a fact",
            words,
        )
        assert "mend --it" not in result.stdout

    def test_for_machines(self, checks: list[Check]) -> None:
        """JSON and nothing else, with what was fixed."""
        checks.append(Check("broken", "it works", lambda _: [PROBLEM]))
        result = run("doctor", "--json", "--fix")
        assert result.exit_code == 1
        data = json.loads(result.stdout)
        assert not data["ok"]
        assert data["checks"][0]["findings"][0]["problem"] == "It is broken."
        assert data["fixed"] == [{"done": False, "text": "mend --it"}]
        checks.clear()
        assert run("doctor", "--json").exit_code == 0

    def test_a_profile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is said which; one that is not there is a problem, and the other checks go on."""
        text = '[profiles.prod]\nlocation = "us"\n'
        (tmp_path / "genai-config.toml").write_text(text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        words = " ".join(run("doctor", "--profile", "prod").stdout.split())
        assert "genai-config.toml [profiles.prod]" in words
        result = run("doctor", "--profile", "prdo", GEMINI_API_KEY="made-up")
        assert result.exit_code == 1
        assert "--profile cannot be used" in result.stdout
        assert re.search(r"^ok       versions ", result.stdout, re.MULTILINE)

    @pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
    def test_fixing(self, checks: list[Check], tmp_path: Path) -> None:
        """What was done is said, and what to type; the code is 0 when nothing is left."""
        path = tmp_path / "key.json"
        path.touch(mode=0o644)
        open_file = Finding("Others may read it.", "chmod", readable=str(path))
        checks.append(Check("open", "it is closed", lambda _: [open_file]))
        result = run("doctor", "--fix")
        assert result.exit_code == 0
        assert re.search(rf"^Done:\n{path}: .*644.*600", result.stdout, re.MULTILINE)
        assert path.stat().st_mode & 0o777 == 0o600
        checks.append(Check("broken", "it works", lambda _: [PROBLEM]))
        result = run("doctor", "--fix")
        assert result.exit_code == 1
        assert "\nmend --it\n" in result.stdout

    def test_colour(self, checks: list[Check]) -> None:
        """On a terminal alone, and not where NO_COLOR is set."""
        checks.append(Check("broken", "it works", lambda _: [PROBLEM]))
        assert COLOUR.search(run("doctor", FORCE_COLOR="1").stdout)
        assert not COLOUR.search(run("doctor", FORCE_COLOR="1", NO_COLOR="1").stdout)

    def test_against_another_endpoint(self, server: GeminiServer, adc: Path) -> None:
        """Whole, with a key and an account that the server knows."""
        del adc
        safe_configure(ca_certs=server.ca_file)
        result = run(
            "doctor", "--online", "--endpoint", server.grpc_endpoint,
            GEMINI_API_KEY=server.api_key("mine"),
        )  # fmt: skip
        for name in ("endpoint", "http2", "key", "generation", "token", "tuned_models"):
            assert re.search(rf"^ok       {name} ", result.stdout, re.MULTILINE)
        assert [request.auth for request in server.requests] == ["api_key", "api_key", "oauth"]

    def test_an_endpoint_that_is_none(self) -> None:
        """It is the command that is wrong."""
        result = run("doctor", "--endpoint", "http://example.com")
        assert result.exit_code == 2
        assert "Remedy:" in result.stderr


def test_help() -> None:
    """With examples and the exit codes."""
    for command in ("explain", "doctor"):
        text = " ".join(run(command, "--help").output.split())
        assert f"genai-config {command} --" in text
        assert "exit code" in text


def test_six_faults_as_a_program(tmp_path: Path) -> None:
    """In a process of its own: all are named, no secret is, and the exit code is 1."""
    adc = tmp_path / "adc.json"
    adc.write_text(
        json.dumps({"type": "authorized_user", "client_id": "id", "client_secret": "GOCSPX-nobody",
                    "refresh_token": "1//0nobody-may-see"}),
        encoding="utf-8",
    )  # fmt: skip
    adc.chmod(0o644)
    dropped = {*LOOKS, *(variable.name for variable in environment.VARIABLES)}
    environ = {name: value for name, value in os.environ.items() if name not in dropped} | {
        "GOOGLE_APPLICATION_CREDENTIALS": str(adc),
        "GEMINI_API_KEY": f'"{KEY}"',
        "GOOGLE_API_KEY": "AIza-another-nobody-may",
        "HTTPS_PROXY": "http://user:nobody-may@127.0.0.1:9",
        "REQUESTS_CA_BUNDLE": "/no/such/file.pem",
        "OPENAI_CUSTOM_HEADERS": "x-secret: nobody-may",
    }
    done = subprocess.run(  # noqa: S603 -- this Python
        [sys.executable, "-m", "genai_config", "doctor", "--model", TUNED],
        env=environ, capture_output=True, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    problems = set(re.findall(r"^problem  (\w+)", done.stdout, re.MULTILINE))
    named = {"two_keys", "key_values", "proxies", "authorities", "openai_variables"}
    assert problems >= {*named, "quota_project"}
    assert [s for s in ("AIza", "nobody", "GOCSPX", "1//0") if s in done.stdout] == []


ASKED = {
    "bash": {"COMP_WORDS": "genai-config d", "COMP_CWORD": "1"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "genai-config d"},
    "fish": {"_TYPER_COMPLETE_ARGS": "genai-config d", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    "powershell": {
        "_TYPER_COMPLETE_ARGS": "genai-config d",
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": "d",
    },
}
"""How each shell asks for what begins with `d`."""


@pytest.mark.parametrize("shell", ASKED)
def test_completion(shell: str) -> None:
    """Each shell completes the commands."""
    environ = {"_GENAI_CONFIG_COMPLETE": f"complete_{shell}", **ASKED[shell]}
    done = CliRunner().invoke(app.app, [], env=environ, prog_name="genai-config")
    assert re.findall(r"\b(demo|doctor|env)\b", done.stdout) == ["demo", "doctor"]


def test_completion_of_choices() -> None:
    """What an option can be is completed too."""
    environ = {"COMP_WORDS": "genai-config env --backend ", "COMP_CWORD": "3"}
    environ["_GENAI_CONFIG_COMPLETE"] = "complete_bash"
    done = CliRunner().invoke(app.app, [], env=environ, prog_name="genai-config")
    assert done.stdout.split() == ["vertex", "gemini"]
