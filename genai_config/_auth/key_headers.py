"""API keys as the headers of calls, and what follows when the service refuses one."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from genai_config._settings import keys
from genai_config._settings.secrets import Secret

if TYPE_CHECKING:
    from genai_config._auth.secret_source import SecretSource
    from genai_config._transport.call_credentials import Headers, Rejection

_BY_NAME: set[str] = set()
"""The origins whose OpenAI-compatible API has refused an auth key as a bearer token."""


def forget() -> None:
    """Forgets how keys were taken."""
    _BY_NAME.clear()


class Fixed:
    """A secret that was given itself: there is no other.

    Attributes:
        known: The secret.
        owner: Equal for equal secrets.
    """

    changes = False

    def __init__(self, secret: Secret) -> None:
        self.known = secret
        self.owner = hash(secret)

    def value(self, timeout: float | None = None) -> Secret:
        """The secret."""
        del timeout
        return self.known

    async def value_async(self, timeout: float | None = None) -> Secret:
        """The secret."""
        del timeout
        return self.known

    def renewed(self, used: Secret, timeout: float | None = None) -> bool:
        """No: there is no other."""
        del used, timeout
        return False

    async def renewed_async(self, used: Secret, timeout: float | None = None) -> bool:
        """No: there is no other."""
        del used, timeout
        return False


class KeyHeaders:
    """An API key.

    Args:
        key: The key, or what gives it.
    """

    refused_by = frozenset(
        {HTTPStatus.BAD_REQUEST.value, HTTPStatus.UNAUTHORIZED.value, HTTPStatus.FORBIDDEN.value}
    )

    def __init__(self, key: Secret | SecretSource) -> None:
        self._source = Fixed(key) if isinstance(key, Secret) else key
        self.owner = self._source.owner
        self.renewable = self._source.changes
        # Those of a key that is given itself never change.
        self._fixed: Headers | None = None
        if isinstance(key, Secret) and type(self) is KeyHeaders:
            self._fixed = self._of(key.get_secret_value())

    @property
    def kind(self) -> keys.Kind:
        """The kind of the key; "key" as long as it has not been read."""
        known = self._source.known
        return "key" if known is None else keys.kind(known.get_secret_value())

    def headers(self, timeout: float | None = None) -> Headers:
        """The key's header."""
        if self._fixed is not None:
            return self._fixed
        return self._of(self._source.value(timeout).get_secret_value())

    async def headers_async(self, timeout: float | None = None) -> Headers:
        """The key's header."""
        return self._of((await self._source.value_async(timeout)).get_secret_value())

    def refused(self, headers: Headers, rejection: Rejection, timeout: float | None = None) -> bool:
        """Whether there is another key: one that was read is read again."""
        return self._is_about_key(rejection) and self._source.renewed(_sent(headers), timeout)

    async def refused_async(
        self, headers: Headers, rejection: Rejection, timeout: float | None = None
    ) -> bool:
        """The same without blocking the event loop."""
        return self._is_about_key(rejection) and await self._source.renewed_async(
            _sent(headers), timeout
        )

    def _is_about_key(self, rejection: Rejection) -> bool:
        from genai_config._auth import refusals

        return refusals.wants_another_key(self.kind, rejection.status, rejection.text)

    def _of(self, key: str) -> Headers:
        return (("x-goog-api-key", key),)


class OpenAIKeyHeaders(KeyHeaders):
    """An API key on the OpenAI-compatible path: a bearer token, as OpenAI's clients send it.

    Reports differ on whether auth keys are accepted so. Where one is refused, the next attempt
    sends `x-goog-api-key` alone, and the origin is remembered for this process.

    Args:
        key: The key, or what gives it.
        origin: Where it is sent.
    """

    def __init__(self, key: Secret | SecretSource, origin: str) -> None:
        super().__init__(key)
        self._origin = origin
        # There may be another key, or there is another way to send it.
        self.renewable = self.renewable or self.kind == "auth key"

    def refused(self, headers: Headers, rejection: Rejection, timeout: float | None = None) -> bool:
        """Whether there is another key, or another way to send it, which is taken from now on."""
        return super().refused(headers, rejection, timeout) or self._is_sent_otherwise(
            headers, rejection
        )

    async def refused_async(
        self, headers: Headers, rejection: Rejection, timeout: float | None = None
    ) -> bool:
        """The same without blocking the event loop."""
        return await super().refused_async(headers, rejection, timeout) or self._is_sent_otherwise(
            headers, rejection
        )

    def _is_sent_otherwise(self, headers: Headers, rejection: Rejection) -> bool:
        if rejection.status != HTTPStatus.UNAUTHORIZED or self.kind != "auth key":
            return False
        change = _BY_NAME.add if headers[0][0] == "authorization" else _BY_NAME.discard
        change(self._origin)
        return True

    def _of(self, key: str) -> Headers:
        if keys.kind(key) == "auth key" and self._origin in _BY_NAME:
            return super()._of(key)
        return (("authorization", f"Bearer {key}"),)


def _sent(headers: Headers) -> Secret:
    """The key that was sent."""
    return Secret(headers[0][1].removeprefix("Bearer "))
