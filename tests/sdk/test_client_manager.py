"""The one object that is put into the SDK: what it takes over, follows and gives back."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.api_core.gapic_v1.client_info import ClientInfo
from google.auth.credentials import AnonymousCredentials
from google.generativeai import client as client_lib

import genai_config
from genai_config import (
    UNSET,
    base_models,
    generative_model,
    get_config,
    override,
    safe_configure,
    tuned_models,
    uninstall,
)
from genai_config._sdk import manager as _manager
from genai_config._sdk.clients import RoutingClient
from genai_config._settings.secrets import Secret
from genai_config._settings.state import state
from genai_config.exceptions import (
    ConfigurationError,
    CredentialsNotFoundError,
    RawConfigureError,
    RawConfigureWarning,
)

if TYPE_CHECKING:
    from genai_config import GenAIConfig
    from genai_config.testing import GeminiServer

Bare = Callable[..., dict[str, Any]]
BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"


def key_of(config: GenAIConfig) -> str | None:
    """The API key in a configuration."""
    key = config.api_key
    return key.get_secret_value() if isinstance(key, Secret) else None


# What is taken over


def test_a_raw_configure_before_us_is_adopted_as_the_lowest_layer(bare: Bare) -> None:
    """genai.configure(api_key=…) followed by safe_configure(transport=…) keeps the key."""
    genai.configure(
        **bare(
            api_key="raw",
            transport="rest",
            default_metadata=[("x-a", "1")],
            client_info=ClientInfo(user_agent="me"),
        )
    )
    config = safe_configure(transport="grpc")
    assert key_of(config) == "raw"
    assert config.transport == "grpc"
    assert config.default_metadata == (("x-a", "1"),)
    assert config.client_info is not None
    assert config.client_info.user_agent == "me"
    assert [layer.origin.kind for layer in state.published] == ["genai.configure", "safe_configure"]


def test_an_override_adopts_as_well(bare: Bare) -> None:
    """Nobody need call safe_configure before a scope."""
    genai.configure(**bare(api_key="raw"))
    with override(transport="rest"):
        assert key_of(get_config()) == "raw"


def test_scopes_that_check_on_entry_see_what_will_be_adopted(bare: Bare) -> None:
    """base_models finds the key, and tuned_models the credentials, of a genai.configure()."""
    genai.configure(**bare(api_key="raw"))
    with base_models():
        assert key_of(get_config()) == "raw"
        assert get_config().auth == "api_key"
    uninstall()
    genai.configure(**bare(credentials=AnonymousCredentials()))
    with tuned_models():
        assert isinstance(get_config().credentials, AnonymousCredentials)


def test_a_failed_check_on_entry_installs_nothing(bare: Bare) -> None:
    """Where the credentials are missing, the SDK keeps its own manager."""
    genai.configure(**bare(api_key="raw"))
    manager = client_lib._client_manager
    with pytest.raises(CredentialsNotFoundError):
        tuned_models().__enter__()
    assert client_lib._client_manager is manager
    assert state.published == ()


def test_a_raw_configuration_that_cannot_be_is_refused_with_nothing_changed(bare: Bare) -> None:
    """What the SDK would find out at the first request is found at installation."""
    genai.configure(**bare(api_key="k", transport="grcp"))
    manager = client_lib._client_manager
    with pytest.raises(ConfigurationError, match="grcp"):
        safe_configure(api_key="k")
    assert client_lib._client_manager is manager
    assert state.published == ()


def test_a_client_the_sdk_made_is_not_taken_for_a_planted_one(
    server: GeminiServer, bare: Bare
) -> None:
    """Clients from before the installation do not outlive it, of operations neither."""
    genai.configure(**bare(api_key=server.api_key()))
    client_lib.get_default_generative_client()
    client_lib.get_default_operations_client()
    safe_configure(api_key="k")
    assert isinstance(client_lib.get_default_generative_client(), RoutingClient)
    assert isinstance(client_lib.get_default_operations_client(), RoutingClient)


def test_a_real_client_that_somebody_planted_stays(server: GeminiServer, bare: Bare) -> None:
    """A client made by hand is a choice, mock or not."""
    import google.ai.generativelanguage as glm

    bare()
    planted = glm.GenerativeServiceClient(client_options={"api_key": server.api_key()})
    client_lib._client_manager.clients["generative"] = planted
    safe_configure(api_key="k")
    assert client_lib.get_default_generative_client() is planted


# What is given back


def test_uninstall_puts_the_sdks_own_manager_back(server: GeminiServer, bare: Bare) -> None:
    """After uninstall() the SDK is as it was; installing again finds it so."""
    genai.configure(**bare(api_key=server.api_key("raw")))
    manager = client_lib._client_manager
    safe_configure(api_key=server.api_key("ours"), ca_certs=server.ca_file)
    genai_config.uninstall()
    assert client_lib._client_manager is manager
    genai.GenerativeModel(BASE).generate_content("hi")
    genai_config.uninstall()
    safe_configure(transport="grpc")
    genai.GenerativeModel(BASE).generate_content("hi")
    assert [r.identity for r in server.requests] == ["raw", "ours"]


def test_uninstall_leaves_a_manager_that_somebody_else_put_in(bare: Bare) -> None:
    """A test suite that replaces the manager keeps its own; the next call installs again."""
    bare()
    safe_configure(api_key="k")
    theirs = client_lib._ClientManager()
    client_lib._client_manager = theirs
    genai_config.uninstall()
    assert client_lib._client_manager is theirs
    safe_configure(transport="rest")
    assert isinstance(client_lib._client_manager, _manager.ClientManager)


def test_uninstall_before_anything_was_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """uninstall() and reset() load nothing that is not loaded."""
    for room in ("_sdk.manager", "_auth.token_source", "_transport.channels"):
        monkeypatch.delitem(sys.modules, f"genai_config.{room}", raising=False)
    genai_config.uninstall()
    genai_config.reset()
    assert "genai_config._sdk.manager" not in sys.modules


# A raw configure() after us


def test_raw_configure_warns_and_says_what_it_dropped(bare: Bare) -> None:
    """The SDK's semantics, and a warning at the line that called it."""
    bare()
    safe_configure(
        api_key="k",
        transport="rest",
        client_options={"api_endpoint": "localhost:1"},
        default_metadata=[("x-a", "1")],
        timeout=5,
    )
    with pytest.warns(RawConfigureWarning) as caught:
        genai.configure(transport="grpc")
    message = str(caught[0].message)
    for name in ("api_key", "client_options.api_endpoint", "default_metadata.x-a"):
        assert f"{name} (dropped; set by safe_configure at {__file__}:" in message
    assert "transport (replaced;" in message
    assert "called by tests" in message
    assert 'raw_configure="isolate"' in message
    assert caught[0].filename == __file__
    config = get_config()
    assert (config.api_key, config.transport, config.timeout) == (None, "grpc", 5)
    assert config.client_options.api_endpoint is None


