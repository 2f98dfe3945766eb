"""A strict reader of what is sent to Vertex AI, and messages in which one field is set alone."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    field_mask_pb2,
    json_format,
    message_factory,
    struct_pb2,
    timestamp_pb2,
)
from google.type import date_pb2, latlng_pb2

from genai_config import safe_configure

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

PACKAGE = "google.cloud.aiplatform.v1beta1"
Parse = Callable[[str, Any], Any]


@pytest.fixture(scope="session")
def parse() -> Parse:
    """Reads JSON data as a message of Vertex AI; an unknown name or value is an error."""
    recorded = json.loads(Path(__file__).with_name("messages.json").read_text(encoding="utf-8"))
    pool = descriptor_pool.DescriptorPool()
    for module in (duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, date_pb2, latlng_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    file = json_format.ParseDict(recorded["file"], descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())

    def read(name: str, data: Any) -> Any:
        descriptor = pool.FindMessageTypeByName(f"{PACKAGE}.{name}")
        message = message_factory.GetMessageClass(descriptor)()
        # As text: a number that JSON does not have is an error, too.
        return json_format.Parse(json.dumps(data, allow_nan=False), message, descriptor_pool=pool)

    return read


class Leaf(NamedTuple):
    """A message in which one field is set, somewhere inside.

    Attributes:
        path: Where, in the names of protobuf; with the value of an enum at its end.
        message: The message.
    """

    path: str
    message: Any


SAMPLES: dict[str, Any] = {
    "file_uri": "gs://bucket/object", "model": "models/gemini-x", "name": "cachedContents/one",
}  # fmt: skip
WELL_KNOWN = {
    "google.protobuf.Struct": {"a": 1, "b": ["x", None, {"c": True}]},
    "google.protobuf.Value": {"a": 1.5},
    "google.protobuf.Timestamp": "2026-11-28T10:00:00Z",
    "google.protobuf.Duration": "3.500s",
    "google.protobuf.FieldMask": "ttl",
    "google.protobuf.Any": {
        "@type": "type.googleapis.com/google.protobuf.Duration",
        "value": "3s",
    },
}


def leaves(message_class: Any) -> Iterator[Leaf]:
    """Each field of a message set alone, and each value of an enum; recursion goes one step."""
    for path, put in _leaves(message_class.DESCRIPTOR, ()):
        message = message_class()
        put(message)
        yield Leaf(path, message)


Put = Callable[[Any], None]


def _leaves(descriptor: Any, seen: tuple[str, ...]) -> Iterator[tuple[str, Put]]:
    for field in descriptor.fields:
        yield from _field(field, seen)


def _field(field: Any, seen: tuple[str, ...]) -> Iterator[tuple[str, Put]]:
    kind = field.message_type
    if kind is None:
        yield from _plain(field)
    elif kind.GetOptions().map_entry:
        yield from _in_map(field, seen)
    elif kind.full_name in WELL_KNOWN:
        value = WELL_KNOWN[kind.full_name]
        yield field.name, lambda message: json_format.ParseDict(value, _holder(field, message))
    else:
        yield field.name, lambda message: _holder(field, message).SetInParent()
        if seen.count(kind.full_name) > 1:
            return
        for path, put in _leaves(kind, (*seen, kind.full_name)):

            def inside(message: Any, put: Put = put) -> None:
                put(_holder(field, message))

            yield f"{field.name}.{path}", inside


def _holder(field: Any, message: Any) -> Any:
    """The message that a field holds; one more where it holds several."""
    holder = getattr(message, field.name)
    return holder.add() if field.label == field.LABEL_REPEATED else holder


def _in_map(field: Any, seen: tuple[str, ...]) -> Iterator[tuple[str, Put]]:
    value = field.message_type.fields_by_name["value"]
    for path, put in _field(value, seen):

        def in_map(message: Any, put: Put = put) -> None:
            entry = message_factory.GetMessageClass(field.message_type)(key="key")
            put(entry)
            holder = getattr(message, field.name)
            if value.message_type is None:
                holder["key"] = entry.value
            else:
                holder["key"].CopyFrom(entry.value)

        yield f"{field.name}.{path}", in_map


def _plain(field: Any) -> Iterator[tuple[str, Put]]:
    for label, value in _values(field):

        def plain(message: Any, value: Any = value) -> None:
            if field.label == field.LABEL_REPEATED:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)

        yield f"{field.name}{label}", plain


def _values(field: Any) -> Iterator[tuple[str, Any]]:
    if field.enum_type is not None:
        for value in field.enum_type.values:
            if value.number or field.has_presence or field.label == field.LABEL_REPEATED:
                yield f"={value.name}", value.number
    elif field.type == field.TYPE_BYTES:
        yield "", b"\xff\x00"
    elif field.type == field.TYPE_STRING:
        yield "", SAMPLES.get(field.name, "some text")
    elif field.type == field.TYPE_BOOL:
        yield "", True
    else:
        yield "", 0.1 if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE) else 7


@pytest.fixture(scope="session")
def one_by_one() -> Callable[[Any], Iterator[Leaf]]:
    """`leaves`, for tests."""
    return leaves


class Recorded(NamedTuple):
    """A request that a recorder was sent."""

    verb: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any


class Recorder:
    """A server that writes down what it is sent, and answers what it is told to."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.answers: list[tuple[int, bytes, str]] = []
        self.broken: list[bytes] = []
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                size = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(size)
                parts = urlsplit(self.path)
                recorder.requests.append(
                    Recorded(
                        self.command,
                        parts.path,
                        parts.query,
                        {name.lower(): value for name, value in self.headers.items()},
                        json.loads(body) if body else None,
                    )
                )
                if recorder.broken:
                    self.wfile.write(recorder.broken.pop())
                    self.close_connection = True
                    return
                status, data, kind = recorder.answer_to(parts.path)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                if 300 <= status < 400:
                    self.send_header("location", "http://127.0.0.1:9/elsewhere")
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 -- http.server's names

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()

    def respond(self, data: Any, status: int = 200) -> None:
        """What to answer next."""
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        kind = "text/event-stream" if body.startswith(b"data:") else "application/json"
        self.answers.append((status, body, kind))

    def break_off(self, data: bytes) -> None:
        """What to answer next before the connection is closed."""
        self.broken.append(data)

    def answer_to(self, path: str) -> tuple[int, bytes, str]:
        """What was told, or what fits the method."""
        if self.answers:
            return self.answers.pop(0)
        verb = path.rpartition(":")[2]
        generated = {
            "candidates": [
                {"content": {"role": "model", "parts": [{"text": "yes"}]}, "finishReason": "STOP"}
            ]
        }
        if verb == "streamGenerateContent":
            event = f"data: {json.dumps(generated)}\r\n\r\n"
            return 200, event.encode(), "text/event-stream"
        one = {"values": [0.5], "statistics": {}}
        answer = {
            "generateContent": generated,
            "countTokens": {"totalTokens": 3},
            "predict": {"predictions": [{"embeddings": one}] * 2},
            "embedContent": {"embedding": {"values": [0.5]}},
            "batchEmbedContents": {"embeddings": [{"values": [0.5]}] * 2},
        }.get(verb, {"name": f"{PARENT}/cachedContents/1", "model": f"{PARENT}/{GOOGLES}/gemini-x"})
        return 200, json.dumps(answer).encode(), "application/json"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


PARENT = "projects/my-project/locations/us-central1"
GOOGLES = "publishers/google/models"


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A server that stands where Vertex AI does."""
    running = Recorder()
    yield running
    running.close()


@pytest.fixture(params=["gemini", "vertex"])
def backend(request: pytest.FixtureRequest, recorder: Recorder) -> str:
    """Both services, at the recorder; the token is "token", the key "made-up"."""
    safe_configure(
        api_key="made-up",
        credentials=lambda: "token",
        backend=request.param,
        transport="rest",
        project="my-project",
        location="us-central1",
        vertex_endpoint=recorder.url,
        client_options={"api_endpoint": recorder.url},
    )
    return str(request.param)


@pytest.fixture
def pointed(server: GeminiServer) -> GeminiServer:
    """Both services at the local server: the Gemini API by a key, Vertex AI by OAuth.

    "tunedModels/mine" is an endpoint, which answers "tuned".
    """
    server.respond(f"{PARENT}/endpoints/456", "tuned")
    safe_configure(
        api_key=server.api_key(),
        credentials=server.service_account_info("workload"),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
        vertex_endpoint=server.rest_endpoint,
        project="my-project",
        location="us-central1",
        tuned_endpoints={"tunedModels/mine": "456"},
    )
    return server
