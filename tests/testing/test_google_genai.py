from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genai_config.testing import GeminiServer

genai: Any = pytest.importorskip("google.genai", reason="the SDK's successor is not installed")

MODEL = "gemini-3.6-flash"
HELLO = "Hello from models/gemini-3.6-flash"


@pytest.fixture(params=["v1", "v1beta"])
def client(request: pytest.FixtureRequest, server: GeminiServer) -> Iterator[Any]:
    """The successor's client, with a key, for both versions of the API."""
    trust = {"verify": ssl.create_default_context(cafile=str(server.ca_file))}
    options = genai.types.HttpOptions(
        base_url=f"https://{server.rest_endpoint}",
        api_version=request.param,
        client_args=trust,
        async_client_args=trust,
    )
    made = genai.Client(api_key=server.api_key(), http_options=options)
    yield made
    made.close()


def test_models(server: GeminiServer, client: Any) -> None:
    """It generates, streams, embeds, counts and lists."""
    models = client.models
    assert models.generate_content(model=MODEL, contents="hi").text == HELLO
    stream = models.generate_content_stream(model=MODEL, contents="hi")
    assert "".join(chunk.text for chunk in stream) == HELLO
    vectors = models.embed_content(model="gemini-embedding-2", contents=["hi"]).embeddings
    assert len(vectors[0].values) == 3072
    assert models.count_tokens(model=MODEL, contents="hi there").total_tokens == 2
    assert f"models/{MODEL}" in [one.name for one in models.list(config={"page_size": 2})]
    assert {one.status for one in server.requests} == {"OK"}
    assert {one.identity for one in server.requests} == {"key-1"}


def test_refused(server: GeminiServer, client: Any) -> None:
    """It is refused as others are."""
    server.revoke("key-1")
    with pytest.raises(genai.errors.ClientError, match="API key not valid"):
        client.models.generate_content(model=MODEL, contents="hi")


def test_files(client: Any, tmp_path: Path) -> None:
    """It uploads with the newer of the two protocols."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"abc")
    file = client.files.upload(file=path)
    assert (file.size_bytes, file.mime_type) == (3, "text/plain")
    assert client.files.get(name=file.name).uri == file.uri


async def test_async(client: Any) -> None:
    """Its async half works as well."""
    response = await client.aio.models.generate_content(model=MODEL, contents="hi")
    assert response.text == HELLO
    await client.aio.aclose()
