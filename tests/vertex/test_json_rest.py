"""JSON over HTTP under the SDK's clients: errors, bounds, streams, headers, thought signatures."""

from __future__ import annotations

import base64
import contextlib
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import grpc
import pytest
from google.ai import generativelanguage_v1beta as glm
from google.api_core import exceptions as errors
from google.api_core.retry import Retry
from google.rpc import error_details_pb2

import genai_config
from genai_config import safe_configure
from genai_config._sdk import generated
from genai_config._transport import channels, http_rules, json_events
from genai_config._transport.http_errors import HttpCallError, from_answer
from genai_config._transport.json_rest import JsonChannel
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = "models/gemini-x"
ONCE: Any = {"retry": None, "timeout": 5}
YES = {"candidates": [{"content": {"role": "model", "parts": [{"text": "yes"}]}}]}


def ask(**options: Any) -> str:
    """The answer of a model."""
    answer = genai.GenerativeModel(MODEL).generate_content("hi", request_options=ONCE | options)
    return str(answer.text)


def stream() -> list[str]:
    """The answers of a model, one by one."""
    answer = genai.GenerativeModel(MODEL).generate_content("hi", stream=True, request_options=ONCE)
    return [chunk.text for chunk in answer]


REFUSED = {
    "error": {
        "code": 403,
        "message": "Not you.",
        "status": "PERMISSION_DENIED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_SERVICE_BLOCKED",
                "domain": "googleapis.com",
                "metadata": {"service": "x"},
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s", "new": 1},
            {"@type": "type.googleapis.com/never.heard.Of", "a": 1},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "soon"},
            "no detail",
        ],
    }
}


