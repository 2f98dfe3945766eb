"""Clients of the SDK: real ones for a route, pooled, and routing ones that choose among them."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

import google.ai.generativelanguage as glm
import grpc
import proto
from google.api_core import operations_v1
from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from google.api_core.operation import Operation
from google.api_core.operation_async import AsyncOperation
from google.auth.credentials import AnonymousCredentials
from google.generativeai import client as client_lib
from grpc import aio

from genai_config._auth import headers
from genai_config._routing import decision
from genai_config._sdk.methods import with_cheap_retries
from genai_config._sdk.uploads import FileClient, Http
from genai_config._settings.layers import Identity, Snapshot
from genai_config._settings.state import state
from genai_config._transport import channels, http
from genai_config._transport.call_credentials import CallContext
from genai_config._transport.grpc_async import AsyncSharedChannel
from genai_config._transport.grpc_sync import SharedChannel
from genai_config._transport.pool import Key
from genai_config._transport.rest import SharedSession
from genai_config._transport.threads import OffTheLoop
from genai_config.exceptions import GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._routing.decision import Route
    from genai_config._settings.model import GenAIConfig
    from genai_config._transport.call_credentials import CallCredentials
    from genai_config._transport.pool import Pool

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


class _LoggedOrNot:
    """A gRPC transport's channel with the SDK's log of requests, only while somebody reads it.

    The log is an interceptor: with it a call costs a tenth more, though nothing is logged.
    """

    def __get__(self, transport: Any, owner: Any) -> Any:
        return self if transport is None else transport.__dict__["_genai_config_channel"]

    def __set__(self, transport: Any, logged: Any) -> None:
        logger = logging.getLogger(type(transport).__mro__[1].__module__)
        channel = _LoggedOrNotChannel(transport._grpc_channel, logged, logger)
        transport.__dict__["_genai_config_channel"] = channel


class _LoggedOrNotChannel:
    """Two channels, one of which logs.

    Args:
        plain: Ours.
        logged: The same with the SDK's interceptor.
        logger: The SDK's logger.
    """

    def __init__(self, plain: Any, logged: Any, logger: logging.Logger) -> None:
        self._plain = plain
        self._logged = logged
        self._logger = logger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plain, name)

    def unary_unary(self, *method: Any, **options: Any) -> Callable[..., Any]:
        """A unary method, logged or not."""
        plain = self._plain.unary_unary(*method, **options)
        logged = self._logged.unary_unary(*method, **options)

        def call(*args: Any, **kwargs: Any) -> Any:
            chosen = logged if self._logger.isEnabledFor(logging.DEBUG) else plain
            return chosen(*args, **kwargs)

        return call


@functools.cache
def _transport_class(base: Any) -> Any:
    """A generated transport with our choice of its channel."""
    return type(base.__name__, (base,), {"_logged_channel": _LoggedOrNot()})


def _transport_factory(config: GenAIConfig, transport: str, base: Any) -> Callable[..., Any]:
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
            channel: Any = SharedChannel(channels.connections().channels(address), _in_force)
            return _transport_class(base)(
                channel=channel, host=address.target(), client_info=client_info
            )
        if transport == "grpc_asyncio":
            pool = channels.loop_connections().async_channels(address)
            channel = AsyncSharedChannel(pool, _in_force)
            return base(channel=channel, host=address.target(), client_info=client_info)
        made = base(host=host, credentials=AnonymousCredentials(), client_info=client_info)
        made._session = SharedSession(address, _in_force)
        http.follow_no_redirects(made._session)
        made._prep_wrapped_messages(client_info)  # once more: the first ones have its own session
        if hasattr(type(made), "operations_client"):
            made.operations_client._transport._session = made._session
        return made

    return make


def _in_force() -> CallCredentials:
    """The credentials of a call that somebody makes past the client, on its transport."""
    config = state.current().config
    return headers.for_route(config, decision.route(config, "generative", ""))


def sent_client_info(config: GenAIConfig) -> ClientInfo:
    """What requests say of their sender: the configured, and the SDK as it names itself."""
    info = ClientInfo(**(config.client_info._asdict() if config.client_info else {}))
    info.user_agent = f"{info.user_agent} {USER_AGENT}" if info.user_agent else USER_AGENT
    return info


def _certificate_source(config: GenAIConfig) -> Callable[[], Any] | None:
    """What gives the client certificate that is configured."""
    options = config.client_options
    if options.client_encrypted_cert_source is not None:
        # The SDK takes the option, and does nothing with it.
        return http.decrypted(options.client_encrypted_cert_source)
    source: Callable[[], Any] | None = options.client_cert_source
    return source


def _make_client(
    service: str,
    config: GenAIConfig,
    transport: str,
    certificate: Callable[[], Any] | None = None,
) -> Any:
    """A real SDK client, for whoever goes the same way.

    Args:
        service: The SDK's name of the service.
        config: The configuration.
        transport: Which of the SDK's transports.
        certificate: What gives the client certificate; None: what is configured.
    """
    if service == "operations":
        made = _make_client("model", config, transport, certificate)
        return made._transport.operations_client
    asynchronous = transport == "grpc_asyncio"
    cls = client_class(service, asynchronous=asynchronous)
    options = ClientOptions()
    for name, value in config.client_options:
        if value is not None:
            setattr(options, name, value)
    options.client_cert_source = certificate or _certificate_source(config)
    client = cls(
        transport=_transport_factory(config, transport, cls.get_transport_class(transport)),
        client_options=options,
        client_info=sent_client_info(config),
    )
    if isinstance(client, FileClient):
        uploads = channels.Address("", config.ca_certs, config.proxy, None)
        client.http = Http(SharedSession(uploads))
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


def _context(config: GenAIConfig, route: Route) -> CallContext:
    tenant = config.api_key if route.auth == "api_key" else config.credentials
    return CallContext(headers.for_route(config, route), config.timeout, tenant)


class _Plan:
    """How the calls of one method go under one snapshot.

    Attributes:
        route: The route.
        key: What the client for it is pooled by.
    """

    __slots__ = ("_context", "key", "route")

    def __init__(self, snapshot: Snapshot, service: str, route: Route) -> None:
        config = snapshot.config
        self.route = route
        environment = tuple(os.environ.get(name) for name in _READ_BY_CLIENTS)
        key = (service, route.transport, environment)
        self.key: Key = snapshot.memo.get(key) or snapshot.memo.setdefault(
            key, Key(config, _NOT_OF_A_CLIENT, *key, grpc.secure_channel, aio.secure_channel)
        )
        self._context: tuple[object, CallContext] | None = None

    def context(self, config: GenAIConfig) -> CallContext:
        """What a call carries: the same, until other credentials are found where these were."""
        version = None if self.route.auth == "api_key" else headers.version_of(config)
        kept = self._context
        if kept is None or kept[0] != version:
            kept = self._context = (version, _context(config, self.route))
        return kept[1]

    def clients(self) -> Pool[Any]:
        """The clients among which the plan's is found."""
        if self.route.transport == "grpc_asyncio":
            return channels.loop_connections().clients
        return channels.connections().clients


