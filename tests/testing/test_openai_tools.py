"""OpenAI's newest client on the server: tools, pictures, structured answers, refusals."""

from __future__ import annotations

import base64
import importlib
import importlib.util
import json
import ssl
from typing import TYPE_CHECKING, Any

import openai
import pydantic
import pytest
from google.ai import generativelanguage_v1beta as glm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

httpx: Any = importlib.import_module("httpx2" if importlib.util.find_spec("httpx2") else "httpx")

MODEL = "gemini-3.6-flash"
ASK: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
CALL = glm.FunctionCall(name="get_weather", args={"city": "Paris", "days": 2})


class Forecast(pydantic.BaseModel):
    """What the model is to answer with."""

    city: str
    degrees: list[int]


@pytest.fixture
def client(server: GeminiServer) -> Iterator[openai.OpenAI]:
    """A client of the Gemini API, with a key."""
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    with httpx.Client(verify=trust, trust_env=False) as http:
        yield openai.OpenAI(
            api_key=server.api_key(),
            base_url=f"https://{server.rest_endpoint}/v1beta/openai",
            http_client=http,
            max_retries=0,
        )


@pytest.fixture
def ask(client: openai.OpenAI) -> Callable[..., Any]:
    """Asks the model."""

    def create(messages: Any = ASK, **options: Any) -> Any:
        return client.chat.completions.create(**{"model": MODEL, "messages": messages, **options})

    return create


def test_a_conversation_with_a_tool(server: GeminiServer, ask: Any) -> None:
    """The call comes with its signature, goes back as it came, and the result is seen."""
    seen = []

    def answer(request: Any) -> Any:
        seen.append(request)
        answered = any(p.function_response for p in request.contents[-1].parts)
        return "It is sunny." if answered else [CALL, CALL]

    server.respond(MODEL, answer)
    choice = ask(tools=[TOOL]).choices[0]
    first, second = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert json.loads(first.function.arguments) == {"city": "Paris", "days": 2}
    assert first.extra_content["google"]["thought_signature"]
    assert not hasattr(second, "extra_content")
    results = [
        {"role": "tool", "tool_call_id": one.id, "content": text}
        for one, text in ((first, '{"sky": "blue"}'), (second, "fine"))
    ]
    done = ask([*ASK, choice.message, *results], tools=[TOOL])
    assert done.choices[0].message.content == "It is sunny."
    assert seen[0].tools[0].function_declarations[0].name == "get_weather"
    found = [part.function_response for part in seen[1].contents[2].parts]
    assert [(one.name, dict(one.response)) for one in found] == [
        ("get_weather", {"sky": "blue"}),
        ("get_weather", {"result": "fine"}),
    ]


def test_a_call_without_its_signature(server: GeminiServer, ask: Any) -> None:
    """Is refused, as by the service; the documented placeholder is not."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
    said = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "1", "content": "x"}
    with pytest.raises(openai.BadRequestError) as missing:
        ask([*ASK, said, result])
    assert "missing a thought_signature" in missing.value.response.text
    placeholder = {"google": {"thought_signature": "skip_thought_signature_validator"}}
    signed = {**said, "tool_calls": [{**call, "extra_content": placeholder}]}
    assert ask([*ASK, signed, result]).choices
    foreign = {"google": {"thought_signature": base64.b64encode(b"theirs").decode()}}
    with pytest.raises(openai.BadRequestError) as corrupted:
        ask([*ASK, {**said, "tool_calls": [{**call, "extra_content": foreign}]}, result])
    assert "Corrupted thought signature" in corrupted.value.response.text
    assert server.errors == []


def test_calls_in_a_stream(server: GeminiServer, ask: Any) -> None:
    """Each has its own index, and the end says that there were calls."""
    server.respond(MODEL, ["Let me see.", CALL, CALL])
    choices = [chunk.choices[0] for chunk in ask(tools=[TOOL], stream=True)]
    calls = [call for one in choices for call in one.delta.tool_calls or []]
    assert [call.index for call in calls] == [0, 1]
    assert calls[0].extra_content["google"]["thought_signature"]
    assert choices[0].delta.content == "Let me see."
    assert [one.finish_reason for one in choices] == [None, None, "tool_calls"]


@pytest.mark.parametrize(
    ("choice", "mode", "names"),
    [
        ("none", "NONE", []),
        ("auto", "AUTO", []),
        ("required", "ANY", []),
        ({"type": "function", "function": {"name": "get_weather"}}, "ANY", ["get_weather"]),
    ],
)
def test_the_choice_of_a_tool(
    server: GeminiServer, ask: Any, choice: Any, mode: str, names: list[str]
) -> None:
    """Reaches the model; without an answer of the test's, the model acts on it."""
    assert bool(ask(tools=[TOOL], tool_choice=choice).choices[0].message.tool_calls) == (
        mode != "NONE"
    )

    def answer(request: Any) -> str:
        config = request.tool_config.function_calling_config
        assert (config.mode.name, list(config.allowed_function_names)) == (mode, names)
        return "seen"

    server.respond(MODEL, answer)
    assert ask(tools=[TOOL], tool_choice=choice).choices[0].message.content == "seen"


