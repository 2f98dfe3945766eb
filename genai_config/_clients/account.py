"""What one client of another SDK is made from: the configuration, and what it alone was given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_config._api.scopes import layer_of
from genai_config._auth import headers
from genai_config._clients.resolve import resolve
from genai_config._settings import callables
from genai_config._settings.state import Snapshot, state
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from genai_config._clients.target import Target
    from genai_config._settings.model import GenAIConfig

PLACE = ("backend", "project", "location", "endpoint", "api_version", "base_url")
"""What says where a client's requests go."""

SETTINGS = frozenset(
    ("api_key", "auth", "auth_timeout", "ca_certs", "client_options", "credentials", "profile",
     "proxy", "quota_project", "scopes")
)  # fmt: skip
"""The settings that a client may have for itself, and the profile that gives others."""


def account(arguments: dict[str, Any]) -> tuple[GenAIConfig, Target]:
    """The configuration of one client, and where it sends requests.

    Args:
        arguments: What the client was given; `PLACE` and `SETTINGS` are taken out of it. None and
            what is left out is as configured.

    Raises:
        ConfigurationError: A value is refused or missing, or it is unclear which backend is meant.
        CredentialsError: No project is given, and no credentials are found that would name one.
    """
    place = {name: arguments.pop(name, None) for name in PLACE}
    given = {name: arguments.pop(name) for name in SETTINGS & arguments.keys()}
    snapshot = in_force_with(given)
    config = snapshot.config
    if hasattr(place["base_url"], "scheme"):  # httpx's URL
        place["base_url"] = str(place["base_url"])
    target = resolve(
        config,
        **place,
        # The environment's project may be another program's; that of given credentials is theirs.
        prefers_found=config.credentials is not None and not snapshot.is_given("project"),
        found_project=lambda scopes: headers.source_for(config, scopes).found().project,
    )
    return config, target


def in_force_with(given: dict[str, Any]) -> Snapshot:
    """What is in force here, with further settings on top for one client.

    Args:
        given: The settings; None: as configured.

    Raises:
        ConfigurationError: A value is refused.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return state.current()
    return state.preview(lambda layers: layers, layer_of(_with_auth(given)))


def _with_auth(given: dict[str, Any]) -> dict[str, Any]:
    """What a client was given, with the `auth` that it means: what is configured is for others."""
    if callable(given.get("api_key")):
        raise ConfigurationError(
            f"api_key must be a string, not {callables.name_of(given['api_key'])}.",
            "give a function that returns an access token as credentials=….",
        )
    if "api_key" in given:
        return {"auth": "api_key", **given}
    return {"auth": "oauth", **given} if "credentials" in given else given
