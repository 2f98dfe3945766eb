"""Checks of settings: one function per kind, from the value given to the value kept.

Each returns an immutable value that shares nothing with what was given, or raises
ConfigurationError with words for the person who gave it. Nothing here reads a file or the network.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from genai_config._masking import looks_secret, register, scrub
from genai_config._settings import addresses, callables, given, keys, references
from genai_config._settings.primitives import (
    PRINTABLE,
    nearest,
    path_of,
    refuse_mask,
    refuse_secret,
    text_of,
    wrong_type,
)
from genai_config._settings.references import Reference
from genai_config._settings.secrets import Secret, SecretBytes, SecretMapping, SecretText
from genai_config.exceptions import ConfigurationError, UnknownSettingError

if TYPE_CHECKING:
    from pathlib import Path

_HEADER_NAME = r"[a-z0-9_.-]+"
MOST_HEADERS = 100
"""More than any server accepts; HTTP servers stop at about a hundred."""

_HEADER_VALUE = r"[ -~]*"
# Regions look like europe-west12; `global`, `us` and `eu` are the multi-regions.
_LOCATION = r"[a-z]+(-[a-z]+[0-9]+)?"
# https://cloud.google.com/resource-manager/docs/creating-managing-projects, and the older
# domain-scoped form and project numbers.
_PROJECT = r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]|[0-9]+"
_VERTEX_LOCATION = r"[a-z]+-[a-z]+[0-9]+|global|us|eu"
_VERTEX_ENDPOINT = r"[A-Za-z0-9_-]+"
_TUNED_MODEL = r"tunedModels/[A-Za-z0-9][A-Za-z0-9_.-]*"
# https://developers.google.com/identity/protocols/oauth2/scopes
_SCOPE = r"https?://[!-~]+|openid|email|profile"
_ENDPOINT_NAME = (
    f"projects/({_PROJECT})/locations/({_VERTEX_LOCATION})/endpoints/{_VERTEX_ENDPOINT}"
)


class ClientInfo(NamedTuple):
    """A frozen copy of `google.api_core.gapic_v1.client_info.ClientInfo`."""

    python_version: str | None = None
    grpc_version: str | None = None
    api_core_version: str | None = None
    gapic_version: str | None = None
    client_library_version: str | None = None
    user_agent: str | None = None
    rest_version: str | None = None


def unknown(what: str, name: str, known: Iterable[str]) -> UnknownSettingError:
    """The error for a name that is no setting."""
    return UnknownSettingError(f"There is no {what} {name!r}.", nearest(name, known))


def api_key(value: object) -> Secret | Reference | None:
    """A key, or a reference to one."""
    if type(value) is str and keys.is_googles(value):
        return Secret(value, is_googles=True)  # as nearly always; each scope with a key comes by
    reference = _reference("api_key", value)
    return key_value(value) if reference is None else reference


def _reference(setting: str, value: object) -> Reference | None:
    """The reference that was given, as such or as a mapping; None: it is something else."""
    if isinstance(value, Reference):
        return value
    return references.loaded(setting, value) if isinstance(value, Mapping) else None


def key_value(value: object) -> Secret | None:
    """A key, trimmed; an empty one is no key, as in the SDK."""
    variable = value.variable if isinstance(value, Secret) else None
    # pydantic's SecretStr, and ours.
    reveal = getattr(value, "get_secret_value", None)
    plain = reveal() if callable(reveal) else value
    if not isinstance(plain, str):
        raise keys.not_text(plain)
    key = text_of("api_key", plain)
    if not key:
        return None
    is_googles = keys.is_googles(key)
    if not is_googles:
        keys.check(key)
    if not re.fullmatch(PRINTABLE, key):
        raise ConfigurationError(
            "The API key holds white space, a control character or a character that is not ASCII "
            f"(it has {len(key)} characters).",
            "copy it again from https://aistudio.google.com/apikey: a key has no spaces.",
        )
    return Secret(key, variable, is_googles=is_googles)


def is_credentials(value: object) -> bool:
    """Whether something is google-auth credentials, or does as they do; their class is not."""
    wanted = ("before_request", "refresh")
    return not isinstance(value, type) and all(callable(getattr(value, n, None)) for n in wanted)


def credentials(value: object) -> object:
    """google-auth credentials, a function, or a key file: content, path or reference."""
    reference = _reference("credentials", value)
    if isinstance(value, SecretMapping) or reference is not None:
        return reference or value
    if isinstance(value, Mapping):
        if not isinstance(value.get("type"), str):
            raise ConfigurationError(
                "The credentials mapping has no 'type'.",
                "give the whole content of the key file, or its path: "
                f"credentials='/path/to/key.json'; {keys.OAUTH_CLIENT}",
            )
        return SecretMapping(value)
    if isinstance(value, (str, os.PathLike)):
        refuse_mask("credentials", os.fspath(value))
        return path_of("credentials", value)
    if is_credentials(value):
        return value
    if callable(value) and not isinstance(value, type):
        callables.check("credentials", value)
        try:
            hash(value)
        except TypeError:
            # A method can be hashed even where the object it belongs to cannot.
            return value.__call__
        return value
    raise wrong_type(
        "credentials",
        value,
        "google.auth credentials, the path or the content of a key file, or a function that gives "
        "a token",
    )


def ca_certs(value: object) -> Path:
    """The path of a PEM file with certificate authorities."""
    return path_of("ca_certs", value)


def _choice(setting: str, choices: Any) -> Callable[[object], str]:
    known: tuple[str, ...] = get_args(choices)

    def check(value: object) -> str:
        text = text_of(setting, value, f"one of {', '.join(map(repr, known))}")
        if text not in known:
            raise ConfigurationError(
                f"{setting}={scrub(text)!r} is not known; it is one of: {', '.join(known)}.",
                nearest(text, known, f"give {setting}={known[0]!r}, for example."),
            )
        return text

    return check


def _pattern(setting: str, pattern: str, example: str) -> Callable[[object], str | None]:
    def check(value: object) -> str | None:
        text = text_of(setting, value)
        if text and not re.fullmatch(pattern, text):
            raise ConfigurationError(
                f"{setting}={scrub(text)!r} is not a valid {setting.replace('_', ' ')}.",
                f"give {setting}={example!r}, for example.",
            )
        return text or None

    return check


def seconds(setting: str) -> Callable[[object], float]:
    """A check for a positive number of seconds that a lock can wait for."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise wrong_type(setting, value, "a number of seconds", f"{setting}=30, for example")
        if not 0 < value <= threading.TIMEOUT_MAX:
            most = int(threading.TIMEOUT_MAX)
            large = value > most
            raise ConfigurationError(
                f"{setting} is too large." if large else f"{setting}={value} is not positive.",
                f"give {setting}= a number of seconds above 0, at most {most}.",
            )
        return float(value)

    return check


