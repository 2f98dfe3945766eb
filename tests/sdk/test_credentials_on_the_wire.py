"""Every kind of credentials as the service sees it, and what the caller sees without any."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, NamedTuple

import google.ai.generativelanguage as glm
import google.generativeai as genai
import pytest
from google.api_core.exceptions import Forbidden, GoogleAPICallError
from google.auth import api_key, identity_pool
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.generativeai import client as client_lib
from google.generativeai import retriever
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials

from genai_config import safe_configure
from genai_config._routing.decision import CLOUD_PLATFORM, RETRIEVER_SCOPES, TUNED_SCOPES, TUNING
from genai_config.exceptions import (
    CredentialsNotFoundError,
    CredentialsTimeoutError,
    InvalidCredentialsError,
    TokenRefreshError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"
ROBOT = "robot@project.iam.gserviceaccount.com"


def point(server: GeminiServer, transport: Any = "grpc", **settings: Any) -> None:
    """Points every request at the server, over one transport."""
    endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
    safe_configure(
        transport=transport,
        tuned_transport=transport,
        ca_certs=server.ca_file,
        client_options={"api_endpoint": endpoint},
        **settings,
    )


def ask(model: str = TUNED) -> None:
    """One request."""
    genai.GenerativeModel(model).generate_content("hi")


def ask_for_a_stream() -> None:
    """One request whose answer comes in chunks."""
    for _ in genai.GenerativeModel(TUNED).generate_content("hi", stream=True):
        pass


def ask_async() -> None:
    """One request that is awaited, in an event loop of its own."""
    asyncio.run(genai.GenerativeModel(TUNED).generate_content_async("hi"))


def ask_for_an_async_stream() -> None:
    """One request that is awaited, and whose answer comes in chunks."""

    async def call() -> None:
        async for _ in await genai.GenerativeModel(TUNED).generate_content_async("hi", stream=True):
            pass

    asyncio.run(call())


def has_tuned_streams() -> bool:
    """Whether the SDK's REST transport knows where tuned models stream; up to 0.8.3 it does not."""
    transport = glm.GenerativeServiceClient.get_transport_class("rest")
    sources = [inspect.getsource(sys.modules[cls.__module__]) for cls in transport.__mro__[:2]]
    return "{model=tunedModels/*}:streamGenerateContent" in "".join(sources)


ASKING = {
    "grpc": [ask, ask_for_a_stream, ask_async, ask_for_an_async_stream],
    "rest": [ask, ask_async] + [ask_for_a_stream, ask_for_an_async_stream] * has_tuned_streams(),
}
over_both = pytest.mark.parametrize("transport", ["grpc", "rest"])
in_every_way = pytest.mark.parametrize(
    ("transport", "asking"),
    [(transport, asking) for transport in ASKING for asking in ASKING[transport]],
)


class Kind(NamedTuple):
    """One kind of credentials.

    Attributes:
        name: What it is.
        give: Makes them: the `credentials` setting, None for ADC, whose file is in the variable.
        identity: Whom the service sees.
        exchanges: How many requests the token endpoint gets.
        settings: What else has to be configured.
    """

    name: str
    give: Callable[[GeminiServer, pytest.MonkeyPatch], Any]
    identity: str
    exchanges: int
    settings: dict[str, Any]

    def __str__(self) -> str:
        return self.name


