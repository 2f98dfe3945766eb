"""What the command line prints in place of Python."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from genai_config._cli.app import app
from genai_config._cli.console import in_options
from genai_config._cli.programs import why_not_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("location='evil' is not valid.", "--location evil is not valid."),
        ("credentials= (not given); x", "--credentials (not given); x"),
        ("give base_url='https://a/b', or leave it.", "give --base-url https://a/b, or leave it."),
        ("or: safe_configure(credentials='/path/key.json')", "or: --credentials /path/key.json"),
        (
            'safe_configure(api_key="…") or export GEMINI_API_KEY=…',
            "export GEMINI_API_KEY=…",
        ),
        ("gcloud … --project=my-project", "gcloud … --project=my-project"),
        (
            "project holds what looks like a key (9 characters).\n  Remedy: give a key as "
            "api_key=, a key file's path or content as credentials=, and a token as "
            "credentials=function.",
            "--project holds what looks like a key (9 characters).\n  Remedy: export "
            "GEMINI_API_KEY=… for a key, and GOOGLE_APPLICATION_CREDENTIALS=/path/to/key.json for "
            "a key file.",
        ),
        ("x cannot be used: profile is odd", "x cannot be used: --profile is odd"),
        ("a project is missing", "a project is missing"),
        ('give method="count_tokens", for example', "give --method count_tokens, for example"),
        (
            "give client_options['api_endpoint']='host' or 'host:port'.",
            "give --endpoint host or 'host:port'.",
        ),
        ("client_options['api_endpoint'] is odd", "--endpoint is odd"),
        ("safe_configure(ca_certs='/x.pem')", "safe_configure(ca_certs='/x.pem')"),
    ],
)
def test_arguments_become_options(text: str, shown: str) -> None:
    """Those that the commands have; commands of others stay as they are."""
    assert in_options(text) == shown


SECRET = "AIzaSyA123456789012345678901234567890123"
TOKEN = f"ya29.{'a0' * 20}"
OPTIONS = [
    *(("env", f"--{name}") for name in (
        "project", "location", "endpoint", "base-url", "credentials", "quota-project", "profile")),
    ("token", "--scopes"), ("token", "--profile"), ("doctor", "--endpoint"),
    ("doctor", "--profile"), ("explain", "--profile"), ("explain", "--method"),
    ("env", "--model"), ("exec", "--model"), ("proxy", "--model"), ("proxy", "--host"),
    ("proxy", "--allow-host"), ("proxy", "--allow-origin"), ("proxy", "--key-file"),
]  # fmt: skip


@pytest.mark.parametrize("secret", [SECRET, TOKEN])
@pytest.mark.parametrize(("command", "option"), OPTIONS)
def test_a_secret_in_the_wrong_option(
    command: str, option: str, secret: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The option is named, the secret is not shown, and what to type is no Python."""
    rest = ["--", "true"] if command == "exec" else []
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, [command, option, secret, *rest], env={"GEMINI_API_KEY": "hunter2"}
    )
    assert done.exit_code
    assert not list(tmp_path.iterdir())
    text = " ".join(done.output.split())
    assert option in text
    assert secret not in text
    assert not re.search(r"credentials=\w|api_key=|json\.loads|api_endpoint", text)


GROUP: Any = typer.main.get_command(app)
# Those that take few texts, or numbers.
LIMITED = {
    "--to", "--shell", "--backend", "--api-version", "--port", "--rest-port", "--max-requests",
    "--max-bytes", "--timeout",
}  # fmt: skip
MISPLACED = [
    ["SECRET"], ["--SECRET"], ["--version=SECRET"],
    *([name, part] for name in GROUP.commands for part in ("SECRET", "--SECRET")),
    *([name, f"{option}=SECRET", "."] for name, command in GROUP.commands.items()
      for parameter in command.params for option in LIMITED & {*parameter.opts}),
]  # fmt: skip


@pytest.mark.parametrize("secret", [SECRET, TOKEN, f"AQ.{'Ab8' * 13}a"])
@pytest.mark.parametrize("typed", MISPLACED, ids=" ".join)
def test_a_secret_on_the_command_line(
    typed: list[str], secret: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a command, an argument, an option, a choice or a number; masked before lines are cut."""
    monkeypatch.chdir(tmp_path)
    arguments = [one.replace("SECRET", secret) for one in typed]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "40"})
    assert done.exit_code == 2
    assert secret[-20:] not in re.sub(r"\W", "", done.output)
    assert secret[:12] not in done.output


def test_the_source_of_a_profile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option where it was given, and the variable where that was set."""
    option = CliRunner().invoke(app, ["explain", "--profile", "none-such"]).output
    assert "--profile cannot be used" in option
    assert "GENAI_CONFIG_PROFILE" not in option
    monkeypatch.setenv("GENAI_CONFIG_PROFILE", "none-such")
    assert "GENAI_CONFIG_PROFILE cannot be used" in CliRunner().invoke(app, ["explain"]).output


def test_an_unknown_method() -> None:
    """The nearest one, or an example as an option."""
    near = CliRunner().invoke(app, ["explain", "--method", "generate_contnet"])
    assert near.exit_code == 2
    assert "did you mean 'generate_content'?" in near.output
    assert (
        "--method generate_content"
        in CliRunner().invoke(app, ["explain", "--method", "nope"]).output
    )


PROGRAMS = {
    "code": ("app.py", 0o600, ["app.py", "--fast"], errno.ENOENT, "python app.py --fast"),
    "code by its path": ("app.py", 0o600, ["./app.py"], errno.EACCES, "python ./app.py"),
    "not executable": ("app", 0o600, ["./app"], errno.EACCES, "chmod +x ./app"),
    "not in PATH": ("app", 0o700, ["app", "x"], errno.ENOENT, "./app x"),
    "no first line": ("app", 0o700, ["./app"], errno.ENOEXEC, "#!"),
    "bad first line": ("app", 0o700, ["./app"], errno.ENOENT, "first line names no program"),
    "nowhere": ("app", 0o600, ["other"], errno.ENOENT, "PATH"),
    "no such path": ("app", 0o600, ["./other"], errno.ENOENT, "check its name"),
    "secrets": ("app.py", 0o600, ["app.py", SECRET], errno.ENOENT, "python app.py ****"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_cannot_be_run(name: str, tmp_path: Path) -> None:
    """What to type instead, without secrets."""
    file, mode, command, number, sign = PROGRAMS[name]
    (tmp_path / file).touch(mode)
    told = why_not_run(command, OSError(number, os.strerror(number)), tmp_path)
    assert sign in told
    assert "Remedy: " in told
    assert SECRET not in told
