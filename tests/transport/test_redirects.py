"""Redirects: nobody is sent elsewhere with a key, a token, or what a token is bought with."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
import requests
from google.api_core import exceptions as api_errors

from genai_config import safe_configure
from genai_config._transport import http
from genai_config.exceptions import ConfigurationError, TokenRefreshError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"


class Host(ThreadingHTTPServer):
    """A host of plain HTTP that redirects, and keeps what it is sent.

    Attributes:
        status: The redirect's.
        location: Where it leads; "": a token is the answer; None: that is not said.
        seen: Each request's path and headers, its body included as "body".
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.status = 307
        self.location: str | None = ""
        self.seen: list[tuple[str, dict[str, str]]] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Host

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.seen.append((self.path, {**self.headers, "body": body}))
        moved = self.server.location not in ("", self.path)
        answer = b"" if moved else json.dumps(TOKEN).encode()
        self.send_response(self.server.status if moved else 200)
        if moved and self.server.location is not None:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST  # noqa: N815 -- the name is that of http.server

    def log_message(self, *_: Any) -> None:
        pass


TOKEN = {
    "access_token": "ya29.token",
    "expires_in": 3600,
    "token_type": "Bearer",
    "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
}


def running() -> Iterator[Host]:
    """A host, until the test is over."""
    with Host() as host:
        threading.Thread(target=host.serve_forever, args=(0.01,), daemon=True).start()
        yield host
        host.shutdown()


here, elsewhere = pytest.fixture(running, name="here"), pytest.fixture(running, name="elsewhere")


def generate(model: str = BASE) -> None:
    """A POST."""
    genai.GenerativeModel(model).generate_content("hi")


def generate_async(model: str = BASE) -> None:
    """A POST that is awaited."""
    asyncio.run(genai.GenerativeModel(model).generate_content_async("hi"))


def stream(model: str = BASE) -> None:
    """A POST whose answer comes in chunks."""
    genai.GenerativeModel(model).generate_content("hi", stream=True)


def get_model(model: str = BASE) -> None:
    """A GET."""
    genai.get_model(model if "/" in model else f"models/{model}")


def point(host: Host, **settings: Any) -> None:
    """Points every request at a host."""
    safe_configure(
        transport="rest",
        tuned_transport="rest",
        client_options={"api_endpoint": host.url},
        **settings,
    )


class TestApi:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("asking", [generate, generate_async, stream, get_model])
    def test_a_key_stays_with_its_host(
        self, here: Host, elsewhere: Host, asking: Callable[[], None], status: int
    ) -> None:
        """Left to itself, requests takes it along to wherever it is told to."""
        point(here, api_key="k")
        here.status, here.location = status, f"{elsewhere.url}/stolen?state=hunter2"
        with pytest.raises(ConfigurationError) as caught:
            asking()
        assert caught.value.problem.startswith(
            f"{here.url} redirects to {elsewhere.url} (HTTP {status})"
        )
        assert "hunter2" not in str(caught.value)
        assert [headers["x-goog-api-key"] for _, headers in here.seen] == ["k"]
        assert elsewhere.seen == []

    @pytest.mark.parametrize("location", ["http://[hunter2", None, "nowhere:hunter2"])
    @pytest.mark.parametrize("asking", [generate, generate_async, stream, get_model])
    def test_one_that_leads_nowhere(
        self, here: Host, asking: Callable[[], None], location: str | None
    ) -> None:
        """It is refused like any other, and not asked for again."""
        point(here, api_key="k")
        here.status, here.location = 302, location
        with pytest.raises(ConfigurationError, match=r"redirects to nowhere \(HTTP 302") as caught:
            asking()
        assert "hunter2" not in str(caught.value)
        assert len(here.seen) == 1

    @pytest.mark.parametrize("asking", [generate, generate_async, get_model])
    def test_a_token_stays_with_its_host(
        self,
        server: GeminiServer,
        here: Host,
        elsewhere: Host,
        asking: Callable[[str], None],
    ) -> None:
        """So it is with OAuth."""
        point(here, credentials=server.external_account_file())
        here.location = elsewhere.url
        with pytest.raises(ConfigurationError, match="redirects to"):
            asking(TUNED)
        ((_, headers),) = here.seen
        assert headers["authorization"].startswith("Bearer ")
        assert elsewhere.seen == []

    def test_a_redirect_on_the_same_host(self, here: Host) -> None:
        """The API has none: what answers so is something else."""
        point(here, api_key="k")
        here.location = "/login"
        with pytest.raises(ConfigurationError, match="a proxy require a login"):
            generate()
        assert len(here.seen) == 1


class TestTokenEndpoint:
    @pytest.fixture
    def credentials(self, server: GeminiServer, here: Host) -> Path:
        """A workload's credentials, whose tokens come from the host."""
        path = server.external_account_file()
        info = {**json.loads(path.read_text(encoding="utf-8")), "token_url": f"{here.url}/token"}
        path.write_text(json.dumps(info), encoding="utf-8")
        return path

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_what_a_token_is_bought_with_stays_with_its_host(
        self, server: GeminiServer, here: Host, elsewhere: Host, credentials: Path, status: int
    ) -> None:
        """The form holds secrets; the error says where they would have gone."""
        safe_configure(
            credentials=credentials,
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        here.status, here.location = status, f"{elsewhere.url}/stolen?state=hunter2"
        with pytest.raises(TokenRefreshError) as caught:
            generate(TUNED)
        assert f"{here.url} redirects to {elsewhere.url} (HTTP {status})" in caught.value.problem
        assert "hunter2" not in str(caught.value)
        assert "subject_token=" in here.seen[0][1]["body"]
        assert elsewhere.seen == []

    def test_a_redirect_on_the_same_host(
        self, server: GeminiServer, here: Host, credentials: Path
    ) -> None:
        """It is followed: a token endpoint may have moved."""
        safe_configure(
            credentials=credentials,
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        here.location = "/moved"
        with pytest.raises(api_errors.Unauthenticated):
            generate(TUNED)
        assert [path for path, _ in here.seen][:2] == ["/token", "/moved"]
        assert "subject_token=" in here.seen[1][1]["body"]


@pytest.mark.parametrize("refuse", [http._stay_at_home, http.refuse_redirect])
def test_no_password_is_in_the_message(refuse: Callable[[requests.Response], None]) -> None:
    """Nor a user name, a path or a query: of where it came from and of where it leads."""
    response = requests.Response()
    response.status_code, response.raw = 302, io.BytesIO()
    response.url = "https://me:hunter2@here:1/hunter2?hunter2"
    response.headers["location"] = "https://you:hunter2@there:2/hunter2?hunter2#hunter2"
    with pytest.raises((requests.RequestException, ConfigurationError)) as caught:
        refuse(response)
    assert "https://here:1 redirects to https://there:2" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "@" not in str(caught.value)
