"""Environment variables in the syntax of a shell, or of .env files."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

# Every reader of .env files has rules of its own for the others.
_PLAIN = re.compile(r"[A-Za-z0-9_./:@=+~-]*")
_SHELLS = {"fish": "fish", "pwsh": "powershell", "powershell": "powershell"}
_SYSTEMS_SHELL = "bash" if os.name == "posix" else "powershell"

_FORMS: dict[str, Callable[[str, str], str]] = {
    "bash": lambda name, value: f"export {name}={shlex.quote(value)}",
    "fish": lambda name, value: f"set -gx {name} '" + re.sub(r"([\\'])", r"\\\1", value) + "'",
    # PowerShell takes typographic quotation marks for plain ones.
    "powershell": lambda name, value: (
        f"$env:{name} = '" + re.sub("(['\u2018-\u201b])", r"\1\1", value) + "'"
    ),
    "dotenv": lambda name, value: f"{name}={value}",
}


def users() -> str:
    """The shell of the user, as far as the environment says."""
    name = Path(os.environ.get("SHELL", "")).stem
    return _SHELLS.get(name, "bash") if name else _SYSTEMS_SHELL


def lines(variables: dict[str, str], shell: str) -> list[str]:
    """The variables in the syntax of a shell, or of .env files.

    Args:
        variables: Names and values.
        shell: "bash", "fish", "powershell" or "dotenv".

    Raises:
        ConfigurationError: A value cannot be written so that every reader takes it as it is.
    """
    for name, value in variables.items():
        if not value.isprintable() or (shell == "dotenv" and not _PLAIN.fullmatch(value)):
            raise ConfigurationError(
                f"{name} has a character that cannot be written for every reader of {shell}.",
                "give a name without it, or use: genai-config exec",
            )
    return [_FORMS[shell](name, value) for name, value in variables.items()]
