"""What the SDK's messages become on Vertex AI: sent and accepted, or refused by name."""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING, Any

import pytest
from google.ai import generativelanguage_v1beta as glm
from google.protobuf import json_format

from genai_config._routing.places import Resource
from genai_config._sdk import vertex
from genai_config.exceptions import UnsupportedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODEL = "models/gemini-x"
FULL = "projects/my-project/locations/us-central1/publishers/google/models/gemini-x"
PARENT = "projects/my-project/locations/us-central1"


def resolve(name: str) -> Resource:
    """Everything else than full names is in one project; a model is Google's."""
    if name.startswith("projects/"):
        _, project, _, location, path = name.split("/", 4)
        return Resource(project, location, path)
    if not name or name.startswith("cachedContents/"):
        return Resource("my-project", "us-central1", name)
    path = f"publishers/google/models/{name.rpartition('/')[2]}"
    return Resource("my-project", "us-central1", path)


def flat(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """All values of JSON data, with their paths."""
    if isinstance(data, dict) and data:
        for name, value in data.items():
            yield from flat(value, f"{path}.{name}")
    elif isinstance(data, list) and data:
        for value in data:
            yield from flat(value, f"{path}[]")
    else:
        yield path, json.dumps(data)


class Case:
    """A message of the SDK, and what it is to be on Vertex AI.

    Attributes:
        method: The method that takes it.
        message: Its class.
        becomes: The message of Vertex AI that the body is.
        wraps: The field of the request that a leaf is put into; "": it is the request.
        left_out: Paths that Vertex AI has no use for.
        moved: Where the parts of a path are found.
    """

    def __init__(  # noqa: PLR0913 -- a row of a table
        self,
        method: str,
        message: Any,
        becomes: str,
        *,
        wraps: str = "",
        left_out: tuple[str, ...] = (),
        moved: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.method, self.message, self.becomes = method, message.pb(), becomes
        self.wraps, self.left_out, self.moved = wraps, left_out, moved


CASES = {
    "generate": Case("GenerateContent", glm.GenerateContentRequest, "GenerateContentRequest"),
    "stream": Case("StreamGenerateContent", glm.GenerateContentRequest, "GenerateContentRequest"),
    "count": Case(
        "CountTokens", glm.CountTokensRequest, "CountTokensRequest",
        left_out=(".generateContentRequest.safetySettings", ".generateContentRequest.toolConfig"),
        moved=((".generateContentRequest", ""),),
    ),
    "embed": Case(
        "EmbedContent", glm.EmbedContentRequest, "EmbedContentRequest",
        moved=tuple((f".{name}", f".embedContentConfig.{name}")
                    for name in ("taskType", "title", "outputDimensionality")),
    ),
    "create a cache": Case(
        "CreateCachedContent", glm.CachedContent, "CachedContent", wraps="cached_content",
    ),
    "update a cache": Case(
        "UpdateCachedContent", glm.CachedContent, "CachedContent", wraps="cached_content",
    ),
}  # fmt: skip

# Refused by name; the paths of leaves that it concerns.
REFUSED = {
    "generate": ("HARM_CATEGORY_", "enable_enhanced_civic_answers"),
    "count": ("HARM_CATEGORY_", "enable_enhanced_civic_answers", "cached_content"),
}
ALLOWED = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT",
           "CIVIC_INTEGRITY", "UNSPECIFIED")  # fmt: skip


def is_refused(case: str, path: str) -> bool:
    """Whether a leaf is one that Vertex AI has no place for."""
    wanted = REFUSED.get("generate" if case == "stream" else case, ())
    return any(part in path for part in wanted) and not path.endswith(ALLOWED)


def sent(case: Case, message: Any) -> Any:
    """The exchange for a leaf of a case."""
    request = getattr(glm, f"{case.method.removeprefix('Stream')}Request").pb()()
    inner = getattr(request, case.wraps) if case.wraps else request
    inner.CopyFrom(message)
    if not inner.model:
        inner.model = MODEL
    return vertex.exchange(case.method, request, resolve)


@pytest.mark.parametrize("name", CASES)
def test_every_field_alone_is_sent_and_accepted_or_refused_by_name(
    name: str, parse: Callable[[str, Any], Any], one_by_one: Callable[[Any], Any]
) -> None:
    """What is sent has the same value under the same name, and Vertex AI's messages take it."""
    case, outcomes = CASES[name], collections.Counter[str]()
    for path, message in one_by_one(case.message):
        if is_refused(name, path):
            with pytest.raises(UnsupportedRequestError) as caught:
                sent(case, message)
            assert caught.value.remedy, path
            outcomes["refused"] += 1
            continue
        made = sent(case, message)
        parse(case.becomes, made.body)
        there = set(flat(made.body))
        for at, value in flat(json_format.MessageToDict(message)):
            if at == ".model" or at.endswith((".model", ".name")) or at.startswith(case.left_out):
                continue
            for old, new in case.moved:
                at = at.replace(old, new, 1) if at.startswith(old) else at  # noqa: PLW2901
            if at.endswith(".cachedContent"):
                value = f'"{PARENT}/cachedContents/some text"'  # noqa: PLW2901
            if value in ("{}", '"TASK_TYPE_UNSPECIFIED"') or not at:
                continue
            assert (at, value) in there, path
        outcomes["sent"] += 1
    assert outcomes["sent"] > 4, outcomes
    assert bool(outcomes["refused"]) == (name in ("generate", "stream", "count"))


def test_a_batch_of_embeddings_is_one_request_or_as_many_instances(
    parse: Callable[[str, Any], Any],
) -> None:
    """google-genai's rule: the gemini family by `batchEmbedContents`, the others by `predict`."""

    def batch(model: str) -> Any:
        one = glm.EmbedContentRequest(
            model=model, content={"parts": [{"text": "a"}]}, task_type=2, title="t",
            output_dimensionality=8,
        )  # fmt: skip
        request = glm.BatchEmbedContentsRequest(model=model, requests=[one, one])
        return vertex.exchange("BatchEmbedContents", type(request).pb(request), resolve)

    gemini = batch("models/gemini-embedding-x")
    assert gemini.path.endswith("/gemini-embedding-x:batchEmbedContents")
    assert len(gemini.body["requests"]) == 2
    for one in gemini.body["requests"]:
        assert parse("EmbedContentRequest", one).embed_content_config.title == "t"
    older = batch("models/text-embedding-x")
    assert older.path.endswith("/text-embedding-x:predict")
    parse("PredictRequest", older.body)
    assert older.body == {
        "instances": [{"content": "a", "task_type": "RETRIEVAL_DOCUMENT", "title": "t"}] * 2,
        "parameters": {"outputDimensionality": 8},
    }
    answer = glm.BatchEmbedContentsResponse.pb()()
    older.read({"predictions": [{"embeddings": {"values": [0.5], "statistics": {}}}] * 2}, answer)
    assert [list(one.values) for one in answer.embeddings] == [[0.5], [0.5]]
    answer = glm.BatchEmbedContentsResponse.pb()()
    gemini.read({"embeddings": [{"values": [1, 2]}]}, answer)
    assert [list(one.values) for one in answer.embeddings] == [[1, 2]]


def test_one_embedding() -> None:
    """By either way, and without what was not asked for."""
    for model, verb, data in (
        ("gemini-embedding-x", "embedContent", {"embedding": {"values": [0.5]}}),
        ("text-embedding-x", "predict", {"predictions": [{"embeddings": {"values": [0.5]}}]}),
    ):
        request = glm.EmbedContentRequest(model=model, content={"parts": [{"text": "a"}]})
        made = vertex.exchange("EmbedContent", type(request).pb(request), resolve)
        assert made.path.endswith(f"/{model}:{verb}")
        assert not {"parameters", "embedContentConfig"} & made.body.keys()
        answer = glm.EmbedContentResponse.pb()()
        made.read(data, answer)
        assert list(answer.embedding.values) == [0.5]
        made.read({}, glm.EmbedContentResponse.pb()())


TEXT = {"parts": [{"text": "a"}]}


@pytest.mark.parametrize(
    ("method", "request_", "told"),
    [
        ("GenerateAnswer", glm.GenerateAnswerRequest(), "GenerateAnswer"),
        ("GenerateContent", glm.GenerateContentRequest(contents=[{"parts": [{"file_data": {
            "file_uri": "https://generativelanguage.googleapis.com/v1beta/files/a"}}]}]), "gs://"),
        ("GenerateContent", glm.GenerateContentRequest(system_instruction={"parts": [{"file_data": {
            "file_uri": "files/a"}}]}), "gs://"),
        ("CountTokens", glm.CountTokensRequest(
            model=MODEL, generate_content_request={"model": "models/other"}), "two models"),
        ("CountTokens", glm.CountTokensRequest(
            contents=[TEXT], generate_content_request={"contents": [TEXT]}), "contents"),
        ("BatchEmbedContents", glm.BatchEmbedContentsRequest(
            model=MODEL, requests=[{"model": "models/other", "content": TEXT}]), "models/other"),
        ("BatchEmbedContents", glm.BatchEmbedContentsRequest(
            model="text-x", requests=[{"content": TEXT, "output_dimensionality": size}
                                      for size in (1, 2)]), "output_dimensionality"),
        ("EmbedContent", glm.EmbedContentRequest(
            model="text-x", content={"parts": [{"text": "a"}, {"text": "b"}]}), "one text"),
        ("EmbedContent", glm.EmbedContentRequest(
            model="text-x", content={"parts": [{"inline_data": {"data": b"a"}}]}), "one text"),
        ("EmbedContent", glm.EmbedContentRequest(
            model="gemini-x", content=TEXT, task_type=99), "TaskType 99"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_refused_with_what_to_do(
    method: str, request_: Any, told: str
) -> None:
    """Before anything is sent."""
    with pytest.raises(UnsupportedRequestError) as caught:
        vertex.exchange(method, type(request_).pb(request_), resolve)
    assert told in str(caught.value)
    assert caught.value.remedy


def test_names_are_full_ones() -> None:
    """The model is in the path; a cache is where the model is; counting repeats the model."""
    request = glm.GenerateContentRequest(
        model=MODEL, contents=[TEXT], cached_content="cachedContents/1"
    )
    made = vertex.exchange("GenerateContent", type(request).pb(request), resolve)
    assert made.path == f"/v1beta1/{FULL}:generateContent"
    assert made.body["cachedContent"] == f"{PARENT}/cachedContents/1"
    assert made.body["contents"][0]["role"] == "user"
    request.cached_content = full = "projects/9/locations/eu/cachedContents/2"
    made = vertex.exchange("StreamGenerateContent", type(request).pb(request), resolve)
    assert (made.path, made.query) == (f"/v1beta1/{FULL}:streamGenerateContent", (("alt", "sse"),))
    assert made.body["cachedContent"] == full
    count = glm.CountTokensRequest(
        model=MODEL, generate_content_request={"model": MODEL, "contents": [TEXT]}
    )
    made = vertex.exchange("CountTokens", type(count).pb(count), resolve)
    assert made.path == f"/v1beta1/{FULL}:countTokens"
    assert made.body == {"contents": [{**TEXT, "role": "user"}]}


def test_caches() -> None:
    """Created where their model is; the others by name, or by project and location."""

    def sent_for(method: str, request: Any) -> Any:
        return vertex.exchange(method, type(request).pb(request), resolve)

    one = glm.CachedContent(model=MODEL, display_name="d", contents=[TEXT])
    made = sent_for("CreateCachedContent", glm.CreateCachedContentRequest(cached_content=one))
    assert made[:2] == ("POST", f"/v1beta1/{PARENT}/cachedContents")
    assert made.body["model"] == FULL
    named = glm.CachedContent(name="cachedContents/1", ttl={"seconds": 3})
    changed = glm.UpdateCachedContentRequest(cached_content=named, update_mask="ttl")
    made = sent_for("UpdateCachedContent", changed)
    assert made[:3] == (
        "PATCH", f"/v1beta1/{PARENT}/cachedContents/1", (("updateMask", "ttl"),),
    )  # fmt: skip
    assert made.body == {"ttl": "3s"}
    made = sent_for("GetCachedContent", glm.GetCachedContentRequest(name="cachedContents/1"))
    assert made[:4] == ("GET", f"/v1beta1/{PARENT}/cachedContents/1", (), None)
    made = sent_for("DeleteCachedContent", glm.DeleteCachedContentRequest(name="cachedContents/1"))
    assert made[:2] == ("DELETE", f"/v1beta1/{PARENT}/cachedContents/1")
    made = sent_for(
        "ListCachedContents", glm.ListCachedContentsRequest(page_size=2, page_token="t")
    )
    assert made[:3] == (
        "GET", f"/v1beta1/{PARENT}/cachedContents", (("pageSize", "2"), ("pageToken", "t")),
    )  # fmt: skip


def test_answers_are_the_sdks() -> None:
    """Citations under their name, reasons that the SDK does not know as no good end."""
    request = glm.GenerateContentRequest(model=MODEL)
    made = vertex.exchange("GenerateContent", type(request).pb(request), resolve)
    answer = glm.GenerateContentResponse()
    cited = {
        "startIndex": 1,
        "endIndex": 2,
        "uri": "https://a",
        "title": "no place",
        "license": "L",
    }
    data = {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "a"}]},
                "finishReason": "MODEL_ARMOR",
                "citationMetadata": {"citations": [cited]},
                "safetyRatings": [
                    {"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW", "severity": "X"}
                ],
            },
            {"finishReason": "UNEXPECTED_TOOL_CALL"},
        ],
        "promptFeedback": {"blockReason": "JAILBREAK"},
        "usageMetadata": {"totalTokenCount": 3, "trafficType": "ON_DEMAND"},
        "createTime": "2026-11-28T00:00:00Z",
    }
    made.read(data, type(answer).pb(answer))
    first, second = answer.candidates
    assert first.finish_reason.name == "OTHER"
    assert type(second).pb(second).finish_reason == 12
    source = first.citation_metadata.citation_sources[0]
    assert (source.start_index, source.uri, source.license_) == (1, "https://a", "L")
    assert first.safety_ratings[0].category.name == "HARM_CATEGORY_HARASSMENT"
    assert answer.prompt_feedback.block_reason.name == "OTHER"
    assert answer.usage_metadata.total_token_count == 3
