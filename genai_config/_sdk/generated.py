"""The SDK's generated clients, made on our connections: one for all who go the same way."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

import google.ai.generativelanguage as glm
import grpc
from google.api_core import operations_v1
from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from google.generativeai import client as client_lib
from grpc import aio

from genai_config._sdk.methods import with_cheap_retries
from genai_config._sdk.request_log import LoggedChannel
from genai_config._transport import channels
from genai_config._transport.call_credentials import NoCredentials
from genai_config._transport.grpc_sync import SharedChannel
from genai_config._transport.pool import Itself, Key
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._settings.layers import Snapshot
    from genai_config._settings.model import GenAIConfig
    from genai_config._transport.call_credentials import CallContext, CallCredentials
    from genai_config._transport.exchange import Exchange
    from genai_config._transport.json_rest import JsonChannel

USER_AGENT = f"{client_lib.USER_AGENT}/{client_lib.__version__}"
"""What the SDK adds to what a caller says of itself."""


def client_class(service: str, *, asynchronous: bool) -> Any:
    """The SDK's client class for a service, as `_ClientManager.make_client` chooses it."""
    if service == "operations":
        return operations_v1.OperationsClient
    kind = "ServiceAsyncClient" if asynchronous else "ServiceClient"
    if service == "file":
        if asynchronous:
            return client_lib.FileServiceAsyncClient
        from genai_config._sdk.uploads import FileClient

        return FileClient
    return getattr(glm, f"{service.title()}{kind}")


@functools.cache
def _transport_class(base: Any) -> Any:
    """A generated transport with our choice of its channel."""
    return type(base.__name__, (base,), {"_logged_channel": LoggedChannel()})


def _transport_factory(
    config: GenAIConfig,
    transport: str,
    base: Any,
    vertex_url: str,
    fallback: Callable[[], CallCredentials],
) -> Callable[..., Any]:
    """What a generated client calls to make its transport: the SDK's own, on our connections."""

    def make(
        *, host: str, client_info: Any, client_cert_source_for_mtls: Any = None, **_ignored: Any
    ) -> Any:
        source = client_cert_source_for_mtls
        secure = "://" not in host or host.startswith("https://")
        if secure and transport != "rest":
            host = host.removeprefix("https://")
            host = host if ":" in host else f"{host}:443"
        address = channels.Address(host, config.ca_certs, config.proxy, source and source())
        if transport == "grpc":
            channel: Any = SharedChannel(channels.connections().channels(address), fallback)
            return _transport_class(base)(
                channel=channel, host=address.target(), client_info=client_info
            )
        if transport == "grpc_asyncio":
            from genai_config._transport.grpc_async import AsyncSharedChannel

            pool = channels.loop_connections().async_channels(address)
            channel = AsyncSharedChannel(pool, fallback)
            return base(channel=channel, host=address.target(), client_info=client_info)
        channel = _json_channel(address, vertex_url, fallback)
        return _transport_class(base)(
            channel=channel, host=address.target(), client_info=client_info
        )

    return make


def _json_channel(
    address: channels.Address, vertex_url: str, fallback: Callable[[], CallCredentials]
) -> JsonChannel:
    """JSON over HTTP to the Gemini API, or to Vertex AI at a URL."""
    from genai_config._transport import http_rules
    from genai_config._transport.json_rest import JsonChannel

    if not vertex_url:
        return JsonChannel(address, http_rules.exchange, fallback)
    return JsonChannel(
        # Routing headers name resources as the Gemini API does, whose key opens nothing here.
        address._replace(host=vertex_url),
        _to_vertex,
        without=frozenset({"x-goog-request-params", "x-goog-api-key"}),
    )


def _to_vertex(method: str, message: Any, context: CallContext | None) -> Exchange:
    if context is None or context.resolve is None:
        raise ConfigurationError(
            "A call to Vertex AI bypassed its client, and names neither project nor location.",
            "call the client's own method, or generate_content() of a model.",
        )
    from genai_config._sdk import vertex

    return vertex.exchange(method.partition(".")[2], message, context.resolve)


