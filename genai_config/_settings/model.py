"""The configuration: a frozen model, equal and hashed by content, that shows no secret.

Loaded at first use: importing the package costs no pydantic.
"""

from __future__ import annotations

import contextlib
import html
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from pydantic import (
    BeforeValidator,
    PlainSerializer,
    PlainValidator,
    SkipValidation,
    WithJsonSchema,
)

from genai_config._masking import MASK, forgets_arguments
from genai_config._settings import environment, validation
from genai_config._settings.callables import name_of
from genai_config._settings.frozen_model import FrozenModel
from genai_config._settings.given import (
    Auth,
    Backend,
    ExistingModels,
    RawConfigure,
    Transport,
    TunedTransport,
)
from genai_config._settings.patch import (
    UNSET,
    Patch,
    combine,
    environment_value,
    make_patch,
    refuse_positional,
)
from genai_config._settings.portable import FORMAT, Portable, portable, restored
from genai_config._settings.references import Reference
from genai_config._settings.secrets import Secret, SecretMapping
from genai_config._settings.validation import ClientInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Unpack

    from genai_config._settings.given import Settings

DEFAULT_AUTH_TIMEOUT = 30.0
"""Seconds that finding credentials and fetching a token may take, unless configured."""


_new, _put = object.__new__, object.__setattr__


def _pairs(headers: Mapping[str, tuple[str | bytes, ...]]) -> tuple[tuple[str, str | bytes], ...]:
    return tuple((header, item) for header, items in headers.items() for item in items)


def _shown(value: Any) -> str | float | list[str] | None:
    """A value as it may be printed: a secret masked, an object by its type alone."""
    if isinstance(value, (Secret, SecretMapping)):
        return MASK
    if isinstance(value, (Path, Reference)):
        return str(value)
    if isinstance(value, (str, float)):
        return value
    if isinstance(value, tuple):
        return [str(item) for item in value if item is not None]
    return f"<{name_of(value)}>"


def _endpoints(given: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    checked = {model: validation.tuned_endpoint(model, item) for model, item in given.items()}
    return tuple(sorted(checked.items()))


def _by(check: Callable[[Any], Any]) -> BeforeValidator:
    """Has a value checked as `safe_configure` checks it."""
    return BeforeValidator(lambda value: None if value is None else check(value))


def _number(name: str) -> BeforeValidator:
    # Settings that come from the environment or from a file are strings.
    def number(value: Any) -> Any:
        with contextlib.suppress(ValueError):
            value = float(value) if isinstance(value, str) else value
        return validation.SETTINGS[name](value)

    return _by(number)


def _dumped(value: Any) -> Any:
    """As `_shown`; a reference as data that can be read again."""
    if isinstance(value, Reference):
        return value.dump()
    return None if value is None else _shown(value)


_SECRET_TEXT = WithJsonSchema({"type": "string", "format": "password", "writeOnly": True})
_KEY_OR_REFERENCE = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "format": "password"},
            {"type": "object", "minProperties": 1, "maxProperties": 1},
        ],
        "writeOnly": True,
    }
)
_SHOWN = PlainSerializer(_dumped)
_CHECK = validation.SETTINGS
_OPTION = validation.CLIENT_OPTIONS
_Object = Annotated[Any, _SHOWN]


class ClientOptions(FrozenModel, frozen=True):
    """The client options in force; those with a setting of their own are found there."""

    _NAMES = "client option"

    api_endpoint: Annotated[str | None, _by(_OPTION["api_endpoint"])] = None
    client_cert_source: Annotated[_Object, _by(_OPTION["client_cert_source"])] = None
    api_audience: Annotated[str | None, _by(_OPTION["api_audience"])] = None
    universe_domain: Annotated[str | None, _by(_OPTION["universe_domain"])] = None

    def __repr_args__(self) -> Any:
        for name, value in self:
            if value is not None:
                yield name, _Shown(_shown(value))