class TestErrors:
    @pytest.mark.parametrize("body", [REFUSED, [REFUSED]], ids=["object", "list"])
    def test_they_are_grpcs_and_https_with_details(
        self, backend: str, recorder: Any, body: Any
    ) -> None:
        """Code written for either transport catches them, and reads the reason."""
        for asking in (ask, stream):
            recorder.respond(body, 403)
            with pytest.raises(errors.PermissionDenied) as caught:
                asking()
            error = caught.value
            assert isinstance(error, errors.Forbidden)
            assert error.code == 403
            assert error.grpc_status_code is grpc.StatusCode.PERMISSION_DENIED
            # Python 3.10 has no notes: the remedy is in the message there.
            assert error.message.splitlines()[0] == "Not you."
            assert error.reason == "API_KEY_SERVICE_BLOCKED"
            assert error.domain == "googleapis.com"
            kinds = [type(detail) for detail in error.details]
            assert kinds == [error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo]
        assert backend in ("gemini", "vertex")

    @pytest.mark.parametrize(
        ("status", "caught_as"),
        [
            (400, errors.InvalidArgument), (401, errors.Unauthenticated),
            (404, errors.NotFound), (409, errors.Aborted), (429, errors.ResourceExhausted),
            (500, errors.InternalServerError), (501, errors.MethodNotImplemented),
            (502, errors.ServiceUnavailable), (503, errors.ServiceUnavailable),
            (504, errors.DeadlineExceeded), (418, errors.Unknown),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("backend", ["gemini"], indirect=True)
    def test_answers_that_are_not_googles(
        self, backend: str, recorder: Any, status: int, caught_as: Any
    ) -> None:
        """A page of a proxy is told with who sent it; the status decides."""
        recorder.respond(b"<html>\n <b>No</b></html>", status)
        with pytest.raises(caught_as, match=f"answered HTTP {status}: <html> <b>No") as caught:
            ask()
        assert recorder.url.removeprefix("http://") in str(caught.value)
        assert backend == "gemini"

    def test_a_gateways_error_has_the_answers_status(self) -> None:
        """Its code may be a word, or missing."""
        for body in (
            b'{"error": {"message": "slow", "code": "rate_limit_exceeded"}}',
            b'{"error": {"message": "slow"}}',
        ):
            assert from_answer(429, body, "host").code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    def test_the_retry_after_is_kept(self) -> None:
        """Where gRPC has it."""
        error = from_answer(429, b"", "host", {"Retry-After": "7", "Date": "now"})
        assert error.trailing_metadata() == (("retry-after", "7"),)

    def test_the_form_of_a_call(self) -> None:
        """What looks at gRPC's errors finds what it looks for."""
        error = HttpCallError(grpc.StatusCode.CANCELLED, "gone")
        assert (error.code(), error.details()) == (grpc.StatusCode.CANCELLED, "gone")
        assert error.done()
        assert error.cancelled()
        assert not (error.is_active())
        assert not (error.running())
        assert not (error.cancel())
        assert error.time_remaining() is None
        assert error.exception() is error
        assert (error.initial_metadata(), error.traceback()) == ((), None)
        assert not error.add_callback(lambda: None)
        told: list[Any] = []
        error.add_done_callback(told.append)
        assert told == [error]
        with pytest.raises(HttpCallError):
            error.result()

    @pytest.mark.parametrize("body", [b"{", b"[1]", b'{"candidates": 5}', b"[" * 100_000])
    def test_an_answer_that_is_none(self, backend: str, recorder: Any, body: bytes) -> None:
        """It is the service's failure, and the answer is not quoted."""
        recorder.respond(body)
        with pytest.raises(errors.InternalServerError, match="The answer of 127"):
            ask()
        assert backend in ("gemini", "vertex")

    def test_a_redirect_is_refused(self, backend: str, recorder: Any) -> None:
        """The credentials do not travel on."""
        for asking in (ask, stream):
            recorder.respond({}, 307)
            with pytest.raises(ConfigurationError, match="redirects to http://127"):
                asking()
        assert len(recorder.requests) == 2
        assert backend in ("gemini", "vertex")

    def test_no_frame_of_an_error_holds_the_credentials(self, backend: str, recorder: Any) -> None:
        """What shows local variables (sentry, rich) shows neither key nor token."""
        secret = "made-up" if backend == "gemini" else "token"
        genai_config.safe_configure(credentials=lambda: f"{secret}-1")
        for asking in (ask, stream):
            recorder.respond(REFUSED, 403)
            with pytest.raises(errors.PermissionDenied) as caught:
                asking()
            seen, error = "", caught.value.__cause__
            while error is not None:
                traceback = error.__traceback__
                while traceback is not None:
                    if "/genai_config/" in traceback.tb_frame.f_code.co_filename:
                        seen += repr(traceback.tb_frame.f_locals)
                    traceback = traceback.tb_next
                error = error.__context__
            assert seen
            assert secret not in seen


class Silent:
    """A server that takes connections, and answers as a test says."""

    def __init__(self, answer: bytes = b"", *, drip: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answer, self._drip = answer, drip
        self._over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(self._answer)
                while self._drip and not self._over.wait(0.05):
                    connection.sendall(b" ")
                if self._answer and not self._drip:
                    return
                self._over.wait(30)
            except OSError:
                return

    def close(self) -> None:
        self._over.set()
        self._listener.close()


@pytest.fixture
def silent() -> Iterator[Any]:
    """Makes servers that do not answer well."""
    made: list[Silent] = []

    def make(*args: Any, **options: Any) -> Silent:
        made.append(Silent(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


def point(url: str, **settings: Any) -> None:
    """REST to an address."""
    safe_configure(
        api_key="made-up", transport="rest", client_options={"api_endpoint": url}, **settings
    )


class TestBounds:
    @pytest.mark.parametrize(
        ("answer", "drip"),
        [
            (b"", False),
            (HEAD + b"content-length: 100000\r\n\r\n{", True),
            (HEAD + b"x-slow: ", True),
        ],
        ids=["no answer", "a body that drips", "a head that drips"],
    )
    def test_a_timeout_is_a_bound_on_the_whole(
        self, silent: Any, answer: bytes, *, drip: bool
    ) -> None:
        """Not on each wait: who drips is not waited for."""
        point(silent(answer, drip=drip).url)
        for asking in (ask, stream):
            started = time.monotonic()
            with pytest.raises(errors.DeadlineExceeded) as caught:
                asking_with(asking, timeout=0.4)
            assert time.monotonic() - started < 4
            assert isinstance(caught.value, errors.GatewayTimeout)

    def test_the_bound_of_the_configuration(self, silent: Any) -> None:
        """`timeout=` too."""
        point(silent(HEAD + b"content-length: 9\r\n\r\n{", drip=True).url, timeout=0.4)
        started = time.monotonic()
        with pytest.raises(errors.GoogleAPICallError):
            genai.GenerativeModel(MODEL).generate_content("hi")
        assert time.monotonic() - started < 4

    def test_nobody_there(self) -> None:
        """It is UNAVAILABLE, which the SDK tries again; the cause is named, the URL is not."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        point(f"http://127.0.0.1:{port}")
        with pytest.raises(errors.ServiceUnavailable, match="ConnectionRefusedError") as caught:
            ask()
        assert "gemini-x" not in str(caught.value)

    def test_a_connection_that_breaks(self, silent: Any) -> None:
        """In the head, in the body, in a stream."""
        for answer in (HEAD, HEAD + b"content-length: 9\r\n\r\n{"):
            point(silent(answer).url)
            with pytest.raises(errors.ServiceUnavailable, match="failed"):
                ask()
        chunk = event("a") + b"\n\n"
        head = HEAD + b"transfer-encoding: chunked\r\n\r\n" + f"{len(chunk):x}".encode()
        point(silent(head + b"\r\n" + chunk + b"\r\n").url)
        with pytest.raises(errors.ServiceUnavailable, match="failed"):
            stream()

    def test_a_used_connection_that_breaks(self, backend: str, recorder: Any) -> None:
        """It is asked once more if it had died; not if an answer has begun: that was worked on."""
        assert ask() == "yes"
        recorder.break_off(b"")
        assert ask() == "yes"
        assert len(recorder.requests) == 3
        recorder.break_off(HEAD + b"content-length: 9\r\n\r\n{")
        with pytest.raises(errors.ServiceUnavailable, match="failed"):
            ask()
        assert len(recorder.requests) == 4
        assert backend in ("gemini", "vertex")

    def test_the_sdk_tries_again(self, recorder: Any) -> None:
        """As over gRPC."""
        point(recorder.url)
        recorder.respond({}, 503)
        retry = Retry(initial=0.01, predicate=lambda e: isinstance(e, errors.ServiceUnavailable))
        assert ask(retry=retry) == "yes"
        assert len(recorder.requests) == 2

    def test_a_certificate_that_is_not_trusted(self, server: Any) -> None:
        """It is told at once, with the setting; it is not tried again."""
        point(server.rest_endpoint)
        with pytest.raises(errors.ServiceUnavailable, match="ca_certs"):
            genai.GenerativeModel(MODEL).generate_content("hi")
        assert server.requests == []


def asking_with(asking: Any, **options: Any) -> None:
    """Asks once, bounded."""
    genai.GenerativeModel(MODEL).generate_content(
        "hi", stream=asking is stream, request_options=ONCE | options
    )


def event(text: str) -> bytes:
    """One event of a stream."""
    return b'data: {"candidates": [{"content": {"parts": [{"text": "%s"}]}}]}' % text.encode()


class TestStreams:
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    def test_wherever_it_is_cut(self, end: bytes) -> None:
        """Events are the same, however they arrive."""
        body = end.join([b": hello", b"event: x", event("a"), b"", event("b"), b"", b"data: {",
                         b"data: }", b"", b""])  # fmt: skip
        for size in (1, 2, 7, len(body)):
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            found = list(json_events.events(iter(pieces), "host"))
            assert [len(one) for one in found] == [1, 1, 0]

    def test_an_error_on_the_way(self, backend: str, recorder: Any) -> None:
        """What was there before it is given; the error is the service's."""
        for told in (b'data: {"error": {"status": "RESOURCE_EXHAUSTED", "message": "m"}}\n\n',
                     b'[{"error": {"code": 429, "message": "m"}}]',
                     b'{"error": {"code": 429, "message": "m"}}\n'):  # fmt: skip
            recorder.respond(event("a") + b"\n\n" + told)
            answer = genai.GenerativeModel(MODEL).generate_content("hi", stream=True)
            with pytest.raises(errors.ResourceExhausted, match="m"):
                list(answer)
        assert backend in ("gemini", "vertex")

    def test_an_end_in_the_middle(self, backend: str, recorder: Any) -> None:
        """It is no answer; without an empty line at its end it is."""
        recorder.respond(event("a") + b"\n\n" + event("b")[:-3])
        with pytest.raises(errors.InternalServerError, match="not complete"):
            list(genai.GenerativeModel(MODEL).generate_content("hi", stream=True))
        recorder.respond(event("a"))
        assert stream() == ["a"]
        assert backend in ("gemini", "vertex")

    def test_the_form_of_a_call(self, recorder: Any) -> None:
        """What google.api_core asks of a stream."""
        point(recorder.url)
        client = genai.GenerativeModel(MODEL)
        response: Any = client.generate_content("hi", stream=True)
        call = response._iterator._wrapped
        assert call.is_active()
        assert call.time_remaining() > 0
        assert (call.code(), call.details()) == (None, "")
        assert (call.initial_metadata(), call.trailing_metadata()) == ((), ())
        assert not call.add_callback(print)
        assert [chunk.text for chunk in response] == ["yes"]
        assert call.code() is grpc.StatusCode.OK
        assert list(call) == []
        assert call.cancel()
        assert call.code() is grpc.StatusCode.OK

    def test_one_that_broke_off_never_looks_like_a_good_end(self, recorder: Any) -> None:
        """As over gRPC: whoever goes on reading hears of it again."""
        point(recorder.url)
        client = genai.GenerativeModel(MODEL)
        cancelled: Any = client.generate_content("hi", stream=True)
        recorder.respond(event("a") + b"\n\n" + event("b")[:-3])
        broken: Any = client.generate_content("hi", stream=True)
        cancelled._iterator._wrapped.cancel()
        for answer, code in (
            (cancelled, grpc.StatusCode.CANCELLED), (broken, grpc.StatusCode.INTERNAL),
        ):  # fmt: skip
            call = answer._iterator._wrapped
            for _ in range(2):
                with pytest.raises(grpc.RpcError) as caught:
                    next(call)
                assert caught.value.code() is code
            assert call.code() is code
            assert call.details()
            assert not call.is_active()

    def test_an_interrupt(self, silent: Any) -> None:
        """Whoever is interrupted while waiting hangs up."""
        body = event("a") + b"\n\n"
        point(silent(HEAD + b"content-length: 100000\r\n\r\n" + body, drip=True).url)
        response: Any = genai.GenerativeModel(MODEL).generate_content("hi", stream=True)
        call = response._iterator._wrapped
        over = threading.Event()

        def interrupt() -> None:
            # What is raised while a destructor runs is lost: then once more.
            while not over.wait(1):
                signal.raise_signal(signal.SIGINT)

        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            next(call)
        over.set()
        interrupting.join()
        assert call.code() is grpc.StatusCode.CANCELLED

    def test_nothing_at_all(self, backend: str, recorder: Any) -> None:
        """An empty stream is no answer."""
        recorder.respond(b"")
        with pytest.raises(errors.ServiceUnavailable, match="no answer came"):
            stream()
        assert backend in ("gemini", "vertex")


def test_the_form_of_a_channel(recorder: Any) -> None:
    """What gRPC's interface has, and what the SDK has no use for."""
    address = channels.Address(recorder.url, None, None, None)
    with JsonChannel(address, http_rules.exchange) as channel:
        channel.subscribe(print)
        channel.unsubscribe(print)
        method = channel.unary_unary(
            "/google.ai.generativelanguage.v1beta.GenerativeService/CountTokens",
            None,
            glm.CountTokensResponse.deserialize,
        )
        answer, call = method.with_call(glm.CountTokensRequest(model="models/m"))
        assert answer.total_tokens == 3
        assert (call.code(), call.details()) == (grpc.StatusCode.OK, "")
        assert (call.initial_metadata(), call.trailing_metadata()) == ((), ())
        for unused in (channel.stream_unary, channel.stream_stream, method.future):
            with pytest.raises(NotImplementedError):  # what grpc has there
                unused()


class TestHeaders:
    def test_what_is_sent(self, backend: str, recorder: Any) -> None:
        """Values of one name are joined, bytes go in base64, gRPC's own stay behind."""
        metadata = [("X-Mine", "a"), ("x-mine", "b"), ("x-raw-bin", b"\xff"), ("grpc-timeout", "1"),
                    ("x-goog-api-key", "other")]  # fmt: skip
        ask(metadata=metadata)
        headers = recorder.requests[-1].headers
        assert headers["x-mine"] == "a, b"
        assert headers["x-raw-bin"] == base64.b64encode(b"\xff").decode()
        assert "grpc-timeout" not in headers
        assert "gl-python" in headers["x-goog-api-client"]
        if backend == "gemini":
            assert headers["x-goog-api-key"] == "made-up"
            assert "model=models/gemini-x" in headers["x-goog-request-params"].replace("%2F", "/")
        else:
            assert headers["authorization"] == "Bearer token"
            assert not {"x-goog-api-key", "x-goog-request-params"} & headers.keys()

    def test_what_the_connection_decides(self, backend: str, recorder: Any) -> None:
        """No metadata says where a request ends, or whom it is for."""
        ask(metadata=[("Host", "evil"), ("transfer-encoding", "chunked"), ("content-length", "1")])
        headers = recorder.requests[-1].headers
        assert headers["host"] == recorder.url.removeprefix("http://")
        assert "transfer-encoding" not in headers
        assert recorder.requests[-1].body["contents"]
        assert backend in ("gemini", "vertex")

    def test_what_is_no_header(self, backend: str, recorder: Any) -> None:
        """It is the caller's mistake, not tried again, and not shown."""
        for value in ("a\r\nx-evil: 1", "\u2028"):
            given: Any = {"metadata": [("x-mine", value)]}
            with pytest.raises(errors.InvalidArgument, match="metadata") as caught:
                genai.GenerativeModel(MODEL).generate_content("hi", request_options=given)
            assert "evil" not in str(caught.value)
        assert recorder.requests == []
        assert backend in ("gemini", "vertex")

    def test_the_url(self, backend: str, recorder: Any) -> None:
        """Enums come as numbers where they can."""
        ask()
        stream()
        one, several = recorder.requests
        assert several.query == "alt=sse"
        assert one.query == ("%24alt=json;enum-encoding=int" if backend == "gemini" else "")


def test_a_call_that_bypassed_its_client_is_not_sent_to_vertex_ai() -> None:
    """It says neither whose project it is nor where."""
    with pytest.raises(ConfigurationError, match="bypassed its client"):
        generated._to_vertex("GenerativeService.GenerateContent", None, None)
