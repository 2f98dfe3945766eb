"""The SDK's side: the one object that is put into google.generativeai.

This room, `_clients` and `_uploads` are the only ones that import google.generativeai.
"""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

from google.api_core import operations_v1
from google.generativeai import client as client_lib
from google.generativeai.generative_models import GenerativeModel

from genai_config._sdk.clients import USER_AGENT, RoutingClient
from genai_config._settings import environment
from genai_config._settings import state as _state
from genai_config._settings.patch import UNSET, Patch, combine, make_patch
from genai_config._settings.state import Layer, Origin, Snapshot, state
from genai_config.exceptions import RawConfigureError, RawConfigureWarning

if TYPE_CHECKING:
    from collections.abc import Mapping

# What a raw genai.configure() replaces; our own settings it knows nothing of.
_SDK_SETTINGS = ("api_key", "credentials", "transport", "client_info")
_SDK_GROUPS = ("client_options", "default_metadata")


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

        def replaced(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
            return (*map(_without_sdk_settings, layers), layer)

        # Refused before anything is said, and said before anything is done: a warning may be made
        # an error, and then nothing is to have changed.
        state.preview(replaced)
        dropped = _sdk_settings(state.published) - patch.values.keys()
        if dropped:
            _state.warn(
                f"genai.configure() replaces the configuration: {', '.join(sorted(dropped))} "
                "dropped. Call safe_configure() instead, which merges; or set raw_configure to "
                '"merge" or "error".',
                RawConfigureWarning,
                place,
            )
        state.replace(replaced)
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


def is_installed() -> bool:
    """Whether our manager is in the SDK."""
    return isinstance(client_lib._client_manager, ClientManager)


def install(layer: Layer | None = None, *, alone: bool = False) -> None:
    """Puts our manager into the SDK, if it is not there, and publishes a layer with it.

    The layer goes on top of the others, or `alone` in their place.

    What a raw `genai.configure()` had set before is adopted as the lowest layer; mocks that were
    planted in the SDK's manager are taken over.

    Raises:
        ConfigurationError: The layers do not go together; nothing has changed.
    """
    with state.lock:
        current = client_lib._client_manager
        if isinstance(current, ClientManager):
            if layer is not None and alone:
                state.replace(lambda _: (layer,))
            elif layer is not None:
                state.publish(layer)
            return
        ours = ClientManager(current)
        ours.clients.update(_planted(current))
        below = (lambda _: ()) if alone else with_adopted
        state.replace(lambda layers: (*below(layers), *([layer] if layer else [])))
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
    found = {value for _, value in environment.read(os.environ).get("api_key", [])}
    if options is not None and key is not None and key.strip() in found | environment.AT_IMPORT:
        options = {**vars(options), "api_key": None}
        settings["client_options"] = {
            name: value for name, value in options.items() if value is not None
        }
    info = settings.pop("client_info", None)
    if info is not None and info.user_agent != USER_AGENT:
        settings["client_info"] = copied = copy.copy(info)
        copied.user_agent = (info.user_agent or "").removesuffix(USER_AGENT).strip() or None
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
