"""A Gemini server for tests, on this machine, that says no as the real one does."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genai_config.testing import certificates, rules
from genai_config.testing.core import Service
from genai_config.testing.errors import HTTP_STATUS, ServiceError
from genai_config.testing.grpc_side import GrpcSide
from genai_config.testing.http_side import HttpSide
from genai_config.testing.identities import PROJECT
from genai_config.testing.oauth import TokenEndpoint
from genai_config.testing.rest_side import application

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from genai_config.testing.behaviour import Answer
    from genai_config.testing.recording import RecordedRequest

_WORKERS = 32
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class GeminiServer:
    """A local Gemini API: gRPC and REST with TLS, and the token endpoints of Google's OAuth.

    It takes the same credentials and refuses the same requests, with the same errors, as the
    service. It runs in threads of this process, on free ports of the loopback interface.

    Args:
        clock: The server's time in seconds since the epoch; tokens expire by it.
        tuning_polls: How often an operation must be looked at until the tuned model is done.

    Attributes:
        tokens: The token endpoint: ``lifetime``, ``count``, ``fail()``, ``hang()``, ``release()``.

    Example:
        >>> with GeminiServer() as server:
        ...     genai.configure(
        ...         api_key=server.api_key(),
        ...         client_options={"api_endpoint": server.grpc_endpoint},
        ...     )
    """

    def __init__(self, *, clock: Callable[[], float] = time.time, tuning_polls: int = 2) -> None:
        self._service = Service(clock, tuning_polls)
        self.tokens = TokenEndpoint(self._service.registry)
        self._running = False
        self._used = False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the server; a server starts once.

        Raises:
            RuntimeError: It was started before.
        """
        if self._used:
            raise RuntimeError("A GeminiServer starts only once; make another one.")
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
            self._http = HttpSide(rest, self.tokens.application(), chain, key)
            self._http.start()
            undo.callback(self._http.stop)
            self._grpc = GrpcSide(self._service, certificate, pool)
            undo.callback(self._grpc.stop)
            # First of all: nothing may wait for what will never come.
            undo.callback(self.release)
            undo.callback(self.tokens.release)
            self._undo = undo.pop_all()
        self._running = True
        for endpoint in (self.grpc_endpoint, self.rest_endpoint, "localhost"):
            self._service.registry.audiences.add(f"https://{endpoint}/")

    def stop(self) -> None:
        """Stops the server and removes its files; stopping twice does no harm.

        It waits for functions given to `respond` that still run.
        """
        if not self._running:
            return
        self._running = False
        self._undo.close()

    # Addresses

    @property
    def grpc_endpoint(self) -> str:
        """Host and port of gRPC, for ``client_options["api_endpoint"]``."""
        self._check_running()
        return f"localhost:{self._grpc.port}"

    @property
    def rest_endpoint(self) -> str:
        """Host and port of REST, for ``client_options["api_endpoint"]``."""
        self._check_running()
        return f"localhost:{self._http.secure_port}"

    @property
    def metadata_host(self) -> str:
        """Host and port of the metadata server, for ``GCE_METADATA_HOST``."""
        self._check_running()
        return f"localhost:{self._http.plain_port}"

    @property
    def token_uri(self) -> str:
        """The URL of the token endpoint, for every grant."""
        return f"http://{self.metadata_host}/token"

    @property
    def ca_file(self) -> Path:
        """The certificate authority, PEM."""
        self._check_running()
        return self._ca

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

    # Identities

    def api_key(self, name: str | None = None) -> str:
        """A new valid API key, called "key-1", "key-2" … unless named."""
        return self._service.registry.add_key(name)

    def service_account_info(self, name: str | None = None) -> dict[str, str]:
        """A new service account's key as a dict, "sa-1@project.iam.gserviceaccount.com" …."""
        email, key_id = self._service.registry.add_service_account(name)
        return {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": key_id,
            "private_key": certificates.key_pair().private,
            "client_email": email,
            "client_id": str(int(key_id[:15], 16)),
            "token_uri": self.token_uri,
        }

    def service_account_file(self, name: str | None = None) -> Path:
        """A new service account's key as a file."""
        return self._write_json("sa", self.service_account_info(name))

    def user_credentials(
        self,
        scopes: Iterable[str] = (rules.CLOUD_PLATFORM, rules.TUNING, rules.RETRIEVER),
        quota_project: str | None = None,
        name: str | None = None,
    ) -> Any:
        """A person's credentials, "user-1@example.com" …, after a login with these scopes.

        Returns:
            A new ``google.oauth2.credentials.Credentials`` without an access token.
        """
        from google.oauth2.credentials import Credentials

        _, secret = self._service.registry.add_secret(name, scopes)
        return Credentials(
            None,
            refresh_token=secret,
            token_uri=self.token_uri,
            client_id="client-id",
            client_secret="client-secret",  # noqa: S106  # no secret
            quota_project_id=quota_project,
        )

    def external_account_file(self, name: str | None = None) -> Path:
        """The credentials file of a new workload outside of Google's cloud, "workload-1" …."""
        name, secret = self._service.registry.add_secret(name, None)
        subject = self._write(f"subject-{name}", secret.encode())
        pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool"
        return self._write_json(
            "external",
            {
                "type": "external_account",
                "audience": f"{pool}/providers/provider",
                "subject_token_type": _SUBJECT_TYPE,
                "token_url": self.token_uri,
                "credential_source": {"file": str(subject)},
            },
        )

    def revoke(self, identity: str) -> None:
        """Makes a key or an account unknown, and its tokens invalid.

        Args:
            identity: Its name; a service account's may go without the "@project…".

        Raises:
            KeyError: There is none of this name.
        """
        self._service.registry.revoke(identity)

    def expire_tokens(self) -> None:
        """Makes all access tokens that exist expired, self-signed ones that were seen included."""
        self._service.registry.expire_tokens()

    # Programming

    def respond(self, model: str, answer: Answer) -> None:
        """Sets what a model answers.

        Args:
            model: The model's name; "*" is every model.
            answer: A text, a list of chunks, an exception, or a function that takes the request
                and returns one of these. An exception among the chunks breaks the stream there.
        """
        self._service.behaviour.program(model, answer)

    def fail(
        self,
        count: int = 1,
        status: str = "UNAVAILABLE",
        message: str = "The service is currently unavailable.",
        reason: str = "",
    ) -> None:
        """Makes the next requests that pass the rules fail.

        Args:
            count: How many; replaces what is left of an earlier call.
            status: The name of the status, such as "RESOURCE_EXHAUSTED".
            message: The message.
            reason: The reason of the error's details.

        Raises:
            ValueError: There is no such status.
        """
        if status not in HTTP_STATUS:
            raise ValueError(f"{status!r} is none of {', '.join(HTTP_STATUS)}")
        self._service.fail(count, ServiceError(status, message, reason))

    def hang(self) -> None:
        """Makes requests that pass the rules wait until `release`, or until the server stops."""
        self._service.hang()

    def release(self) -> None:
        """Answers the requests that wait."""
        self._service.release()

    # Reading

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, refused ones included, in the order of their answers."""
        return self._service.log.snapshot()

    def clear(self) -> None:
        """Forgets the requests so far."""
        self._service.log.clear()

    def _check_running(self) -> None:
        if not self._running:
            raise RuntimeError("The GeminiServer does not run: with GeminiServer() as server: …")

    def _write(self, name: str, content: bytes) -> Path:
        path = self._path / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path

    def _write_json(self, kind: str, content: dict[str, Any]) -> Path:
        count = sum(1 for _ in self._path.iterdir())
        return self._write(f"{kind}-{count}.json", json.dumps(content).encode())