def scopes(value: object) -> tuple[str, ...] | None:
    """OAuth scopes: a sequence, or one string with white space or commas between them."""
    if isinstance(value, str):
        value = re.split(r"[\s,]+", value.strip())
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise wrong_type("scopes", value, "a sequence of strings")
    kept = tuple(dict.fromkeys(text_of("scopes", scope) for scope in value))
    for scope in filter(None, kept):
        if not re.fullmatch(_SCOPE, scope):
            # gcloud takes the last word of a scope for some commands, and people go on with it.
            word = re.fullmatch(r"([^/]*/)*([a-z][a-z._-]*)", scope.lower())
            meant = f"https://www.googleapis.com/auth/{word[2] if word else 'cloud-platform'}"
            raise ConfigurationError(
                f"scopes: {scrub(scope)!r} is not an OAuth scope, which is a URL, or openid, email "
                "or profile.",
                f"did you mean {meant!r}?" if word else f"give scopes=[{meant!r}], for example.",
            )
    return tuple(filter(None, kept)) or None


def client_info(value: object) -> ClientInfo:
    """A frozen copy: the SDK writes into the caller's object."""
    if isinstance(value, ClientInfo):
        return value
    if isinstance(value, Mapping) and value.keys() <= {*ClientInfo._fields}:
        return _client_info(value)  # as a configuration is dumped
    if not hasattr(value, "user_agent") or not hasattr(value, "to_grpc_metadata"):
        raise wrong_type("client_info", value, "a google.api_core ClientInfo")
    return _client_info({field: getattr(value, field, None) for field in ClientInfo._fields})