class RoutingClient:
    """Stands in for an SDK client and decides, call by call, which real one does the work.

    Args:
        service: The SDK's name of the service.
        asynchronous: Whether its methods are awaited.
        identity: Who asks, as set when the client was handed out; None: as set at the call.
        pinned: The snapshot that decides; None: whatever is in force at the call.
    """

    def __init__(
        self,
        service: str,
        *,
        asynchronous: bool,
        identity: Identity | None = None,
        pinned: Snapshot | None = None,
    ) -> None:
        self._service = service
        self._asynchronous = asynchronous
        self._pinned = pinned
        self.identity = identity
        self._class = client_class(service, asynchronous=asynchronous)

    @property  # type: ignore[misc] # as mocks do it: whoever asks finds the SDK's class
    def __class__(self) -> Any:
        return self._class

    def snapshot(self) -> Snapshot:
        """What decides about a call here and now."""
        return self._pinned or state.current(self.identity)

    def __repr__(self) -> str:
        kind = "async " if self._asynchronous else ""
        return f"<genai_config {kind}client for the {self._service} service>"

    def __deepcopy__(self, memo: dict[int, Any]) -> RoutingClient:
        return self  # it holds nothing that changes

    # The connections are shared by all: a client that is left closes none of them.

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *error: object) -> None:
        pass

    def __reduce__(self) -> tuple[Any, ...]:
        config = self._pinned and self._pinned.config
        return _unpickled, (self._service, self._asynchronous, config)

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
            return self._of_real_client(name)
        routed = self._routed_async(name) if self._asynchronous else self._routed(name)
        routed = functools.wraps(method)(routed)  # type: ignore[arg-type] # it is a function
        self.__dict__[name] = routed
        return routed

    def _of_real_client(self, name: str) -> Any:
        try:
            config, plan = self._plan(name, None, {})
            return getattr(self._client(config, plan), name)
        except (RuntimeError, GenAIConfigError) as error:
            # No event loop, no credentials: whoever merely looks is told that there is nothing.
            raise AttributeError(f"{self!r} has no {name!r} here and now: {error}") from error

    def _plan(
        self, name: str, request: Any, arguments: dict[str, Any]
    ) -> tuple[GenAIConfig, _Plan]:
        """How a call goes, under what is in force."""
        snapshot = self.snapshot()
        rule = decision.find_rule(self._service, name)
        resource = ""
        if rule is not None and rule.fields:
            for named in decision.resources(rule, _plain(request), arguments):
                if decision.is_decisive(named):
                    resource = named
                    break
        key = (self._service, name, resource.partition("/")[0], self._asynchronous)
        plan = snapshot.memo.get(key)
        if plan is None:
            route = decision.route(
                snapshot.config, self._service, name, resource, asynchronous=self._asynchronous
            )
            plan = snapshot.memo[key] = _Plan(snapshot, self._service, route)
        return snapshot.config, plan

    def _client(
        self, config: GenAIConfig, plan: _Plan, certificate: Callable[[], Any] | None = None
    ) -> Any:
        """The real client for a plan, which all share."""
        return plan.clients().get(
            plan.key,
            lambda: _make_client(self._service, config, plan.route.transport, certificate),
        )

    def _routed(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            request = args[0] if args else kwargs.get("request")
            config, plan = self._plan(name, request, kwargs)
            _tell(f"{self._service}.{name}", plan.route)
            context = plan.context(config)
            method = getattr(self._client(config, plan), name)
            result = method(*args, **_carrying(context, config, method, kwargs))
            return _following(result, context)

        return call

    def _routed_async(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            channels.check_asyncio()
            request = args[0] if args else kwargs.get("request")
            config, plan = self._plan(name, request, kwargs)
            _tell(f"{self._service}.{name}", plan.route)
            context = plan.context(config)
            certificate = None
            source = _certificate_source(config)
            if source is not None and plan.clients().peek(plan.key) is None:
                # It may take its time, and not the event loop's.
                found = await asyncio.to_thread(source)
                certificate = lambda: found  # noqa: E731 -- what is known already
            method = getattr(self._client(config, plan, certificate), name)
            kwargs = _carrying(context, config, method, kwargs)
            if plan.route.transport == "rest":
                waiting = OffTheLoop(context.tenant, context.timeout)
                result = await waiting.call(method, *args, **kwargs)
            else:
                result = await method(*args, **kwargs)
            return _following(result, context)

        return call


def _unpickled(service: str, asynchronous: bool, config: GenAIConfig | None) -> RoutingClient:  # noqa: FBT001 -- for pickle
    """A client like the one that was pickled, handed out here, by what is set in this process."""
    if config is not None:
        pinned = Snapshot(config, ())
        return RoutingClient(service, asynchronous=asynchronous, pinned=pinned)
    return RoutingClient(service, asynchronous=asynchronous, identity=state.hand_out())


def _plain(request: Any) -> Any:
    """A request whose fields are read at once: proto-plus makes an object for each."""
    return request._pb if isinstance(request, proto.Message) else request


def _carrying(
    context: CallContext, config: GenAIConfig, method: Any, kwargs: dict[str, Any]
) -> dict[str, Any]:
    """A call's arguments with what it carries, and with the configured metadata."""
    if "metadata" in _parameters(getattr(method, "__func__", method)):
        given = kwargs.get("metadata") or ()
        kwargs["metadata"] = [*given, *config.default_metadata, context.entry]
    return kwargs


def _following(result: Any, context: CallContext) -> Any:
    """A result whose later requests are made by whoever made the first: those of an operation."""
    if isinstance(result, (Operation, AsyncOperation)):
        for name in ("_refresh", "_cancel"):
            setattr(result, name, _with_context(getattr(result, name), context))
    return result


def _with_context(function: Callable[..., Any], context: CallContext) -> Callable[..., Any]:
    # A new list for each call: the SDK's client for operations adds to it.
    return lambda **options: function(**{**options, "metadata": [context.entry]})


def _is_request(service: str, name: str, method: Any) -> bool:
    """Whether a client's method sends a request, as the SDK itself tells them apart."""
    if decision.find_rule(service, name) is not None:
        return callable(method)
    return callable(method) and "metadata" in inspect.signature(method).parameters


@functools.cache
def _parameters(function: Any) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


_log = logging.getLogger("genai_config.requests")


def _tell(call: str, route: Route) -> None:
    """Logs how a request is sent, and notes it on OpenTelemetry's current span.

    Args:
        call: The service and the method, such as "generative.generate_content".
        route: How the request is sent.
    """
    _log.debug("%s: %s over %s", call, route.auth, route.transport)
    # Whoever traces has imported it; for the others it is not even looked for.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(
            {
                "genai_config.call": call,
                "genai_config.auth": route.auth,
                "genai_config.transport": route.transport,
            }
        )
