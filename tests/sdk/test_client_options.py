"""Each of the SDK's client options, as a dict and as an object, as the service sees it."""

from __future__ import annotations

import contextlib
import json
import os
import socketserver
import threading
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
import requests
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError
from google.generativeai import client as client_lib

from genai_config import UNSET, override, safe_configure
from genai_config._auth.credentials import Found, in_universe
from genai_config._routing.decision import CLOUD_PLATFORM, RETRIEVER, TUNED_SCOPES, TUNING
from genai_config.exceptions import InvalidCredentialsError, UnknownSettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"
ROBOT = "robot@project.iam.gserviceaccount.com"

over_both = pytest.mark.parametrize("transport", ["grpc", "rest"])
pytestmark = [
    # google-api-core and google-auth announce the end of credentials_file.
    pytest.mark.filterwarnings("ignore:The `credentials_file` argument:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The load_credentials_from_file:DeprecationWarning"),
]


def ask(model: str = TUNED) -> None:
    """One request."""
    genai.GenerativeModel(model).generate_content("hi")


def as_object(options: dict[str, Any]) -> ClientOptions:
    """The options in the SDK's own form."""
    return ClientOptions(**options)


in_both_forms = pytest.mark.parametrize("form_of", [dict, as_object])


@pytest.fixture
def adc_of_a_workload(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Application Default Credentials whose tokens come from the token endpoint."""
    path = os.fspath(server.external_account_file("workload"))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", path)
    return path


def point(
    server: GeminiServer, transport: Any, options: Any = None, form_of: Any = dict, **settings: Any
) -> None:
    """Points every request at the server, with client options in one of their forms."""
    endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
    safe_configure(
        transport=transport,
        tuned_transport=transport,
        ca_certs=server.ca_file,
        client_options=form_of({"api_endpoint": endpoint, **(options or {})}),
        **settings,
    )


def ask_as_the_bare_sdk(configuration: dict[str, Any]) -> None:
    """The same request without this library."""
    genai.configure(**configuration)
    request = {"model": TUNED, "contents": [{"parts": [{"text": "hi"}]}]}
    with contextlib.suppress(GoogleAPICallError):  # it asks for no scopes that would do
        client_lib.get_default_generative_client().generate_content(request, retry=None, timeout=10)


class TestOAuth:
    @pytest.mark.usefixtures("adc_of_a_workload")
    @in_both_forms
    @over_both
    def test_quota_project_id(
        self, server: GeminiServer, transport: Any, form_of: Callable[..., Any]
    ) -> None:
        """It is who pays, over REST too."""
        point(server, transport, {"quota_project_id": "my-project"}, form_of)
        ask()
        assert server.requests[-1].headers["x-goog-user-project"] == "my-project"

    @pytest.mark.usefixtures("adc_of_a_workload")
    @over_both
    def test_quota_project_id_in_the_bare_sdk(
        self, server: GeminiServer, bare: Callable[..., dict[str, Any]], transport: Any
    ) -> None:
        """There it is lost over REST."""
        ask_as_the_bare_sdk(bare(transport=transport, options={"quota_project_id": "my-project"}))
        sent = server.requests[-1].headers.get("x-goog-user-project")
        assert sent == (None if transport == "rest" else "my-project")

    @pytest.mark.usefixtures("adc_of_a_workload")
    @in_both_forms
    @over_both
    def test_scopes(
        self, server: GeminiServer, transport: Any, form_of: Callable[..., Any]
    ) -> None:
        """The token has these, and no others, where it would have those of tuning."""
        ask_with: list[Any] = [None, {"scopes": [CLOUD_PLATFORM, TUNING, RETRIEVER]}]
        for options in ask_with:
            point(server, transport, options, form_of)
            ask()
        first, second = (request.scopes for request in server.requests)
        assert first == set(TUNED_SCOPES)
        assert second == {CLOUD_PLATFORM, TUNING, RETRIEVER}

    @in_both_forms
    @over_both
    def test_credentials_file(
        self,
        server: GeminiServer,
        adc_of_a_workload: str,
        transport: Any,
        form_of: Callable[..., Any],
    ) -> None:
        """It goes before ADC."""
        del adc_of_a_workload
        file = os.fspath(server.service_account_file("robot"))
        point(server, transport, {"credentials_file": file}, form_of)
        ask()
        assert server.requests[-1].identity == ROBOT

    @pytest.mark.usefixtures("adc_of_a_workload")
    @over_both
    def test_credentials_file_in_the_bare_sdk(
        self, server: GeminiServer, bare: Callable[..., dict[str, Any]], transport: Any
    ) -> None:
        """There it is ignored over REST, and somebody else asks."""
        file = os.fspath(server.service_account_file("robot"))
        ask_as_the_bare_sdk(bare(transport=transport, options={"credentials_file": file}))
        assert server.requests[-1].identity == ("workload" if transport == "rest" else ROBOT)

    @in_both_forms
    @over_both
    def test_api_audience(
        self, server: GeminiServer, transport: Any, form_of: Callable[..., Any]
    ) -> None:
        """A token with scopes has no audience: the service takes it as it is."""
        file = server.service_account_file("robot")
        options = {"api_audience": "https://other.example.com/"}
        point(server, transport, options, form_of, credentials=file)
        ask()
        (request,) = server.requests
        assert request.identity == ROBOT
        assert request.scopes == set(TUNED_SCOPES)


@pytest.fixture
def of_example(server: GeminiServer, tmp_path: Path) -> Path:
    """A service account of another universe."""
    info = {**server.service_account_info("robot"), "universe_domain": "example.com"}
    path = tmp_path / "robot.json"
    path.write_text(json.dumps(info), encoding="utf-8")
    return path


class Refusing(socketserver.ThreadingTCPServer):
    """A proxy that lets nobody through, and remembers where they wanted to go."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refusal)
        self.targets: list[str] = []


class _Refusal(socketserver.StreamRequestHandler):
    server: Refusing

    def handle(self) -> None:
        line = self.rfile.readline().decode()
        while self.rfile.readline().strip():
            pass
        self.server.targets.append(line.split()[1])
        self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")


@pytest.fixture
def proxy() -> Iterator[Refusing]:
    """A proxy, until the test is over."""
    with Refusing() as refusing:
        threading.Thread(target=refusing.serve_forever, args=(0.01,), daemon=True).start()
        yield refusing
        refusing.shutdown()


class TestUniverse:
    @pytest.mark.parametrize("given", ["option", "object", "variable", "both", "none"])
    @over_both
    def test_it_decides_where_requests_go(
        self, proxy: Refusing, monkeypatch: pytest.MonkeyPatch, transport: Any, given: str
    ) -> None:
        """By the option, else by the variable, else to Google's own."""
        if given in ("variable", "both"):
            variable = "example.com" if given == "variable" else "example.org"
            monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", variable)
        options: dict[str, Any] = {
            "option": {"universe_domain": "example.com"},
            "object": ClientOptions(universe_domain="example.com"),
            "both": {"universe_domain": "example.com"},
        }
        safe_configure(
            api_key="k",
            transport=transport,
            proxy=f"http://127.0.0.1:{proxy.server_address[1]}",
            client_options=options.get(given),
        )
        client = client_lib.get_default_generative_client()
        with pytest.raises((GoogleAPICallError, requests.ConnectionError)):
            client.count_tokens(model=f"models/{BASE}", retry=None, timeout=5)
        universe = "googleapis.com" if given == "none" else "example.com"
        assert set(proxy.targets) == {f"generativelanguage.{universe}:443"}

    @over_both
    def test_credentials_of_the_same(
        self, server: GeminiServer, of_example: Path, transport: Any
    ) -> None:
        """They pass."""
        point(server, transport, {"universe_domain": "example.com"}, credentials=of_example)
        ask()
        assert server.requests[-1].identity == ROBOT

    @over_both
    def test_credentials_of_another(
        self, server: GeminiServer, of_example: Path, transport: Any
    ) -> None:
        """They are refused with both names, and nothing is sent."""
        file = server.service_account_file()
        point(server, transport, {"universe_domain": "example.com"}, credentials=file)
        with pytest.raises(InvalidCredentialsError) as caught:
            ask()
        assert caught.value.problem.endswith(
            "belong to the universe googleapis.com, and requests go to example.com."
        )
        options = {"universe_domain": UNSET, "api_endpoint": UNSET}
        with (
            override(credentials=of_example, client_options=options),
            pytest.raises(InvalidCredentialsError, match=r"requests go to googleapis\.com"),
        ):
            ask()
        assert server.requests == []

    def test_the_variable_counts(
        self, server: GeminiServer, of_example: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It names the universe where the option does not."""
        point(server, "grpc", credentials=server.service_account_file())
        monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "example.com")
        with pytest.raises(InvalidCredentialsError, match=r"requests go to example\.com"):
            ask()
        with override(credentials=of_example):
            ask()

    @over_both
    def test_who_gives_an_endpoint_alone_knows_its_universe(
        self, server: GeminiServer, of_example: Path, transport: Any
    ) -> None:
        """What the bare SDK does not look at either."""
        point(server, transport, credentials=of_example)
        ask()
        assert server.requests[-1].status == "OK"

    @pytest.mark.skipif(
        tuple(map(int, genai.__version__.split(".")[:3])) < (0, 8, 4),
        reason="before 0.8.4 the SDK compares them",
    )
    @pytest.mark.parametrize("credentials", ["same", "another"])
    def test_the_bare_sdk_compares_nothing(
        self,
        server: GeminiServer,
        bare: Callable[..., dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
        of_example: Path,
        credentials: str,
    ) -> None:
        """Its check is turned off, so the token of one universe goes to another."""
        file = of_example if credentials == "same" else server.service_account_file("robot")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.fspath(file))
        ask_as_the_bare_sdk(bare(options={"universe_domain": "example.com"}))
        assert server.requests[-1].identity == ROBOT

    def test_a_machines_universe_is_asked_for_only_where_it_matters(self) -> None:
        """To ask is a request to the metadata server."""

        class Machine:
            _universe_domain = "googleapis.com"
            asked = 0

            @property
            def universe_domain(self) -> str:
                self.asked += 1
                return "example.com"

        machine = Machine()
        found = Found(machine, "a machine's", None, None)
        assert in_universe(found, None) is in_universe(found, "googleapis.com") is found
        assert machine.asked == 0
        assert in_universe(found, "example.com") is found
        assert machine.asked == 1


@in_both_forms
def test_an_encrypted_certificate_is_refused(form_of: Callable[..., Any]) -> None:
    """The SDK takes the option and presents no certificate."""
    options = form_of({"client_encrypted_cert_source": lambda: ("chain", "key", b"passphrase")})
    with pytest.raises(UnknownSettingError, match="'client_cert_source'"):
        safe_configure(client_options=options)
