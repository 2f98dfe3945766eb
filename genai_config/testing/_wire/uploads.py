"""Uploads of files: in one piece, or resumable by either of Google's two protocols.

googleapiclient's has ``Location``, ``Content-Range`` and status 308
(https://developers.google.com/drive/api/guides/manage-uploads); the newer one has headers
``X-Goog-Upload-…`` (https://ai.google.dev/api/files).
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import TYPE_CHECKING, Any

from google.ai import generativelanguage_v1beta as glm
from google.protobuf import json_format
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from genai_config.testing._service import strict_json
from genai_config.testing._service.core import Asked, Service
from genai_config.testing._service.errors import ServiceError
from genai_config.testing._wire import discovery
from genai_config.testing._wire.rest_calls import call_of, endpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from genai_config.testing._service.rules import Caller

_RPC = "google.ai.generativelanguage.v1beta.FileService."
_RESUME_INCOMPLETE = 308
# The SDK never closes the connections that it uploads with, so this server does.
_CLOSE = {"connection": "close"}


def routes(service: Service, pool: ThreadPoolExecutor) -> list[BaseRoute]:
    """The discovery document, the start of an upload, and the sessions."""
    uploads = _Uploads(service)
    return [
        Route("/$discovery/rest", endpoint(uploads.discover, pool, service.programming)),
        Route(
            "/upload/{version}/files",
            endpoint(uploads.upload, pool, service.programming),
            methods=["POST", "PUT"],
        ),
    ]


@dataclass
class _Session:
    """A resumable upload: who started it, what is known of the file, what has come of it."""

    caller: Caller
    file: Any
    data: bytearray = field(default_factory=bytearray)


class _Uploads:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._sessions: dict[str, _Session] = {}

    def discover(self, request: Request, _body: bytes) -> Response:
        call = call_of(request)
        caller = self._service.identify(call)
        # The document is public, but a key that is not valid is refused here as everywhere.
        status = caller.problem.status if caller.problem else "OK"
        self._service.record(Asked("Discovery.GetRest", "", ["v1beta"]), caller, call, status)
        if caller.problem:
            raise caller.problem
        return JSONResponse(discovery.document(_root(request)), headers=_CLOSE)

    def upload(self, request: Request, body: bytes) -> Response:
        if "upload_id" in request.query_params:
            return self._resume(request, body)
        call = call_of(request)
        asked = Asked("FileService.CreateFile", _RPC + "CreateFile", [])
        try:
            file, content = _described(request, body)
        except ServiceError as error:
            self._service.refuse(asked, call, error)
            raise
        caller = self._service.identify(call)

        def create() -> Response:
            if content is not None:
                return self._finish(request, file, content)
            identifier = secrets.token_urlsafe(16)
            with self._lock:
                self._sessions[identifier] = _Session(caller, file)
            url = f"{_root(request)}{request.url.path[1:]}?upload_id={identifier}"
            return _answer("active", {"location": url, "x-goog-upload-url": url})

        asked = asked._replace(resources=[file.name], message=file)
        return self._served(asked, request, create, caller)

    def _resume(self, request: Request, body: bytes) -> Response:
        identifier = request.query_params["upload_id"]
        asked = Asked("FileService.UploadMedia", _RPC + "UploadMedia", [])
        with self._lock:
            session = self._sessions.get(identifier)
        if session is None:
            error = ServiceError("NOT_FOUND", "There is no such upload, or it has ended.")
            self._service.refuse(asked, call_of(request), error)
            raise error

        def take() -> Response:
            with self._lock:
                if not _add(session.data, request, body):
                    return _progress(len(session.data))
                self._sessions.pop(identifier, None)
            return self._finish(request, session.file, bytes(session.data))

        # Who has the session's URL may write to it: it is a secret of its own.
        asked = asked._replace(resources=[session.file.name])
        return self._served(asked, request, take, session.caller)

    def _served(
        self, asked: Asked, request: Request, work: Callable[[], Response], caller: Caller
    ) -> Response:
        answers = self._service.answer(asked, call_of(request), lambda _: iter([work()]), caller)
        response: Response = next(answers)
        return response

    def _finish(self, request: Request, file: Any, content: bytes) -> Response:
        store = self._service.behaviour.store
        file.size_bytes = len(content)
        # The service sends the digits.
        file.sha256_hash = hashlib.sha256(content).hexdigest().encode()
        name = store.add("File", file).name
        kept = store.replace(name, uri=f"{_root(request)}v1beta/{name}")
        return _answer("final", {}, {"file": json_format.MessageToDict(kept)})


def _root(request: Request) -> str:
    return f"https://{request.url.netloc}/"


def _answer(
    state: str, headers: dict[str, str], content: Any = None, status: int = 200
) -> Response:
    return JSONResponse(
        content or {}, status, headers={**_CLOSE, "x-goog-upload-status": state, **headers}
    )


def _progress(size: int) -> Response:
    headers = {"x-goog-upload-size-received": str(size)}
    if size:
        headers["range"] = f"bytes=0-{size - 1}"
    return _answer("active", headers, status=_RESUME_INCOMPLETE)


def _described(request: Request, body: bytes) -> tuple[Any, bytes | None]:
    """The file that a request describes, and its content; None if that comes later.

    Raises:
        ServiceError: The request is not understood.
    """
    headers, query = request.headers, request.query_params
    kind = headers.get("x-goog-upload-protocol") or query.get("uploadType", "media")
    mime_type = headers.get("content-type", "")
    content: bytes | None = body
    if kind == "resumable":
        file, content = _file(body), None
        mime_type = headers.get("x-upload-content-type", "")
        mime_type = headers.get("x-goog-upload-header-content-type", mime_type)
    elif kind == "multipart":
        description, content, mime_type = _parts(mime_type, body)
        file = _file(description)
    else:
        file = _file(b"")
    file.mime_type = file.mime_type or mime_type
    return file, content


def _file(description: bytes) -> Any:
    request = glm.CreateFileRequest.pb()()
    return strict_json.read(strict_json.loads(description), request).file


def _parts(content_type: str, body: bytes) -> tuple[bytes, bytes, str]:
    # By hand: the email package takes a line break at a file's end for its own.
    header = Message()
    header["content-type"] = content_type
    delimiter = b"--" + str(header.get_boundary()).encode()
    end = b"\r\n" if body.startswith(delimiter + b"\r\n") else b"\n"
    parts = (end + body).split(end + delimiter)[1:-1]
    if len(parts) != 2:  # noqa: PLR2004  # the description and the file
        raise ServiceError("INVALID_ARGUMENT", "The upload needs a description and a file.")
    (_, _, description), (head, _, media) = (part.partition(end * 2) for part in parts)
    return description, media, message_from_bytes(head.strip()).get_content_type()


def _add(data: bytearray, request: Request, body: bytes) -> bool:
    """Adds a piece to what has come; returns whether it is the last.

    Raises:
        ServiceError: It does not follow on what has come.
    """
    command = request.headers.get("x-goog-upload-command")
    if command is None:
        start, last = _range(request.headers.get("content-range"), len(body))
    else:
        start = request.headers.get("x-goog-upload-offset")
        last = "finalize" in command
    if start is None:  # a question for what has come
        return False
    if start != str(len(data)):
        raise ServiceError("INVALID_ARGUMENT", f"{len(data)} bytes have come, not {start}.")
    data.extend(body)
    return last


def _range(text: str | None, size: int) -> tuple[str | None, bool]:
    if text is None:  # all of it
        return "0", True
    match = re.fullmatch(r"bytes (?:\*|(\d+)-\d+)/(\*|\d+)", text)
    if match is None:
        raise ServiceError("INVALID_ARGUMENT", f"Invalid Content-Range: {text}")
    start, total = match.groups()
    return start, start is not None and total == str(int(start) + size)
