"""One remedy for each refusal, whoever reads it: SDK, OpenAI's clients, proxy and doctor."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import google.generativeai as genai
import httpx
import openai
import pytest
from google.ai.generativelanguage import CountTokensRequest
from google.api_core.exceptions import GoogleAPICallError
from google.generativeai import client as client_lib

from genai_config import openai as ours
from genai_config import override, safe_configure
from genai_config._auth import refusals
from genai_config._auth.refusals import Answer, Credential, Meaning, Sent
from genai_config._clients.link import attached_to, http_options
from genai_config._clients.resolve import resolve
from genai_config._diagnosis import check_online, doctor
from genai_config._models import MODEL
from genai_config._proxy.server import Proxy
from genai_config._sdk.explained import answer_of
from genai_config._settings.state import state
from genai_config.testing._service.errors import HTTP_STATUS
from genai_config.testing._service.rules import RETRIEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

TUNED = "tunedModels/mine"


class Case(NamedTuple):
    """A refusal: its name in the table, what is sent, how the server comes to refuse it."""

    name: str
    credential: Credential
    plant: Callable[[GeminiServer], Any]
    model: str = MODEL


def key(kind: Any = "standard", key_state: Any = "valid") -> Callable[[GeminiServer], Any]:
    """A key that the server knows, in a state."""
    return lambda server: safe_configure(api_key=server.api_key(kind=kind, state=key_state))


def unknown(server: GeminiServer) -> None:
    """A key of nobody's."""
    del server
    safe_configure(api_key="AQ.0123456789abcdefghijklmnopqrstuvwxyz")


def others(server: GeminiServer) -> None:
    """A key of another vendor's."""
    del server
    safe_configure(api_key="sk-0123456789abcdefghijklmnopqrstuvwxyz")


def planted(status: str, message: str, reason: str = "") -> Callable[[GeminiServer], Any]:
    """A good auth key, and an answer to it."""

    def plant(server: GeminiServer) -> None:
        key("auth")(server)
        server.fail(1, status, message, reason)

    return plant


def with_token(status: str, message: str, reason: str = "") -> Callable[[GeminiServer], Any]:
    """A good token, and an answer to it."""

    def plant(server: GeminiServer) -> None:
        safe_configure(credentials=server.user_credentials(quota_project="p-1234"))
        server.fail(1, status, message, reason)

    return plant


def narrow(server: GeminiServer) -> None:
    """A token without a scope that tuned models take."""
    safe_configure(credentials=server.user_credentials([RETRIEVER], quota_project="p-1234"))


def unbilled(server: GeminiServer) -> None:
    """A person's token without a quota project."""
    safe_configure(credentials=server.user_credentials())


def ended(server: GeminiServer) -> None:
    """Tuned models as since May 2025."""
    server.tuning = "ended"
    safe_configure(credentials=server.user_credentials(quota_project="p-1234"))


def today(server: GeminiServer) -> None:
    """The models that are served today."""
    server.models = "today"
    key("auth")(server)


