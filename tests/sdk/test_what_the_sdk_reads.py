"""What the SDK reads of the process at each `configure()`: it counts from then on here, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import grpc
import pytest
from google.generativeai import client as client_lib

from genai_config import safe_configure
from genai_config._models import MODEL

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer


def host() -> str:
    """Where the clients that are handed out now send their requests."""
    client: Any = client_lib.get_default_generative_client()
    return str(client.transport.host)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("GOOGLE_API_USE_MTLS_ENDPOINT", "always", "generativelanguage.mtls.googleapis.com"),
        ("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "example.com", "generativelanguage.example.com"),
    ],
)
def test_a_variable_that_changes(
    variable: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next clients go to the host that it names, without `reset()`."""
    safe_configure(api_key="key")
    assert host() == "generativelanguage.googleapis.com:443"
    monkeypatch.setenv(variable, value)
    safe_configure(api_key="key")
    assert host() == f"{expected}:443"
    monkeypatch.delenv(variable)
    safe_configure(api_key="key")
    assert host() == "generativelanguage.googleapis.com:443"


@pytest.mark.usefixtures("configured")
def test_instrumentation_that_is_installed_later(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tracers replace gRPC's functions for channels: the next configuration uses theirs."""
    model = genai.GenerativeModel(MODEL)
    model.generate_content("before")
    made: list[str] = []
    real = grpc.secure_channel

    class Traced:
        """As wrapt's wrappers do, it compares equal to what it wraps."""

        def __call__(self, target: str, *args: Any, **options: Any) -> Any:
            made.append(target)
            return real(target, *args, **options)

        def __hash__(self) -> int:
            return hash(real)

        def __eq__(self, other: object) -> bool:
            return bool(real == other)

    wrapper = Traced()
    assert (wrapper, hash(wrapper)) == (real, hash(real))
    monkeypatch.setattr(grpc, "secure_channel", wrapper)
    safe_configure(timeout=30)
    model.generate_content("after")
    assert made == [server.grpc_endpoint]