def sent_client_info(config: GenAIConfig) -> ClientInfo:
    """What requests say of their sender: the configured, and the SDK as it names itself."""
    info = ClientInfo(**(config.client_info._asdict() if config.client_info else {}))
    info.user_agent = f"{info.user_agent} {USER_AGENT}" if info.user_agent else USER_AGENT
    return info


def make_client(  # noqa: PLR0913 -- what a client is made of
    service: str,
    config: GenAIConfig,
    transport: str,
    vertex_url: str = "",
    *,
    certificate: Callable[[], Any] | None = None,
    fallback: Callable[[], CallCredentials] = NoCredentials,
) -> Any:
    """A real SDK client, for whoever goes the same way.

    Args:
        service: The SDK's name of the service.
        config: The configuration.
        transport: "grpc", "grpc_asyncio" or "rest".
        vertex_url: Where Vertex AI is; "": the calls go to the Gemini API.
        certificate: What gives the client certificate; None: what is configured.
        fallback: The credentials of a call that brings none.
    """
    if service == "operations":
        made = make_client("model", config, transport, certificate=certificate, fallback=fallback)
        return made._transport.operations_client
    asynchronous = transport == "grpc_asyncio"
    cls = client_class(service, asynchronous=asynchronous)
    options = ClientOptions()
    for name, value in config.client_options:
        if value is not None:
            setattr(options, name, value)
    if certificate is not None:
        options.client_cert_source = certificate
    client = cls(
        # JSON goes under the SDK's transport for gRPC: its own for REST loses unknown fields.
        transport=_transport_factory(
            config,
            transport,
            cls.get_transport_class("grpc" if transport == "rest" else transport),
            vertex_url,
            fallback,
        ),
        client_options=options,
        client_info=sent_client_info(config),
    )
    if service == "file" and not asynchronous:
        import requests

        from genai_config._sdk.uploads import Http
        from genai_config._transport import http

        session = requests.Session()
        http.mount(session, config.ca_certs, config.proxy)
        client.http = Http(session)
        client.endpoint = config.client_options.api_endpoint
    with_cheap_retries(client.transport, asynchronous=asynchronous)
    # The first 0.8 releases compare the transport's credentials, which are not the real ones, with
    # the universe; `_credentials` has looked at those.
    getattr(client, "_client", client)._is_universe_domain_valid = True
    return client


# The settings that a client does not depend on: those that travel with each call, and those by
# which it is decided which client to take.
_NOT_OF_A_CLIENT = frozenset(
    {
        "api_key", "credentials", "auth", "scopes", "quota_project", "auth_timeout", "timeout",
        "default_metadata", "transport", "tuned_transport", "project", "location", "endpoint",
        "raw_configure", "existing_models", "backend", "tuned_endpoints", "vertex_endpoint",
    }
)  # fmt: skip

# What the SDK's generated clients read of the environment when they are made.
_READ_BY_CLIENTS = (
    "GOOGLE_API_USE_CLIENT_CERTIFICATE",
    "GOOGLE_API_USE_MTLS_ENDPOINT",
    "GOOGLE_CLOUD_UNIVERSE_DOMAIN",
)


def client_key(snapshot: Snapshot, service: str, transport: str, vertex_url: str = "") -> Key:
    """What the client that `make_client` makes is pooled by."""
    environment = tuple([os.environ.get(name) for name in _READ_BY_CLIENTS])
    key = (service, transport, vertex_url, environment)
    known: Key | None = snapshot.memo.get(key)
    return known or snapshot.memo.setdefault(
        key,
        Key(
            snapshot.config,
            _NOT_OF_A_CLIENT,
            *key,
            Itself(grpc.secure_channel),
            Itself(aio.secure_channel),
        ),
    )
