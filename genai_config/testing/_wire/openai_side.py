"""The OpenAI-compatible endpoints: those of the Gemini API, and those of Vertex AI."""

from __future__ import annotations

import html
import json
import re
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from google.ai import generativelanguage_v1beta as glm
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from genai_config.testing._service import openai_answers, openai_requests, rules, strict_json
from genai_config.testing._service.core import Asked, Service
from genai_config.testing._service.errors import VERTEX, ServiceError
from genai_config.testing._service.methods import methods
from genai_config.testing._service.models import can_be_asked, missing_on_vertex
from genai_config.testing._service.origins import Origin
from genai_config.testing._service.programming import full_name
from genai_config.testing._wire.rest_calls import VERBS, call_of, endpoint, stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from genai_config.testing._service.core import Call
    from genai_config.testing._service.rules import Caller

_PATHS = (
    "/v1beta/openai/{rest:path}",
    "/v1/projects/{project}/locations/{location}/endpoints/{endpoint}/{rest:path}",
    "/v1beta1/projects/{project}/locations/{location}/endpoints/{endpoint}/{rest:path}",
)
_METHODS = (
    ("ChatCompletions", "POST", re.compile("chat/completions")),
    ("Embeddings", "POST", re.compile("embeddings")),
    ("ListModels", "GET", re.compile("models")),
    ("RetrieveModel", "GET", re.compile("models/(.+)")),
)
_NOT_ON_VERTEX = ("ListModels", "RetrieveModel")
_SERVICE = "/google.ai.generativelanguage.v1beta."


def routes(service: Service, pool: ThreadPoolExecutor) -> list[BaseRoute]:
    """Where the endpoints are."""

    def answer(request: Request, body: bytes) -> Response:
        return _answer(service, request, body, pool)

    serve = endpoint(answer, pool, service.programming, _refusal)
    return [Route(path, serve, methods=VERBS) for path in _PATHS]


def _refusal(error: ServiceError, _request: Request) -> Response:
    if isinstance(error, PageError):
        return HTMLResponse(error.page, error.http_status)
    # A list with one error: so do both services, here and nowhere else.
    return JSONResponse([error.to_json()], error.http_status)


class PageError(ServiceError):
    """Vertex AI's front end says that there is no such URL, in HTML."""

    def __init__(self, path: str) -> None:
        super().__init__("NOT_FOUND", f"The requested URL {path} was not found on this server.")
        self.page = (
            "<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title>"
            f"<p><b>404.</b> <ins>That's an error.</ins><p>{html.escape(self.message)}</html>"
        )


class _Place(NamedTuple):
    """Where a request was sent: an endpoint of Vertex AI, or the Gemini API if it is empty."""

    version: str
    project: str = ""
    location: str = ""
    endpoint: str = ""

    @property
    def name(self) -> str:
        """The endpoint's resource name."""
        parent = f"projects/{self.project}/locations/{self.location}"
        return f"{parent}/endpoints/{self.endpoint}" if self.endpoint else ""

    def origin(self, caller: Caller) -> Origin:
        """Where a request came in, and whose it is."""
        if not self.endpoint:
            return Origin(identity=caller.identity)
        parent = f"projects/{self.project}/locations/{self.location}"
        return Origin(VERTEX, parent, caller.identity)

    def asked(self, method: str, model: str) -> Asked:
        """What a request is for."""
        api = f"google.cloud.aiplatform.{self.version}.PredictionService"
        rpc = f"{api if self.endpoint else 'google.ai.generativelanguage.v1beta'}.{method}"
        permission = rules.PREDICT if self.endpoint else ""
        return Asked(
            f"OpenAI.{method}", rpc, [one for one in (model, self.name) if one], permission
        )

    def check(self, model: str) -> None:
        """Checks whether there is a model of this name here.

        Raises:
            ServiceError: There is none.
        """
        if self.endpoint != "openapi":
            return
        publisher, slash, name = model.partition("/")
        if not slash:
            raise ServiceError(
                "INVALID_ARGUMENT",
                f"Malformed publisher model (\"model\": '{model}'): "
                "expected '<publisher>/<model>'.",
            )
        if publisher != "google" or not can_be_asked(name):
            place = f"projects/{self.project}/locations/{self.location}"
            path = f"publishers/{publisher}/models/{name}"
            raise missing_on_vertex(path, Origin(VERTEX, place))


