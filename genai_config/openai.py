"""OpenAI's clients on Vertex AI and on the Gemini API, with credentials that never go stale.

    from genai_config import openai

    client = openai.client(project="my-project", location="us-central1")
    client.chat.completions.create(model="gemini-3.6-flash", messages=[…])

They are `openai.OpenAI` and `openai.AsyncOpenAI`: streams, `with_options()`, `parse()`, everything
works as it does there. Each request carries a token that is valid when it is sent.
"""

from __future__ import annotations

import functools
import inspect
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

from genai_config._clients import errors
from genai_config._clients.account import PLACE, SETTINGS, account
from genai_config._clients.http import AsyncSending, SyncSending, linked
from genai_config._clients.link import (
    ForeignLink,
    OpenAILink,
    Stop,
    attached_to,
    http_options,
    package_of,
)
from genai_config._clients.target import is_model_name
from genai_config._masking import forgets_arguments, mask_exception
from genai_config._settings.validation import unknown
from genai_config.exceptions import ConfigurationError, GenAIConfigError, UnknownSettingError

try:
    import openai
except ImportError as error:
    raise ImportError(
        "genai_config.openai needs OpenAI's library: pip install 'genai-config[openai]'",
        name=error.name,
    ) from error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Unpack

    from genai_config._settings.given import GivenKey

__all__ = [
    "Arguments",
    "AsyncOpenAI",
    "OpenAI",
    "Place",
    "async_client",
    "async_http_client",
    "client",
    "http_client",
]

_PLACEHOLDER = "genai-config-puts-a-token-here"
"""What OpenAI's client has for a key: it wants one. Every request gets other credentials."""

_ARGUMENTS = frozenset(inspect.signature(openai.OpenAI).parameters)
"""What OpenAI's clients of this version take, both of them."""


class Place(TypedDict, total=False):
    """Where requests go and with which credentials; None or left out: as configured.

    Attributes:
        backend: "vertex" or "gemini"; by default what arguments, settings and
            GOOGLE_GENAI_USE_VERTEXAI or GOOGLE_GENAI_USE_ENTERPRISE say.
        project: Google Cloud project; by default the configured one, else that of the
            credentials, which may be asked of the metadata server. (OpenAI's own projects mean
            nothing here.)
        location: Location of Vertex AI: a region, "global", "us" or "eu".
        endpoint: "openapi" for Gemini and the other models that Google serves, or the id of an
            endpoint with a model of your own; "openapi" by default.
        api_version: "v1" (the default) or "v1beta1" of Vertex AI.
        base_url: The whole URL, in place of `project`, `location`, `endpoint` and `api_version`.
        api_key: A key of the Gemini API, or a reference to it.
        credentials: As for `safe_configure`, for this client alone, as are the following.
        quota_project: The project that OAuth requests are billed to.
        scopes: OAuth scopes.
        auth: "auto", "oauth" or "api_key".
        auth_timeout: Seconds for finding credentials and fetching a token.
        proxy: URL of an HTTP proxy.
        ca_certs: PEM file of the certificate authorities to trust.
        client_options: As for the SDK; ``api_endpoint`` replaces the host.
        profile: A named set of settings, as for `safe_configure`.
    """

    backend: Any
    project: str | None
    location: str | None
    endpoint: str | None
    api_version: Any
    base_url: Any
    api_key: GivenKey | None
    credentials: Any
    quota_project: str | None
    scopes: Any
    auth: Any
    auth_timeout: float | None
    proxy: str | None
    ca_certs: Any
    client_options: Any
    profile: str | None


class Arguments(Place, total=False):
    """What our clients take: `Place`, and what OpenAI's own clients take.

    Attributes:
        organization: As for OpenAI's clients, like all that follow.
        timeout: Seconds for each attempt, or an httpx timeout; the configured `timeout` by default.
        max_retries: Further attempts after one that failed.
        default_headers: Headers of every request; ``x-goog-user-project`` goes before the
            configured quota project.
        default_query: Parameters of every request's URL.
        http_client: The HTTP client to send with.
        webhook_secret: The secret of OpenAI's webhooks.
        websocket_base_url: The URL of OpenAI's realtime connections.
    """

    organization: str | None
    timeout: Any
    max_retries: int
    default_headers: Mapping[str, str] | None
    default_query: Mapping[str, object] | None
    http_client: Any
    webhook_secret: str | None
    websocket_base_url: Any


@forgets_arguments
def client(**arguments: Unpack[Arguments]) -> OpenAI:
    """An `openai.OpenAI` for Vertex AI or the Gemini API.

    It keeps the configuration in force where it is made, scopes included: credentials, quota
    project, scopes, endpoint, `ca_certs`, `proxy`, and `timeout` for each attempt. An argument
    means an `override()` around the making, so two accounts in one process are two clients.

    Args:
        **arguments: See `Arguments`; what else the installed `openai.OpenAI` takes, it gets.

    Raises:
        ConfigurationError: A value is refused or missing, or it is unclear which backend is meant.
        CredentialsError: No project is given, and no credentials are found that would name one.
    """
    return OpenAI(**arguments)


