"""The layers of the configuration, and what they make: the snapshot in force here and now.

Lowest first: the defaults, the environment, what a raw ``genai.configure()`` had set, the calls of
``safe_configure()``, the scopes. The process-wide layers are one tuple, replaced by one assignment
under a lock; the scopes are a context variable, so each thread and each task has its own.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from genai_config._settings import environment as _environ
from genai_config._settings import keys
from genai_config._settings.patch import EMPTY, UNSET, Patch, combine, environment_value, raw_value
from genai_config.exceptions import (
    APIKeyWarning,
    ConfigurationError,
    EnvironmentConflictWarning,
    EnvironmentValueWarning,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._settings.model import GenAIConfig

Kind = Literal["environment", "genai.configure", "safe_configure", "override"]

_OURS = ("genai_config.", "google.generativeai.", "google.ai.", "google.api_core.", "contextlib.")


class Origin(NamedTuple):
    """Where a layer came from: the kind, and "file:line" of the caller or the variable's name."""

    kind: Kind
    place: str


class Layer:
    """One patch and its origin; compared by identity, as the same call may be made twice."""

    __slots__ = ("origin", "patch")

    def __init__(self, patch: Patch, origin: Origin) -> None:
        self.patch = patch
        self.origin = origin


class Snapshot:
    """What is in force at one moment: the configuration, and the layers it was made of.

    Attributes:
        config: The effective configuration.
        layers: The layers, lowest first, the environment's included.
        memo: Decisions that follow from this snapshot alone, kept by whoever made them.
    """

    __slots__ = ("config", "layers", "memo")

    def __init__(self, config: GenAIConfig, layers: tuple[Layer, ...]) -> None:
        self.config = config
        self.layers = layers
        self.memo: dict[Any, Any] = {}

    def is_given(self, setting: str) -> bool:
        """Whether somebody has set a setting, other than by the environment."""
        return any(
            setting in layer.patch.values
            for layer in self.layers
            if layer.origin.kind != "environment"
        )


class _Scopes:
    """The scopes entered in one context, innermost last, and the last snapshot they made.

    The slot is one reference, written whole: a reader in another thread sees the old snapshot or
    the new one, and checks what it was made from.
    """

    __slots__ = ("layers", "made")

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.layers = layers
        self.made: tuple[tuple[Layer, ...], tuple[str | None, ...], Snapshot] | None = None


