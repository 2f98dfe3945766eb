"""OpenAI's clients on Vertex AI and on the Gemini API, with credentials that never go stale.

    from genai_config import openai

    client = openai.client(project="my-project", location="us-central1")
    client.chat.completions.create(model="gemini-2.0-flash", messages=[…])

They are `openai.OpenAI` and `openai.AsyncOpenAI`: streams, `with_options()`, `parse()`, everything
works as it does there. Each request carries a token that is valid when it is sent.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any
from urllib.parse import urlsplit

from genai_config._auth import headers
from genai_config._clients import errors
from genai_config._clients.http import Link, Stop, attached_to, http_options, linked
from genai_config._clients.target import resolve
from genai_config._settings.state import state
from genai_config._settings.validation import unknown
from genai_config.exceptions import ConfigurationError, GenAIConfigError, UnknownSettingError

try:
    import openai
except ImportError as error:
    raise ImportError(
        "genai_config.openai needs OpenAI's library: pip install 'genai-config[openai]'",
        name=error.name,
    ) from error

__all__ = ["async_client", "client"]

_PLACEHOLDER = "genai-config-puts-a-token-here"
"""What OpenAI's client has for a key: it wants one. Every request gets other credentials."""

_SETTINGS = frozenset(
    ("auth", "auth_timeout", "ca_certs", "client_options", "credentials", "proxy", "quota_project",
     "scopes")
)  # fmt: skip
"""The settings that clients go by and have no argument for."""

_ARGUMENTS = frozenset(inspect.signature(openai.OpenAI).parameters)
"""What OpenAI's clients of this version take, both of them."""


def client(  # noqa: PLR0913 -- what decides where requests go, spelt out
    *,
    backend: str | None = None,
    project: str | None = None,
    location: str | None = None,
    endpoint: str | None = None,
    api_version: str | None = None,
    api_key: str | None = None,
    base_url: Any = None,
    **arguments: Any,
) -> openai.OpenAI:
    """An `openai.OpenAI` for Vertex AI or the Gemini API.

    It keeps the configuration in force where it is made, scopes included: credentials, quota
    project, scopes, endpoint, `ca_certs`, `proxy`, and `timeout` for each attempt.

    Args:
        backend: "vertex" or "gemini"; None: the one that is configured.
        project: Google Cloud project; None: the configuration's, else that of the credentials,
            which may be asked of the metadata server. (OpenAI's own projects mean nothing here.)
        location: Location of Vertex AI: a region, "global", "us" or "eu"; None: the
            configuration's.
        endpoint: "openapi" for Gemini and the other models that Google serves, or the id of an
            endpoint with a model of your own; None: the configuration's, else "openapi".
        api_version: "v1" or "v1beta1" of Vertex AI; None: "v1".
        api_key: A key of the Gemini API; None: the configuration's.
        base_url: The whole URL, in place of `project`, `location`, `endpoint` and `api_version`.
        **arguments: As for `openai.OpenAI`.

    Raises:
        ConfigurationError: A value is refused or missing, or it is unclear which backend is meant.
        CredentialsError: No project is given, and no credentials are found that would name one.
    """
    place = (backend, project, location, endpoint, api_version, base_url)
    return OpenAI(**_bound(openai.DefaultHttpxClient, api_key, place, arguments))


def async_client(  # noqa: PLR0913 -- what decides where requests go, spelt out
    *,
    backend: str | None = None,
    project: str | None = None,
    location: str | None = None,
    endpoint: str | None = None,
    api_version: str | None = None,
    api_key: str | None = None,
    base_url: Any = None,
    **arguments: Any,
) -> openai.AsyncOpenAI:
    """An `openai.AsyncOpenAI` for Vertex AI or the Gemini API, for any number of event loops.

    Args:
        backend: As for `client`.
        project: As for `client`; give it where an event loop must not wait for it.
        location: As for `client`.
        endpoint: As for `client`.
        api_version: As for `client`.
        api_key: As for `client`.
        base_url: As for `client`.
        **arguments: As for `openai.AsyncOpenAI`.

    Raises:
        ConfigurationError: As for `client`.
        CredentialsError: As for `client`.
    """
    place = (backend, project, location, endpoint, api_version, base_url)
    return AsyncOpenAI(**_bound(openai.DefaultAsyncHttpxClient, api_key, place, arguments))


