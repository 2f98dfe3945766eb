"""Vertex AI's native side, as google-genai uses it and as its front end refuses."""

from __future__ import annotations

import functools
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from genai_config.testing._service import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import requests

    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"
PLACE = "projects/mine/locations/us-central1"
PUBLISHED = f"{PLACE}/publishers/google/models/{MODEL}"
ENDPOINT = f"{PLACE}/endpoints/123"
HI = {"contents": [{"role": "user", "parts": [{"text": "hi there"}]}]}
PREDICT = "aiplatform.endpoints.predict"

# An array of an array of …
TEXT: dict[str, Any] = {"type": "STRING"}
SCHEMA: Any = functools.reduce(lambda inner, _: {"items": inner}, range(150), TEXT)
DEEP = {**HI, "generationConfig": {"responseSchema": SCHEMA}}


@pytest.fixture
def token(server: GeminiServer, fetch: Any) -> str:
    """A token with the one scope that Vertex AI takes."""
    return str(fetch(server.user_credentials([rules.CLOUD_PLATFORM], name="me@example.com")))


@pytest.fixture
def send(server: GeminiServer, http: requests.Session, token: str) -> Callable[..., Any]:
    """Sends a request as it is, and returns the body of the answer."""

    def call(path: str, body: Any = None, verb: str = "POST", **headers: str) -> Any:
        url = f"https://{server.rest_endpoint}/v1beta1/{path}"
        sent = {"authorization": f"Bearer {token}", "x-goog-user-project": "mine", **headers}
        sent = {name: value for name, value in sent.items() if value}
        given = body if isinstance(body, str | bytes) else json.dumps(body)
        data = None if body is None else given
        return http.request(verb, url, data=data, headers=sent).json()

    return call


@pytest.fixture
def narrow(server: GeminiServer, fetch: Any) -> str:
    """A token that the Gemini API would take."""
    return str(fetch(server.user_credentials([rules.GENERATIVE])))


@pytest.fixture
def client(server: GeminiServer, http: requests.Session) -> Iterator[Any]:
    """google-genai on Vertex AI, with a service account."""
    import google.auth.transport.requests
    from google.oauth2 import service_account

    genai: Any = pytest.importorskip("google.genai")
    credentials = service_account.Credentials.from_service_account_info(
        server.service_account_info("tester"), scopes=[rules.CLOUD_PLATFORM]
    )
    credentials.refresh(google.auth.transport.requests.Request(http))
    trust = {"verify": ssl.create_default_context(cafile=str(server.ca_file))}
    made = genai.Client(
        vertexai=True,
        credentials=credentials,
        project="mine",
        location="us-central1",
        http_options=genai.types.HttpOptions(
            base_url=f"https://{server.rest_endpoint}", client_args=trust, async_client_args=trust
        ),
    )
    yield made
    made.close()


def test_google_genai_generates(server: GeminiServer, client: Any) -> None:
    """Base models and tuned ones, whole and in a stream, are answered by their names."""
    server.respond(MODEL, ["Hel", "lo"])
    server.respond(ENDPOINT, "tuned")
    models = client.models
    assert models.generate_content(model=MODEL, contents="hi").text == "Hello"
    stream = models.generate_content_stream(model=MODEL, contents="hi")
    assert [chunk.text for chunk in stream] == ["Hel", "lo"]
    assert models.generate_content(model=ENDPOINT, contents="hi").text == "tuned"
    assert models.count_tokens(model=MODEL, contents="hi there").total_tokens == 2
    resources = [request.resource for request in server.requests]
    assert resources == [PUBLISHED, PUBLISHED, ENDPOINT, PUBLISHED]
    assert {request.auth for request in server.requests} == {"oauth"}


def test_google_genai_embeds(client: Any) -> None:
    """By each of the two ways of Vertex AI, as wide as asked for."""
    for model, width in (("text-embedding-005", 768), ("gemini-embedding-2", 3072)):
        ask = client.models.embed_content
        assert len(ask(model=model, contents="hi").embeddings[0].values) == width
        narrow = ask(model=model, contents="hi", config={"output_dimensionality": 8})
        assert len(narrow.embeddings[0].values) == 8


