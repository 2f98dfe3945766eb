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
from genai_config.testing import _schemas
from genai_config.testing._service import answers, prompts
from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.models import Models, can_be_asked, embedding_width, not_found
from genai_config.testing._service.origins import Origin
from genai_config.testing._service.programming import split, to_service_error
from genai_config.testing._service.retrieval import Retrieval
from genai_config.testing._service.signatures import Signatures
from genai_config.testing._service.stores import Store
from genai_config.testing._service.tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing._service.methods import Method
    from genai_config.testing._service.programming import Programming

_GENERATE = ("generateContent", "countTokens", "createCachedContent")
_EMBED = ("embedContent",)
BASE_MODELS = {
    f"models/{MODEL}": _GENERATE,
    f"models/{TUNING_SOURCE}": (*_GENERATE, "createTunedModel"),
    f"models/{OTHER_MODEL}": _GENERATE,
    f"models/{SMALL_MODEL}": _GENERATE,
    f"models/{EMBEDDING_MODEL}": _EMBED,
    "models/aqa": ("generateAnswer",),
}
_HERE = Origin()


class Behaviour:
    """The service behind its rules: answers a request with an iterator of messages.

    Args:
        programming: What the test has told the server to do.
        clock: The time, for the resources' own times.
        polls: How often an operation must be looked at until it is done.

    Attributes:
        models: Which models are served.
        store: What has been created.
    """

    def __init__(self, programming: Programming, clock: Callable[[], float], polls: int) -> None:
        self._programming = programming
        self.models = Models(clock)
        self.store = Store(clock)
        self._signatures = Signatures()
        self._retrieval = Retrieval(self.store)
        self._handlers: dict[str, Callable[[Any], Any]] = {
            "GenerativeService.CountTokens": _count_tokens,
            "GenerativeService.EmbedContent": _embed,
            "GenerativeService.BatchEmbedContents": _batch_embed,
            "ModelService.GetModel": self._get_model,
            "ModelService.ListModels": self._list_models,
            **Tuning(self.store, polls, self.models).handlers,
            **self._retrieval.handlers,
        }
        self._texts: dict[str, Callable[[Method, Any, Origin], Iterator[Any]]] = {
            "GenerativeService.GenerateContent": self._generate,
            "GenerativeService.StreamGenerateContent": self._stream,
            "GenerativeService.GenerateAnswer": self._answer,
        }

    def answer(self, method: Method, request: Any, origin: Origin = _HERE) -> Iterator[Any]:
        """Answers a request.

        Raises:
            ServiceError: The request cannot be served.
        """
        self._check_model(method, request, origin)
        text = self._texts.get(method.name)
        if text is not None:
            return text(method, request, origin)
        handler = self._handlers.get(method.name) or self.store.handler(method)
        # A method without behaviour answers with an empty message, as a stream without chunks.
        return iter([handler(request) if handler else method.response()])

    def _check_model(self, method: Method, request: Any, origin: Origin) -> None:
        service, _, name = method.name.partition(".")
        if service == "GenerativeService" or name == "CreateCachedContent":
            verb = name[0].lower() + name[1:]
            for resource in method.resources(request):
                if "cachedContents/" not in resource and not resource.startswith("corpora/"):
                    self.models.check(resource, verb, origin)

    def _generate(self, method: Method, request: Any, origin: Origin) -> Iterator[Any]:
        chunks = self._chunks(method, request, origin, request)
        whole = answers.completed(request, [answers.whole(chunks)])
        yield from self._signed(request, whole, origin)

    def _stream(self, method: Method, request: Any, origin: Origin) -> Iterator[Any]:
        chunks = answers.completed(request, self._chunks(method, request, origin, request))
        yield from self._signed(request, chunks, origin)

    def _signed(self, request: Any, chunks: Iterator[Any], origin: Origin) -> Iterator[Any]:
        first = True
        for chunk in chunks:
            first = self._signatures.sign(request.model, chunk, origin, first=first)
            yield chunk

    def _chunks(self, method: Method, request: Any, origin: Origin, original: Any) -> Iterator[Any]:
        """The messages that a test has given for a request, or those that nobody has given."""
        prompts.check(request, origin)
        self._signatures.check(request.model, request.contents, origin)
        if request.cached_content and request.cached_content not in self.store.items:
            raise ServiceError(
                "PERMISSION_DENIED", "CachedContent not found (or permission denied)"
            )

        def known() -> Any:
            sent = method.wrapper.pb().FromString(original.SerializeToString())
            return method.wrapper.wrap(sent)

        chunks = self._programming.answer(request.model, known)
        if chunks is None:
            given = answers.by_default(request)
            chunks = split(given) if isinstance(given, str) else [given]
        for chunk in chunks:
            if isinstance(chunk, Exception):
                raise to_service_error(chunk)
            yield answers.to_response(chunk)

    def _answer(self, method: Method, request: Any, origin: Origin) -> Iterator[Any]:
        question = _schemas.message("gemini", "GenerateContentRequest")(model=request.model)
        for content in request.contents:
            question.contents.add().MergeFromString(content.SerializeToString())
        chunks = self._chunks(method, question, origin, request)
        (found,) = answers.completed(question, [answers.whole(chunks)])
        response = glm.GenerateAnswerResponse.pb()()
        response.answer.MergeFromString(found.candidates[0].SerializeToString())
        self._retrieval.attribute(request, response.answer)
        response.answerable_probability = 1.0
        yield response

    def _list_models(self, request: Any) -> Any:
        response = glm.ListModelsResponse.pb()()
        served = [name for name in BASE_MODELS if self.models.state(name, _HERE) == "alive"]
        return self.store.page(request, [_base_model(name) for name in served], response)

    def _get_model(self, request: Any) -> Any:
        self.models.check(request.name, "getModel", _HERE)
        if not can_be_asked(request.name) and not self._programming.is_programmed(request.name):
            raise not_found(request.name, "getModel")
        return _base_model(request.name)


def _count_tokens(request: Any) -> Any:
    full = request.generate_content_request
    contents = [*request.contents, *full.contents, full.system_instruction]
    count = sum(answers.words(content) for content in contents)
    return _schemas.message("gemini", "CountTokensResponse")(total_tokens=count)


def _values(model: str, request: Any) -> list[float]:
    """An embedding: of a text always the same; a shorter one is the start of the longer."""
    width = embedding_width(model)
    wanted = request.output_dimensionality or width
    if not 0 < wanted <= width:
        raise ServiceError(
            "INVALID_ARGUMENT",
            f"Invalid value at 'output_dimensionality': {wanted} is not between 1 and {width}.",
        )
    text = request.content.SerializeToString(deterministic=True)
    return [byte / 255 for byte in hashlib.shake_256(text).digest(wanted)]


def _embed(request: Any) -> Any:
    response = _schemas.message("gemini", "EmbedContentResponse")()
    response.embedding.values.extend(_values(request.model, request))
    return response


def _batch_embed(request: Any) -> Any:
    response = _schemas.message("gemini", "BatchEmbedContentsResponse")()
    for one in request.requests:
        response.embeddings.add().values.extend(_values(request.model, one))
    return response


def _base_model(name: str) -> Any:
    short = name.partition("/")[2]
    generates = _EMBED if "embedding" in short else _GENERATE
    return glm.Model.pb(
        glm.Model(
            name=name,
            base_model_id=short,
            version="001",
            display_name=short.replace("-", " ").title(),
            input_token_limit=1_000_000,
            output_token_limit=8192,
            supported_generation_methods=BASE_MODELS.get(name, generates),
        )
    )
