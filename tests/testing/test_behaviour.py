from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from google.ai import generativelanguage_v1beta as glm
from google.api_core import exceptions
from google.longrunning import operations_pb2

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

BASE = "models/gemini-3.6-flash"
PROMPT = [{"parts": [{"text": "hi there"}]}]
REQUEST = glm.GenerateContentRequest(model=BASE, contents=PROMPT)


@pytest.fixture
def key(server: GeminiServer) -> Any:
    """A key as metadata."""
    return [("x-goog-api-key", server.api_key())]


@pytest.fixture
def person(server: GeminiServer, fetch: Any) -> Any:
    """A person's token and quota project as metadata."""
    token = fetch(server.user_credentials())
    return [("authorization", f"Bearer {token}"), ("x-goog-user-project", "mine")]


def over_grpc(client: Any, channel: Any) -> Any:
    """A client of the SDK on a channel."""
    return client(transport=client.get_transport_class("grpc")(channel=channel))


def text(response: Any) -> str:
    """The text of an answer."""
    return str(response.candidates[0].content.parts[0].text)


def test_stream(server: GeminiServer, wire: Any, key: Any) -> None:
    """A stream comes in chunks."""
    client = wire.client("GenerativeService")
    chunks = [text(one) for one in client.stream_generate_content(REQUEST, metadata=key)]
    assert chunks == ["Hello ", "from ", BASE]
    server.respond("gemini-3.6-flash", ["a", "b"])
    chunks = [text(one) for one in client.stream_generate_content(REQUEST, metadata=key)]
    assert chunks == ["a", "b"]
    server.respond("gemini-3.6-flash", [])
    assert list(client.stream_generate_content(REQUEST, metadata=key)) == []


def test_programmed(server: GeminiServer, wire: Any, key: Any) -> None:
    """Answers are texts, functions of the request, or errors."""
    client = wire.client("GenerativeService")
    server.respond("*", lambda request: request.contents[0].parts[0].text.upper())
    assert text(client.generate_content(REQUEST, metadata=key)) == "HI THERE"
    server.respond(BASE, "")
    assert text(client.generate_content(REQUEST, metadata=key)) == ""
    server.respond(BASE, exceptions.NotFound("gone"))
    with pytest.raises(exceptions.NotFound, match="gone"):
        client.generate_content(REQUEST, metadata=key)
    server.respond(BASE, ["a", ValueError("secret")])
    with pytest.raises(exceptions.InternalServerError) as caught:
        client.generate_content(REQUEST, metadata=key)
    assert "secret" not in str(caught.value)


