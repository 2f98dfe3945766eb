"""From a route to the headers of its calls: a key, or a token from a source shared by all."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from genai_config._auth import credentials as _credentials
from genai_config._auth import key_headers as _key_headers
from genai_config._auth.key_headers import KeyHeaders, OpenAIKeyHeaders
from genai_config._routing.decision import CLOUD_PLATFORM
from genai_config._settings.patch import UNSET
from genai_config._settings.references import Reference
from genai_config._settings.secrets import Secret
from genai_config._settings.validation import key_value
from genai_config._transport.call_credentials import Attempts
from genai_config._transport.pool import Key, Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._auth.credentials import Found
    from genai_config._auth.secret_source import SecretSource
    from genai_config._auth.token_source import TokenSource
    from genai_config._routing.decision import Route
    from genai_config._settings.model import GenAIConfig
    from genai_config._transport.call_credentials import CallCredentials, Headers, Rejection

_POOL: Pool[TokenSource] = Pool(256)
_SECRETS: Pool[SecretSource] = Pool(256)

clock: Callable[[], float] = time.time
"""The time in seconds since the epoch that tokens expire by."""


def _now() -> float:
    return clock()  # looked up at each call: a test may have put another in its place


def source_for(config: GenAIConfig, scopes: tuple[str, ...]) -> TokenSource:
    """The token source of a configuration's credentials for these scopes, shared by all."""
    from genai_config._auth.token_source import TokenSource

    return _POOL.get(
        _key(config, scopes),
        lambda: TokenSource(
            _Finder(config, scopes), lambda: _request(config), config.auth_timeout, _now
        ),
    )


class _Finder:
    """Finds the credentials of a token source; a reference is read again at the second time."""

    def __init__(self, config: GenAIConfig, scopes: tuple[str, ...]) -> None:
        self._config = config
        self._scopes = scopes
        self._used: Secret | None = None

    def __call__(self) -> Found:
        given, options = self._config.credentials, self._config.client_options
        audience = _credentials.audience(options)
        if isinstance(given, Reference):
            source = secret_source(self._config, given, Secret)
            if self._used is not None:
                source.renewed(self._used)
            self._used = source.value()
            found = _credentials.find_referenced(given, self._used, self._scopes, audience)
        else:
            found = _credentials.find(given, self._scopes, audience)
        return _credentials.in_universe(found, _credentials.universe(options))


def secret_source(
    config: GenAIConfig, reference: Reference, check: Callable[[str], Secret | None] = key_value
) -> SecretSource:
    """What a reference refers to, shared by all who have it.

    Args:
        config: The configuration, with whose credentials Secret Manager is asked.
        reference: The reference.
        check: What is a secret of the kind that is wanted: an API key unless given.
    """
    from genai_config._auth.secret_source import SecretSource

    key: object = config.auth_timeout
    if reference.kind == "from_secret_manager":
        key = _key(config, (CLOUD_PLATFORM,))
    return _SECRETS.get(
        (reference, check, key),
        lambda: SecretSource(
            reference, check, lambda: _access(config, reference), config.auth_timeout
        ),
    )


def _access(config: GenAIConfig, reference: Reference) -> str:
    """The text of a secret in Secret Manager."""
    from genai_config._auth import secret_manager

    own = config.credentials
    if isinstance(own, Reference) and own.kind == "from_secret_manager":
        config = config.merge(credentials=UNSET)  # by itself it cannot be read
    source = source_for(config, (CLOUD_PLATFORM,))
    universe = _credentials.universe(config.client_options) or "googleapis.com"
    return secret_manager.access(
        reference,
        secret_manager.url_of(reference, universe),
        Attempts(TokenHeaders(source, config.quota_project)),
        _request(config),
    )


def known(config: GenAIConfig, scopes: tuple[str, ...]) -> Found | None:
    """The credentials that requests with these scopes have found so far; without a network call."""
    source = _POOL.peek(_key(config, scopes))
    return source.known if source is not None else None