def _client_info(values: Mapping[str, object]) -> ClientInfo:
    for field, value in values.items():
        if value is None:
            continue
        text = text_of(f"client_info.{field}", value)
        if not re.fullmatch(_HEADER_VALUE, text):
            raise ConfigurationError(
                f"client_info.{field} cannot be sent.", "give a string of printable ASCII."
            )
    return ClientInfo(**values)  # type: ignore[arg-type] # they are strings or None


def is_credential(header: str) -> bool:
    """Whether a header's value is a credential: a configuration that holds one is not pickled."""
    words = r"auth|key|token|secret|cookie|passw|credential|session|signature"
    return re.search(words, header) is not None


def holds_credential(header: str, values: Any) -> bool:
    """Whether a header is a credential by its name, or by the shape of one of its values.

    Args:
        header: The header's name.
        values: Its values, texts or bytes, as `default_metadata` keeps them.
    """
    texts: Iterable[str] = (v.decode("latin-1") if isinstance(v, bytes) else v for v in values)
    return is_credential(header) or any(map(looks_secret, texts))


def default_metadata(value: object) -> dict[str, tuple[str | bytes, ...]]:
    """Headers by lower-cased name, each with its values in order."""
    pairs = value.items() if isinstance(value, Mapping) else value
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise wrong_type("default_metadata", value, "a sequence of (name, value) pairs")
    kept: dict[str, list[str | bytes]] = {}
    for number, pair in enumerate(pairs):
        if number >= MOST_HEADERS:
            raise ConfigurationError(
                f"default_metadata has more than {MOST_HEADERS} headers.",
                "servers do not accept so many: give only those that are needed.",
            )
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and isinstance(pair[0], str)):  # noqa: PLR2004 -- a pair has two
            raise wrong_type("default_metadata", pair, "a sequence of (name, value) pairs")
        refuse_secret("default_metadata: the name of a header", pair[0])
        name, item = pair[0].strip().lower(), pair[1]
        if not re.fullmatch(_HEADER_NAME, name):
            raise ConfigurationError(
                f"default_metadata: {scrub(pair[0])!r} is not a valid header name.",
                "use letters, digits, '-', '_' and '.'.",
            )
        if name == "x-goog-api-key":
            # Each request carries the configured key, or a token, beside which none is taken.
            raise ConfigurationError(
                f"default_metadata holds {name}, which is never sent beside the configured key or "
                "token.",
                "give the key as api_key=.",
            )
        refuse_mask(f"default_metadata: the value of {name!r}", item)
        binary = name.endswith("-bin")
        if not isinstance(item, bytes if binary else str) or not (
            isinstance(item, bytes) or re.fullmatch(_HEADER_VALUE, item)
        ):
            raise ConfigurationError(
                f"default_metadata: the value of {name!r} cannot be sent.",
                "a value is a string of printable ASCII; bytes go under a name that ends in -bin.",
            )
        hidden = SecretBytes(item) if isinstance(item, bytes) else SecretText(item)
        if isinstance(hidden, SecretText) and is_credential(name):
            register(hidden)
        kept.setdefault(name, []).append(hidden)
    return {name: tuple(items) for name, items in kept.items()}


