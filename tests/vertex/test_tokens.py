"""Tokens on Vertex AI: refused before a call, revoked in a stream; whose quota is used."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import grpc
import pytest
from google.api_core import exceptions as errors

from genai_config import override, safe_configure
from genai_config._routing.decision import CLOUD_PLATFORM
from genai_config.exceptions import TokenRefreshError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"
PARENT = "projects/my-project/locations/us-central1"
ENDPOINT = f"{PARENT}/endpoints/456"


@pytest.fixture(autouse=True)
def user(pointed: GeminiServer) -> Any:
    """End-user credentials, whose tokens the server gives out."""
    credentials = pointed.user_credentials([CLOUD_PLATFORM], name="someone")
    safe_configure(credentials=credentials, quota_project="my-project")
    return credentials


def statuses(server: GeminiServer) -> list[str]:
    """What became of each request, in the order of their answers."""
    return [request.status for request in server.requests]


@pytest.mark.parametrize("count", [1, 20])
def test_a_storm_of_refusals_is_one_refresh(server: GeminiServer, count: int) -> None:
    """However many threads hear 401 at once; each is made again, and answered."""
    model = genai.GenerativeModel("tunedModels/mine")
    model.generate_content("hi")
    fetched = server.tokens.count
    server.expire_tokens()
    start = threading.Barrier(count)

    def ask(_: int) -> str:
        start.wait()
        return str(model.generate_content("hi").text)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        assert set(pool.map(ask, range(count))) == {"tuned"}
    assert server.tokens.count == fetched + 1


async def streamed(*, asynchronous: bool, seen: list[str] | None = None) -> list[str]:
    """The answers of the tuned model, one by one; `seen` has them even if the stream fails."""
    model = genai.GenerativeModel("tunedModels/mine")
    seen = [] if seen is None else seen
    if asynchronous:
        async for chunk in await model.generate_content_async("hi", stream=True):
            seen.append(chunk.text)
    else:
        for chunk in model.generate_content("hi", stream=True):
            seen.append(chunk.text)
    return seen


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_token_that_is_refused_before_a_stream(
    server: GeminiServer, *, asynchronous: bool
) -> None:
    """It starts once more, with a new token."""
    genai.GenerativeModel("tunedModels/mine").generate_content("hi")
    server.expire_tokens()
    assert await streamed(asynchronous=asynchronous) == ["tuned"]
    assert statuses(server) == ["OK", "UNAUTHENTICATED", "OK"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_stream_that_is_refused_twice(server: GeminiServer, *, asynchronous: bool) -> None:
    """It is not started a third time."""
    server.fail(5, "UNAUTHENTICATED", "Invalid credentials.")
    with pytest.raises(errors.Unauthenticated, match="Invalid credentials"):
        await streamed(asynchronous=asynchronous)
    assert statuses(server) == ["UNAUTHENTICATED"] * 2


def revoking(server: GeminiServer, then: Any) -> Callable[[Any], Iterator[Any]]:
    """An answer during which all tokens expire: one chunk before that, one after it."""

    def answer(_: Any) -> Iterator[Any]:
        yield "one "
        server.expire_tokens()
        yield then

    return answer


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_token_that_is_revoked_in_a_stream(
    server: GeminiServer, *, asynchronous: bool
) -> None:
    """A stream that has begun goes on if the service lets it; the next call has a new token."""
    server.respond(ENDPOINT, revoking(server, "two"))
    assert await streamed(asynchronous=asynchronous) == ["one ", "two"]
    assert statuses(server) == ["OK"]
    server.respond(ENDPOINT, "tuned")
    assert await streamed(asynchronous=asynchronous) == ["tuned"]
    assert statuses(server) == ["OK", "UNAUTHENTICATED", "OK"]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_stream_that_ends_with_its_token(
    server: GeminiServer, *, asynchronous: bool
) -> None:
    """It fails with the service's words, and is not replayed: a part of it has been given."""
    refusal = errors.Unauthenticated("The token was revoked.")
    server.respond(ENDPOINT, revoking(server, refusal))
    seen: list[str] = []
    with pytest.raises(errors.Unauthenticated, match="The token was revoked") as caught:
        await streamed(asynchronous=asynchronous, seen=seen)
    assert seen == ["one "]
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert statuses(server) == ["OK"]
    server.respond(ENDPOINT, "tuned")
    assert await streamed(asynchronous=asynchronous) == ["tuned"]


async def test_tasks(server: GeminiServer) -> None:
    """The same with tasks."""
    model = genai.GenerativeModel("tunedModels/mine")
    await model.generate_content_async("hi")
    fetched = server.tokens.count
    server.expire_tokens()
    answers = await asyncio.gather(*(model.generate_content_async("hi") for _ in range(20)))
    assert {answer.text for answer in answers} == {"tuned"}
    assert server.tokens.count == fetched + 1


def test_a_revoked_login(server: GeminiServer) -> None:
    """It is the token endpoint's refusal, at once."""
    model = genai.GenerativeModel("tunedModels/mine")
    model.generate_content("hi")
    server.revoke("someone")
    with pytest.raises(TokenRefreshError):
        model.generate_content("hi")


def test_the_quota_project(server: GeminiServer) -> None:
    """It travels with each request, a tenant's own with the tenant's."""
    model = genai.GenerativeModel("tunedModels/mine")
    model.generate_content("hi")
    with override(quota_project="another-project", backend="vertex"):
        model.generate_content("hi")
        genai.GenerativeModel(MODEL).count_tokens("hi")
    named = [request.headers["x-goog-user-project"] for request in server.requests]
    assert named == ["my-project", "another-project", "another-project"]