@forgets_arguments
def async_client(**arguments: Unpack[Arguments]) -> AsyncOpenAI:
    """An `openai.AsyncOpenAI` for Vertex AI or the Gemini API, for any number of event loops.

    Args:
        **arguments: As for `client`; give `project` where an event loop must not wait for it.

    Raises:
        ConfigurationError: As for `client`.
        CredentialsError: As for `client`.
    """
    return AsyncOpenAI(**arguments)


@forgets_arguments
def http_client(**place: Unpack[Place]) -> Any:
    """The HTTP client under `client`, for libraries that take one, such as LangChain.

    Every request it sends carries valid credentials, and the model's name in the form that the
    service wants. It is an `httpx.Client` (`httpx2.Client` with openai 3); its `base_url` is the
    one to give to the library, together with any API key, which is not sent.

    Args:
        **place: See `Place`.

    Raises:
        ConfigurationError: As for `client`.
        CredentialsError: As for `client`.
    """
    return _http_client(openai.DefaultHttpxClient, dict(place))


@forgets_arguments
def async_http_client(**place: Unpack[Place]) -> Any:
    """The HTTP client under `async_client`; see `http_client`.

    Args:
        **place: See `Place`.

    Raises:
        ConfigurationError: As for `client`.
        CredentialsError: As for `client`.
    """
    return _http_client(openai.DefaultAsyncHttpxClient, dict(place))


def _http_client(kind: type, place: dict[str, Any]) -> Any:
    if "timeout" in place:
        raise UnknownSettingError(
            "There is no argument 'timeout'.",
            "safe_configure(timeout=30) before it is made, or set the `timeout` of what is made.",
        )
    _check_names(place, frozenset())
    link, timeout = _link(place, ForeignLink)
    made = linked(link, None, kind)
    made.base_url = link.target.base_url
    if timeout is not None:
        made.timeout = timeout
    return made


def _check_names(arguments: dict[str, Any], theirs: frozenset[str]) -> None:
    """Refuses what is an argument neither of ours nor of OpenAI's clients."""
    known = {*PLACE, *SETTINGS, *theirs}
    for name in arguments.keys() - known:
        raise unknown("argument", name, sorted(one for one in known if not one.startswith("_")))


def _link(
    arguments: dict[str, Any], kind: type[OpenAILink] = OpenAILink
) -> tuple[OpenAILink, float | None]:
    """Takes what is ours out of the arguments; what requests are bound to, and the timeout."""
    config, target = account(arguments)
    return kind(target, lambda: attached_to(config, target), http_options(config)), config.timeout


class _Ours:
    """What both of our clients do differently from OpenAI's."""

    _custom_headers: Any
    _kind: type
    organization: str | None
    project: str | None

    @forgets_arguments
    def __init__(self, **arguments: Any) -> None:
        http = arguments.pop("http_client", None)
        if isinstance(http, (SyncSending, AsyncSending)):
            # A copy's, or one of `http_client()`: they know where requests go.
            for name in (*PLACE[:-1], *SETTINGS):
                arguments.pop(name, None)
            arguments.setdefault("base_url", http.link.target.base_url)
        else:
            _check_names(arguments, _ARGUMENTS)
            link, timeout = _link(arguments)
            if timeout is not None:
                arguments.setdefault("timeout", timeout)
            arguments["base_url"] = link.target.base_url
            http = linked(link, http, self._kind)
        organization = arguments.pop("organization", None)
        default_headers = arguments.pop("default_headers", None)
        super().__init__(
            http_client=http,
            organization=organization,
            api_key=_PLACEHOLDER,
            default_headers=default_headers,
            **arguments,
        )  # type: ignore[call-arg] # OpenAI's
        self._http: Any = http
        # OpenAI's client has looked into OPENAI_ORG_ID, OPENAI_PROJECT_ID and
        # OPENAI_CUSTOM_HEADERS, which are not for Google.
        self.organization = organization
        self.project = None
        self._custom_headers = default_headers or {}

    @property
    def auth_headers(self) -> dict[str, str]:
        """None: those that are sent are made for each attempt."""
        return {}

    @functools.cached_property
    def realtime(self) -> Any:
        """As OpenAI's; a connection is refused before it is dialled: neither service has it."""
        made = super().realtime  # type: ignore[misc] # OpenAI's

        def connect(*_: Any, **__: Any) -> Any:
            raise _as_openais(errors.no_realtime(self._http.link.target))

        made.connect = connect
        return made

    @forgets_arguments
    def copy(self, *, http_client: Any = None, **changes: Any) -> Any:
        """As OpenAI's; where requests go, and with which key, stays as it is."""
        for name in ("api_key", "project"):
            if changes.get(name) is not None:
                raise ConfigurationError(
                    f"{name}= cannot be changed in a copy of this client.",
                    f"make another one: genai_config.openai.client({name}=…).",
                )
        http = self._http
        if http_client is not None:
            http = linked(http.link, http_client, http.kind)
        return super().copy(http_client=http, **changes)  # type: ignore[misc] # OpenAI's

    with_options = copy

    def _prepare(self, options: Any) -> None:
        """Gives the model of a request the form that the backend wants."""
        if isinstance(self._http.link, ForeignLink):
            return  # the HTTP client does
        for name in ("extra_json", "json_data"):  # the first goes before the second
            body = getattr(options, name)
            if isinstance(body, dict) and isinstance(body.get("model"), str):
                try:
                    model = self._http.link.target.model(body["model"])
                except ConfigurationError as error:
                    raise self._refused(error, body["model"], options) from None
                setattr(options, name, {**body, "model": model})
                return

    def _refused(self, error: ConfigurationError, model: str, options: Any) -> GenAIConfigError:
        """The error of a model's name as the service's own: fallbacks go by its status."""
        httpx = sys.modules[package_of(type(self._http))]
        status = HTTPStatus.NOT_FOUND if is_model_name(model) else HTTPStatus.BAD_REQUEST
        url = f"{self._http.link.target.base_url}{options.url}"
        made = _unpickled(type(error), error.args, _STATUS_ERRORS[status])
        request = httpx.Request(options.method.upper(), url)
        made.__dict__.update(
            message=str(error), request=request, response=httpx.Response(status, request=request),
            status_code=int(status), request_id=None, body=None, code=None, param=None, type=None,
        )  # fmt: skip
        return made

    def _explain(self, error: openai.APIStatusError | openai.APIConnectionError) -> None:
        """Puts cause and remedy into the message of an error of OpenAI's client; masks secrets."""
        target = self._http.link.target
        if not isinstance(error, openai.APIStatusError):
            error.message += f" {errors.unreachable(target, error.__cause__)}"
        elif not isinstance(self._http.link, ForeignLink):  # which has explained it
            found = errors.refusal(error.body)
            location = error.response.headers.get("location", "")
            path = target.below(error.request.url.path)
            sent = self._http.link.attach().kind
            said = errors.explanation(
                target, error.status_code, found, location, path=path, credential=sent
            )
            error.message = f"Error code: {error.status_code} - {said}" if said else error.message
        error.args = (error.message,)
        mask_exception(error)


