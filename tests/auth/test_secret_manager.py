"""Secret Manager is asked with our own credentials, once, within bounds; its errors are told."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest

from genai_config import (
    explain,
    from_command,
    from_secret_manager,
    get_config,
    safe_configure,
)
from genai_config._auth import headers
from genai_config._auth.secret_manager import url_of
from genai_config.exceptions import CredentialsNotFoundError, SecretReferenceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genai_config._settings.references import Reference
    from genai_config._settings.secrets import Secret
    from genai_config.testing import GeminiServer

NAME = "projects/my-project/secrets/gemini/versions/latest"
REGIONAL = "projects/my-project/locations/europe-west1/secrets/gemini/versions/3"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


class SecretManager(ThreadingHTTPServer):
    """The `access` method of Secret Manager, for accounts of a local Gemini server.

    Attributes:
        secrets: The payloads, by the name of the version.
        answers: What is answered in place of what was asked for, one after the other.
        asked: The accounts that were let in.
    """

    def __init__(self, server: GeminiServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.registry = server._service.registry
        self.secrets: dict[str, bytes] = {}
        self.answers: list[tuple[int, bytes]] = []
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reference(self, name: str = NAME) -> Reference:
        """A reference to one of its secrets."""
        return from_secret_manager(name, endpoint=self.url)

    def answer(self, path: str, given: dict[str, str]) -> tuple[int, bytes]:
        """The status and the body for a request."""
        caller = self.registry.identify(given)
        if caller.auth != "oauth" or caller.problem is not None:
            return _error(401, "Request had invalid authentication credentials.")
        if CLOUD_PLATFORM not in caller.scopes:
            return _error(403, "Request had insufficient authentication scopes.")
        self.asked.append(caller.identity)
        if self.answers:
            return self.answers.pop(0)
        name, colon, verb = path.removeprefix("/v1/").partition(":")
        if (colon, verb) != (":", "access") or name not in self.secrets:
            return _error(404, f"Secret [{name}] not found or has no versions.")
        data = base64.b64encode(self.secrets[name]).decode()
        payload = {"data": data, "dataCrc32c": "1"}
        return 200, json.dumps({"name": name, "payload": payload}).encode()


def _error(status: int, message: str) -> tuple[int, bytes]:
    return status, json.dumps({"error": {"code": status, "message": message}}).encode()


class _Handler(BaseHTTPRequestHandler):
    server: SecretManager

    def do_GET(self) -> None:
        """Answers."""
        given = {name.lower(): value for name, value in self.headers.items()}
        status, body = self.server.answer(self.path, given)
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its name there
        """Nothing."""


@pytest.fixture
def manager(server: GeminiServer) -> Iterator[SecretManager]:
    """Secret Manager with a key of the Gemini server."""
    with SecretManager(server) as running:
        running.secrets[NAME] = server.api_key("the-key").encode() + b"\n"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def read(reference: Reference) -> Secret:
    """What a reference gives, as a request reads it."""
    return headers.secret_source(get_config(), reference).value()


@pytest.mark.usefixtures("adc")
def test_a_key_and_its_rotation(server: GeminiServer, manager: SecretManager) -> None:
    """It is asked once, by whoever ADC is, and again when the service refuses the key."""
    safe_configure(
        api_key=manager.reference(),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
    )
    model = genai.GenerativeModel("gemini-3.6-flash")
    for _ in range(3):
        assert model.generate_content("hi").text
    assert manager.asked == ["sa-1@project.iam.gserviceaccount.com"]
    manager.secrets[NAME] = server.api_key("another").encode()
    server.revoke("the-key")
    assert model.generate_content("hi").text
    assert [request.identity for request in server.requests[-2:]] == ["the-key", "another"]
    assert len(manager.asked) == 2


def test_a_key_file_and_who_asks_for_it(
    server: GeminiServer, manager: SecretManager, adc: Path
) -> None:
    """Credentials that are kept there are asked for with ADC, and nobody asks for them unasked."""
    manager.secrets[REGIONAL] = server.service_account_file("mine").read_bytes()
    safe_configure(
        credentials=manager.reference(REGIONAL),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
    )
    held = explain("tunedModels/mine").credentials
    assert held is not None
    assert held.kind == "not known"
    assert "from_secret_manager" in held.origin
    assert manager.asked == []
    genai.GenerativeModel("gemini-3.6-flash").generate_content("hi")
    assert server.requests[-1].identity == "mine@project.iam.gserviceaccount.com"
    account = json.loads(adc.read_text())["client_email"]
    assert manager.asked == [account]
    held = explain().credentials
    assert held is not None
    assert held.identity == "mine@project.iam.gserviceaccount.com"


def test_with_configured_credentials(server: GeminiServer, manager: SecretManager) -> None:
    """They go before ADC."""
    safe_configure(credentials=server.service_account_file("mine"))
    assert read(manager.reference()).get_secret_value()
    assert manager.asked == ["mine@project.iam.gserviceaccount.com"]
    file = server.service_account_file("yours")
    safe_configure(credentials=from_command(["cat", str(file)]))
    assert read(manager.reference()).get_secret_value()
    assert manager.asked[1:] == ["yours@project.iam.gserviceaccount.com"]


def test_without_credentials(manager: SecretManager) -> None:
    """The error is that of whoever has none."""
    with pytest.raises(CredentialsNotFoundError):
        read(manager.reference())


def test_a_token_that_is_refused(server: GeminiServer, manager: SecretManager) -> None:
    """Another is fetched, and the secret asked for once more."""
    safe_configure(credentials=server.user_credentials(scopes=[CLOUD_PLATFORM]))
    assert read(manager.reference()).get_secret_value()
    server.expire_tokens()
    headers._SECRETS.clear()
    assert read(manager.reference()).get_secret_value()
    assert server.tokens.count == 2
    assert len(manager.asked) == 2


def _payload(data: Any) -> tuple[int, bytes]:
    return 200, json.dumps({"payload": {"data": data}}).encode()


@pytest.mark.parametrize(
    ("answer", "problem", "remedy"),
    [
        (_error(403, "Permission denied."), "403: Permission denied", "secretAccessor"),
        (_error(404, "No."), "404: No", "gcloud secrets versions list gemini --project=my-project"),
        (_error(401, "No."), "401: No", "gcloud auth application-default login"),
        (_error(429, "Slow."), "429: Slow", "later"),
        ((500, b"<html>"), "500: no reason", "later"),
        ((200, b"<html>"), "not Secret Manager", "address"),
        ((200, b"[]"), "not Secret Manager", "address"),
        ((200, b'{"payload": null}'), "not Secret Manager", "address"),
        (_payload(1), "not Secret Manager", "address"),
        (_payload("####"), "not Secret Manager", "address"),
        (_payload(""), "holds nothing", "put the key"),
    ],
)
@pytest.mark.usefixtures("adc")
def test_what_it_does_not_give(
    manager: SecretManager, answer: tuple[int, bytes], problem: str, remedy: str
) -> None:
    """The error names the secret, what was answered, and the command."""
    manager.answers = [answer] * 2
    with pytest.raises(SecretReferenceError, match=problem) as caught:
        read(manager.reference())
    assert NAME in caught.value.problem
    assert remedy in caught.value.remedy


def test_what_the_account_may_not_read(server: GeminiServer, manager: SecretManager) -> None:
    """A login without the scope, and a secret that is not there."""
    retriever = "https://www.googleapis.com/auth/generative-language.retriever"
    safe_configure(credentials=server.user_credentials(scopes=[retriever]))
    with pytest.raises(SecretReferenceError, match="403: Request had insufficient"):
        read(manager.reference())
    safe_configure(credentials=server.service_account_file())
    with pytest.raises(SecretReferenceError, match="404: Secret"):
        read(manager.reference(REGIONAL))


@pytest.mark.usefixtures("adc")
def test_it_cannot_be_reached(manager: SecretManager) -> None:
    """The address may be wrong."""
    manager.server_close()
    with pytest.raises(SecretReferenceError, match="cannot be reached") as caught:
        read(manager.reference())
    assert "address" in caught.value.remedy


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        (from_secret_manager(NAME), f"https://secretmanager.googleapis.com/v1/{NAME}:access"),
        (
            from_secret_manager(REGIONAL),
            f"https://secretmanager.europe-west1.rep.googleapis.com/v1/{REGIONAL}:access",
        ),
        (
            from_secret_manager(NAME, endpoint="mine.example"),
            f"https://mine.example/v1/{NAME}:access",
        ),
    ],
)
def test_where_it_is_asked(reference: Reference, url: str) -> None:
    """Google's own address, that of the region, or one that is given."""
    assert url_of(reference, "googleapis.com") == url


def test_another_universe() -> None:
    """Its Secret Manager has another address."""
    assert "secretmanager.my.universe" in url_of(from_secret_manager(NAME), "my.universe")
