from __future__ import annotations

import base64
import concurrent.futures
import json
import time
from typing import Any

import google.auth
import pytest
import requests
from google.auth import _helpers, external_account, identity_pool, jwt
from google.auth.crypt import RSASigner
from google.auth.exceptions import RefreshError
from google.oauth2 import service_account

from genai_config.testing import GeminiServer
from genai_config.testing._service import rules
from genai_config.testing._service.errors import SERVICE, VERTEX

BASE = "models/gemini-3.6-flash"


def call(
    server: GeminiServer, http: requests.Session, token: str, model: str = f"v1beta/{BASE}"
) -> int:
    """The status of a request with a token."""
    url = f"https://{server.rest_endpoint}/{model}:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    return http.post(url, json=body, headers={"authorization": f"Bearer {token}"}).status_code


def test_service_account(server: GeminiServer, http: requests.Session, fetch: Any) -> None:
    """A service account's key file works with google-auth as it is."""
    credentials = service_account.Credentials.from_service_account_file(
        server.service_account_file(), scopes=[rules.CLOUD_PLATFORM]
    )
    token = fetch(credentials)
    assert token.startswith("ya29.")
    assert call(server, http, token) == 200
    assert server.requests[0].identity == "sa-1@project.iam.gserviceaccount.com"
    assert server.requests[0].scopes == {rules.CLOUD_PLATFORM}
    assert server.tokens.count == 1


@pytest.mark.parametrize("scoped", [True, False])
def test_self_signed(
    server: GeminiServer, http: requests.Session, fetch: Any, *, scoped: bool
) -> None:
    """A token that the account signed itself needs no token endpoint."""
    credentials = service_account.Credentials.from_service_account_info(
        server.service_account_info(), always_use_jwt_access=True
    )
    if scoped:
        credentials = credentials.with_scopes([rules.TUNING])
        credentials._create_self_signed_jwt(None)
    else:
        credentials._create_self_signed_jwt("https://generativelanguage.googleapis.com/")
    token = fetch(credentials)
    assert call(server, http, token) == 200
    assert call(server, http, token) == 200
    assert server.tokens.count == 0
    server.expire_tokens()
    assert call(server, http, token) == 401


@pytest.mark.parametrize("audience", [SERVICE, VERTEX])
def test_self_signed_for_a_service(
    server: GeminiServer, http: requests.Session, fetch: Any, audience: str
) -> None:
    """A token that is signed for one service is not taken by the other."""
    credentials = service_account.Credentials.from_service_account_info(
        server.service_account_info(), always_use_jwt_access=True
    )
    credentials._create_self_signed_jwt(f"https://{audience}/")
    token = fetch(credentials)
    published = f"v1beta1/projects/p/locations/us-central1/publishers/google/{BASE}"
    assert call(server, http, token) == (200 if audience == SERVICE else 401)
    assert call(server, http, token, published) == (200 if audience == VERTEX else 401)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other@example.com"},
        {"exp": 1},
        {"scope": None},
        {"scope": None, "aud": "https://example.com/"},
    ],
)
def test_bad_self_signed(
    server: GeminiServer, http: requests.Session, change: dict[str, Any]
) -> None:
    """A signature is not all that a self-signed token needs."""
    info = server.service_account_info()
    now = int(time.time())
    claims = {"iss": info["client_email"], "iat": now, "exp": now + 60, "scope": "a"} | change
    claims = {name: value for name, value in claims.items() if value is not None}
    token = jwt.encode(RSASigner.from_service_account_info(info), claims).decode()
    assert call(server, http, token) == 401


def test_scopes_are_asked_for(server: GeminiServer, fetch: Any) -> None:
    """A service account without scopes gets no token."""
    credentials = service_account.Credentials.from_service_account_info(
        server.service_account_info()
    )
    with pytest.raises(RefreshError, match="invalid_scope"):
        fetch(credentials)


def test_revoked_account(server: GeminiServer, fetch: Any) -> None:
    """A revoked account's key signs nothing any more."""
    credentials = service_account.Credentials.from_service_account_info(
        server.service_account_info(), scopes=["a"]
    )
    server.revoke("sa-1")
    with pytest.raises(RefreshError, match="invalid_grant"):
        fetch(credentials)


def test_user(server: GeminiServer, fetch: Any) -> None:
    """The scopes of a person's token are those of the login, or some of them."""
    credentials = server.user_credentials(scopes=["a", "b"], quota_project="mine")
    assert fetch(credentials)
    assert credentials.quota_project_id == "mine"
    credentials._scopes = ["a"]
    fetch(credentials)
    assert set(credentials.granted_scopes) == {"a"}
    credentials._scopes = ["c"]
    with pytest.raises(RefreshError, match="invalid_scope"):
        fetch(credentials)


def test_revoked_user(server: GeminiServer, fetch: Any) -> None:
    """A revoked refresh token is an invalid grant."""
    credentials = server.user_credentials()
    server.revoke("user-1@example.com")
    with pytest.raises(RefreshError, match="invalid_grant"):
        fetch(credentials)


def test_external_account(server: GeminiServer, http: requests.Session, fetch: Any) -> None:
    """A workload exchanges its own token."""
    info = json.loads(server.external_account_file("job").read_text())
    credentials = identity_pool.Credentials.from_info(info, scopes=[rules.CLOUD_PLATFORM])
    assert isinstance(credentials, external_account.Credentials)
    assert call(server, http, fetch(credentials)) == 200
    assert server.requests[0].identity == "job"


