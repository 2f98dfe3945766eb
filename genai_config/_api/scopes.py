"""Changes for one thread or task: `override`, `base_models`, `tuned_models`, and `bind`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from genai_config._api.decorators import decorated
from genai_config._masking import forgets_arguments
from genai_config._routing.decision import BASE_SCOPES, route, tuned_scopes
from genai_config._settings import environment
from genai_config._settings import state as _state
from genai_config._settings.patch import UNSET, Patch, combine, make_patch, refuse_positional
from genai_config._settings.references import Reference
from genai_config._settings.state import Layer, Origin, state
from genai_config.exceptions import (
    APIKeyRequiredError,
    ConfigurationError,
    CredentialsNotFoundError,
    UnusedScopeWarning,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Unpack

    from genai_config._auth.token_source import TokenSource
    from genai_config._settings.given import ScopedSettings
    from genai_config._settings.model import GenAIConfig

F = TypeVar("F", bound="Callable[..., Any]")


def layer_of(settings: Mapping[str, Any], ours: int = 0) -> Layer:
    """The layer of a call outside this library: settings, and perhaps the profile below them.

    The files that settings name are looked at as well.

    Args:
        settings: As they were given.
        ours: How many callers of this function are known to be this library's.

    Raises:
        ConfigurationError: A value is refused.
    """
    profile = None
    if "profile" in settings:
        profile = profile_layer(settings["profile"])
        settings = {name: value for name, value in settings.items() if name != "profile"}
    patch = make_patch(settings)
    if "api_key" not in patch.values:
        _refuse_empty_key(settings)
    check_files(patch)
    return Layer(patch, Origin("override", _state.call_site(ours + 1)), profile)


def _refuse_empty_key(settings: Mapping[str, Any]) -> None:
    """Refuses a scope for an empty key: its requests would carry the key of whoever is around it.

    For the whole process an empty key is none, as in the SDK, and the environment's counts.
    """
    key, options = settings.get("api_key"), settings.get("client_options")
    if key is None and options is not None:
        options = options if isinstance(options, Mapping) else getattr(options, "__dict__", {})
        key = options.get("api_key")
    if key is not None:
        raise ConfigurationError(
            "api_key is empty, and the requests in this scope would carry the key outside it.",
            "give the tenant's key; UNSET as the key sends none, and None leaves it as it is.",
        )


def profile_layer(profile: object) -> Layer | None:
    """The layer of a profile that a call names; None: it names none."""
    if profile is None:
        return None
    from genai_config._settings import profile_files

    layer = profile_files.layer(profile)
    if layer is not None:
        check_files(layer.patch)
    return layer


def check_files(patch: Patch) -> None:
    """Looks at the files that settings name.

    Raises:
        ConfigurationError: One of them cannot be used.
    """
    credentials = patch.values.get("credentials", UNSET)
    ca_certs = patch.values.get("ca_certs", UNSET)
    if credentials is not UNSET:
        from genai_config._auth import credentials as found

        found.check(credentials)
    if ca_certs is not UNSET:
        from genai_config._auth import key_files

        key_files.check_ca_certs(ca_certs)


@functools.cache
def _manager() -> Any:
    # Each scope asks, and an import statement takes longer than all that is asked.
    from genai_config._sdk import manager

    return manager


class Scope:
    """A change of settings for one thread or task, while a ``with`` block or a function runs.

    One object may be entered any number of times, nested or at once from several threads.
    Under ``async with``, looking for credentials leaves the event loop free. One that is thrown
    away without ever having been entered warns: it had no effect.
    """

    _used = True  # until it is whole

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._layer = layer_of(settings, ours=2)  # this and `override`
        self._layers: tuple[Layer, ...] = (self._layer,)  # those that `_prepare` may choose
        self._used = False

    def __del__(self) -> None:
        if not self._used:
            self._used = True
            _state.warn(
                "A scope of genai_config was created but never entered, so it had no effect. "
                "Write `with override(…):`, or decorate a function with it.",
                UnusedScopeWarning,
                self._layer.origin.place,
            )

    def _prepare(self) -> Layer:
        """The layer to put in force, after the checks that belong to entering."""
        manager = _manager()
        if not manager.is_installed():
            with Inside(self._layer):  # a variable that the scope overrides does not matter
                manager.install()
        return self._layer

    async def _prepare_async(self) -> Layer:
        return self._prepare()

    def __enter__(self) -> GenAIConfig:
        self._used = True
        return state.enter(self._prepare())

    def __exit__(self, *error: object) -> None:
        self._used = True  # called by hand, perhaps without having been entered
        state.leave(*self._layers)

    async def __aenter__(self) -> GenAIConfig:
        self._used = True
        return state.enter(await self._prepare_async())

    async def __aexit__(self, *error: object) -> None:
        state.leave(*self._layers)

    def __call__(self, function: F) -> F:
        """Decorates a function, a coroutine function or a generator of either kind."""
        self._used = True

        def prepare() -> Inside:
            return Inside(self._prepare())

        async def prepare_async() -> Inside:
            return Inside(await self._prepare_async())

        return decorated(function, prepare, prepare_async)


class Inside:
    """Runs a function's code in scopes of its own, and gives the caller his back.

    A generator enters it for each step: what its code has entered by itself between two steps is
    in force again at the next, and nowhere else.

    Args:
        *layers: The scopes of the function.
        alone: Whether the caller's scopes are out of force meanwhile.
    """

    def __init__(self, *layers: Layer, alone: bool = False) -> None:
        self._own = layers
        self._alone = alone

    def __enter__(self) -> None:
        self._callers = state.add_scopes(self._own, alone=self._alone)

    def __exit__(self, *error: object) -> None:
        callers = self._callers
        del self._callers  # a generator waits without what was made of its caller's scopes
        below = 0 if self._alone else len(callers.layers)
        self._own = state.restore_scopes(callers)[below:]


class _Checked(Scope):
    """A scope for one model type: it looks for the credentials that it needs on entry."""

    async def _prepare_async(self) -> Layer:
        import asyncio

        trio = sys.modules.get("trio")
        if trio is not None and trio.lowlevel.in_trio_run():
            layer: Layer = await trio.to_thread.run_sync(self._prepare)
            return layer
        return await asyncio.to_thread(self._prepare)


class _TunedModels(_Checked):
    def __init__(self, settings: dict[str, Any]) -> None:
        transport = settings.pop("transport", None)
        if transport is not None and settings.get("tuned_transport") is not None:
            raise ConfigurationError(
                "tuned_models(transport=…, tuned_transport=…): inside, both are the transport of "
                "the tuned models.",
                "give one of them.",
            )
        if transport is not None:
            settings["tuned_transport"] = "grpc" if transport == "grpc_asyncio" else transport
        super().__init__({**settings, "auth": settings.get("auth") or "oauth"})
        if self._layer.patch.values["auth"] == "api_key":
            self._used = True  # it is not returned
            raise ConfigurationError(
                'tuned_models(auth="api_key"): tuned models take only OAuth credentials.',
                'leave auth out, or base_models(auth="api_key") for base models.',
            )

    def _prepare(self) -> Layer:
        config = _config_with(self._layer)
        _source(config, tuned_scopes(config)).found()
        return super()._prepare()


class _BaseModels(_Checked):
    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        made = self._layer
        self._forced = {
            auth: Layer(combine(made.patch, Patch({"auth": auth})), made.origin, made.profile)
            for auth in ("oauth", "api_key")
        }
        self._layers = tuple(self._forced.values())

    def _prepare(self) -> Layer:
        config = _config_with(self._layer)
        auth = config.auth
        scopes: tuple[str, ...] = BASE_SCOPES
        if config.backend == "vertex":
            decided = route(config, "generative", "generate_content")
            auth, scopes = decided.auth, decided.scopes
        elif auth == "auto":
            auth = "oauth" if config.api_key is None else "api_key"
        if auth == "api_key" and config.api_key is None:
            raise APIKeyRequiredError(
                f'auth="api_key", and no API key was found. Looked for: {_keys_looked_for()}.',
                _KEY_REMEDY,
            )
        if auth == "api_key" and isinstance(config.api_key, Reference):
            from genai_config._auth import headers

            headers.secret_source(config, config.api_key).value()
        if auth == "oauth":
            try:
                _source(config, scopes).found()
            except CredentialsNotFoundError as error:
                if config.auth == "oauth" or config.backend == "vertex":
                    raise
                raise CredentialsNotFoundError(
                    f"Base models take an API key or OAuth credentials. Looked for: "
                    f"{_keys_looked_for()}. {error.problem}",
                    error.remedy,
                ) from None
        super()._prepare()
        return self._forced[auth]


_KEY_REMEDY = 'safe_configure(api_key="…") or export GEMINI_API_KEY=…'


def _keys_looked_for() -> str:
    names = [v.name for v in environment.VARIABLES if v.setting == "api_key"]
    return "; ".join(["api_key= (not given)", *(f"{name} (not set)" for name in names)])


def _source(config: GenAIConfig, scopes: tuple[str, ...]) -> TokenSource:
    from genai_config._auth import headers

    return headers.source_for(config, config.scopes or scopes)


def _config_with(layer: Layer) -> GenAIConfig:
    """The configuration that would be in force with one more scope, and our manager in the SDK."""
    return state.preview(_manager().with_adopted, layer).config


@forgets_arguments
def override(*misplaced: NoReturn, **settings: Unpack[ScopedSettings]) -> Scope:
    """Changes settings for this thread or task alone, for a ``with`` block or a function.

    Nests, may be entered again, and is undone on any exit. What it does not change follows later
    calls of `safe_configure`. ``with override(…) as config`` gives the configuration inside.

    Args:
        *misplaced: None is taken; the error shows what to write.
        **settings: As for `safe_configure`, `profile` too; None leaves a setting alone, UNSET
            clears it.

    Raises:
        ConfigurationError: A value is refused.
    """
    refuse_positional("override", misplaced, 'with override(api_key="…"): …')
    return Scope(settings)


@forgets_arguments
def tuned_models(*misplaced: NoReturn, **settings: Unpack[ScopedSettings]) -> Scope:
    """As `override`, for tuned models: every request inside goes by OAuth.

    Entering it fails, with the remedy, when no OAuth credentials can be found.

    Args:
        *misplaced: None is taken; the error shows what to write.
        **settings: As for `safe_configure`; `transport` is that of the tuned models.

    Raises:
        ConfigurationError: A value is refused, ``auth="api_key"`` among them.
    """
    refuse_positional("tuned_models", misplaced, "with tuned_models(timeout=30): …")
    return _TunedModels({**settings})


@forgets_arguments
def base_models(*misplaced: NoReturn, **settings: Unpack[ScopedSettings]) -> Scope:
    """As `override`, for base models: every request inside goes by the API key, if there is one.

    Without a key, or with ``auth="oauth"`` in force, it is OAuth. Entering it fails, with the
    remedy, when neither can be found.

    Args:
        *misplaced: None is taken; the error shows what to write.
        **settings: As for `safe_configure`.

    Raises:
        ConfigurationError: A value is refused.
    """
    refuse_positional("base_models", misplaced, "with base_models(timeout=30): …")
    return _BaseModels(settings)
