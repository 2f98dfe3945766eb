"""The HTTP clients under OpenAI's: credentials on each attempt, to one origin and no other.

They are built on httpx or on httpx2, whichever the client at hand belongs to, and send through an
inner client: the user's own, or one per process and event loop, since a connection belongs to the
loop it was made in, and a forked child must not write to its parent's.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import sys
from typing import TYPE_CHECKING, Any

from genai_config._auth import headers as _headers
from genai_config._clients.target import origin, with_model
from genai_config._transport.call_credentials import Attempts, Rejection
from genai_config.exceptions import ConfigurationError, GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from genai_config._clients.target import Target
    from genai_config._settings.model import GenAIConfig
    from genai_config._transport.call_credentials import CallCredentials, Headers


QUOTA_HEADER = "x-goog-user-project"


class Stop(BaseException):
    """Carries an error out of OpenAI's retries, which take any Exception for a broken connection.

    Attributes:
        error: The error.
    """

    def __init__(self, error: GenAIConfigError) -> None:
        super().__init__(error)
        self.error = error


def http_options(config: GenAIConfig) -> dict[str, Any]:
    """What httpx's clients are made with: trust and proxy."""
    options: dict[str, Any] = {}
    if config.ca_certs is not None:
        options["verify"] = ssl.create_default_context(cafile=config.ca_certs)
    if config.proxy is not None:
        options["proxy"] = config.proxy.get_secret_value()
    return options


class Link:
    """What the requests of a client are bound to.

    Args:
        target: Where they go.
        attach: Gives the credentials that they carry; asked for each request, as a forked child
            has others than its parent.
        options: What httpx's clients are made with: trust and proxy.

    Attributes:
        completes_models: Whether the HTTP client gives the models in requests the form that the
            target wants; else whoever sends with it has done so.
        raised: Turns an error of ours into what the library at hand lets through.
    """

    def __init__(
        self, target: Target, attach: Callable[[], CallCredentials], options: dict[str, Any]
    ) -> None:
        self.target = target
        self.attach = attach
        self.options = options
        self.completes_models = False
        self.raised: Callable[[GenAIConfigError], BaseException] = Stop
        self._origin = target.origin

    def completed(self, build: Callable[..., Any]) -> Callable[..., Any]:
        """A builder of requests that gives the model in them the form that the target wants."""
        if not self.completes_models:
            return build

        def build_completed(*args: Any, **kwargs: Any) -> Any:
            request = build(*args, **kwargs)
            try:
                body = request.content
            except RuntimeError:  # a stream, read by whoever sends it: it goes as it is
                return request
            completed = with_model(self.target, body)
            if completed is body:
                return request
            headers = {n: v for n, v in request.headers.items() if n != "content-length"}
            return type(request)(
                request.method, request.url, headers=headers, content=completed,
                extensions=request.extensions,
            )  # fmt: skip

        return build_completed

    def credentials(self, request: Any) -> CallCredentials:
        """The credentials of a request."""
        del request
        return self.attach()

    def check(self, request: Any) -> None:
        """Lets a request pass that goes where the credentials belong."""
        found = origin(str(request.url))
        if found != self._origin or request.url.userinfo:
            whither = "with a user name" if found == self._origin else f"to {found}"
            raise self.raised(
                ConfigurationError(
                    f"This client sends its credentials to {self._origin} alone, and was asked for "
                    f"a request {whither}.",
                    "use another client for that: openai.OpenAI(…).",
                )
            )


def _put(request: Any, headers: Headers) -> None:
    # Exactly one credential: with two the service refuses the request.
    request.headers.pop("authorization", None)
    request.headers.pop("x-goog-api-key", None)
    # A quota project that the request names itself goes before the credentials' own.
    given = request.headers.get(QUOTA_HEADER)
    request.headers.update(headers)
    if given is not None:
        request.headers[QUOTA_HEADER] = given


def _attach(request: Any, attempts: Attempts, link: Link) -> None:
    """Puts the credentials on a request, in the place of any others."""
    try:
        _put(request, attempts.headers())
    except GenAIConfigError as error:
        raise link.raised(error) from None


async def _attach_async(request: Any, attempts: Attempts, link: Link) -> None:
    try:
        _put(request, await attempts.headers_async())
    except GenAIConfigError as error:
        raise link.raised(error) from None


def _is_refused(response: Any, attempts: Attempts) -> bool:
    """Whether a request is to be sent again, with other credentials."""
    if not attempts.concerns(response.status_code):
        return False
    response.read()
    return attempts.again(Rejection(response.status_code, response.text))


async def _is_refused_async(response: Any, attempts: Attempts) -> bool:
    if not attempts.concerns(response.status_code):
        return False
    await response.aread()
    return await attempts.again_async(Rejection(response.status_code, response.text))


