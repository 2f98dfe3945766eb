from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from google.ai import generativelanguage_v1beta as glm
from google.api_core import exceptions
from google.auth import jwt
from google.auth.crypt import RSASigner
from google.protobuf import json_format

from genai_config.testing._service import rules
from genai_config.testing._service.errors import ServiceError

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

BASE = "models/gemini-3.6-flash"
TUNED = "tunedModels/mine"
PROMPT = [{"parts": [{"text": "hi there"}]}]


def bearer(token: str, **headers: str) -> list[tuple[str, str]]:
    """A token and more, as metadata."""
    return [("authorization", f"Bearer {token}"), *headers.items()]


def key(value: str) -> list[tuple[str, str]]:
    """A key as metadata."""
    return [("x-goog-api-key", value)]


def issue(server: GeminiServer, *scopes: str) -> str:
    """A token that a service account signed itself."""
    account = server.service_account_info("tester")
    now = int(time.time())
    claims = {
        "iss": account["client_email"],
        "iat": now,
        "exp": now + 600,
        "scope": " ".join(scopes),
    }
    return str(jwt.encode(RSASigner.from_service_account_info(account), claims).decode())


def generate(wire: Any, model: str, metadata: Any) -> Any:
    """Asks a model once."""
    client = wire.client("GenerativeService")
    request = glm.GenerateContentRequest(model=model, contents=PROMPT)
    return client.generate_content(request, metadata=metadata, retry=None)


def refused(kind: type[Exception], call: Any) -> Any:
    """The error that a call ends in."""
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def info(error: Any) -> Any:
    """The ErrorInfo: a message over gRPC, a dict over REST."""
    found = error._error_info
    return found if isinstance(found, dict) else json_format.MessageToDict(found)


def test_valid_key(server: GeminiServer, wire: Any) -> None:
    """A key is enough for a base model."""
    answer = generate(wire, BASE, key(server.api_key()))
    assert answer.candidates[0].content.parts[0].text == f"Hello from {BASE}"
    assert server.requests[0].identity == "key-1"
    assert server.requests[0].transport == wire.name


def test_unknown_key(wire: Any) -> None:
    """An unknown key is an invalid argument, not a missing permission."""
    error = refused(exceptions.BadRequest, lambda: generate(wire, BASE, key("AIzaX")))
    assert info(error).items() >= {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}.items()
    assert info(error)["metadata"] == {"service": "generativelanguage.googleapis.com"}


def test_no_credentials(wire: Any) -> None:
    """Callers without identity are refused."""
    error = refused(exceptions.Forbidden, lambda: generate(wire, BASE, []))
    assert "unregistered callers" in error.message


def test_key_on_tuned_model(server: GeminiServer, wire: Any) -> None:
    """A key has no access to a tuned model."""
    metadata = key(server.api_key())
    error = refused(exceptions.Forbidden, lambda: generate(wire, TUNED, metadata))
    assert error.message.endswith(f"You do not have permission to access tuned model {TUNED}.")
    assert server.requests[0].status == "PERMISSION_DENIED"


def test_key_where_only_oauth_is_taken(server: GeminiServer, wire: Any) -> None:
    """Listing tuned models takes no key at all."""
    client = wire.client("ModelService")
    metadata = key(server.api_key())
    error = refused(
        exceptions.Unauthorized, lambda: client.list_tuned_models(metadata=metadata, retry=None)
    )
    assert info(error)["reason"] == "CREDENTIALS_MISSING"


def test_key_and_token(server: GeminiServer, wire: Any) -> None:
    """A client that sends both is told so."""
    metadata = [*key(server.api_key()), *bearer("x")]
    refused(exceptions.BadRequest, lambda: generate(wire, BASE, metadata))
    assert server.requests[0].auth == "both"
    assert server.requests[0].headers["authorization"] == "Bearer ***"
    assert server.requests[0].headers["x-goog-api-key"] == "***"


@pytest.mark.parametrize(
    "header", ["Bearer unknown", "Bearer W10.x.y", "Bearer e30.x.y", "Basic x"]
)
def test_unknown_token(wire: Any, header: str) -> None:
    """What is no token of ours is no authentication."""
    metadata = [("authorization", header)]
    error = refused(exceptions.Unauthorized, lambda: generate(wire, BASE, metadata))
    assert info(error)["reason"] == "ACCESS_TOKEN_TYPE_UNSUPPORTED"