def tuned_endpoints(value: object) -> dict[str, Any]:
    """Tuned models' names with what was given for each; a configuration keeps them as pairs."""
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(pairs, Iterable) or any(
        not isinstance(pair, (tuple, list)) or len(pair) != 2  # noqa: PLR2004 -- a pair has two
        for pair in pairs
    ):
        raise wrong_type(
            "tuned_endpoints", value, "a dict",
            "tuned_endpoints={'tunedModels/mine': 'projects/P/locations/L/endpoints/ID'}",
        )  # fmt: skip
    return {_tuned_model(name): item for name, item in pairs}


def _tuned_model(name: object) -> str:
    text = text_of(
        "tuned_endpoints: the name of a tuned model", name,
        give="tuned_endpoints={'tunedModels/mine': 'ENDPOINT_ID'}",
    )  # fmt: skip
    if not re.fullmatch(_TUNED_MODEL, text):
        plain = re.fullmatch(_TUNED_MODEL, f"tunedModels/{text}")
        raise ConfigurationError(
            f"tuned_endpoints: {scrub(text)!r} is not the name of a tuned model.",
            f"give 'tunedModels/{scrub(text)}'."
            if plain
            else "give 'tunedModels/mine', for example.",
        )
    return text


def tuned_endpoint(model: str, value: object) -> str:
    """An endpoint on Vertex AI: its whole name, or its ID alone.

    Args:
        model: The name of the tuned model that is there, checked.
        value: The endpoint.
    """
    setting = f"tuned_endpoints[{model!r}]"
    text = text_of(setting, value, give=f"tuned_endpoints={{{model!r}: 'ENDPOINT_ID'}}")
    if not (re.fullmatch(_VERTEX_ENDPOINT, text) or re.fullmatch(_ENDPOINT_NAME, text)):
        raise ConfigurationError(
            f"{setting}: {scrub(text)!r} is not an endpoint on Vertex AI.",
            "give 'projects/PROJECT/locations/LOCATION/endpoints/ID', or the ID alone, which "
            "project= and location= complete.",
        )
    return text


def client_cert_source(value: object) -> object:
    """A function that gives a client certificate and its key."""
    if not callable(value):
        wanted = "a function that gives a certificate and its key"
        raise wrong_type("client_options['client_cert_source']", value, wanted)
    return value


SETTINGS: dict[str, Callable[[Any], Any]] = {
    "api_key": api_key,
    "credentials": credentials,
    "transport": _choice("transport", given.Transport),
    "client_info": client_info,
    "auth": _choice("auth", given.Auth),
    "tuned_transport": _choice("tuned_transport", given.TunedTransport),
    "scopes": scopes,
    "quota_project": _pattern("quota_project", _PROJECT, "my-project"),
    "timeout": seconds("timeout"),
    "auth_timeout": seconds("auth_timeout"),
    "proxy": addresses.proxy,
    "ca_certs": ca_certs,
    "project": _pattern("project", _PROJECT, "my-project"),
    "location": _pattern("location", _LOCATION, "us-central1"),
    "endpoint": _pattern("endpoint", _VERTEX_ENDPOINT, "openapi"),
    "raw_configure": _choice("raw_configure", given.RawConfigure),
    "existing_models": _choice("existing_models", given.ExistingModels),
    "backend": _choice("backend", given.Backend),
    "vertex_endpoint": lambda value: addresses.api_endpoint(value, "vertex_endpoint"),
}

CLIENT_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "api_endpoint": addresses.api_endpoint,
    "client_cert_source": client_cert_source,
    "api_audience": _pattern("api_audience", PRINTABLE, "https://example.googleapis.com/"),
    "universe_domain": _pattern("universe_domain", addresses.HOST, "googleapis.com"),
}

# The same things under the names ClientOptions gives them.
CLIENT_OPTION_ALIASES = {
    "api_key": "api_key",
    "credentials_file": "credentials",
    "quota_project_id": "quota_project",
    "scopes": "scopes",
}