def as_adc(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts a key file where Application Default Credentials are looked for."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.fspath(path))


def robot(server: GeminiServer) -> Any:
    """A service account as an object."""
    return service_account.Credentials.from_service_account_info(
        server.service_account_info("robot")
    )


SELF_SIGNED, EXCHANGED = 0, 1
KINDS = [
    Kind(
        "service-account-adc",
        lambda server, patch: as_adc(server.service_account_file("robot"), patch),
        ROBOT,
        SELF_SIGNED,
        {},
    ),
    Kind(
        "service-account-path",
        lambda server, _: os.fspath(server.service_account_file("robot")),
        ROBOT,
        SELF_SIGNED,
        {},
    ),
    Kind(
        "service-account-dict",
        lambda server, _: server.service_account_info("robot"),
        ROBOT,
        SELF_SIGNED,
        {},
    ),
    Kind("service-account-object", lambda server, _: robot(server), ROBOT, SELF_SIGNED, {}),
    Kind(
        "service-account-with-subject",
        lambda server, _: robot(server).with_subject("somebody@example.com"),
        ROBOT,
        EXCHANGED,
        {},
    ),
    Kind(
        "end-user-object",
        lambda server, _: server.user_credentials(name="user"),
        "user",
        EXCHANGED,
        {"quota_project": "my-project"},
    ),
    Kind(
        "external-account-adc",
        lambda server, patch: as_adc(server.external_account_file("workload"), patch),
        "workload",
        EXCHANGED,
        {},
    ),
    Kind(
        "external-account-path",
        lambda server, _: server.external_account_file("workload"),
        "workload",
        EXCHANGED,
        {},
    ),
]


class TestEveryKind:
    @over_both
    @pytest.mark.parametrize("kind", KINDS, ids=str)
    def test_a_tuned_model(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, kind: Kind, transport: Any
    ) -> None:
        """Each kind reaches a tuned model, sync, streamed and awaited, with one token for all."""
        given = kind.give(server, monkeypatch)
        point(server, transport, credentials=given, **kind.settings)
        for asking in ASKING[transport]:
            asking()
        assert len(server.requests) == len(ASKING[transport])
        for request in server.requests:
            assert (request.status, request.auth, request.transport) == ("OK", "oauth", transport)
            assert request.identity == kind.identity
            assert set(TUNED_SCOPES) <= request.scopes
            assert "x-goog-api-key" not in request.headers
            assert request.headers.get("x-goog-user-project") == kind.settings.get("quota_project")
        assert server.tokens.count == kind.exchanges

    @over_both
    def test_the_scopes_are_those_of_the_request(
        self, server: GeminiServer, transport: Any
    ) -> None:
        """Tuned models and corpora get a token each, with their scopes and no others."""
        point(server, transport, credentials=server.external_account_file())
        ask()
        list(retriever.list_corpora())
        tuned, corpora = server.requests
        assert tuned.scopes == set(TUNED_SCOPES)
        assert corpora.scopes == set(RETRIEVER_SCOPES)
        assert corpora.status == "OK"
        assert server.tokens.count == 2

    def test_the_users_object_is_not_written_to(self, server: GeminiServer) -> None:
        """A service account object is as it was after the requests it signed."""
        given = robot(server)
        before = dict(vars(given))
        point(server, credentials=given)
        ask()
        assert vars(given) == before

    @over_both
    def test_anonymous_credentials(self, server: GeminiServer, transport: Any) -> None:
        """They send no header; the service's answer is the caller's."""
        point(server, transport, credentials=AnonymousCredentials())
        with pytest.raises(Forbidden, match="unregistered callers"):
            ask(BASE)
        (request,) = server.requests
        assert request.auth == "none"
        assert not {"authorization", "x-goog-api-key", "x-goog-user-project"} & set(request.headers)

    @over_both
    def test_google_auths_api_key(self, server: GeminiServer, transport: Any) -> None:
        """An API key in google-auth's clothes is an API key."""
        point(server, transport, credentials=api_key.Credentials(server.api_key("mine")))
        ask(BASE)
        (request,) = server.requests
        assert (request.auth, request.identity) == ("api_key", "mine")

    def test_a_bare_access_token(self, server: GeminiServer) -> None:
        """Credentials that are a token and nothing else work as long as the token does."""
        user = server.user_credentials(name="user")
        point(server, credentials=user, quota_project="my-project")
        ask()
        point(server, credentials=Credentials(user.token), quota_project="my-project")
        ask()
        assert [request.identity for request in server.requests] == ["user", "user"]
        assert server.tokens.count == 1

    def test_the_metadata_server(self, server: GeminiServer) -> None:
        """On a machine of Google's the metadata server is found, without any setting."""
        program = f"""
            import google.generativeai as genai
            from genai_config import safe_configure

            safe_configure(
                ca_certs={os.fspath(server.ca_file)!r},
                client_options={{"api_endpoint": {server.grpc_endpoint!r}}},
            )
            genai.GenerativeModel({TUNED!r}).generate_content("hi")
        """
        environ = {**os.environ, **server.environ("metadata")}
        del environ["NO_GCE_CHECK"]
        subprocess.run(  # noqa: S603 -- the test's own program
            [sys.executable, "-c", textwrap.dedent(program)], env=environ, check=True, timeout=60
        )
        (request,) = server.requests
        assert request.identity == "machine@project.iam.gserviceaccount.com"
        assert request.scopes == set(TUNED_SCOPES)


def sent_quota_project(server: GeminiServer, model: str = TUNED) -> str | None:
    """The project that the next request is billed to."""
    ask(model)
    return server.requests[-1].headers.get("x-goog-user-project")


class TestQuotaProject:
    @pytest.fixture
    def adc_with_quota(self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> Path:
        """ADC of a service account whose file names a quota project."""
        path = server.external_account_file()
        info = {**json.loads(path.read_text(encoding="utf-8")), "quota_project_id": "adc-project"}
        path.write_text(json.dumps(info), encoding="utf-8")
        as_adc(path, monkeypatch)
        return path

    @over_both
    @pytest.mark.usefixtures("adc_with_quota")
    def test_the_order(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, transport: Any
    ) -> None:
        """The file's own, unless the environment names another; a configured one beats both."""
        point(server, transport)
        assert sent_quota_project(server) == "adc-project"
        monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "env-project")
        assert sent_quota_project(server) == "env-project"
        point(server, transport, quota_project="my-project")
        assert sent_quota_project(server) == "my-project"
        ask_async()
        assert server.requests[-1].headers["x-goog-user-project"] == "my-project"

    def test_an_objects_own(self, server: GeminiServer) -> None:
        """Credentials given as an object bring theirs along."""
        point(server, credentials=server.user_credentials(quota_project="user-project"))
        assert sent_quota_project(server) == "user-project"

    @over_both
    @pytest.mark.usefixtures("adc_with_quota")
    def test_never_with_a_key(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, transport: Any
    ) -> None:
        """A key belongs to a project already; the service refuses a second one."""
        monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "env-project")
        point(server, transport, api_key=server.api_key(), quota_project="my-project")
        assert sent_quota_project(server, BASE) is None
        assert server.requests[-1].auth == "api_key"


