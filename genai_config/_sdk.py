"""The SDK's side: the one object that is put into google.generativeai, and its clients.

This is the only module that imports google.generativeai.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import os
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import google.ai.generativelanguage as glm
import proto
from google.api_core import operations_v1
from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from google.generativeai import client as client_lib
from google.generativeai.generative_models import GenerativeModel
from googleapiclient.errors import HttpError

from genai_config import _attached, _calls, _channels, _credentials, _environ, _routing, _state
from genai_config._patches import UNSET, Patch, combine, make_patch
from genai_config._secrets import scrub
from genai_config._state import Layer, Origin, Snapshot, state
from genai_config.exceptions import RawConfigureError, RawConfigureWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from genai_config._attached import Attached
    from genai_config._config import GenAIConfig
    from genai_config._routing import Route

_USER_AGENT = f"{client_lib.USER_AGENT}/{client_lib.__version__}"
_END = object()
# What the SDK itself and its users look at in a client.
_PRIVATE = ("_transport", "_client", "_client_options")
# What a raw genai.configure() replaces; our own settings it knows nothing of.
_SDK_SETTINGS = ("api_key", "credentials", "transport", "client_info")
_SDK_GROUPS = ("client_options", "default_metadata")


def _client_class(service: str, *, asynchronous: bool) -> Any:
    """The SDK's client class for a service, as `_ClientManager.make_client` chooses it."""
    if service == "operations":
        return operations_v1.OperationsClient
    kind = "ServiceAsyncClient" if asynchronous else "ServiceClient"
    if service == "file":
        return getattr(client_lib, f"File{kind}")
    return getattr(glm, f"{service.title()}{kind}")