CASES = [
    Case("standard key refused", "standard key", key("standard", "unsupported")),
    Case("auth key refused", "auth key", key("auth", "unsupported")),
    Case("unknown key", "auth key", unknown),
    Case("unknown key", "OpenAI-style key", others),
    Case("expired key", "standard key", key("standard", "expired")),
    Case("leaked key", "auth key", key("auth", "leaked")),
    Case("blocked key", "standard key", key("standard", "blocked")),
    Case("project denied", "auth key", key("auth", "flagged")),
    Case("project suspended", "auth key", key("auth", "suspended")),
    Case("service disabled", "auth key", planted("PERMISSION_DENIED", "m", "SERVICE_DISABLED")),
    Case("billing", "auth key", planted("PERMISSION_DENIED", "m", "BILLING_DISABLED")),
    Case("key not allowed", "auth key", planted("PERMISSION_DENIED", "Not for you.")),
    Case("two credentials", "auth key",
         planted("INVALID_ARGUMENT", "Multiple authentication credentials received.")),
    Case("signature missing", "auth key", planted(
        "INVALID_ARGUMENT", "Function call is missing a thought_signature in functionCall parts.")),
    Case("signature foreign", "auth key",
         planted("INVALID_ARGUMENT", "Thought signature is not valid")),
    Case("missing permission", "token", with_token("PERMISSION_DENIED", "No permission.")),
    Case("consumer", "token", with_token("PERMISSION_DENIED", "m", "USER_PROJECT_DENIED")),
    Case("quota project", "token", unbilled),
    Case("missing scope", "token", narrow, TUNED),
    Case("tuned model gone", "token", ended, TUNED),
    Case("retired model", "auth key", today, "gemini-2.0-flash"),
    Case("closed to new users", "auth key", today, "gemini-2.5-pro"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long wait, whatever goes wrong."""
    monkeypatch.setattr(check_online, "BOUND", 5.0)


@pytest.fixture
def planted_case(request: pytest.FixtureRequest, server: GeminiServer) -> Case:
    """The case, with the server ready to refuse."""
    case: Case = request.param
    safe_configure(ca_certs=server.ca_file, client_options={"api_endpoint": server.grpc_endpoint})
    case.plant(server)
    return case


def expected(case: Case, answer: Answer) -> Meaning:
    """What the table says of an answer."""
    means = refusals.meaning(Sent(case.credential, "gemini", full(case.model)), answer)
    assert means is not None
    assert means.name == case.name
    return means


def full(model: str) -> str:
    """A model's name as requests have it."""
    return model if "/" in model else f"models/{model}"


def checked(case: Case, error: GoogleAPICallError) -> None:
    """The error's class and message are the service's, and its note is the table's."""
    means = expected(case, answer_of(error))
    told = "".join(error.__notes__) if sys.version_info >= (3, 11) else error.message
    assert told.endswith(f"genai_config: {means}")


by_case = pytest.mark.parametrize(
    "planted_case", CASES, indirect=True, ids=[case.name for case in CASES]
)


@by_case
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_sdk(planted_case: Case, transport: Any, server: GeminiServer) -> None:
    """Whole answers and streams, over both transports."""
    endpoint = server.grpc_endpoint if transport == "grpc" else server.rest_endpoint
    with override(
        transport=transport, tuned_transport=transport, client_options={"api_endpoint": endpoint}
    ):
        model = genai.GenerativeModel(planted_case.model)
        with pytest.raises(GoogleAPICallError) as whole:
            model.generate_content("hi")
        checked(planted_case, whole.value)
        is_old = tuple(map(int, genai.__version__.split(".")[:3])) < (0, 8, 4)
        if is_old and transport == "rest" and planted_case.model.startswith("tunedModels/"):
            return  # pragma: no cover -- it streams from tuned models over gRPC alone
        planted_case.plant(server)
        with pytest.raises(GoogleAPICallError) as streamed:
            model.generate_content("hi", stream=True)
        checked(planted_case, streamed.value)


@by_case
def test_the_sdk_awaited(planted_case: Case, server: GeminiServer) -> None:
    """The same for asyncio."""

    async def ask(*, stream: bool) -> None:
        await genai.GenerativeModel(planted_case.model).generate_content_async("hi", stream=stream)

    for stream in (False, True):
        with pytest.raises(GoogleAPICallError) as caught:
            asyncio.run(ask(stream=stream))
        checked(planted_case, caught.value)
        planted_case.plant(server)


def openai_sees(case: Case) -> bool:
    """Whether the OpenAI-compatible path has such a case: it has no tuned models."""
    return case.model != TUNED


OPENAI_CASES = [case for case in CASES if openai_sees(case)]
by_openai_case = pytest.mark.parametrize(
    "planted_case", OPENAI_CASES, indirect=True, ids=[case.name for case in OPENAI_CASES]
)


@pytest.fixture
def rest(server: GeminiServer) -> Iterator[None]:
    """OpenAI's clients speak HTTP alone."""
    with override(client_options={"api_endpoint": server.rest_endpoint}):
        yield


def remedy_of(case: Case, text: str) -> str:
    """The remedy that the table has for a case; of several rows with its name, the one shown."""
    rows = [row for row in refusals.ROWS if row.name == case.name and case.credential in row.sent]
    start = [row.remedy.partition("{")[0] for row in rows]
    (found,) = {one for one in start if one and one in text} or {""}
    return found


@by_openai_case
def test_openais_client(planted_case: Case, rest: None) -> None:
    """In the message of OpenAI's own error."""
    del rest
    with (
        ours.client(backend="gemini", max_retries=0) as client,
        pytest.raises(openai.APIStatusError) as caught,
    ):
        client.chat.completions.create(
            model=planted_case.model, messages=[{"role": "user", "content": "hi"}]
        )
    said = str(caught.value)
    assert remedy_of(planted_case, said.partition("Remedy: ")[2])


@by_case
def test_the_doctor(planted_case: Case) -> None:
    """In the check that asks for an answer."""
    checks = [check for check in doctor.CHECKS if check.name == "generation"]
    (outcome,) = doctor.examine(planted_case.model, online=True, checks=checks).outcomes
    assert remedy_of(planted_case, outcome.problems[0].remedy)


@by_openai_case
def test_the_proxy(planted_case: Case, rest: None, server: GeminiServer) -> None:
    """In OpenAI's form, with the service's status."""
    del rest
    config = state.current().config
    target = resolve(config, backend="gemini")
    proxy = Proxy(target, lambda: attached_to(config, target), http_options(config))
    thread = threading.Thread(target=proxy.run)
    thread.start()
    with contextlib.ExitStack() as undo:
        undo.callback(thread.join)
        undo.callback(proxy.stop)
        answer = httpx.post(
            f"{proxy.url}/chat/completions",
            headers={"authorization": f"Bearer {proxy.key}"},
            json={"model": planted_case.model, "messages": [{"role": "user", "content": "hi"}]},
            timeout=30,
        )
    assert answer.status_code == HTTP_STATUS[server.requests[-1].status]
    assert remedy_of(planted_case, answer.json()["error"]["message"])


def test_an_auth_key_that_is_no_bearer_token(server: GeminiServer) -> None:
    """It is sent once more by its own header, and by that alone from then on."""
    safe_configure(
        api_key=server.api_key(kind="auth", state="no_bearer"),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.rest_endpoint},
    )
    with ours.client(backend="gemini", max_retries=0) as client:
        for _ in range(2):
            client.models.list()
    names = ("authorization", "x-goog-api-key")
    sent = [[name for name in names if name in r.headers] for r in server.requests]
    assert sent == [["authorization"], ["x-goog-api-key"], ["x-goog-api-key"]]


def test_one_credential_is_sent(server: GeminiServer) -> None:
    """Whatever headers a program adds."""
    safe_configure(
        api_key=server.api_key(kind="auth"),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.rest_endpoint},
    )
    other = {"x-goog-api-key": "AQ.of-somebody-else"}
    with ours.client(backend="gemini", default_headers=other, max_retries=0) as client:
        client.models.list()
    assert "x-goog-api-key" not in server.requests[0].headers


