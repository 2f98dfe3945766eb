"""Profiles: named sets of settings, as a TOML document holds them. Nothing here reads a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from genai_config._settings import primitives, validation
from genai_config._settings.patch import Patch, make_patch
from genai_config._settings.references import Reference
from genai_config._settings.secrets import Secret, SecretMapping
from genai_config.exceptions import ConfigurationError

PYPROJECT = "pyproject.toml"
FILE = "genai-config.toml"

_BARE = r"[A-Za-z0-9_-]+"


def tables(path: Path) -> tuple[str, ...]:
    """The keys that lead to the profiles of a file: other tools share pyproject.toml."""
    return ("tool", "genai-config", "profiles") if path.name == PYPROJECT else ("profiles",)


def header(path: Path, name: str) -> str:
    """The header of a profile's table."""
    last = name if re.fullmatch(_BARE, name) else f'"{name}"'
    return f"[{'.'.join((*tables(path), last))}]"


def concerns(path: Path, document: Mapping[str, Any]) -> bool:
    """Whether a file is about this library: every project has a pyproject.toml."""
    tool = document.get("tool")
    return path.name != PYPROJECT or (isinstance(tool, Mapping) and "genai-config" in tool)


def names(path: Path, document: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the profiles in a file."""
    return tuple(
        name for name, table in _profiles(path, document).items() if isinstance(table, Mapping)
    )


def patch_of(name: str, path: Path, document: Mapping[str, Any]) -> Patch:
    """The settings of a profile, checked; relative paths start at the file's folder.

    Args:
        name: The profile's name.
        path: The file, for its folder and for errors.
        document: What the file holds.

    Raises:
        ConfigurationError: There is no such profile, or a setting is refused.
    """
    found = _profiles(path, document)
    if name not in found:
        known = f"it has {', '.join(map(repr, found))}" if found else "it has no profiles"
        raise ConfigurationError(
            f"There is no profile {name!r} in {path}: {known}.",
            primitives.nearest(name, found, f"add a table {header(path, name)} to the file."),
        )
    where = f"{path} {header(path, name)}"
    settings = found[name]
    if not isinstance(settings, Mapping):
        raise ConfigurationError(
            f"{where} must be a table, not {type(settings).__name__}.",
            f'write {header(path, name)}, and the settings below it: transport = "rest"',
        )
    try:
        patch = make_patch(settings)
        _refuse_secrets(patch)
    except ConfigurationError as error:
        refused = type(error)(f"{where}: {error.problem}", error.remedy)
    else:
        return Patch({n: _from(path.parent, value) for n, value in patch.values.items()})
    raise refused


def _profiles(path: Path, document: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = document
    for key in tables(path):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _from(folder: Path, value: Any) -> Any:
    if isinstance(value, Reference) and value.kind == "from_file":
        return Reference("from_file", str(folder / value.where[0]))
    return folder / value if isinstance(value, Path) else value


def _refuse_secrets(patch: Patch) -> None:
    """Refuses secrets that are written out: such files are committed, copied and shared.

    Raises:
        ConfigurationError: A setting is one.
    """
    for name, value in patch.values.items():
        secret = (
            isinstance(value, SecretMapping)
            or (name == "api_key" and not isinstance(value, Reference))
            or (name == "proxy" and "@" in cast("Secret", value).get_secret_value())
            or (name.startswith("default_metadata.") and validation.holds_credential(name, value))
        )
        if secret:
            raise ConfigurationError(
                f"{name} is written out, and files with profiles are committed and shared.",
                'give a reference: api_key = { from_env = "NAME" } or { from_file = "key" }; the '
                'path of a key file: credentials = "key.json"; or export GEMINI_API_KEY=…',
            )
