"""What a model answers: every form that `respond` takes, over gRPC and REST; and signatures."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from google.ai import generativelanguage_v1beta as glm
from google.api_core import exceptions

from genai_config.testing import GeminiServer, _schemas
from genai_config.testing._service import answers, samples

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

MODEL = "models/gemini-3.6-flash"
OLD = "models/gemini-test"
CALL = glm.FunctionCall(name="f", args={"a": 1})
STOP, SAFETY = glm.Candidate.FinishReason.STOP, glm.Candidate.FinishReason.SAFETY


@pytest.fixture
def ask(server: GeminiServer, wire: Any) -> Callable[..., Any]:
    """Asks a model with the SDK's own client."""
    client = wire.client("GenerativeService")
    metadata = [("x-goog-api-key", server.api_key())]

    def once(model: str = OLD, contents: Any = None, **fields: Any) -> Any:
        request = {"model": model, "contents": contents or [user("hi there")], **fields}
        return client.generate_content(request, metadata=metadata, retry=None)

    return once


def user(text: str) -> dict[str, Any]:
    """A message of the user's."""
    return {"role": "user", "parts": [{"text": text}]}


def parts(response: Any) -> list[Any]:
    """The parts of the one answer."""
    return list(response.candidates[0].content.parts)


BLOB = glm.Blob(mime_type="image/png", data=b"pixels")


