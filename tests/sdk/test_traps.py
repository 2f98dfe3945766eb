"""The traps of the SDK: each test shows the bare SDK in it, and then this library out of it."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import httplib2
import pytest
from google.api_core import exceptions as api_exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from google.auth.credentials import AnonymousCredentials
from google.generativeai import client as client_lib
from googleapiclient.errors import HttpError
from googleapiclient.http import HttpRequest

from genai_config import get_config, override, safe_configure
from genai_config.exceptions import APIKeyRequiredError, ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config._settings.given import Transport
    from genai_config.testing import GeminiServer

Bare = Callable[..., dict[str, Any]]
BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"


def ask(model: str = BASE) -> str:
    """One request through a new model object."""
    text: str = genai.GenerativeModel(model).generate_content("hi").text
    return text


def trust(server: GeminiServer, **settings: Any) -> None:
    """Points this library at the server."""
    safe_configure(
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
        **settings,
    )


def identities(server: GeminiServer) -> list[str | None]:
    """Who the server saw, request by request."""
    return [request.identity for request in server.requests]


@pytest.mark.usefixtures("adc")
def test_trap_1_a_second_configure_drops_the_key(server: GeminiServer, bare: Bare) -> None:
    """configure(api_key) then configure(transport) has no key; safe_configure keeps it."""
    key = server.api_key("mine")
    genai.configure(**bare(api_key=key))
    genai.configure(**bare(transport="grpc"))
    ask()
    assert [r.auth for r in server.requests] == ["oauth"]

    trust(server, api_key=key)
    safe_configure(transport="grpc")
    ask()
    assert server.requests[-1].identity == "mine"


@pytest.mark.usefixtures("adc")
def test_trap_2_the_environments_key_is_taken_where_adc_was_meant(
    server: GeminiServer, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key in the environment the SDK uses it "for ADC"; an explicit choice beats it."""
    monkeypatch.setenv("GOOGLE_API_KEY", server.api_key("stray"))
    genai.configure(**bare(transport="grpc"))
    ask()
    assert identities(server) == ["stray"]

    trust(server, transport="grpc", auth="oauth")
    ask()
    assert server.requests[-1].auth == "oauth"


