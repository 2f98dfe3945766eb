"""The SDK's requests in the form that Vertex AI takes, and its answers in the SDK's. Pure.

The two services name most things alike and number them differently, so everything goes as JSON
with the enums' names. What Vertex AI has no place for is refused here, before anything is sent;
what it answers and the SDK has no place for is listed in docs/tuned-on-vertex.md. Sources:
[V] the v1beta1 messages of google-cloud-aiplatform 2.7, [G] what google-genai 3.6 sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_config._masking import scrub
from genai_config._transport import json_codec
from genai_config._transport.exchange import Exchange
from genai_config.exceptions import UnsupportedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._routing.places import Resource

VERSION = "v1beta1"
"""`v1` has no `function_call.id` [V]."""

_PALM_CATEGORIES = frozenset(
    f"HARM_CATEGORY_{name}"
    for name in ("DEROGATORY", "TOXICITY", "VIOLENCE", "SEXUAL", "MEDICAL", "DANGEROUS")
)
_ON_GEMINI = "with override(backend='gemini'): …"


def exchange(method: str, message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    """The HTTP request for a call of the SDK, and how its answer is read.

    Args:
        method: The method as gRPC names it: "GenerateContent" …
        message: The request, as protobuf has it.
        resolve: From a name in the request to the full one; "" is project and location.

    Raises:
        UnsupportedRequestError: Vertex AI has no place for something in it.
        ConfigurationError: A name in it is refused.
    """
    translate = _METHODS.get(method)
    if translate is None:
        raise UnsupportedRequestError(
            f"Vertex AI has nothing like {method} of the Gemini API.", _ON_GEMINI
        )
    return translate(message, resolve)


def _post(
    resource: str, verb: str, body: Any, read: Callable[[Any, Any], None], *, stream: bool = False
) -> Exchange:
    query = (("alt", "sse"),) if stream else ()
    return Exchange("POST", f"/{VERSION}/{resource}:{verb}", query, body, read)


def _generate(message: Any, resolve: Callable[[str], Resource], *, stream: bool) -> Exchange:
    body = json_codec.encode(message)
    model = resolve(body.pop("model", ""))
    _generation(body, model, resolve)
    verb = "streamGenerateContent" if stream else "generateContent"
    return _post(model.name, verb, body, _read_generated, stream=stream)


def _generation(body: dict[str, Any], model: Resource, resolve: Callable[[str], Resource]) -> None:
    """Makes a GenerateContentRequest Vertex AI's, its model aside."""
    for setting in body.get("safetySettings", ()):
        _refuse_palm(setting)
    config = body.get("generationConfig", {})
    if "enableEnhancedCivicAnswers" in config:
        raise _no_place("generation_config.enable_enhanced_civic_answers", "leave it out")
    if "cachedContent" in body:
        body["cachedContent"] = resolve(_cache_name(body["cachedContent"], model)).name
    _contents(body)


def _contents(body: dict[str, Any]) -> None:
    """Vertex AI wants a role on every content, and cannot read the Gemini API's files."""
    for content in (*body.get("contents", ()), *_one(body, "systemInstruction")):
        _content(content)


def _one(body: dict[str, Any], name: str) -> tuple[Any, ...]:
    return (body[name],) if name in body else ()


def _content(content: dict[str, Any]) -> None:
    if not content.get("role"):
        content["role"] = "user"
    for part in content.get("parts", ()):
        uri = part.get("fileData", {}).get("fileUri", "")
        if uri.startswith("files/") or "://generativelanguage." in uri:
            raise UnsupportedRequestError(
                f"The file {scrub(uri)} was uploaded to the Gemini API, where Vertex AI cannot "
                "read it.",
                "put it into Cloud Storage and give its gs:// address, or send the bytes: "
                "{'mime_type': …, 'data': …}.",
            )


def _refuse_palm(setting: dict[str, Any]) -> None:
    category = setting.get("category")
    if category in _PALM_CATEGORIES:
        raise _no_place(
            f"the harm category {category}",
            "use HARM_CATEGORY_HARASSMENT, _HATE_SPEECH, _SEXUALLY_EXPLICIT, _DANGEROUS_CONTENT or "
            "_CIVIC_INTEGRITY",
        )


def _no_place(what: str, instead: str) -> UnsupportedRequestError:
    return UnsupportedRequestError(
        f"Vertex AI has no place for {what}.", f"{instead}; or, on the Gemini API: {_ON_GEMINI}"
    )


def _cache_name(name: str, model: Resource) -> str:
    """The cache's full name: it is where the model is."""
    if name.startswith("projects/"):
        return name
    bare = name.removeprefix("cachedContents/")
    return f"{model.parent}/cachedContents/{bare}"