def test_programmed_function_fails(
    server: GeminiServer, wire: Any, key: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A function that raises is an internal error, and logged."""
    server.respond(BASE, lambda _: {}["missing"])  # type: ignore[index]  # that is the point
    with pytest.raises(exceptions.InternalServerError):
        wire.client("GenerativeService").generate_content(REQUEST, metadata=key)
    assert "KeyError" in caplog.text
    assert [type(error) for error in server.errors] == [KeyError]
    server.errors.clear()


def test_programmed_nonsense(server: GeminiServer, wire: Any, key: Any) -> None:
    """An answer that is no answer is an internal error, not a dead connection."""
    server.respond(BASE, lambda _: [b"bytes"])
    with pytest.raises(exceptions.InternalServerError):
        wire.client("GenerativeService").generate_content(REQUEST, metadata=key)
    assert server.requests[0].status == "INTERNAL"
    server.errors.clear()


def test_stream_breaks(server: GeminiServer, channel: Any, key: Any) -> None:
    """A stream can break in the middle."""
    server.respond(BASE, ["a", exceptions.ServiceUnavailable("gone")])
    client = over_grpc(glm.GenerativeServiceClient, channel)
    stream = client.stream_generate_content(REQUEST, metadata=key)
    assert text(next(stream)) == "a"
    with pytest.raises(exceptions.ServiceUnavailable):
        next(stream)


def test_rest_stream(server: GeminiServer, http: requests.Session) -> None:
    """Over REST a stream is a JSON array or server-sent events, and may end in an error."""
    url = f"https://{server.rest_endpoint}/v1beta/{BASE}:streamGenerateContent"
    server.respond(BASE, ["a", ValueError()])
    query = {"key": server.api_key()}
    parts = http.post(url, params=query, json={}).json()
    assert parts[0]["candidates"][0]["content"]["parts"] == [{"text": "a"}]
    assert parts[1]["error"]["code"] == 500
    events = http.post(url, params={**query, "alt": "sse"}, json={})
    assert events.headers["content-type"].startswith("text/event-stream")
    assert [json.loads(one[6:]) for one in events.text.split("\r\n\r\n")[:-1]] == parts
    server.respond(BASE, "b")
    events = http.post(url, params={**query, "alt": "sse"}, json={})
    assert events.text.count("data: ") == 1
    assert server.requests[0].headers["?key"] == "***"


def test_rest_refusals(server: GeminiServer, http: requests.Session) -> None:
    """An unknown URL is not found; unknown fields are an invalid argument."""
    base = f"https://{server.rest_endpoint}/v1beta"
    assert http.get(f"{base}/nothing").json()["error"]["status"] == "NOT_FOUND"
    headers = {"x-goog-api-key": server.api_key()}
    url = f"{base}/{BASE}:generateContent"
    assert http.post(url, json={"x": 1}, headers=headers).status_code == 400
    for query in ("nothing=1", "nothing.more=1", "page_size=x"):
        assert http.get(f"{base}/models?{query}", headers=headers).status_code == 400
    assert http.get(f"{base}/models?pageSize=2", headers=headers).json()["nextPageToken"] == "2"
    url = f"{base}/cachedContents"
    assert http.post(url, json={"nothing": 1}, headers=headers).status_code == 400


def test_fail(server: GeminiServer, wire: Any, key: Any) -> None:
    """The next requests fail, then all is well."""
    client = wire.client("GenerativeService")
    server.fail(1, "RESOURCE_EXHAUSTED", "slow down", "RATE_LIMIT_EXCEEDED")
    with pytest.raises(exceptions.TooManyRequests, match="slow down") as caught:
        client.generate_content(REQUEST, metadata=key, retry=None)
    assert "RATE_LIMIT_EXCEEDED" in str(caught.value._error_info)
    assert client.generate_content(REQUEST, metadata=key).candidates
    with pytest.raises(ValueError, match="NONSENSE"):
        server.fail(1, "NONSENSE")


@pytest.mark.parametrize(
    ("status", "text"),
    [("RESOURCE_EXHAUSTED", "quota"), ("UNAVAILABLE", "unavailable"), ("ABORTED", "ABORTED")],
)
def test_what_a_failure_says(
    server: GeminiServer, wire: Any, key: Any, status: str, text: str
) -> None:
    """Its own words fit the status."""
    server.fail(1, status)
    with pytest.raises(exceptions.GoogleAPICallError, match=text):
        wire.client("GenerativeService").generate_content(REQUEST, metadata=key, retry=None)


def test_hang(server: GeminiServer, wire: Any, key: Any) -> None:
    """Requests wait until they are released."""
    client = wire.client("GenerativeService")
    server.hang()
    with pytest.raises((exceptions.DeadlineExceeded, requests.ReadTimeout)):
        client.generate_content(REQUEST, metadata=key, timeout=0.05, retry=None)
    server.release()
    assert client.generate_content(REQUEST, metadata=key).candidates


def test_numbers(wire: Any, key: Any) -> None:
    """Counting and embedding are deterministic."""
    client = wire.client("GenerativeService")
    assert client.count_tokens(model=BASE, contents=PROMPT, metadata=key).total_tokens == 2
    model = "models/gemini-embedding-2"
    one = client.embed_content(model=model, content=PROMPT[0], metadata=key).embedding
    many = client.batch_embed_contents(
        model=model, requests=[{"model": model, "content": PROMPT[0]}], metadata=key
    )
    assert many.embeddings[0] == one
    answer = client.generate_answer({"model": "models/aqa", "contents": PROMPT}, metadata=key)
    assert answer.answer.content.parts[0].text == "Hello from models/aqa"


def test_models(wire: Any, key: Any) -> None:
    """Base models can be listed and looked at."""
    client = wire.client("ModelService")
    names = [model.name for model in client.list_models({"page_size": 2}, metadata=key)]
    assert len(names) == 6
    assert client.get_model(name=BASE, metadata=key).base_model_id in BASE
    with pytest.raises(exceptions.NotFound):
        client.get_model(name="models/none", metadata=key)


def create(client: Any, metadata: Any, **fields: Any) -> Any:
    """Starts tuning."""
    request = {"tuned_model": {"base_model": BASE, **fields}}
    return client.create_tuned_model(request, metadata=metadata)


def test_tuning(wire: Any, person: Any) -> None:
    """Tuning is an operation that advances, and ends in a model that can be kept up."""
    client = wire.client("ModelService")
    if not hasattr(client, "get_operation"):  # pragma: no cover  # up to 0.6.10
        pytest.skip("this version's clients have no operations")
    name = create(client, person, display_name="My Model").operation.name
    assert name == "tunedModels/my-model/operations/create"
    request = {"name": name}
    first = client.get_operation(request, metadata=person)
    assert not first.done
    progress = glm.CreateTunedModelMetadata.pb()()
    first.metadata.Unpack(progress)
    assert progress.completed_percent == 50
    last = client.get_operation(request, metadata=person)
    assert last.done
    tuned = glm.TunedModel.pb()()
    last.response.Unpack(tuned)
    assert tuned.state == glm.TunedModel.State.ACTIVE
    listing = client.list_operations({"name": "tunedModels/my-model"}, metadata=person)
    assert [one.name for one in listing.operations] == [name]
    tuned_name = "tunedModels/my-model"
    changed = client.update_tuned_model(
        tuned_model={"name": tuned_name, "description": "d", "display_name": "ignored"},
        update_mask={"paths": ["description"]},
        metadata=person,
    )
    assert (changed.description, changed.display_name) == ("d", "My Model")
    assert client.get_tuned_model(name=tuned_name, metadata=person) == changed
    client.delete_tuned_model(name=tuned_name, metadata=person)
    with pytest.raises(exceptions.NotFound):
        client.get_tuned_model(name=tuned_name, metadata=person)
    with pytest.raises(exceptions.NotFound):
        client.get_operation({"name": "tunedModels/none/operations/x"}, metadata=person)


def test_pages(wire: Any, person: Any) -> None:
    """Lists come in pages."""
    client = wire.client("ModelService")
    for _ in range(3):
        create(client, person, display_name="same")
    pager = client.list_tuned_models({"page_size": 2}, metadata=person)
    assert [len(page.tuned_models) for page in pager.pages] == [2, 1]
    with pytest.raises(exceptions.BadRequest):
        client.list_tuned_models({"page_token": "x"}, metadata=person)
    name = "tunedModels/same"
    with pytest.raises(exceptions.Conflict):
        create(client, person, name=name)


def test_operations(server: GeminiServer, channel: Any, person: Any) -> None:
    """Operations can be waited for, cancelled and deleted."""
    client = over_grpc(glm.ModelServiceClient, channel)
    stub = operations_pb2.OperationsStub(channel)
    names = [create(client, person).operation.name for _ in range(2)]
    wait = operations_pb2.WaitOperationRequest(name=names[0])
    assert stub.WaitOperation(wait, metadata=person).done
    cancel = operations_pb2.CancelOperationRequest
    for name in names:
        stub.CancelOperation(cancel(name=name), metadata=person)
    get = operations_pb2.GetOperationRequest
    assert not stub.GetOperation(get(name=names[0]), metadata=person).HasField("error")
    assert stub.GetOperation(get(name=names[1]), metadata=person).error.code == 1
    stub.DeleteOperation(operations_pb2.DeleteOperationRequest(name=names[1]), metadata=person)
    with pytest.raises(Exception, match="does not exist"):
        stub.CancelOperation(cancel(name=names[1]), metadata=person)
    with pytest.raises(Exception, match="does not exist"):
        stub.WaitOperation(operations_pb2.WaitOperationRequest(name=names[1]), metadata=person)
    assert server.requests[-1].resource == names[1]


def test_stores(wire: Any, key: Any, person: Any) -> None:
    """Corpora and what is in them, permissions, caches and files have state."""
    retriever = wire.client("RetrieverService")
    corpus = retriever.create_corpus({"corpus": {"display_name": "c"}}, metadata=person)
    other = retriever.create_corpus({"corpus": {"name": "corpora/other"}}, metadata=person)
    document = retriever.create_document({"parent": corpus.name, "document": {}}, metadata=person)
    assert document.name.startswith(f"{corpus.name}/documents/")
    assert list(retriever.list_documents({"parent": corpus.name}, metadata=person)) == [document]
    assert list(retriever.list_corpora(metadata=person)) == [corpus, other]
    assert not retriever.query_corpus({"name": corpus.name}, metadata=person).relevant_chunks
    permissions = wire.client("PermissionService")
    permission = permissions.create_permission(
        parent=corpus.name, permission={"role": "READER"}, metadata=person
    )
    permission.role = glm.Permission.Role.WRITER
    changed = permissions.update_permission(
        permission=permission, update_mask={"paths": ["role"]}, metadata=person
    )
    assert changed.role == glm.Permission.Role.WRITER
    retriever.delete_corpus({"name": corpus.name, "force": True}, metadata=person)
    with pytest.raises(exceptions.NotFound):
        permissions.get_permission(name=permission.name, metadata=person)
    caches = wire.client("CacheService")
    cached = caches.create_cached_content(cached_content={"model": BASE}, metadata=key)
    assert caches.get_cached_content(name=cached.name, metadata=key) == cached
    files = wire.client("FileService")
    created = files.create_file({"file": {"display_name": "f"}}, metadata=key).file
    assert list(files.list_files(metadata=key)) == [created]


def test_update_without_mask(channel: Any, key: Any) -> None:
    """An update without a mask merges what is set."""
    client = over_grpc(glm.CacheServiceClient, channel)
    cached = client.create_cached_content(cached_content={"model": BASE}, metadata=key)
    change = {"name": cached.name, "display_name": "d"}
    changed = client.update_cached_content({"cached_content": change}, metadata=key)
    assert (changed.model, changed.display_name) == (BASE, "d")
