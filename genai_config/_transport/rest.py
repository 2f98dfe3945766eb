"""An HTTP session for all identities: each request brings its credentials in its headers.

The SDK's REST transport turns a call's metadata into headers; its own session knows one identity.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from genai_config._transport import http
from genai_config._transport.call_credentials import (
    Attempts,
    NoCredentials,
    Opened,
    without_frames,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._transport.call_credentials import CallCredentials
    from genai_config._transport.channels import Address


class SharedSession(requests.Session):
    """A session over the pooled connections to an address.

    Args:
        address: Where it connects to, and through what.
        fallback: The credentials of a request that brings none.
    """

    def __init__(
        self, address: Address, fallback: Callable[[], CallCredentials] = NoCredentials
    ) -> None:
        super().__init__()
        self._fallback = fallback
        http.mount(self, address.ca_certs, address.proxy, address.client_cert)

    def request(self, *args: Any, headers: Any = None, **options: Any) -> requests.Response:
        """Sends a request with its credentials; once more, if the token is refused."""
        opened = Opened((headers or {}).items(), self._fallback)
        attempts = Attempts(opened.credentials, options.pop("timeout", None))
        while True:
            answer, error = self._attempt(opened, attempts, args, options)
            if error is not None:
                raise error
            if answer.status_code != HTTPStatus.UNAUTHORIZED or not attempts.again():
                return answer

    def _attempt(
        self, opened: Opened, attempts: Attempts, args: Any, options: Any
    ) -> tuple[Any, BaseException | None]:
        """An answer, or an error without the frames it came through."""
        headers = dict(opened.with_headers(attempts.headers()))
        timeout = attempts.timeout()
        try:
            return super().request(*args, headers=headers, timeout=timeout, **options), None
        except BaseException as error:  # noqa: BLE001 -- raised by the caller
            return None, without_frames(error)
