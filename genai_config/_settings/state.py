"""The layers of the configuration, and what they make: the snapshot in force here and now.

Lowest first: the defaults, the environment, the profile that it names, what a raw
``genai.configure()`` had set, the calls of ``safe_configure()``, the scopes. A profile that a call
names is directly below what the same call gives, and puts any other profile below it out of force.
The process-wide layers are one value, replaced by one assignment
under a lock; the scopes are a context variable, so each thread and each task has its own.

A client keeps the `Identity` it was handed out with: the key, the credentials and the client
options that were set process-wide then. Everything else is what is in force at the call.
"""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

from genai_config._settings import environment as _environ
from genai_config._settings import forks, googles_endpoint, keys
from genai_config._settings.callers import call_site, calling_package, warn
from genai_config._settings.context_scopes import ContextScopes
from genai_config._settings.layers import (
    Identity,
    Layer,
    Origin,
    Process,
    Snapshot,
    follows,
    names_profile,
    only,
    parted,
    with_last_profile,
    with_profiles,
    without_profile,
)
from genai_config._settings.patch import (
    EMPTY,
    UNSET,
    Patch,
    combine,
    environment_value,
    is_identity,
    raw_value,
)
from genai_config.exceptions import (
    APIKeyWarning,
    ConfigurationError,
    EnvironmentConflictWarning,
    EnvironmentValueWarning,
    RawConfigureError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._settings.model import GenAIConfig

__all__ = [
    "Identity", "Layer", "Origin", "Snapshot", "State", "call_site", "calling_package", "state",
    "warn",
]  # fmt: skip


class State:
    """The layers of this process, and the scopes of each context in it."""

    def __init__(self) -> None:
        self.renew_lock()
        self._process = Process((), {})
        self._present: dict[str, tuple[Process, Identity]] = {}
        self._scopes: ContextVar[ContextScopes] = ContextVar("genai_config scopes")
        self._no_scopes = ContextScopes(())
        self._warned: set[str] = set()
        self._profile: tuple[tuple[str | None, ...], Layer | None] | None = None

    def renew_lock(self) -> None:
        """Replaces the lock: in a forked child, the thread that holds the old one may not exist."""
        self.lock = threading.RLock()

    @property
    def published(self) -> tuple[Layer, ...]:
        """The process-wide layers above the environment, lowest first."""
        return self._process.published

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
            layers = with_last_profile(change(self.published))
            layers = tuple(layer for layer in layers if layer.says_something())
            scopes = self._scopes.get(self._no_scopes)
            environ = _environ.fingerprint(os.environ)
            snapshot = self._snapshot(layers, scopes.layers)
            self._process = self._process._replace(published=layers)
            scopes.keep(None, scopes.process or self._process, environ, snapshot)

    def isolate(self, package: str, layer: Layer) -> None:
        """Sets the SDK's settings for the clients of one package alone.

        Raises:
            ConfigurationError: They could not be in force; nothing has changed.
        """
        with self.lock:
            process = self._process
            changed = process._replace(isolated={**process.isolated, package: layer})
            self._snapshot(changed.layers(package), self.scopes())
            self._process = changed

    def join(self, package: str) -> None:
        """Has what is set for all count for the clients of a package again."""
        with self.lock:
            if package not in self._process.isolated:
                return
            isolated = {n: layer for n, layer in self._process.isolated.items() if n != package}
            self._process = self._process._replace(isolated=isolated)

    def hand_out(self, package: str | None = None) -> Identity:
        """The identity of a client that is handed out here and now.

        It is the same object for as long as nothing of it is set to another value.

        Args:
            package: Whose client it is, "": the process's; None: the calling package's.

        Raises:
            RawConfigureError: Packages have settings of their own, and it is unclear who calls.
        """
        process = self._process
        if package is None:
            package = self._owner(process) if process.isolated else ""
        if package not in process.isolated:
            package = ""
        return self._identity(process, package)

    @staticmethod
    def _owner(process: Process) -> str:
        package = calling_package()
        if not package:
            raise RawConfigureError(
                "It is unclear whose API key and credentials to send: "
                f"{', '.join(sorted(process.isolated))} called genai.configure() for itself "
                '(raw_configure="isolate"), and this call comes out of a thread, an executor or a '
                "task that runs the SDK's function with nothing in between.",
                "run a function of your own that makes the call, or "
                "genai_config.bind(model.generate_content); models that are made after "
                'safe_configure(raw_configure="isolate") need neither.',
            )
        return package

    def _identity(self, process: Process, package: str) -> Identity:
        made, identity = self._present.get(package, (None, None))
        if identity is None or made is not process:
            layers = only(process.layers(package), is_identity)
            if identity is None or identity.era is not process.era or not identity.says(layers):
                identity = Identity(layers, package, process.era)
            self._present[package] = (process, identity)
        return identity

    def preview(
        self, change: Callable[[tuple[Layer, ...]], tuple[Layer, ...]], *scopes: Layer
    ) -> Snapshot:
        """What would be in force here after `replace` with this change, and in further scopes.

        Raises:
            ConfigurationError: It could not be in force.
        """
        return self._snapshot(change(self.published), (*self.scopes(), *scopes))

    def exchange(self, process: Process | None = None) -> Process:
        """Puts other layers in force, and their era; None: none, and a new one.

        Returns:
            Those that were in force.
        """
        with self.lock:
            before, self._process = self._process, process or Process((), {}, object())
        return before

    @property
    def in_test(self) -> bool:
        """Whether a test runs that is isolated, or has a local server."""
        return self._process.era is not None

    def begin_era(self) -> None:
        """Has the clients that exist follow the present identity; new ones keep theirs."""
        with self.lock:
            self._process = self._process._replace(era=object())

    def clear(self) -> None:
        """Drops the process-wide layers. The scopes belong to those who entered them."""
        with self.lock:
            self._process = self._process._replace(published=(), isolated={})
            self._warned.clear()
            self._profile = None
            # What was made from the layers holds their secrets.
            self._present = {}
            self._no_scopes.made = {}
            scopes: ContextScopes | None = self._scopes.get(self._no_scopes)
            while scopes is not None:
                scopes.made = {}
                scopes = scopes.below

    def current(self, identity: Identity | None = None) -> Snapshot:
        """What is in force in this context, now.

        Args:
            identity: The one that a client was handed out with; None: the present one.

        Raises:
            ConfigurationError: A variable that matters holds a value that cannot be.
        """
        scopes = self._scopes.get(self._no_scopes)
        process = scopes.process
        if process is None:
            process = self._process
        else:
            identity = None  # whatever a client keeps of this process is beneath
        environ = _environ.fingerprint(os.environ)
        made = scopes.made.get(identity)  # as `found` does: each request comes by here
        if made is not None and made[0] is process and made[1] == environ:
            return made[2]
        if identity is None:
            return self._made(scopes, process, environ)
        snapshot = self._held(process, identity, scopes.layers)
        scopes.keep(identity, process, environ, snapshot)
        return snapshot

    def _made(
        self, scopes: ContextScopes, process: Process, environ: tuple[object, ...]
    ) -> Snapshot:
        """What is in force in these scopes; of what is beneath the innermost, if that is known."""
        snapshot = None
        if scopes.below is not None:
            layer = scopes.layers[-1]
            below = scopes.below.found(None, process, environ)
            snapshot = None if below is None else below.with_layer(layer)
            if snapshot is not None and "api_key" in layer.patch.values:
                self._warn_of_key(snapshot.config)
        if snapshot is None:
            snapshot = self._snapshot(process.published, scopes.layers)
        scopes.keep(None, process, environ, snapshot)
        return snapshot

    def _held(self, process: Process, identity: Identity, scopes: tuple[Layer, ...]) -> Snapshot:
        """What is in force for a client with an identity of its own."""
        layers = process.layers(identity.package)
        present = self._identity(process, identity.package)
        held = identity is not present and identity.era is process.era
        if held and not follows((*layers, *scopes)):
            layers = (*only(layers, lambda name: not is_identity(name)), *identity.layers)
        if layers is process.published:
            return self.current()  # one snapshot for all, and what has been decided from it
        return self._snapshot(layers, scopes)

    def enter(self, layer: Layer) -> GenAIConfig:
        """Puts a layer on top of this context's scopes; the configuration that it makes.

        Raises:
            ConfigurationError: It makes none, because of the environment; nothing has changed.
        """
        outer = self._scopes.get(self._no_scopes)
        inner = ContextScopes((*outer.layers, layer), outer)
        process, environ = inner.process or self._process, _environ.fingerprint(os.environ)
        snapshot = inner.found(None, process, environ) if inner.made else None
        if snapshot is None:
            snapshot = self._made(inner, process, environ)
        self._scopes.set(inner)
        return snapshot.config

    def leave(self, *either: Layer) -> None:
        """Takes the innermost occurrence of any of these layers out of this context's scopes.

        Scopes of generators end in any order, and in a context that never entered them: what is
        not there needs no taking out.
        """
        scopes = self._scopes.get(self._no_scopes)
        layers = scopes.layers
        if scopes.below is not None and layers[-1] in either:
            self._scopes.set(scopes.below)  # with what had been made of it
            return
        for i in reversed(range(len(layers))):
            if layers[i] in either:
                self._scopes.set(ContextScopes(layers[:i] + layers[i + 1 :]))
                return

    def scopes(self) -> tuple[Layer, ...]:
        """The layers of this context's scopes, innermost last."""
        return self._scopes.get(self._no_scopes).layers

    def exchange_scopes(self, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """Puts other scopes in force in this context; returns those that were."""
        before = self.scopes()
        self._scopes.set(ContextScopes(layers) if layers else self._no_scopes)
        return before

    def add_scopes(self, layers: tuple[Layer, ...], *, alone: bool) -> ContextScopes:
        """Puts more scopes on top of those of this context, or alone in their place.

        Returns:
            Those that were in force, for `restore_scopes`.
        """
        before = self._scopes.get(self._no_scopes)
        scopes = self._no_scopes if alone else before
        for layer in layers:
            scopes = ContextScopes((*scopes.layers, layer), scopes)
        self._scopes.set(scopes)
        return before

    def restore_scopes(self, before: ContextScopes) -> tuple[Layer, ...]:
        """Puts scopes in force again, with what had been made of them; returns those that were."""
        layers = self.scopes()
        self._scopes.set(before)
        return layers

    def _snapshot(self, published: tuple[Layer, ...], scopes: tuple[Layer, ...]) -> Snapshot:
        from genai_config._settings.model import build

        layers = self._layers(published, scopes)
        explicit = EMPTY
        for layer in layers:
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
        googles_endpoint.check_headers(config)
        self._warn_of_key(config)
        return Snapshot(config, (*environment, *layers))

    def known_layers(self) -> tuple[Layer, ...]:
        """What is set here above the environment's variables, as far as it can be used."""
        try:
            return self._layers(self.published, self.scopes())
        except ConfigurationError:  # the profile that the environment names
            return with_profiles((*self.published, *self.scopes()))

    def _layers(self, published: tuple[Layer, ...], scopes: tuple[Layer, ...]) -> tuple[Layer, ...]:
        """What is in force above the environment's variables, profiles as layers of their own."""
        apart, scopes = parted(scopes)
        if apart is not None:
            published = apart.process.published
        if names_profile(scopes):
            return with_profiles((*without_profile(published), *with_last_profile(scopes)))
        layers = with_profiles((*published, *scopes))
        profile = None if names_profile(published) else self._profile_of_environment()
        return layers if profile is None else (profile, *layers)

    def _profile_of_environment(self) -> Layer | None:
        """The profile that the environment names, read once until `reset()`."""
        asked = _environ.profile(os.environ)
        if asked[0] is None:
            return None
        made = self._profile
        if made is None or made[0] != asked:
            from genai_config._settings import profile_files

            made = self._profile = (asked, profile_files.from_environment())
        return made[1]

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
        looks = googles_endpoint.suspicion(config)
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
    return (
        new.origin == old.origin
        and old.patch.values.keys() <= new.patch.values.keys()
        and (old.profile is None or new.profile is not None)
    )


state = State()
"""The state of this process."""

forks.in_children(state.renew_lock)
