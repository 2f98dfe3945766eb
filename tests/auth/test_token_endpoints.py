"""Token endpoints that do not do what they should, and well again: what the caller gets."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from google.auth import _exponential_backoff, compute_engine, impersonated_credentials
from google.auth.compute_engine import _metadata
from google.auth.exceptions import RefreshError, TransportError
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials as EndUser

from genai_config._auth import credentials
from genai_config._auth.token_errors import token_endpoint
from genai_config._auth.token_source import TokenSource
from genai_config._routing.decision import TUNED_SCOPES
from genai_config._settings.secrets import SecretMapping
from genai_config.exceptions import CredentialsTimeoutError, TokenRefreshError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config._auth.credentials import Found
    from genai_config.testing import GeminiServer

IAM = "/v1/projects/-/serviceAccounts/robot@project.iam.gserviceaccount.com:generateAccessToken"


def workload(server: GeminiServer, token_uri: str, **more: str) -> Found:
    """A workload outside of Google's cloud, as its file names the endpoint."""
    info = json.loads(server.external_account_file().read_text(encoding="utf-8"))
    return credentials.find(SecretMapping({**info, "token_url": token_uri, **more}), TUNED_SCOPES)


def login(server: GeminiServer, token_uri: str) -> Found:
    """A person."""
    return credentials.find(server.user_credentials().with_token_uri(token_uri), TUNED_SCOPES)


def delegate(server: GeminiServer, token_uri: str) -> Found:
    """A service account that acts for a person, and so cannot sign its own tokens."""
    key = service_account.Credentials.from_service_account_info(
        {**server.service_account_info(), "token_uri": token_uri}, subject="me@example.com"
    )
    return credentials.find(key, TUNED_SCOPES)


class Case:
    """A source of tokens, and its endpoint.

    Attributes:
        address: Where the endpoint is, for credentials that are found from now on.
        flight: The thread that fetched last.
    """

    def __init__(self, server: GeminiServer, find: Callable[[GeminiServer, str], Found]) -> None:
        self.server, self.find = server, find
        self.address = server.token_uri
        self.flight = threading.current_thread()
        self.asked = threading.Event()

    def source(self, auth_timeout: float = 30) -> TokenSource:
        """A new source."""
        return TokenSource(lambda: self.find(self.server, self.address), self.request, auth_timeout)

    def request(self) -> Request:
        """What tokens are fetched with."""
        self.flight = threading.current_thread()
        self.asked.set()
        return Request()

    def failure(self, source: TokenSource, kind: type[TokenRefreshError]) -> TokenRefreshError:
        """How a caller fails, who has to hear of it in time, and of whom."""
        begun = time.monotonic()
        with pytest.raises(TokenRefreshError) as caught:
            source.token()
        assert time.monotonic() - begun < 30
        assert type(caught.value) is kind
        assert f"{self.address} " in caught.value.problem
        assert "ya29" not in str(caught.value)
        return caught.value


@pytest.fixture(params=[workload, login, delegate])
def case(server: GeminiServer, request: pytest.FixtureRequest) -> Iterator[Case]:
    """Each kind of credentials that uses a token endpoint."""
    yield Case(server, request.param)
    server.tokens.release()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """google-auth tries three times, and sleeps in between: not here."""
    monkeypatch.setattr(_exponential_backoff, "time", SimpleNamespace(sleep=lambda _: None))


NO_ANSWER = "the response is not that of a token endpoint"


