"""A Gemini server for tests, on this machine, that says no as the real one does."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from genai_config.testing._service.accounts import Accounts
from genai_config.testing._service.core import Service
from genai_config.testing._wire import certificates
from genai_config.testing._wire.control import Control
from genai_config.testing._wire.front import Front
from genai_config.testing._wire.grpc_side import GrpcSide
from genai_config.testing._wire.http_side import HttpSide
from genai_config.testing._wire.oauth import TokenEndpoint
from genai_config.testing._wire.rest_side import application

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

_WORKERS = 32


class GeminiServer(Accounts, Control):
    """A local Gemini API: gRPC and REST with TLS, and the token endpoints of Google's OAuth.

    It takes the same credentials and refuses the same requests, with the same errors, as the
    service. It runs in threads of this process, on ports of the loopback interface.
    ``async with`` starts and stops it off the event loop.

    Args:
        port: The port of `endpoint`, for gRPC and REST; 0 is a free one.
        rest_port: The port of `rest_endpoint`, for REST alone; 0 is a free one.
        clock: The server's time in seconds since the epoch; tokens expire by it.
        tuning_polls: How often an operation must be looked at until the tuned model is done.

    Attributes:
        tokens: The token endpoint: ``lifetime``, ``count``, ``fail()``, ``hang()``, ``release()``.

    Example:
        >>> with GeminiServer() as server:
        ...     genai.configure(
        ...         api_key=server.api_key(),
        ...         client_options={"api_endpoint": server.endpoint},
        ...     )
    """

    def __init__(
        self,
        *,
        port: int = 0,
        rest_port: int = 0,
        clock: Callable[[], float] = time.time,
        tuning_polls: int = 2,
    ) -> None:
        self._ports = (port, rest_port)
        self._service = Service(clock, tuning_polls)
        self.tokens = TokenEndpoint(self._service.registry)
        self._running = False
        self._used = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._shut_down()
        if kind is None:
            self._raise_error()

    async def __aenter__(self) -> Self:
        starting = asyncio.ensure_future(asyncio.to_thread(self.start))
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, and nobody else would stop what it has started.
            await asyncio.wait({starting})
            await asyncio.to_thread(self._shut_down)
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await asyncio.to_thread(self._shut_down)
        if kind is None:
            self._raise_error()

    def start(self) -> None:
        """Starts the server; a server starts once.

        Raises:
            RuntimeError: It was started before.
            OSError: A port cannot be opened.
        """
        if self._used:
            raise RuntimeError("A GeminiServer can be started only once; create another one.")
        self._used = True
        certificate = certificates.certificate()
        with contextlib.ExitStack() as undo:
            folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="gemini-server-"))
            self._path = Path(folder)
            self._ca = self._write("ca.pem", certificate.ca)
            chain = self._write("server.pem", certificate.chain)
            key = self._write("server-key.pem", certificate.key)
            pool = undo.enter_context(ThreadPoolExecutor(_WORKERS, "gemini-server"))
            rest = application(self._service, pool)
            plain = self.tokens.application()
            self._http = HttpSide(rest, plain, chain, key, self._ports[1])
            self._http.start()
            undo.callback(self._http.stop)
            self._grpc = GrpcSide(self._service, certificate, pool)
            undo.callback(self._grpc.stop)
            rest_port = self._http.secure_port
            self._front = Front(self._http.loop, self._ports[0], self._grpc.port, rest_port)
            undo.callback(self._front.stop)
            # Before the front, over which go the answers that are under way.
            undo.callback(self._grpc.stop)
            # First of all: nothing may wait for what will never come.
            undo.callback(self._service.programming.close)
            undo.callback(self.tokens.release)
            self._undo = undo.pop_all()
        self._running = True
        addresses = (self.endpoint, self.grpc_endpoint, self.rest_endpoint, "localhost")
        self._service.registry.audiences.update(f"https://{one}/" for one in addresses)

    def stop(self) -> None:
        """Stops the server and removes its files; stopping twice does no harm.

        It waits for functions given to `respond` that still run.

        Raises:
            BaseException: The first of `errors`: the test that set it up is to fail.
        """
        if self._shut_down():
            self._raise_error()

    def _shut_down(self) -> bool:
        was_running, self._running = self._running, False
        if was_running:
            self._undo.close()
        return was_running

    def _raise_error(self) -> None:
        if self.errors:
            raise self.errors[0]

    # Addresses

    @property
    def endpoint(self) -> str:
        """Host and port of gRPC and REST, for ``client_options["api_endpoint"]``."""
        self._check_running()
        return f"localhost:{self._front.port}"

    @property
    def grpc_endpoint(self) -> str:
        """Host and port of gRPC alone; a call takes some microseconds less than at `endpoint`."""
        self._check_running()
        return f"localhost:{self._grpc.port}"

    @property
    def rest_endpoint(self) -> str:
        """Host and port of REST alone; likewise."""
        self._check_running()
        return f"localhost:{self._http.secure_port}"

    @property
    def metadata_host(self) -> str:
        """Host and port of the metadata server, for ``GCE_METADATA_HOST``."""
        self._check_running()
        return f"localhost:{self._http.plain_port}"

    @property
    def base_url(self) -> str:
        """The URL of REST: of the Gemini API, of Vertex AI, and before OpenAI's paths."""
        return f"https://{self.rest_endpoint}"

    @property
    def token_uri(self) -> str:
        """The URL of the token endpoint, for every grant."""
        return f"http://{self.metadata_host}/token"

    @property
    def ca_file(self) -> Path:
        """The certificate authority, PEM."""
        self._check_running()
        return self._ca

    @property
    def discovery_url(self) -> str:
        """Where the SDK's upload is described.

        ``genai.upload_file`` asks Google whatever the endpoint is: to send it here, put this into
        ``google.generativeai.client.GENAI_API_DISCOVERY_URL``. It trusts the authorities that are
        in ``HTTPLIB2_CA_CERTS`` when it is imported, afterwards those in ``httplib2.CA_CERTS``.
        """
        return f"https://{self.rest_endpoint}/$discovery/rest"

    def environ(
        self,
        adc: Literal["service_account", "external_account", "metadata"] | None = None,
    ) -> dict[str, str]:
        """The environment of a program that knows nothing of this server, but is to trust it.

        Args:
            adc: What the program finds as Application Default Credentials.
        """
        ca = str(self.ca_file)
        found = dict.fromkeys(
            (
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
                "REQUESTS_CA_BUNDLE",
                "CURL_CA_BUNDLE",
                "SSL_CERT_FILE",
                "HTTPLIB2_CA_CERTS",
                "NODE_EXTRA_CA_CERTS",
            ),
            ca,
        )
        if adc == "metadata":
            host = self.metadata_host
            found |= dict.fromkeys(
                ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"), host
            )
        elif adc == "external_account":
            found["GOOGLE_APPLICATION_CREDENTIALS"] = str(self.external_account_file())
        elif adc == "service_account":
            found["GOOGLE_APPLICATION_CREDENTIALS"] = str(self.service_account_file())
        return found

    def _check_running(self) -> None:
        if not self._running:
            raise RuntimeError("The GeminiServer is not running: with GeminiServer() as server: …")
