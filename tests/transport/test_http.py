"""REST and token endpoints: with their own trust and proxy, whatever the environment says."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import socketserver
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import google.generativeai as genai
import pytest
import requests
import trustme
from google.api_core.exceptions import ServiceUnavailable
from google.auth.exceptions import TransportError
from google.generativeai import client as client_lib

from genai_config import safe_configure
from genai_config._auth import headers as _headers
from genai_config._settings.model import GenAIConfig
from genai_config._transport import http
from genai_config.exceptions import ConfigurationError, TokenRefreshError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"


class Seen(NamedTuple):
    """One connection that went through the proxy."""

    method: str
    target: str
    authorization: str


class Proxy(socketserver.ThreadingTCPServer):
    """An HTTP proxy: CONNECT for TLS and gRPC, whole URLs for plain http."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ProxyConnection)
        self.seen: list[Seen] = []

    @property
    def url(self) -> str:
        """Its address, with a name and a password."""
        return f"http://me:hunter2@127.0.0.1:{self.server_address[1]}"


class _ProxyConnection(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        method, target, version = self.rfile.readline().decode().split()
        headers = list(iter(self.rfile.readline, b"\r\n"))
        sent = [h.decode().strip() for h in headers if h.lower().startswith(b"proxy-auth")]
        host, _, path = target.removeprefix("http://").partition("/")
        self.server.seen.append(Seen(method, host, "".join(sent).partition(": ")[2]))
        name, _, port = host.rpartition(":")
        with socket.create_connection((name, int(port))) as upstream:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                first = f"{method} /{path} {version}\r\n".encode()
                upstream.sendall(first + b"".join(headers) + b"\r\n")
            back = threading.Thread(target=self._pump, args=(upstream.recv, self.wfile.write))
            back.start()
            self._pump(self.rfile.read1, upstream.sendall)
            upstream.shutdown(socket.SHUT_WR)
            back.join()

    def _pump(self, read: Any, write: Any) -> None:
        with contextlib.suppress(OSError):  # either end may hang up as it likes
            while data := read(65536):
                write(data)


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy of this test's own, in an environment that knows of none."""
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Proxy() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def strange_ca(tmp_path: Path) -> Path:
    """An authority that signed nothing here."""
    path = tmp_path / "strange.pem"
    trustme.CA().cert_pem.write_to_path(os.fspath(path))
    return path


def point(server: GeminiServer, transport: Any, **settings: Any) -> None:
    """Points every request at the server, over one transport."""
    endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
    safe_configure(
        transport=transport,
        tuned_transport=transport,
        client_options={"api_endpoint": endpoint},
        **settings,
    )


def ask(model: str = BASE) -> None:
    """One request."""
    genai.GenerativeModel(model).generate_content("hi")


def ask_async(model: str = BASE) -> None:
    """One request that is awaited."""
    asyncio.run(genai.GenerativeModel(model).generate_content_async("hi"))


class TestTrust:
    def test_ca_certs_go_before_the_environment(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, strange_ca: Path
    ) -> None:
        """REQUESTS_CA_BUNDLE names another authority: REST works with ours."""
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, os.fspath(strange_ca))
        point(server, "rest", api_key=server.api_key(), ca_certs=server.ca_file)
        environ = dict(os.environ)
        ask()
        ask_async()
        assert [request.status for request in server.requests] == ["OK", "OK"]
        assert dict(os.environ) == environ

    def test_so_they_do_for_token_endpoints(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, strange_ca: Path
    ) -> None:
        """What tokens are fetched with trusts the same authorities."""
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(strange_ca))
        request = _headers._request(GenAIConfig(ca_certs=server.ca_file))
        assert request(f"https://{server.rest_endpoint}/v1beta/models").status == 403

    def test_fetching_a_token_has_a_bound(self, server: GeminiServer) -> None:
        """google-auth would give each attempt two minutes; a bound of its own goes before ours."""
        server.tokens.hang()
        for configured, given in ((0.05, {}), (60, {"timeout": 0.05})):
            request = _headers._request(GenAIConfig(auth_timeout=configured))
            with pytest.raises(TransportError) as caught:
                request(server.token_uri, method="POST", body=b"", **given)
            assert "(read timeout=0.05)" in str(caught.value)
        server.tokens.release()

    def test_fetching_tokens_leaves_the_connections_to_the_others(
        self, server: GeminiServer
    ) -> None:
        """google-auth's own request would close what it has sent over when it is dropped."""
        request = _headers._request(GenAIConfig(ca_certs=server.ca_file))
        pools = request.session.get_adapter("https://").poolmanager.pools
        request(f"https://{server.rest_endpoint}/v1beta/models")
        del request
        assert len(pools) == 1

    def test_ca_certs_are_all_that_is_trusted(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, strange_ca: Path
    ) -> None:
        """The environment's authorities are not added to those that were configured."""
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(server.ca_file))
        point(server, "rest", api_key=server.api_key(), ca_certs=strange_ca)
        with pytest.raises(ServiceUnavailable, match="ca_certs"):
            ask()
        assert server.requests == []

    def test_without_them_it_is_the_environments(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who configures none has what requests has."""
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", os.fspath(server.ca_file))
        point(server, "rest", api_key=server.api_key())
        ask()
        assert [request.status for request in server.requests] == ["OK"]


class TestProxy:
    @pytest.mark.parametrize("transport", ["rest", "grpc"])
    @pytest.mark.parametrize("asking", [ask, ask_async])
    def test_requests_go_through_it(
        self, server: GeminiServer, proxy: Proxy, transport: Any, asking: Any
    ) -> None:
        """REST and gRPC, sync and awaited, go through the proxy, which gets its password."""
        point(
            server,
            transport,
            api_key=server.api_key(),
            ca_certs=server.ca_file,
            proxy=proxy.url,
        )
        environ = dict(os.environ)
        asking()
        endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
        assert proxy.seen == [Seen("CONNECT", endpoint, "Basic bWU6aHVudGVyMg==")]
        assert [request.status for request in server.requests] == ["OK"]
        assert dict(os.environ) == environ

    @pytest.mark.parametrize("transport", ["rest", "grpc"])
    def test_tokens_are_fetched_through_it(
        self, server: GeminiServer, proxy: Proxy, transport: Any
    ) -> None:
        """So are tokens, before the request itself."""
        point(
            server,
            transport,
            credentials=server.external_account_file(),
            ca_certs=server.ca_file,
            proxy=proxy.url,
        )
        ask(TUNED)
        endpoint = server.rest_endpoint if transport == "rest" else server.grpc_endpoint
        assert [(seen.method, seen.target) for seen in proxy.seen] == [
            ("POST", server.metadata_host),
            ("CONNECT", endpoint),
        ]
        assert server.tokens.count == 1

    def test_so_do_uploads(
        self, server: GeminiServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The SDK's own ignore every configuration."""
        monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", server.discovery_url)
        point(
            server, "rest", api_key=server.api_key("mine"), ca_certs=server.ca_file, proxy=proxy.url
        )
        file = tmp_path / "a.txt"
        file.write_text("hello", encoding="utf-8")
        genai.upload_file(file)
        assert {(seen.method, seen.target) for seen in proxy.seen} == {
            ("CONNECT", server.rest_endpoint)
        }
        assert {request.identity for request in server.requests} == {"mine"}

    def test_the_page_about_it_runs(self, server: GeminiServer, proxy: Proxy) -> None:
        """Its program goes through the proxy with all it sends."""
        safe_configure(
            api_key=server.api_key(),
            credentials=server.service_account_file(),
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        names = {"PROXY": proxy.url, "CA_FILE": server.ca_file, "REST": server.rest_endpoint}
        page = Path(__file__).parents[2] / "docs" / "behind-a-proxy.md"
        for block in re.findall(
            r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL
        ):
            exec(compile(block, page.name, "exec"), names)  # noqa: S102 -- our own
        assert {seen.target for seen in proxy.seen} == {
            server.grpc_endpoint,
            server.rest_endpoint,
        }
        assert [request.transport for request in server.requests] == ["grpc", "grpc", "rest"]

    def test_it_goes_before_the_environments(
        self, server: GeminiServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """HTTPS_PROXY names a place where nobody is, NO_PROXY the server: neither counts."""
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", "localhost")
        point(
            server,
            "rest",
            api_key=server.api_key(),
            ca_certs=server.ca_file,
            proxy=proxy.url,
        )
        ask()
        assert [seen.target for seen in proxy.seen] == [server.rest_endpoint]

    def test_without_one_it_is_the_environments(
        self, server: GeminiServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Who configures none has what requests has."""
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        point(server, "rest", api_key=server.api_key(), ca_certs=server.ca_file)
        ask()
        assert [seen.target for seen in proxy.seen] == [server.rest_endpoint]

    def test_a_dead_proxys_password_is_not_shown(self, server: GeminiServer) -> None:
        """A token that cannot be fetched for want of a proxy is an error without the password."""
        point(
            server,
            "grpc",
            credentials=server.external_account_file(),
            ca_certs=server.ca_file,
            proxy="http://me:hunter2@127.0.0.1:1",
        )
        with pytest.raises(TokenRefreshError, match="Connection refused") as caught:
            ask(TUNED)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))

    def test_grpc_cannot_talk_tls_to_a_proxy(self, server: GeminiServer, proxy: Proxy) -> None:
        """It would go past it without a word; here that is an error, and nothing is sent."""
        point(
            server,
            "grpc",
            api_key=server.api_key(),
            ca_certs=server.ca_file,
            proxy=proxy.url.replace("http://", "https://"),
        )
        for asking in (ask, ask_async):
            with pytest.raises(ConfigurationError, match="proxy='http://"):
                asking()
        assert (proxy.seen, server.requests) == ([], [])


class TestSessions:
    def test_equal_settings_share_their_connections(self, server: GeminiServer) -> None:
        """Every client of one trust and proxy uses one pool, until it is closed."""
        one, two, three, four = (requests.Session() for _ in range(4))
        http.mount(one, server.ca_file, None)
        http.mount(two, server.ca_file, None)
        http.mount(three, None, None)
        http.close_all()
        http.mount(four, server.ca_file, None)
        shared = one.get_adapter("https://")
        assert two.get_adapter("https://") is two.get_adapter("http://") is shared
        assert three.get_adapter("https://") is not shared
        assert four.get_adapter("https://") is not shared

    @pytest.mark.parametrize("transport", ["rest", "grpc"])
    def test_a_netrc_file_does_not_change_who_asks(
        self,
        server: GeminiServer,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        transport: Any,
    ) -> None:
        """Requests would put a .netrc's password in the place of the token."""
        netrc = tmp_path / "netrc"
        netrc.write_text("default login me password hunter2\n", encoding="utf-8")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", os.fspath(netrc))
        key = server.api_key("mine")
        point(
            server,
            transport,
            api_key=key,
            credentials=server.external_account_file("workload"),
            ca_certs=server.ca_file,
        )
        ask()
        ask(TUNED)
        assert [request.identity for request in server.requests] == ["mine", "workload"]
