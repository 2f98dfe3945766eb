"""Uploads: the SDK's own, over the connections of this library."""

from __future__ import annotations

import hashlib
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import google.generativeai as genai
import pytest
import requests
from google.api_core.exceptions import DeadlineExceeded, ServiceUnavailable
from google.generativeai import client as client_lib
from googleapiclient.errors import HttpError

from genai_config import override
from genai_config._sdk.uploads import Http, _Upload
from genai_config._transport import http
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config.testing import GeminiServer

CONTENT = bytes(range(256)) * 4096


@pytest.fixture(autouse=True)
def where(server: GeminiServer, monkeypatch: pytest.MonkeyPatch, configured: object) -> None:
    """The SDK uploads to the server, which it trusts by this library's configuration alone."""
    del configured
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", server.discovery_url)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of a megabyte."""
    path = tmp_path / "mine.txt"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.parametrize("resumable", [True, False])
def test_a_file(file: Path, *, resumable: bool) -> None:
    """It arrives as it is."""
    made = genai.upload_file(file, resumable=resumable)
    assert made.sha256_hash == hashlib.sha256(CONTENT).hexdigest().encode()


def test_the_description_is_read_once(server: GeminiServer, file: Path) -> None:
    """The SDK reads it for each file."""
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(genai.upload_file, [file] * 4))
    genai.upload_file(file)
    asked = [request.method for request in server.requests]
    assert asked.count("FileService.CreateFile") == 5
    assert asked.count("Discovery.GetRest") <= 4
    server.clear()
    genai.upload_file(file)
    assert "Discovery.GetRest" not in [request.method for request in server.requests]


def test_each_tenant_uploads_with_its_own_key(server: GeminiServer, file: Path) -> None:
    """One after the other in one thread, which the SDK's client is bound to."""
    for name in ("a", "b"):
        server.clear()
        with override(api_key=server.api_key(name)):
            genai.upload_file(file)
        assert {request.identity for request in server.requests} == {name}


@pytest.mark.skipif(
    "metadata" not in inspect.signature(client_lib.FileServiceClient.create_file).parameters,
    reason="the first SDKs send no metadata with an upload",
)
def test_metadata_goes_along(server: GeminiServer, file: Path) -> None:
    """What is configured for every request."""
    with override(default_metadata=[("x-tenant", "mine")]):
        genai.upload_file(file)
    assert server.requests[0].headers["x-tenant"] == "mine"


def test_a_refused_key(server: GeminiServer, file: Path) -> None:
    """The error says so, and does not show it."""
    with override(api_key="made-up"), pytest.raises(HttpError, match="API key not valid") as caught:
        genai.upload_file(file)
    assert "made-up" not in repr(caught.value) + str(vars(caught.value))
    assert len(server.requests) == 1


def test_an_answer_that_quotes_the_key(server: GeminiServer, file: Path) -> None:
    """Its text and its body are masked."""
    key = server.api_key("quoted")
    server.fail(9, status="PERMISSION_DENIED", message=f"api_key:{key} has been suspended")
    with override(api_key=key), pytest.raises(HttpError, match="suspended") as caught:
        genai.upload_file(file)
    assert key not in str(caught.value) + str(vars(caught.value))
    assert b"suspended" in caught.value.content


class _Elsewhere(BaseHTTPRequestHandler):
    """Sends everybody to another place of this machine, and remembers who came there."""

    seen: list[str | None]

    def do_GET(self) -> None:
        self.seen.append(self.headers["x-goog-api-key"])
        self.send_response(307)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_the_key_is_not_carried_along() -> None:
    """A redirect is an answer like any other."""
    _Elsewhere.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server, requests.Session() as session:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        http.mount(session, None, None)
        response, _ = Http(session).request(
            f"http://127.0.0.1:{server.server_port}/", headers={"x-goog-api-key": "k"}
        )
        server.shutdown()
    assert (response.status, _Elsewhere.seen) == (307, ["k"])


GOOGLES = "https://generativelanguage.googleapis.com/$discovery/rest"


def test_it_goes_where_the_rest_goes(
    server: GeminiServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK's own goes to Google, with a key that is meant for another place."""
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", GOOGLES)
    options = {"api_endpoint": server.rest_endpoint}
    with override(transport="rest", client_options=options):
        made = genai.upload_file(file)
    assert made.sha256_hash == hashlib.sha256(CONTENT).hexdigest().encode()


def test_it_needs_no_address_of_its_own(
    server: GeminiServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the endpoint takes gRPC and REST, as the service's does."""
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", GOOGLES)
    with override(client_options={"api_endpoint": server.endpoint}):
        made = genai.upload_file(file)
        assert genai.get_file(made.name).sha256_hash == made.sha256_hash
    assert {request.transport for request in server.requests} == {"grpc", "rest"}


def test_an_endpoint_for_grpc_alone(
    server: GeminiServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot take files: the error says so, and what to do."""
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", GOOGLES)
    options = {"api_endpoint": server.grpc_endpoint}
    with (
        override(client_options=options),
        pytest.raises(ServiceUnavailable, match="address for REST") as caught,
    ):
        genai.upload_file(file)
    assert server.grpc_endpoint in str(caught.value)


def test_a_place_that_takes_no_files(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said before anything is uploaded."""
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", GOOGLES)
    _Elsewhere.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        options = {"api_endpoint": f"http://localhost:{server.server_port}"}
        with (
            override(transport="rest", client_options=options),
            pytest.raises(ConfigurationError, match="uploaded"),
        ):
            genai.upload_file(file)
        server.shutdown()


def test_its_time_is_bounded(server: GeminiServer, file: Path) -> None:
    """All of its requests together have the call's `timeout`."""
    server.hang()
    try:
        with override(timeout=0.5), pytest.raises(DeadlineExceeded):
            genai.upload_file(file)
    finally:
        server.release()


def test_nobody_listens() -> None:
    """What the HTTP library says of it arrives."""
    with requests.Session() as session:
        http.mount(session, None, None)
        with pytest.raises(requests.ConnectionError, match="localhost"):
            Http(session).request("http://localhost:1/upload", "POST", b"x")


def test_past_this_librarys_client() -> None:
    """All requests of an upload carry the caller's metadata, where there is nothing else."""
    upload = _Upload([("x-mine", "1")])
    assert upload.metadata_now() == [("x-mine", "1")]
    assert upload.left() is None
