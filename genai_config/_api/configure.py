"""The public verbs: they check what they are given, and wire the other rooms together."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from genai_config._api.scopes import check_files, profile_layer
from genai_config._masking import forgets_arguments
from genai_config._settings import state as _state
from genai_config._settings.patch import combine, make_patch
from genai_config._settings.state import Layer, Origin, state
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from google.api_core.gapic_v1.client_info import ClientInfo
    from google.generativeai.generative_models import GenerativeModel
    from google.generativeai.types import content_types, generation_types
    from google.generativeai.types.safety_types import SafetySettingOptions

    from genai_config._settings.given import (
        Auth,
        Backend,
        ExistingModels,
        GivenCredentials,
        GivenEndpoints,
        GivenHeaders,
        GivenKey,
        GivenOptions,
        RawConfigure,
        Transport,
        TunedTransport,
    )
    from genai_config._settings.model import GenAIConfig
    from genai_config._settings.patch import Patch, Unset
    from genai_config._settings.secrets import Secret


@forgets_arguments
def safe_configure(  # noqa: PLR0913 -- every keyword of the SDK, and ours, spelt out
    config: GenAIConfig | Mapping[str, Any] | None = None,
    /,
    *,
    api_key: GivenKey | Unset | None = None,
    credentials: GivenCredentials | Unset | None = None,
    transport: Transport | Unset | None = None,
    client_options: GivenOptions | Unset | None = None,
    client_info: ClientInfo | Mapping[str, Any] | Unset | None = None,
    default_metadata: GivenHeaders | Unset | None = None,
    auth: Auth | Unset | None = None,
    tuned_transport: TunedTransport | Unset | None = None,
    scopes: Sequence[str] | Unset | None = None,
    quota_project: str | Unset | None = None,
    timeout: float | Unset | None = None,
    auth_timeout: float | Unset | None = None,
    proxy: str | Secret | Unset | None = None,
    ca_certs: str | os.PathLike[str] | Unset | None = None,
    project: str | Unset | None = None,
    location: str | Unset | None = None,
    endpoint: str | Unset | None = None,
    raw_configure: RawConfigure | Unset | None = None,
    existing_models: ExistingModels | Unset | None = None,
    backend: Backend | Unset | None = None,
    tuned_endpoints: GivenEndpoints | Unset | None = None,
    vertex_endpoint: str | Unset | None = None,
    profile: str | Unset | None = None,
    **unknown: NoReturn,
) -> GenAIConfig:
    """Changes the configuration of the process; what is not given stays as it is.

    Called in place of ``genai.configure()``, with the same keywords and some more. None (and an
    empty API key) means "not given"; UNSET clears a setting.

    Args:
        config: A configuration to put in force whole, in place of all that was configured before;
            the environment and the defaults give what it leaves out. Or a mapping of settings,
            which merges as keywords do; keywords go before it.
        api_key: The API key, for everything that takes one, or a reference to it (`from_env` …).
        credentials: google-auth credentials, a key file's path, its content or a reference to it
            (`from_file` …), or a function that gives an access token, which is used until the
            service refuses it, or (token, expiry), with a datetime (UTC if naive) or seconds
            since the epoch; it is called in a thread of its own and may block. Without any,
            Application Default Credentials are looked for when a request needs them.
        transport: "grpc", "grpc_asyncio" or "rest"; sync and async calls work with each.
        client_options: As for the SDK; merged field by field.
        client_info: As for the SDK; copied.
        default_metadata: (name, value) pairs to send with every request; merged by name. A key or a
            token is given as `api_key` or `credentials`; a gateway may get an ``authorization``.
        auth: "auto": per request, "oauth": OAuth for all, "api_key": never OAuth.
        tuned_transport: "grpc" or "rest", for tuned models whatever `transport` says.
        scopes: OAuth scopes: URLs, openid, email or profile; by default those the request needs.
        quota_project: The project that OAuth requests are billed to.
        timeout: Seconds for a whole call, retries included.
        auth_timeout: Seconds for finding credentials, reading a secret and fetching a token; 30 by
            default.
        proxy: URL of an HTTP proxy, for these clients alone.
        ca_certs: PEM file of the certificate authorities to trust, for these clients alone.
        project: Project of the Vertex AI clients.
        location: Location of the Vertex AI clients.
        endpoint: Endpoint id of the Vertex AI clients.
        raw_configure: What a later raw ``genai.configure()`` does: "warn" (replace, as the SDK
            does, and say what was dropped), "merge", "isolate" (it concerns the clients of the
            package that called it alone) or "error".
        existing_models: What a change of the key, the credentials or the endpoint means for
            models and clients that exist: "keep" (they keep theirs, as in the SDK) or "follow".
        backend: Where base models are served: "gemini" (the Gemini API) or "vertex" (Vertex AI,
            with OAuth credentials, `project` and `location`).
        tuned_endpoints: Tuned models that are served by Vertex AI: from ``tunedModels/NAME`` to
            ``projects/P/locations/L/endpoints/ID``, or to ``ID`` alone in `project` and
            `location`; merged by name, UNSET for a name removes it.
        vertex_endpoint: Host or URL of a gateway for Vertex AI alone; by default Google's host for
            the location.
        profile: The name of a set of settings in `genai-config.toml` or `pyproject.toml`. The
            other keywords go before it, and it goes before all that was configured until now; it
            takes the place of another profile. None: the one that GENAI_CONFIG_PROFILE names, if
            any; UNSET: none.
        **unknown: None is known; the error names the nearest setting.

    Returns:
        The configuration in force now.

    Raises:
        ConfigurationError: A value is refused; nothing has changed.
        InvalidCredentialsError: The key file given cannot be used; nothing has changed.
    """
    settings: dict[str, Any] = {
        "api_key": api_key,
        "credentials": credentials,
        "transport": transport,
        "client_options": client_options,
        "client_info": client_info,
        "default_metadata": default_metadata,
        "auth": auth,
        "tuned_transport": tuned_transport,
        "scopes": scopes,
        "quota_project": quota_project,
        "timeout": timeout,
        "auth_timeout": auth_timeout,
        "proxy": proxy,
        "ca_certs": ca_certs,
        "project": project,
        "location": location,
        "endpoint": endpoint,
        "raw_configure": raw_configure,
        "existing_models": existing_models,
        "backend": backend,
        "tuned_endpoints": tuned_endpoints,
        "vertex_endpoint": vertex_endpoint,
    }
    patch = make_patch({**settings, **unknown})
    whole = False
    if config is not None:
        below, whole = _patch_of(config)
        patch = combine(below, patch)
    check_files(patch)
    layer = Layer(patch, Origin("safe_configure", _state.call_site()), profile_layer(profile))
    from genai_config._sdk import manager

    manager.install(layer, alone=whole)
    return state.current().config


def _patch_of(config: object) -> tuple[Patch, bool]:
    """What a configuration or a mapping says, and whether it stands for the whole."""
    if isinstance(config, Mapping):
        return make_patch(config), False
    from genai_config._settings import model

    if isinstance(config, model.GenAIConfig):
        return model.patch_of(config), True
    # A class of one's own, of pydantic-settings for example, that has one as a field.
    fields = getattr(config, "__dict__", {})
    field = next((n for n, v in fields.items() if isinstance(v, model.GenAIConfig)), None)
    raise ConfigurationError(
        f"safe_configure() takes a GenAIConfig or a mapping, not {type(config).__name__}.",
        f"give the GenAIConfig in it: safe_configure(….{field})."
        if field
        else 'safe_configure(api_key="…"), for example.',
    )


def get_config() -> GenAIConfig:
    """The configuration in force here and now: this thread's or task's scopes included."""
    return state.current().config


def is_configured() -> bool:
    """Whether anything but the environment configures requests here and now."""
    return bool(state.published or state.scopes())


def reset() -> None:
    """Back to the defaults and the environment; connections and credentials are forgotten.

    Scopes that are entered stay in force until they are left.
    """
    state.clear()
    for name, forget in (
        ("_auth.headers", "forget_sources"),
        ("_sdk.signatures", "forget"),
        ("_transport.channels", "close_all"),
        ("_transport.http", "close_all"),
    ):
        room = sys.modules.get(f"genai_config.{name}")
        if room is not None:
            getattr(room, forget)()


def uninstall() -> None:
    """Puts the SDK's own client manager back; the configuration itself is kept."""
    sdk = sys.modules.get("genai_config._sdk.manager")
    if sdk is not None:
        sdk.uninstall()


def generative_model(  # noqa: PLR0913, PLR0917 -- the SDK's own signature
    model_name: str | None = None,
    safety_settings: SafetySettingOptions | None = None,
    generation_config: generation_types.GenerationConfigType | None = None,
    tools: content_types.FunctionLibraryType | None = None,
    tool_config: content_types.ToolConfigType | None = None,
    system_instruction: content_types.ContentType | None = None,
) -> GenerativeModel:
    """A ``genai.GenerativeModel`` that keeps the configuration in force where it is made.

    Args:
        model_name: As for ``genai.GenerativeModel``, as is the rest; None: the SDK's own default.
        safety_settings: The default safety filters.
        generation_config: The default parameters of generation.
        tools: Functions and tools that the model may call.
        tool_config: How it may call them.
        system_instruction: Instructions that go before every conversation.
    """
    from genai_config._sdk import manager

    manager.install()
    given = (
        ("model_name", model_name),
        ("safety_settings", safety_settings),
        ("generation_config", generation_config),
        ("tools", tools),
        ("tool_config", tool_config),
        ("system_instruction", system_instruction),
    )
    arguments = {name: value for name, value in given if value is not None}
    model: GenerativeModel = manager.generative_model(state.current(), **arguments)
    return model
