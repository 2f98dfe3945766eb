"""Shell completion: the names of profiles after --profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from genai_config._cli.app import app
from genai_config._settings.environment import FILE_VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

GROUP: Any = typer.main.get_command(app)
COMMANDS = [
    name
    for name, command in GROUP.commands.items()
    if "--profile" in [option for one in command.params for option in one.opts]
]


def completed(command: str, start: str = "") -> list[str]:
    """What bash offers after --profile."""
    words = f"genai-config {command} --profile {start}"
    environ = {"_GENAI_CONFIG_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "3"}
    done = CliRunner().invoke(app, env=environ, prog_name="genai-config")
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder; its parent has a file with profiles."""
    monkeypatch.delenv(FILE_VARIABLE, raising=False)
    inner = tmp_path / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    write(tmp_path / "genai-config.toml", "[profiles.dev]\n[profiles.prod]\ntimeout = -1\n")
    return inner


def write(path: Path, text: str) -> Path:
    """Writes a file."""
    path.write_text(text, encoding="utf-8")
    return path


def test_commands_with_profiles() -> None:
    """The tests below cover all of them."""
    assert {"explain", "doctor", "env", "exec", "token", "proxy"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_profiles_are_completed(command: str) -> None:
    """Those of the nearest file that start with what is typed; their settings are not checked."""
    assert completed(command) == ["dev", "prod"]
    assert completed(command, "p") == ["prod"]
    assert completed(command, "x") == []


def test_which_file_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest one, unless the environment names another."""
    write(folder / "pyproject.toml", "[tool.genai-config.profiles.near]\n")
    assert completed("explain") == ["near"]
    monkeypatch.setenv(FILE_VARIABLE, str(write(folder / "own.toml", "[profiles.mine]\n")))
    assert completed("explain") == ["mine"]


@pytest.mark.parametrize(
    "text",
    [
        "[profiles",
        "profiles = 1",
        "[profiles]\nname = 1",
        "\0",
        f"a = {'[' * 100_000}",
        "[profiles.'$(touch x)']\n[profiles.'a b']\n[profiles.'-x']\n[profiles.\"a\\nb\"]",
    ],
    ids=["broken", "a number", "not a table", "binary", "deep", "unsafe names"],
)
def test_invalid_files_and_names_are_not_offered(folder: Path, text: str) -> None:
    """Nothing is offered and nothing printed: the user is in the middle of a command line."""
    write(folder / "genai-config.toml", text)
    assert completed("explain") == []


def test_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is offered."""
    monkeypatch.setenv(FILE_VARIABLE, str(folder / "none.toml"))
    assert completed("explain") == []