def _transport_factory(
    config: GenAIConfig, transport: str, base: Any, bound: Attached
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
        address = _channels.Address(host, config.ca_certs, config.proxy, source and source())
        if transport == "grpc":
            channel = _calls.bind(_channels.connections().channel(address), bound)
            return base(channel=channel, host=address.target(), client_info=client_info)
        if transport == "grpc_asyncio":
            shared = _channels.loop_connections().async_channel(address)
            channel = _calls.AsyncBoundChannel(shared, bound)
            return base(channel=channel, host=address.target(), client_info=client_info)
        made = base(
            host=host,
            credentials=_calls.RestCredentials(bound),
            client_info=client_info,
        )
        _channels.prepare_session(made._session, address, bound)
        if hasattr(type(made), "operations_client"):
            operations = made.operations_client._transport._session
            _channels.prepare_session(operations, address, bound)
        return made

    return make


def _make_client(service: str, config: GenAIConfig, route: Route) -> Any:
    """A real SDK client whose every call goes the way of a route."""
    if service == "operations":
        return _make_client("model", config, route)._transport.operations_client
    cls = _client_class(service, asynchronous=route.transport == "grpc_asyncio")
    options = ClientOptions()
    for name, value in config.client_options:
        if value is not None:
            setattr(options, name, value)
    if route.auth == "api_key" and service == "file" and config.api_key is not None:
        # The SDK's upload reads the key from here and nowhere else.
        options.api_key = config.api_key.get_secret_value()
    info = ClientInfo(**(config.client_info._asdict() if config.client_info else {}))
    info.user_agent = f"{info.user_agent} {_USER_AGENT}" if info.user_agent else _USER_AGENT
    return cls(
        transport=_transport_factory(
            config,
            route.transport,
            cls.get_transport_class(route.transport),
            _attached.attached(config, route),
        ),
        client_options=options,
        client_info=info,
    )


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
    connections = _channels.loop_connections() if asynchronous else _channels.connections()
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
        self._class = _client_class(service, asynchronous=asynchronous)

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
        rule = _routing.find_rule(self._service, name)
        resource = ""
        if rule is not None and rule.fields:
            for named in _routing.resources(rule, request, arguments):
                if _routing.is_decisive(named):
                    resource = named
                    break
        key = (self._service, name, resource.partition("/")[0], self._asynchronous)
        route = snapshot.memo.get(key)
        if route is None:
            route = snapshot.memo[key] = _routing.route(
                snapshot.config, self._service, name, resource, asynchronous=self._asynchronous
            )
        return _client(self._service, snapshot.config, route), snapshot.config, route

    def _routed(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            request = args[0] if args else kwargs.get("request")
            client, config, _ = self._choose(name, request, kwargs)
            method = getattr(client, name)
            try:
                return method(*args, **_with_defaults(config, client, name, kwargs))
            except HttpError as error:
                # An upload's address holds the key, and the error would show it.
                error.uri = scrub(error.uri)
                raise

        return call

    def _routed_async(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            request = args[0] if args else kwargs.get("request")
            client, config, route = self._choose(name, request, kwargs)
            method = getattr(client, name)
            kwargs = _with_defaults(config, client, name, kwargs)
            if route.transport == "rest":
                return await _off_the_loop(method, args, kwargs)
            return await method(*args, **kwargs)

        return call


def _is_request(service: str, name: str, method: Any) -> bool:
    """Whether a client's method sends a request, as the SDK itself tells them apart."""
    if _routing.find_rule(service, name) is not None:
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


async def _off_the_loop(
    method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """A synchronous call made in a thread; what it returns one by one is fetched there too."""
    result = await asyncio.to_thread(method, *args, **kwargs)
    if isinstance(result, Iterable) and not isinstance(result, proto.Message):
        return _fetched_in_a_thread(iter(result))
    return result


async def _fetched_in_a_thread(items: Iterator[Any]) -> AsyncIterator[Any]:
    while (item := await asyncio.to_thread(next, items, _END)) is not _END:
        yield item


class ClientManager(client_lib._ClientManager):
    """The SDK's client manager, handing out routing clients and following `raw_configure`.

    Args:
        replaced: The manager that was in its place.
    """

    def __init__(self, replaced: client_lib._ClientManager) -> None:
        super().__init__()
        self.replaced = replaced

    def __repr__(self) -> str:
        return "<genai_config client manager>"

    def configure(self, **settings: Any) -> None:
        """What `genai.configure()` calls.

        Raises:
            RawConfigureError: ``raw_configure="error"`` is in force.
            ConfigurationError: A value is refused; nothing has changed.
        """
        place = _state.call_site()
        patch = make_patch(settings)
        policy = state.current().config.raw_configure
        if policy == "error":
            raise RawConfigureError(
                f'genai.configure() was called at {place}, and raw_configure="error" forbids it.',
                "call genai_config.safe_configure() there, or override() for a part of the "
                "program.",
            )
        layer = Layer(patch, Origin("genai.configure", place))
        if policy == "merge":
            state.publish(layer)
            return
        dropped = _sdk_settings(state.published) - patch.values.keys()
        if dropped:
            # First, as a warning may be made an error, and then nothing is to have changed.
            _state.warn(
                f"genai.configure() replaces the configuration: {', '.join(sorted(dropped))} "
                "dropped. Call safe_configure() instead, which merges; or set raw_configure to "
                '"merge" or "error".',
                RawConfigureWarning,
                place,
            )
        state.replace(lambda layers: (*map(_without_sdk_settings, layers), layer))
        # As the SDK does: whoever planted a mock may count on this to be rid of it.
        self.clients = {}

    def make_client(self, name: str) -> RoutingClient:
        """A routing client for a service; the SDK keeps it in `clients`."""
        service, _, kind = name.partition("_")
        return RoutingClient(service, asynchronous=kind == "async")

    def get_default_operations_client(self) -> Any:
        """The routing client for operations, unless one was planted for them or for models."""
        if "operations" not in self.clients and _is_planted(self.clients.get("model")):
            return super().get_default_operations_client()
        ours = RoutingClient("operations", asynchronous=False)
        return self.clients.setdefault("operations", ours)


def _sdk_settings(layers: tuple[Layer, ...]) -> set[str]:
    """The names of the SDK's settings that layers have set, UNSET ones aside."""
    combined = Patch({})
    for layer in layers:
        combined = combine(combined, layer.patch)
    return {n for n, v in combined.values.items() if v is not UNSET and _is_sdk_setting(n)}


def _is_sdk_setting(name: str) -> bool:
    return name in _SDK_SETTINGS or name.partition(".")[0] in _SDK_GROUPS


def _without_sdk_settings(layer: Layer) -> Layer:
    kept = {n: v for n, v in layer.patch.values.items() if not _is_sdk_setting(n)}
    return layer if len(kept) == len(layer.patch.values) else Layer(Patch(kept), layer.origin)


def install(layer: Layer | None = None) -> None:
    """Puts our manager into the SDK, if it is not there, and publishes a layer with it.

    What a raw `genai.configure()` had set before is adopted as the lowest layer; mocks that were
    planted in the SDK's manager are taken over.

    Raises:
        ConfigurationError: The layers do not go together; nothing has changed.
    """
    with state.lock:
        current = client_lib._client_manager
        if isinstance(current, ClientManager):
            if layer is not None:
                state.publish(layer)
            return
        ours = ClientManager(current)
        ours.clients.update(_planted(current))
        state.replace(lambda layers: (*with_adopted(layers), *([layer] if layer else [])))
        client_lib._client_manager = ours


def with_adopted(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The process-wide layers as `install` leaves them: what it adopts is the lowest.

    Raises:
        ConfigurationError: What a raw `genai.configure()` had set is refused.
    """
    current = client_lib._client_manager
    if isinstance(current, ClientManager):
        return layers
    adopted = Layer(
        make_patch(_adopted(current)),
        Origin("genai.configure", "before genai_config was installed"),
    )
    return (adopted, *(old for old in layers if old.origin != adopted.origin))


def uninstall() -> None:
    """Puts the SDK's own manager back, as it was."""
    with state.lock:
        current = client_lib._client_manager
        if isinstance(current, ClientManager):
            client_lib._client_manager = current.replaced


def _adopted(manager: Any) -> Mapping[str, Any]:
    """What `genai.configure()` had put into the SDK's manager.

    A key that equals the environment's is the environment's: the SDK reads it at import and on
    every configure(), and it stays where `_environ` finds it.
    """
    settings = dict(manager.client_config)
    settings["default_metadata"] = manager.default_metadata
    options = settings.get("client_options")
    key = getattr(options, "api_key", None)
    found = {value for _, value in _environ.read(os.environ).get("api_key", [])}
    if options is not None and key is not None and key.strip() in found | _environ.AT_IMPORT:
        options = {**vars(options), "api_key": None}
        settings["client_options"] = {
            name: value for name, value in options.items() if value is not None
        }
    info = settings.pop("client_info", None)
    if info is not None and info.user_agent != _USER_AGENT:
        settings["client_info"] = copied = copy.copy(info)
        copied.user_agent = (info.user_agent or "").removesuffix(_USER_AGENT).strip() or None
    return settings


def _planted(manager: Any) -> dict[str, Any]:
    """The clients that somebody put into the manager; those it made itself hold its options."""
    options = manager.client_config.get("client_options")

    def made_by_manager(client: Any) -> bool:
        real = getattr(client, "_client", client)
        return isinstance(client, operations_v1.OperationsClient) or (
            options is not None and getattr(real, "_client_options", None) is options
        )

    return {n: client for n, client in manager.clients.items() if not made_by_manager(client)}


def generative_model(snapshot: Snapshot, *args: Any, **kwargs: Any) -> Any:
    """A `GenerativeModel` whose requests are decided by one snapshot, whatever comes later."""
    model: Any = GenerativeModel(*args, **kwargs)
    planted = client_lib._client_manager.clients
    if not _is_planted(planted.get("generative")):
        model._client = RoutingClient("generative", asynchronous=False, pinned=snapshot)
    if not _is_planted(planted.get("generative_async")):
        model._async_client = RoutingClient("generative", asynchronous=True, pinned=snapshot)
    return model


def _is_planted(client: Any) -> bool:
    return client is not None and not isinstance(client, RoutingClient)
