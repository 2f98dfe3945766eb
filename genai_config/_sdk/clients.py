"""Clients of the SDK: real ones for a route, pooled, and routing ones that choose among them."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import google.ai.generativelanguage as glm
import requests
from google.api_core import operations_v1
from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from google.generativeai import client as client_lib

from genai_config._auth import credentials as _credentials
from genai_config._auth import headers
from genai_config._routing import decision
from genai_config._sdk import telemetry
from genai_config._sdk.uploads import FileClient, Http
from genai_config._settings.state import Snapshot, state
from genai_config._transport import channels, http, interceptors, shared_channel
from genai_config._transport.threads import off_the_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._routing.decision import Route
    from genai_config._settings.model import GenAIConfig
    from genai_config._transport.call_credentials import CallCredentials

USER_AGENT = f"{client_lib.USER_AGENT}/{client_lib.__version__}"
"""What the SDK adds to what a caller says of itself."""

# What the SDK itself and its users look at in a client.
_PRIVATE = ("_transport", "_client", "_client_options")


def client_class(service: str, *, asynchronous: bool) -> Any:
    """The SDK's client class for a service, as `_ClientManager.make_client` chooses it."""
    if service == "operations":
        return operations_v1.OperationsClient
    kind = "ServiceAsyncClient" if asynchronous else "ServiceClient"
    if service == "file":
        return client_lib.FileServiceAsyncClient if asynchronous else FileClient
    return getattr(glm, f"{service.title()}{kind}")