class SyncSending:
    """The part of a synchronous HTTP client that is ours; the rest is httpx's.

    Args:
        link: What its requests are bound to.
        given: The user's own client to send with; None: there is none.
        kind: The class of the client to send with, if none is given.
        transport: A transport, which is never used.
    """

    link: Link
    is_closed: bool

    def __init__(self, link: Link, given: Any, kind: type, transport: Any) -> None:
        super().__init__(transport=transport, **_timeout_of(given))  # type: ignore[call-arg] # httpx's
        self.link = link
        self._given = given
        self.kind = kind
        self._made: dict[int, Any] = {}

    def inner(self) -> Any:
        """The client that sends, in this process."""
        if self._given is not None:
            return self._given
        process = os.getpid()
        if process not in self._made:
            # A parent's stays where it is: to close it is the parent's business.
            self._made.setdefault(process, self.kind(**self.link.options))
        return self._made[process]

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """As the user's client builds it, with its own headers, cookies and parameters."""
        builder: Any = super() if self._given is None else self._given
        return self.link.completed(builder.build_request)(*args, **kwargs)

    def send(self, request: Any, *, stream: bool = False, **_: Any) -> Any:
        """Sends a request with credentials; once more, if the token is refused."""
        if self.is_closed:
            raise RuntimeError("This client has been closed.")
        self.link.check(request)
        attempts = Attempts(self.link.credentials(request))
        _attach(request, attempts, self.link)
        send = functools.partial(
            self.inner().send, request, stream=stream, auth=None, follow_redirects=False
        )
        response = send()
        if _is_refused(response, attempts):
            _attach(request, attempts, self.link)
            response = send()
        return response

    def close(self) -> None:
        """Closes what sends, also if it is the user's: so does OpenAI's client."""
        super().close()  # type: ignore[misc] # httpx's
        client = self._made.get(os.getpid(), self._given)
        if client is not None:
            client.close()

    def __del__(self) -> None:
        if self._given is None:
            self.close()


class AsyncSending:
    """The part of an asynchronous HTTP client that is ours; the rest is httpx's.

    Args:
        link: What its requests are bound to.
        given: The user's own client to send with; None: there is none.
        kind: The class of the client to send with, if none is given.
        transport: A transport, which is never used.
    """

    link: Link
    is_closed: bool

    def __init__(self, link: Link, given: Any, kind: type, transport: Any) -> None:
        super().__init__(transport=transport, **_timeout_of(given))  # type: ignore[call-arg] # httpx's
        self.link = link
        self._given = given
        self.kind = kind
        self._made: dict[tuple[int, Any], tuple[Any, AsyncGenerator[None, None]]] = {}

    async def inner(self) -> Any:
        """The client that sends, in this process and event loop."""
        if self._given is not None:
            return self._given
        key = (os.getpid(), asyncio.get_running_loop())
        if key not in self._made:
            for other in [other for other in list(self._made) if other[1].is_closed()]:
                self._made.pop(other, None)  # its loop was closed without being shut down
            client = self.kind(**self.link.options)
            ending = self._until_the_loop_ends(key, client)
            await anext(ending)
            self._made[key] = (client, ending)
        return self._made[key][0]

    async def _until_the_loop_ends(
        self, key: tuple[int, Any], client: Any
    ) -> AsyncGenerator[None, None]:
        # What ends a loop, such as asyncio.run(), closes the generators that are open in it.
        try:
            yield
        finally:
            self._made.pop(key, None)
            await client.aclose()

    def build_request(self, *args: Any, **kwargs: Any) -> Any:
        """As the user's client builds it, with its own headers, cookies and parameters."""
        builder: Any = super() if self._given is None else self._given
        return self.link.completed(builder.build_request)(*args, **kwargs)

    async def send(self, request: Any, *, stream: bool = False, **_: Any) -> Any:
        """Sends a request with credentials; once more, if the token is refused."""
        if self.is_closed:
            raise RuntimeError("This client has been closed.")
        self.link.check(request)
        attempts = Attempts(self.link.credentials(request))
        await _attach_async(request, attempts, self.link)
        send = functools.partial(
            (await self.inner()).send, request, stream=stream, auth=None, follow_redirects=False
        )
        response = await send()
        if await _is_refused_async(response, attempts):
            await _attach_async(request, attempts, self.link)
            response = await send()
        return response

    async def aclose(self) -> None:
        """Closes what sends in this loop, also if it is the user's; other loops close theirs."""
        await super().aclose()  # type: ignore[misc] # httpx's
        if self._given is not None:
            await self._given.aclose()
            return
        made = self._made.get((os.getpid(), asyncio.get_running_loop()))
        if made is not None:
            await made[1].aclose()


def _timeout_of(given: Any) -> dict[str, Any]:
    # OpenAI's client takes over the timeout of an HTTP client that it is given.
    return {} if given is None else {"timeout": given.timeout}


def linked(link: Link, given: Any, kind: type) -> Any:
    """An HTTP client that is bound to a link.

    Args:
        link: What its requests are bound to.
        given: The user's own client to send with; None: there is none.
        kind: The class of the client to send with, if none is given.
    """
    sending = SyncSending if hasattr(kind, "close") else AsyncSending
    for base in (kind if given is None else type(given)).__mro__:
        package = base.__module__.partition(".")[0]
        if package in _PACKAGES and base.__name__ == _NAMES[sending]:
            transport = getattr(sys.modules[package], _TRANSPORTS[sending])()
            return _class_of(sending, base)(link, given, kind, transport)
    return given  # which OpenAI's client refuses


def package_of(kind: type) -> str:
    """The package that an HTTP client's class comes from: httpx or httpx2."""
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__]
    return next(package for package in packages if package in _PACKAGES)


_PACKAGES = ("httpx", "httpx2")
_NAMES: dict[type, str] = {SyncSending: "Client", AsyncSending: "AsyncClient"}
_TRANSPORTS: dict[type, str] = {SyncSending: "BaseTransport", AsyncSending: "AsyncBaseTransport"}


@functools.cache
def _class_of(sending: type, base: type) -> Any:
    return type(base.__name__, (sending, base), {"__doc__": sending.__doc__})


def attached_to(config: GenAIConfig, target: Target) -> CallCredentials:
    """The credentials for the place that OpenAI's requests go to."""
    if target.auth == "api_key":
        return _headers.openai_key_headers(config, target.origin)
    return _headers.TokenHeaders(_headers.source_for(config, target.scopes), config.quota_project)
