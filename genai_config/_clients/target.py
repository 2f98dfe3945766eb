"""What a client of the OpenAI-compatible endpoints sends its requests to: pure.

Sources: [V] https://cloud.google.com/vertex-ai/generative-ai/docs/start/openai
and [G] https://ai.google.dev/gemini-api/docs/openai.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from genai_config._masking import scrub
from genai_config._models import MODEL
from genai_config.exceptions import ConfigurationError

Backend = Literal["vertex", "gemini"]


class _Service(NamedTuple):
    """One row: the name for people and in hosts, the API versions (default first), the path."""

    title: str
    host: str
    versions: tuple[str, ...]
    path: str


SERVICES: dict[Backend, _Service] = {
    "vertex": _Service(
        "Vertex AI", "aiplatform", ("v1", "v1beta1"),
        "/{version}/projects/{project}/locations/{location}/endpoints/{endpoint}",
    ),  # [V]
    "gemini": _Service(
        "the Gemini API", "generativelanguage", ("v1beta",), "/{version}/openai",
    ),  # [G]
}  # fmt: skip

GEMINI_ENDPOINT = "openapi"
"""The endpoint of the models that Google serves; any other is a model deployed by oneself."""

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]*(/[A-Za-z0-9][A-Za-z0-9._@:-]*)*")
# The models of Google that Vertex AI wants as google/…; other publishers must be named.
_GOOGLES = ("gemini-", "gemma-", "text-embedding-", "text-multilingual-embedding-")
_GOOGLES_PREFIXES = ("publishers/google/models/", "models/", "google/")


@dataclass(frozen=True)
class Target:
    """Where requests go, and with which credentials.

    Attributes:
        backend: "vertex" or "gemini".
        base_url: The URL before `/chat/completions`, without a slash at its end.
        auth: "oauth", or "api_key" (sent as a bearer token).
        scopes: The OAuth scopes; empty with an API key.
        project: The Google Cloud project; "" on the Gemini API.
        location: The location; "" on the Gemini API.
        endpoint: "openapi", or the id of an endpoint with a model of one's own; "" on the Gemini
            API.
    """

    backend: Backend
    base_url: str
    auth: Literal["oauth", "api_key"]
    scopes: tuple[str, ...] = ()
    project: str = ""
    location: str = ""
    endpoint: str = ""

    @property
    def origin(self) -> str:
        """Scheme, host and, unless it is the scheme's own, port."""
        return origin(self.base_url)

    @property
    def title(self) -> str:
        """What the backend is called, for people."""
        return SERVICES[self.backend].title

    def below(self, path: str) -> str:
        """The part of a URL's path that comes after the base URL's."""
        return path.removeprefix(urlsplit(self.base_url).path)

    def model(self, name: str) -> str:
        """A model's name in the form that is wanted here.

        ``gemini-…``, ``models/gemini-…`` and ``google/gemini-…`` mean the same everywhere. The
        model of an endpoint of one's own has any name.

        Raises:
            ConfigurationError: It is the name of no model here.
        """
        if self.backend == "vertex" and self.endpoint != GEMINI_ENDPOINT:
            return name
        if not is_model_name(name):
            raise ConfigurationError(
                f"{scrub(name)!r} is not a valid model name.", f"give model={MODEL!r}, for example."
            )
        for prefix in _GOOGLES_PREFIXES:
            if name.startswith(prefix):
                bare = name.removeprefix(prefix)
                return bare if self.backend == "gemini" else f"google/{bare}"
        if self.backend == "gemini":
            return name
        if name.startswith(_GOOGLES):
            return f"google/{name}"
        if "/" not in name or name.startswith("tunedModels/"):
            raise ConfigurationError(
                f"Vertex AI has no model {name!r}.",
                f"give '<publisher>/<model>', such as 'google/{MODEL}'; for a model that "
                "you deployed or tuned, make the client with endpoint='<its endpoint id>' (gcloud "
                "ai endpoints list).",
            )
        return name


def is_model_name(name: str) -> bool:
    """Whether a model could have this name."""
    return _MODEL.fullmatch(name) is not None


def with_model(target: Target, body: bytes) -> bytes:
    """A body, with its model's name in the form that the target wants if it is JSON with one.

    What is said to be its type does not count: `curl -d` says that it is a form.

    Raises:
        ConfigurationError: It is the name of no model there.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):  # the service will say what is wrong
        return body
    given = document.get("model") if isinstance(document, dict) else None
    if not isinstance(given, str):
        return body
    model = target.model(given)
    return body if model == given else json.dumps({**document, "model": model}).encode()


def origin(url: str) -> str:
    """Scheme, host and, unless it is the scheme's own, port of a URL."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    port = parts.port
    usual = port in (None, {"https": 443, "http": 80}.get(parts.scheme))
    return f"{parts.scheme}://{shown}" + ("" if usual else f":{port}")
