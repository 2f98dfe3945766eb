"""The same without pytest: a context manager, and a mixin for `unittest`."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from unittest import mock

from google.generativeai import client as client_lib

from genai_config import safe_configure
from genai_config._settings.state import state
from genai_config.testing.isolation import environment, isolated
from genai_config.testing.server import GeminiServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def serving(  # noqa: PLR0913 -- options, each by its name
    *,
    transport: Literal["grpc", "rest"] = "grpc",
    token_lifetime: float | None = None,
    tuning_polls: int = 2,
    tuning: Literal["served", "ended"] = "served",
    models: Literal["any", "today"] = "any",
    clock: Callable[[], float] = time.time,
) -> Iterator[GeminiServer]:
    """Starts a local server and points the configuration of this process at it.

    Use it inside `isolated`. A raw ``genai.configure()`` of the code under test merges, so that it
    does not drop where the server is. Models that were used before, at another server perhaps, go
    to this one.

    Args:
        transport: What requests go by, tuned models' too.
        token_lifetime: Seconds that access tokens are valid; None: an hour.
        tuning_polls: How often an operation must be looked at until the tuned model is done.
        tuning: "ended": tuned models of the Gemini API answer 404, as today; see
            `GeminiServer.tuning`.
        models: "today": retired models answer 404; see `GeminiServer.models`.
        clock: The server's time in seconds since the epoch.
    """
    with contextlib.ExitStack() as undo:
        server = undo.enter_context(GeminiServer(clock=clock, tuning_polls=tuning_polls))
        server.tuning, server.models = tuning, models
        if token_lifetime is not None:
            server.tokens.lifetime = token_lifetime
        # Where the SDK uploads to is a constant.
        undo.enter_context(
            mock.patch.object(client_lib, "GENAI_API_DISCOVERY_URL", server.discovery_url)
        )
        state.begin_era()
        safe_configure(
            transport=transport,
            tuned_transport=transport,
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.endpoint},
            vertex_endpoint=server.base_url,
            raw_configure="merge",
        )
        yield server


class VertexProject(NamedTuple):
    """A project on the server's Vertex AI, to which the configuration of the process points.

    Attributes:
        server: The server; ``server.base_url`` is where google-genai and others find it.
        project: The project's ID.
        location: The location.
    """

    server: GeminiServer
    project: str = "my-project"
    location: str = "us-central1"

    def model(self, name: str) -> str:
        """The full path of one of Google's models."""
        return f"{self._place}/publishers/google/models/{name}"

    def endpoint(self, identifier: str = "123") -> str:
        """The full path of an endpoint, such as that of a tuned model; any is served."""
        return f"{self._place}/endpoints/{identifier}"

    @property
    def _place(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"


def vertex_project(server: GeminiServer) -> VertexProject:
    """Points the configuration of this process at the Vertex AI of a server, inside `serving`.

    Base models stay on the Gemini API unless ``backend="vertex"`` is set.
    """
    made = VertexProject(server)
    safe_configure(project=made.project, location=made.location, vertex_endpoint=server.base_url)
    return made


class GeminiTestMixin:
    """A mixin for `unittest.TestCase`: each test is isolated and has a server of its own.

    Attributes:
        gemini_options: Keyword arguments of `serving`, for all tests of the class.
        gemini_server: The server of the running test.
    """

    gemini_options: dict[str, Any] = {}  # noqa: RUF012 -- to be replaced as a whole
    gemini_server: GeminiServer

    def setUp(self) -> None:
        """Isolates the test and starts the server."""
        super().setUp()  # type: ignore[misc] # that of the TestCase beside it
        undo = contextlib.ExitStack()
        undo.enter_context(isolated())
        self.gemini_server = undo.enter_context(serving(**self.gemini_options))
        self._variables = undo
        self.addCleanup(undo.close)  # type: ignore[attr-defined] # that of the TestCase beside it

    def gemini_api_key(self) -> str:
        """A valid API key of the server, exported as GEMINI_API_KEY until the test ends."""
        key = self.gemini_server.api_key("test-key")
        self._variables.enter_context(environment({"GEMINI_API_KEY": key}))
        return key

    def gemini_vertex(self) -> VertexProject:
        """The server's Vertex AI, which the configuration points at, with ADC for it."""
        self.gemini_adc()
        return vertex_project(self.gemini_server)

    def gemini_adc(self) -> Path:
        """A service account of the server, as ADC until the test ends."""
        path = self.gemini_server.service_account_file("test-account")
        variables = {"GOOGLE_APPLICATION_CREDENTIALS": os.fspath(path)}
        self._variables.enter_context(environment(variables))
        return path
