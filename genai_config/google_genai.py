"""google-genai's own client on Vertex AI and on the Gemini API, from the configuration in force.

    from genai_config import google_genai

    client = google_genai.client(project="my-project", location="us-central1")
    client.models.generate_content(model="…", contents="hi")

It is a `google.genai.Client`: models, chats, files, caches and `client.aio` work as they do there.
Each attempt carries credentials that are valid when it is sent.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
from typing import TYPE_CHECKING, Any

from google.auth.credentials import Credentials

from genai_config._auth import headers
from genai_config._clients.http import linked
from genai_config._clients.link import Link, http_options
from genai_config._clients.resolve import resolve
from genai_config._masking import forgets_arguments
from genai_config._routing.decision import RETRIEVER_SCOPES, TUNED_SCOPES
from genai_config._settings.patch import UNSET
from genai_config._settings.secrets import Secret
from genai_config._settings.state import state
from genai_config._transport.pool import Pool
from genai_config.exceptions import ConfigurationError

try:
    from google import genai
    from google.genai import types
except ImportError as error:
    raise ImportError(
        "genai_config.google_genai needs google-genai: pip install 'genai-config[google-genai]'",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from genai_config._clients.target import Target
    from genai_config._settings.given import GivenKey
    from genai_config._settings.model import GenAIConfig
    from genai_config._transport.call_credentials import CallCredentials

__all__ = ["client", "shared_client"]

_PLACEHOLDER = "genai-config-puts-credentials-here"
"""What google-genai has for a key or token: it wants one. Each request gets other credentials."""

_TIMEOUT = 600.0
"""Seconds for an attempt where nothing else is configured: google-genai itself waits forever."""

_ON_HTTPX2 = 3
"""The first version of google-genai that prefers httpx2 to httpx."""

_SHARED: Pool[genai.Client] = Pool(64)


@forgets_arguments
def client(  # noqa: PLR0913 -- what decides where requests go, spelt out
    *,
    backend: str | None = None,
    vertexai: bool | None = None,
    project: str | None = None,
    location: str | None = None,
    api_key: GivenKey | None = None,
    credentials: Any = None,
    http_options: types.HttpOptions | types.HttpOptionsDict | None = None,
    **arguments: Any,
) -> genai.Client:
    """A `google.genai.Client` for Vertex AI or the Gemini API.

    It keeps the configuration in force where it is made, scopes included: credentials, quota
    project, scopes, endpoint, `ca_certs`, `proxy` and `timeout` (for each attempt). A key in
    GOOGLE_API_KEY never takes the place of what is configured.

    Args:
        backend: "vertex" or "gemini"; None: `vertexai`, else what arguments, settings
            and environment variables speak of.
        vertexai: As for `google.genai.Client`: True is "vertex", False is "gemini".
        project: Google Cloud project; None: the configuration's, else that of the credentials.
        location: Location of Vertex AI; None: the configuration's.
        api_key: A key of the Gemini API, or a reference to it (not for the Live API, which has
            connections of its own); None: the configuration's.
        credentials: As for `safe_configure`; they are used for the Gemini API as well. None: the
            configuration's.
        http_options: As for `google.genai.Client`; its `timeout` is in milliseconds.
        **arguments: As for `google.genai.Client`.

    Raises:
        ConfigurationError: A value is refused or missing, or it is unclear which backend is meant.
        CredentialsError: No project is given, and no credentials are found that would name one.
    """
    config = state.current().config
    if api_key is not None:
        config = config.merge(api_key=api_key, auth="api_key")
    if credentials is not None:
        config = config.merge(credentials=credentials, auth="oauth")
    enterprise = arguments.pop("enterprise", None)
    backend = _backend(backend, vertexai if enterprise is None else enterprise)
    options = _copied(http_options)
    target = _target(config, backend, project, location, options.base_url)
    if config.timeout is not None and options.timeout is None:
        options.timeout = int(config.timeout * 1000)
    _link(config, target, options)
    vertex = target.backend == "vertex"
    if vertex:
        arguments |= {"credentials": _Bearer(), "project": target.project}
        arguments["location"] = target.location
    else:
        arguments["api_key"] = _key(config, target)
    return genai.Client(vertexai=vertex, http_options=options, **arguments)


def shared_client() -> genai.Client:
    """The client of the configuration in force here, made at its first use and then kept.

    Code that asked the old SDK's default client asks this one: it follows `safe_configure()` and
    `override()`, and asks the same service: that of the setting `backend`, and "v1beta" of the
    Gemini API. Do not close it: others hold it too.

    Raises:
        ConfigurationError: As for `client`.
        CredentialsError: As for `client`.
    """
    config = state.current().config
    found = _SHARED.peek(config)
    if found is None:
        backend = getattr(config, "backend", None) or "gemini"
        options = types.HttpOptions(api_version="v1beta" if backend == "gemini" else None)
        made = client(
            backend=backend, http_options=options
        )  # outside the pool's lock: it may have to ask whose project it is
        found = _SHARED.get(config, lambda: made)
    return found


def _backend(backend: str | None, vertexai: bool | None) -> str | None:  # noqa: FBT001 -- theirs
    named = None if vertexai is None else ("vertex" if vertexai else "gemini")
    if backend is not None and named is not None and backend != named:
        raise ConfigurationError(
            f"backend={backend!r} and vertexai={vertexai!r} contradict each other.",
            "give one of them.",
        )
    return backend or named


def _copied(options: Any) -> types.HttpOptions:
    """The caller's options as an object of our own, which may be changed."""
    if isinstance(options, types.HttpOptions):
        return options.model_copy()
    return types.HttpOptions.model_validate(options or {})


