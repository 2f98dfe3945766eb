"""The SDK's side: the one object that is put into google.generativeai.

This room, `_clients` and `_uploads` are the only ones that import google.generativeai.
"""

from __future__ import annotations

import copy
import os
from typing import TYPE_CHECKING, Any

from google.api_core import operations_v1
from google.api_core.client_options import ClientOptions
from google.generativeai import client as client_lib
from google.generativeai.generative_models import ChatSession, GenerativeModel
from google.generativeai.types import Model, TunedModel

from genai_config._auth import headers
from genai_config._masking import forgets_arguments
from genai_config._sdk.clients import RoutingClient
from genai_config._sdk.generated import USER_AGENT, sent_client_info
from genai_config._settings import environment
from genai_config._settings import state as _state
from genai_config._settings.callers import noting_who_makes
from genai_config._settings.layers import (
    Identity,
    Layer,
    Origin,
    Snapshot,
    is_same,
    set_by,
    without_the_sdks,
)
from genai_config._settings.patch import is_the_sdks, make_patch
from genai_config._settings.state import state
from genai_config.exceptions import RawConfigureError, RawConfigureWarning

if TYPE_CHECKING:
    from collections.abc import Mapping


class ClientManager(client_lib._ClientManager):
    """The SDK's client manager, handing out routing clients and following `raw_configure`.

    Args:
        replaced: The manager that was in its place; None: the SDK's own, as after its import.
    """

    def __init__(self, replaced: client_lib._ClientManager | None = None) -> None:
        super().__init__()
        self.replaced = replaced

    @property
    def client_config(self) -> dict[str, Any]:
        """What the SDK would have here: people look at it, its key and its options."""
        config = state.current().config
        options = {name: value for name, value in config.client_options if value is not None}
        key = headers.known_key(config)
        given = {
            "credentials": config.credentials,
            "transport": config.transport,
            "client_options": ClientOptions(
                api_key=key.get_secret_value() if key is not None else None, **options
            ),
            "client_info": sent_client_info(config),
        }
        return {name: value for name, value in given.items() if value is not None}

    @client_config.setter
    def client_config(self, _: dict[str, Any]) -> None:
        # The SDK's __init__ empties it. What is configured is changed by configure() alone.
        pass

    def __repr__(self) -> str:
        return "<genai_config client manager>"

    @forgets_arguments
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
        package = _state.calling_package()
        if policy == "isolate":
            if not package:
                raise RawConfigureError(
                    'raw_configure="isolate" keeps genai.configure() to the package that calls '
                    f"it, and at {place} none does.",
                    "call it in a function of the package, or call safe_configure().",
                )
            note_makers()
            state.isolate(package, layer)
            return
        if policy == "merge":
            state.publish(layer)
            state.join(package)
            return

        def replaced(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
            return (*without_the_sdks(layers), layer)

        # Refused before anything is said, and said before anything is done: a warning may be made
        # an error, and then nothing is to have changed.
        state.preview(replaced)
        lost = _lost(state.published, replaced(state.published), place)
        if lost:
            _state.warn(
                f"genai.configure(), called by {package or 'nobody in sight'}, replaces what was "
                f"configured: {lost}. "
                "Models and clients that are in use keep their key, credentials and endpoint. "
                "Where the call is yours, call safe_configure() instead, which merges. Where it "
                'is in a library: safe_configure(raw_configure="isolate") keeps it to the clients '
                'of that library ("merge" merges it, "error" refuses it).',
                RawConfigureWarning,
                place,
            )
        state.replace(replaced)
        state.join(package)
        # As the SDK does: tests that planted a mock may rely on this to remove it.
        self.clients = {}

    def get_default_client(self, name: str) -> Any:
        """A service's client for the caller, unless a mock was planted."""
        name = name.lower()
        if name == "operations":
            return self.get_default_operations_client()
        return self._handed_out(name)

    def _handed_out(self, name: str) -> Any:
        client = self.clients.get(name)
        if _is_planted(client):
            return client
        identity = state.hand_out()
        if client is None or client.identity is not identity:
            client = self.clients[name] = self.make_client(name, identity)
        return client

    def make_client(self, name: str, identity: Identity | None = None) -> RoutingClient:
        """A routing client for a service."""
        service, _, kind = name.partition("_")
        identity = identity or state.hand_out()
        return RoutingClient(service, asynchronous=kind == "async", identity=identity)

    def get_default_operations_client(self) -> Any:
        """The routing client for operations, unless one was planted for them or for models."""
        if "operations" not in self.clients and _is_planted(self.clients.get("model")):
            return super().get_default_operations_client()
        return self._handed_out("operations")


def _lost(before: tuple[Layer, ...], after: tuple[Layer, ...], place: str) -> str:
    """The settings that have another value or none afterwards, with the place of each.

    What `genai.configure()` had set in the same file is the caller's own, and not told.
    """
    now = set_by(after)
    file = place.rpartition(":")[0]
    return ", ".join(
        f"{name} ({'dropped' if name not in now else 'replaced'}; set by {' at '.join(origin)})"
        for name, (value, origin) in set_by(before).items()
        if is_the_sdks(name)
        and not (name in now and is_same(name, value, now[name][0]))
        and not (origin.kind == "genai.configure" and origin.place.rpartition(":")[0] == file)
    )


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
            if state.current().config.raw_configure == "isolate":
                note_makers()
            return
        ours = ClientManager(current)
        ours.clients.update(_planted(current))
        below = (lambda _: ()) if alone else with_adopted
        state.replace(lambda layers: (*below(layers), *([layer] if layer else [])))
        client_lib._client_manager = ours
        if state.current().config.raw_configure == "isolate":
            note_makers()


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


_NOTES = "_genai_config_notes"
"""The attribute of a model's ``__init__`` that is ours; who wraps it takes it along."""


def note_makers() -> None:
    """Has models know which package makes them, until `uninstall`.

    That is what "isolate" needs: a model takes its client when it is first used, and by then
    another package may use it, or a thread.
    """
    if not hasattr(GenerativeModel.__init__, _NOTES):
        noting = noting_who_makes(GenerativeModel.__init__)
        setattr(noting, _NOTES, noting)
        GenerativeModel.__init__ = noting  # type: ignore[method-assign] # on purpose


def uninstall() -> None:
    """Puts the SDK's own manager back, as it was."""
    with state.lock:
        current = client_lib._client_manager
        if isinstance(current, ClientManager):
            client_lib._client_manager = current.replaced or client_lib._ClientManager()
        make: Any = GenerativeModel.__init__
        is_ours = getattr(make, _NOTES, None) is make  # else somebody has wrapped it since
        if is_ours:
            GenerativeModel.__init__ = make.__wrapped__  # type: ignore[method-assign] # likewise


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
    """The clients that were put into the manager; those it made itself hold its options."""
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


def held_by(model: Any, *, asynchronous: bool) -> tuple[str, Any] | None:
    """The name of a model of the SDK, and the client that it uses for sync or async calls.

    None for the client if it has none yet; None if the object is no model of the SDK.
    """
    if isinstance(model, ChatSession):
        model = model.model
    if isinstance(model, GenerativeModel):
        client = model._async_client if asynchronous else model._client
        return str(model.model_name), client
    if isinstance(model, (Model, TunedModel)):
        return str(model.name), None
    return None


def is_ours(client: Any) -> bool:
    """Whether a client routes its calls; `isinstance` alone says what the SDK's would say."""
    return issubclass(type(client), RoutingClient)


def _is_planted(client: Any) -> bool:
    return client is not None and not isinstance(client, RoutingClient)
