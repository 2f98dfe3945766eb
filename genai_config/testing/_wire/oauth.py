"""Google's token endpoints and the metadata server, on plain http."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from genai_config.testing._service import rules
from genai_config.testing._service.identities import PROJECT, Identity, Registry
from genai_config.testing._service.programming import check_count

if TYPE_CHECKING:
    from starlette.requests import Request

# google-auth signs for this audience whatever the key file's token_uri says.
_AUDIENCE = "https://oauth2.googleapis.com/token"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  # no secret
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # no secret
_FLAVOR = {"Metadata-Flavor": "Google"}


class _RefusedError(Exception):
    """An OAuth error (RFC 6749, section 5.2): code and description."""


class TokenEndpoint:
    """What issues access tokens, and can be made to fail.

    Attributes:
        lifetime: How long tokens live, in seconds.
        metadata_identity: The service account of the metadata server.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._count = 0
        self._failures: float = 0
        self._failure: tuple[int, Any] = (500, "")
        self._gate: concurrent.futures.Future[None] | None = None
        self.lifetime: float = 3600
        self.metadata_identity: Identity | None = None

    @property
    def count(self) -> int:
        """How many tokens were asked for, those of the metadata server included."""
        return self._count

    def fail(self, count: int | None = None, status: int = 500, body: Any = "") -> None:
        """Makes requests for a token fail.

        Args:
            count: How many; None is all, 0 none.
            status: The HTTP status.
            body: The body: text, or anything else as JSON.

        Raises:
            TypeError: `count` is no number.
        """
        if count is not None:
            check_count(count, "tokens.fail(1, 500)")
        with self._lock:
            self._failures = float("inf") if count is None else count
            self._failure = (status, body)

    def hang(self) -> None:
        """Makes requests for a token wait until `release`."""
        with self._lock:
            self._gate = self._gate or concurrent.futures.Future()

    def release(self) -> None:
        """Answers those that wait, and all that come."""
        with self._lock:
            gate, self._gate = self._gate, None
        if gate is not None:
            gate.set_result(None)

    def application(self) -> Starlette:
        """The endpoints: /token for all grants, and the metadata server's paths."""
        instance = "/computeMetadata/v1/instance/service-accounts/{account}"
        return Starlette(
            routes=[
                Route("/token", self._token, methods=["POST"]),
                Route("/", self._ping),
                Route(instance + "/token", self._metadata_token),
                Route(instance + "/email", self._metadata_email),
                Route(instance + "/", self._metadata_account),
                Route("/computeMetadata/v1/project/project-id", self._metadata_project),
                Route("/computeMetadata/v1/universe/universe-domain", self._metadata_universe),
            ]
        )

    async def _token(self, request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            return Response()
        failure = await self._asked()
        if failure is not None:
            return failure
        try:
            form = dict(parse_qsl(body.decode()))
            return JSONResponse(self._grant(form, str(request.url)))
        except UnicodeDecodeError:
            refused = {"error": "invalid_request", "error_description": "The form is not UTF-8."}
            return JSONResponse(refused, 400)
        except _RefusedError as error:
            code, description = error.args
            return JSONResponse({"error": code, "error_description": description}, 400)

    async def _asked(self) -> Response | None:
        """Counts a request, holds it while the endpoint hangs, and fails it if told so."""
        with self._lock:
            self._count += 1
            gate = self._gate
        if gate is not None:
            # Shielded: one client that gives up must not release the others.
            await asyncio.shield(asyncio.wrap_future(gate))
        with self._lock:
            if self._failures <= 0:
                return None
            self._failures -= 1
            status, body = self._failure
        if isinstance(body, str):
            return PlainTextResponse(body, status)
        return JSONResponse(body, status)

    def _grant(self, form: dict[str, str], url: str) -> dict[str, Any]:
        kind = form.get("grant_type")
        answer: dict[str, Any] = {}
        if kind == _JWT_BEARER:
            identity, scopes = self._service_account(form.get("assertion", ""), url)
        elif kind == "refresh_token":
            identity, scopes = self._login(form)
            answer["scope"] = " ".join(sorted(scopes))
        elif kind == _TOKEN_EXCHANGE:
            identity = self._known(form.get("subject_token", ""), "The token is invalid.")
            scopes = frozenset(form.get("scope", "").split())
            answer["issued_token_type"] = _ACCESS_TOKEN
        else:
            raise _RefusedError("unsupported_grant_type", f"Invalid grant_type: {kind}")
        return {**answer, **self._issue(identity, scopes)}

    def _issue(self, identity: Identity, scopes: frozenset[str]) -> dict[str, Any]:
        return {
            "access_token": self._registry.issue(identity, scopes, self.lifetime),
            "expires_in": int(self.lifetime),
            "token_type": "Bearer",
        }

    def _service_account(self, assertion: str, url: str) -> tuple[Identity, frozenset[str]]:
        try:
            identity, claims = self._registry.verify(assertion, (_AUDIENCE, url))
        except ValueError as error:
            raise _RefusedError("invalid_grant", f"Invalid JWT: {error}") from error
        if not claims.get("scope"):
            raise _RefusedError("invalid_scope", "Invalid OAuth scope or ID token audience.")
        return identity, frozenset(str(claims["scope"]).split())

    def _login(self, form: dict[str, str]) -> tuple[Identity, frozenset[str]]:
        identity = self._known(form.get("refresh_token", ""), "Token has been expired or revoked.")
        granted = identity.scopes or frozenset()
        asked = frozenset(form.get("scope", "").split())
        if not asked <= granted:
            raise _RefusedError("invalid_scope", "Bad Request")
        return identity, asked or granted

    def _known(self, secret: str, message: str) -> Identity:
        identity = self._registry.find_secret(secret)
        if identity is None:
            raise _RefusedError("invalid_grant", message)
        return identity

    async def _ping(self, _request: Request) -> Response:
        return PlainTextResponse("computeMetadata/\n", headers=_FLAVOR)

    async def _metadata_token(self, request: Request) -> Response:
        failure = await self._asked()
        if failure is not None:
            return failure
        asked = request.query_params.get("scopes", "").replace(",", " ").split()
        scopes = frozenset(asked or [rules.CLOUD_PLATFORM])
        return JSONResponse(self._issue(self._machine(), scopes), headers=_FLAVOR)

    async def _metadata_account(self, _request: Request) -> Response:
        email = self._machine().name
        body = {"aliases": ["default"], "email": email, "scopes": [rules.CLOUD_PLATFORM]}
        return JSONResponse(body, headers=_FLAVOR)

    async def _metadata_email(self, _request: Request) -> Response:
        return PlainTextResponse(self._machine().name, headers=_FLAVOR)

    async def _metadata_project(self, _request: Request) -> Response:
        return PlainTextResponse(PROJECT, headers=_FLAVOR)

    async def _metadata_universe(self, _request: Request) -> Response:
        return PlainTextResponse("googleapis.com", headers=_FLAVOR)

    def _machine(self) -> Identity:
        with self._lock:
            if self.metadata_identity is None:
                email, _ = self._registry.add_service_account("machine")
                self.metadata_identity = Identity(email)
            return self.metadata_identity