def _count_tokens(message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    body = json_codec.encode(message)
    name = body.pop("model", "")
    inner = body.pop("generateContentRequest", {})
    other = inner.pop("model", name)
    if other != name:
        raise UnsupportedRequestError(
            f"count_tokens names two models, {scrub(name)} and {scrub(other)}.",
            "give model and generate_content_request.model the same value.",
        )
    if inner and "contents" in body:
        raise UnsupportedRequestError(
            "count_tokens has both contents and generate_content_request.", "give one of them."
        )
    if "cachedContent" in inner:
        raise _no_place("cached_content in count_tokens", "count without it")
    body |= inner
    model = resolve(name)
    _generation(body, model, resolve)
    # Neither counts a token [V].
    body.pop("safetySettings", None)
    body.pop("toolConfig", None)
    return _post(model.name, "countTokens", body, json_codec.decode)


def _embed(message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    request = json_codec.encode(message)
    model = resolve(request.get("model", ""))
    if _has_embed_content(model):
        return _post(model.name, "embedContent", _embed_content(request), json_codec.decode)

    def read(data: Any, answer: Any) -> None:
        embeddings = _predictions(data)
        json_codec.decode({"embedding": embeddings[0]} if embeddings else {}, answer)

    return _post(model.name, "predict", _predict([request]), read)


def _batch_embed(message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    batch = json_codec.encode(message)
    name, requests = batch.get("model", ""), batch.get("requests", [])
    others = {request.get("model", name) for request in requests} - {name}
    if others:
        raise UnsupportedRequestError(
            f"A batch of embeddings names several models: {scrub(', '.join(sorted(others)))}.",
            "send a batch for each.",
        )
    model = resolve(name)
    if _has_embed_content(model):
        body = {"requests": [_embed_content(request) for request in requests]}
        return _post(model.name, "batchEmbedContents", body, json_codec.decode)

    def read(data: Any, answer: Any) -> None:
        json_codec.decode({"embeddings": _predictions(data)}, answer)

    return _post(model.name, "predict", _predict(requests), read)


def _has_embed_content(model: Resource) -> bool:
    """Whether a model is asked by `embedContent`; the older ones are by `predict` [G]."""
    name = model.path.rpartition("/")[2]
    return "gemini" in name or "maas" in name


def _embed_content(request: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"content": request.get("content", {})}
    _content(body["content"])
    config = {
        name: request[name]
        for name in ("taskType", "title", "outputDimensionality")
        if name in request and request[name] != "TASK_TYPE_UNSPECIFIED"
    }
    if config:
        body["embedContentConfig"] = config
    return body


def _predict(requests: list[dict[str, Any]]) -> dict[str, Any]:
    instances, sizes = [], set()
    for request in requests:
        parts = request.get("content", {}).get("parts", [])
        if len(parts) != 1 or parts[0].keys() != {"text"}:
            raise UnsupportedRequestError(
                "This embedding model takes one text per content.",
                "join the texts into one, or use a model of the gemini-embedding family.",
            )
        instance = {"content": parts[0]["text"]}
        if request.get("taskType", "TASK_TYPE_UNSPECIFIED") != "TASK_TYPE_UNSPECIFIED":
            instance["task_type"] = request["taskType"]
        if "title" in request:
            instance["title"] = request["title"]
        instances.append(instance)
        sizes.add(request.get("outputDimensionality"))
    if len(sizes) > 1:
        raise UnsupportedRequestError(
            "A batch of embeddings asks for several values of output_dimensionality.",
            "send a batch for each.",
        )
    body: dict[str, Any] = {"instances": instances}
    size = next(iter(sizes), None)
    if size is not None:
        body["parameters"] = {"outputDimensionality": size}
    return body


def _predictions(data: Any) -> list[dict[str, Any]]:
    return [{"values": one["embeddings"]["values"]} for one in data.get("predictions", ())]


def _cached(message: Any, resolve: Callable[[str], Resource]) -> dict[str, Any]:
    """A CachedContent as Vertex AI wants it."""
    body: dict[str, Any] = json_codec.encode(message.cached_content)
    if "model" in body:
        body["model"] = resolve(body["model"]).name
    _contents(body)
    return body


def _create_cache(message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    body = _cached(message, resolve)
    # What a cache is made for says where it is.
    parent = resolve(message.cached_content.model).parent
    path = f"/{VERSION}/{parent}/cachedContents"
    return Exchange("POST", path, (), body, json_codec.decode)


def _update_cache(message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    body = _cached(message, resolve)
    name = resolve(body.pop("name", "")).name
    mask = json_codec.encode(message.update_mask)
    query = (("updateMask", mask),) if mask else ()
    return Exchange("PATCH", f"/{VERSION}/{name}", query, body, json_codec.decode)


def _get_cache(message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    return Exchange("GET", f"/{VERSION}/{resolve(message.name).name}", (), None, json_codec.decode)


def _delete_cache(message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    path = f"/{VERSION}/{resolve(message.name).name}"
    return Exchange("DELETE", path, (), None, json_codec.decode)


def _list_caches(message: Any, resolve: Callable[[str], Resource]) -> Exchange:
    path = f"/{VERSION}/{resolve('').parent}/cachedContents"
    query = tuple((name, str(value)) for name, value in json_codec.encode(message).items())
    return Exchange("GET", path, query, None, json_codec.decode)


def _read_generated(data: Any, answer: Any) -> None:
    for candidate in data.get("candidates", ()):
        citations = candidate.get("citationMetadata", {})
        if "citations" in citations:
            citations["citationSources"] = citations.pop("citations")
    json_codec.decode(data, answer)


_METHODS: dict[str, Callable[[Any, Callable[[str], Resource]], Exchange]] = {
    "GenerateContent": lambda message, resolve: _generate(message, resolve, stream=False),
    "StreamGenerateContent": lambda message, resolve: _generate(message, resolve, stream=True),
    "CountTokens": _count_tokens,
    "EmbedContent": _embed,
    "BatchEmbedContents": _batch_embed,
    "CreateCachedContent": _create_cache,
    "UpdateCachedContent": _update_cache,
    "GetCachedContent": _get_cache,
    "ListCachedContents": _list_caches,
    "DeleteCachedContent": _delete_cache,
}
