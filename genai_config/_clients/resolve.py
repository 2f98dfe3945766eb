"""From arguments, settings and variables to the target of a client: pure.

Source for the hosts: https://cloud.google.com/vertex-ai/docs/reference/rest#rest_endpoints.
"""

from __future__ import annotations

import functools
import os
import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from genai_config._clients.target import GEMINI_ENDPOINT, SERVICES, Backend, Target
from genai_config._masking import scrub
from genai_config._routing import places
from genai_config._routing.decision import BASE_SCOPES, CLOUD_PLATFORM
from genai_config._settings import addresses, validation
from genai_config.exceptions import (
    APIKeyRequiredError,
    ConfigurationError,
    OAuthRequiredError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from genai_config._settings.model import GenAIConfig

    _Auth: TypeAlias = "tuple[Literal['oauth', 'api_key'], tuple[str, ...]]"

# As google-genai reads them: https://googleapis.github.io/python-genai/#client.
_USES_VERTEX = ("GOOGLE_GENAI_USE_ENTERPRISE", "GOOGLE_GENAI_USE_VERTEXAI")
_YES, _NO = {"true", "1"}, {"false", "0"}

# What OpenAI's clients add to the base URL by themselves.
_RESOURCES = ("/chat/completions", "/embeddings", "/models", "/responses")

_PLACE = re.compile(
    r".*/projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"
    r"/endpoints/(?P<endpoint>[^/]+)"
)


def resolve(  # noqa: PLR0913 -- what a client is made from, by name
    config: GenAIConfig,
    *,
    backend: str | None = None,
    project: str | None = None,
    location: str | None = None,
    endpoint: str | None = None,
    api_version: str | None = None,
    base_url: str | None = None,
    prefers_found: bool = False,
    found_project: Callable[[tuple[str, ...]], str | None] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Target:
    """Decides where requests go, from arguments and a configuration.

    Args:
        config: The configuration in force.
        backend: "vertex" or "gemini"; None: what the place, the configuration and google-genai's
            variables speak of.
        project: Google Cloud project; None: the configuration's, else what `found_project` finds.
        location: Location of Vertex AI; None: the configuration's.
        endpoint: "openapi" or an endpoint id; None: the configuration's, else "openapi".
        api_version: "v1" or "v1beta1" of Vertex AI; None: "v1".
        base_url: The whole URL, in place of what would be made here.
        prefers_found: Whether the project of the credentials goes before the configuration's.
        found_project: From the OAuth scopes to the project of the credentials; called if no other
            is known.
        environ: The environment; None: that of this process.

    Raises:
        ConfigurationError: A value is refused or missing, or it is unclear which backend is meant.
        APIKeyRequiredError: ``auth="api_key"``, and there is no key.
        OAuthRequiredError: ``auth="api_key"``, and Vertex AI takes none.
    """
    place = _checked(project=project, location=location, endpoint=endpoint)
    chosen = _backend(backend)
    url = ""
    if base_url is not None:
        parts = [*place, *(["api_version"] if api_version else [])]
        if parts:
            raise ConfigurationError(
                f"base_url= is the whole URL, and {', '.join(parts)} would be part of it.",
                f"leave out base_url, or {', '.join(parts)}.",
            )
        url = _with_scheme(addresses.api_endpoint(base_url, "base_url") or "")
        place = _place_in(url)
        chosen = chosen or _backend_of(url, place, base_url)
    chosen = chosen or _configured(config, place, os.environ if environ is None else environ)
    service = SERVICES[chosen]
    version = api_version or service.versions[0]
    if version not in service.versions:
        raise ConfigurationError(
            f"{service.title} has no OpenAI-compatible API of version {scrub(str(version))!r}.",
            f"give api_version={' or '.join(map(repr, service.versions))}.",
        )
    if chosen == "gemini":
        auth, scopes = _gemini_auth(config)
        if place:
            raise ConfigurationError(
                f"The Gemini API has no {' and no '.join(place)}.",
                "leave it out, or give backend='vertex'.",
            )
    else:
        auth, scopes = _vertex_auth(config)
        if not url:
            found = functools.partial(found_project, scopes) if found_project else lambda: None
            place = _completed(place, config, found, prefers_found=prefers_found)
    if not url:
        path = service.path.format(version=version, **place)
        url = service_origin(config, chosen, place, environ) + path
    return Target(chosen, url, auth, scopes, **place)


def _with_scheme(address: str) -> str:
    return address if "://" in address else f"https://{address}"


def _backend(name: object) -> Backend | None:
    if name is None or name == "vertex" or name == "gemini":  # noqa: PLR1714 -- types follow it
        return name
    raise ConfigurationError(
        f"There is no backend {scrub(str(name))!r}.", "give backend='vertex' or backend='gemini'."
    )


def _checked(**place: str | None) -> dict[str, str]:
    """What was given of a place, checked as the settings of the same names."""
    checked = {
        name: validation.SETTINGS[name](value) for name, value in place.items() if value is not None
    }
    return {name: value for name, value in checked.items() if value}


def _place_in(url: str) -> dict[str, str]:
    """The place that a URL of Vertex AI names; {} for another URL."""
    path = urlsplit(url).path
    if any(part in ("", ".", "..") for part in path.split("/")[1:]):
        raise ConfigurationError(
            f"base_url has an empty part, '.' or '..' in its path: {scrub(path)!r}.",
            "give the URL that the service is at; is a variable empty that it is made of?",
        )
    for resource in _RESOURCES:
        if path.endswith(resource):
            raise ConfigurationError(
                f"base_url ends in {resource}, which the client adds by itself.",
                f"give the URL without {resource}.",
            )
    match = _PLACE.fullmatch(path)
    return _checked(**match.groupdict()) if match else {}


def _backend_of(url: str, place: dict[str, str], given: str) -> Backend:
    if place:
        return "vertex"
    if urlsplit(url).path.endswith("/openai"):
        return "gemini"
    raise ConfigurationError(
        f"base_url={scrub(given)!r} is neither of Vertex AI "
        "(…/v1/projects/…/locations/…/endpoints/…) nor of the Gemini API (…/v1beta/openai).",
        "if that is a gateway to one of them, say whose credentials are sent there: "
        "backend='vertex' or backend='gemini'; for OpenAI's own service use openai.OpenAI().",
    )


def _configured(config: GenAIConfig, place: dict[str, str], environ: Mapping[str, str]) -> Backend:
    """The backend that the arguments, the configuration or google-genai's variables speak of."""
    if place or getattr(config, "backend", None) == "vertex":
        return "vertex"
    for name in _USES_VERTEX:
        said = environ.get(name, "").strip().lower()
        if said in _YES | _NO:
            return "vertex" if said in _YES else "gemini"
    key = config.api_key is not None and config.auth != "oauth"
    vertex = [
        f"{name}={value!r}"
        for name, value in (("location", config.location), ("endpoint", config.endpoint))
        if value and config.auth != "api_key"
    ]
    if key != bool(vertex):
        return "gemini" if key else "vertex"
    found = ", ".join([*(["an API key"] if key else []), *vertex]) or (
        "neither an API key nor a location"
    )
    if key:
        remedy = "give backend='gemini' (takes the key) or backend='vertex' (takes OAuth)."
    else:
        remedy = (
            "for Vertex AI: location='us-central1' (or export GOOGLE_CLOUD_LOCATION)\n  "
            "or: for the Gemini API: export GEMINI_API_KEY=… or backend='gemini' with OAuth"
        )
    raise ConfigurationError(
        f"Vertex AI or the Gemini API? Nothing says which: found {found}.", remedy
    )


def _vertex_auth(config: GenAIConfig) -> _Auth:
    if config.auth == "api_key":
        raise OAuthRequiredError(
            'Vertex AI takes OAuth credentials, and api_key= or auth="api_key" rules them out.',
            'leave api_key out (tokens are fetched, and renewed) and set auth="auto", or give '
            'backend="gemini".',
        )
    return "oauth", config.scopes or (CLOUD_PLATFORM,)


def _gemini_auth(config: GenAIConfig) -> _Auth:
    if config.auth != "oauth" and config.api_key is not None:
        return "api_key", ()
    if config.auth == "api_key":
        raise APIKeyRequiredError(
            'auth="api_key", and there is no API key.',
            'safe_configure(api_key="…") or export GEMINI_API_KEY=…',
        )
    return "oauth", config.scopes or BASE_SCOPES


def _completed(
    place: dict[str, str],
    config: GenAIConfig,
    found_project: Callable[[], str | None],
    *,
    prefers_found: bool,
) -> dict[str, str]:
    """A place of Vertex AI with what was not given for it."""
    location = places.checked_location(place.get("location") or config.location)
    project = place.get("project") or (None if prefers_found else config.project)
    project = project or found_project() or config.project
    if not project:
        raise ConfigurationError(
            "Vertex AI needs a project, and none is configured; the credentials name none either.",
            "give project='my-project', or export GOOGLE_CLOUD_PROJECT=my-project",
        )
    endpoint = place.get("endpoint") or config.endpoint or GEMINI_ENDPOINT
    return {"project": project, "location": location, "endpoint": endpoint}


def service_origin(
    config: GenAIConfig, backend: Backend, place: dict[str, str], environ: Mapping[str, str] | None
) -> str:
    """Scheme and host: the configured endpoint's, or the service's own."""
    environ = os.environ if environ is None else environ
    named = environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "")
    universe = (
        config.client_options.universe_domain
        or validation.CLIENT_OPTIONS["universe_domain"](named)
        or "googleapis.com"
    )
    configured = config.client_options.api_endpoint
    if configured:
        address = _with_scheme(configured)
        host = urlsplit(address).hostname or ""
        others = [service.host for name, service in SERVICES.items() if name != backend]
        # The address that Google has for the other service, as one configures to be explicit, is
        # not meant for this one.
        if not (host.endswith(f".{universe}") and any(other in host for other in others)):
            return address
    if backend == "vertex":
        return f"https://{places.vertex_host(place['location'], universe)}"
    return f"https://generativelanguage.{universe}"
