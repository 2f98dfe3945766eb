"""What a call wants of credentials: the headers to send, and what becomes of refused ones."""

from __future__ import annotations

from typing import Protocol

Headers = tuple[tuple[str, str], ...]


class CallCredentials(Protocol):
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