def test_raw_configure_drops_planted_mocks(bare: Bare) -> None:
    """As in the SDK; safe_configure leaves them."""
    bare()
    safe_configure(api_key="k")
    client_lib._client_manager.clients["generative"] = mock = object()
    safe_configure(transport="rest")
    assert client_lib.get_default_generative_client() is mock
    genai.configure(api_key="k", transport="rest")
    assert isinstance(client_lib.get_default_generative_client(), RoutingClient)


def test_raw_configure_whose_warning_is_an_error_changes_nothing(bare: Bare) -> None:
    """Under `-W error` the call raises, and so has not been made."""
    bare()
    before = safe_configure(api_key="k")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RawConfigureWarning):
            genai.configure(transport="rest")
    assert get_config() == before


def test_raw_configure_that_drops_nothing_is_silent(bare: Bare) -> None:
    """One that says the same, or that changes what a raw call in the same file had said."""
    bare()
    safe_configure(api_key="k", client_info=UNSET)
    genai.configure(api_key="k")
    genai.configure(api_key="l", transport="rest")
    genai.configure(transport="grpc")
    assert key_of(get_config()) is None


def test_raw_configure_with_another_key_says_whose_it_replaces(bare: Bare) -> None:
    """Values count, not names: the key that was set, where, and what to do; never the key."""
    bare()
    safe_configure(api_key="made-up-ours")
    with pytest.warns(RawConfigureWarning, match=r"api_key \(replaced; set by safe_c") as caught:
        genai.configure(api_key="made-up-theirs")
    assert "made-up" not in str(caught[0].message)
    assert key_of(get_config()) == "made-up-theirs"


