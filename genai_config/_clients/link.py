"""What the requests of an HTTP client are bound to: where they go, as whom, and what is put right.

Nothing here sends: httpx's requests and responses are looked at, or made anew.
"""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from genai_config._auth import headers as _headers
from genai_config._clients import errors
from genai_config._clients.signatures import Reader, Signatures
from genai_config._clients.target import origin, with_model
from genai_config.exceptions import ConfigurationError, GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._clients.target import Target
    from genai_config._settings.model import GenAIConfig
    from genai_config._transport.call_credentials import CallCredentials

CHAT = "/chat/completions"
"""Where answers have tool calls."""

_OF_THE_BODY = frozenset({"content-encoding", "content-length", "content-type"})


def http_options(config: GenAIConfig) -> dict[str, Any]:
    """What httpx's clients are made with: trust and proxy."""
    options: dict[str, Any] = {}
    if config.ca_certs is not None:
        options["verify"] = ssl.create_default_context(cafile=config.ca_certs)
    if config.proxy is not None:
        options["proxy"] = config.proxy.get_secret_value()
    return options


def attached_to(config: GenAIConfig, target: Target) -> CallCredentials:
    """The credentials for the place that OpenAI's requests go to."""
    if target.auth == "api_key":
        return _headers.openai_key_headers(config, target.origin)
    return _headers.TokenHeaders(_headers.source_for(config, target.scopes), config.quota_project)


class Link:
    """What the requests of a client are bound to.

    Args:
        target: Where they go.
        attach: Gives the credentials that they carry; asked for each request, as a forked child
            has others than its parent.
        options: What httpx's clients are made with: trust and proxy.
    """

    def __init__(
        self, target: Target, attach: Callable[[], CallCredentials], options: dict[str, Any]
    ) -> None:
        self.target = target
        self.attach = attach
        self.options = options
        self._origin = target.origin

    def completed(self, request: Any) -> Any:
        """A request in the form that the target wants."""
        return request

    def credentials(self, request: Any) -> CallCredentials:
        """The credentials of a request."""
        del request
        return self.attach()

    def check(self, request: Any) -> None:
        """Lets a request pass that goes where the credentials belong.

        Raises:
            ConfigurationError: It goes elsewhere.
        """
        found = origin(str(request.url))
        if found != self._origin or request.url.userinfo:
            whither = "with a user name" if found == self._origin else f"to {found}"
            raise ConfigurationError(
                f"This client sends its credentials to {self._origin} alone, and was asked for "
                f"a request {whither}.",
                "use another client for that: openai.OpenAI(…).",
            )

    def failed(self, request: Any, error: GenAIConfigError) -> Any:
        """What becomes of a request that could not be sent: the error, or an answer."""
        del request
        raise error

    def received(self, request: Any, response: Any) -> Any:
        """The answer to a request; an error has been read."""
        del request
        return response


class Stop(BaseException):
    """Carries an error out of OpenAI's retries, which take any Exception for a broken connection.

    Attributes:
        error: The error.
    """

    def __init__(self, error: GenAIConfigError) -> None:
        super().__init__(error)
        self.error = error


class OpenAILink(Link):
    """A link of clients of OpenAI's, whose tool calls are signed, whether they know it or not."""

    def __init__(
        self, target: Target, attach: Callable[[], CallCredentials], options: dict[str, Any]
    ) -> None:
        super().__init__(target, attach, options)
        self._signatures = Signatures()

    def completed(self, request: Any) -> Any:
        """A request with the signatures of tool calls that its sender dropped."""
        try:
            body = request.content
        except RuntimeError:  # a stream, read by whoever sends it: it goes as it is
            return request
        completed = self._completed(body)
        if completed is body:
            return request
        headers = {n: v for n, v in request.headers.items() if n != "content-length"}
        return type(request)(
            request.method, request.url, headers=headers, content=completed,
            extensions=request.extensions,
        )  # fmt: skip

    def _completed(self, body: bytes) -> bytes:
        return self._signatures.completed(body)

    def failed(self, request: Any, error: GenAIConfigError) -> NoReturn:
        """Raises it past OpenAI's retries."""
        del request
        raise Stop(error) from None

    def received(self, request: Any, response: Any) -> Any:
        """Has the signatures of tool calls noted when the answer is read."""
        if request.url.path.endswith(CHAT) and not response.is_error:
            reader = Reader(self._signatures)
            if response.is_stream_consumed:
                reader.feed(response.content)
                reader.close()
            else:
                response.iter_bytes = reader.noting(response.iter_bytes)
                response.aiter_bytes = reader.noting_async(response.aiter_bytes)
        return response


class ForeignLink(OpenAILink):
    """A link of other people's clients, which know nothing of this library."""

    def _completed(self, body: bytes) -> bytes:
        return super()._completed(with_model(self.target, body))

    def failed(self, request: Any, error: GenAIConfigError) -> Any:
        """An answer as of OpenAI's service, with cause and remedy."""
        status, headers = errors.answer_to(error)
        return self._told(request, status, errors.in_openais_form(status, str(error)), headers)

    def received(self, request: Any, response: Any) -> Any:
        """An answer in OpenAI's form: Google's errors have one of their own, which clients lose."""
        if not response.is_error:
            return super().received(request, response)
        status = response.status_code
        body = errors.googles_in_openais_form(
            self.target, status, response.content, request.url.path, self.attach().kind
        )
        kept = {n: v for n, v in response.headers.items() if n not in _OF_THE_BODY}
        return self._told(request, status, body, kept)

    @staticmethod
    def _told(request: Any, status: int, body: bytes, headers: dict[str, str]) -> Any:
        httpx = sys.modules[package_of(type(request))]
        headers = {**headers, "content-type": "application/json"}
        return httpx.Response(status, headers=headers, content=body, request=request)


PACKAGES = ("httpx", "httpx2")
"""The packages that an HTTP client may come from."""


def package_of(kind: type) -> str:
    """The package that a class of httpx's or httpx2's comes from."""
    packages = [base.__module__.partition(".")[0] for base in kind.__mro__]
    return next(package for package in packages if package in PACKAGES)
