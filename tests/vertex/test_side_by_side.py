"""The same request by the old SDK, through this library, and by google-genai: alike on the wire."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, NamedTuple

import google.generativeai as old
import pytest
from google.generativeai import caching, protos
from google.oauth2.credentials import Credentials

from genai_config import safe_configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

new = pytest.importorskip("google.genai")
types = pytest.importorskip("google.genai.types")

GEMINI = "gemini-x"
PARENT = "projects/my-project/locations/us-central1"
ENDPOINT = f"{PARENT}/endpoints/456"
PIXEL = {"mime_type": "image/png", "data": b"\x89PNG"}
WEATHER = {
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {
        "type": "OBJECT",
        "properties": {"city": {"type": "STRING", "description": "Where."}},
        "required": ["city"],
    },
}
RECIPE = {
    "type": "OBJECT",
    "properties": {
        "name": {"type": "STRING"},
        "steps": {"type": "ARRAY", "items": {"type": "STRING"}, "min_items": 1, "max_items": 9},
        "kind": {"type": "STRING", "format": "enum", "enum": ["sweet", "sour"]},
    },
    "required": ["name"],
}


class Pair(NamedTuple):
    """A request said in both ways; the message that its body is ("": JSON alone)."""

    name: str
    message: str
    ours: Callable[[], Any]
    theirs: Callable[[Any], Any]


def generate(
    name: str, config: dict[str, Any] | None = None, contents: Any = "hi", **settings: Any
) -> Pair:
    """A call of generate_content: the old SDK's settings, and google-genai's config."""
    asked = settings.pop("asked", {})
    model = settings.pop("model", GEMINI)
    said = settings.pop("said", contents)
    return Pair(
        name,
        "GenerateContentRequest",
        lambda: old.GenerativeModel(model, **settings).generate_content(said, **asked),
        lambda client: client.models.generate_content(
            model=ENDPOINT if model.startswith("tuned") else model,
            contents=contents,
            config=config and types.GenerateContentConfig(**config),
        ),
    )


def call_and_answer() -> tuple[list[Any], list[Any]]:
    """A conversation in which a function was called, in both ways."""
    args, answer = {"city": "Oslo", "days": 3}, {"degrees": 7.5, "wet": True}
    theirs = [
        types.Content(role="user", parts=[types.Part(text="How is it?")]),
        types.Content(role="model", parts=[types.Part(function_call=types.FunctionCall(
            name="weather", args=args))]),
        types.Content(role="user", parts=[types.Part(function_response=types.FunctionResponse(
            name="weather", response=answer))]),
    ]  # fmt: skip
    ours = [
        {"role": "user", "parts": ["How is it?"]},
        {"role": "model", "parts": [protos.Part(function_call=protos.FunctionCall(
            name="weather", args=args))]},
        {"role": "user", "parts": [protos.Part(function_response=protos.FunctionResponse(
            name="weather", response=answer))]},
    ]  # fmt: skip
    return ours, theirs


def cached_ours() -> Any:
    """A cache, as the old SDK has it after asking for it."""
    return caching.CachedContent.get("1")


OURS, THEIRS = call_and_answer()
PAIRS = [
    generate("a text"),
    generate("a tuned model", model="tunedModels/mine"),
    generate("a publisher's model", model="publishers/google/models/gemini-x"),
    generate("a system instruction", {"system_instruction": "Be short."},
             system_instruction="Be short."),
    generate(
        "a configuration",
        {"temperature": 0.2, "top_p": 0.9, "top_k": 40, "max_output_tokens": 99,
         "candidate_count": 2, "stop_sequences": ["END"], "presence_penalty": 0.1,
         "frequency_penalty": 0.3},
        generation_config={
            "temperature": 0.2, "top_p": 0.9, "top_k": 40, "max_output_tokens": 99,
            "candidate_count": 2, "stop_sequences": ["END"], "presence_penalty": 0.1,
            "frequency_penalty": 0.3},
    ),
    generate("log probabilities", {"response_logprobs": True, "logprobs": 3},
             generation_config={"response_logprobs": True, "logprobs": 3}),
    generate(
        "safety",
        {"safety_settings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"},
            {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]},
        safety_settings={"HARASSMENT": "BLOCK_ONLY_HIGH", "HATE_SPEECH": "BLOCK_NONE"},
    ),
    generate("a function", {"tools": [{"function_declarations": [WEATHER]}]},
             tools=[{"function_declarations": [WEATHER]}]),
    generate(
        "a function that must be called",
        {"tools": [{"function_declarations": [WEATHER]}],
         "tool_config": {"function_calling_config": {
             "mode": "ANY", "allowed_function_names": ["weather"]}}},
        tools=[{"function_declarations": [WEATHER]}],
        tool_config={"function_calling_config": {
            "mode": "ANY", "allowed_function_names": ["weather"]}},
    ),
    generate("a function's answer", {"tools": [{"function_declarations": [WEATHER]}]}, THEIRS,
             said=OURS, tools=[{"function_declarations": [WEATHER]}]),
    generate("code execution", {"tools": [{"code_execution": {}}]}, tools="code_execution"),
    generate("searching", {"tools": [{"google_search_retrieval": {}}]},
             tools="google_search_retrieval"),
    generate("JSON", {"response_mime_type": "application/json"},
             generation_config={"response_mime_type": "application/json"}),
    generate(
        "JSON by a schema",
        {"response_mime_type": "application/json", "response_schema": types.Schema(**RECIPE)},
        generation_config={
            "response_mime_type": "application/json",
            "response_schema": protos.Schema({
                "type_": "OBJECT", "required": ["name"], "properties": {
                    "name": {"type_": "STRING"},
                    "steps": {"type_": "ARRAY", "items": {"type_": "STRING"},
                              "min_items": 1, "max_items": 9},
                    "kind": {"type_": "STRING", "format_": "enum", "enum": ["sweet", "sour"]}}})},
    ),
    generate(
        "an image",
        None,
        [types.Content(role="user", parts=[
            types.Part(text="What?"), types.Part(inline_data=types.Blob(**PIXEL))])],
        said=["What?", PIXEL],
    ),
    generate(
        "a file in Cloud Storage",
        None,
        [types.Content(role="user", parts=[
            types.Part(file_data=types.FileData(mime_type="video/mp4", file_uri="gs://b/o"))])],
        said=[protos.Part(file_data=protos.FileData(mime_type="video/mp4", file_uri="gs://b/o"))],
    ),
    generate(
        "a conversation",
        None,
        [types.Content(role=role, parts=[types.Part(text=text)])
         for role, text in (("user", "a"), ("model", "b"), ("user", "c"))],
        said=[{"role": "user", "parts": ["a"]}, {"role": "model", "parts": ["b"]},
              {"role": "user", "parts": ["c"]}],
    ),
    Pair(
        "a stream", "GenerateContentRequest",
        lambda: list(old.GenerativeModel(GEMINI).generate_content("hi", stream=True)),
        lambda client: list(client.models.generate_content_stream(model=GEMINI, contents="hi")),
    ),
    Pair(
        "counting", "CountTokensRequest",
        lambda: old.GenerativeModel(GEMINI).count_tokens("hi"),
        lambda client: client.models.count_tokens(model=GEMINI, contents="hi"),
    ),
    Pair(
        "counting for a tuned model", "CountTokensRequest",
        lambda: old.GenerativeModel(
            "tunedModels/mine", system_instruction="Be short.",
            tools=[{"function_declarations": [WEATHER]}],
        ).count_tokens("hi"),
        lambda client: client.models.count_tokens(
            model=ENDPOINT, contents="hi", config={
                "system_instruction": "Be short.",
                "tools": [{"function_declarations": [WEATHER]}]}),
    ),
    Pair(
        "an embedding", "EmbedContentRequest",
        lambda: old.embed_content("models/gemini-embedding-x", "hi", task_type="RETRIEVAL_DOCUMENT",
                                  title="t", output_dimensionality=8),
        lambda client: client.models.embed_content(
            model="gemini-embedding-x", contents="hi", config={
                "task_type": "RETRIEVAL_DOCUMENT", "title": "t", "output_dimensionality": 8}),
    ),
    Pair(
        "an embedding of an older model", "",
        lambda: old.embed_content("models/text-embedding-x", "hi", task_type="RETRIEVAL_QUERY",
                                  output_dimensionality=8),
        lambda client: client.models.embed_content(
            model="text-embedding-x", contents="hi", config={
                "task_type": "RETRIEVAL_QUERY", "output_dimensionality": 8}),
    ),
    Pair(
        "embeddings of an older model", "",
        lambda: old.embed_content("models/text-embedding-x", ["a", "b"],
                                  task_type="CLUSTERING"),
        lambda client: client.models.embed_content(
            model="text-embedding-x", contents=["a", "b"], config={"task_type": "CLUSTERING"}),
    ),
    Pair(
        "embeddings", "",
        lambda: old.embed_content("models/gemini-embedding-001", ["a", "b"],
                                  output_dimensionality=8),
        lambda client: client.models.embed_content(
            model="gemini-embedding-001", contents=["a", "b"],
            config={"output_dimensionality": 8}),
    ),
    Pair(
        "making a cache", "CachedContent",
        lambda: caching.CachedContent.create(
            GEMINI, display_name="d", system_instruction="Be short.", contents=["a"],
            ttl=dt.timedelta(seconds=60)),
        lambda client: client.caches.create(model=GEMINI, config={
            "display_name": "d", "system_instruction": "Be short.", "contents": "a",
            "ttl": "60s"}),
    ),
    Pair(
        "asking for a cache", "",
        lambda: caching.CachedContent.get("1"),
        lambda client: client.caches.get(name="1"),
    ),
    Pair(
        "removing a cache", "",
        lambda: cached_ours().delete(),
        lambda client: client.caches.delete(name="1"),
    ),
    Pair(
        "listing caches", "",
        lambda: list(caching.CachedContent.list(page_size=2)),
        lambda client: list(client.caches.list(config={"page_size": 2})),
    ),
    Pair(
        "keeping a cache longer", "CachedContent",
        lambda: cached_ours().update(ttl=dt.timedelta(seconds=90)),
        lambda client: client.caches.update(name="1", config={"ttl": "90s"}),
    ),
    Pair(
        "using a cache", "GenerateContentRequest",
        lambda: old.GenerativeModel.from_cached_content(cached_ours()).generate_content("hi"),
        lambda client: client.models.generate_content(
            model=GEMINI, contents="hi", config={"cached_content": "1"}),
    ),
]  # fmt: skip


@pytest.fixture
def client(recorder: Any) -> Iterator[Any]:
    """google-genai's client, and the old SDK configured to go to the same place."""
    safe_configure(
        api_key="made-up",
        credentials=lambda: "token",
        backend="vertex",
        project="my-project",
        location="us-central1",
        vertex_endpoint=recorder.url,
        tuned_endpoints={"tunedModels/mine": "456"},
    )
    with new.Client(
        vertexai=True,
        project="my-project",
        location="us-central1",
        credentials=Credentials(token="token"),
        http_options=types.HttpOptions(base_url=recorder.url),
    ) as made:
        yield made


