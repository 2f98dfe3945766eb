"""Unchanged code of the old SDK on Vertex AI, against the local server's strict native side."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import datetime as dt
import multiprocessing
import pickle
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.api_core import exceptions as errors
from google.generativeai import caching

import genai_config
from genai_config import (
    base_models,
    generative_model,
    get_config,
    override,
    safe_configure,
    tuned_models,
)
from genai_config._routing.decision import CLOUD_PLATFORM
from genai_config.exceptions import (
    CredentialsNotFoundError,
)

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"
PARENT = "projects/my-project/locations/us-central1"
PUBLISHED = f"{PARENT}/publishers/google/models/{MODEL}"
ENDPOINT = f"{PARENT}/endpoints/456"
ONCE: Any = {"retry": None, "timeout": 10}

pytestmark = pytest.mark.usefixtures("pointed")


def told(server: GeminiServer) -> list[tuple[str, str, str, str]]:
    """What the server saw: transport, credentials, resource, status."""
    return [(r.transport, r.auth, r.resource, r.status) for r in server.requests]


def who(request: Any) -> str:
    """The account that asked, without its project."""
    return str(request.identity).partition("@")[0]


TUNED_CALL = ("rest", "oauth", ENDPOINT, "OK")


def test_base_and_tuned_models_in_one_process(server: GeminiServer) -> None:
    """A key for the Gemini API over gRPC, OAuth for the endpoint: no switch between them."""
    base, tuned = genai.GenerativeModel(MODEL), genai.GenerativeModel("tunedModels/mine")
    base.generate_content("hi")
    assert tuned.generate_content("hi").text == "tuned"
    base.generate_content("hi")
    gemini = ("grpc", "api_key", f"models/{MODEL}", "OK")
    assert told(server) == [gemini, TUNED_CALL, gemini]
    assert server.requests[1].scopes == {CLOUD_PLATFORM}
    assert who(server.requests[1]) == "workload"


@pytest.mark.parametrize(
    "name", ["tunedModels/mine", ENDPOINT, f"models/{MODEL}", PUBLISHED,
             f"publishers/google/models/{MODEL}"],
)  # fmt: skip
@pytest.mark.parametrize("transport", [None, "rest"])
async def test_every_way_of_asking(server: GeminiServer, name: str, transport: Any) -> None:
    """Whole, streamed, in a conversation, counted: awaited or not."""
    safe_configure(transport=transport)
    with override(backend="vertex"):
        model = genai.GenerativeModel(name)
        text = model.generate_content("hi").text
        assert text
        assert "".join(c.text for c in model.generate_content("hi", stream=True)) == text
        chat: Any = model.start_chat()
        assert chat.send_message("hi").text == text
        assert [c.text for c in chat.send_message("hi", stream=True)]
        assert model.count_tokens("hi there").total_tokens == 2
        assert (await model.generate_content_async("hi")).text == text
        answer = await model.generate_content_async("hi", stream=True)
        assert "".join([c.text async for c in answer]) == text
        chat = model.start_chat()
        assert (await chat.send_message_async("hi")).text == text
        assert (await model.count_tokens_async("hi there")).total_tokens == 2
    full = ENDPOINT if "/endpoints/" in name or "tuned" in name else PUBLISHED
    assert {r[:3] for r in told(server)} == {("rest", "oauth", full)}
    assert {r.status for r in server.requests} == {"OK"}


async def test_embeddings(server: GeminiServer) -> None:
    """One and many, by both ways of Vertex AI, awaited or not."""
    with override(backend="vertex"):
        for name in ("models/text-embedding-005", "models/gemini-embedding-2"):
            options: Any = {"output_dimensionality": 8, "task_type": "CLUSTERING"}
            one = genai.embed_content(name, "a", **options)
            assert len(one["embedding"]) == 8
            many = genai.embed_content(name, ["a", "b", "c"], **options)
            assert [len(values) for values in many["embedding"]] == [8, 8, 8]
            assert await genai.embed_content_async(name, "a", **options) == one
            assert (await genai.embed_content_async(name, ["a"], **options))["embedding"] == [
                one["embedding"]
            ]
    assert {r[:2] for r in told(server)} == {("rest", "oauth")}


# The SDK's own code for caches.
@pytest.mark.filterwarnings("ignore:The argument `including_default_value_fields`")
def test_caches(server: GeminiServer) -> None:
    """Made, asked for, listed, changed, used, removed: by the SDK's own class."""
    with override(backend="vertex"):
        cache = caching.CachedContent.create(
            MODEL, display_name="mine", contents=["a b c"], ttl=dt.timedelta(minutes=5)
        )
        assert cache.name.startswith(f"{PARENT}/cachedContents/")
        assert cache.model == PUBLISHED
        short = cache.name.rpartition("/")[2]
        assert caching.CachedContent.get(short).name == cache.name
        assert [one.name for one in caching.CachedContent.list()] == [cache.name]
        before = cache.expire_time
        cache.update(ttl=dt.timedelta(hours=5))
        assert cache.expire_time > before
        model = genai.GenerativeModel.from_cached_content(cache)
        assert model.generate_content("hi").text
    # Its own name chooses Vertex AI, without the backend.
    assert caching.CachedContent.get(cache.name).display_name == "mine"
    genai.GenerativeModel.from_cached_content(cache).generate_content("hi")
    cache.delete()
    assert {r.status for r in server.requests} == {"OK"}
    assert {r.auth for r in server.requests} == {"oauth"}


