"""What the service says of a key is told without the key, on every way a call is sent."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import google.ai.generativelanguage as glm
import google.generativeai as genai
import grpc
import openai as original
import pytest
from google.api_core.exceptions import GoogleAPICallError, PermissionDenied
from google.generativeai import client as client_lib
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2 as details

from genai_config import openai, safe_configure
from genai_config._masking import MASK, mask_exception
from genai_config._sdk.methods import AsyncMethod, Method

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"


def shown(error: BaseException) -> str:
    """All that an error and those it came from show of themselves."""
    texts, waiting = [], [error]
    for one in waiting:
        texts += [str(one), repr(one), *getattr(one, "__notes__", ())]
        texts += [f"{getattr(one, name, '')}" for name in ("message", "errors", "_details")]
        texts += [repr(vars(vars(one).get("_state", one)).get("details"))]
        if isinstance(one, grpc.RpcError):
            call: Any = one
            texts += [repr(call.trailing_metadata()), repr(call.initial_metadata())]
        for response in (getattr(one, "response", None), getattr(one, "content", None)):
            texts += [repr(getattr(response, "content", response))]
        waiting += [e for e in (one.__cause__, one.__context__) if e and e not in waiting]
    return "\n".join(texts)


def sync() -> Any:
    """One answer."""
    return genai.GenerativeModel(MODEL).generate_content("hi")


def streamed() -> Any:
    """An answer in chunks."""
    return list(genai.GenerativeModel(MODEL).generate_content("hi", stream=True))


def awaited() -> Any:
    """One answer, awaited."""
    return asyncio.run(genai.GenerativeModel(MODEL).generate_content_async("hi"))


def streamed_async() -> Any:
    """An answer in chunks, awaited."""

    async def ask() -> Any:
        stream = await genai.GenerativeModel(MODEL).generate_content_async("hi", stream=True)
        return [chunk async for chunk in stream]

    return asyncio.run(ask())


@pytest.fixture(params=["grpc", "rest"])
def key(request: pytest.FixtureRequest, server: GeminiServer) -> str:
    """A key that is in force, over each transport."""
    transport: Literal["grpc", "rest"] = request.param
    endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
    secret = server.api_key()
    safe_configure(
        api_key=secret,
        transport=transport,
        ca_certs=server.ca_file,
        client_options={"api_endpoint": endpoint},
    )
    return secret


@pytest.mark.parametrize("ask", [sync, streamed, awaited, streamed_async])
def test_an_answer_that_quotes_the_key(
    ask: Callable[[], Any], key: str, server: GeminiServer
) -> None:
    """Text, attributes, notes and causes are masked; class and code stay."""
    server.fail(
        5, status="PERMISSION_DENIED", message=f"Consumer 'api_key:{key}' has been suspended."
    )
    with pytest.raises(GoogleAPICallError) as caught:
        ask()
    assert key not in shown(caught.value)
    assert f"api_key:{MASK}" in str(caught.value)
    assert caught.value.code == 403


@pytest.mark.parametrize("ask", [streamed, streamed_async])
def test_a_stream_that_breaks_off_and_quotes_the_key(
    ask: Callable[[], Any], key: str, server: GeminiServer
) -> None:
    """An error after the first answer of a stream is told like one before it."""
    said = PermissionDenied(f"Consumer 'api_key:{key}' has been suspended.")
    server.respond(MODEL, ["one", "two", said])
    with pytest.raises(GoogleAPICallError) as caught:
        ask()
    assert key not in shown(caught.value)
    assert caught.value.code == 403


def test_over_openais_clients(server: GeminiServer) -> None:
    """So it is for OpenAI's errors, their body included."""
    secret = server.api_key()
    safe_configure(
        api_key=secret,
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.rest_endpoint},
    )
    client = openai.client(backend="gemini", max_retries=0)
    server.fail(5, status="INVALID_ARGUMENT", message=f"Invalid API key: {secret}")
    with client, pytest.raises(original.APIStatusError) as caught:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert secret not in f"{caught.value} {caught.value!r} {caught.value.body}"
    assert secret not in shown(caught.value)
    assert MASK in caught.value.response.text


def test_the_details_of_an_error() -> None:
    """DebugInfo quotes what was sent; so may every other text, however deep it stands."""
    secret = "AIzaSyMadeUpAndLongEnough0123456789"
    made = Struct()
    made.update({"quoted": secret})
    error = GoogleAPICallError(
        f"no {secret}",
        details=[
            details.DebugInfo(detail=f"key {secret}", stack_entries=[secret, "fine"]),
            details.ErrorInfo(reason="NO", metadata={"consumer": secret, "service": "fine"}),
            details.Help(links=[details.Help.Link(description=secret, url="https://fine")]),
            details.QuotaFailure(violations=[details.QuotaFailure.Violation(subject=secret)]),
            {"reason": secret, "list": [secret, ("fine", secret)]},
            details.RetryInfo(retry_delay=Duration(seconds=3)),
            made,
        ],
    )
    mask_exception(error)
    assert secret not in shown(error)
    assert str(error).count(MASK) == 10
    assert "fine" in str(error)


def test_a_body_that_is_no_text() -> None:
    """Nothing of it is kept that could hold the key; what holds none stays as it is."""
    secret = "AIzaSyMadeUpAndLongEnough0123456789"
    kept = (b"\xff\x00fine", b"plain fine")
    error = ValueError(f"\xff {secret}".encode("latin-1"), f"plain {secret}".encode(), *kept)
    mask_exception(error)
    assert error.args == (b"", f"plain {MASK}".encode(), *kept)


def test_a_call_that_says_nothing() -> None:
    """GRPC's state of a call may hold no text yet."""
    error = ValueError(SimpleNamespace(details=None, debug_error_string="AIzaSyMadeUp0123456789"))
    mask_exception(error)
    assert vars(error.args[0]) == {"details": None, "debug_error_string": MASK}


async def test_a_stream_that_is_read_by_hand(server: GeminiServer) -> None:
    """Its error is told like that of a loop over it."""
    key = server.api_key()
    safe_configure(
        api_key=key, ca_certs=server.ca_file, client_options={"api_endpoint": server.grpc_endpoint}
    )
    said = PermissionDenied(f"Consumer 'api_key:{key}' has been suspended.")
    server.respond(MODEL, ["one", said])
    request = glm.GenerateContentRequest(model=f"models/{MODEL}", contents=[{"parts": []}])
    client: Any = client_lib.get_default_generative_async_client()
    stream = await client.stream_generate_content(request)
    assert (await stream.read()).candidates
    with pytest.raises(GoogleAPICallError) as caught:
        await stream.read()
    assert key not in shown(caught.value)


async def test_a_call_past_this_librarys_client() -> None:
    """What is not sent for a configuration is sent as it is."""

    def send(request: str, **options: Any) -> tuple[str, Any]:
        return request, options["metadata"]

    async def send_async(request: str, **options: Any) -> tuple[str, Any]:
        return send(request, **options)

    def wrapped(target: Any) -> Any:
        return SimpleNamespace(
            _target=target, _retry=None, _timeout=None, _compression=None, _metadata=None
        )

    sent = Method(wrapped(send))("asked", metadata=[("a", "b")])
    assert sent == ("asked", [("a", "b")])
    assert await AsyncMethod(wrapped(send_async))("asked", metadata=[("a", "b")]) == sent
