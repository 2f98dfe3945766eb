from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from google.api_core import exceptions
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.protobuf import json_format

from genai_config.testing._service import rules

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

    from genai_config.testing import GeminiServer

BASE, TUNED, CORPUS = "models/gemini-3.6-flash", "tunedModels/mine", "corpora/c"
EVERY = (rules.CLOUD_PLATFORM, rules.TUNING, rules.RETRIEVER)
PROMPT = [{"parts": [{"text": "hi"}]}]
SEARCH = {"source": CORPUS, "query": PROMPT[0]}


class Refusal(NamedTuple):
    """What a refused request is told."""

    status: str
    reason: str
    message: str


REFUSALS = {
    "U": Refusal("PERMISSION_DENIED", "", "Method doesn't allow unregistered callers"),
    "K": Refusal("INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid."),
    "B": Refusal("INVALID_ARGUMENT", "INVALID_CREDENTIALS", "API key and access token were both"),
    "T": Refusal("UNAUTHENTICATED", "ACCESS_TOKEN_TYPE_UNSUPPORTED", "Request had invalid"),
    "E": Refusal("UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED", "Request had invalid"),
    "N": Refusal("UNAUTHENTICATED", "CREDENTIALS_MISSING", "API keys are not supported"),
    "A": Refusal("PERMISSION_DENIED", "", "You do not have permission to access tuned model"),
    "S": Refusal("PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "Request had insuffic"),
    "Q": Refusal("PERMISSION_DENIED", "SERVICE_DISABLED", "Your application is authenticating"),
}  # fmt: skip

CREDENTIALS = (
    "nothing", "unknown key", "key", "key and token", "unknown token", "expired token",
    "other scope", "generative-language", "cloud-platform", "tuning", "retriever", "person",
)  # fmt: skip

# One letter of REFUSALS for each of CREDENTIALS; a dot where the request is let in.
TABLE = [
    ("generate", "UK.BTES....Q"),
    ("generate, tuned", "UKABTESS..SQ"),
    ("stream", "UK.BTES....Q"),
    ("count", "UK.BTES....Q"),
    ("embed", "UK.BTES....Q"),
    ("answer, inline", "UK.BTES....Q"),
    ("answer, corpus", "UKNBTESSSS.Q"),
    ("models", "UK.BTES.S..Q"),
    ("tuned models", "UKNBTESSS.SQ"),
    ("tuned model", "UKNBTESSS.SQ"),
    ("permissions, tuned", "UKNBTESSS.SQ"),
    ("permissions, corpus", "UKNBTESSS..Q"),
    ("corpora", "UKNBTESSSS.Q"),
    ("files", "UK.BTES....Q"),
    ("caches", "UK.BTES....Q"),
    ("cache, tuned", "UKABTESS..SQ"),
]

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "generate": lambda client, more: client("GenerativeService").generate_content(
        {"model": BASE, "contents": PROMPT}, **more
    ),
    "generate, tuned": lambda client, more: client("GenerativeService").generate_content(
        {"model": TUNED, "contents": PROMPT}, **more
    ),
    "stream": lambda client, more: list(
        client("GenerativeService").stream_generate_content(
            {"model": BASE, "contents": PROMPT}, **more
        )
    ),
    "count": lambda client, more: client("GenerativeService").count_tokens(
        {"model": BASE, "contents": PROMPT}, **more
    ),
    "embed": lambda client, more: client("GenerativeService").embed_content(
        {"model": BASE, "content": PROMPT[0]}, **more
    ),
    "answer, inline": lambda client, more: client("GenerativeService").generate_answer(
        {"model": BASE, "contents": PROMPT}, **more
    ),
    "answer, corpus": lambda client, more: client("GenerativeService").generate_answer(
        {"model": BASE, "contents": PROMPT, "semantic_retriever": SEARCH}, **more
    ),
    "models": lambda client, more: client("ModelService").list_models(**more),
    "tuned models": lambda client, more: client("ModelService").list_tuned_models(**more),
    "tuned model": lambda client, more: client("ModelService").get_tuned_model(name=TUNED, **more),
    "permissions, tuned": lambda client, more: client("PermissionService").list_permissions(
        parent=TUNED, **more
    ),
    "permissions, corpus": lambda client, more: client("PermissionService").list_permissions(
        parent=CORPUS, **more
    ),
    "corpora": lambda client, more: client("RetrieverService").list_corpora(**more),
    "files": lambda client, more: client("FileService").list_files(**more),
    "caches": lambda client, more: client("CacheService").list_cached_contents(**more),
    "cache, tuned": lambda client, more: client("CacheService").create_cached_content(
        cached_content={"model": TUNED}, **more
    ),
}


