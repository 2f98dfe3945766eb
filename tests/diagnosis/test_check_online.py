"""The doctor's checks that ask: against the local server, a proxy, and whoever answers wrongly."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from google.oauth2.credentials import Credentials as EndUser

from genai_config import override, safe_configure
from genai_config._auth import headers as _headers
from genai_config._diagnosis import check_online, doctor
from genai_config._routing.decision import CLOUD_PLATFORM, RETRIEVER, TUNING
from genai_config._settings import googles_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config import GenAIConfig
    from genai_config._diagnosis.checks import Outcome
    from genai_config.testing import GeminiServer

TUNED = "tunedModels/mine"
REST: dict[str, Any] = {"transport": "rest", "tuned_transport": "rest"}
PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy of the machine, and no long wait."""
    monkeypatch.setattr(check_online, "BOUND", 3.0)
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def look(name: str, model: str | None = None) -> Outcome:
    """What one check finds."""
    checks = [check for check in doctor.CHECKS if check.name == name]
    (outcome,) = doctor.examine(model, online=True, checks=checks).outcomes
    return outcome


def found(name: str, model: str | None = None) -> str:
    """The problems that one check finds, as one text; "" is health."""
    return "\n".join(finding.problem for finding in look(name, model).problems)


def at(server: GeminiServer, **settings: Any) -> None:
    """Points requests at a server's REST side."""
    safe_configure(
        ca_certs=server.ca_file, client_options={"api_endpoint": server.rest_endpoint}, **REST,
        **settings,
    )  # fmt: skip


class _Listener(threading.Thread):
    """Takes connections one by one, until it is stopped, and does something with each."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        super().__init__()
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._stopped = False

    def run(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            with connection:
                connection.settimeout(10)
                if self._stopped:
                    return
                self._answer(connection)

    def __enter__(self) -> str:
        self.start()
        return self.address

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        host, _, port = self.address.partition(":")
        socket.create_connection((host, int(port))).close()
        self.join()
        self._listening.close()


def read_head(connection: socket.socket) -> bytes:
    """A request up to its empty line, or what there is of it."""
    with connection.makefile("rb") as lines:
        return b"".join(itertools.takewhile(lambda line: bytes(line).strip(), lines))


def copy(source: socket.socket, target: socket.socket) -> None:
    """Hands on what comes, until no more does."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.mark.usefixtures("configured", "adc")
def test_a_healthy_server(server: GeminiServer) -> None:
    """Reached, asked with the key and with a token, and nothing is found."""
    report = doctor.examine(online=True, checks=check_online.CHECKS)
    assert report.problems == ()
    asked = [(request.method.rpartition(".")[2], request.auth) for request in server.requests]
    assert asked == [
        ("CountTokens", "api_key"), ("GenerateContent", "api_key"), ("ListTunedModels", "oauth"),
    ]  # fmt: skip
    assert look("http2").facts == ("HTTP/2 is spoken",)