def _target(
    config: GenAIConfig,
    backend: str | None,
    project: str | None,
    location: str | None,
    base_url: str | None,
) -> Target:
    target = resolve(
        config.merge(client_options={"api_endpoint": base_url}) if base_url else config,
        backend=backend,
        project=project,
        location=location,
        found_project=lambda scopes: headers.source_for(config, scopes).found().project,
    )
    if target.backend == "vertex" and not base_url:
        # A gateway of the Gemini API gets no token for Vertex AI.
        own = config.merge(client_options={"api_endpoint": config.vertex_endpoint or UNSET})
        target = resolve(own, backend="vertex", project=target.project, location=target.location)
    # What google-genai appends its own paths to.
    return dataclasses.replace(target, base_url=base_url or target.origin)


def _link(config: GenAIConfig, target: Target, options: types.HttpOptions) -> None:
    """Puts the HTTP clients into the options that attach credentials to each attempt."""
    made = http_options(config)
    sync_kind, async_kind = _kinds()
    for name, kind, extra in (
        ("httpx_client", sync_kind, options.client_args),
        ("httpx_async_client", async_kind, options.async_client_args),
    ):
        link = _Link(config, target, {"timeout": _TIMEOUT, **made, **(extra or {})})
        setattr(options, name, linked(link, getattr(options, name), kind))
    options.base_url = target.base_url
    if options.timeout is None:
        options.timeout = int(_TIMEOUT * 1000)


def _kinds() -> tuple[type, type]:
    """The classes of HTTP clients that this version of google-genai sends with."""
    chosen = os.environ.get("GOOGLE_GENAI_HTTP_CLIENT", "").strip().lower()
    if chosen not in ("httpx", "httpx2"):
        major = int(genai.__version__.partition(".")[0])
        chosen = "httpx2" if major >= _ON_HTTPX2 else "httpx"
    try:
        library = importlib.import_module(chosen)
    except ImportError:
        library = importlib.import_module({"httpx": "httpx2", "httpx2": "httpx"}[chosen])
    return library.Client, library.AsyncClient


class _Link(Link):
    """What the requests of a client are bound to, by what they ask for.

    Args:
        config: The configuration.
        target: Where requests go.
        options: What httpx's clients are made with.
    """

    def __init__(self, config: GenAIConfig, target: Target, options: dict[str, Any]) -> None:
        super().__init__(target, lambda: _attached(config, target, ""), options)
        self._config = config

    def check(self, request: Any) -> None:
        """As `Link`'s; a model of the setting `tuned_endpoints` goes to its endpoint."""
        match = _ALIAS.search(request.url.path)
        if match and self.target.backend == "vertex":
            place = dict(self._config.tuned_endpoints).get(f"tunedModels/{match['name']}")
            if place is None:
                raise ConfigurationError(
                    f"Vertex AI has no tunedModels/{match['name']}.",
                    f"safe_configure(tuned_endpoints={{'tunedModels/{match['name']}': "
                    "'projects/…/locations/…/endpoints/ID'}).",
                )
            path = request.url.path.replace(match[0], f"/{self._endpoint(str(place))}")
            request.url = request.url.copy_with(path=path)
        super().check(request)

    def _endpoint(self, place: str) -> str:
        if place.startswith("projects/"):
            return place
        where = f"projects/{self.target.project}/locations/{self.target.location}"
        return f"{where}/endpoints/{place}"

    def credentials(self, request: Any) -> CallCredentials:
        """As the old SDK's requests with this library: tuned models and corpora take OAuth."""
        return _attached(self._config, self.target, request.url.path)


# google-genai's own way to write a tuned model's name for Vertex AI.
_ALIAS = re.compile(
    r"/projects/[^/]+/locations/[^/]+/publishers/tunedModels/models/(?P<name>[^/:]+)"
)
_PRIVATE = re.compile(r"/(?P<kind>tunedModels|corpora)(?=[/:?]|$)")


def _attached(config: GenAIConfig, target: Target, path: str) -> CallCredentials:
    private = _PRIVATE.search(path) if target.backend == "gemini" else None
    if target.auth == "api_key" and not (private and config.auth == "auto"):
        return headers.key_headers(config)
    scopes = target.scopes
    if private:
        own = TUNED_SCOPES if private["kind"] == "tunedModels" else RETRIEVER_SCOPES
        scopes = config.scopes or own
    return headers.TokenHeaders(headers.source_for(config, scopes), config.quota_project)


def _key(config: GenAIConfig, target: Target) -> str:
    """What google-genai is told that the key is: it may need it where no request of ours goes."""
    if target.auth == "api_key" and isinstance(config.api_key, Secret):
        return config.api_key.get_secret_value()
    return _PLACEHOLDER


class _Bearer(Credentials):
    """Credentials that google-genai is content with; what is sent is attached to each attempt."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth's
        self.token = _PLACEHOLDER

    def refresh(self, request: Any) -> None:
        """Nothing: `expired` is never true."""
