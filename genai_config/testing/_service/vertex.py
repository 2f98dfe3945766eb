"""Vertex AI's own JSON: its messages, translated for the one behaviour that serves both services.

Values and field numbers of the two services differ, their names do not: so JSON is between them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from genai_config.testing import _schemas
from genai_config.testing._service import strict_json
from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.methods import methods
from genai_config.testing._service.programming import full_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from genai_config.testing._service.behaviour import Behaviour
    from genai_config.testing._service.origins import Origin

_SERVICE = "/google.ai.generativelanguage.v1beta.GenerativeService/"
_OWN_EMBEDDINGS = "gemini-embedding-"


class Vertex:
    """What Vertex AI answers to requests that were let in.

    Args:
        behaviour: What both services do.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def understand(self, method: str, given: dict[str, Any]) -> Any:
        """The message of a request; see `read`.

        Raises:
            ServiceError: It is not understood.
        """
        kind = "GenerateContent" if method == "StreamGenerateContent" else method
        if kind in ("CreateCachedContent", "UpdateCachedContent"):
            return read("CachedContent", given)
        return read(f"{kind}Request", given)

    def answer(self, method: str, name: str, request: Any, origin: Origin) -> Iterator[Any]:
        """Answers a request with messages of Vertex AI.

        Args:
            method: "GenerateContent" and so on.
            name: The resource in the URL.
            request: The message of the body.
            origin: Where the request came in.
        """
        model = model_of(name)
        if method in ("GenerateContent", "StreamGenerateContent"):
            yield from self._generate(method, model, request, origin)
            return
        self._behaviour.models.check(model, method, origin)
        if method == "CountTokens":
            yield self._count(model, request, origin)
        elif method == "Predict":
            yield self._predict(model, request, origin)
        elif method == "EmbedContent":
            yield self._embed(model, request, origin)
        else:
            response = _schemas.message("vertex", "BatchEmbedContentsResponse")()
            for one in request.requests:
                response.embeddings.append(self._embed(model, one, origin).embedding)
            yield response

    def _generate(self, method: str, model: str, request: Any, origin: Origin) -> Iterator[Any]:
        for response in self._ask(method, _to_gemini(model, request), origin):
            yield _from_gemini(response)

    def _ask(self, method: str, request: Any, origin: Origin) -> Iterator[Any]:
        return self._behaviour.answer(methods()[_SERVICE + method], request, origin)

    def _count(self, model: str, request: Any, origin: Origin) -> Any:
        asked = _schemas.message("gemini", "CountTokensRequest")(model=model)
        contents = [*request.contents, request.system_instruction]
        for content in contents:
            _copy(content, asked.contents.add())
        (counted,) = self._ask("CountTokens", asked, origin)
        letters = sum(len("".join(p.text.split())) for c in contents for p in c.parts)
        return _schemas.message("vertex", "CountTokensResponse")(
            total_tokens=counted.total_tokens, total_billable_characters=letters
        )

    def _embed(self, model: str, request: Any, origin: Origin) -> Any:
        if not model.partition("/")[2].startswith(_OWN_EMBEDDINGS):
            raise ServiceError(
                "FAILED_PRECONDITION", f"{model} is not supported in the embedContent API."
            )
        config = request.embed_content_config
        asked = _schemas.message("gemini", "EmbedContentRequest")(
            model=model,
            output_dimensionality=config.output_dimensionality or request.output_dimensionality,
        )
        _copy(request.content, asked.content)
        (embedded,) = self._ask("EmbedContent", asked, origin)
        response = _schemas.message("vertex", "EmbedContentResponse")()
        response.embedding.values.extend(embedded.embedding.values)
        words = sum(len(part.text.split()) for part in request.content.parts)
        response.usage_metadata.prompt_token_count = words
        response.usage_metadata.total_token_count = words
        return response

    def _predict(self, model: str, request: Any, origin: Origin) -> Any:
        parameters = json_format.MessageToDict(request.parameters) if request.parameters else {}
        response = _schemas.message("vertex", "PredictResponse")()
        for index, instance in enumerate(request.instances):
            given = json_format.MessageToDict(instance)
            text = given.get("content") if isinstance(given, dict) else None
            if "embedding" not in model or not isinstance(text, str):
                raise ServiceError(
                    "INVALID_ARGUMENT", f"Invalid instance {index}: 'content' must be a text."
                )
            width = parameters.get("outputDimensionality") if parameters else None
            asked = _schemas.message("gemini", "EmbedContentRequest")(
                model=model, output_dimensionality=int(width or 0)
            )
            asked.content.parts.add().text = text
            (embedded,) = self._ask("EmbedContent", asked, origin)
            statistics = {"truncated": False, "token_count": len(text.split())}
            values = list(embedded.embedding.values)
            json_format.ParseDict(
                {"embeddings": {"values": values, "statistics": statistics}},
                response.predictions.add(),
            )
        return response

    def manage(
        self, method: str, name: str, message: Any, query: Mapping[str, str], origin: Origin
    ) -> Iterator[dict[str, Any]]:
        """Answers what is about resources: cached contents, and models.

        Args:
            method: "CreateCachedContent" and so on.
            name: The resource in the URL.
            message: The message of the body; None if there is none.
            query: The parameters of the URL.
            origin: Where the request came in.
        """
        if method == "ListPublisherModels":
            yield self._list_models(origin)
        elif method == "GetPublisherModel":
            yield self._model(name, origin)
        elif method == "ListModels":
            yield {}  # models of one's own are asked by their endpoints
        elif method == "CreateCachedContent":
            self._behaviour.models.check(model_of(message.model), method, origin)
            store = self._behaviour.store
            yield strict_json.to_dict(store.add("CachedContent", message, parent=name))
        elif method == "UpdateCachedContent":
            message.name = name
            asked = {"updateMask": query.get("updateMask", "")}
            mask = read("UpdateCachedContentRequest", asked).update_mask
            yield strict_json.to_dict(self._behaviour.store.update(message, mask))
        else:
            yield self._cached(method, name, query)

    def _cached(self, method: str, name: str, query: Mapping[str, str]) -> dict[str, Any]:
        store = self._behaviour.store
        if method == "GetCachedContent":
            return strict_json.to_dict(store.find(name))
        if method == "DeleteCachedContent":
            store.delete(name)
            return {}
        items = [item for _, item in store.snapshot(f"{name}/cachedContents/")]
        pages = {one: query[one] for one in ("pageSize", "pageToken") if one in query}
        asked = read("ListCachedContentsRequest", pages)
        response = _schemas.message("vertex", "ListCachedContentsResponse")()
        return strict_json.to_dict(store.page(asked, items, response))

    def _list_models(self, origin: Origin) -> dict[str, Any]:
        """The models that are served, in the form of the model garden."""
        asked = methods()["/google.ai.generativelanguage.v1beta.ModelService/ListModels"]
        (found,) = self._behaviour.answer(asked, asked.request(page_size=1000), origin)
        return {"publisherModels": [self._model(one.name, origin) for one in found.models]}

    def _model(self, name: str, origin: Origin) -> dict[str, Any]:
        """One of them.

        Raises:
            ServiceError: There is no such model.
        """
        model = full_name(name.rpartition("/")[2])
        self._behaviour.models.check(model, "getModel", origin)
        path = model.replace("models/", "publishers/google/models/", 1)
        return {"name": path, "versionId": "default", "launchStage": "GA"}


