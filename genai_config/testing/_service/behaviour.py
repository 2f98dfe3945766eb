"""What the service answers to a request that was let in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from google.ai import generativelanguage_v1beta as glm

from genai_config._models import (
    EMBEDDING_MODEL,
    MODEL,
    OTHER_MODEL,
    SMALL_MODEL,
    TUNING_SOURCE,
)
from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.programming import to_service_error
from genai_config.testing._service.retrieval import Retrieval
from genai_config.testing._service.stores import Store
from genai_config.testing._service.tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from genai_config.testing._service.methods import Method
    from genai_config.testing._service.programming import Programming

_GENERATE = ("generateContent", "countTokens", "createCachedContent")
BASE_MODELS = {
    f"models/{MODEL}": _GENERATE,
    f"models/{TUNING_SOURCE}": (*_GENERATE, "createTunedModel"),
    f"models/{OTHER_MODEL}": _GENERATE,
    f"models/{SMALL_MODEL}": _GENERATE,
    f"models/{EMBEDDING_MODEL}": ("embedContent",),
    "models/aqa": ("generateAnswer",),
}
_EMBEDDING_SIZE = 16


class Behaviour:
    """The service behind its rules: answers a request with an iterator of messages.

    Args:
        programming: What the test has told the server to do.
        clock: The time, for the resources' own times.
        polls: How often an operation must be looked at until it is done.
    """

    def __init__(self, programming: Programming, clock: Callable[[], float], polls: int) -> None:
        self._programming = programming
        self.store = Store(clock)
        self._retrieval = Retrieval(self.store)
        self._handlers: dict[str, Callable[[Any], Any]] = {
            "GenerativeService.CountTokens": _count_tokens,
            "GenerativeService.EmbedContent": _embed,
            "GenerativeService.BatchEmbedContents": _batch_embed,
            "ModelService.GetModel": _get_model,
            "ModelService.ListModels": self._list_models,
            **Tuning(self.store, polls).handlers,
            **self._retrieval.handlers,
        }
        self._texts: dict[str, Callable[[Any, list[str]], Iterator[Any]]] = {
            "GenerativeService.GenerateContent": _whole,
            "GenerativeService.StreamGenerateContent": _chunked,
            "GenerativeService.GenerateAnswer": self._answered,
        }

    def answer(self, method: Method, request: Any) -> Iterator[Any]:
        """Answers a request.

        Raises:
            ServiceError: The request cannot be served.
        """
        text = self._texts.get(method.name)
        if text is not None:
            return text(request, self._chunks(method, request))
        handler = self._handlers.get(method.name) or self.store.handler(method)
        # A method without behaviour answers with an empty message, as a stream without chunks.
        return iter([handler(request) if handler else method.response()])

    def _chunks(self, method: Method, request: Any) -> list[Any]:
        known = method.wrapper.wrap(request) if method.wrapper else request
        return self._programming.chunks(request.model, known)

    def _answered(self, request: Any, chunks: list[Any]) -> Iterator[Any]:
        (whole,) = _whole(request, chunks)
        response = glm.GenerateAnswerResponse.pb()()
        response.answer.CopyFrom(whole.candidates[0])
        self._retrieval.attribute(request, response.answer)
        response.answerable_probability = 1.0
        yield response

    def _list_models(self, request: Any) -> Any:
        response = glm.ListModelsResponse.pb()()
        return self.store.page(request, [_base_model(name) for name in BASE_MODELS], response)


def _words(contents: Iterable[Any]) -> int:
    return sum(len(part.text.split()) for content in contents for part in content.parts)


def _response(request: Any, text: str, *, last: bool = True) -> Any:
    response = glm.GenerateContentResponse.pb()()
    candidate = response.candidates.add()
    candidate.content.role = "model"
    candidate.content.parts.add().text = text
    if last:
        candidate.finish_reason = int(glm.Candidate.FinishReason.STOP)
    usage = response.usage_metadata
    usage.prompt_token_count = _words(request.contents)
    usage.candidates_token_count = len(text.split())
    usage.total_token_count = usage.prompt_token_count + usage.candidates_token_count
    return response


def _whole(request: Any, chunks: list[Any]) -> Iterator[Any]:
    for chunk in chunks:
        if isinstance(chunk, Exception):
            raise to_service_error(chunk)
    yield _response(request, "".join(chunks))


def _chunked(request: Any, chunks: list[Any]) -> Iterator[Any]:
    for index, chunk in enumerate(chunks, 1):
        if isinstance(chunk, Exception):
            raise to_service_error(chunk)
        yield _response(request, chunk, last=index == len(chunks))


def _count_tokens(request: Any) -> Any:
    count = _words(request.contents) + _words(request.generate_content_request.contents)
    return glm.CountTokensResponse.pb()(total_tokens=count)


def _values(content: Any) -> list[float]:
    digest = hashlib.sha256(content.SerializeToString(deterministic=True)).digest()
    return [byte / 255 for byte in digest[:_EMBEDDING_SIZE]]


def _embed(request: Any) -> Any:
    response = glm.EmbedContentResponse.pb()()
    response.embedding.values.extend(_values(request.content))
    return response


def _batch_embed(request: Any) -> Any:
    response = glm.BatchEmbedContentsResponse.pb()()
    for one in request.requests:
        response.embeddings.add().values.extend(_values(one.content))
    return response


def _base_model(name: str) -> Any:
    short = name.partition("/")[2]
    return glm.Model.pb(
        glm.Model(
            name=name,
            base_model_id=short,
            version="001",
            display_name=short.replace("-", " ").title(),
            input_token_limit=1_000_000,
            output_token_limit=8192,
            supported_generation_methods=BASE_MODELS[name],
        )
    )


def _get_model(request: Any) -> Any:
    if request.name not in BASE_MODELS:
        raise ServiceError("NOT_FOUND", f"{request.name} is not found for API version v1beta.")
    return _base_model(request.name)