def test_google_genai_keeps_caches(client: Any) -> None:
    """They are made, listed, changed, used and deleted under Vertex AI's names."""
    settings = {"contents": ["a b c"], "ttl": "60s", "display_name": "mine"}
    cache = client.caches.create(model=MODEL, config=settings)
    assert cache.name.startswith(f"{PLACE}/cachedContents/")
    assert cache.model == PUBLISHED
    assert [one.name for one in client.caches.list()] == [cache.name]
    changed = client.caches.update(name=cache.name, config={"ttl": "7200s"})
    assert changed.expire_time > cache.expire_time
    assert client.caches.get(name=cache.name).expire_time == changed.expire_time
    used = {"cached_content": cache.name}
    assert client.models.generate_content(model=MODEL, contents="hi", config=used).text
    client.caches.delete(name=cache.name)
    assert list(client.caches.list()) == []


def test_google_genai_sees_models(client: Any) -> None:
    """Those of the publisher can be listed and looked at."""
    names = [model.name for model in client.models.list()]
    assert f"publishers/google/models/{MODEL}" in names
    assert client.models.get(model=MODEL).name == f"publishers/google/models/{MODEL}"
    assert list(client.models.list(config={"query_base": False})) == []


def test_streams(server: GeminiServer, send: Any, http: requests.Session, token: str) -> None:
    """Without alt=sse they are an array, and an error in the middle is its last element."""
    server.respond(MODEL, ["a", ValueError()])
    first, last = send(f"{PUBLISHED}:streamGenerateContent", HI)
    assert first["candidates"][0]["content"] == {"role": "model", "parts": [{"text": "a"}]}
    assert last["error"]["status"] == "INTERNAL"
    url = f"https://{server.rest_endpoint}/v1/{PUBLISHED}:streamGenerateContent?alt=sse"
    headers = {"authorization": f"Bearer {token}", "x-goog-user-project": "mine"}
    events = http.post(url, json=HI, headers=headers).text.split("\r\n\r\n")[:-1]
    assert [json.loads(event[6:]) for event in events] == [first, last]
    server.respond(MODEL, [])
    assert send(f"{PUBLISHED}:streamGenerateContent", HI) == []
    (refused,) = send(f"{PUBLISHED}:streamGenerateContent", {})
    assert refused["error"]["code"] == 400
    assert send(f"{PUBLISHED}:streamGenerateContent?alt=sse", {})["error"]["code"] == 400


def test_an_answer_has_vertex_ais_names(server: GeminiServer, send: Any) -> None:
    """Citations, and reasons that the Gemini API has not."""
    source = {"startIndex": 1, "endIndex": 2, "uri": "https://example.com"}
    server.respond(
        MODEL,
        {
            "candidates": [
                {
                    "finishReason": "MODEL_ARMOR",
                    "citationMetadata": {"citationSources": [source]},
                    "content": {"parts": [{"text": "x"}]},
                }
            ]
        },
    )
    (candidate,) = send(f"{PUBLISHED}:generateContent", HI)["candidates"]
    assert candidate["finishReason"] == "MODEL_ARMOR"
    assert candidate["citationMetadata"] == {"citations": [source]}


def test_signatures_have_vertex_ais_words(server: GeminiServer, send: Any) -> None:
    """One that is missing, and one that was given elsewhere."""
    server.respond(MODEL, {"functionCall": {"name": "f"}})
    path = f"{PUBLISHED}:generateContent"
    said = send(path, HI)["candidates"][0]["content"]
    result = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
    contents = [HI["contents"][0], said, result]
    assert "candidates" in send(path, {"contents": contents})
    said["parts"][0]["thoughtSignature"] = "YQ=="
    foreign = send(path, {"contents": contents})["error"]
    assert "Thought signature is not valid" in foreign["message"]
    del said["parts"][0]["thoughtSignature"]
    missing = send(path, {"contents": contents})["error"]
    assert "`default_api:f` in the 2. content block" in missing["message"]


