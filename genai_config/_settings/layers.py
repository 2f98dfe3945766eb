"""What a configuration is made of: layers with their origins, and what a client keeps of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from genai_config._settings.patch import (
    EMPTY,
    GROUPS,
    UNSET,
    Patch,
    combine,
    is_the_sdks,
)
from genai_config._settings.references import Reference
from genai_config._settings.secrets import SecretMapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from genai_config._settings.model import GenAIConfig

Kind = Literal["environment", "profile", "genai.configure", "safe_configure", "override"]


class Origin(NamedTuple):
    """Where a layer came from: the kind, and the place.

    The place is "file:line" of the caller, the variable's name, or the profile's file and table.
    """

    kind: Kind
    place: str


class Layer:
    """One patch and its origin; compared by identity, as the same call may be made twice.

    Attributes:
        patch: What was given.
        origin: Where.
        profile: The profile that was named in the same call, whose settings are below the patch's.
    """

    __slots__ = ("origin", "patch", "profile")

    def __init__(self, patch: Patch, origin: Origin, profile: Layer | None = None) -> None:
        self.patch = patch
        self.origin = origin
        self.profile = profile

    def only(self, wanted: Callable[[str], bool]) -> Layer:
        """This layer with the wanted settings alone; the profile stays, if with none of its own."""
        values = {name: value for name, value in self.patch.values.items() if wanted(name)}
        profile = self.profile and self.profile.only(wanted)
        if profile is self.profile and len(values) == len(self.patch.values):
            return self
        return Layer(Patch(values), self.origin, profile)

    def says_something(self) -> bool:
        """Whether the layer changes anything: an empty profile puts another one out of force."""
        return bool(self.patch.values) or self.profile is not None


class Apart(Layer):
    """A configuration of its own: beneath its layers nothing is in force but the environment.

    Args:
        layers: What it is made of, lowest first.

    Attributes:
        process: The layers, as those of a process.
        made: The snapshots that have been made of it, shared by all contexts it is entered in.
    """

    __slots__ = ("made", "process")

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        super().__init__(EMPTY, Origin("override", ""))
        self.process = Process(layers, {})
        self.made: dict[Identity | None, tuple[Process, tuple[object, ...], Snapshot]] = {}


def parted(scopes: tuple[Layer, ...]) -> tuple[Apart | None, tuple[Layer, ...]]:
    """The innermost configuration of its own in the scopes of a context, and the scopes above."""
    for i in reversed(range(len(scopes))):
        layer = scopes[i]
        if isinstance(layer, Apart):
            return layer, scopes[i + 1 :]
    return None, scopes


_REBUILT = frozenset({"credentials", *GROUPS})


class Snapshot:
    """What is in force at one moment: the configuration, and the layers it was made of.

    Attributes:
        config: The effective configuration.
        layers: The layers, lowest first, the environment's included.
        memo: Decisions that follow from this snapshot alone, kept for the next call.
    """

    __slots__ = ("config", "layers", "memo")

    def __init__(self, config: GenAIConfig, layers: tuple[Layer, ...]) -> None:
        self.config = config
        self.layers = layers
        self.memo: dict[Any, Any] = {}

    def with_layer(self, layer: Layer) -> Snapshot | None:
        """This one with a layer on top, at the cost of a copy; None: it has to be rebuilt.

        A profile, a group of settings, a setting that is cleared, and credentials, which rule out
        a key of the environment, take all layers.
        """
        if layer.profile is not None:
            return None
        values = layer.patch.values
        for name, value in values.items():
            if value is UNSET or name in _REBUILT or "." in name:
                return None
        return Snapshot(self.config.with_checked(values), (*self.layers, layer))

    def is_given(self, setting: str) -> bool:
        """Whether a setting was set, other than by the environment."""
        return any(
            setting in layer.patch.values
            for layer in self.layers
            if layer.origin.kind != "environment"
        )


class Identity:
    """Who asks: what a client keeps of the process's settings from when it was handed out.

    Attributes:
        layers: What was set of the key, the credentials and the client options, lowest first;
            what was not set follows the environment.
        package: The package whose own ``genai.configure()`` counts for the client; "": none has.
        era: That of the process, when it was handed out.
    """

    __slots__ = ("_values", "era", "layers", "package")

    def __init__(self, layers: tuple[Layer, ...], package: str, era: object) -> None:
        self.layers = layers
        self.package = package
        self.era = era
        self._values = combined(layers)

    def says(self, layers: tuple[Layer, ...]) -> bool:
        """Whether layers say the same; credentials are the same if they are one object."""
        values = combined(layers)
        return values.keys() == self._values.keys() and all(
            is_same(name, value, self._values[name]) for name, value in values.items()
        )


class Process(NamedTuple):
    """What is set process-wide, replaced whole.

    Attributes:
        published: The layers for all, lowest first.
        isolated: What a package has set for itself alone, in place of the SDK's settings.
        era: Begun by each test that is isolated: what clients of another keep is not for this one.
    """

    published: tuple[Layer, ...]
    isolated: Mapping[str, Layer]
    era: object = None

    def layers(self, package: str) -> tuple[Layer, ...]:
        """The layers for a package's clients."""
        own = self.isolated.get(package)
        if own is None:
            return self.published
        return (*without_the_sdks(self.published), own)


def combined(layers: Iterable[Layer]) -> Mapping[str, Any]:
    """What layers set together, UNSET where something is cleared."""
    values = EMPTY
    for layer in with_profiles(layers):
        values = combine(values, layer.patch)
    return values.values


def with_profiles(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers, each below it the profile that it names."""
    return tuple(
        one
        for layer in layers
        for one in ((layer,) if layer.profile is None else (layer.profile, layer))
    )


def names_profile(layers: Iterable[Layer]) -> bool:
    """Whether a layer names a profile, or says that there is to be none."""
    return any(layer.profile is not None for layer in layers)


def without_profile(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers without the profiles that they name."""
    return tuple(
        layer if layer.profile is None else Layer(layer.patch, layer.origin) for layer in layers
    )


def with_last_profile(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers with one profile: another one takes its place, and does not merge with it."""
    named = [i for i, layer in enumerate(layers) if layer.profile is not None]
    if len(named) < 2:  # noqa: PLR2004 -- one replaces no other
        return layers
    return (*without_profile(layers[: named[-1]]), *layers[named[-1] :])


def only(layers: Iterable[Layer], wanted: Callable[[str], bool]) -> tuple[Layer, ...]:
    """The layers with the wanted settings alone, each with its origin."""
    kept = (layer.only(wanted) for layer in layers)
    return tuple(layer for layer in kept if layer.says_something())


def follows(layers: Iterable[Layer]) -> bool:
    """Whether clients that exist take another identity."""
    return bool(combined(layers).get("existing_models") == "follow")


def is_same(name: str, one: object, other: object) -> bool:
    """Whether two values of a setting are the same: of credentials, whether they are one object."""
    if name == "credentials" and not isinstance(one, (Path, SecretMapping, Reference)):
        return one is other
    return one == other


def without_the_sdks(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers without the settings that `genai.configure()` has."""
    return only(layers, lambda name: not is_the_sdks(name))


def set_by(layers: Iterable[Layer]) -> dict[str, tuple[Any, Origin]]:
    """The settings that layers have set, UNSET ones aside, and where each was set."""
    layers = with_profiles(layers)
    origins = {name: layer.origin for layer in layers for name in layer.patch.values}
    values = combined(layers)
    return {n: (value, origins[n]) for n, value in values.items() if value is not UNSET}
