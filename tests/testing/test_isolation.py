"""Isolation: nothing of the machine is seen inside, and nothing of the inside is left behind."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Literal

import google.generativeai as genai
import grpc
import pytest
import requests
from google.generativeai import client as client_lib
from grpc import aio

from genai_config import get_config, is_configured, override, safe_configure
from genai_config._settings.state import state
from genai_config.testing import FakeClock, NetworkBlockedError, isolated

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer


def test_nothing_of_the_outside_is_seen_and_all_of_it_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Layers, scopes, variables and the SDK's manager, with its planted mocks."""
    monkeypatch.setenv("GEMINI_API_KEY", "of-the-machine")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    safe_configure(transport="rest")
    client_lib._client_manager.clients["generative"] = mock = object()
    manager, published = client_lib._client_manager, state.published
    with override(quota_project="my-project"):
        before = get_config()
        with isolated():
            assert not is_configured()
            assert get_config().redacted() == get_config().merge().redacted()
            assert get_config().api_key is None
            assert "HTTPS_PROXY" not in os.environ
            assert client_lib._client_manager is not manager
            safe_configure(api_key="inside")
            os.environ["GEMINI_API_KEY"] = "inside"
        assert get_config() == before
    assert os.environ["GEMINI_API_KEY"] == "of-the-machine"
    assert os.environ["HTTPS_PROXY"] == "http://127.0.0.1:9"
    assert (client_lib._client_manager, state.published) == (manager, published)
    assert client_lib._client_manager.clients["generative"] is mock


def test_it_is_put_back_when_the_block_raises() -> None:
    """A test that fails leaves as little as one that does not."""
    safe_configure(transport="rest")
    published = state.published

    def test() -> None:
        with isolated():
            safe_configure(api_key="inside")
            raise KeyError

    with pytest.raises(KeyError):
        test()
    assert state.published is published


def test_a_raw_configure_starts_from_nothing() -> None:
    """What the SDK was told outside is not adopted inside, nor the other way round."""
    genai.configure(api_key="outside")
    with isolated():
        assert safe_configure(transport="rest").api_key is None
        genai.configure(api_key="inside", transport="rest")
    assert client_lib._client_manager.client_config["client_options"].api_key == "outside"
    genai.configure()


def test_the_sdk_that_was_imported_inside_is_left_as_an_import_leaves_it() -> None:
    """Nobody need have imported the SDK before."""
    code = """
import sys, warnings
warnings.simplefilter("ignore")
from genai_config import safe_configure
from genai_config.testing import isolated
with isolated():
    assert "google.generativeai" not in sys.modules
    safe_configure(api_key="inside")
from google.generativeai import client
assert type(client._client_manager) is client._ClientManager
assert not client._client_manager.client_config
with isolated():
    pass
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 -- our own


def test_a_program_without_the_sdk_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not imported, isolation does not import it."""
    monkeypatch.delitem(sys.modules, "google.generativeai.client")
    with isolated():
        assert not is_configured()
    assert "google.generativeai.client" not in sys.modules


@pytest.mark.parametrize(
    "connect",
    [
        lambda: socket.create_connection(("198.51.100.1", 443)),
        lambda: socket.socket().connect(("198.51.100.1", 443)),
        lambda: socket.socket().connect_ex(("198.51.100.1", 443)),
        lambda: socket.getaddrinfo("generativelanguage.googleapis.com", 443),
        lambda: socket.getaddrinfo(b"generativelanguage.googleapis.com", 443),
        lambda: grpc.insecure_channel("generativelanguage.googleapis.com:443"),
        lambda: grpc.secure_channel("dns:///example.com:1", grpc.local_channel_credentials()),
        lambda: aio.insecure_channel("generativelanguage.googleapis.com:443"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_other_machines_are_out_of_reach(connect: Any) -> None:
    """Sockets, look-ups and gRPC channels, each with an error that says why."""
    with isolated(), pytest.raises(NetworkBlockedError, match="can only reach this") as caught:
        connect()
    assert "@pytest.mark.gemini(network=True)" in str(caught.value)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_the_sdks_own_request_is_stopped_before_it_leaves(
    transport: Literal["grpc", "rest"],
) -> None:
    """Code that nobody pointed at a server finds out at once, whatever the transport."""
    with isolated():
        safe_configure(api_key="k", transport=transport)
        model = genai.GenerativeModel("gemini-3.6-flash")
        with pytest.raises(NetworkBlockedError):
            model.generate_content("hi")


def test_http_clients_do_not_take_it_for_the_networks() -> None:
    """They do not wrap it, as they do errors that another try may mend."""
    with isolated(), pytest.raises(NetworkBlockedError, match=r"reset\(\)"):
        requests.get("https://generativelanguage.googleapis.com", timeout=60)


def test_this_machine_can_be_reached(server: GeminiServer) -> None:
    """Loopback, unix sockets and asyncio go on working."""
    with isolated():
        host, _, port = server.rest_endpoint.partition(":")
        socket.create_connection((host, int(port))).close()
        assert socket.getaddrinfo(None, 1)
        grpc.insecure_channel("unix:/nowhere").close()
        asyncio.run(asyncio.sleep(0))
        with socket.socket(socket.AF_UNIX) as unix, pytest.raises(FileNotFoundError):
            unix.connect("/nowhere/at/all")


def test_the_network_can_be_allowed() -> None:
    """isolated(network=True) leaves sockets as they are."""
    with isolated(network=True):
        grpc.insecure_channel("example.invalid:443").close()


def test_a_fake_clock_moves_when_told() -> None:
    """Both ways, and google-auth goes by it."""
    from google.auth import _helpers

    clock = FakeClock()
    start = clock()
    with clock.installed():
        before = _helpers.utcnow()
        clock.advance(90)
        assert (_helpers.utcnow() - before).total_seconds() == pytest.approx(90)
        clock.advance(-90)
    assert clock() == start
