"""What an error tracker that records local variables sees of a failed call: no key and no token."""

from __future__ import annotations

import asyncio
import reprlib
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import grpc
import pytest
from google.generativeai import client as client_lib

from genai_config import safe_configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, its causes and the errors it was raised in."""
    found = [error]
    for link in found:
        yield link
        found += [e for e in (link.__cause__, link.__context__) if e and e not in found]


def locals_of(error: BaseException) -> str:
    """The local variables of every frame that an error and its causes carry, as text."""
    show = reprlib.Repr()
    show.maxstring = show.maxother = show.maxlist = show.maxtuple = show.maxdict = 100_000
    seen: list[str] = []
    for link in chain(error):
        trace = link.__traceback__
        while trace is not None:
            # Not this test's own, which know the secrets.
            if "/tests/" not in trace.tb_frame.f_code.co_filename:
                seen += [
                    f"{name}={show.repr(value)} {value!r}"
                    for name, value in trace.tb_frame.f_locals.items()
                ]
            trace = trace.tb_next
    assert seen
    return "\n".join(seen)


def sync(model: str) -> Any:
    """One answer."""
    return genai.GenerativeModel(model).generate_content("hi")


def streamed(model: str) -> Any:
    """An answer in chunks."""
    return list(genai.GenerativeModel(model).generate_content("hi", stream=True))


def awaited(model: str) -> Any:
    """One answer, awaited."""
    return asyncio.run(genai.GenerativeModel(model).generate_content_async("hi"))


def awaited_stream(model: str) -> Any:
    """An answer in chunks, awaited."""

    async def ask() -> list[Any]:
        asked = genai.GenerativeModel(model).generate_content_async("hi", stream=True)
        return [chunk async for chunk in await asked]

    return asyncio.run(ask())


@pytest.fixture(params=["grpc", "rest"])
def secrets(request: pytest.FixtureRequest, server: GeminiServer) -> tuple[str, str]:
    """A key and a token, both in force, over each transport."""
    key, user = server.api_key(), server.user_credentials(quota_project="mine")
    rest = request.param == "rest"
    safe_configure(
        api_key=key,
        credentials=user,
        transport=request.param,
        tuned_transport=request.param,
        ca_certs=server.ca_file,
        timeout=10,
        client_options={"api_endpoint": server.rest_endpoint if rest else server.grpc_endpoint},
    )
    sync(TUNED)
    return key, user.token.rpartition(".")[2]


@pytest.mark.parametrize("asking", [sync, streamed, awaited, awaited_stream])
@pytest.mark.parametrize("status", ["PERMISSION_DENIED", "UNAUTHENTICATED", "UNAVAILABLE"])
@pytest.mark.parametrize("model", [BASE, TUNED])
def test_a_refused_call(
    server: GeminiServer,
    secrets: tuple[str, str],
    asking: Callable[[str], Any],
    status: str,
    model: str,
) -> None:
    """In whatever way it was made, and whatever the service said."""
    safe_configure(timeout=1)
    server.fail(20, status=status)
    with pytest.raises(Exception, match=r".") as caught:
        asking(model)
    shown = locals_of(caught.value)
    assert not any(secret in shown for secret in secrets)


@pytest.mark.parametrize("asking", [sync, awaited])
def test_no_connection(secrets: tuple[str, str], asking: Callable[[str], Any]) -> None:
    """Where nobody listens the HTTP library's own errors have a cause, and that has another."""
    safe_configure(timeout=1, client_options={"api_endpoint": "localhost:1"})
    with pytest.raises(Exception, match=r".") as caught:
        asking(BASE)
    shown = locals_of(caught.value)
    assert not any(secret in shown for secret in secrets)


@pytest.mark.skipif(
    int(grpc.__version__.split(".")[1]) < 70, reason="older gRPC keeps the headers in its own error"
)
def test_metadata_that_cannot_be_sent(secrets: tuple[str, str]) -> None:
    """The libraries' own error quotes all the headers there are."""
    client = client_lib.get_default_generative_client()
    with pytest.raises(Exception, match=r".") as caught:
        client.count_tokens(model=f"models/{BASE}", metadata=[("x-bad", "a\nb")])
    shown = locals_of(caught.value) + "".join(map(repr, chain(caught.value)))
    assert not any(secret in shown for secret in secrets)