def _answer(service: Service, request: Request, body: bytes, pool: ThreadPoolExecutor) -> Response:
    parts = dict(request.path_params)
    rest = parts.pop("rest")
    place = _Place(request.url.path.split("/")[1], **parts)
    call = call_of(request, bearer_keys=not place.endpoint)
    asked = Asked("", "", [request.url.path])
    try:
        name, model = _find(request.method, rest)
        asked = place.asked(name, model)
        if place.endpoint and name in _NOT_ON_VERTEX:
            raise PageError(request.url.path)
        arguments = _arguments(body) if request.method == "POST" else {"model": model}
        asked = place.asked(name, arguments["model"])
        exchange = _Exchange(service, place, asked, call, arguments)
        make = exchange.understand(name)
    except ServiceError as error:
        service.refuse(asked, call, error)
        raise
    answer = make()
    if isinstance(answer, dict):
        return JSONResponse(answer)
    return stream(_events(answer), "text/event-stream", pool)


def _find(verb: str, path: str) -> tuple[str, str]:
    """The method and, if it is in the URL, the model."""
    for name, wanted, pattern in _METHODS:
        match = pattern.fullmatch(path)
        if match and verb == wanted:
            return name, next(iter(match.groups()), "")
    raise ServiceError("NOT_FOUND", f"{verb} {path} is no method.")


def _arguments(body: bytes) -> dict[str, Any]:
    arguments = strict_json.loads(body)
    if not isinstance(arguments.get("model"), str):
        raise ServiceError("INVALID_ARGUMENT", "Invalid JSON payload received. No model is named.")
    return arguments


class _Exchange(NamedTuple):
    """A request that names a method and a model."""

    service: Service
    place: _Place
    asked: Asked
    call: Call
    arguments: Mapping[str, Any]

    def understand(self, name: str) -> Callable[[], dict[str, Any] | Iterator[dict[str, Any]]]:
        """What makes the answer: one document, or those of a stream.

        Raises:
            ServiceError: The request is not understood.
        """
        if name == "ChatCompletions":
            request = openai_requests.prompt(self.arguments)
            if self.place.endpoint not in ("", "openapi"):
                request.model = self.place.name  # it has one model, whatever it is called
            return lambda: self._chat(request)
        if name == "Embeddings":
            texts = openai_requests.texts_to_embed(self.arguments)
            return lambda: self._embeddings(texts)
        return self._list if name == "ListModels" else self._model

    def _chat(self, request: Any) -> dict[str, Any] | Iterator[dict[str, Any]]:
        streams = bool(self.arguments.get("stream"))
        method = "StreamGenerateContent" if streams else "GenerateContent"
        responses = self._ask(f"GenerativeService/{method}", request)
        head = ("chatcmpl-" + secrets.token_hex(12), int(self.service.clock()))
        model = self.arguments["model"]
        if not streams:
            whole = openai_answers.completion
            made = self.service.guarded("OpenAI", lambda: (whole(*head, model, responses),))
            done: dict[str, Any] = next(made)
            return done
        options = self.arguments.get("stream_options") or {}
        usage = bool(options.get("include_usage"))
        return self.service.guarded(
            "OpenAI", lambda: openai_answers.chunks(*head, model, responses, usage=usage)
        )

    def _embeddings(self, request: Any) -> dict[str, Any]:
        (response,) = self._ask("GenerativeService/BatchEmbedContents", request)
        return openai_answers.embeddings(self.arguments, request, response)

    def _list(self) -> dict[str, Any]:
        request = glm.ListModelsRequest.pb()(page_size=1000)
        (response,) = self._ask("ModelService/ListModels", request)
        models = [openai_answers.model(one.name) for one in response.models]
        return {"object": "list", "data": models}

    def _model(self) -> dict[str, Any]:
        request = glm.GetModelRequest.pb()(name=full_name(self.arguments["model"]))
        (response,) = self._ask("ModelService/GetModel", request)
        return openai_answers.model(response.name)

    def _ask(self, path: str, request: Any) -> Iterator[Any]:
        def work(caller: Caller) -> Iterator[Any]:
            if self.arguments["model"]:
                self.place.check(self.arguments["model"])
            origin = self.place.origin(caller)
            return self.service.behaviour.answer(methods()[_SERVICE + path], request, origin)

        return self.service.answer(self.asked, self.call, work)


def _events(documents: Iterator[dict[str, Any]]) -> Iterator[str]:
    try:
        for document in documents:
            yield f"data: {json.dumps(document)}\n\n"
    except ServiceError as error:
        yield f"data: {json.dumps(error.to_json())}\n\n"
    else:
        yield "data: [DONE]\n\n"