def read(kind: str, given: dict[str, Any]) -> Any:
    """A message of Vertex AI from JSON.

    Raises:
        ServiceError: A field is unknown, or its value is not of its type.
    """
    return strict_json.read(given, _schemas.message("vertex", kind)())


def model_of(name: str) -> str:
    """The name by which `respond` knows a model: a publisher's, an endpoint's, or a version's."""
    match = re.fullmatch(r"(?:.*/)?publishers/([^/]+)/models/([^/]+)", name)
    if match is None:
        return name
    publisher, model = match.groups()
    return f"models/{model}" if publisher == "google" else f"publishers/{publisher}/models/{model}"


def _copy(content: Any, target: Any) -> None:
    """Copies a message to the one of the other service, as far as that has the fields."""
    json_format.ParseDict(json_format.MessageToDict(content), target, ignore_unknown_fields=True)


def _to_gemini(model: str, request: Any) -> Any:
    asked = _schemas.message("gemini", "GenerateContentRequest")()
    _copy(request, asked)
    asked.model = model
    return asked


def _from_gemini(response: Any) -> Any:
    found = json_format.MessageToDict(response)
    for candidate in found.get("candidates", []):
        citations = candidate.get("citationMetadata", {})
        if "citationSources" in citations:
            candidate["citationMetadata"] = {"citations": citations["citationSources"]}
    answer = _schemas.message("vertex", "GenerateContentResponse")()
    return json_format.ParseDict(found, answer, ignore_unknown_fields=True)
