"""Where profiles are read: the file that is named, or the nearest one above the current folder."""

from __future__ import annotations

import contextlib
import importlib
import os
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_config._settings import profiles
from genai_config._settings.environment import FILE_VARIABLE, PROFILE_VARIABLE
from genai_config._settings.layers import Layer, Origin
from genai_config._settings.patch import EMPTY, UNSET
from genai_config._settings.primitives import path_of, text_of
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LARGEST = 1 << 20
"""Bytes; a file with settings has some thousand."""

_ROOT = 0

_chooser: ContextVar[str] = ContextVar("_chooser", default=PROFILE_VARIABLE)

_NAME_IT = f"export {FILE_VARIABLE}=/path/to/{profiles.FILE}"


def layer(profile: object) -> Layer | None:
    """The layer of a profile. No file is looked for unless one is asked for.

    Args:
        profile: The name; None or "": none is asked for; UNSET: an empty one, in place of others.

    Raises:
        ConfigurationError: There is no such profile or no file, or a setting is refused.
    """
    if profile is UNSET:
        return Layer(EMPTY, Origin("profile", "UNSET"))
    name = "" if profile is None else text_of("profile", profile)
    if not name:
        return None
    path, document = _found(name)
    try:
        patch = profiles.patch_of(name, path, document)
    except ConfigurationError as error:
        refused = error.with_traceback(None)
    else:
        return Layer(patch, Origin("profile", f"{path} {profiles.header(path, name)}"))
    del document  # a report with the locals of each frame would show what is in it
    raise refused


def names() -> tuple[str, ...]:
    """The names of the profiles that can be used in the current folder.

    Raises:
        ConfigurationError: There is no file with profiles, or it cannot be read.
    """
    return profiles.names(*_found(""))


@contextlib.contextmanager
def chosen_by(option: str) -> Iterator[None]:
    """Errors name an option in place of the variable, which a command has set for it."""
    before = _chooser.set(option)
    try:
        yield
    finally:
        _chooser.reset(before)


def from_environment() -> Layer | None:
    """The layer of the profile that the environment names; None: it names none.

    Raises:
        ConfigurationError: As for `layer`; the error names the variable, or what has set it.
    """
    try:
        return layer(os.environ.get(PROFILE_VARIABLE))
    except ConfigurationError as error:
        refused = type(error)(f"{_chooser.get()} cannot be used: {error.problem}", error.remedy)
    raise refused


def _found(name: str) -> tuple[Path, Mapping[str, Any]]:
    """The file in which profiles are looked for, and what it holds."""
    here = Path.cwd()
    given = os.environ.get(FILE_VARIABLE, "").strip()
    if given:
        path = here / path_of(FILE_VARIABLE, given)
        return path, _read(path)
    for folder in (here, *here.parents):
        for path in (folder / profiles.FILE, folder / profiles.PYPROJECT):
            if path.is_file():
                document = _read(path)
                if profiles.concerns(path, document):
                    _refuse_strangers(path)
                    return path, document
    raise ConfigurationError(
        f"There is no file with the profile {name!r}: neither {profiles.FILE} nor a "
        f"{profiles.PYPROJECT} with [tool.genai-config] is in {here} or in a folder above it.",
        f"{_NAME_IT}, or write a {profiles.FILE} with the table "
        f"{profiles.header(Path(profiles.FILE), name)}.",
    )


def _refuse_strangers(path: Path) -> None:
    """Refuses a file that another user may have put there, as below /tmp.

    Raises:
        ConfigurationError: It is another user's, in a folder that everybody may write to.
    """
    if os.name != "posix":
        return
    open_to_all = path.parent.stat().st_mode & 0o002
    if open_to_all and path.stat().st_uid not in (_ROOT, os.getuid()):
        raise ConfigurationError(
            f"{path} belongs to another user, and everybody may write to its folder.",
            f"export {FILE_VARIABLE}={path} if you trust it.",
        )


def _read(path: Path) -> Mapping[str, Any]:
    toml = _parser(path)
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            problem = "it is not there, or is not a file of settings"
        else:
            document: Mapping[str, Any] = toml.loads(path.read_text(encoding="utf-8-sig"))
            return document
    except OSError as error:
        problem = error.strerror or type(error).__name__
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    except ValueError as error:
        problem = f"it is not valid TOML: {error}"
    raise ConfigurationError(f"{path} cannot be read: {problem}.", f"correct it, or {_NAME_IT}")


def _parser(path: Path) -> Any:
    for name in ("tomllib", "tomli"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    raise ConfigurationError(
        f"{path} cannot be read: this Python has no parser for TOML, which comes with Python 3.11.",
        "pip install tomli",
    )
