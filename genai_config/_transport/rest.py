"""An HTTP session for all identities: each request brings its credentials in its headers.

The SDK's REST transport turns a call's metadata into headers; its own session knows one identity.
"""

from __future__ import annotations

import threading
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


_CONNECT = 10.0
# Seconds for connecting, as in `channels`.


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
        """Sends a request with its credentials; once more, if the token is refused.

        A request that breaks off without an answer is sent once more if its connection had been
        used before: then it was the connection that had died.

        Raises:
            ReadTimeout: The answer was not complete when `timeout` was over.
        """
        opened = Opened((headers or {}).items(), self._fallback)
        timeout = options.pop("timeout", None)
        attempts = Attempts(opened.credentials, timeout)
        anew = 1
        while True:
            exchange = _Exchange(attempts.timeout())
            answer: Any
            answer, error = exchange.of(
                lambda options: self._attempt(opened, attempts, method, url, options), options
            )
            if error is None:
                if answer.status_code != HTTPStatus.UNAUTHORIZED or not attempts.again():
                    return answer  # type: ignore[no-any-return] # requests' own
                continue
            self._forget_idle(url)
            if exchange.has_expired:
                raise requests.ReadTimeout(
                    f"{url.partition('?')[0]}: no complete answer within {timeout:g} s"
                )
            if not anew or not exchange.was_lost(error):
                raise error
            anew -= 1

    def _attempt(
        self, opened: Opened, attempts: Attempts, method: str, url: str, options: dict[str, Any]
    ) -> tuple[Any, BaseException | None]:
        """An answer, or an error without the frames it came through."""
        headers = dict(opened.with_headers(attempts.headers()))
        try:
            return super().request(method, url, headers=headers, **options), None
        except BaseException as error:  # noqa: BLE001 -- raised by the caller
            return None, without_frames(error)

    def _forget_idle(self, url: str) -> None:
        adapter = self.get_adapter(url)
        if isinstance(adapter, http.Adapter):
            adapter.forget_idle()


class _Exchange:
    """One request and its answer, whose time is bounded as a whole: requests bounds each wait.

    Args:
        timeout: Seconds; None: no bound.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        given = http.CANCELLATION.get()
        self._cancellation = http.Cancellation() if given is None else given

    @property
    def has_expired(self) -> bool:
        """Whether its time was up."""
        return self._cancellation.expired

    def was_lost(self, error: BaseException) -> bool:
        """Whether the connection died, which had been used before, and no answer had begun."""
        lost = isinstance(error, requests.ConnectionError) and not isinstance(
            error, (requests.exceptions.SSLError, requests.Timeout)
        )
        return lost and self._cancellation.reused and not self._cancellation.cancelled

    def of(self, send: Callable[[dict[str, Any]], Any], options: dict[str, Any]) -> Any:
        """What sending gives."""
        token = http.CANCELLATION.set(self._cancellation)
        timer = None
        if self._timeout is not None:
            # A connection is not to take all the time there is.
            options["timeout"] = (min(self._timeout, _CONNECT), self._timeout)
            timer = threading.Timer(self._timeout, self._cancellation.expire)
            timer.daemon = True
            timer.start()
        else:
            options["timeout"] = (_CONNECT, None)
        try:
            return send(options)
        finally:
            http.CANCELLATION.reset(token)
            if timer is not None and not options.get("stream"):
                timer.cancel()