class TestDiscovery:
    @in_every_way
    def test_there_are_none(
        self, server: GeminiServer, tmp_path: Path, transport: Any, asking: Callable[[], None]
    ) -> None:
        """The caller gets our error, which is google-auth's as well, and nothing is sent."""
        point(server, transport)
        with pytest.raises(CredentialsNotFoundError) as caught:
            asking()
        assert isinstance(caught.value, DefaultCredentialsError)
        assert str(tmp_path / "application_default_credentials.json") in str(caught.value)
        assert (
            "gcloud auth application-default login --client-id-file=client_secret.json "
            f"--scopes='{CLOUD_PLATFORM},{TUNING}'"
        ) in str(caught.value)
        assert server.requests == []

    @over_both
    def test_a_bad_file(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, transport: Any
    ) -> None:
        """A key file that cannot be used is named to the caller, and its secrets are not."""
        info = server.service_account_info()
        del info["client_email"]
        path = tmp_path / "key.json"
        path.write_text(json.dumps(info), encoding="utf-8")
        as_adc(path, monkeypatch)
        point(server, transport)
        with pytest.raises(InvalidCredentialsError, match="missing fields client_email") as caught:
            ask()
        shown = "".join(traceback.format_exception(caught.value))
        assert info["private_key"][30:90] not in shown
        assert str(path) in shown

    @over_both
    def test_a_new_file_is_noticed(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, transport: Any
    ) -> None:
        """The variable that appears, the file that is replaced: the next request knows."""
        path = tmp_path / "key.json"
        point(server, transport)
        with pytest.raises(CredentialsNotFoundError):
            ask()
        as_adc(path, monkeypatch)
        with pytest.raises(CredentialsNotFoundError, match=r"key\.json, which is not a file"):
            ask()
        for name in ("first", "other"):
            path.write_bytes(server.service_account_file(name).read_bytes())
            os.utime(path, (len(server.requests),) * 2)
            ask()
        as_adc(server.service_account_file("third"), monkeypatch)
        ask()
        assert [str(request.identity).partition("@")[0] for request in server.requests] == [
            "first",
            "other",
            "third",
        ]


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """An address that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


def with_token_url(path: Path, url: str) -> Path:
    """An external account's file, with another token endpoint."""
    info = {**json.loads(path.read_text(encoding="utf-8")), "token_url": url}
    path.write_text(json.dumps(info), encoding="utf-8")
    return path


class BareCall:
    """One request by the bare SDK, in a thread."""

    def __init__(self, credentials: Any, options: Callable[..., dict[str, Any]]) -> None:
        genai.configure(**options(credentials=credentials))
        self._model = genai.GenerativeModel(TUNED)
        self._client = client_lib.get_default_generative_client()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with pytest.raises((GoogleAPICallError, ValueError)):
            self._model.generate_content("hi")

    def end(self) -> None:
        """Closes its connection: nothing else keeps the SDK from trying again."""
        self._client.transport.close()
        self.thread.join(10)