def test_raw_configure_can_merge(bare: Bare) -> None:
    """raw_configure="merge": a raw call is a safe_configure()."""
    bare()
    safe_configure(api_key="k", raw_configure="merge")
    genai.configure(transport="rest")
    assert (key_of(get_config()), get_config().transport) == ("k", "rest")


def test_raw_configure_can_be_an_error(bare: Bare) -> None:
    """raw_configure="error": it raises where it is called, with nothing changed."""
    bare()
    safe_configure(api_key="k", raw_configure="error")
    before = (state.published, get_config())
    with pytest.raises(RawConfigureError, match=r"test_client_manager\.py"):
        genai.configure(api_key="l")
    assert (state.published, get_config()) == before


def test_raw_configure_with_bad_input_changes_nothing(bare: Bare) -> None:
    """The SDK's own entry gets the same checks."""
    bare()
    safe_configure(api_key="k")
    before = (state.published, get_config())
    with pytest.raises(ConfigurationError):
        genai.configure(api_key="l", transport="grcp")
    assert (state.published, get_config()) == before


# All or nothing


def test_a_refused_configure_changes_nothing(server: GeminiServer, bare: Bare) -> None:
    """One bad value, and the good ones beside it are not taken either."""
    bare()
    safe_configure(api_key=server.api_key("good"), ca_certs=server.ca_file)
    before = (state.published, state.current(), client_lib._client_manager)
    with pytest.raises(ConfigurationError):
        safe_configure(api_key="other", location="evil.com/")
    assert (state.published, state.current(), client_lib._client_manager) == before


def test_a_refused_first_configure_does_not_install(bare: Bare) -> None:
    """Bad input leaves the SDK untouched."""
    bare()
    manager = client_lib._client_manager
    with pytest.raises(ConfigurationError):
        safe_configure(api_key="a b")
    assert client_lib._client_manager is manager


# Routing clients


def test_a_routing_client_delegates_what_is_no_request(configured: GenAIConfig) -> None:
    """Path helpers and the transport are the real client's; a wrong name is an AttributeError."""
    client: Any = client_lib.get_default_generative_client()
    assert client.model_path("x") == "models/x"
    assert client.transport.kind == "grpc"
    assert client.api_endpoint == configured.client_options.api_endpoint
    assert client.generate_content.__doc__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = client.nonsense
    with pytest.raises(AttributeError, match="_nonsense"):
        _ = client._nonsense


def test_path_helpers_need_neither_credentials_nor_a_loop(bare: Bare) -> None:
    """What belongs to the class is had without a client, an async one's as well."""
    bare()
    with override(auth="api_key"):
        for client in (
            client_lib.get_default_generative_client(),
            client_lib.get_default_generative_async_client(),
        ):
            assert client.model_path("m") == "models/m"


def test_an_unknown_service_is_the_sdks_error(bare: Bare) -> None:
    """As in the SDK, a service that does not exist is an AttributeError."""
    bare()
    safe_configure(api_key="k")
    with pytest.raises(AttributeError):
        client_lib._client_manager.get_default_client("nonsense")


def test_a_model_with_its_client_can_be_copied(server: GeminiServer, bare: Bare) -> None:
    """A deep copy of a used model works like the model."""
    bare()
    safe_configure(
        api_key=server.api_key(),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
    )
    model = genai.GenerativeModel(BASE)
    model.generate_content("hi")
    assert copy.deepcopy(model).generate_content("hi").text == "Hello from models/gemini-3.6-flash"


def test_reprs_name_the_service(configured: GenAIConfig) -> None:
    """A routing client says which one it is, and no secret."""
    del configured
    assert repr(client_lib.get_default_generative_client()) == (
        "<genai_config client for the generative service>"
    )
    assert "async" in repr(client_lib.get_default_generative_async_client())


