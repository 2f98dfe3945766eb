"""What the service answers to a request that was let in."""

from __future__ import annotations

import hashlib
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from google.ai import generativelanguage_v1beta as glm
from google.api_core.exceptions import GoogleAPICallError

from genai_config.testing.errors import HTTP_STATUS, ServiceError
from genai_config.testing.stores import Store
from genai_config.testing.tuning import Tuning

if TYPE_CHECKING:
    from genai_config.testing.methods import Method

logger = logging.getLogger(__name__)

Text = str | Sequence[str | Exception]
Answer = Text | Exception | Callable[[Any], Text]
"""A text, the chunks of a stream, an error, or a function of the request that returns these."""

_GENERATE = ("generateContent", "countTokens", "createCachedContent")
BASE_MODELS = {
    "models/gemini-1.5-flash": _GENERATE,
    "models/gemini-1.5-flash-001-tuning": (*_GENERATE, "createTunedModel"),
    "models/gemini-1.5-pro": _GENERATE,
    "models/gemini-2.0-flash": _GENERATE,
    "models/text-embedding-004": ("embedContent",),
    "models/aqa": ("generateAnswer",),
}
_EMBEDDING_SIZE = 16
_CHUNKS = 3


class Behaviour:
    """The service behind its rules: answers a request with an iterator of messages.

    Args:
        clock: The time, for the resources' own times.
        polls: How often an operation must be looked at until it is done.
    """

    def __init__(self, clock: Callable[[], float], polls: int) -> None:
        self._answers: dict[str, Answer] = {}
        self._lock = threading.Lock()
        self.store = Store(clock)
        self._handlers: dict[str, Callable[[Any], Any]] = {
            "GenerativeService.CountTokens": _count_tokens,
            "GenerativeService.EmbedContent": _embed,
            "GenerativeService.BatchEmbedContents": _batch_embed,
            "ModelService.GetModel": _get_model,
            "ModelService.ListModels": self._list_models,
            **Tuning(self.store, polls).handlers,
        }
        self._texts: dict[str, Callable[[Any, list[str]], Iterator[Any]]] = {
            "GenerativeService.GenerateContent": _whole,
            "GenerativeService.StreamGenerateContent": _chunked,
            "GenerativeService.GenerateAnswer": _answered,
        }

    def program(self, model: str, answer: Answer) -> None:
        """Sets what a model answers; "*" is every model."""
        with self._lock:
            self._answers[_full(model)] = answer

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
        with self._lock:
            answer = self._answers.get(request.model, self._answers.get("*"))
        if answer is None:
            answer = f"Hello from {request.model}"
        if callable(answer):
            try:
                answer = answer(method.wrapper.wrap(request) if method.wrapper else request)
            except Exception as error:
                logger.exception("The answer programmed for %s failed", request.model)
                raise to_service_error(error) from error
        if isinstance(answer, Exception):
            raise to_service_error(answer)
        return _split(answer) if isinstance(answer, str) else list(answer)

    def _list_models(self, request: Any) -> Any:
        response = glm.ListModelsResponse.pb()()
        return self.store.page(request, [_base_model(name) for name in BASE_MODELS], response)


def to_service_error(error: Exception) -> ServiceError:
    """The error of the service that stands for any error."""
    if isinstance(error, GoogleAPICallError):
        status = getattr(error.grpc_status_code, "name", "INTERNAL")
        return ServiceError(status if status in HTTP_STATUS else "INTERNAL", error.message)
    return ServiceError("INTERNAL", "An internal error has occurred. Please retry or report it.")


def _full(model: str) -> str:
    return model if "/" in model or model == "*" else f"models/{model}"


def _split(text: str) -> list[str]:
    """A text as the chunks of a stream: a few, each of whole words."""
    words = re.findall(r"\S+\s*|\s+", text) or [""]
    size = -(-len(words) // _CHUNKS)
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]


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


def _answered(request: Any, chunks: list[Any]) -> Iterator[Any]:
    (whole,) = _whole(request, chunks)
    response = glm.GenerateAnswerResponse.pb()()
    response.answer.CopyFrom(whole.candidates[0])
    response.answerable_probability = 1.0
    yield response


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