def test_batches(send: Any) -> None:
    """Several contents are embedded at once."""
    requests = [{"content": HI["contents"][0], "outputDimensionality": 4}] * 2
    path = f"{PLACE}/publishers/google/models/gemini-embedding-2:batchEmbedContents"
    one, two = send(path, {"requests": requests})["embeddings"]
    assert one == two
    assert len(one["values"]) == 4


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**HI, "nothing": 1}, 'Unknown name "nothing": Cannot find field.'),
        (
            {"contents": [{"role": "user", "parts": [{"txt": "hi"}]}]},
            "Unknown name \"txt\" at 'contents[0].parts[0]': Cannot find field.",
        ),
        ({"contents": {"role": "user"}}, "Proto field is repeating"),
        ({**HI, "generationConfig": [1]}, "Proto field is not repeating"),
        ({**HI, "generationConfig": 1}, "Invalid value at 'generation_config'"),
        ({**HI, "generationConfig": {"seed": "x"}}, "seed"),
        ({**HI, "generationConfig": {"seed": True}}, "'generation_config.seed' (TYPE_INT32), true"),
        ({**HI, "labels": {"a": 1}}, "'labels[0].value' (TYPE_STRING), 1"),
        ({**HI, "cachedContent": 1}, "'cached_content' (TYPE_STRING), 1"),
        (
            {**HI, "safetySettings": [{"category": "NONE"}]},
            '(type.googleapis.com/google.cloud.aiplatform.v1beta1.HarmCategory), "NONE"',
        ),
        ({**HI, "toolConfig": {"functionCallingConfig": {"mode": "ANY", "x": 1}}}, '"x" at'),
        ("{", "Invalid JSON payload received."),
        ("[]", "Root element must be a message"),
        ("[" * 100_000, "Message too deep"),
        ('{"cachedContent": "\\ud800"}', "surrogate"),
        (b"\xff", "Invalid JSON payload received."),
        (DEEP, "Message too deep"),
        ({"contents": []}, "at least one contents field is required"),
        ({"contents": [{"parts": [{"text": "hi"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"role": "user"}]}, "at least one parts field"),
    ],
)
def test_what_is_not_understood(server: GeminiServer, send: Any, body: Any, field: str) -> None:
    """Is an invalid argument that names the field."""
    error = send(f"{PUBLISHED}:generateContent", body)["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    assert field in error["message"]
    assert server.requests[0].status == "INVALID_ARGUMENT"


def test_every_unknown_field_is_named(send: Any) -> None:
    """In the details, where programs look."""
    error = send(f"{PUBLISHED}:generateContent", {**HI, "one": 1, "two": 2})["error"]
    (detail,) = error["details"]
    assert detail["@type"].endswith("BadRequest")
    assert len(detail["fieldViolations"]) == 2


def test_null_is_as_good_as_nothing(send: Any) -> None:
    """As in all of Google's JSON."""
    assert "candidates" in send(f"{PUBLISHED}:generateContent", {**HI, "toolConfig": None})


def test_a_mask_that_is_none(send: Any) -> None:
    """An update of a field that is not there is refused."""
    cache = send(f"{PLACE}/cachedContents", {"model": PUBLISHED})
    error = send(f"{cache['name']}?updateMask=nothing", {}, "PATCH")["error"]
    assert (error["status"], "mask" in error["message"]) == ("INVALID_ARGUMENT", True)


@pytest.mark.parametrize(
    ("headers", "code", "reason"),
    [
        ({"authorization": ""}, 401, "CREDENTIALS_MISSING"),
        ({"authorization": "Bearer nothing"}, 401, "ACCESS_TOKEN_TYPE_UNSUPPORTED"),
        ({"authorization": "NARROW"}, 403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        ({"x-goog-user-project": ""}, 403, "SERVICE_DISABLED"),
    ],
)
def test_who_is_refused(
    send: Any, narrow: str, headers: dict[str, str], code: int, reason: str
) -> None:
    """As Vertex AI does it: with its name, and the reason."""
    values = {"NARROW": f"Bearer {narrow}"}
    sent = {name: values.get(value, value) for name, value in headers.items()}
    error = send(f"{PUBLISHED}:generateContent", HI, **sent)["error"]
    assert (error["code"], error["details"][0]["reason"]) == (code, reason)
    assert error["details"][0]["metadata"]["service"] == "aiplatform.googleapis.com"


def test_a_key(server: GeminiServer, send: Any) -> None:
    """One of the Gemini API opens nothing here."""
    headers = {"authorization": "", "x-goog-api-key": server.api_key(kind="auth")}
    error = send(f"{PUBLISHED}:generateContent", HI, **headers)["error"]
    assert (error["code"], error["details"][0]["reason"]) == (401, "CREDENTIALS_MISSING")


def test_an_express_key(server: GeminiServer, send: Any) -> None:
    """It opens publishers' models, and no endpoint."""
    headers = {"authorization": "", "x-goog-api-key": server.api_key(kind="express")}
    for path in (PUBLISHED, f"publishers/google/models/{MODEL}"):
        assert "candidates" in send(f"{path}:generateContent", HI, **headers)
    error = send(f"{ENDPOINT}:generateContent", HI, **headers)["error"]
    assert error["details"][0]["reason"] == "CREDENTIALS_MISSING"


@pytest.mark.parametrize("account", ["me", "me@example.com"])
def test_a_role_is_missing(server: GeminiServer, send: Any, account: str) -> None:
    """IAM's answer names the permission and the resource."""
    server.deny(account)
    error = send(f"{ENDPOINT}:generateContent", HI)["error"]
    assert (error["code"], error["status"]) == (403, "PERMISSION_DENIED")
    assert error["details"][0]["reason"] == "IAM_PERMISSION_DENIED"
    assert error["details"][0]["metadata"] == {"permission": PREDICT, "resource": ENDPOINT}
    assert send(f"{PLACE}/cachedContents", verb="GET") == {}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"{PLACE}/publishers/google/models/none", "models/none` was not found"),
        (f"{PLACE}/publishers/meta/models/llama", "publishers/meta/models/llama` was not found"),
        (f"{PLACE}/publishers/google/models/{MODEL}-x", f"models/{MODEL}-x` was not found"),
        (ENDPOINT, f"Endpoint `{ENDPOINT}` not found"),
    ],
)
def test_what_is_not_there(server: GeminiServer, send: Any, path: str, text: str) -> None:
    """Models and endpoints that do not exist, or no longer."""
    server.set_model(ENDPOINT, "missing")
    server.set_model(f"{MODEL}-x", "retired")
    for verb in ("generateContent", "countTokens"):
        error = send(f"{path}:{verb}", HI)["error"]
        assert (error["code"], error["status"]) == (404, "NOT_FOUND")
        assert text in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (f"{PUBLISHED}:nothing", {}, 404),
        ("nothing", {}, 404),
        (f"{PUBLISHED}:embedContent", {"content": HI["contents"][0]}, 400),
        (f"{PUBLISHED}:predict", {"instances": [{"content": "hi"}]}, 400),
        (f"{PLACE}/publishers/google/models/text-embedding-005:predict", {"instances": [1]}, 400),
        (f"{PUBLISHED}:generateContent", {**HI, "cachedContent": "x/cachedContents/1"}, 403),
        (f"{PLACE}/cachedContents", {"model": f"{PLACE}/publishers/google/models/none"}, 404),
    ],
)
def test_what_cannot_be_done(send: Any, path: str, body: Any, code: int) -> None:
    """Is refused, each in its way."""
    assert send(path, body)["error"]["code"] == code