@pytest.fixture
def headers(server: GeminiServer, fetch: Any) -> dict[str, list[tuple[str, str]]]:
    """All kinds of credentials as headers."""
    account = server.service_account_info()
    signer = RSASigner.from_service_account_info(account)
    now = int(time.time())

    def signed(scope: str) -> list[tuple[str, str]]:
        claims = {"iss": account["client_email"], "iat": now, "exp": now + 600, "scope": scope}
        return bearer(jwt.encode(signer, claims).decode())

    expired = fetch(server.user_credentials(EVERY))
    server.expire_tokens()
    keyed = [("x-goog-api-key", server.api_key())]
    kinds: tuple[list[tuple[str, str]], ...] = (
        [],
        [("x-goog-api-key", "AIzaX")],
        keyed,
        [*keyed, *signed(rules.TUNING)],
        bearer("unknown"),
        bearer(expired),
        signed("openid"),
        signed(rules.GENERATIVE),
        signed(rules.CLOUD_PLATFORM),
        signed(rules.TUNING),
        signed(rules.RETRIEVER),
        bearer(fetch(server.user_credentials(EVERY))),
    )
    return dict(zip(CREDENTIALS, kinds, strict=True))


def bearer(token: str) -> list[tuple[str, str]]:
    """A token as headers."""
    return [("authorization", f"Bearer {token}")]


# Over REST some errors are known by this alone.
BY_HTTP_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}


def outcome(call: Callable[[], Any]) -> str:
    """The letter of what a call ends in, "." if it is let in."""
    try:
        call()
    except exceptions.NotFound:
        return "."  # the door was open, the room is empty
    except exceptions.GoogleAPICallError as error:
        info = error._error_info or {}
        details = info if isinstance(info, dict) else json_format.MessageToDict(info)
        status = getattr(error.grpc_status_code, "name", "") or BY_HTTP_STATUS[int(error.code or 0)]
        found = (status, details.get("reason", ""))
        letters = [
            letter
            for letter, refusal in REFUSALS.items()
            if found == (refusal.status, refusal.reason) and refusal.message in error.message
        ]
        return "".join(letters) or str(error)
    return "."


@pytest.mark.parametrize(("name", "expected"), TABLE)
def test_table(
    server: GeminiServer, wire: Any, headers: dict[str, Any], name: str, expected: str
) -> None:
    """Each kind of method says the same to each kind of credentials, over both wires."""
    call = CALLS[name]
    found = {}
    for kind, sent in headers.items():
        more = {"metadata": sent, "retry": None}
        found[kind] = outcome(functools.partial(call, wire.client, more))
    assert found == dict(zip(CREDENTIALS, expected, strict=True))
    for letter, request in zip(expected, server.requests, strict=True):
        refusal = REFUSALS.get(letter)
        assert request.status in ({refusal.status} if refusal else {"OK", "NOT_FOUND"})


GENERATE = ("GenerativeService.GenerateContent", BASE, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("verb", "path", "written"),
    [
        ("GET", "/v1beta/nothing", ("", "/v1beta/nothing", "NOT_FOUND")),
        ("OPTIONS", "/", ("", "/", "NOT_FOUND")),
        ("DELETE", f"/v1/{BASE}", ("", f"/v1/{BASE}", "NOT_FOUND")),
        ("POST", f"/v1beta/{BASE}:generateContent", GENERATE),
    ],
)
def test_what_is_no_request_is_written_down(
    server: GeminiServer, http: requests.Session, verb: str, path: str, written: tuple[str, ...]
) -> None:
    """Unknown URLs and malformed bodies are in the record, with who sent them."""
    key = {"x-goog-api-key": server.api_key()}
    http.request(verb, f"https://{server.rest_endpoint}{path}", data=b"{", headers=key)
    (request,) = server.requests
    assert (request.method, request.resource, request.status) == written
    assert request.identity == "key-1"