class GenAIConfig(FrozenModel, frozen=True):
    """Everything that decides how a request is sent, frozen; equal and hashed by content.

    The attributes are the arguments of `safe_configure`, which says what they mean. They hold
    checked, immutable values: secrets that are never shown, paths, and pairs sorted by name. None
    (or an empty tuple) means that nothing was set. In a settings class of your own it is a field
    like any other: strings, as they come from the environment, are converted.

    Raises:
        ConfigurationError: A value is refused.
    """

    _NAMES = "setting"

    api_key: Annotated[
        Secret | Reference | None, _by(_CHECK["api_key"]), _SHOWN, _KEY_OR_REFERENCE
    ] = None
    credentials: Annotated[_Object, _by(_CHECK["credentials"])] = None
    transport: Annotated[Transport | None, _by(_CHECK["transport"])] = None
    client_options: Annotated[
        ClientOptions,
        PlainSerializer(
            lambda options: {n: _shown(item) for n, item in options if item is not None}
        ),
    ] = ClientOptions.model_construct()
    client_info: Annotated[
        ClientInfo | None,
        _by(validation.client_info),
        PlainSerializer(lambda value: value and value._asdict()),
        WithJsonSchema({"type": "object"}),
    ] = None
    default_metadata: Annotated[
        # Values that show as asterisks, of which pydantic would make plain strings.
        tuple[tuple[str, SkipValidation[str | bytes]], ...],
        _by(lambda value: _pairs(validation.default_metadata(value))),
        PlainSerializer(lambda value: [(header, MASK) for header, _ in value]),
    ] = ()
    auth: Annotated[Auth, _by(_CHECK["auth"])] = "auto"
    tuned_transport: Annotated[TunedTransport, _by(_CHECK["tuned_transport"])] = "grpc"
    scopes: Annotated[tuple[str, ...] | None, _by(_CHECK["scopes"])] = None
    quota_project: Annotated[str | None, _by(_CHECK["quota_project"])] = None
    timeout: Annotated[float | None, _number("timeout")] = None
    auth_timeout: Annotated[float, _number("auth_timeout")] = DEFAULT_AUTH_TIMEOUT
    proxy: Annotated[Secret | None, _by(_CHECK["proxy"]), _SHOWN, _SECRET_TEXT] = None
    ca_certs: Annotated[
        Path | None,
        PlainValidator(_CHECK["ca_certs"]),  # in JSON, pydantic takes no Path for a path
        WithJsonSchema({"type": "string", "format": "path"}),
    ] = None
    project: Annotated[str | None, _by(_CHECK["project"])] = None
    location: Annotated[str | None, _by(_CHECK["location"])] = None
    endpoint: Annotated[str | None, _by(_CHECK["endpoint"])] = None
    raw_configure: Annotated[RawConfigure, _by(_CHECK["raw_configure"])] = "warn"
    existing_models: Annotated[ExistingModels, _by(_CHECK["existing_models"])] = "keep"
    backend: Annotated[Backend, _by(_CHECK["backend"])] = "gemini"
    tuned_endpoints: Annotated[
        tuple[tuple[str, str], ...],
        _by(lambda value: _endpoints(validation.tuned_endpoints(value))),
    ] = ()
    vertex_endpoint: Annotated[str | None, _by(_CHECK["vertex_endpoint"])] = None

    if TYPE_CHECKING:
        # What is given is wider than what is kept: a key may be a plain string.
        def __init__(self, **settings: Unpack[Settings]) -> None: ...

    @classmethod
    @forgets_arguments
    def from_env(cls, environ: Mapping[str, str] | None = None) -> GenAIConfig:
        """The configuration that the environment alone makes.

        Args:
            environ: The variables; None: those of this process.

        Raises:
            ConfigurationError: A variable holds a value that cannot be; it is named.
        """
        found = environment.read(os.environ if environ is None else environ)
        return build(
            Patch({name: environment_value(name, *values[0]) for name, values in found.items()})
        )

    @forgets_arguments
    def merge(self, *misplaced: NoReturn, **settings: Unpack[Settings]) -> GenAIConfig:
        """This configuration with settings changed: a new object, both stay as they are.

        Args:
            *misplaced: None is taken; the error shows what to write.
            **settings: As for `safe_configure`; None leaves a setting alone, UNSET clears it.

        Raises:
            ConfigurationError: A value is refused.
        """
        refuse_positional("merge", misplaced, 'config.merge(api_key="…")')
        return build(combine(_flatten(self), make_patch(settings)))

    def with_checked(self, values: Mapping[str, Any]) -> GenAIConfig:
        """This configuration with values in place that have been checked already."""
        # Each scope does it, and pydantic's own copy takes three times as long.
        made = _new(GenAIConfig)
        _put(made, "__dict__", {**self.__dict__, **values})
        _put(made, "__pydantic_fields_set__", {*self.__pydantic_fields_set__, *values})
        _put(made, "__pydantic_extra__", self.__pydantic_extra__)
        _put(made, "__pydantic_private__", self.__pydantic_private__)
        return made

    def redacted(self) -> dict[str, Any]:
        """The settings as plain data fit for JSON, every secret as asterisks."""
        return self.model_dump(mode="json")

    @forgets_arguments
    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> GenAIConfig:
        """As `merge`: pydantic's own would put unchecked values into a frozen model."""
        del deep  # nothing in it can change
        return build(combine(_flatten(self), make_patch(update or {})))

    def __copy__(self) -> GenAIConfig:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> GenAIConfig:
        return self

    def __repr_args__(self) -> Any:
        for name, value in self:
            if value not in (None, (), type(self).model_fields[name].default):
                if name == "default_metadata":
                    yield name, tuple((header, MASK) for header, _ in value)
                elif name == "tuned_endpoints":
                    yield name, dict(value)
                else:
                    yield name, value if name == "client_options" else _Shown(_shown(value))

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        """For notebooks: what was set, as a table; secrets are masked, everything is escaped."""
        left = 'style="text-align:left"'
        rows = "".join(
            f"<tr><th {left}>{html.escape(str(name))}</th>"
            f"<td {left}>{html.escape(repr(value))}</td></tr>"
            for name, value in self.__repr_args__()
        )
        return f"<h4>{type(self).__name__}</h4><table>{rows}</table>"

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As pydantic's."""
        # Older ones write the default value down before they have built its class.
        ClientOptions.model_rebuild()
        return super().model_json_schema(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (FORMAT, portable(_flatten(self).values))


class _Shown(str):
    """A string that stands for a value in a repr, without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _flatten(config: GenAIConfig) -> Patch:
    values: dict[str, Any] = {}
    for name, value in config:
        if name == "client_options":
            values.update({f"{name}.{o}": item for o, item in value if item is not None})
        elif name == "default_metadata":
            for header, item in value:
                key = f"{name}.{header}"
                values[key] = (*values.get(key, ()), item)
        elif name == "tuned_endpoints":
            values.update({f"{name}.{model}": endpoint for model, endpoint in value})
        elif value is not None:
            values[name] = value
    return Patch(values)


def build(patch: Patch) -> GenAIConfig:
    """The configuration that a patch makes of the defaults."""
    settings: dict[str, Any] = {}
    options: dict[str, Any] = {}
    headers: list[tuple[str, str | bytes]] = []
    endpoints: list[tuple[str, str]] = []
    for name, value in patch.values.items():
        if value is UNSET:
            continue
        group, _, member = name.partition(".")
        if not member:
            settings[name] = value
        elif group == "client_options":
            options[member] = value
        elif group == "tuned_endpoints":
            endpoints.append((member, value))
        else:
            headers.extend((member, item) for item in value)
    # Every value has been checked when its patch was made.
    return GenAIConfig.model_construct(
        **settings,
        client_options=ClientOptions.model_construct(**options),
        default_metadata=tuple(headers),
        tuned_endpoints=tuple(sorted(endpoints)),
    )


def patch_of(config: GenAIConfig) -> Patch:
    """What a configuration says that is not the default, to be put in force anew."""
    flat = dict(_flatten(config).values)
    key = config.api_key
    if isinstance(key, Secret) and key.variable is not None and config.credentials is None:
        found = environment.read(os.environ).get("api_key")
        if found and found[0] == (key.variable, key.get_secret_value()):
            del flat["api_key"]  # the environment gives it, and may give another one later
    fields = GenAIConfig.model_fields
    return Patch({n: v for n, v in flat.items() if "." in n or v != fields[n].default})


def _unpickled(version: int, values: Portable) -> GenAIConfig:
    return build(Patch(restored(version, values)))