@pytest.mark.parametrize(
    ("status", "body", "problems", "remedy"),
    [
        (500, "", ["RefreshError", "OAuthError"], "can be reached"),
        (503, {"error": "temporarily_unavailable"}, ["temporarily_unavailable"], "can be reached"),
        (400, {"error": "invalid_grant"}, ["invalid_grant"], "log in again"),
        (401, {"error": "invalid_client"}, ["invalid_client"], "--client-id-file"),
        (404, "<html>ya29.no</html>", ["**********"], "can be reached"),
        (200, "<html>", [NO_ANSWER], "can be reached"),
        (200, {}, [NO_ANSWER, "No access token in response"], "can be reached"),
        (200, [], [NO_ANSWER], "can be reached"),
        (200, {"access_token": "", "expires_in": 1}, ["no token in the answer"], "can be reached"),
    ],
)
def test_a_wrong_answer(
    case: Case, status: int, body: Any, problems: list[str], remedy: str
) -> None:
    """The error says what came, from where and for whom; when it is mended, so is the source."""
    source = case.source()
    case.server.tokens.fail(status=status, body=body)
    error = case.failure(source, TokenRefreshError)
    assert [problem for problem in problems if problem in error.problem]
    assert remedy in error.remedy
    case.server.tokens.fail(0)
    assert source.token().startswith("ya29.")


def test_one_that_refuses_connections(case: Case) -> None:
    """The credentials are looked for again, so one that has moved is found."""
    with socket.socket() as taken:
        taken.bind(("localhost", 0))  # and does not listen
        case.address = f"http://localhost:{taken.getsockname()[1]}/token"
        source = case.source()
        error = case.failure(source, TokenRefreshError)
    assert "can be reached" in error.remedy
    case.address = case.server.token_uri
    assert source.token().startswith("ya29.")


def test_one_that_is_slow(case: Case) -> None:
    """It is waited for."""
    source = case.source()
    case.server.tokens.hang()
    with ThreadPoolExecutor(1) as threads:
        waiter = threads.submit(source.token)
        assert case.asked.wait(10)
        case.server.tokens.release()
        assert waiter.result(10).startswith("ya29.")


def test_one_that_never_answers(case: Case) -> None:
    """Until the bound; what comes after all serves the next."""
    source = case.source(auth_timeout=1)
    case.server.tokens.hang()
    error = case.failure(source, CredentialsTimeoutError)
    assert "a proxy? a firewall?" in error.remedy
    case.server.tokens.release()
    case.flight.join(10)
    assert source.token().startswith("ya29.")


class TestInTwoSteps:
    """A token for one's own name, and with it another's."""

    def test_a_workload_that_acts_for_a_service_account(self, server: GeminiServer) -> None:
        """The error names the address that failed, the first or the second."""
        iam = f"http://{server.metadata_host}{IAM}"

        def find(server: GeminiServer, token_uri: str) -> Found:
            return workload(server, token_uri, service_account_impersonation_url=iam)

        case = Case(server, find)
        server.tokens.fail(1, status=400)
        case.failure(case.source(), TokenRefreshError)
        case.address = iam  # which the server does not have
        case.find = lambda server, _: find(server, server.token_uri)
        case.failure(case.source(), TokenRefreshError)

    def test_impersonated_credentials(self) -> None:
        """So it is with impersonated credentials, wherever their universe is."""
        source = EndUser(None, refresh_token="1//x", token_uri="https://source.example.com/token")
        robot = impersonated_credentials.Credentials(
            source, "robot@project.iam.gserviceaccount.com", list(TUNED_SCOPES)
        )
        assert token_endpoint(robot) == "https://source.example.com/token"
        source.token = "ya29.mine"
        robot = impersonated_credentials.Credentials(source, robot.service_account_email, [])
        assert token_endpoint(robot) == f"https://iamcredentials.googleapis.com{IAM}"


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        (
            "Permission 'iam.serviceAccounts.getAccessToken' denied on resource",
            "roles/iam.serviceAccountTokenCreator",
        ),
        (
            "IAM Service Account Credentials API has not been used in project 1 before",
            "gcloud services enable iamcredentials.googleapis.com",
        ),
    ],
)
def test_an_impersonation_that_iam_denies(message: str, remedy: str) -> None:
    """The reason that IAM gives is told, and the role that is missing, with the account's name."""
    body = json.dumps({"error": {
        "code": 403, "message": message, "status": "PERMISSION_DENIED",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "DENIED"}],
    }}).encode()  # fmt: skip
    robot = impersonated_credentials.Credentials(
        EndUser("ya29.mine"), "robot@project.iam.gserviceaccount.com", list(TUNED_SCOPES)
    )

    def denied(**_: Any) -> SimpleNamespace:
        return SimpleNamespace(status=403, data=body, headers={})

    found = credentials.find(robot, TUNED_SCOPES)
    with pytest.raises(TokenRefreshError) as caught:
        TokenSource(lambda: found, lambda: denied, 30).token()
    assert f"403 DENIED {message}" in caught.value.problem
    assert remedy in caught.value.remedy
    assert "{robot}" not in caught.value.remedy