def test_trap_3_credentials_and_a_key_in_the_environment(
    server: GeminiServer, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK refuses explicit credentials beside the environment's key, and only when used."""
    monkeypatch.setenv("GOOGLE_API_KEY", server.api_key())
    credentials = server.user_credentials(quota_project="my-project")
    genai.configure(**bare(credentials=credentials))
    with pytest.raises(ValueError, match="mutually exclusive"):
        ask()

    trust(server, credentials=credentials)
    ask()
    assert [r.auth for r in server.requests] == ["oauth"]


def test_trap_4_a_key_exported_after_the_import(
    server: GeminiServer, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that dotenv loads later is unknown to the SDK until the next configure()."""
    genai.configure(**bare(credentials=AnonymousCredentials()))
    monkeypatch.setenv("GEMINI_API_KEY", server.api_key("late"))
    with pytest.raises(api_exceptions.PermissionDenied):
        ask()

    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.setattr(client_lib, "_client_manager", client_lib._ClientManager())
    trust(server)
    monkeypatch.setenv("GEMINI_API_KEY", server.api_key("later"))
    ask()
    assert server.requests[-1].identity == "later"


def test_trap_4_the_environments_key_is_not_adopted_as_the_users(
    server: GeminiServer, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key that the SDK read from the environment follows the environment."""
    monkeypatch.setenv("GEMINI_API_KEY", server.api_key("first"))
    genai.configure(**bare())
    trust(server)
    monkeypatch.setenv("GEMINI_API_KEY", server.api_key("second"))
    ask()
    assert identities(server) == ["second"]


def test_trap_5_the_callers_objects_are_written_to(server: GeminiServer, bare: Bare) -> None:
    """The SDK writes into ClientOptions and ClientInfo; ours are copies."""
    options, info = ClientOptions(api_endpoint=server.grpc_endpoint), ClientInfo(user_agent="me")
    bare()
    genai.configure(api_key="one", client_options=options, client_info=info)
    with pytest.raises(ValueError, match="not both"):
        genai.configure(api_key="one", client_options=options, client_info=info)
    genai.configure(client_options=options, client_info=info)
    assert info.user_agent.count("genai-py") == 2

    options, info = ClientOptions(api_endpoint=server.grpc_endpoint), ClientInfo(user_agent="me")
    key = server.api_key()
    for _ in range(2):
        safe_configure(
            api_key=key, client_options=options, client_info=info, ca_certs=server.ca_file
        )
    assert (options.api_key, info.user_agent) == (None, "me")
    ask()
    agent = server.requests[-1].headers["x-goog-api-client"]
    assert agent.count("genai-py") == 1
    assert agent.startswith("me ")


def test_trap_6_an_unknown_transport(bare: Bare) -> None:
    """A misspelt transport is a bare KeyError at the first request; here it is refused at once."""
    genai.configure(**bare(api_key="k", transport="grcp"))
    with pytest.raises(KeyError):
        ask()

    before = get_config()
    with pytest.raises(ConfigurationError, match="did you mean 'grpc'"):
        safe_configure(transport="grcp")  # type: ignore[arg-type] # that is what is tested
    assert get_config() == before


def test_trap_7_another_tenants_headers(server: GeminiServer, bare: Bare) -> None:
    """A client made for one tenant sends the headers of the tenant configured last."""
    genai.configure(**bare(api_key=server.api_key("a"), default_metadata=[("x-tenant", "a")]))
    model = genai.GenerativeModel(BASE)
    model.generate_content("hi")
    genai.configure(**bare(api_key=server.api_key("b"), default_metadata=[("x-tenant", "b")]))
    model.generate_content("hi")
    leaked = server.requests[-1]
    assert (leaked.identity, leaked.headers["x-tenant"]) == ("a", "b")

    trust(server)
    for tenant in ("c", "d"):
        with override(api_key=server.api_key(tenant), default_metadata=[("x-tenant", tenant)]):
            model = genai.GenerativeModel(BASE)
            model.generate_content("hi")
            sent = server.requests[-1]
            assert (sent.identity, sent.headers["x-tenant"]) == (tenant, tenant)


def test_trap_8_a_model_keeps_its_first_client(server: GeminiServer, bare: Bare) -> None:
    """A GenerativeModel ignores every later configure(); here only its identity stays."""
    genai.configure(**bare(api_key=server.api_key("old")))
    model = genai.GenerativeModel(BASE)
    model.generate_content("hi")
    genai.configure(**bare(api_key=server.api_key("new")))
    model.generate_content("hi")
    assert identities(server) == ["old", "old"]

    trust(server, api_key=server.api_key("third"))
    model = genai.GenerativeModel(BASE)
    model.generate_content("hi")
    safe_configure(api_key=server.api_key("fourth"))
    model.generate_content("hi")
    genai.GenerativeModel(BASE).generate_content("hi")
    assert identities(server)[2:] == ["third", "third", "fourth"]
    safe_configure(default_metadata=[("x-later", "1")])
    model.generate_content("hi")
    assert (identities(server)[5], server.requests[-1].headers["x-later"]) == ("third", "1")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_trap_9_a_transport_breaks_one_calling_mode(server: GeminiServer, bare: Bare) -> None:
    """Each transport works for sync or for async calls alone; here each works for both."""
    key = server.api_key()

    def sync() -> str:
        return ask()

    def awaited() -> str:
        async def call() -> str:
            model = genai.GenerativeModel(BASE)
            text: str = (await model.generate_content_async("hi")).text
            return text

        return asyncio.run(call())

    for transport, call, problem in (
        ("grpc", awaited, TypeError),
        ("grpc_asyncio", sync, (RuntimeError, AttributeError)),
        ("rest", awaited, TypeError),
    ):
        genai.configure(**bare(api_key=key, transport=transport))
        with pytest.raises(problem):
            call()
    gc.collect()  # what the SDK left half made complains now, not in another test

    trust(server, api_key=key)
    transports: tuple[Transport, ...] = ("grpc", "grpc_asyncio", "rest")
    for transport in transports:
        rest = transport == "rest"
        endpoint = server.rest_endpoint if rest else server.grpc_endpoint
        safe_configure(transport=transport, client_options={"api_endpoint": endpoint})
        for call in (sync, awaited):
            assert call() == "Hello from models/gemini-3.6-flash"
            assert server.requests[-1].transport == ("rest" if rest else "grpc")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_trap_10_a_second_event_loop(server: GeminiServer, bare: Bare) -> None:
    """An async client outlives its loop; here three loops in a row work with one model."""
    genai.configure(**bare(api_key=server.api_key()))
    model = genai.GenerativeModel(BASE)

    async def call() -> str:
        text: str = (await model.generate_content_async("hi")).text
        return text

    asyncio.run(call())
    with pytest.raises(RuntimeError, match="loop"):
        asyncio.run(call())
    gc.collect()

    trust(server, api_key=server.api_key())
    model = genai.GenerativeModel(BASE)
    assert {asyncio.run(call()) for _ in range(3)} == {"Hello from models/gemini-3.6-flash"}


def test_trap_11_eight_threads_make_eight_clients(
    server: GeminiServer, bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK makes a client per thread that comes first; here all share one connection."""
    made = []
    barrier = threading.Barrier(8)
    real: Any = client_lib._ClientManager.make_client

    def make(self: Any, name: str) -> Any:
        barrier.wait()
        made.append(name)
        return real(self, name)

    monkeypatch.setattr(client_lib._ClientManager, "make_client", make)
    genai.configure(**bare(api_key=server.api_key()))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: ask(), range(8)))
    assert len(made) == 8

    server.clear()
    trust(server, api_key=server.api_key())
    start = threading.Barrier(8)

    def together(_: int) -> str:
        start.wait()
        return ask()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(together, range(8)))
    assert len({r.connection for r in server.requests}) == 1


def test_trap_12_the_key_is_shown_and_not_trimmed(server: GeminiServer, bare: Bare) -> None:
    """The SDK shows the key in a repr and keeps its newline; ours masks and trims."""
    key = server.api_key("mine")
    genai.configure(**bare(api_key=f"{key}\n"))
    assert key in repr(client_lib._client_manager)

    trust(server, api_key=f"{key}\n")
    ask()
    assert identities(server) == ["mine"]
    shown = repr(client_lib._client_manager) + repr(get_config())
    shown += repr(client_lib.get_default_generative_client())
    assert key not in shown


def test_trap_13_an_upload_without_a_key(server: GeminiServer, tmp_path: Path) -> None:
    """File upload takes a key alone; without one the error says what to do."""
    file = tmp_path / "a.txt"
    file.write_text("hello", encoding="utf-8")
    trust(server, credentials=server.user_credentials(quota_project="my-project"))
    with pytest.raises(APIKeyRequiredError, match="api_key="):
        genai.upload_file(file)


def test_trap_13_the_key_is_in_no_address(
    server: GeminiServer,
    bare: Bare,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """The SDK's upload has the key in its addresses, and so in errors and logs; ours has not."""
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", server.discovery_url)
    file = tmp_path / "a.txt"
    file.write_text("hello", encoding="utf-8")

    def shown() -> str:
        """What can be seen of an upload that fails."""
        caplog.clear()
        server.fail(1)
        with caplog.at_level("DEBUG"), pytest.raises(HttpError, match="unavailable") as caught:
            genai.upload_file(file)
        return repr(caught.value) + str(vars(caught.value)) + caplog.text

    def refuse(request: HttpRequest) -> None:
        raise HttpError(httplib2.Response({"status": 400}), b"not valid", uri=request.uri)

    genai.configure(**bare(api_key="made-up"))
    with monkeypatch.context() as patch:
        # The connections that it really makes, it leaves open.
        patch.setattr(HttpRequest, "execute", refuse)
        with pytest.raises(HttpError) as caught:
            genai.upload_file(file)
    assert "made-up" in str(vars(caught.value))

    key = server.api_key()
    trust(server, api_key=key)
    assert key not in shown()


def test_trap_14_there_is_no_close(server: GeminiServer, bare: Bare) -> None:
    """The SDK's manager has no close(); reset() lets go of every connection."""
    bare()
    assert not hasattr(client_lib._client_manager, "close")

    import genai_config

    trust(server, api_key=server.api_key())
    ask()
    genai_config.reset()
    trust(server, api_key=server.api_key())
    ask()
    first, second = (r.connection for r in server.requests)
    assert first != second


def test_trap_15_functions_imported_by_name_are_reached(server: GeminiServer) -> None:
    """get_default_…_client, imported by name before, reads the one name that is replaced."""
    from google.generativeai.embedding import embed_content

    trust(server, api_key=server.api_key())
    embed_content(model="models/gemini-embedding-2", content="hi")
    assert [r.method for r in server.requests] == ["GenerativeService.EmbedContent"]


class _Mock:
    """What people plant: an object with the methods that their code calls."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def generate_content(self, request: Any, **_: Any) -> Any:
        self.asked.append(request)
        return genai.protos.GenerateContentResponse(
            candidates=[{"content": {"parts": [{"text": "planted"}], "role": "model"}}]
        )


def test_trap_16_planted_mocks_are_honoured(server: GeminiServer, bare: Bare) -> None:
    """A mock planted in the manager answers, before and after installation."""
    bare()
    mock = _Mock()
    client_lib._client_manager.clients["generative"] = mock
    assert ask() == "planted"
    safe_configure(api_key="k")
    assert ask() == "planted"
    client_lib._client_manager.clients["generative"] = later = _Mock()
    assert ask() == "planted"
    assert (len(mock.asked), len(later.asked)) == (2, 1)
    assert server.requests == []


def test_trap_16_a_planted_model_client_gives_the_operations() -> None:
    """As in the SDK, operations are those of the model client, planted or not."""

    class _Transport:
        operations_client = object()

    class _Model:
        _transport = _Transport()

    safe_configure(api_key="k")
    client_lib._client_manager.clients["model"] = _Model()
    assert client_lib.get_default_operations_client() is _Transport.operations_client


def test_trap_17_a_key_and_a_transport_go_together(server: GeminiServer, bare: Bare) -> None:
    """A generated client refuses a key beside a transport instance, but not beside a callable."""
    bare()
    import google.ai.generativelanguage as glm

    transport = glm.GenerativeServiceClient.get_transport_class("grpc")
    with pytest.raises(ValueError, match="transport instance"):
        glm.GenerativeServiceClient(
            transport=transport(credentials=AnonymousCredentials()),
            client_options=ClientOptions(api_key="k"),
        )

    trust(server, api_key=server.api_key("mine"))
    ask()
    assert identities(server) == ["mine"]


@pytest.mark.usefixtures("adc")
def test_trap_18_operations_go_by_oauth_on_the_same_connection(
    server: GeminiServer, bare: Bare
) -> None:
    """With a key the SDK's operations are refused; here they carry OAuth, while models do not."""
    genai.configure(**bare(api_key=server.api_key()))
    with pytest.raises(api_exceptions.GoogleAPICallError):
        list(genai.list_operations())

    server.clear()
    trust(server, api_key=server.api_key())
    list(genai.list_models())
    list(genai.list_operations())
    models, operations = server.requests
    assert (models.auth, operations.auth) == ("api_key", "oauth")
    assert models.connection == operations.connection


def test_signatures_are_the_sdks() -> None:
    """Every keyword of genai.configure is a keyword of safe_configure."""
    theirs = inspect.signature(genai.configure).parameters
    ours = inspect.signature(safe_configure).parameters
    assert set(theirs) <= set(ours)
    assert os.path.basename(inspect.getfile(genai.configure)) == "client.py"  # noqa: PTH119 -- a name