def test_a_call_past_the_client_is_as_in_the_sdk(server: GeminiServer) -> None:
    """Nobody has said whose it is, so nothing is added to its error."""
    safe_configure(
        api_key="AQ.0123456789abcdefghijklmnopqrstuvwxyz",
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
    )
    transport = client_lib.get_default_generative_client()._transport
    method = transport._wrapped_methods[transport.count_tokens]
    with pytest.raises(GoogleAPICallError) as caught:
        method(CountTokensRequest(model=full(MODEL)))
    assert not getattr(caught.value, "__notes__", [])


def test_vertex_ai_names_the_project(server: GeminiServer) -> None:
    """The role is granted in the project of the endpoint."""
    safe_configure(
        credentials=server.service_account_info(),
        ca_certs=server.ca_file,
        vertex_endpoint=server.rest_endpoint,
        tuned_endpoints={TUNED: "projects/p-1234/locations/eu/endpoints/1"},
    )
    server.fail(1, "PERMISSION_DENIED", "Permission 'x' denied.", "IAM_PERMISSION_DENIED")
    with pytest.raises(GoogleAPICallError) as caught:
        genai.GenerativeModel(TUNED).generate_content("hi")
    told = "".join(getattr(caught.value, "__notes__", [])) or str(caught.value)
    assert "gcloud projects add-iam-policy-binding p-1234" in told
