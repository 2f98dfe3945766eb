"""The server, and the bare SDK's clients for it over both wires."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import google.auth.transport.requests
import grpc
import pytest
import requests
from google.ai import generativelanguage_v1beta as glm
from google.auth.credentials import AnonymousCredentials

from genai_config.testing import GeminiServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVICES: dict[str, Any] = {
    "CacheService": glm.CacheServiceClient,
    "FileService": glm.FileServiceClient,
    "GenerativeService": glm.GenerativeServiceClient,
    "ModelService": glm.ModelServiceClient,
    "PermissionService": glm.PermissionServiceClient,
    "RetrieverService": glm.RetrieverServiceClient,
}


class Wire(NamedTuple):
    """One way to the server.

    Attributes:
        name: "grpc" or "rest".
        client: Makes the SDK's client of a service.
    """

    name: str
    client: Callable[[str], Any]


@pytest.fixture
def server() -> Iterator[GeminiServer]:
    """A running server."""
    with GeminiServer() as running:
        yield running


@pytest.fixture
def channel(server: GeminiServer) -> Iterator[Any]:
    """A channel that trusts the server."""
    trust = grpc.ssl_channel_credentials(server.ca_file.read_bytes())
    with grpc.secure_channel(server.grpc_endpoint, trust) as opened:
        yield opened


@pytest.fixture(params=["grpc", "rest"])
def wire(request: pytest.FixtureRequest, server: GeminiServer) -> Iterator[Wire]:
    """The SDK's own clients, over gRPC and over REST."""
    if request.param == "grpc":
        opened = request.getfixturevalue("channel")

        def over_grpc(service: str) -> Any:
            client = SERVICES[service]
            return client(transport=client.get_transport_class("grpc")(channel=opened))

        yield Wire("grpc", over_grpc)
        return
    sessions = []

    def over_rest(service: str) -> Any:
        client = SERVICES[service]
        transport = client.get_transport_class("rest")(
            host=server.rest_endpoint, credentials=AnonymousCredentials()
        )
        transport._session.trust_env = False  # its REQUESTS_CA_BUNDLE would win over verify
        transport._session._refresh_status_codes = ()  # a 401 is looked at, not mended
        transport._session.verify = str(server.ca_file)
        sessions.append(transport._session)
        return client(transport=transport)

    yield Wire("rest", over_rest)
    for session in sessions:
        session.close()


@pytest.fixture
def http(server: GeminiServer) -> Iterator[requests.Session]:
    """Plain HTTP that trusts the server."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(server.ca_file)
        yield session


@pytest.fixture
def fetch(http: requests.Session) -> Callable[[Any], str]:
    """Refreshes credentials with google-auth's own transport and returns the token."""

    def refresh(credentials: Any) -> str:
        credentials.refresh(google.auth.transport.requests.Request(http))
        return str(credentials.token)

    return refresh
