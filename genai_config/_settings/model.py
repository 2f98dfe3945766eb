"""The configuration: a frozen model, equal and hashed by content, that shows no secret.

Loaded at first use: importing the package costs no pydantic.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from genai_config._settings import environment, validation
from genai_config._settings.callables import name_of
from genai_config._settings.patch import UNSET, Patch, combine, environment_value, make_patch
from genai_config._settings.secrets import MASK, Secret, SecretMapping, refuse_pickling
from genai_config._settings.validation import ClientInfo
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_AUTH_TIMEOUT = 30.0
"""Seconds that finding credentials and fetching a token may take, unless configured."""

# Header names whose values are credentials: a configuration that holds one is not pickled.
_CREDENTIAL_HEADER = re.compile(r"auth|key|token|secret|cookie|passw|credential|session|signature")


class _Model(BaseModel):
    """A frozen model whose errors hold nothing of what they refuse."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True
    )

    @model_validator(mode="wrap")
    @classmethod
    def _without_input(cls, value: Any, validate: Any) -> Any:
        if isinstance(value, dict):
            value = {name: given for name, given in value.items() if given is not None}
        # hide_input_in_errors is about str() alone: errors() and json() would show it.
        try:
            return validate(value)
        except ValidationError as error:
            lines = [
                InitErrorDetails(
                    type=PydanticCustomError(line["type"], line["msg"]),
                    loc=line["loc"],
                    input=MASK,
                )
                for line in error.errors(include_url=False)
            ]
            refused = ValidationError.from_exception_data(error.title, lines, hide_input=True)
        raise refused

    def __setattr__(self, name: str, value: Any) -> None:
        # pydantic's own error would show the value.
        raise ConfigurationError(
            f"A configuration is frozen, {name} too.", f"config.merge({name}=…) makes a new one."
        )

    def __delattr__(self, name: str) -> None:
        # pydantic 2.0 would do it.
        raise ConfigurationError(
            f"A configuration is frozen, {name} too.",
            f"config.merge({name}=UNSET) makes a new one.",
        )


class ClientOptions(_Model):
    """The client options in force; those with a setting of their own are found there."""

    api_endpoint: str | None = None
    client_cert_source: Any = None
    client_encrypted_cert_source: Any = None
    api_audience: str | None = None
    universe_domain: str | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _check(cls, value: Any, info: ValidationInfo) -> Any:
        return None if value is None else validation.CLIENT_OPTIONS[str(info.field_name)](value)

    def __repr_args__(self) -> Any:
        for name, value in self:
            if value is not None:
                yield name, _Shown(_shown(value))