def test_structured_answers(server: GeminiServer, client: openai.OpenAI) -> None:
    """A schema is followed by default, and reaches a function of the test's."""

    def parse() -> Any:
        done = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Forecast)
        return done.choices[0].message.parsed

    assert parse() == Forecast(city="text", degrees=[1])
    server.respond(MODEL, '{"city": "Paris", "degrees": [20]}')
    assert parse() == Forecast(city="Paris", degrees=[20])


def test_a_tool_without_parameters(ask: Any) -> None:
    """It is called with nothing."""
    tool = {"type": "function", "function": {"name": "f", "strict": True}}
    (call,) = ask(tools=[tool]).choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("f", "{}")


def test_json_and_text(ask: Any) -> None:
    """The other formats."""
    formats = ({"type": "json_object"}, {"type": "text"})
    texts = [ask(response_format=one).choices[0].message.content for one in formats]
    assert texts == ["{}", f"Hello from models/{MODEL}"]


def test_pictures_and_sound(server: GeminiServer, ask: Any) -> None:
    """Come as data, or by their address."""
    data = base64.b64encode(b"pixels").decode()

    def answer(request: Any) -> str:
        _, inline, linked, sound = request.contents[0].parts
        assert (inline.inline_data.mime_type, inline.inline_data.data) == ("image/png", b"pixels")
        assert linked.file_data.file_uri == "gs://bucket/a.webp"
        assert linked.file_data.mime_type == "image/webp"
        assert sound.inline_data.mime_type == "audio/wav"
        return "seen"

    server.respond(MODEL, answer)
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "gs://bucket/a.webp"}},
        {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}},
    ]
    assert ask([{"role": "user", "content": content}]).choices[0].message.content == "seen"


def test_several_answers(ask: Any) -> None:
    """As many as are wanted, whole and in a stream."""
    assert [one.index for one in ask(n=3).choices] == [0, 1, 2]
    chunks = list(ask(n=2, stream=True))
    assert [one.finish_reason for one in chunks[-1].choices] == ["stop", "stop"]


@pytest.mark.parametrize(
    ("reason", "finished"),
    [
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "function_call_filter: MALFORMED_FUNCTION_CALL"),
        ("OTHER", "content_filter: OTHER"),
    ],
)
def test_how_an_answer_ends(server: GeminiServer, ask: Any, reason: str, finished: str) -> None:
    """Never with "stop", unless it is a good end."""
    server.respond(MODEL, {"finishReason": reason})
    assert ask().choices[0].finish_reason == finished
    (chunk,) = ask(stream=True)
    assert chunk.choices[0].finish_reason == finished


def test_a_blocked_prompt(server: GeminiServer, ask: Any) -> None:
    """Has no answer."""
    server.respond(MODEL, {"promptFeedback": {"blockReason": "SAFETY"}})
    choice = ask().choices[0]
    assert (choice.finish_reason, choice.message.content) == ("content_filter", None)
    (chunk,) = ask(stream=True)
    assert chunk.choices[0].finish_reason == "content_filter"


def test_usage_and_thoughts(server: GeminiServer, ask: Any) -> None:
    """Thoughts are counted and not shown; a signed text can be sent back."""
    usage = {"promptTokenCount": 1, "candidatesTokenCount": 2, "thoughtsTokenCount": 3}
    usage |= {"totalTokenCount": 6, "cachedContentTokenCount": 1}
    parts = [{"text": "hm", "thought": True}, {"text": "yes", "thoughtSignature": "YQ=="}]
    server.respond(MODEL, {"candidates": [{"content": {"parts": parts}}], "usageMetadata": usage})
    done = ask()
    message = done.choices[0].message
    assert message.content == "yes"
    assert message.extra_content == {"google": {"thought_signature": "YQ=="}}
    assert done.usage.completion_tokens == 5
    assert done.usage.completion_tokens_details.reasoning_tokens == 3
    assert done.usage.prompt_tokens_details.cached_tokens == 1
    assert ask([*ASK, message, {"role": "user", "content": "Sure?"}]).choices


