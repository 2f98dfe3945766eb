"""The credentials of one client: the headers of its calls, and what becomes of refused ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from genai_config import _tokens

if TYPE_CHECKING:
    from genai_config._config import GenAIConfig
    from genai_config._routing import Route
    from genai_config._secrets import Secret

Headers = tuple[tuple[str, str], ...]


class Attached(Protocol):
    """The credentials of one client, as the headers of its next call.

    Attributes:
        renewable: Whether there may be others when the service refuses them.
    """

    renewable: bool

    def headers(self) -> Headers:
        """The headers; may fetch a token, within `auth_timeout`."""

    async def headers_async(self) -> Headers:
        """The same without blocking the event loop."""

    def refused(self, headers: Headers) -> bool:
        """The service answered 401: what was sent is not sent again. Returns whether to replay."""


class KeyHeaders:
    """An API key; as a bearer token where OpenAI's clients are served."""

    renewable = False

    def __init__(self, key: Secret, *, bearer: bool = False) -> None:
        value = key.get_secret_value()
        header = ("authorization", f"Bearer {value}") if bearer else ("x-goog-api-key", value)
        self._headers = (header,)

    def headers(self) -> Headers:
        """The key's header."""
        return self._headers

    async def headers_async(self) -> Headers:
        """The key's header."""
        return self._headers

    def refused(self, headers: Headers) -> bool:
        """No: there is no other key."""
        del headers
        return False


class TokenHeaders:
    """An access token, and the quota project if there is one."""

    renewable = True

    def __init__(self, source: _tokens.TokenSource, quota_project: str | None) -> None:
        self._source = source
        self._quota_project = quota_project

    def headers(self) -> Headers:
        """The headers with a token that is valid now."""
        return self._of(self._source.token(), self._source.found().quota_project)

    async def headers_async(self) -> Headers:
        """The headers with a token that is valid now."""
        token = await self._source.token_async()
        return self._of(token, (await self._source.found_async()).quota_project)

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


def attached(config: GenAIConfig, route: Route) -> Attached:
    """The credentials that a route chose."""
    if route.auth == "api_key":
        assert config.api_key is not None  # noqa: S101 -- the routing chose the key
        return KeyHeaders(config.api_key)
    return TokenHeaders(_tokens.source_for(config, route.scopes), config.quota_project)
