"""The host that a request to Vertex AI goes to, as a proxy is asked for it."""

from __future__ import annotations

import asyncio
import http.server
import threading
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.api_core import exceptions as errors
from google.oauth2.credentials import Credentials

from genai_config import override, safe_configure

if TYPE_CHECKING:
    from collections.abc import Iterator

THEIRS = Credentials("token", universe_domain="example.com")
ONCE: Any = {"retry": None, "timeout": 10}


class Refusing(http.server.BaseHTTPRequestHandler):
    """A proxy that lets nobody through."""

    asked: list[str]

    def do_CONNECT(self) -> None:
        self.asked.append(self.path)
        self.send_error(403)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def asked() -> Iterator[list[str]]:
    """What the configured proxy is asked for: hosts and ports."""
    handler = type("Handler", (Refusing,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
        safe_configure(
            credentials=lambda: "token",
            project="my-project",
            location="us-central1",
            proxy=f"http://127.0.0.1:{proxy.server_port}",
        )
        yield handler.asked  # type: ignore[attr-defined] # made above
        proxy.shutdown()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({}, "us-central1-aiplatform.googleapis.com:443"),
        ({"location": "global"}, "aiplatform.googleapis.com:443"),
        ({"location": "us"}, "aiplatform.us.rep.googleapis.com:443"),
        ({"location": "eu"}, "aiplatform.eu.rep.googleapis.com:443"),
        ({"client_options": {"universe_domain": "example.com"}, "credentials": THEIRS},
         "us-central1-aiplatform.example.com:443"),
        ({"vertex_endpoint": "us-central1-aiplatform-psc.p.googleapis.com"},
         "us-central1-aiplatform-psc.p.googleapis.com:443"),
        ({"vertex_endpoint": "10.0.0.7"}, "10.0.0.7:443"),
        ({"vertex_endpoint": "https://gateway.example.com:8443/"}, "gateway.example.com:8443"),
        # Never shared with Vertex AI.
        ({"client_options": {"api_endpoint": "gateway.example.com"}},
         "us-central1-aiplatform.googleapis.com:443"),
    ],
)  # fmt: skip
async def test_each_kind(
    asked: list[str], settings: dict[str, Any], host: str, *, asynchronous: bool
) -> None:
    """Regions, the global one, multi-regions, universes, private addresses and gateways."""
    model = genai.GenerativeModel("gemini-3.6-flash")
    with override(backend="vertex", **settings), pytest.raises(errors.ServiceUnavailable):
        await (
            model.generate_content_async("hi", request_options=ONCE)
            if asynchronous
            else asyncio.to_thread(model.generate_content, "hi", request_options=ONCE)
        )
    assert asked == [host]


def test_a_name_has_the_location(asked: list[str]) -> None:
    """Not the configuration: an endpoint is asked where it is."""
    name = "projects/p-12345/locations/europe-west4/endpoints/7"
    with pytest.raises(errors.ServiceUnavailable):
        genai.GenerativeModel(name).generate_content("hi", request_options=ONCE)
    assert asked == ["europe-west4-aiplatform.googleapis.com:443"]