class TestDeadTokenEndpoint:
    def test_the_caller_hears_of_it_in_time(
        self,
        server: GeminiServer,
        bare: Callable[..., dict[str, Any]],
        silent: socket.socket,
    ) -> None:
        """A token endpoint that never answers is our error in time; the bare SDK waits still."""
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/token"
        path = with_token_url(server.external_account_file(), url)
        theirs = BareCall(
            identity_pool.Credentials.from_file(os.fspath(path), scopes=list(TUNED_SCOPES)), bare
        )
        try:
            with silent.accept()[0]:
                point(server, credentials=path, auth_timeout=1.5)
                for asking in ASKING["grpc"]:
                    start = time.monotonic()
                    with pytest.raises(CredentialsTimeoutError) as caught:
                        asking()
                    assert time.monotonic() - start < 10
                    assert isinstance(caught.value, RefreshError)
                    assert isinstance(caught.value, TimeoutError)
                    assert url in caught.value.problem
                    assert str(path) in caught.value.problem
                    assert "auth_timeout=1.5 s" in caught.value.problem
                assert theirs.thread.is_alive()
        finally:
            silent.close()
            theirs.end()
        assert server.requests == []

    def test_over_rest(self, server: GeminiServer, silent: socket.socket) -> None:
        """It is the same over REST."""
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/token"
        path = with_token_url(server.external_account_file(), url)
        point(server, "rest", credentials=path, auth_timeout=1)
        for asking in ASKING["rest"]:
            with pytest.raises(CredentialsTimeoutError, match="within auth_timeout=1 s"):
                asking()
        assert server.requests == []


class TestFailingTokenEndpoint:
    def failed(self, asking: Callable[[], None], url: str, path: Path) -> TokenRefreshError:
        """The error that a request ends in: ours, at once, with the endpoint and the file."""
        start = time.monotonic()
        with pytest.raises(TokenRefreshError) as caught:
            asking()
        assert time.monotonic() - start < 10
        assert isinstance(caught.value, RefreshError)
        assert not isinstance(caught.value, CredentialsTimeoutError)
        assert f"No access token from {url} for " in caught.value.problem
        assert str(path) in caught.value.problem
        return caught.value

    @in_every_way
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            ((500, "out of order"), "out of order"),
            ((200, "out of order"), "JSONDecodeError: Expecting value"),
            ((200, {"expires_in": 3600}), "no token in the answer"),
        ],
    )
    def test_it_answers_with_an_error(
        self,
        server: GeminiServer,
        transport: Any,
        asking: Callable[[], None],
        answer: tuple[int, Any],
        reason: str,
    ) -> None:
        """A failure of the endpoint is the caller's at once, and no 503 that is tried again."""
        path = server.external_account_file()
        server.tokens.fail(None, *answer)
        point(server, transport, credentials=path)
        error = self.failed(asking, server.token_uri, path)
        assert reason in error.problem
        assert "can be reached" in error.remedy
        assert (server.tokens.count, server.requests) == (1, [])

    @in_every_way
    def test_the_login_is_over(
        self, server: GeminiServer, transport: Any, asking: Callable[[], None]
    ) -> None:
        """With invalid_grant the remedy is to log in again."""
        path = server.external_account_file("workload")
        server.revoke("workload")
        point(server, transport, credentials=path)
        error = self.failed(asking, server.token_uri, path)
        assert "invalid_grant" in error.problem
        assert "log in again: gcloud auth application-default login" in error.remedy
        assert server.requests == []

    def test_an_end_users_login_is_over(self, server: GeminiServer) -> None:
        """So it is for an object, which has no file to name."""
        user = server.user_credentials(quota_project="my-project", name="user")
        server.revoke("user")
        point(server, credentials=user)
        with pytest.raises(TokenRefreshError, match="the object given as credentials=") as caught:
            ask()
        assert "log in again" in caught.value.remedy
        assert user.refresh_token not in "".join(traceback.format_exception(caught.value))

    @in_every_way
    def test_nobody_is_there(
        self, server: GeminiServer, transport: Any, asking: Callable[[], None]
    ) -> None:
        """A connection that is refused is named with its address."""
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/token"
        path = with_token_url(server.external_account_file(), url)
        point(server, transport, credentials=path)
        assert "Connection refused" in self.failed(asking, url, path).problem

    @over_both
    def test_no_secret_is_passed_on(self, server: GeminiServer, transport: Any) -> None:
        """An endpoint that repeats what it was sent does not put it into our error."""
        path = server.external_account_file()
        secrets = ("1//0a-subject-token-of-somebody", "ya29.half-a-token", "hunter2")
        body = {
            "error": "invalid_request",
            "error_description": f"{secrets[0]} {secrets[1]} client_secret={secrets[2]}",
        }
        server.tokens.fail(status=400, body=body)
        point(server, transport, credentials=path)
        error = self.failed(ask, server.token_uri, path)
        shown = str(error) + repr(error) + "".join(traceback.format_exception(error))
        assert "invalid_request" in shown
        assert not [secret for secret in secrets if secret in shown]

    @over_both
    def test_it_recovers(self, server: GeminiServer, transport: Any) -> None:
        """The next request tries again, with the same model object."""
        server.tokens.fail(1, status=500)
        point(server, transport, credentials=server.external_account_file())
        model = genai.GenerativeModel(TUNED)
        with pytest.raises(TokenRefreshError):
            model.generate_content("hi")
        model.generate_content("hi")
        assert [request.status for request in server.requests] == ["OK"]
