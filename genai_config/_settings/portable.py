"""What a pickle holds of settings: values and references, and no secret."""

from __future__ import annotations

from pathlib import Path
from types import BuiltinFunctionType, FunctionType
from typing import TYPE_CHECKING, Any, Final

from genai_config._masking import scrub
from genai_config._settings import validation
from genai_config._settings.patch import GROUPS, UNSET
from genai_config._settings.references import Reference
from genai_config._settings.secrets import Secret, SecretMapping, refuse_pickling
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMAT: Final = 1
"""The version of what a pickle of settings holds."""

Portable = tuple[tuple[str, Any], ...]


def portable(values: Mapping[str, Any]) -> Portable:
    """Checked settings by flat name, as they may be pickled.

    Raises:
        SecretPicklingError: One of them is a secret itself.
    """
    return tuple((name, _portable(name, value)) for name, value in values.items())


def _portable(name: str, value: Any) -> Any:
    if value is UNSET:
        return value
    if name == "credentials" and not isinstance(value, (Path, Reference)):
        if isinstance(value, SecretMapping):
            refuse_pickling("the content of a key file")
        refuse_pickling(
            "google-auth credentials"
            if validation.is_credentials(value)
            else "a function that gives tokens"
        )
    if isinstance(value, Secret):
        text = value.get_secret_value()
        if name == "proxy":
            if "@" in text:
                refuse_pickling("a proxy's password")
            return text
        if value.variable is None:
            refuse_pickling("a literal secret")
        return value  # its own pickle holds the variable's name
    group, _, header = name.partition(".")
    if group == "default_metadata" and validation.holds_credential(header, value):
        refuse_pickling("a credential in default_metadata")
    if callable(value) and not _is_named(value):
        # cloudpickle takes it by value, and the private key along.
        refuse_pickling(f"a function in {name}")
    return value


def _is_named(function: Any) -> bool:
    """Whether a function is one of a module that can be imported: it is pickled by its name."""
    return (
        isinstance(function, (FunctionType, BuiltinFunctionType))
        and function.__module__ not in (None, "__main__")
        and "<" not in function.__qualname__
    )


def restored(version: int, values: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The checked settings that a pickle holds.

    Raises:
        ConfigurationError: Another version of the library has written it, with what this one does
            not know.
    """
    found = dict(values) if version == FORMAT else {}
    known = {*validation.SETTINGS, *GROUPS}
    unknown = [name for name in found if name.partition(".")[0] not in known]
    if version != FORMAT or unknown:
        what = f"the settings {', '.join(map(scrub, unknown))}" if unknown else f"form {version}"
        raise ConfigurationError(
            f"The pickle of a configuration has {what}, which this version of genai-config does "
            "not know.",
            "install the same version of genai-config on both sides.",
        )
    return {n: Secret(value) if n == "proxy" and value is not UNSET else value
            for n, value in found.items()}  # fmt: skip