def test_a_pinned_model_keeps_the_configuration_it_was_made_in(
    server: GeminiServer, configured: GenAIConfig
) -> None:
    """generative_model() decides by the scope it was made in, sync and async."""
    del configured
    with override(api_key=server.api_key("tenant")):
        pinned = generative_model(BASE)
    pinned.generate_content("hi")
    genai.GenerativeModel(BASE).generate_content("hi")
    assert [r.identity for r in server.requests] == ["tenant", "key-1"]


async def test_a_pinned_model_keeps_it_in_async_calls(
    server: GeminiServer, configured: GenAIConfig
) -> None:
    """The async client of a pinned model is pinned as well."""
    del configured
    with override(api_key=server.api_key("tenant")):
        pinned = generative_model(BASE)
    await pinned.generate_content_async("hi")
    assert [r.identity for r in server.requests] == ["tenant"]


def test_a_pinned_model_honours_planted_mocks(bare: Bare) -> None:
    """Where both clients are planted, the model is left to find them."""
    bare()
    safe_configure(api_key="k")
    mocks = {"generative": object(), "generative_async": object()}
    client_lib._client_manager.clients.update(mocks)
    pinned: Any = generative_model(BASE)
    assert (pinned._client, pinned._async_client) == (None, None)


def test_timeout_bounds_the_whole_call_retries_included(
    server: GeminiServer, configured: GenAIConfig
) -> None:
    """A service that is down is given up after `timeout`, not after the SDK's ten minutes."""
    from google.api_core.exceptions import RetryError

    del configured
    server.fail(1000)
    with override(timeout=0.2), pytest.raises(RetryError):
        genai.GenerativeModel(BASE).generate_content("hi")


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_timeout_does_not_retry_what_the_sdk_does_not(
    server: GeminiServer, configured: GenAIConfig, transport: Any
) -> None:
    """A request that is sent once without a bound is sent once with one."""
    from google.api_core.exceptions import ServiceUnavailable

    del configured
    rest = transport == "rest"
    endpoint = server.rest_endpoint if rest else server.grpc_endpoint
    safe_configure(transport=transport, client_options={"api_endpoint": endpoint})
    server.fail(1000)
    client: Any = client_lib.get_default_cache_client()
    with override(timeout=5), pytest.raises(ServiceUnavailable):
        client.create_cached_content(cached_content={})
    assert len(server.requests) == 1


async def test_timeout_bounds_async_calls(server: GeminiServer, configured: GenAIConfig) -> None:
    """The same for calls that are awaited."""
    from google.api_core.exceptions import RetryError

    del configured
    server.fail(1000)
    with override(timeout=0.2), pytest.raises(RetryError):
        await genai.GenerativeModel(BASE).generate_content_async("hi")


def test_the_callers_own_timeout_and_retry_win(
    server: GeminiServer, configured: GenAIConfig
) -> None:
    """request_options of a call go before the configured bound."""
    from google.api_core.exceptions import ServiceUnavailable
    from google.api_core.retry import Retry

    del configured
    server.fail(1000)
    never = Retry(predicate=lambda _: False)
    with override(timeout=60), pytest.raises(ServiceUnavailable):
        genai.GenerativeModel(BASE).generate_content(
            "hi", request_options={"retry": never, "timeout": 5}
        )
    with override(timeout=60), pytest.raises(ServiceUnavailable):
        genai.GenerativeModel(BASE).generate_content("hi", request_options={"retry": never})


@pytest.mark.usefixtures("adc")
def test_timeout_of_an_operation_is_one_bound(
    server: GeminiServer, configured: GenAIConfig
) -> None:
    """Operations get the bound without retries of ours."""
    del configured
    with override(timeout=5):
        assert list(genai.list_operations()) == []
    assert server.requests[-1].auth == "oauth"


def test_default_metadata_joins_the_callers(server: GeminiServer, configured: GenAIConfig) -> None:
    """A low-level caller's own metadata is sent beside the configured one."""
    del configured
    with override(default_metadata=[("x-a", "1")]):
        client: Any = client_lib.get_default_model_client()
        client.get_model(name="models/gemini-3.6-flash", metadata=[("x-b", "2")])
    headers = server.requests[-1].headers
    assert (headers["x-a"], headers["x-b"]) == ("1", "2")