# The SDK's own code for caches.
@pytest.mark.filterwarnings("ignore:The argument `including_default_value_fields`")
@pytest.mark.parametrize("pair", PAIRS, ids=[pair.name for pair in PAIRS])
def test_both_send_the_same(
    pair: Pair, client: Any, recorder: Any, parse: Callable[[str, Any], Any]
) -> None:
    """Method, path and message; the body is what Vertex AI's own messages read in it."""
    pair.ours()
    ours = recorder.requests[-1]
    pair.theirs(client)
    theirs = recorder.requests[-1]
    assert ours is not theirs
    assert (ours.verb, ours.path) == (theirs.verb, theirs.path)
    assert ours.headers["authorization"] == theirs.headers["authorization"] == "Bearer token"
    assert "x-goog-api-key" not in ours.headers
    assert "x-goog-request-params" not in ours.headers
    if pair.message:
        # google-genai writes down the order of properties, which the old SDK has no field for.
        theirs.body.get("generationConfig", {}).get("responseSchema", {}).pop(
            "property_ordering", None
        )
        # An empty configuration says nothing: each sends one where the other does not.
        bodies = [
            {name: value for name, value in body.items() if value != {}}
            for body in (ours.body, theirs.body)
        ]
        assert parse(pair.message, bodies[0]) == parse(pair.message, bodies[1])
    else:
        assert ours.body == theirs.body
    assert ours.query == theirs.query or ours.verb == "PATCH"  # there it names no fields