@pytest.mark.parametrize(
    "answer",
    [
        CALL,
        glm.Part(function_call=CALL),
        glm.Content(parts=[glm.Part(function_call=CALL)]),
        glm.Candidate(content=glm.Content(parts=[glm.Part(function_call=CALL)])),
        glm.Candidate.pb(glm.Candidate(content={"parts": [{"function_call": CALL}]})),
        glm.GenerateContentResponse(candidates=[{"content": {"parts": [{"function_call": CALL}]}}]),
        {"functionCall": {"name": "f", "args": {"a": 1}}},
        {"parts": [{"function_call": {"name": "f", "args": {"a": 1}}}]},
        {"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]}},
        [CALL],
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_a_function_call(server: GeminiServer, ask: Any, answer: Any) -> None:
    """In any form it is the same answer."""
    server.respond(OLD, answer)
    response = ask()
    assert parts(response) == [glm.Part(function_call=CALL)]
    assert response.candidates[0].finish_reason == STOP
    assert response.candidates[0].content.role == "model"


def test_a_picture(server: GeminiServer, ask: Any) -> None:
    """Inline data comes as it was given."""
    server.respond(OLD, ["Look: ", BLOB, "fine"])
    text, picture, more = parts(ask())
    assert (text.text, picture.inline_data, more.text) == ("Look: ", BLOB, "fine")


def test_the_sdks_own_answer(server: GeminiServer, ask: Any) -> None:
    """What one test got, another may answer with."""
    import google.generativeai as genai

    message = glm.GenerateContentResponse(candidates=[{"content": {"parts": [{"text": "x"}]}}])
    server.respond(OLD, genai.types.GenerateContentResponse.from_response(message))
    assert parts(ask())[0].text == "x"


def test_google_genais_answers(server: GeminiServer, ask: Any) -> None:
    """Its classes are taken as well."""
    types = pytest.importorskip("google.genai").types
    call = types.FunctionCall(name="f", args={"a": 1})
    whole = types.GenerateContentResponse(
        candidates=[types.Candidate(content=types.Content(parts=[types.Part(function_call=call)]))]
    )
    for answer in (call, types.Part(function_call=call), whole):
        server.respond(OLD, answer)
        assert parts(ask()) == [glm.Part(function_call=CALL)]


def test_how_it_ends_and_what_it_used(server: GeminiServer, ask: Any) -> None:
    """What is given is kept, what is not is made up."""
    usage = {"promptTokenCount": 7, "totalTokenCount": 9}
    server.respond(OLD, {"candidates": [{"finishReason": "SAFETY"}], "usageMetadata": usage})
    response = ask()
    assert response.candidates[0].finish_reason == SAFETY
    assert response.usage_metadata.total_token_count == 9
    server.respond(OLD, "three words here")
    response = ask()
    assert response.usage_metadata.total_token_count == 5
    # The messages of older SDKs have no such field.
    assert getattr(response, "model_version", "gemini-test") == "gemini-test"


def test_a_blocked_prompt(server: GeminiServer, ask: Any) -> None:
    """It has no candidates."""
    server.respond(OLD, {"promptFeedback": {"blockReason": "SAFETY"}})
    response = ask()
    reasons = glm.GenerateContentResponse.PromptFeedback.BlockReason
    assert response.prompt_feedback.block_reason == reasons.SAFETY
    assert not response.candidates


def test_several_candidates(server: GeminiServer, ask: Any) -> None:
    """As many as are asked for, or given."""
    response = ask(generation_config={"candidate_count": 2})
    assert [one.index for one in response.candidates] == [0, 1]
    texts = [{"content": {"parts": [{"text": text}]}} for text in ("a", "b")]
    server.respond(OLD, [{"candidates": texts}, {"candidates": texts}])
    assert [one.content.parts[0].text for one in ask().candidates] == ["aa", "bb"]


def test_chunks_made_one_by_one(server: GeminiServer, ask: Any) -> None:
    """A function may be a generator."""

    def answer(_: Any) -> Any:
        yield "a"
        yield CALL

    server.respond(OLD, answer)
    assert parts(ask()) == [glm.Part(text="a"), glm.Part(function_call=CALL)]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (5, TypeError),
        (glm.FileData(), TypeError),
        ({"txt": "x"}, ValueError),
        ({"content": 5}, ValueError),
    ],
)
def test_what_is_no_answer(server: GeminiServer, ask: Any, answer: Any, kind: type) -> None:
    """Is the test's mistake, and refused where it is given.

    From a function or an iterator, the client hears of an internal error, the test of its own.
    """
    server.respond(OLD, "before")
    for given in (answer, ["a", answer]):
        with pytest.raises(kind, match=r"respond\(\)"):
            server.respond(OLD, given)
    assert parts(ask()) == [glm.Part(text="before")]
    server.respond(OLD, iter([answer]))
    with pytest.raises(exceptions.InternalServerError):
        ask()
    (error,) = server.errors
    assert isinstance(error, kind)
    assert "respond()" in str(error)
    server.errors.clear()


def test_an_answer_from_passages(server: GeminiServer, wire: Any) -> None:
    """A function sees the request as it was sent, with its passages."""

    def answer(request: Any) -> str:
        assert isinstance(request, glm.GenerateAnswerRequest)
        return str(request.inline_passages.passages[0].id)

    server.respond("models/aqa", answer)
    passages = {"passages": [{"id": "one", "content": user("x")}]}
    request = {"model": "models/aqa", "contents": [user("hi")], "inline_passages": passages}
    metadata = [("x-goog-api-key", server.api_key())]
    found = wire.client("GenerativeService").generate_answer(request, metadata=metadata)
    assert found.answer.content.parts[0].text == "one"


# By default

CITY = {"type_": "OBJECT", "properties": {"city": {"type_": "STRING"}}, "required": ["city"]}


def test_a_function_is_called_once(ask: Any) -> None:
    """And when it has answered, the model does."""
    tools = [{"function_declarations": [{"name": "g"}, {"name": "f", "parameters": CITY}]}]
    config = {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}}
    said = ask(tools=tools, tool_config=config).candidates[0].content
    assert dict(said.parts[0].function_call.args) == {"city": "text"}
    result = {"function_response": {"name": "f", "response": {"result": 1}}}
    contents = [user("hi"), said, {"role": "user", "parts": [result]}]
    assert parts(ask(contents=contents, tools=tools))[0].text == f"Hello from {OLD}"
    assert parts(ask(tools=tools))[0].function_call.name == "g"
    none = {"function_calling_config": {"mode": "NONE"}}
    assert parts(ask(tools=tools, tool_config=none))[0].text


def test_json_is_answered_in_json(ask: Any) -> None:
    """By the schema, if there is one."""
    config: dict[str, Any] = {"response_mime_type": "application/json"}
    assert parts(ask(generation_config=config))[0].text == "{}"
    config["response_schema"] = CITY
    assert parts(ask(generation_config=config))[0].text == '{"city": "text"}'


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({}, {}),
        (None, None),
        ({"type": "array", "items": {"type": "number"}}, [1.5]),
        ({"type": ["string", "null"]}, "text"),
        ({"type": "null"}, None),
        (
            {"properties": {"a": {"enum": ["x", "y"]}, "b": {"type": "BOOLEAN"}}},
            {"a": "x", "b": True},
        ),
        ({"properties": {"a": {}}}, {"a": "text"}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"default": 5}, 5),
        ({"$ref": "#/$defs/A", "$defs": {"A": {"const": "a"}}}, "a"),
        ({"$ref": "#/$defs/B/c", "$defs": {"B": 1}}, None),
        ({"$ref": "#"}, None),
    ],
)
def test_samples(schema: Any, expected: Any) -> None:
    """The least that fits."""
    assert samples.sample(schema) == expected