class State:
    """The layers of this process, and the scopes of each context in it."""

    def __init__(self) -> None:
        self.renew_lock()
        self._published: tuple[Layer, ...] = ()
        self._scopes: ContextVar[_Scopes] = ContextVar("genai_config scopes")
        self._no_scopes = _Scopes(())
        self._warned: set[str] = set()

    def renew_lock(self) -> None:
        """Makes the lock anew: in a forked child, nobody may be left to release the old one."""
        self.lock = threading.RLock()

    @property
    def published(self) -> tuple[Layer, ...]:
        """The process-wide layers above the environment, lowest first."""
        return self._published

    def publish(self, layer: Layer) -> None:
        """Puts a layer on top of the process-wide ones.

        An older layer from the same place that set nothing else is dropped: all it said is said
        anew, so a statement that runs a thousand times leaves one layer.
        """
        self.replace(lambda layers: (*(old for old in layers if not _repeats(layer, old)), layer))

    def replace(self, change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]]) -> None:
        """Replaces the process-wide layers by what `change` makes of them.

        Raises:
            ConfigurationError: In this context they could not be in force; nothing has changed.
        """
        with self.lock:
            layers = tuple(layer for layer in change(self._published) if layer.patch.values)
            scopes = self._scopes.get(self._no_scopes)
            environ = _environ.fingerprint(os.environ)
            snapshot = self._snapshot(layers, scopes.layers)
            self._published = layers
            scopes.made = (layers, environ, snapshot)

    def preview(
        self, change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]], *scopes: Layer
    ) -> Snapshot:
        """What would be in force here after `replace` with this change, and in further scopes.

        Raises:
            ConfigurationError: It could not be in force.
        """
        return self._snapshot(change(self._published), (*self.scopes(), *scopes))

    def exchange(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Puts other process-wide layers in force; returns those that were."""
        with self.lock:
            before, self._published = self._published, layers
        return before

    def clear(self) -> None:
        """Drops the process-wide layers. The scopes belong to those who entered them."""
        with self.lock:
            self._published = ()
            self._warned.clear()

    def current(self) -> Snapshot:
        """What is in force in this context, now.

        Raises:
            ConfigurationError: A variable that matters holds a value that cannot be.
        """
        scopes = self._scopes.get(self._no_scopes)
        published = self._published
        environ = _environ.fingerprint(os.environ)
        made = scopes.made
        if made is not None and made[0] is published and made[1] == environ:
            return made[2]
        snapshot = self._snapshot(published, scopes.layers)
        scopes.made = (published, environ, snapshot)
        return snapshot

    def enter(self, layer: Layer) -> None:
        """Puts a layer on top of this context's scopes."""
        self._scopes.set(_Scopes((*self.scopes(), layer)))

    def leave(self, *either: Layer) -> None:
        """Takes the innermost occurrence of any of these layers out of this context's scopes.

        Scopes of generators end in any order, and in a context that never entered them: what is
        not there needs no taking out.
        """
        layers = self.scopes()
        for i in reversed(range(len(layers))):
            if layers[i] in either:
                self._scopes.set(_Scopes(layers[:i] + layers[i + 1 :]))
                return

    def scopes(self) -> tuple[Layer, ...]:
        """The layers of this context's scopes, innermost last."""
        return self._scopes.get(self._no_scopes).layers

    def exchange_scopes(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Puts other scopes in force in this context; returns those that were."""
        before = self.scopes()
        self._scopes.set(_Scopes(layers) if layers else self._no_scopes)
        return before

    def _snapshot(self, published: tuple[Layer, ...], scopes: tuple[Layer, ...]) -> Snapshot:
        from genai_config._settings.model import build

        explicit = EMPTY
        for layer in (*published, *scopes):
            explicit = combine(explicit, layer.patch)
        environment = self._environment(_decided(explicit))
        effective = EMPTY
        for layer in environment:
            effective = combine(effective, layer.patch)
        if "api_key" in _decided(explicit):
            # Credentials given by hand are a choice; a key that lies about in the environment
            # is none. The SDK refuses the pair, or takes the key without a word.
            effective = combine(effective, Patch({"api_key": UNSET}))
        config = build(combine(effective, explicit))
        self._warn_of_key(config)
        return Snapshot(config, (*environment, *published, *scopes))

    def _environment(self, decided: set[str]) -> list[Layer]:
        layers: list[Layer] = []
        for setting, found in _environ.read(os.environ).items():
            if setting not in decided:
                self._warn_of_conflict(setting, found)
            for i, (variable, text) in reversed(list(enumerate(found))):
                value = raw_value(setting, variable, text)
                if i == 0 and setting not in decided:
                    try:
                        value = environment_value(setting, variable, text)
                    except ConfigurationError as error:
                        if setting == "api_key":
                            raise
                        # The variable is there for other programs as well, and most requests
                        # need none of it.
                        self._warn_once(variable, str(error), EnvironmentValueWarning)
                        continue
                layers.append(Layer(Patch({setting: value}), Origin("environment", variable)))
        return layers

    def _warn_of_conflict(self, setting: str, found: list[_environ.Found]) -> None:
        if len({value for _, value in found}) > 1:
            names = " and ".join(variable for variable, _ in found)
            self._warn_once(
                names,
                f"{names} give different values for {setting}; {found[0].variable} is taken, "
                "as in the SDK. Unset the other.",
                EnvironmentConflictWarning,
            )

    def _warn_of_key(self, config: GenAIConfig) -> None:
        """Tells of a key that Google's own service will not accept; a gateway may have its own."""
        endpoint = config.client_options.api_endpoint or ""
        if config.api_key is None or (endpoint and "googleapis.com" not in endpoint):
            return
        looks = keys.suspicion(config.api_key.get_secret_value())
        if looks:
            self._warn_once(
                f"key: {looks}",
                f"The API key looks like {looks}; Google's service will refuse it. Make one: "
                f"{keys.AI_STUDIO}",
                APIKeyWarning,
            )

    def _warn_once(self, about: str, message: str, category: type[Warning]) -> None:
        if about not in self._warned:
            self._warned.add(about)
            warn(message, category, call_site())


def _decided(explicit: Patch) -> set[str]:
    """The settings about which the environment is not asked."""
    decided = set(explicit.values)
    if explicit.values.get("credentials", UNSET) is not UNSET:
        decided.add("api_key")
    return decided


def _repeats(new: Layer, old: Layer) -> bool:
    return new.origin == old.origin and old.patch.values.keys() <= new.patch.values.keys()


def call_site() -> str:
    """Where the nearest caller outside this library and the SDK is: "file:line"."""
    frame = sys._getframe(1)  # noqa: SLF001 -- inspect.stack() reads source files
    while frame.f_back and f"{frame.f_globals.get('__name__')}.".startswith(_OURS):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def warn(message: str, category: type[Warning], place: str) -> None:
    """Issues a warning that points at a call site."""
    file, _, line = place.rpartition(":")
    warnings.warn_explicit(message, category, file, int(line))


state = State()
"""The state of this process."""

if hasattr(os, "register_at_fork"):  # pragma: no branch -- Windows cannot fork
    os.register_at_fork(after_in_child=state.renew_lock)