@pytest.mark.parametrize(
    "body", [None, b"", "[", b"[]", b'{"error": "no"}', b'{"error": {"details": [7]}}', 7]
)
def test_an_answer_of_iam_that_says_nothing(body: object) -> None:
    """What google-auth says remains."""

    def refresh(*_: object) -> None:
        raise RefreshError("Unable to acquire impersonated credentials", body)

    given = EndUser(None, refresh_token="1//x", token_uri="https://example.com/token")
    found = credentials.find(given, TUNED_SCOPES)._replace(
        credentials=SimpleNamespace(refresh=refresh, token_uri="https://example.com/token")
    )
    with pytest.raises(TokenRefreshError) as caught:
        TokenSource(lambda: found, lambda: None, 30).token()
    assert caught.value.problem.endswith(": Unable to acquire impersonated credentials")


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("invalid_grant: Token has been expired or revoked.", "gcloud auth application-default"),
        ("invalid_grant: reauth related error (invalid_rapt)", "your organization"),
        ("invalid_grant: Invalid JWT Signature.", "create a new key"),
        ("invalid_grant: Invalid JWT: Token must be in a reasonable timeframe", "clock"),
        ("invalid_grant: Invalid grant: account not found", "does not exist"),
        ("unauthorized_client: no", "domain-wide delegation"),
        ("invalid_scope: no", "scopes="),
        ("Error code invalid_target: no", "workload identity pool"),
        ("HTTPSConnectionPool: SSLError CERTIFICATE_VERIFY_FAILED", "ca_certs="),
        ("ProxyError('Unable to connect to proxy')", "proxy="),
        ("NameResolutionError: Name or service not known", "DNS"),
    ],
)
def test_what_to_do(reason: str, remedy: str) -> None:
    """Each reason has a remedy of its own."""

    def refresh(*_: object) -> None:
        raise RefreshError(reason)

    held = SimpleNamespace(refresh=refresh, token_uri="https://me:hunter2@example.com/token?sig=x")
    found = credentials.Found(held, "these", None, None)
    with pytest.raises(TokenRefreshError) as caught:
        TokenSource(lambda: found, lambda: None, 30).token()
    assert remedy in caught.value.remedy
    assert "https://example.com/token for these" in caught.value.problem
    assert "hunter2" not in repr(caught.value)


def test_the_metadata_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address is told as well."""
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", "metadata.example.com")

    def unreachable(**_: Any) -> None:
        raise TransportError("No route to host")

    found = credentials.find(compute_engine.Credentials(), TUNED_SCOPES)
    with pytest.raises(TokenRefreshError) as caught:
        TokenSource(lambda: found, lambda: unreachable, 30).token()
    assert caught.value.problem.startswith(
        "No access token from http://metadata.example.com/computeMetadata/v1/ for "
        "google.auth.compute_engine.credentials.Credentials from the object given as credentials=: "
    )
    assert "No route to host" in caught.value.problem


def test_a_token_that_cannot_be_renewed() -> None:
    """Without anything to get another with, the address is not what is wrong."""
    found = credentials.find(EndUser("ya29.given"), TUNED_SCOPES)
    source = TokenSource(lambda: found, lambda: None, 30)
    source.invalidate(source.token())
    with pytest.raises(TokenRefreshError) as caught:
        source.token()
    assert caught.value.problem == (
        "The access token of google.oauth2.credentials.Credentials from the object given as "
        "credentials= has expired or was refused by the service, and cannot be renewed."
    )
    assert caught.value.remedy == (
        "give credentials that can be refreshed: Application Default Credentials, a key file, or a "
        "function that gives a token."
    )
