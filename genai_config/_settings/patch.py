"""What one call gave, and how such patches merge. Nothing here does I/O.

A `Patch` is checked and flat: ``client_options.api_endpoint`` and ``default_metadata.x-name`` are
keys of their own, so merging is one rule: the later key wins. UNSET under a group's own name
(``default_metadata``) clears the whole group first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from genai_config._settings import validation
from genai_config._settings.given import UNSET, Unset
from genai_config._settings.secrets import Secret
from genai_config.exceptions import ConfigurationError

__all__ = [
    "EMPTY", "GROUPS", "UNSET", "Patch", "Unset", "combine", "environment_value", "is_identity",
    "is_the_sdks", "make_patch", "raw_value", "refuse_positional",
]  # fmt: skip

GROUPS = ("client_options", "default_metadata", "tuned_endpoints")
"""The settings whose members merge one by one."""


class Patch(NamedTuple):
    """What one call gave: checked values by flat name, UNSET where something is cleared."""

    values: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Patch({', '.join(self.values)})"


EMPTY = Patch({})


def refuse_positional(function: str, misplaced: Sequence[object], example: str) -> None:
    """Refuses what is given without a name, without showing it: it may be a key.

    Raises:
        ConfigurationError: Something is given.
    """
    if not misplaced:
        return
    first = misplaced[0]
    kind = type(first).__name__
    if isinstance(first, Mapping):
        example = f"{function}(**settings)"
    elif kind == "GenAIConfig":
        example = f"{function}(**dict(config))"
    elif callable(first) and example.startswith("with "):
        example = f"@{function}(…), or @{function}() without settings"
    raise ConfigurationError(
        f"{function}() takes settings by name, and a value of type {kind} has none.",
        f"{example}, for example.",
    )


def make_patch(settings: Mapping[str, Any]) -> Patch:
    """Checks settings as a user gives them. None leaves a setting as it is.

    Raises:
        ConfigurationError: A value is refused, or one setting is given twice.
        UnknownSettingError: A name is no setting.
    """
    values: dict[str, Any] = {}
    options: Any = None
    for name, value in settings.items():
        check = validation.SETTINGS.get(name)
        if check is not None:
            _put(values, name, value, check)
        elif name == "client_options":
            options = value
        elif name == "default_metadata":
            values.update(_default_metadata(value))
        elif name == "tuned_endpoints":
            values.update(_tuned_endpoints(value))
        else:
            raise validation.unknown("setting", name, [*validation.SETTINGS, *GROUPS])
    if options is UNSET:
        values["client_options"] = UNSET
    elif options is not None:
        _put_client_options(values, options)
    return Patch(values)


def _put(values: dict[str, Any], name: str, value: Any, check: Callable[[Any], Any]) -> None:
    kept = UNSET if value is UNSET else None if value is None else check(value)
    if kept is None:
        return
    if name == "credentials" and type(kept).__module__ == "google.auth.api_key":
        # google-auth's way to hold an API key: it is a key, not an OAuth credential.
        name, kept = "api_key", validation.api_key(getattr(kept, "token", None))
    if name in values:
        raise ConfigurationError(
            f"{name} is given twice, as an argument and in client_options.",
            f"give it once, as {name}=.",
        )
    values[name] = kept


def _default_metadata(given: Any) -> dict[str, Any]:
    if given is None or given is UNSET:
        return {} if given is None else {"default_metadata": UNSET}
    return {
        f"default_metadata.{header}": items
        for header, items in validation.default_metadata(given).items()
    }


def _tuned_endpoints(given: Any) -> dict[str, Any]:
    if given is None or given is UNSET:
        return {} if given is None else {"tuned_endpoints": UNSET}
    return {
        f"tuned_endpoints.{model}": UNSET
        if value is UNSET
        else validation.tuned_endpoint(model, value)
        for model, value in validation.tuned_endpoints(given).items()
        if value is not None
    }


def _put_client_options(values: dict[str, Any], options: Any) -> None:
    known = [*validation.CLIENT_OPTIONS, *validation.CLIENT_OPTION_ALIASES]
    if not isinstance(options, Mapping):
        if not hasattr(options, "api_endpoint"):
            raise ConfigurationError(
                "client_options must be a dict or google.api_core ClientOptions, "
                f"not {type(options).__name__}.",
                "give client_options={'api_endpoint': 'host'}, for example.",
            )
        options = {name: value for name, value in vars(options).items() if value is not None}
    for name, value in options.items():
        if name in validation.CLIENT_OPTION_ALIASES:
            setting = validation.CLIENT_OPTION_ALIASES[name]
            _put(values, setting, value, validation.SETTINGS[setting])
        elif name in validation.CLIENT_OPTIONS:
            _put(values, f"client_options.{name}", value, validation.CLIENT_OPTIONS[name])
        else:
            raise validation.unknown("client option", str(name), known)


def combine(lower: Patch, upper: Patch) -> Patch:
    """The patch that does what `lower` and then `upper` would do."""
    cleared = tuple(f"{group}." for group in GROUPS if group in upper.values)
    kept = lower.values
    if cleared:
        kept = {name: value for name, value in kept.items() if not name.startswith(cleared)}
    # A name that is set again moves to the end: headers are sent in the order they were given.
    kept = {name: value for name, value in kept.items() if name not in upper.values}
    return Patch({**kept, **upper.values})


def is_the_sdks(name: str) -> bool:
    """Whether `genai.configure()` has a setting: a raw call replaces these, and knows no others."""
    return name.partition(".")[0] in {
        "api_key", "credentials", "transport", "client_info", "client_options", "default_metadata",
    }  # fmt: skip


def is_identity(name: str) -> bool:
    """Whether a setting says who asks: what a client keeps from when it was handed out."""
    return name.partition(".")[0] in {"api_key", "credentials", "client_options"}


def raw_value(setting: str, variable: str, text: str) -> Any:
    """What a variable says, unchecked; a key is a secret that remembers the variable."""
    return Secret(text, variable) if setting == "api_key" else text


def environment_value(setting: str, variable: str, text: str) -> Any:
    """What a variable says, checked.

    Raises:
        ConfigurationError: It cannot be used; the error names the variable.
    """
    try:
        return validation.SETTINGS[setting](raw_value(setting, variable, text))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"The environment variable {variable} cannot be used: {error.problem}",
            f"correct {variable}, or unset it; {error.remedy}",
        ) from None
