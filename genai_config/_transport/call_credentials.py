"""What travels with a call: its credentials, and the rule by which a refused call is made again.

A generated client is shared by all identities, so each call carries its own credentials. They
travel as one entry of the call's metadata, which the SDK hands on to every attempt, every page and
every poll; the last function before the network takes the entry out and puts the headers in. The
entry shows no secret, and no frame of a failed call holds the headers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from genai_config._settings import keys

Headers = tuple[tuple[str, str], ...]

METADATA_KEY = "genai-config-call"
"""The name of the metadata entry that holds a `CallContext`; it is never sent."""


class Rejection(NamedTuple):
    """An answer of the service that says no.

    Attributes:
        status: The HTTP status.
        text: What it says, its reason included.
    """

    status: int
    text: str = ""


class CallCredentials(Protocol):
    """The credentials of one identity, as the headers of its next call."""

    @property
    def renewable(self) -> bool:
        """Whether there may be others when the service refuses them."""

    @property
    def refused_by(self) -> frozenset[int]:
        """The HTTP statuses by which the service may refuse them."""

    @property
    def kind(self) -> keys.Kind | Literal["token", "none"]:
        """What they are: a rejection means one thing for a key and another for a token."""

    @property
    def owner(self) -> int:
        """Tells identities apart: equal for calls of the same key or the same credentials."""

    def headers(self, timeout: float | None = None) -> Headers:
        """The headers; may fetch a token, within `auth_timeout` and `timeout` seconds."""

    async def headers_async(self, timeout: float | None = None) -> Headers:
        """The same without blocking the event loop."""

    def refused(self, headers: Headers, rejection: Rejection, timeout: float | None = None) -> bool:
        """What was sent is refused: it is not sent again. Returns whether to replay.

        It may read a secret again, within `auth_timeout` and `timeout` seconds.
        """

    async def refused_async(
        self, headers: Headers, rejection: Rejection, timeout: float | None = None
    ) -> bool:
        """The same without blocking the event loop."""


class CallContext:
    """What a call carries through the SDK.

    Args:
        credentials: Whose call it is.
        timeout: Seconds for the whole call, retries included; None: the SDK's bounds.
        tenant: Equal for all calls of one identity, which share places with no other.

    Attributes:
        resolve: From a name in the request to what Vertex AI calls it; None: it goes elsewhere.
    """

    __slots__ = ("credentials", "entry", "resolve", "tenant", "timeout")

    def __init__(
        self, credentials: CallCredentials, timeout: float | None = None, tenant: Hashable = None
    ) -> None:
        self.credentials = credentials
        self.timeout = timeout
        self.tenant = tenant
        self.resolve: Callable[[str], Any] | None = None
        self.entry = (METADATA_KEY, self)

    def __repr__(self) -> str:
        return "<genai_config call context>"


class CallMetadata(list[tuple[str, Any]]):
    """A call's metadata as it is sent, and apart from it what the call carries.

    Args:
        entries: The metadata as the SDK gives it. Ours comes after what callers give, who may have
            an entry of that name from anywhere: it is not sent.

    Attributes:
        context: What the call carries; None: nothing.
    """

    __slots__ = ("context",)

    def __init__(self, entries: Iterable[tuple[str, Any]]) -> None:
        self.context: CallContext | None = None
        for entry in entries:
            if entry[0] != METADATA_KEY:
                self.append(entry)
            elif isinstance(entry[1], CallContext):
                self.context = entry[1]

    def with_headers(self, headers: Headers) -> list[tuple[str, Any]]:
        """What is sent: the credentials' headers replace the call's own of that name."""
        names, sent = dict(headers), list(headers)
        for entry in self:  # no comprehension: that is a function of its own, for each request
            if entry[0].lower() not in names:
                sent.append(entry)  # noqa: PERF401 -- see above
        return sent


def opened(
    metadata: Iterable[tuple[str, Any]] | None, fallback: Callable[[], CallCredentials]
) -> tuple[CallMetadata, CallCredentials]:
    """A call's metadata, what it carries taken out, and its credentials.

    Args:
        metadata: As the SDK gives it, or opened already.
        fallback: The credentials of a call that carries none.
    """
    if not isinstance(metadata, CallMetadata):
        metadata = CallMetadata(metadata or ())
    context = metadata.context
    return metadata, fallback() if context is None else context.credentials


class Attempts:
    """One call, which is made once more with other credentials if the first ones are refused.

    This is the one rule for every way a call is sent: gRPC, REST, asyncio, HTTP clients and the
    proxy ask it for the headers and the time of an attempt, and whether to make another.

    Args:
        credentials: Whose call it is.
        timeout: Seconds for both attempts together; None: no bound.

    Attributes:
        is_last: Whether there will be no attempt after this one.
        sent: The headers of the last attempt.
    """

    __slots__ = ("_credentials", "_deadline", "is_last", "sent")

    def __init__(self, credentials: CallCredentials, timeout: float | None = None) -> None:
        self._credentials = credentials
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self.sent: Headers = ()
        self.is_last = not credentials.renewable

    def headers(self) -> Headers:
        """The headers of the next attempt."""
        self.sent = self._credentials.headers(self.timeout())
        return self.sent

    async def headers_async(self) -> Headers:
        """The headers of the next attempt, without blocking the event loop."""
        self.sent = await self._credentials.headers_async(self.timeout())
        return self.sent

    def timeout(self) -> float | None:
        """The seconds that the next attempt may take."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def concerns(self, status: int) -> bool:
        """Whether an answer with this HTTP status may be followed by another attempt."""
        return not self.is_last and status in self._credentials.refused_by

    def again(self, rejection: Rejection) -> bool:
        """The service refused the request: whether to make another attempt."""
        if not self.concerns(rejection.status):
            return False
        self.is_last = True
        return self._credentials.refused(self.sent, rejection, self.timeout())

    async def again_async(self, rejection: Rejection) -> bool:
        """The same, without blocking the event loop."""
        if not self.concerns(rejection.status):
            return False
        self.is_last = True
        return await self._credentials.refused_async(self.sent, rejection, self.timeout())


class NoCredentials:
    """The credentials of a call that carries none: no headers."""

    kind: Literal["none"] = "none"
    owner = 0
    renewable = False
    refused_by: frozenset[int] = frozenset()

    def headers(self, timeout: float | None = None) -> Headers:
        """None."""
        del timeout
        return ()

    async def headers_async(self, timeout: float | None = None) -> Headers:
        """None."""
        del timeout
        return ()

    def refused(self, headers: Headers, rejection: Rejection, timeout: float | None = None) -> bool:
        """No: there are no others."""
        del headers, rejection, timeout
        return False

    async def refused_async(
        self, headers: Headers, rejection: Rejection, timeout: float | None = None
    ) -> bool:
        """No: there are no others."""
        return self.refused(headers, rejection, timeout)