def _bound(
    kind: type, api_key: str | None, place: tuple[Any, ...], arguments: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a client whose requests go where they should, with credentials."""
    _check_names(arguments)
    config = state.current().config
    if api_key is not None:
        config = config.merge(api_key=api_key, auth="api_key")
    backend, project, location, endpoint, api_version, base_url = place
    target = resolve(
        config,
        backend=backend,
        project=project,
        location=location,
        endpoint=endpoint,
        api_version=api_version,
        base_url=str(base_url) if hasattr(base_url, "scheme") else base_url,  # httpx's URL
        found_project=lambda scopes: headers.source_for(config, scopes).found().project,
    )
    if config.timeout is not None:
        arguments.setdefault("timeout", config.timeout)
    link = Link(target, lambda: attached_to(config, target), http_options(config))
    http = linked(link, arguments.pop("http_client", None), kind)
    return {**arguments, "base_url": target.base_url, "http_client": http}


def _check_names(arguments: dict[str, Any]) -> None:
    """Refuses what is an argument neither of ours nor of OpenAI's clients."""
    for name in arguments.keys() - _ARGUMENTS:
        if name in _SETTINGS:
            raise UnknownSettingError(
                f"{name}= is a setting of the configuration, and no argument of a client.",
                f"safe_configure({name}=…), or for one client: with override({name}=…): client = …",
            )
        ours = ("backend", "location", "endpoint", "api_version")
        known = [*ours, *(one for one in _ARGUMENTS if not one.startswith("_"))]
        raise unknown("argument", name, sorted(known))


class _Ours:
    """What both of our clients do differently from OpenAI's."""

    _custom_headers: Any
    organization: str | None
    project: str | None

    def __init__(
        self,
        *,
        http_client: Any,
        organization: str | None = None,
        project: None = None,
        default_headers: Any = None,
        **arguments: Any,
    ) -> None:
        arguments |= {"api_key": _PLACEHOLDER, "default_headers": default_headers}
        super().__init__(  # type: ignore[call-arg] # OpenAI's
            http_client=http_client, organization=organization, **arguments
        )
        self._http = http_client
        # OpenAI's client has looked into OPENAI_ORG_ID, OPENAI_PROJECT_ID and
        # OPENAI_CUSTOM_HEADERS, which are not for Google.
        self.organization = organization
        self.project = project
        self._custom_headers = default_headers or {}

    @property
    def auth_headers(self) -> dict[str, str]:
        """None: those that are sent are made for each attempt."""
        return {}

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
        for name in ("extra_json", "json_data"):  # the first goes before the second
            body = getattr(options, name)
            if isinstance(body, dict) and isinstance(body.get("model"), str):
                model = self._http.link.target.model(body["model"])
                setattr(options, name, {**body, "model": model})
                return

    def _explain(self, error: openai.APIStatusError | openai.APIConnectionError) -> None:
        """Puts cause and remedy into the message of an error of OpenAI's client."""
        target = self._http.link.target
        if isinstance(error, openai.APIStatusError):
            found = errors.refusal(error.body)
            location = error.response.headers.get("location", "")
            base = urlsplit(target.base_url).path
            path = error.request.url.path.removeprefix(base)
            said = errors.explanation(target, error.status_code, found, location, path)
            error.message = f"Error code: {error.status_code} - {said}" if said else error.message
        else:
            error.message += f" {errors.unreachable(target, error.__cause__)}"
        error.args = (error.message,)


# OpenAI's client tells the service the name of its class.
class OpenAI(_Ours, openai.OpenAI):
    """An `openai.OpenAI` with the credentials of this library."""

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
    """An `openai.AsyncOpenAI` with the credentials of this library."""

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
    return _unpickled(type(ours), ours.args)


@functools.cache
def _kind(ours: Any) -> Any:
    names = {"__module__": ours.__module__, "__doc__": ours.__doc__, "__reduce__": _reduce}
    return type(ours.__name__, (ours, openai.OpenAIError), names)


def _reduce(error: GenAIConfigError) -> tuple[Any, ...]:
    return _unpickled, (type(error).__bases__[0], error.args)


def _unpickled(ours: Any, args: tuple[Any, ...]) -> GenAIConfigError:
    both: GenAIConfigError = _kind(ours)(*args)
    return both
