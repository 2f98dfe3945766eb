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

    def request(  # type: ignore[override] # the SDK and googleapiclient name all but the first two
        self, method: str, url: str, *, headers: Any = None, **options: Any
    ) -> requests.Response:
        """Sends a request with its credentials; once more, if the token is refused."""
        opened = Opened((headers or {}).items(), self._fallback)
        attempts = Attempts(opened.credentials, options.pop("timeout", None))
        while True:
            options["timeout"] = attempts.timeout()
            answer, error = self._attempt(opened, attempts, method, url, options)
            if answer is None:
                assert error is not None  # noqa: S101 -- one of them is there
                raise error
            if answer.status_code != HTTPStatus.UNAUTHORIZED or not attempts.again():
                return answer

    def _attempt(
        self, opened: Opened, attempts: Attempts, method: str, url: str, options: dict[str, Any]
    ) -> tuple[requests.Response | None, BaseException | None]:
        """An answer, or an error without the frames it came through."""
        headers = dict(opened.with_headers(attempts.headers()))
        try:
            return super().request(method, url, headers=headers, **options), None
        except BaseException as error:  # noqa: BLE001 -- raised by the caller
            return None, without_frames(error)
