"""Configurations that travel: into threads and executors, and by pickle to other processes.

A pickle holds what is set, by reference: it has no secret in it, and what the environment or
Application Default Credentials give is what they give on the other side.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from genai_config._api.decorators import decorated
from genai_config._api.scopes import Inside
from genai_config._settings import callers
from genai_config._settings.layers import (
    Apart,
    Layer,
    Origin,
    combined,
    parted,
    with_last_profile,
    with_profiles,
)
from genai_config._settings.patch import Patch
from genai_config._settings.portable import FORMAT, Portable, portable, restored
from genai_config._settings.references import from_env
from genai_config._settings.secrets import Secret
from genai_config._settings.state import state
from genai_config._transport.pool import Pool
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from genai_config._settings.layers import Kind
    from genai_config._settings.model import GenAIConfig

F = TypeVar("F", bound="Callable[..., Any]")

_Layer = tuple[str, str, Portable]
"""A layer as a pickle holds it: kind and place of the origin, and the settings."""

_Carried = tuple[tuple[_Layer, "_Layer | None"], ...]
"""Layers as a pickle holds them, each with the profile that it names."""

# Equal configurations that arrive are one: what has been decided from them is decided once.
_ARRIVED: Pool[Apart] = Pool(256)


def _in_force(scopes: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """The layers of the process and of scopes, the environment's aside."""
    apart, above = parted(scopes)
    below = _published() if apart is None else apart.process.published
    return with_last_profile((*below, *above))


def _published() -> tuple[Layer, ...]:
    """The layers of the process, with what a raw `genai.configure()` has set before all else."""
    if "google.generativeai" not in sys.modules:
        return state.published
    from genai_config._sdk import manager

    return manager.with_adopted(state.published)


def _referred(value: Any) -> Any:
    """A key that came from a variable, as a reference: it may be missing where this arrives.

    The error of a key that cannot be read belongs to a request. In the middle of unpickling, the
    engines have no task that they could tell it to.
    """
    if isinstance(value, Secret) and value.variable is not None:
        return from_env(value.variable)
    return value


def _packed(scopes: tuple[Layer, ...]) -> _Carried:
    """What is in force with these scopes, to be pickled.

    Raises:
        SecretPicklingError: A literal secret is set.
    """
    layers = _in_force(scopes)
    # What is overruled stays here: it may be a literal key that a reference has replaced.
    left = {**combined(with_profiles(layers))}

    def packed(layer: Layer) -> _Layer:
        names = [name for name in layer.patch.values if name in left]
        values = {name: _referred(left.pop(name)) for name in names}
        return layer.origin.kind, layer.origin.place, portable(values)

    carried = [
        (packed(layer), None if layer.profile is None else packed(layer.profile))
        for layer in reversed(layers)
    ]
    return tuple(reversed(carried))


def _unpacked(version: int, carried: _Carried) -> Apart:
    """The configuration that a pickle holds.

    Raises:
        ConfigurationError: Another version of the library has written it.
    """
    restored(version, ())

    def unpacked(packed: _Layer, profile: _Layer | None = None) -> Layer:
        kind, place, values = packed
        below = None if profile is None else unpacked(profile)
        return Layer(Patch(restored(version, values)), Origin(cast("Kind", kind), place), below)

    def make() -> Apart:
        return Apart(tuple(unpacked(*packed) for packed in carried))

    return _ARRIVED.get(carried, make)


def _install() -> None:
    """Puts our manager into the SDK, where a configuration has arrived."""
    from genai_config._sdk import manager

    if not manager.is_installed():
        manager.install()


class _OnBehalf(Inside):
    """Runs a function's code in other scopes, and on behalf of a package.

    Args:
        layers: The scopes, in place of the caller's.
        package: The package that counts where nothing on the stack names one.
    """

    def __init__(self, layers: tuple[Layer, ...], package: str) -> None:
        super().__init__(*layers, alone=True)
        self._package = package

    def __enter__(self) -> None:
        super().__enter__()
        self._token = callers.ON_BEHALF_OF.set(self._package)

    def __exit__(self, *error: object) -> None:
        callers.ON_BEHALF_OF.reset(self._token)
        super().__exit__(*error)


