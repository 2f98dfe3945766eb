"""Where each setting came from, and the credentials: as data, without any secret or network."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_config._auth import credentials as _credentials
from genai_config._masking import MASK, scrub, without_secrets
from genai_config._settings import keys
from genai_config._settings.patch import GROUPS, UNSET
from genai_config._settings.references import Reference
from genai_config.exceptions import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from genai_config._settings.model import GenAIConfig
    from genai_config._settings.secrets import Secret
    from genai_config._settings.state import Layer

Shown = str | float | list[str] | None
"""A value as plain data, every secret as asterisks."""

DEFAULT = "default"


@dataclass(frozen=True)
class Source:
    """A layer that says something about a setting.

    Attributes:
        value: What it says; "UNSET" if it clears the setting.
        kind: "default", "environment", "profile", "genai.configure", "safe_configure" or
            "override".
        place: "file:line" of the caller, the variable's name, or the profile's file and table; ""
            for a default.
    """

    value: Shown
    kind: str
    place: str

    @property
    def origin(self) -> str:
        """The kind and the place, for people."""
        return f"{self.kind}, {self.place}" if self.place else self.kind


@dataclass(frozen=True)
class Setting:
    """A setting in force.

    Attributes:
        name: Its name; "client_options.x", "default_metadata.x" and "tuned_endpoints.x" for members
            of these.
        value: The value in force.
        source: The layer that decided.
        lost: The layers that had something else to say, the strongest first.
        note: Why the strongest did not win, where it did not; "" where it did.
    """

    name: str
    value: Shown
    source: Source
    lost: tuple[Source, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Held:
    """The credentials that a request would carry, as far as known without network calls.

    Attributes:
        kind: "API key", "API key (standard key)", "API key (auth key)", "service account", "end
            user" …, or a class's name.
        origin: Where they came from.
        identity: The e-mail of a service account, the client id of an end user; None: unknown.
        scopes_needed: The scopes that the request asks for; empty with an API key.
        scopes_held: The scopes that they have; None: only the service knows.
        quota_project: The project that requests are billed to; None: none of its own.
        quota_origin: Where the quota project came from; "" if there is none.
        expires: When the token that is held expires, ISO 8601 in UTC; None: no token is held, or
            its expiry is unknown.
        problem: What is wrong with them; "" if nothing is known to be.
        remedy: What to do about it.
    """

    kind: str
    origin: str
    identity: str | None = None
    scopes_needed: tuple[str, ...] = ()
    scopes_held: tuple[str, ...] | None = None
    quota_project: str | None = None
    quota_origin: str = ""
    expires: str | None = None
    problem: str = ""
    remedy: str = ""


def settings(layers: Iterable[Layer], config: GenAIConfig | None) -> tuple[Setting, ...]:
    """Every setting, with the layers that speak of it.

    Args:
        layers: The layers, lowest first.
        config: What they make; None: nothing, for one of them cannot be.
    """
    stacks = _stacks(layers)
    effective = dict(_effective(config))
    names = [*effective, *(name for name in stacks if name not in effective)]
    return tuple(_setting(name, stacks, effective) for name in names)


def _stacks(layers: Iterable[Layer]) -> dict[str, list[Source]]:
    """For each setting, what the layers say, lowest first."""
    stacks: dict[str, list[Source]] = {}
    for layer in layers:
        for name, value in layer.patch.values.items():
            # UNSET under a group's name clears what is below under each of its members.
            members = [other for other in stacks if other.startswith(f"{name}.")]
            for member in members or [name]:
                stacks.setdefault(member, []).append(Source(_shown(member, value), *layer.origin))
    return {name: said for name, said in stacks.items() if name not in GROUPS}


def _effective(config: GenAIConfig | None) -> Iterator[tuple[str, Shown]]:
    if config is None:
        return
    for name, value in config:
        if name == "client_options":
            for option, item in value:
                yield f"{name}.{option}", _shown(option, item)
        elif name == "default_metadata":
            for header, item in value:
                member = f"{name}.{header}"
                yield member, _shown(member, item)
        elif name == "tuned_endpoints":
            for model, endpoint in value:
                yield f"{name}.{model}", _shown(name, endpoint)
        else:
            yield name, _shown(name, value)


def _shown(name: str, value: Any) -> Shown:
    from genai_config._settings.model import _shown as shown

    if value is None or value is UNSET:
        return None if value is None else "UNSET"
    if name.startswith("default_metadata."):
        return MASK
    plain = shown(value)
    if isinstance(plain, list):
        return [scrub(item) for item in plain]
    return scrub(plain) if isinstance(plain, str) else plain


def _setting(name: str, stacks: dict[str, list[Source]], effective: dict[str, Shown]) -> Setting:
    said = list(reversed(stacks.get(name, ())))
    if not said:
        return Setting(name, effective[name], Source(effective[name], DEFAULT, ""))
    if name not in effective:
        note = "not in force, because of the problem"
        return Setting(name, None, said[0], tuple(said[1:]), note)
    if name == "api_key" and effective[name] is None and said[0].value == MASK:
        given = next(s for s in reversed(stacks["credentials"]) if s.value != "UNSET")
        note = "credentials= was given, and takes precedence over a key from the environment"
        return Setting(name, None, given, tuple(said), note)
    return Setting(name, effective[name], said[0], tuple(said[1:]))


_KINDS = {
    "google.auth.compute_engine.credentials": "metadata server",
    "google.auth.aws": "external account",
    "google.auth.external_account_authorized_user": "external account's user",
    "google.auth.identity_pool": "external account",
    "google.auth.impersonated_credentials": "impersonated service account",
    "google.auth.pluggable": "external account",
    "google.oauth2.credentials": "end user",
    "google.oauth2.gdch_credentials": "GDCH service account",
    "google.oauth2.service_account": "service account",
}


def key_held(key: Secret | Reference, setting: Setting) -> Held:
    """What is known of an API key: its kind and where it came from, and not the key."""
    if isinstance(key, Reference):
        return Held("API key", f"{key}, {setting.source.origin}")
    kind = keys.kind(key.get_secret_value())
    return Held("API key" if kind == "key" else f"API key ({kind})", setting.source.origin)


_PRODUCT = Path("/sys/class/dmi/id/product_name")


def is_googles_machine() -> bool:
    """Whether the firmware says that this is Google's cloud, as google-auth looks."""
    try:
        return _PRODUCT.read_text(encoding="utf-8").startswith("Google")
    except (OSError, ValueError):
        return False


