"""One request over HTTP: bounded as a whole, and the two reasons to send it once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from genai_config._masking import without_frames
from genai_config._transport import deadlines
from genai_config._transport.call_credentials import Attempts, Rejection

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._transport.call_credentials import CallCredentials, Headers

CONNECT_TIMEOUT = 10.0
"""Seconds for a connection to be made, as in `channels`; the SDK then tries again."""


class HttpCall:
    """One request on behalf of an identity.

    It is sent once more if its token is refused, and once more if the connection that it went over
    had been used before and died without an answer: then it was the connection's fault.

    Args:
        session: A session whose connections are those of `http.mount`.
        url: Where it goes.
        credentials: Whose it is.
        timeout: Seconds for all of it, a second attempt and the body of the answer included; None:
            no bound.
        once: Whether its body is read while it is sent, so that it cannot be sent again.

    Attributes:
        bounded: Its bound.
    """

    def __init__(
        self,
        session: requests.Session,
        url: str,
        credentials: CallCredentials,
        timeout: float | None,
        *,
        once: bool = False,
    ) -> None:
        self._once = once
        self._session = session
        self._url = url
        self._attempts = Attempts(credentials, timeout)
        self.bounded = deadlines.Bounded(timeout)

    def send(
        self, exchange: Callable[[Headers], requests.Response]
    ) -> tuple[Any, BaseException | None]:
        """The answer, or an error without the frames it came through: they hold the headers.

        Args:
            exchange: Sends the request with the credentials' headers.
        """
        anew = not self._once
        while True:
            self._attempts.headers()  # it keeps them: no frame of an error is to hold them
            response, error = self.guarded(lambda: exchange(self._attempts.sent))
            if error is not None:
                self._adapter().forget_idle()
                if not anew or not self._was_lost(error):
                    return None, error
                anew = False
            elif not self._is_refused(response):
                return response, None

    def _is_refused(self, response: requests.Response) -> bool:
        """Whether another attempt is to be made."""
        status = response.status_code
        concerns = not self._once and self._attempts.concerns(status)
        return concerns and self._attempts.again(
            Rejection(status, response.content.decode(errors="replace"))
        )

    def guarded(self, function: Callable[..., Any], *args: Any) -> tuple[Any, BaseException | None]:
        """Calls a function within the bound; a result, or an error without frames."""
        try:
            with self.bounded.running():
                result = function(*args)
            if self.bounded.expired:
                # A head that breaks off looks like a whole one.
                raise TimeoutError  # noqa: TRY301 -- as if it had been noticed in time
        except BaseException as error:  # noqa: BLE001 -- raised by the caller
            return None, without_frames(error)
        else:
            return result, None

    def timeouts(self) -> tuple[float, float | None]:
        """The seconds for a connection to be made, and for each wait."""
        left = self.bounded.left()
        return CONNECT_TIMEOUT if left is None else min(left, CONNECT_TIMEOUT), left

    def _adapter(self) -> Any:
        return self._session.get_adapter(self._url)

    def _was_lost(self, error: BaseException) -> bool:
        """Whether the connection had died before the request was sent: idle ones do."""
        cancellation = self.bounded.cancellation
        # What breaks off in an answer's body is a ChunkedEncodingError: that was worked on.
        lost = isinstance(error, requests.ConnectionError) and not isinstance(
            error, requests.Timeout
        )
        over = cancellation.cancelled or cancellation.expired
        return lost and cancellation.reused and not over