# OpenAI's client tells the service the name of its class.
class OpenAI(_Ours, openai.OpenAI):
    """An `openai.OpenAI` with the credentials of this library; see `client`."""

    _kind = openai.DefaultHttpxClient

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[Arguments]) -> None: ...

    def request(self, cast_to: Any, options: Any, **how: Any) -> Any:
        """As OpenAI's."""
        try:
            self._prepare(options)
            return super().request(cast_to, options, **how)
        except (Stop, GenAIConfigError) as error:
            raise _as_openais(error) from None
        except (openai.APIStatusError, openai.APIConnectionError) as error:
            self._explain(error)
            raise


class AsyncOpenAI(_Ours, openai.AsyncOpenAI):
    """An `openai.AsyncOpenAI` with the credentials of this library; see `async_client`."""

    _kind = openai.DefaultAsyncHttpxClient

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[Arguments]) -> None: ...

    async def request(self, cast_to: Any, options: Any, **how: Any) -> Any:
        """As OpenAI's."""
        try:
            self._prepare(options)
            return await super().request(cast_to, options, **how)
        except (Stop, GenAIConfigError) as error:
            raise _as_openais(error) from None
        except (openai.APIStatusError, openai.APIConnectionError) as error:
            self._explain(error)
            raise


def _as_openais(error: Stop | GenAIConfigError) -> GenAIConfigError:
    """The same error, of a type that is also OpenAI's: who catches those, catches it."""
    ours = error.error if isinstance(error, Stop) else error
    if isinstance(ours, openai.OpenAIError):
        return ours
    return _unpickled(type(ours), ours.args)


_STATUS_ERRORS: dict[HTTPStatus, type[openai.OpenAIError]] = {
    HTTPStatus.BAD_REQUEST: openai.BadRequestError,
    HTTPStatus.NOT_FOUND: openai.NotFoundError,
}


@functools.cache
def _both(ours: Any, theirs: Any) -> Any:
    names = {
        "__module__": ours.__module__,
        "__doc__": ours.__doc__,
        "__init__": ours.__init__,
        "__reduce__": _reduce,
    }
    return type(ours.__name__, (ours, theirs), names)


def _reduce(error: GenAIConfigError) -> tuple[Any, ...]:
    ours, theirs = type(error).__bases__
    return _unpickled, (ours, error.args, theirs)


def _unpickled(
    ours: Any, args: tuple[Any, ...], theirs: Any = openai.OpenAIError
) -> GenAIConfigError:
    both: GenAIConfigError = _both(ours, theirs)(*args)
    return both


def __getattr__(name: str) -> Any:
    """What is not defined here is OpenAI's: this module stands in for ``openai``."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(openai, name)
    except AttributeError:
        raise AttributeError(
            f"neither {__name__!r} nor 'openai' has an attribute {name!r}"
        ) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(openai)})
