from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import httplib2
import pytest
from google.api_core import exceptions
from google.generativeai import client as client_lib
from googleapiclient import discovery, errors
from googleapiclient import http as google_http

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import requests

    from genai_config.testing import GeminiServer

CONTENT = bytes(range(256)) * 4 + b"\r\n\n\r"


@pytest.fixture(autouse=True)
def trusting(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """httplib2 trusts the server, as a program does that is started with `environ()`."""
    monkeypatch.setattr(httplib2, "CA_CERTS", server.environ()["HTTPLIB2_CA_CERTS"])
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", server.discovery_url)


@pytest.fixture
def bare(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The bare SDK over REST."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
    manager = client_lib._ClientManager()
    monkeypatch.setattr(client_lib, "_client_manager", manager)
    manager.configure(
        api_key=server.api_key(),
        transport="rest",
        client_options={"api_endpoint": server.rest_endpoint},
    )
    yield
    manager.clients["file"]._transport._session.close()


@pytest.fixture
def media(server: GeminiServer) -> Iterator[Any]:
    """What googleapiclient makes of the discovery document."""
    _, document = httplib2.Http().request(server.discovery_url)
    with discovery.build_from_document(document, developerKey=server.api_key()) as service:
        yield service.media()


@pytest.fixture
def url(server: GeminiServer) -> str:
    """Where uploads begin, with a key."""
    return f"https://{server.rest_endpoint}/upload/v1beta/files?key={server.api_key()}"


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize("resumable", [True, False])
def test_the_sdk(server: GeminiServer, tmp_path: Path, *, resumable: bool) -> None:
    """The SDK's own upload makes a file that get, list and delete see."""
    path = tmp_path / "mine.txt"
    path.write_bytes(CONTENT)
    file = genai.upload_file(path, name="mine", resumable=resumable)
    assert (file.name, file.mime_type, file.size_bytes) == ("files/mine", "text/plain", 1028)
    assert file.sha256_hash == hashlib.sha256(CONTENT).hexdigest().encode()
    assert file.uri == f"https://{server.rest_endpoint}/v1beta/files/mine"
    assert file.state.name == "ACTIVE"
    assert file.expiration_time > file.create_time
    assert [one.name for one in genai.list_files()] == ["files/mine"]
    genai.delete_file("mine")
    with pytest.raises(exceptions.NotFound):
        genai.get_file("mine")
    asked = [one.method for one in server.requests]
    assert asked[:2] == ["Discovery.GetRest", "FileService.CreateFile"]
    assert ("FileService.UploadMedia" in asked) is resumable
    assert {one.identity for one in server.requests} == {"key-1"}


def test_an_empty_file(media: Any) -> None:
    """A file may be empty."""
    body = google_http.MediaIoBaseUpload(io.BytesIO(), "text/plain", resumable=True)
    file = media.upload(body={"file": {"displayName": "d"}}, media_body=body).execute()["file"]
    assert (file["displayName"], file.get("sizeBytes", "0")) == ("d", "0")


def test_pieces(server: GeminiServer, media: Any) -> None:
    """A large file comes in pieces, and goes on after a failure where it was."""
    size = 256 * 1024
    content = CONTENT * 512
    body = google_http.MediaIoBaseUpload(
        io.BytesIO(content), "text/plain", chunksize=size, resumable=True
    )
    request = media.upload(body={"file": {"name": "files/big"}}, media_body=body)
    status, _ = request.next_chunk()
    assert status.resumable_progress == size
    server.fail(1)
    with pytest.raises(errors.HttpError):
        request.next_chunk()
    file = request.execute()["file"]
    assert int(file["sizeBytes"]) == len(content)
    pieces = [one for one in server.requests if one.method == "FileService.UploadMedia"]
    # Three, one of them twice, and the question in between for what has come.
    assert [one.resource for one in pieces] == ["files/big"] * 5


def test_refused(server: GeminiServer, http: requests.Session, url: str) -> None:
    """A key that is not valid is refused at once."""
    reply = http.get(server.discovery_url, params={"key": "none"})
    assert reply.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    server.revoke("key-1")
    assert http.post(url).status_code == 400
    assert [one.status for one in server.requests] == ["INVALID_ARGUMENT"] * 2


def test_the_newer_protocol(server: GeminiServer, http: requests.Session, url: str) -> None:
    """Headers may say where an upload is, as Google's newer clients do."""
    start = {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Type": "image/png",
    }
    session = http.post(url, json={"file": {}}, headers=start).headers["X-Goog-Upload-URL"]

    def send(content: bytes, command: str, offset: int) -> requests.Response:
        headers = {"X-Goog-Upload-Command": command, "X-Goog-Upload-Offset": str(offset)}
        return http.post(session, data=content, headers=headers)

    assert send(b"abc", "upload", 0).headers["X-Goog-Upload-Size-Received"] == "3"
    query = http.post(session, headers={"X-Goog-Upload-Command": "query"})
    assert query.headers["X-Goog-Upload-Size-Received"] == "3"
    assert send(b"def", "upload", 1).status_code == 400
    done = send(b"def", "upload, finalize", 3)
    assert done.headers["X-Goog-Upload-Status"] == "final"
    assert done.json()["file"]["mimeType"] == "image/png"
    assert send(b"", "query", 0).status_code == 404
    assert server.requests[-1].status == "NOT_FOUND"


def test_ranges(http: requests.Session, url: str) -> None:
    """A client may ask how much has come, and is told when it makes no sense."""
    session = http.post(f"{url}&uploadType=resumable").headers["Location"]
    asking = http.put(session, headers={"Content-Range": "bytes */3"})
    assert (asking.status_code, asking.headers.get("Range")) == (308, None)
    assert (
        http.put(session, headers={"Content-Range": "bytes 0-1/*"}, data=b"ab").headers["Range"]
        == "bytes=0-1"
    )
    assert http.put(session, headers={"Content-Range": "nonsense"}).status_code == 400
    last = http.put(session, headers={"Content-Range": "bytes 2-2/3"}, data=b"c")
    assert last.json()["file"]["sizeBytes"] == "3"


def test_in_one_piece(http: requests.Session, url: str) -> None:
    """A file may be the body itself, or the second of two parts."""
    raw = http.post(url, data=b"abc", headers={"Content-Type": "text/plain"}).json()["file"]
    assert (raw["mimeType"], raw["sizeBytes"]) == ("text/plain", "3")
    related = {"Content-Type": "multipart/related; boundary=x"}
    parts = b'--x\r\n\r\n{"file": {}}\r\n--x\r\nContent-Type: a/b\r\n\r\nabc\r\n--x--'
    whole = http.post(f"{url}&uploadType=multipart", data=parts, headers=related).json()["file"]
    assert (whole["mimeType"], whole["sizeBytes"]) == ("a/b", "3")


@pytest.mark.parametrize("body", [b"", b"--None\n\nx\n--None\n\ny\n--None--"])
def test_nonsense(server: GeminiServer, http: requests.Session, url: str, body: bytes) -> None:
    """What is no upload is an invalid argument, and written down."""
    assert http.post(f"{url}&uploadType=multipart", data=body).status_code == 400
    assert server.requests[0].method == "FileService.CreateFile"
    assert server.requests[0].status == "INVALID_ARGUMENT"