def test_lifetime(server: GeminiServer, http: requests.Session, fetch: Any) -> None:
    """The lifetime of tokens is settable."""
    server.tokens.lifetime = 7
    before = _helpers.utcnow()
    credentials = server.user_credentials()
    fetch(credentials)
    assert (credentials.expiry - before).total_seconds() < 10
    server.tokens.lifetime = 0
    assert call(server, http, fetch(credentials)) == 401


def test_failures(server: GeminiServer, http: requests.Session) -> None:
    """The token endpoint fails as told, then works, and counts all requests."""

    def post() -> requests.Response:
        return http.post(server.token_uri, data={"grant_type": "password"})

    server.tokens.fail(1, 503, {"error": "temporarily_unavailable"})
    assert post().json() == {"error": "temporarily_unavailable"}
    assert post().json()["error"] == "unsupported_grant_type"
    server.tokens.fail(status=500, body="down")
    assert [post().text for _ in range(2)] == ["down", "down"]
    server.tokens.fail(0)
    assert post().status_code == 400
    assert server.tokens.count == 5


def test_hang(server: GeminiServer, http: requests.Session) -> None:
    """The token endpoint hangs until it is released; hanging twice is hanging."""
    server.tokens.hang()
    server.tokens.hang()
    with pytest.raises(requests.ReadTimeout):
        http.post(server.token_uri, timeout=0.05)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(http.post, server.token_uri)
        server.tokens.release()
        assert waiting.result().status_code == 400


def test_hang_ends_with_the_server() -> None:
    """A hanging token endpoint does not keep the server from stopping."""
    with GeminiServer() as server, concurrent.futures.ThreadPoolExecutor() as pool:
        server.tokens.hang()
        waiting = pool.submit(requests.post, server.token_uri)
        with pytest.raises(requests.ReadTimeout):
            requests.post(server.token_uri, timeout=0.05)
        server.stop()
        waiting.exception()


def test_metadata_server(
    server: GeminiServer, http: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """google-auth finds the machine's own account as on Google's cloud."""
    for name, value in server.environ("metadata").items():
        monkeypatch.setenv(name, value)
    base = f"http://{server.metadata_host}/computeMetadata/v1"
    account = f"{base}/instance/service-accounts/default"
    email = http.get(f"{account}/email").text
    assert http.get(f"{account}/?recursive=true").json()["email"] == email
    assert http.get(f"{base}/project/project-id").text == "project"
    assert http.get(f"{base}/universe/universe-domain").text == "googleapis.com"
    assert http.get(f"http://{server.metadata_host}").headers["Metadata-Flavor"] == "Google"
    token = http.get(f"{account}/token", params={"scopes": rules.TUNING}).json()["access_token"]
    assert call(server, http, token) == 200
    assert server.requests[0].identity == email
    server.tokens.fail(1)
    assert http.get(f"{account}/token").status_code == 500


@pytest.mark.parametrize("adc", ["service_account", "external_account"])
def test_application_default(
    server: GeminiServer, fetch: Any, monkeypatch: pytest.MonkeyPatch, adc: Any
) -> None:
    """google.auth.default() finds what environ() names."""
    for name, value in server.environ(adc).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "mine")
    credentials, project = google.auth.default(scopes=[rules.CLOUD_PLATFORM])
    assert project == "mine"
    assert fetch(credentials)


def test_environment_without_credentials(server: GeminiServer) -> None:
    """environ() names no credentials unless asked."""
    assert set(server.environ().values()) == {str(server.ca_file)}


@pytest.mark.parametrize(
    "form",
    [
        b"grant_type=\xff",
        b"grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion="
        + base64.urlsafe_b64encode(b"[" * 100_000),
        "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=é".encode(),
    ],
    ids=["no UTF-8", "a deep header", "no base64"],
)
def test_a_form_that_is_nonsense(server: GeminiServer, form: bytes) -> None:
    """Is refused as OAuth has it, and is no error of the server's."""
    answer = requests.post(server.token_uri, data=form, timeout=30)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_request", "invalid_grant"}
    assert server.errors == []


def test_a_bearer_token_with_a_deep_header(server: GeminiServer, http: requests.Session) -> None:
    """Is a token that is not valid, no more."""
    # Longer heads are cut off by uvicorn when they come in pieces.
    token = base64.urlsafe_b64encode(b"[" * 10_000).decode()
    url = f"{server.base_url}/v1beta/models"
    answer = http.get(url, headers={"authorization": f"Bearer {token}.x.y"})
    assert answer.json()["error"]["status"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("change", [{"aud": ["x"]}, {"exp": "soon"}, {"scope": 5}])
def test_claims_of_wrong_types(server: GeminiServer, change: dict[str, object]) -> None:
    """Are refused, or read as what they are."""
    account = server.service_account_info()
    now = int(time.time())
    claims = {
        "iss": account["client_email"],
        "aud": server.token_uri,
        "iat": now,
        "exp": now + 60,
        "scope": "x",
    }
    signer = RSASigner.from_service_account_info(account)
    assertion = jwt.encode(signer, {**claims, **change}).decode()
    kind = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    form = {"grant_type": kind, "assertion": assertion}
    answer = requests.post(server.token_uri, data=form, timeout=30)
    assert answer.status_code == (200 if "scope" in change else 400)