def oauth_held(config: GenAIConfig, scopes: tuple[str, ...], quota: Setting) -> Held:
    """What is known of the OAuth credentials of requests with these scopes.

    Args:
        config: The configuration in force.
        scopes: The scopes that the requests ask for.
        quota: The setting `quota_project`.
    """
    from genai_config._auth import headers

    try:
        found = headers.known(config, scopes)
        found = found or _credentials.find_unasked(config.credentials, scopes)
    except CredentialsError as error:
        given = config.credentials
        origin = "ADC" if given is None else str(_shown("credentials", given))
        return Held(
            "unusable", origin, scopes_needed=scopes,
            problem=without_secrets(error.problem), remedy=without_secrets(error.remedy),
        )  # fmt: skip
    if found is None:
        origin = "the metadata server, if there is one (not asked)"
        if isinstance(config.credentials, Reference):
            origin = f"{config.credentials} (not read)"
        return Held("not known", origin, None, scopes)
    project, origin = config.quota_project, quota.source.origin
    if project is None:
        project = scrub(str(found.quota_project)) if found.quota_project else None
        origin = "the credentials themselves" if project else ""
    kind = _kind(found.credentials)
    return Held(
        kind=kind,
        origin=scrub(found.description.partition(" from ")[2]),
        identity=_identity(found.credentials),
        scopes_needed=scopes,
        scopes_held=_scopes(kind, found.credentials),
        quota_project=project,
        quota_origin=origin,
        expires=_expires(found.credentials),
    )


def _kind(credentials: object) -> str:
    cls = type(credentials)
    return _KINDS.get(cls.__module__, f"{cls.__module__}.{cls.__qualname__}")


def _identity(credentials: Any) -> str | None:
    for name in ("service_account_email", "client_id"):
        identity = getattr(credentials, name, None)
        # The metadata server's account is called "default" until it has been asked.
        if isinstance(identity, str) and identity not in ("", "default"):
            return scrub(identity)
    return None


def _scopes(kind: str, credentials: Any) -> tuple[str, ...] | None:
    # What end users granted was fixed when they logged in, and a machine's when it was made,
    # whatever is asked for.
    name = "granted_scopes" if kind in ("end user", "metadata server") else "scopes"
    scopes = getattr(credentials, name, None)
    return tuple(scrub(str(scope)) for scope in scopes) if scopes else None


def _expires(credentials: Any) -> str | None:
    expiry = getattr(credentials, "expiry", None)
    if not getattr(credentials, "token", None) or expiry is None:
        return None
    # google-auth's expiry is naive UTC.
    return str(expiry.replace(tzinfo=dt.timezone.utc, microsecond=0).isoformat())