class Bound(functools.partial):  # type: ignore[type-arg] # it is its function, whatever that gives
    """A function that runs in a configuration, wherever it runs; made by `bind`.

    It is what its function is (a coroutine function, a generator function …) for whoever asks.
    """

    _layers: tuple[Layer, ...]

    def __new__(
        cls, function: Callable[..., Any], layers: tuple[Layer, ...], package: str = ""
    ) -> Self:
        """Wraps a function.

        Args:
            function: The function.
            layers: The scopes that it runs in, and no others.
            package: The package that it runs on behalf of.
        """
        has_arrived = any(isinstance(layer, Apart) for layer in layers)

        def prepare() -> Inside:
            if has_arrived:
                _install()
            return _OnBehalf(layers, package)

        async def prepare_async() -> Inside:
            return prepare()

        made = super().__new__(cls, decorated(function, prepare, prepare_async))
        functools.update_wrapper(made, function)
        made._layers = layers
        return made

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __getattr__(self, name: str) -> Any:
        # With a __get__ it would pass for a built-in method, whose arguments nobody knows: Spark
        # asks for them.
        if name == "__signature__":
            import inspect

            with contextlib.suppress(ValueError, TypeError):
                return inspect.signature(self.__wrapped__)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<bound by genai_config: {self.__wrapped__!r}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _bound, (FORMAT, self.__wrapped__, _packed(self._layers))


def _bound(version: int, function: Callable[..., Any], carried: _Carried) -> Bound:
    return Bound(function, (_unpacked(version, carried),))


def bind(function: F) -> F:
    """Carries the configuration in force here into wherever the function will run.

    In threads and executors of this process, the function runs in the scopes in force here, and
    under ``raw_configure="isolate"`` on behalf of the package that calls `bind`.
    Pickled, it carries the whole configuration to another process, by reference, and that is in
    force there for each call alone: what that process has configured for itself does not count,
    its environment and its Application Default Credentials do.

    Args:
        function: A function, a coroutine function, or a generator function of either kind.

    Raises:
        ConfigurationError: It is none of these.
        SecretPicklingError: When it is pickled, and a literal secret is set.
    """
    if not callable(getattr(function, "__func__", function)):
        raise ConfigurationError(
            f"bind takes a function, not {type(function).__name__}.",
            "bind(answer), and call what it returns: bind(answer)(question).",
        )
    return cast("F", Bound(function, state.scopes(), callers.calling_package()))


class Carried:
    """The configuration that was in force where it was made; made by `carry`.

    A context manager that may be pickled, entered again, and entered in several threads at once.
    """

    def __init__(self, layer: Apart, process: int | None) -> None:
        self._layer = layer
        self._process = process

    def __enter__(self) -> GenAIConfig:
        _install()
        return state.enter(self._layer)

    def __exit__(self, *error: object) -> None:
        state.leave(self._layer)

    def __call__(self) -> None:
        """Puts the configuration in force for good: the initializer of a worker.

        In another process than the one where it was made it replaces what is configured there, for
        all threads. In the same process it is in force in the calling thread alone.
        """
        _install()
        if self._process == os.getpid():
            state.enter(self._layer)
        else:
            state.replace(lambda _: self._layer.process.published)

    def __repr__(self) -> str:
        return "<a configuration carried by genai_config>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _carried, (FORMAT, _packed((self._layer,)))


def _carried(version: int, carried: _Carried) -> Carried:
    return Carried(_unpacked(version, carried), None)


def carry() -> Carried:
    """The configuration in force here, as an object that travels: for workers of other processes.

    It is what `bind` carries, for code that is no single function: ``with carried:`` puts it in
    force for a block, and calling it (``initializer=carry()``) for the rest of the worker's life.
    Pickled, it holds references and no secret.

    Raises:
        SecretPicklingError: When it is pickled, and a literal secret is set.
    """
    return Carried(Apart(_in_force(state.scopes())), os.getpid())