def test_what_openai_has_no_place_for(server: GeminiServer, ask: Any) -> None:
    """A picture in an answer is the test's mistake, and told to it."""
    server.respond(MODEL, {"inlineData": {"mimeType": "image/png", "data": "YQ=="}})
    with pytest.raises(openai.InternalServerError):
        ask()
    with pytest.raises(openai.APIError):
        list(ask(stream=True))
    assert [type(error) for error in server.errors] == [ValueError, ValueError]
    server.errors.clear()


def test_settings(server: GeminiServer, ask: Any) -> None:
    """Reach the model, Google's own additions too."""
    seen: list[Any] = []

    def answer(request: Any) -> str:
        seen.append(request)
        return "ok"

    server.respond(MODEL, answer)
    ask(presence_penalty=0.5, seed=1, reasoning_effort="low", user="me", parallel_tool_calls=True)
    ask(reasoning_effort="none", stop=["a", "b"])
    own = {"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]}
    ask(extra_body={"extra_body": {"google": own}})
    ask(extra_body={"google": {"thinking_config": {"include_thoughts": True}}})
    # The messages of older SDKs have no such field.
    assert getattr(seen[0].generation_config, "presence_penalty", 0.5) == 0.5
    assert list(seen[1].generation_config.stop_sequences) == ["a", "b"]
    assert seen[2].safety_settings[0].threshold.name == "BLOCK_NONE"


CALLED = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f"}}]}


def picture(url: Any) -> list[Any]:
    """A message with a picture."""
    content = [{"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"store": True}, 'Unknown name "store"'),
        ({"model": 5}, "No model is named"),
        ({"temperature": "hot"}, "'temperature'"),
        ({"n": True}, "'n'"),
        ({"stream_options": 5}, "'stream_options'"),
        ({"stream_options": {"x": 1}}, "Unknown name \"x\" at 'stream_options'"),
        ({"messages": []}, "contents is not specified"),
        ({"messages": [{"role": "system", "content": "x"}]}, "contents is not specified"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": "x", "mood": 1}]}, 'Unknown name "mood"'),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "it has no content"),
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "content"),
        ({"messages": picture("ftp://x")}, "image_url.url"),
        ({"messages": picture(None)}, "image_url.url"),
        ({"messages": picture("data:image/png;base64,?")}, "Base64"),
        ({"messages": [{"role": "tool", "tool_call_id": "9", "content": "x"}]}, "no call"),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "tool_calls[0]"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{"}}]}]},
            "a name and JSON",
        ),
        ({"messages": [*ASK, CALLED, *ASK]}, "number of function response parts"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{"type": "custom"}]}, "functions alone"),
        ({"tools": [{**TOOL, "x": 1}]}, "Unknown name \"x\" at 'tools[0]'"),
        ({"tools": [{"type": "function", "function": {"x": 1}}]}, "tools[0].function"),
        ({"tools": [TOOL], "tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": "required"}, "function_declarations"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "json_schema.schema"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"logprobs": True}, "Logprobs"),
        ({"google": {"x": 1}}, "Unknown name \"x\" at 'extra_body.google'"),
        ({"extra_body": {"x": 1}}, "Unknown name \"x\" at 'extra_body'"),
    ],
)
def test_what_is_refused(server: GeminiServer, ask: Any, options: Any, text: str) -> None:
    """By its name, as an invalid argument; nothing is dropped without a word."""
    body = {"messages": ASK, **options}
    with pytest.raises(openai.BadRequestError) as caught:
        ask(body.pop("messages"), extra_body=body)
    (error,) = caught.value.response.json()
    assert error["error"]["status"] == "INVALID_ARGUMENT"
    assert text in error["error"]["message"]
    assert server.errors == []


@pytest.mark.parametrize(
    "options",
    [{"input": []}, {"input": [[1, 2]]}, {"encoding_format": "x"}, {"dimensions": 9999}, {"x": 1}],
)
def test_embeddings_that_are_refused(client: openai.OpenAI, options: Any) -> None:
    """Likewise."""
    body = {"model": "gemini-embedding-2", "input": "hi", "encoding_format": "float", **options}
    with pytest.raises(openai.BadRequestError):
        client.post("/embeddings", body=body, cast_to=object)


def test_the_width_of_embeddings(client: openai.OpenAI) -> None:
    """As asked for, else as wide as the model's are."""
    create = client.embeddings.create
    narrow = create(model="gemini-embedding-2", input="hi", dimensions=8).data[0].embedding
    wide = create(model="gemini-embedding-2", input="hi").data[0].embedding
    assert (len(narrow), len(wide)) == (8, 3072)
    assert wide[:8] == narrow