def test_expired_token(server: GeminiServer, wire: Any, fetch: Any) -> None:
    """A token that has expired is refused with its own reason."""
    token = fetch(server.user_credentials())
    server.expire_tokens()
    error = refused(exceptions.Unauthorized, lambda: generate(wire, BASE, bearer(token)))
    assert info(error)["reason"] == "ACCESS_TOKEN_EXPIRED"
    assert server.requests[0].identity == "user-1@example.com"


def test_scope_missing(server: GeminiServer, wire: Any) -> None:
    """A token without the scope is refused, and the answer names the method."""
    token = issue(server, rules.GENERATIVE)
    error = refused(exceptions.Forbidden, lambda: generate(wire, TUNED, bearer(token)))
    assert info(error)["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
    assert info(error)["metadata"]["method"].endswith("v1beta.GenerativeService.GenerateContent")
    assert server.requests[0].scopes == {rules.GENERATIVE}


def test_scope_present(server: GeminiServer, wire: Any) -> None:
    """The scope of tuning opens tuned models."""
    token = issue(server, rules.TUNING)
    answer = generate(wire, TUNED, bearer(token))
    assert answer.candidates[0].content.parts[0].text == f"Hello from {TUNED}"


def test_listing_models_needs_more_than_cloud_platform(server: GeminiServer, wire: Any) -> None:
    """cloud-platform alone does not list models."""
    client = wire.client("ModelService")
    token = issue(server, rules.CLOUD_PLATFORM)
    refused(exceptions.Forbidden, lambda: client.list_models(metadata=bearer(token), retry=None))


def test_quota_project(server: GeminiServer, wire: Any, fetch: Any) -> None:
    """A person's token needs a quota project."""
    token = fetch(server.user_credentials())
    error = refused(exceptions.Forbidden, lambda: generate(wire, BASE, bearer(token)))
    assert "quota project" in error.message
    headers = {"x-goog-user-project": "mine"}
    assert generate(wire, BASE, bearer(token, **headers)).candidates


@pytest.mark.parametrize(
    ("method", "resource", "expected"),
    [
        ("RetrieverService.ListCorpora", [], "UNAUTHENTICATED"),
        ("PermissionService.GetPermission", ["tunedModels/a/permissions/b"], "UNAUTHENTICATED"),
        ("PermissionService.GetPermission", ["corpora/a/permissions/b"], "UNAUTHENTICATED"),
        ("GenerativeService.GenerateAnswer", ["models/aqa", "corpora/a"], "UNAUTHENTICATED"),
        ("Operations.GetOperation", ["tunedModels/a/operations/b"], "PERMISSION_DENIED"),
        ("Operations.ListOperations", [], "UNAUTHENTICATED"),
        ("FileService.CreateFile", [], "OK"),
        ("ModelService.ListModels", [], "OK"),
    ],
)
def test_table_for_keys(method: str, resource: list[str], expected: str) -> None:
    """Each kind of method treats a key in its own way."""
    caller = rules.Caller("api_key", "key-1")
    status = "OK"
    try:
        rules.check(method, method, resource, caller, None)
    except ServiceError as error:
        status = error.status
    assert status == expected


def test_revoked(server: GeminiServer, wire: Any, fetch: Any) -> None:
    """A revoked identity is refused while the server runs."""
    value = server.api_key("mine")
    token = fetch(server.user_credentials(name="me@example.com"))
    signed = issue(server, rules.CLOUD_PLATFORM)
    for name in ("mine", "me@example.com", "tester"):
        server.revoke(name)
    refused(exceptions.BadRequest, lambda: generate(wire, BASE, key(value)))
    refused(exceptions.Unauthorized, lambda: generate(wire, BASE, bearer(token)))
    refused(exceptions.Unauthorized, lambda: generate(wire, BASE, bearer(signed)))
    assert [request.identity for request in server.requests] == ["mine", "me@example.com", None]
    with pytest.raises(KeyError):
        server.revoke("nobody")
