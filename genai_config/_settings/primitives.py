"""What every check of a setting begins with: is it text, and the error if it is not."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from genai_config._masking import MASK, is_plausible_path, looks_secret
from genai_config._settings import keys
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

PRINTABLE = r"[!-~]+"
"""One or more printable ASCII characters, without a space."""


# What a dump or a repr shows of an object that cannot be written down: "<module.Class>".
_OBJECT = r"<\w+(\.[\w<>]+)+>"


def nearest(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them.

    Args:
        name: The unknown name.
        known: The known ones.
        otherwise: What to say where none is near; "": all of them.
    """
    known = tuple(known)
    close = difflib.get_close_matches(name.lower(), known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return otherwise or f"it is one of: {', '.join(known)}."


def wrong_type(setting: str, value: object, wanted: str, give: str = "") -> ConfigurationError:
    """The error for a value of another type."""
    # The value itself may be a secret in the wrong place: only its type is named.
    return ConfigurationError(
        f"{setting} must be {wanted}, not {type(value).__name__}.",
        f"give {give or f'{setting}= {wanted}'}.",
    )


def refuse_mask(setting: str, value: Any) -> None:
    """Refuses what a dump shows in place of a secret or an object.

    Raises:
        ConfigurationError: The value is such a placeholder.
    """
    if isinstance(value, str) and (MASK in value or re.fullmatch(_OBJECT, value.strip())):
        raise ConfigurationError(
            f"{setting} holds the placeholder of a dump: dumps and JSON never hold secrets.",
            "give the configuration itself: safe_configure(config), or config.merge(…) for a "
            "changed one; in another process, configure from the environment or from files.",
        )


# What a secret belongs in; it is shown nowhere.
_SECRET_SETTINGS = ("api_key", "proxy")


def refuse_secret(what: str, text: str) -> None:
    """Refuses a text that has the shape of a secret where it would be shown.

    Raises:
        ConfigurationError: It has; the error does not hold it.
    """
    if looks_secret(text):
        raise ConfigurationError(
            f"{what} holds what looks like a key, a token or another secret ({len(text)} "
            "characters).",
            "give a key as api_key=, a key file's path or content as credentials=, and a token "
            "as credentials=function.",
        )


def text_of(setting: str, value: object, wanted: str = "a string", give: str = "") -> str:
    """The text without its outer white space.

    Args:
        setting: What it is called in errors.
        value: What was given.
        wanted: What is asked for.
        give: An example of it; "": the setting and what is asked for.

    Raises:
        ConfigurationError: It is no string, a secret, or the placeholder of one.
    """
    if not isinstance(value, str):
        raise wrong_type(setting, value, wanted, give)
    refuse_mask(setting, value)
    if setting not in _SECRET_SETTINGS:
        refuse_secret(setting, value)
    return value.strip()


def _instead_of_content(setting: str, text: str) -> str:
    """What to do with a text that was given where a path belongs."""
    if setting == "ca_certs":
        return (
            "write the certificates to a PEM file, and give its path: ca_certs='/path/to/ca.pem'."
        )
    if setting != "credentials":
        return "give the path of the file."
    return keys.instead(text) or (
        f"give the path of the key file, or its content as a dict: {keys.KEY_FILE}."
    )


def path_of(setting: str, value: object) -> Path:
    """A path, whose ``~`` is the home folder here.

    Raises:
        ConfigurationError: It is no path, or the content of a file.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise wrong_type(setting, value, "a path")
    text = cast("str | bytes", os.fspath(value))
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise ConfigurationError(f"{setting} is not a path.", f"give {setting}='/path/to/file'.")
    if not is_plausible_path(text.strip()):
        # Taken for a path, it would be shown wherever paths are.
        raise ConfigurationError(
            f"{setting} is the content of a file or a secret ({len(text)} characters), not a path.",
            _instead_of_content(setting, text.strip()),
        )
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError:
        raise ConfigurationError(
            f"{setting}={text.strip()!r}: there is no such user, or no home folder.",
            f"give the whole path: {setting}='/path/to/file'.",
        ) from None