class GenAIConfig(_Model):
    """Everything that decides how a request is sent, frozen; equal and hashed by content.

    Attributes:
        api_key: The API key; None: none.
        credentials: google-auth credentials, the path of a key file or its frozen content, or a
            function that gives a token; None: Application Default Credentials are looked for when
            needed.
        transport: "grpc", "grpc_asyncio" or "rest"; None: gRPC.
        client_options: Endpoint, client certificates, audience and universe domain.
        client_info: What the SDK reports about its caller; None: the SDK's own.
        default_metadata: Headers sent with every request, (name, value) pairs.
        auth: "auto": decided per request; "oauth": OAuth for all; "api_key": never OAuth.
        tuned_transport: "grpc" or "rest", for tuned models whatever `transport` says.
        scopes: OAuth scopes; None: those the request needs.
        quota_project: The project OAuth requests are billed to; None: the credentials' own.
        timeout: Seconds for a whole call, retries included; None: the SDK's bounds.
        auth_timeout: Seconds for finding credentials and fetching a token.
        proxy: URL of an HTTP proxy for these clients alone; None: the environment's.
        ca_certs: PEM file of the certificate authorities to trust; None: the system's.
        project: Project of the Vertex AI clients; None: from ADC.
        location: Location of the Vertex AI clients.
        endpoint: Endpoint id of the Vertex AI clients.
        raw_configure: What a raw ``genai.configure()`` does: "warn", "merge", "isolate" or "error".
        existing_models: Whether models and clients made before a change of the key, the credentials
            or the endpoint "keep" theirs or "follow".
        backend: Where base models are served: "gemini" or "vertex".
        tuned_endpoints: (tuned model, endpoint on Vertex AI) pairs, sorted by model.
        vertex_endpoint: Host or URL of a gateway for Vertex AI; None: Google's, by location.
    """

    api_key: Secret | None = None
    credentials: Any = None
    transport: Literal["grpc", "grpc_asyncio", "rest"] | None = None
    client_options: ClientOptions = ClientOptions()
    client_info: ClientInfo | None = None
    default_metadata: tuple[tuple[str, str | bytes], ...] = ()
    auth: Literal["auto", "oauth", "api_key"] = "auto"
    tuned_transport: Literal["grpc", "rest"] = "grpc"
    scopes: tuple[str, ...] | None = None
    quota_project: str | None = None
    timeout: float | None = None
    auth_timeout: float = DEFAULT_AUTH_TIMEOUT
    proxy: Secret | None = None
    ca_certs: Path | None = None
    project: str | None = None
    location: str | None = None
    endpoint: str | None = None
    raw_configure: Literal["warn", "merge", "isolate", "error"] = "warn"
    existing_models: Literal["keep", "follow"] = "keep"
    backend: Literal["gemini", "vertex"] = "gemini"
    tuned_endpoints: tuple[tuple[str, str], ...] = ()
    vertex_endpoint: str | None = None

    if TYPE_CHECKING:
        # What is given is wider than what is kept: a key may be a plain string.
        def __init__(self, **settings: Any) -> None: ...

    @field_validator("*", mode="before")
    @classmethod
    def _check(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        if name == "default_metadata":
            headers = validation.default_metadata(value)
            return tuple((header, item) for header, items in headers.items() for item in items)
        if name == "tuned_endpoints":
            pairs = validation.tuned_endpoints(value).items()
            return tuple(sorted((model, validation.tuned_endpoint(item)) for model, item in pairs))
        if value is None or name == "client_options":
            return value
        return validation.SETTINGS[name](value)

    @field_serializer("api_key", "credentials", "proxy", "default_metadata", "client_options")
    def _masked(self, value: Any, info: Any) -> Any:
        if isinstance(value, ClientOptions):
            return {name: _shown(item) for name, item in value if item is not None}
        if info.field_name == "default_metadata":
            return [(header, MASK) for header, _ in value]
        return None if value is None else _shown(value)

    @classmethod
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

    def merge(self, **settings: Any) -> GenAIConfig:
        """This configuration with settings changed: a new object, both stay as they are.

        Args:
            **settings: As for `safe_configure`; None leaves a setting alone, UNSET clears it.

        Raises:
            ConfigurationError: A value is refused.
        """
        return build(combine(_flatten(self), make_patch(settings)))

    def redacted(self) -> dict[str, Any]:
        """The settings as plain data fit for JSON, every secret as asterisks."""
        return self.model_dump(mode="json")

    def model_copy(
        self, *, update: Mapping[str, Any] | None = None, deep: bool = False
    ) -> GenAIConfig:
        """As `merge`: pydantic's own would put unchecked values into a frozen model."""
        del deep  # nothing in it can change
        return self.merge(**(update or {}))

    def __copy__(self) -> GenAIConfig:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> GenAIConfig:
        return self

    def __repr_args__(self) -> Any:
        for name, value in self:
            if value not in (None, (), type(self).model_fields[name].default):
                if name == "default_metadata":
                    yield name, tuple((header, MASK) for header, _ in value)
                else:
                    yield name, value if name == "client_options" else _Shown(_shown(value))

    def __str__(self) -> str:
        return repr(self)

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.credentials, SecretMapping):
            refuse_pickling("the content of a key file")
        if self.credentials is not None and not isinstance(self.credentials, Path):
            refuse_pickling(
                "google-auth credentials"
                if validation.is_credentials(self.credentials)
                else "a function that gives tokens"
            )
        if self.proxy is not None and "@" in self.proxy.get_secret_value():
            refuse_pickling("a proxy's password")
        if any(_CREDENTIAL_HEADER.search(header) for header, _ in self.default_metadata):
            refuse_pickling("a credential in default_metadata")
        values = dict(_flatten(self).values)
        if self.proxy is not None:
            values["proxy"] = self.proxy.get_secret_value()
        return _unpickled, (values,)


class _Shown(str):
    """A string that stands for a value in a repr, without quotation marks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _shown(value: Any) -> str | float | list[str] | None:
    """A value as it may be printed: a secret masked, an object by its type alone."""
    if isinstance(value, (Secret, SecretMapping)):
        return MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (str, float)):
        return value
    if isinstance(value, tuple):
        return [str(item) for item in value if item is not None]
    return f"<{name_of(value)}>"


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
    if options.keys() >= {"client_cert_source", "client_encrypted_cert_source"}:
        raise ConfigurationError(
            "client_options has both client_cert_source and client_encrypted_cert_source.",
            "give one of them, and the other as UNSET if it is set already.",
        )
    return GenAIConfig(
        **settings,
        client_options=ClientOptions(**options),
        default_metadata=tuple(headers),
        tuned_endpoints=tuple(endpoints),
    )


def _unpickled(values: Mapping[str, Any]) -> GenAIConfig:
    return build(Patch({**values, **{k: Secret(v) for k, v in values.items() if k == "proxy"}}))