def weather(city: str) -> str:
    """The weather of a city."""
    return f"fine in {city}"


def test_function_calling(server: GeminiServer) -> None:
    """Automatic, and by hand; histories may be copied and pickled on the way."""
    server.respond(ENDPOINT, {"candidates": [{"content": {"role": "model", "parts": [
        {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}]},
        "finishReason": "STOP"}]})  # fmt: skip
    model = genai.GenerativeModel("tunedModels/mine", tools=[weather])
    answer = model.generate_content("How is it in Oslo?")
    call = answer.candidates[0].content.parts[0].function_call
    assert (call.name, dict(call.args)) == ("weather", {"city": "Oslo"})
    chat: Any = model.start_chat(enable_automatic_function_calling=False)
    chat.send_message("How is it in Oslo?")
    server.respond(ENDPOINT, "It is fine.")
    chat.history[:] = pickle.loads(pickle.dumps(copy.deepcopy(chat.history)))  # noqa: S301
    reply = genai.protos.Part(
        function_response={"name": "weather", "response": {"result": weather("Oslo")}}
    )
    assert chat.send_message(reply).text == "It is fine."
    assert {r.status for r in server.requests} == {"OK"}


class TestScopes:
    def test_tuned_models_looks_for_what_vertex_takes(self, server: GeminiServer) -> None:
        """One scope; without credentials the remedy asks for no other."""
        with tuned_models():
            genai.GenerativeModel("tunedModels/mine").generate_content("hi")
        assert server.requests[-1].scopes == {CLOUD_PLATFORM}
        safe_configure(credentials=genai_config.UNSET)
        with pytest.raises(CredentialsNotFoundError) as caught, tuned_models():
            pytest.fail("there are no credentials")
        assert "generative-language" not in str(caught.value)

    def test_base_models_on_vertex(self, server: GeminiServer) -> None:
        """OAuth, although there is a key."""
        with base_models(backend="vertex"):
            genai.GenerativeModel(MODEL).generate_content("hi")
        assert told(server) == [("rest", "oauth", PUBLISHED, "OK")]
        with (
            pytest.raises(CredentialsNotFoundError),
            base_models(backend="vertex", credentials=genai_config.UNSET),
        ):
            pytest.fail("there are no credentials")

    def test_tenants(self, server: GeminiServer) -> None:
        """Each thread its own credentials, project and endpoint."""
        names = [f"tenant-{number}" for number in range(6)]
        infos = {name: server.service_account_info(name) for name in names}

        def ask(name: str) -> None:
            endpoint = f"projects/{name}/locations/europe-west4/endpoints/9"
            mine = {"tunedModels/mine": endpoint}
            with override(credentials=infos[name], tuned_endpoints=mine):
                for _ in range(5):
                    genai.GenerativeModel("tunedModels/mine").generate_content("hi")

        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(ask, names))
        seen = {(who(r), r.resource) for r in server.requests}
        assert seen == {(n, f"projects/{n}/locations/europe-west4/endpoints/9") for n in names}

    def test_a_pinned_model_stays(self, server: GeminiServer) -> None:
        """What was in force when it was made: the endpoint, and who asks."""
        model: Any = generative_model("tunedModels/mine")
        safe_configure(
            tuned_endpoints={"tunedModels/mine": "789"},
            credentials=server.service_account_info("someone-else"),
        )
        model.generate_content("hi")
        genai.GenerativeModel("tunedModels/mine").generate_content("hi")
        assert [(who(r), r.resource) for r in server.requests] == [
            ("workload", ENDPOINT), ("someone-else", f"{PARENT}/endpoints/789"),
        ]  # fmt: skip

    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_the_project_of_the_credentials(
        self, server: GeminiServer, *, asynchronous: bool
    ) -> None:
        """Where none is configured; the event loop is left free meanwhile."""
        safe_configure(project=genai_config.UNSET)
        info = server.service_account_info("workload")
        model = genai.GenerativeModel("tunedModels/mine")
        if asynchronous:
            asyncio.run(model.generate_content_async("hi"))
        else:
            model.generate_content("hi")
        expected = ENDPOINT.replace("my-project", info["project_id"])
        assert server.requests[-1].resource == expected

    def test_each_service_its_own_endpoint(self, server: GeminiServer) -> None:
        """A token for Vertex AI does not go to the Gemini API's gateway, nor the other way."""
        safe_configure(client_options={"api_endpoint": "gateway.invalid"})
        genai.GenerativeModel("tunedModels/mine").generate_content("hi")
        assert len(server.requests) == 1
        safe_configure(
            client_options={"api_endpoint": server.grpc_endpoint}, vertex_endpoint="vertex.invalid"
        )
        genai.GenerativeModel(MODEL).generate_content("hi")
        assert server.requests[-1].auth == "api_key"
        with pytest.raises(errors.ServiceUnavailable):
            genai.GenerativeModel("tunedModels/mine").generate_content("hi", request_options=ONCE)
        assert len(server.requests) == 2