# The settings that a token does not depend on. The rest is part of what its source is pooled by.
_NOT_OF_A_TOKEN = frozenset(
    {
        "api_key", "credentials", "transport", "client_options", "client_info", "default_metadata",
        "auth", "tuned_transport", "scopes", "quota_project", "timeout", "project", "location",
        "endpoint", "raw_configure", "existing_models", "backend", "tuned_endpoints",
        "vertex_endpoint",
    }
)  # fmt: skip


def _key(config: GenAIConfig, scopes: tuple[str, ...]) -> Key:
    return Key(
        config,
        _NOT_OF_A_TOKEN,
        _credentials.identity(config.credentials),
        scopes,
        _credentials.audience(config.client_options),
        _credentials.universe(config.client_options),
    )


def forget_sources() -> None:
    """Drops every token source, and how keys were taken: all is found anew."""
    global _epoch  # noqa: PLW0603 -- a fact about the process
    _epoch += 1
    _POOL.clear()
    _SECRETS.clear()
    _key_headers.forget()


_epoch = 0


def version_of(config: GenAIConfig, route: Route) -> tuple[object, ...]:
    """What the headers of a route depend on: while it is equal, those that are held are good."""
    if route.auth == "api_key":
        return (_epoch,)
    return _epoch, _credentials.identity(config.credentials)


def _request(config: GenAIConfig) -> Any:
    import requests

    from genai_config._transport import http

    session = requests.Session()
    http.mount(session, config.ca_certs, config.proxy)
    # google-auth gives each attempt 120 s; the thread should not outlive its callers by much.
    return http.TokenRequest(session, config.auth_timeout)


class TokenHeaders:
    """An access token, and the quota project if there is one."""

    kind: Literal["token"] = "token"
    renewable = True
    refused_by = frozenset({HTTPStatus.UNAUTHORIZED.value})

    def __init__(self, source: TokenSource, quota_project: str | None) -> None:
        self._source = source
        self._quota_project = quota_project
        self.owner = id(source)

    def headers(self, timeout: float | None = None) -> Headers:
        """The headers with a token that is valid now."""
        token = self._source.token(timeout)
        return self._of(token, self._source.found(timeout).quota_project)

    async def headers_async(self, timeout: float | None = None) -> Headers:
        """The headers with a token that is valid now."""
        token = await self._source.token_async(timeout)
        return self._of(token, (await self._source.found_async(timeout)).quota_project)

    def refused(self, headers: Headers, rejection: Rejection, timeout: float | None = None) -> bool:
        """Forgets the token that was sent, unless another has taken its place."""
        del rejection, timeout
        name, value = headers[0] if headers else ("", "")
        if name != "authorization":
            return False
        self._source.invalidate(value.removeprefix("Bearer "))
        return True

    async def refused_async(
        self, headers: Headers, rejection: Rejection, timeout: float | None = None
    ) -> bool:
        """The same: nothing is waited for."""
        return self.refused(headers, rejection, timeout)

    def _of(self, token: str, own_quota_project: str | None) -> Headers:
        quota = self._quota_project or own_quota_project
        headers = (("authorization", f"Bearer {token}"),) if token else ()
        return (*headers, ("x-goog-user-project", quota)) if quota else headers


def _key_of(config: GenAIConfig) -> Secret | SecretSource:
    key = config.api_key
    assert key is not None  # noqa: S101 -- the routing chose the key
    return secret_source(config, key) if isinstance(key, Reference) else key


def known_key(config: GenAIConfig) -> Secret | None:
    """The configured API key; None: there is none, or it has not been read."""
    key = config.api_key
    return secret_source(config, key).known if isinstance(key, Reference) else key


def key_headers(config: GenAIConfig) -> KeyHeaders:
    """The configured API key, as the headers of calls."""
    return KeyHeaders(_key_of(config))


def openai_key_headers(config: GenAIConfig, origin: str) -> OpenAIKeyHeaders:
    """The configured API key, as the headers of calls to an OpenAI-compatible API.

    Args:
        config: The configuration.
        origin: Where it is sent.
    """
    return OpenAIKeyHeaders(_key_of(config), origin)


def for_route(config: GenAIConfig, route: Route) -> CallCredentials:
    """The credentials that a route chose."""
    if route.auth == "api_key":
        return key_headers(config)
    return TokenHeaders(source_for(config, route.scopes), config.quota_project)
