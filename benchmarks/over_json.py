"""What JSON over HTTP costs: Vertex AI against google-genai, REST against the SDK's own."""

from __future__ import annotations

import math
import os
import ssl
import time
from typing import TYPE_CHECKING, Any

from benchmarks.local import BASE, a_request
from benchmarks.measure import compare, timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.local import Server
    from benchmarks.measure import Row

CHUNKS = 200
STREAMED = "gemini-3.8-flash"
_PLACE: Any = {"project": "my-project", "location": "us-central1"}


def over_json(server: Server, key: str) -> Iterator[Row]:
    """CPU time of one call, and of one stream; the server's is its own process's."""
    import google.generativeai as old
    from google import genai as new
    from google.generativeai import client as client_lib

    from genai_config import override, safe_configure

    info = server.info
    server.ask(model=STREAMED, chunks=["some words "] * CHUNKS)
    safe_configure(
        api_key=key,
        ca_certs=info["ca"],
        client_options={"api_endpoint": info["rest"]},
        vertex_endpoint=info["rest"],
        transport="rest",
        **_PLACE,
    )
    trust = {"verify": ssl.create_default_context(cafile=info["ca"])}
    options = new.types.HttpOptions(base_url=f"https://{info['rest']}", client_args=trust)
    theirs = new.Client(vertexai=True, http_options=options, **_PLACE)
    name = BASE.rpartition("/")[2]
    base, client = old.GenerativeModel(BASE), client_lib.get_default_generative_client()
    request = a_request(f"models/{STREAMED}")

    def their_stream() -> None:
        for chunk in theirs.models.generate_content_stream(model=STREAMED, contents="hi"):
            assert chunk.candidates

    with override(backend="vertex"):
        yield timed(
            "a call on Vertex AI, CPU", "google-genai",
            compare(
                lambda: base.generate_content("hi").text,
                lambda: theirs.models.generate_content(model=name, contents="hi").text,
                calls=40, clock=time.process_time,
            ),
            1.3,
        )  # fmt: skip

        def stream() -> None:
            for chunk in client.stream_generate_content(request):
                assert chunk.candidates

        yield timed(
            f"a stream of {CHUNKS} chunks on Vertex AI, CPU", "google-genai",
            compare(stream, their_stream, calls=10, clock=time.process_time), 0.6,
        )  # fmt: skip
    yield from _joined(info, key, their_stream)
    bare = _bare(BASE, key, info, "rest")
    yield timed(
        "a call on the Gemini API over REST, CPU", "the SDK's REST transport",
        compare(
            lambda: base.generate_content("hi").text,
            lambda: bare.generate_content("hi").text,
            calls=40, clock=time.process_time,
        ),
        1,
    )  # fmt: skip


def _joined(info: dict[str, Any], key: str, their_stream: Callable[[], None]) -> Iterator[Row]:
    """The same stream through GenerativeModel, which joins the chunks anew for each of them."""
    import google.generativeai as old

    from genai_config import override

    def reading(model: Any) -> Callable[[], None]:
        def read() -> None:
            for chunk in model.generate_content("hi", stream=True):
                assert chunk.candidates

        return read

    ours, what = reading(old.GenerativeModel(STREAMED)), "… through `GenerativeModel`, CPU"
    against = {
        "google-genai": (their_stream, None),
        "bare SDK's `GenerativeModel`, Gemini API, gRPC": (
            reading(_bare(STREAMED, key, info, "grpc")), 1.2,
        ),
        "bare SDK's `GenerativeModel`, Gemini API, REST": (
            reading(_bare(STREAMED, key, info, "rest")), 0.6,
        ),
    }  # fmt: skip
    with override(backend="vertex"):
        for name, (theirs, bound) in against.items():
            ratio = compare(ours, theirs, calls=3, clock=time.process_time)
            row = timed(what, name, ratio, bound or math.inf)
            yield row if bound else row._replace(bound="–")


def _bare(model: str, key: str, info: dict[str, Any], transport: str) -> Any:
    """A model whose client is the bare SDK's."""
    import google.generativeai as old
    from google.generativeai import client as client_lib

    os.environ["REQUESTS_CA_BUNDLE"] = info["ca"]
    manager = client_lib._ClientManager()  # noqa: SLF001 -- the bare SDK, beside ours
    manager.configure(
        api_key=key, transport=transport, client_options={"api_endpoint": info[transport]}
    )
    bare = old.GenerativeModel(model)
    bare._client = manager.make_client("generative")  # noqa: SLF001 -- as above
    return bare