def test_a_json_schema_for_a_call() -> None:
    """Declared by JSON schema, a function is called by it."""
    request = _schemas.message("gemini", "GenerateContentRequest")()
    function = request.tools.add().function_declarations.add(name="f")
    function.parameters_json_schema.struct_value.update({"properties": {"a": {"type": "integer"}}})
    assert answers.by_default(request) == {"functionCall": {"name": "f", "args": {"a": 1}}}
    function.parameters_json_schema.string_value = "nonsense"
    assert answers.by_default(request) == {"functionCall": {"name": "f", "args": {}}}


# Signatures

RESULT: Any = {
    "role": "user",
    "parts": [{"function_response": {"name": "f", "response": {"x": 1}}}],
}


@pytest.fixture
def talk(server: GeminiServer, http: requests.Session) -> Callable[..., Any]:
    """Sends contents in JSON, which has signatures; returns the model's content or the error."""
    key = server.api_key()

    def send(*contents: Any, model: str = MODEL, by: str = key) -> Any:
        url = f"https://{server.rest_endpoint}/v1beta/{model}:generateContent"
        body = {"contents": [user("hi"), *contents]}
        found = http.post(url, json=body, headers={"x-goog-api-key": by}).json()
        return found["candidates"][0]["content"] if "candidates" in found else found["error"]

    return send


def test_a_signature_comes_and_goes_back(server: GeminiServer, talk: Any) -> None:
    """With the first call of a step; sent back, the conversation goes on."""
    server.respond(MODEL, [CALL, CALL])
    said = talk()
    first, second = said["parts"]
    assert first["thoughtSignature"]
    assert "thoughtSignature" not in second
    result = {"role": "user", "parts": RESULT["parts"] * 2}
    assert talk(said, result)["role"] == "model"


def test_a_signature_of_the_tests(server: GeminiServer, talk: Any) -> None:
    """It is known as one of the server's from then on."""
    signature = base64.b64encode(b"mine").decode()
    server.respond(MODEL, {"functionCall": {"name": "f"}, "thoughtSignature": signature})
    said = talk()
    assert said["parts"][0]["thoughtSignature"] == signature
    assert talk(said, RESULT)["role"] == "model"


def test_a_signature_that_was_lost(server: GeminiServer, talk: Any) -> None:
    """Is asked for, in the current turn alone, and of Gemini 3 alone."""
    server.respond("*", CALL)
    said = talk()
    for part in said["parts"]:
        part.pop("thoughtSignature")
    error = talk(said, RESULT)
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert "missing a thought_signature" in error["message"]
    assert "`default_api:f` , position 2" in error["message"]
    assert talk(said, RESULT, user("And now?"))["role"] == "model"
    assert talk(said, RESULT, model=OLD)["role"] == "model"


def test_a_signature_of_somebody_else(server: GeminiServer, talk: Any) -> None:
    """It belongs to the key that it was given to."""
    server.respond(MODEL, CALL)
    said = talk()
    assert talk(said, RESULT, by=server.api_key())["message"] == "Corrupted thought signature."


def test_signatures_over_grpc(server: GeminiServer, channel: Any) -> None:
    """They are in fields that the SDK does not know, and survive there."""
    client = glm.GenerativeServiceClient(
        transport=glm.GenerativeServiceClient.get_transport_class("grpc")(channel=channel)
    )
    more: Any = {"metadata": [("x-goog-api-key", server.api_key())], "retry": None}
    server.respond(MODEL, CALL)
    request = glm.GenerateContentRequest(model=MODEL, contents=[user("hi")])
    said = client.generate_content(request, **more).candidates[0].content
    request.contents += [said, RESULT]
    assert client.generate_content(request, **more).candidates
    request.contents[1] = glm.Content(role="model", parts=[{"function_call": CALL}])
    with pytest.raises(exceptions.InvalidArgument, match="missing a thought_signature"):
        client.generate_content(request, **more)


# Conversations


def test_a_role_that_is_none(talk: Any) -> None:
    """Is refused here too; one that is missing is the user's."""
    assert "valid role" in talk({"role": "robot", "parts": [{"text": "x"}]})["message"]
    assert talk({"parts": [{"text": "x"}]})["role"] == "model"


def test_results_that_are_missing(server: GeminiServer, talk: Any) -> None:
    """Each call of a step needs its own."""
    server.respond(MODEL, [CALL, CALL])
    assert "number of function response parts" in talk(talk(), RESULT)["message"]


def test_a_cache_that_is_not_there(ask: Any) -> None:
    """Is as good as one of somebody else's."""
    with pytest.raises(exceptions.Forbidden, match="CachedContent not found"):
        ask(cached_content="cachedContents/none")