def _transport_factory(
    config: GenAIConfig, transport: str, base: Any, bound: CallCredentials
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
            channel = shared_channel.bind(channels.connections().lanes(address), bound)
            return base(channel=channel, host=address.target(), client_info=client_info)
        if transport == "grpc_asyncio":
            lanes = channels.loop_connections().async_lanes(address)
            channel = shared_channel.AsyncBoundChannel(lanes, bound)
            return base(channel=channel, host=address.target(), client_info=client_info)
        made = base(
            host=host,
            credentials=interceptors.RestCredentials(bound),
            client_info=client_info,
        )
        channels.prepare_session(made._session, address, bound)
        if hasattr(type(made), "operations_client"):
            operations = made.operations_client._transport._session
            channels.prepare_session(operations, address, bound)
        return made

    return make


def _make_client(service: str, config: GenAIConfig, route: Route) -> Any:
    """A real SDK client whose every call goes the way of a route."""
    if service == "operations":
        return _make_client("model", config, route)._transport.operations_client
    cls = client_class(service, asynchronous=route.transport == "grpc_asyncio")
    options = ClientOptions()
    for name, value in config.client_options:
        if value is not None:
            setattr(options, name, value)
    if options.client_encrypted_cert_source is not None:
        # The SDK takes the option, and does nothing with it.
        options.client_cert_source = http.decrypted(options.client_encrypted_cert_source)
    info = ClientInfo(**(config.client_info._asdict() if config.client_info else {}))
    info.user_agent = f"{info.user_agent} {USER_AGENT}" if info.user_agent else USER_AGENT
    client = cls(
        transport=_transport_factory(
            config,
            route.transport,
            cls.get_transport_class(route.transport),
            headers.attached(config, route),
        ),
        client_options=options,
        client_info=info,
    )
    if isinstance(client, FileClient) and config.api_key is not None:
        session = requests.Session()
        http.mount(session, config.ca_certs, config.proxy)
        client.http = Http(session, config.api_key)
    # The first 0.8 releases compare the transport's credentials, which are not the real ones, with
    # the universe; `_credentials` has looked at those.
    getattr(client, "_client", client)._is_universe_domain_valid = True
    return client


def _client(service: str, config: GenAIConfig, route: Route) -> Any:
    """The pooled client for a route: one for all who send the same credentials the same way."""
    if route.auth == "api_key":
        credentials: object = config.api_key
    else:
        credentials = (
            _credentials.identity(config.credentials), route.scopes, config.quota_project,
            config.auth_timeout,
        )  # fmt: skip
    options = config.client_options
    key = (
        service, route.transport, credentials, options.api_endpoint, options.client_cert_source,
        options.client_encrypted_cert_source, options.api_audience, options.universe_domain,
        config.client_info, config.ca_certs, config.proxy,
    )  # fmt: skip
    asynchronous = route.transport == "grpc_asyncio"
    connections = channels.loop_connections() if asynchronous else channels.connections()
    return connections.clients.get(key, lambda: _make_client(service, config, route))


class RoutingClient:
    """Stands in for an SDK client and decides, call by call, which real one does the work.

    Args:
        service: The SDK's name of the service.
        asynchronous: Whether its methods are awaited.
        pinned: The snapshot that decides; None: whatever is in force at the call.
    """

    def __init__(self, service: str, *, asynchronous: bool, pinned: Snapshot | None = None) -> None:
        self._service = service
        self._asynchronous = asynchronous
        self._pinned = pinned
        self._class = client_class(service, asynchronous=asynchronous)

    def __repr__(self) -> str:
        kind = "async " if self._asynchronous else ""
        return f"<genai_config {kind}client for the {self._service} service>"

    def __deepcopy__(self, memo: dict[int, Any]) -> RoutingClient:
        return self  # it holds nothing that changes

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name not in _PRIVATE:
            raise AttributeError(f"A genai_config client has no attribute {name!r}")
        if not (name in _PRIVATE or hasattr(self._class, name)):
            raise AttributeError(f"{self._class.__name__!r} has no attribute {name!r}")
        method = getattr(self._class, name, None)
        if isinstance(inspect.getattr_static(self._class, name, None), (staticmethod, classmethod)):
            # A path helper needs no credentials and no event loop.
            return method
        if not _is_request(self._service, name, method):
            # Anything else (`transport`, `api_endpoint`, path helpers) is the real client's.
            return getattr(self._choose(name, None, {})[0], name)
        routed = self._routed_async(name) if self._asynchronous else self._routed(name)
        routed = functools.wraps(method)(routed)  # type: ignore[arg-type] # it is a function
        self.__dict__[name] = routed
        return routed

    def _choose(
        self, name: str, request: Any, arguments: dict[str, Any]
    ) -> tuple[Any, GenAIConfig, Route]:
        snapshot = self._pinned or state.current()
        rule = decision.find_rule(self._service, name)
        resource = ""
        if rule is not None and rule.fields:
            for named in decision.resources(rule, request, arguments):
                if decision.is_decisive(named):
                    resource = named
                    break
        key = (self._service, name, resource.partition("/")[0], self._asynchronous)
        route = snapshot.memo.get(key)
        if route is None:
            route = snapshot.memo[key] = decision.route(
                snapshot.config, self._service, name, resource, asynchronous=self._asynchronous
            )
        telemetry.tell(f"{self._service}.{name}", route)
        return _client(self._service, snapshot.config, route), snapshot.config, route

    def _routed(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            request = args[0] if args else kwargs.get("request")
            client, config, _ = self._choose(name, request, kwargs)
            method = getattr(client, name)
            return method(*args, **_with_defaults(config, client, name, kwargs))

        return call

    def _routed_async(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            request = args[0] if args else kwargs.get("request")
            client, config, route = self._choose(name, request, kwargs)
            method = getattr(client, name)
            kwargs = _with_defaults(config, client, name, kwargs)
            if route.transport == "rest":
                return await off_the_loop(method, *args, **kwargs)
            return await method(*args, **kwargs)

        return call


def _is_request(service: str, name: str, method: Any) -> bool:
    """Whether a client's method sends a request, as the SDK itself tells them apart."""
    if decision.find_rule(service, name) is not None:
        return callable(method)
    return callable(method) and "metadata" in inspect.signature(method).parameters


@functools.cache
def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _with_defaults(
    config: GenAIConfig, client: Any, name: str, kwargs: dict[str, Any]
) -> dict[str, Any]:
    """A call's arguments with the configured metadata and bound, where the caller gave none."""
    if not config.default_metadata and config.timeout is None:
        return kwargs
    method = getattr(client, name)
    taken = _parameters(getattr(method, "__func__", method))
    if config.default_metadata and "metadata" in taken:
        kwargs["metadata"] = (*(kwargs.get("metadata") or ()), *config.default_metadata)
    if config.timeout is not None and "timeout" in taken and "timeout" not in kwargs:
        kwargs["timeout"] = config.timeout
        own_retry = _own_retry(client, name)
        if "retry" not in kwargs and own_retry is not None:
            # The SDK's `timeout` bounds an attempt, and its own retries go on for up to ten
            # minutes: they get the same bound.
            kwargs["retry"] = own_retry.with_timeout(config.timeout)
    return kwargs


def _own_retry(client: Any, name: str) -> Any:
    """How the SDK itself retries a method; None: it does not."""
    transport = getattr(client, "transport", None)
    wrapped = getattr(transport, "_wrapped_methods", {})
    return getattr(wrapped.get(getattr(transport, name, None)), "_retry", None)
