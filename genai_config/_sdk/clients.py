"""What the SDK is given as its clients: each call chooses a real one, and carries who asks."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any

from google.api_core.operation import Operation
from google.api_core.operation_async import AsyncOperation

from genai_config._auth import headers
from genai_config._routing import decision, places
from genai_config._sdk.generated import client_class, client_key, make_client
from genai_config._settings.layers import Identity, Snapshot
from genai_config._settings.state import state
from genai_config._transport import channels
from genai_config._transport.call_credentials import CallContext
from genai_config.exceptions import GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._auth.token_source import TokenSource
    from genai_config._routing.decision import Route
    from genai_config._settings.model import GenAIConfig
    from genai_config._transport.call_credentials import CallCredentials
    from genai_config._transport.pool import Pool

# What the SDK itself and its users look at in a client.
_PRIVATE = ("_transport", "_client", "_client_options")


def _context(config: GenAIConfig, route: Route) -> CallContext:
    tenant = config.api_key if route.auth == "api_key" else config.credentials
    return CallContext(headers.for_route(config, route), config.timeout, tenant)


class _Method:
    """One method of a service; `_method` gives the same one to all, so that it can be a key.

    Attributes:
        service: The SDK's name of the service.
        name: The method's.
        asynchronous: Whether it is awaited.
        call: The service and the method, for people.
        rule: What it needs; None: no rule names it.
    """

    __slots__ = ("asynchronous", "call", "name", "rule", "service")

    def __init__(self, service: str, name: str, *, asynchronous: bool) -> None:
        self.service = service
        self.name = name
        self.asynchronous = asynchronous
        self.call = f"{service}.{name}"
        self.rule = decision.find_rule(service, name)


_method = functools.cache(_Method)


class _Plan:
    """How the calls of one method go under one snapshot.

    Attributes:
        config: The configuration.
        route: The route.
        key: What the client for it is pooled by.
        vertex_url: Where Vertex AI is; "": the calls go to the Gemini API.
    """

    __slots__ = ("_context", "config", "key", "route", "vertex_url")

    def __init__(
        self, snapshot: Snapshot, service: str, route: Route, vertex_url: str = ""
    ) -> None:
        self.config = snapshot.config
        self.route = route
        self.vertex_url = vertex_url
        self.key = client_key(snapshot, service, route.transport, vertex_url)
        self._context: tuple[object, CallContext] | None = None

    def context(self) -> CallContext:
        """What a call carries: the same, until other credentials are found where these were."""
        version = headers.version_of(self.config, self.route)
        kept = self._context
        if kept is None or kept[0] != version:
            kept = self._context = (version, _context(self.config, self.route))
        return kept[1]

    def clients(self) -> Pool[Any]:
        """The clients among which the plan's is found."""
        if self.route.transport == "grpc_asyncio":
            return channels.loop_connections().clients
        return channels.connections().clients

    def source(self, resource: str) -> TokenSource | None:
        """What is to be asked for the project of a resource; None: nobody need be."""
        if not places.needs_project(self.config, resource):
            return None
        return headers.source_for(self.config, self.route.scopes)

    def at_vertex(
        self, snapshot: Snapshot, service: str, resource: str, project: str | None
    ) -> tuple[_Plan, CallContext]:
        """The plan of a call to Vertex AI, and what it carries, when all it names is known."""
        context = self.context()
        # Each call its own: what it names is resolved by what is known for it.
        context = CallContext(context.credentials, context.timeout, context.tenant)
        context.resolve = functools.partial(places.resource, self.config, project=project)
        url = places.vertex_url(self.config, context.resolve(resource).location)
        return _Plan(snapshot, service, self.route, url), context


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

    def __copy__(self) -> RoutingClient:
        return self  # it holds nothing that changes

    def __deepcopy__(self, memo: dict[int, Any]) -> RoutingClient:
        return self

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
        package = self.identity.package if self.identity else ""
        return _unpickled, (self._service, self._asynchronous, config, package)

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
            _, plan, _ = self._asked(self._method(name), None, {})
            if name not in _PRIVATE and name != "transport":
                return getattr(self._client(plan), name)
            # Who calls a method of its transport goes past this client: there it is one of its
            # own, on the same connections, and asks as this client does.
            own = plan.clients().get(
                (plan.key, self),
                lambda: make_client(
                    self._service, plan.config, plan.route.transport, fallback=self._credentials
                ),
            )
            return getattr(own, name)
        except (RuntimeError, GenAIConfigError) as error:
            # No event loop, no credentials: whoever merely looks is told that there is nothing.
            raise AttributeError(f"{self!r} has no {name!r} here and now: {error}") from error

    def _method(self, name: str) -> _Method:
        return _method(self._service, name, asynchronous=self._asynchronous)

    def _credentials(self) -> CallCredentials:
        """The credentials of a call that somebody makes past this client, on its transport."""
        config = self.snapshot().config
        return headers.for_route(config, decision.route(config, "generative", ""))

    def _asked(
        self, method: _Method, request: Any, arguments: dict[str, Any]
    ) -> tuple[Snapshot, _Plan, str]:
        """What is in force for a call, how it goes, and the resource that decides, if one does."""
        snapshot = self._pinned or state.current(self.identity)
        resource, key = "", method  # type: tuple[str, object]
        if method.rule is not None and method.rule.fields:
            # Its fields are read at once: proto-plus makes an object for each.
            plain = getattr(request, "_pb", request)
            for name in decision.resources(method.rule, plain, arguments):
                if name.startswith(decision.DECISIVE):
                    resource = name
                    place = places.backend_of(snapshot.config, resource)
                    key = (method, resource.partition("/")[0], place)
                    break
        plan = snapshot.memo.get(key)
        if plan is None:
            route = decision.route(
                snapshot.config,
                method.service,
                method.name,
                resource,
                asynchronous=method.asynchronous,
            )
            plan = snapshot.memo[key] = _Plan(snapshot, self._service, route)
        return snapshot, plan, resource

    def _client(self, plan: _Plan, certificate: Callable[[], Any] | None = None) -> Any:
        """The real client for a plan, which all share."""
        return plan.clients().get(
            plan.key,
            lambda: make_client(
                self._service,
                plan.config,
                plan.route.transport,
                plan.vertex_url,
                certificate=certificate,
            ),
        )

    def _routed(self, name: str) -> Callable[..., Any]:
        asked_for = self._method(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            request = args[0] if args else kwargs.get("request")
            snapshot, plan, resource = self._asked(asked_for, request, kwargs)
            if _log.isEnabledFor(logging.DEBUG) or _TRACE in sys.modules:
                _tell(asked_for.call, plan.route)
            if plan.route.place == "vertex":
                source = plan.source(resource)
                project = None if source is None else source.found().project
                plan, context = plan.at_vertex(snapshot, self._service, resource, project)
            else:
                context = plan.context()
            given, default = kwargs.get("metadata") or (), plan.config.default_metadata
            kwargs["metadata"] = [*given, *default, context.entry]
            result = getattr(self._client(plan), name)(*args, **kwargs)
            return _following(result, context) if _is_operation(result.__class__) else result

        return call

    def _routed_async(self, name: str) -> Callable[..., Any]:
        asked_for = self._method(name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            channels.running_loop()  # before anything is read
            request = args[0] if args else kwargs.get("request")
            snapshot, plan, resource = self._asked(asked_for, request, kwargs)
            if _log.isEnabledFor(logging.DEBUG) or _TRACE in sys.modules:
                _tell(asked_for.call, plan.route)
            if plan.route.place == "vertex":
                source = plan.source(resource)
                project = None if source is None else (await source.found_async()).project
                plan, context = plan.at_vertex(snapshot, self._service, resource, project)
            else:
                context = plan.context()
            certificate = None
            asked = plan.config.client_options.client_cert_source
            if asked is not None and plan.clients().peek(plan.key) is None:
                # It may take its time, and not the event loop's.
                found = await asyncio.to_thread(asked)
                certificate = lambda: found  # noqa: E731 -- what is known already
            method = getattr(self._client(plan, certificate), name)
            given, default = kwargs.get("metadata") or (), plan.config.default_metadata
            kwargs["metadata"] = [*given, *default, context.entry]
            if plan.route.transport == "rest":
                from genai_config._transport.threads import OffTheLoop

                waiting = OffTheLoop(context.tenant, context.timeout)
                result = await waiting.call(method, *args, **kwargs)
            else:
                result = await method(*args, **kwargs)
            return _following(result, context) if _is_operation(result.__class__) else result

        return call


def _unpickled(
    service: str,
    asynchronous: bool,  # noqa: FBT001 -- for pickle
    config: GenAIConfig | None,
    package: str = "",
) -> RoutingClient:
    """A client like the one that was pickled, for the same package, by what is set here."""
    if config is not None:
        pinned = Snapshot(config, ())
        return RoutingClient(service, asynchronous=asynchronous, pinned=pinned)
    return RoutingClient(service, asynchronous=asynchronous, identity=state.hand_out(package))


@functools.cache
def _is_operation(kind: type) -> bool:
    return issubclass(kind, (Operation, AsyncOperation))


def _following(operation: Any, context: CallContext) -> Any:
    """An operation whose later requests are made by whoever made the first."""
    for name in ("_refresh", "_cancel"):
        setattr(operation, name, _with_context(getattr(operation, name), context))
    return operation


def _with_context(function: Callable[..., Any], context: CallContext) -> Callable[..., Any]:
    # A new list for each call: the SDK's client for operations adds to it.
    return lambda **options: function(**{**options, "metadata": [context.entry]})


def _is_request(service: str, name: str, method: Any) -> bool:
    """Whether a client's method sends a request, as the SDK itself tells them apart."""
    if decision.find_rule(service, name) is not None:
        return callable(method)
    return callable(method) and "metadata" in inspect.signature(method).parameters


_log = logging.getLogger("genai_config.requests")

_TRACE = "opentelemetry.trace"
"""Whoever traces has imported it; for the others it is not even looked for."""


def _tell(call: str, route: Route) -> None:
    """Logs how a request is sent, and notes it on OpenTelemetry's current span.

    Args:
        call: The service and the method, such as "generative.generate_content".
        route: How the request is sent.
    """
    _log.debug("%s: %s over %s", call, route.auth, route.transport)
    trace = sys.modules.get(_TRACE)
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