class TestLoopsAndProcesses:
    def test_three_event_loops(self) -> None:
        """One model, one loop after another."""
        model = genai.GenerativeModel("tunedModels/mine")
        for _ in range(3):
            assert asyncio.run(model.generate_content_async("hi")).text == "tuned"

    async def test_cancelling(self, server: GeminiServer) -> None:
        """Whoever is cancelled is let go at once."""
        server.hang()
        task = asyncio.create_task(
            genai.GenerativeModel("tunedModels/mine").generate_content_async("hi")
        )
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)
        server.release()

    @pytest.mark.filterwarnings("ignore:This process")
    def test_a_forked_child(self, server: GeminiServer) -> None:
        """It asks over connections of its own."""
        context = multiprocessing.get_context("fork")
        told = context.SimpleQueue()

        def ask() -> None:
            told.put(genai.GenerativeModel("tunedModels/mine").generate_content("hi").text)

        ask()
        process = context.Process(target=ask)
        process.start()
        process.join(30)
        assert [told.get(), told.get()] == ["tuned", "tuned"]
        first, second = (request.connection for request in server.requests)
        assert first != second


def test_moving_a_tuned_model_by_one_setting(server: GeminiServer) -> None:
    """What docs/tuned-on-vertex.md shows: the same code before and after."""
    server._service.behaviour.models.tuning = "ended"
    safe_configure(tuned_endpoints=genai_config.UNSET)

    def unchanged() -> str:
        return str(genai.GenerativeModel("tunedModels/gone").generate_content("hi").text)

    with pytest.raises(errors.NotFound):
        unchanged()
    safe_configure(tuned_endpoints={"tunedModels/gone": ENDPOINT})
    assert unchanged() == "tuned"
    assert get_config().tuned_endpoints == (("tunedModels/gone", ENDPOINT),)
    assert [r.status for r in server.requests] == ["NOT_FOUND", "OK"]
