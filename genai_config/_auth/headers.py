"""From a route to the headers of its calls: a key, or a token from a source shared by all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from genai_config._auth import credentials as _credentials
from genai_config._settings import keys
from genai_config._transport.pool import Key, Pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._auth.credentials import Found
    from genai_config._auth.token_source import TokenSource
    from genai_config._routing.decision import Route
    from genai_config._settings.model import GenAIConfig
    from genai_config._settings.secrets import Secret
    from genai_config._transport.call_credentials import CallCredentials, Headers

_POOL: Pool[TokenSource] = Pool(256)

clock: Callable[[], float] = time.time
"""The time in seconds since the epoch that tokens expire by."""


def _now() -> float:
    return clock()  # looked up at each call: a test may have put another in its place


def source_for(config: GenAIConfig, scopes: tuple[str, ...]) -> TokenSource:
    """The token source of a configuration's credentials for these scopes, shared by all."""
    from genai_config._auth.token_source import TokenSource

    credentials = config.credentials
    audience = _credentials.audience(config.client_options)
    universe = _credentials.universe(config.client_options)
    return _POOL.get(
        _key(config, scopes),
        lambda: TokenSource(
            lambda: _credentials.in_universe(
                _credentials.find(credentials, scopes, audience), universe
            ),
            lambda: _request(config),
            config.auth_timeout,
            _now,
        ),
    )


def known(config: GenAIConfig, scopes: tuple[str, ...]) -> Found | None:
    """The credentials that requests with these scopes have found so far; nobody is asked."""
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
    _BY_NAME.clear()


_epoch = 0


def version_of(config: GenAIConfig) -> tuple[object, ...]:
    """What a token source that is held depends on: while it is equal, the source is the same."""
    return _epoch, _credentials.identity(config.credentials)


def _request(config: GenAIConfig) -> Any:
    import requests

    from genai_config._transport import http

    session = requests.Session()
    http.mount(session, config.ca_certs, config.proxy)
    # google-auth gives each attempt 120 s; the thread should not outlive its callers by much.
    return http.TokenRequest(session, config.auth_timeout)


class KeyHeaders:
    """An API key."""

    renewable = False

    def __init__(self, key: Secret) -> None:
        self._headers: Headers = (("x-goog-api-key", key.get_secret_value()),)
        self.kind = keys.kind(key.get_secret_value())
        self.owner = hash(key)

    def headers(self, timeout: float | None = None) -> Headers:
        """The key's header."""
        del timeout
        return self._headers

    async def headers_async(self, timeout: float | None = None) -> Headers:
        """The key's header."""
        del timeout
        return self._headers

    def refused(self, headers: Headers) -> bool:
        """No: there is no other key."""
        del headers
        return False


_BY_NAME: set[str] = set()
"""The origins whose OpenAI-compatible API has refused an auth key as a bearer token."""


class OpenAIKeyHeaders:
    """An API key on the OpenAI-compatible path: a bearer token, as OpenAI's clients send it.

    Reports differ on whether auth keys are accepted so. Where one is refused, the next attempt
    sends `x-goog-api-key` alone, and the origin is remembered for this process.

    Args:
        key: The key.
        origin: Where it is sent.
    """

    def __init__(self, key: Secret, origin: str) -> None:
        self._key = key
        self._origin = origin
        self.kind = keys.kind(key.get_secret_value())
        self.owner = hash(key)
        self.renewable = self.kind == "auth key"

    def headers(self, timeout: float | None = None) -> Headers:
        """The key's header."""
        del timeout
        value = self._key.get_secret_value()
        if self.renewable and self._origin in _BY_NAME:
            return (("x-goog-api-key", value),)
        return (("authorization", f"Bearer {value}"),)

    async def headers_async(self, timeout: float | None = None) -> Headers:
        """The key's header."""
        del timeout
        return self.headers()

    def refused(self, headers: Headers) -> bool:
        """Whether there is another way to send the key; from now on it is taken."""
        if not self.renewable:
            return False
        change = _BY_NAME.add if headers[0][0] == "authorization" else _BY_NAME.discard
        change(self._origin)
        return True


class TokenHeaders:
    """An access token, and the quota project if there is one."""

    kind: Literal["token"] = "token"
    renewable = True

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

    def refused(self, headers: Headers) -> bool:
        """Forgets the token that was sent, unless another has taken its place."""
        name, value = headers[0] if headers else ("", "")
        if name != "authorization":
            return False
        self._source.invalidate(value.removeprefix("Bearer "))
        return True

    def _of(self, token: str, own_quota_project: str | None) -> Headers:
        quota = self._quota_project or own_quota_project
        headers = (("authorization", f"Bearer {token}"),) if token else ()
        return (*headers, ("x-goog-user-project", quota)) if quota else headers


def for_route(config: GenAIConfig, route: Route) -> CallCredentials:
    """The credentials that a route chose."""
    if route.auth == "api_key":
        assert config.api_key is not None  # noqa: S101 -- the routing chose the key
        return KeyHeaders(config.api_key)
    return TokenHeaders(source_for(config, route.scopes), config.quota_project)