class TestTheWay:
    def test_nobody_listens(self) -> None:
        """It is said at once; what needs the endpoint does not say it again."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        safe_configure(api_key="key", client_options={"api_endpoint": f"localhost:{port}"})
        assert "cannot be reached: Connection refused" in found("endpoint")
        assert look("http2").facts == ("not known: the endpoint cannot be reached",)
        assert look("clock").facts == ("not known: the endpoint sends no Date header",)
        assert "count_tokens: " in found("key")
        assert "generate_content: " in found("generation")

    def test_a_name_that_is_none(self) -> None:
        """It may be a typing error."""
        safe_configure(client_options={"api_endpoint": "no-such-host.invalid"})
        assert "no-such-host.invalid:443 cannot be reached" in found("endpoint")

    def test_nobody_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The bound ends the wait."""
        monkeypatch.setattr(check_online, "BOUND", 0.05)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            safe_configure(client_options={"api_endpoint": f"localhost:{port}"})
            assert "no answer within 0.05 s" in found("endpoint")

    def test_a_certificate_that_is_not_trusted(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where a proxy looks into TLS."""
        monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
        safe_configure(client_options={"api_endpoint": server.grpc_endpoint})
        assert "is not trusted" in found("endpoint")
        assert look("http2").facts == ("not known: the endpoint cannot be reached",)
        monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(server.ca_file))
        assert found("endpoint") == ""
        with override(client_options={"api_endpoint": server.rest_endpoint}, **REST):
            assert "is not trusted" in found("endpoint")
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
            assert found("endpoint") == ""

    def test_a_way_without_http2(self, server: GeminiServer) -> None:
        """The REST side speaks HTTP/1.1, as proxies that look into TLS do."""
        safe_configure(
            ca_certs=server.ca_file, client_options={"api_endpoint": server.rest_endpoint}
        )
        assert "not speak HTTP/2" in found("http2")
        with override(**REST):
            assert look("http2").facts == ("not needed: no request uses gRPC",)

    def test_an_endpoint_that_refuses_http2(self) -> None:
        """By TLS's own alert, as some servers do."""

        def refuse(connection: socket.socket) -> None:
            connection.recv(1 << 16)
            connection.sendall(b"\x15\x03\x03\x00\x02\x02\x78")

        with _Listener(refuse) as address:
            safe_configure(client_options={"api_endpoint": address})
            assert "not speak HTTP/2" in found("http2")

    def test_an_endpoint_for_both(self, server: GeminiServer) -> None:
        """The local server's takes gRPC and REST."""
        safe_configure(ca_certs=server.ca_file, client_options={"api_endpoint": server.endpoint})
        assert look("http2").facts == ("HTTP/2 is spoken",)
        assert found("endpoint") == ""

    def test_a_way_without_tls(self) -> None:
        """On this machine alone."""
        with _Listener(lambda _: None) as address:
            safe_configure(client_options={"api_endpoint": f"http://{address}"})
            assert found("endpoint") == ""
            assert look("http2").facts == ("no TLS is used",)

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "Tunnel connection failed"),
            (b"junk\r\n\r\n", "(BadStatusLine)"),
        ],
    )
    def test_a_proxy_that_refuses(self, answer: bytes, problem: str) -> None:
        """With its reason, and without the password that it was given."""
        heads = []

        def refuse(connection: socket.socket) -> None:
            heads.append(read_head(connection))
            connection.sendall(answer)

        with _Listener(refuse) as address:
            safe_configure(proxy=f"http://user:nobody%20may@{address}")
            outcome = look("endpoint")
        assert "through the proxy" in outcome.problems[0].problem
        assert problem in outcome.problems[0].problem
        assert "nobody" not in str(outcome)
        # "user:nobody may", as RFC 7617 has it.
        assert b"Proxy-Authorization: Basic dXNlcjpub2JvZHkgbWF5\r\n" in heads[0]

    def test_a_proxy_of_the_environment(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As gRPC reads it, or requests; and past it where the variables say so."""
        host, _, port = server.grpc_endpoint.partition(":")

        def connect(connection: socket.socket) -> None:
            read_head(connection)
            with socket.create_connection((host, int(port))) as there:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=copy, args=(there, connection))
                back.start()
                copy(connection, there)
                back.join()

        with _Listener(connect) as address:
            safe_configure(
                ca_certs=server.ca_file, client_options={"api_endpoint": server.grpc_endpoint}
            )
            monkeypatch.setenv("grpc_proxy", f"http://{address}")
            assert look("endpoint").facts == (f"{server.grpc_endpoint} answers through the proxy",)
            with override(**REST):
                assert look("endpoint").facts == (f"{server.grpc_endpoint} answers",)
                monkeypatch.setenv("HTTPS_PROXY", address)
                assert look("endpoint").facts[0].endswith("through the proxy")
            monkeypatch.setenv("no_proxy", "localhost")
            assert look("endpoint").facts == (f"{server.grpc_endpoint} answers",)

    @pytest.mark.parametrize("proxy", ["http://user:pass/word@p:1", "http://p:junk", "http://["])
    def test_a_proxy_that_is_no_address(self, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Python's errors would quote it."""
        monkeypatch.setenv("grpc_proxy", proxy)
        outcome = look("endpoint")
        assert "or its address, is invalid (ValueError)" in outcome.problems[0].problem
        assert "pass" not in str(outcome)


class TestTheClock:
    @pytest.mark.parametrize(
        ("off", "problem"),
        [(0, ""), (30, ""), (3600, "s ahead"), (-3600, "s behind")],
    )
    def test_it_is_compared_with_the_endpoints(
        self, off: float, problem: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A minute is near enough."""
        monkeypatch.setattr(_headers, "clock", lambda: 1_000_000_000 + off)

        def answer(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(
                b"HTTP/1.1 404 Not Found\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n\r\n"
            )

        with _Listener(answer) as address:
            safe_configure(client_options={"api_endpoint": f"http://{address}"})
            problems = found("clock")
        assert problem in problems
        assert bool(problem) == bool(problems)

    def test_who_tells_no_time(self) -> None:
        """Another kind of server."""

        def answer(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

        with _Listener(answer) as address:
            safe_configure(client_options={"api_endpoint": f"http://{address}"})
            assert look("clock").facts == ("not known: the endpoint sends no Date header",)

    def test_who_tells_a_time_that_is_none(self) -> None:
        """A date that cannot be read."""

        def answer(connection: socket.socket) -> None:
            read_head(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\nDate: junk\r\n\r\n")

        with _Listener(answer) as address:
            safe_configure(client_options={"api_endpoint": f"http://{address}"})
            assert look("clock").facts == ("not known: the endpoint sends no Date header",)


class TestTheKey:
    def test_a_key_that_is_unknown(self, configured: GenAIConfig) -> None:
        """The service's message, and where to get another."""
        del configured
        with override(api_key="AIza-of-nobody-at-all"):
            outcome = look("key")
        assert "API key not valid" in outcome.problems[0].problem
        assert "aistudio.google.com" in outcome.problems[0].remedy
        assert "AIza" not in str(outcome)

    @pytest.mark.usefixtures("configured")
    def test_a_way_that_grpc_cannot_go(self) -> None:
        """Our own errors are findings as well."""
        with override(proxy="https://localhost:1"):
            assert "gRPC cannot speak TLS to a proxy" in found("key")

    def test_over_rest(self, server: GeminiServer) -> None:
        """As requests would go."""
        at(server, api_key=server.api_key())
        assert found("key") == ""
        assert server.requests[-1].transport == "rest"

    def test_no_key_is_asked_about_where_none_is_used(self, server: GeminiServer) -> None:
        """OAuth for all."""
        at(server, api_key=server.api_key(), auth="oauth")
        assert look("key").facts == ("no key is used",)
        assert server.requests == []


class TestTheAnswer:
    def test_a_request_that_is_not_sent(self) -> None:
        """Why, another check says."""
        safe_configure(auth="api_key")
        assert look("generation").facts == ("see settings",)

    def test_a_login_that_is_none(self, server: GeminiServer) -> None:
        """Likewise."""
        at(server, auth="oauth")
        assert look("generation").facts == ("there is no token",)

    @pytest.mark.usefixtures("configured")
    def test_a_service_that_is_ill(self, server: GeminiServer) -> None:
        """Its words are all that is known."""
        server.fail(1, "RESOURCE_EXHAUSTED", "Quota exceeded.")
        (finding,) = look("generation").problems
        assert "Quota exceeded." in finding.problem
        assert finding.remedy.startswith("see the message")

    @pytest.mark.usefixtures("adc")
    def test_tuned_models_of_vertex_are_not_asked_about_elsewhere(
        self, server: GeminiServer
    ) -> None:
        """The Gemini API knows nothing of them."""
        at(server, tuned_endpoints={TUNED: "projects/p-1234/locations/eu/endpoints/1"})
        assert look("tuned_models", TUNED).skipped
        assert server.requests == []


class TestTheToken:
    @pytest.mark.usefixtures("configured")
    def test_where_none_is_needed_none_is_fetched(self, server: GeminiServer) -> None:
        """A key, and base models."""
        for name in ("token", "rights", "tuned_models"):
            assert look(name).facts == ("this request does not need OAuth",)
        assert server.tokens.count == 0

    @pytest.mark.usefixtures("configured")
    def test_a_login_that_was_revoked(self, server: GeminiServer) -> None:
        """What the token endpoint said, and the remedy."""
        credentials = server.user_credentials(name="gone", quota_project="project")
        server.revoke("gone")
        safe_configure(credentials=credentials)
        assert "invalid_grant" in found("token")
        assert look("tuned_models").facts == ("there is no token",)

    @pytest.mark.usefixtures("configured")
    def test_a_token_endpoint_that_hangs(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The doctor's own bound ends the wait, not auth_timeout."""
        monkeypatch.setattr(check_online, "BOUND", 0.1)
        safe_configure(credentials=server.user_credentials())
        server.tokens.hang()
        assert "within auth_timeout=0.1 s" in found("token")
        server.tokens.release()

    @pytest.mark.usefixtures("configured")
    def test_the_metadata_server_is_asked(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It gives the credentials, where no file does."""
        credentials = server.user_credentials(quota_project="project")
        monkeypatch.delenv("NO_GCE_CHECK")
        monkeypatch.setattr("google.auth.default", lambda scopes: (credentials, scopes and None))
        safe_configure(auth="oauth")
        for name in ("metadata_server", "token", "tuned_models"):
            assert found(name) == ""
        assert look("token").facts[0].endswith("ADC, the metadata server")
        assert server.tokens.count == 1

    @pytest.mark.usefixtures("configured")
    def test_scopes_that_are_refused(self, server: GeminiServer) -> None:
        """The command that grants them is the remedy."""
        safe_configure(credentials=server.user_credentials([RETRIEVER], quota_project="project"))
        outcome = look("tuned_models", TUNED)
        assert "insufficient authentication scopes" in outcome.problems[0].problem
        assert outcome.problems[0].remedy.count("gcloud auth application-default login") == 1

    @pytest.mark.usefixtures("configured")
    def test_a_quota_project_that_is_missing(self, server: GeminiServer) -> None:
        """The service says so."""
        safe_configure(credentials=server.user_credentials())
        outcome = look("tuned_models")
        assert "requires a quota project" in outcome.problems[0].problem
        assert "set-quota-project" in outcome.problems[0].remedy

    @pytest.mark.usefixtures("configured", "adc")
    def test_a_model_that_is_not_there(self) -> None:
        """The very model is asked about."""
        assert "tunedModels/mine does not exist" in found("tuned_models", TUNED)


class _TokenInfo(http.server.BaseHTTPRequestHandler):
    answer: Any = None
    asked: str = ""

    def do_POST(self) -> None:
        type(self).asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        body = json.dumps(self.answer).encode() if self.answer is not None else b"junk"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Nothing."""


class TestTheRights:
    @pytest.fixture
    def tokeninfo(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_TokenInfo]]:
        """Google's token information, by somebody else."""
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _TokenInfo) as serving:
            thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
            thread.start()
            url = f"http://127.0.0.1:{serving.server_address[1]}/tokeninfo"
            monkeypatch.setattr(check_online, "TOKENINFO", url)
            yield _TokenInfo
            serving.shutdown()
            thread.join()

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            ({"scope": f"openid {TUNING}"}, ""),
            ({"scope": CLOUD_PLATFORM}, ""),
            ({"scope": RETRIEVER}, RETRIEVER),
            ({"error": "invalid_token"}, "none at all"),
            (["junk"], "none at all"),
            (None, "JSONDecodeError"),
        ],
    )
    def test_what_a_token_may_do(
        self,
        answer: Any,
        problem: str,
        tokeninfo: type[_TokenInfo],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Google is asked about its own tokens."""
        monkeypatch.setattr(tokeninfo, "answer", answer)
        safe_configure(credentials=EndUser("ya29.a-token"))
        outcome = look("rights")
        assert problem in "".join(finding.problem for finding in outcome.problems)
        assert bool(problem) == bool(outcome.problems)
        assert tokeninfo.asked == "access_token=ya29.a-token"
        assert "ya29" not in str(outcome)

    @pytest.mark.usefixtures("adc")
    def test_what_an_account_signs_is_not_shown(self, tokeninfo: type[_TokenInfo]) -> None:
        """It is no token of Google's."""
        tokeninfo.asked = ""
        assert "has signed it" in look("rights", TUNED).facts[0]
        assert tokeninfo.asked == ""

    def test_a_token_is_shown_to_nobody_else(self, server: GeminiServer) -> None:
        """Another endpoint's may be another's."""
        at(server, credentials=EndUser("ya29.a-token"))
        assert "not asked" in look("rights").facts[0]

    def test_without_a_token(self, server: GeminiServer) -> None:
        """Another check says why."""
        server.tokens.fail()
        safe_configure(credentials=server.user_credentials())
        assert look("rights").facts == ("there is no token",)


@pytest.mark.parametrize(
    ("host", "googles"),
    [
        ("generativelanguage.googleapis.com", True),
        ("eu.generativelanguage.googleapis.com", True),
        ("eu-generativelanguage.googleapis.com", True),
        ("evilgenerativelanguage.googleapis.com", False),
        ("generativelanguage.googleapis.com.evil.example", False),
        ("localhost", False),
    ],
)
def test_whose_endpoint_it_is(host: str, *, googles: bool) -> None:
    """Only Google is shown Google's tokens."""
    assert googles_endpoint.is_googles(host) is googles
