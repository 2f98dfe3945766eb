"""Who exists: keys, accounts and the tokens issued to them, for many threads."""

from __future__ import annotations

import base64
import json
import secrets
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from google.auth import exceptions, jwt

from genai_config.testing._service import rules
from genai_config.testing._service.errors import SERVICE, VERTEX
from genai_config.testing._service.rules import Caller, KeyKind, KeyState
from genai_config.testing._wire import certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PROJECT = "project"


@dataclass(frozen=True)
class Identity:
    """A key or an account.

    Attributes:
        name: What it is called in `RecordedRequest.identity`.
        end_user: Whether it is a person, who needs a quota project.
        scopes: The scopes fixed at a person's login; None for everybody else.
        kind: The kind of a key.
        state: What is wrong with a key.
    """

    name: str
    end_user: bool = False
    scopes: frozenset[str] | None = None
    kind: KeyKind = "standard"
    state: KeyState = "valid"


@dataclass(frozen=True)
class Grant:
    """What an access token stands for.

    Attributes:
        identity: Whose it is.
        scopes: What it is good for.
        expires: Until when, in seconds since the epoch.
        service: The one service that takes it: a service account signed it for that; "": all do.
    """

    identity: Identity
    scopes: frozenset[str]
    expires: float
    service: str = ""


class Registry:
    """All identities and their credentials.

    Attributes:
        audiences: The values of ``aud`` that a self-signed token may have.
        stranger: Whose a key is that nobody was given; None: it is refused.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._counts: dict[str, int] = {}
        self._revoked: set[str] = set()
        self._denied: set[tuple[str, str]] = set()
        self._keys: dict[str, Identity] = {}
        self._accounts: dict[str, tuple[str, Identity]] = {}
        self._secrets: dict[str, Identity] = {}
        self._grants: dict[str, Grant] = {}
        self.stranger: Identity | None = None
        self.audiences: set[str] = {f"https://{service}/" for service in (SERVICE, VERTEX)}

    def add_key(self, name: str | None, kind: KeyKind, state: KeyState) -> str:
        """A new API key."""
        key = "AIza" + secrets.token_urlsafe(26) if kind == "standard" else _auth_key()
        with self._lock:
            self._keys[key] = Identity(name or self._next("key"), kind=kind, state=state)
        return key

    def add_service_account(self, name: str | None) -> tuple[str, str]:
        """A new service account: its address and its key's id."""
        with self._lock:
            name = name or self._next("sa")
            email = name if "@" in name else f"{name}@{PROJECT}.iam.gserviceaccount.com"
            key_id = secrets.token_hex(20)
            self._accounts[key_id] = (email, Identity(email))
        return email, key_id

    def add_secret(self, name: str | None, scopes: Iterable[str] | None) -> tuple[str, str]:
        """A person's refresh token (with scopes) or a workload's own token: (name, secret)."""
        secret = "1//" + secrets.token_urlsafe(32)
        with self._lock:
            if scopes is None:
                identity = Identity(name or self._next("workload"))
            else:
                name = name or self._next("user") + "@example.com"
                identity = Identity(name, end_user=True, scopes=frozenset(scopes))
            self._secrets[secret] = identity
        return identity.name, secret

    def revoke(self, name: str) -> None:
        """Makes everything of an identity invalid.

        Raises:
            KeyError: No identity has this name.
        """
        with self._lock:
            accounts = [identity for _, identity in self._accounts.values()]
            known = [*self._keys.values(), *accounts, *self._secrets.values()]
            found = {one.name for one in known if one.name == name}
            found |= {email for email in (a.name for a in accounts) if email.startswith(f"{name}@")}
            if not found:
                raise KeyError(name)
            self._revoked |= found

    def deny(self, name: str, permission: str) -> None:
        """Takes a permission from an account."""
        with self._lock:
            self._denied.add((name, permission))

    def check_permission(self, name: str | None, permission: str, resource: str) -> None:
        """Lets an account pass that has a permission.

        Raises:
            ServiceError: It was denied.
        """
        name = name or ""
        with self._lock:
            if {(name, permission), (name.partition("@")[0], permission)} & self._denied:
                raise rules.permission_denied(permission, resource)

    def expire_tokens(self) -> None:
        """Makes every access token that was issued or seen so far expired."""
        with self._lock:
            self._grants = {
                token: Grant(grant.identity, grant.scopes, float("-inf"))
                for token, grant in self._grants.items()
            }

    def issue(self, identity: Identity, scopes: Iterable[str], lifetime: float) -> str:
        """A new access token."""
        token = "ya29." + secrets.token_urlsafe(48)
        with self._lock:
            self._grants[token] = Grant(identity, frozenset(scopes), self._clock() + lifetime)
        return token

    def find_secret(self, secret: str) -> Identity | None:
        """The identity of a refresh token or of a workload's token."""
        with self._lock:
            identity = self._secrets.get(secret)
            return None if identity is None or identity.name in self._revoked else identity

    def verify(self, token: str, audiences: Iterable[str]) -> tuple[Identity, Mapping[str, Any]]:
        """Checks a token that a service account signed, and returns its claims.

        Raises:
            ValueError: The token is malformed, expired, signed by another key, or for others.
        """
        key_id = _header(token).get("kid")
        with self._lock:
            email, identity = self._accounts.get(str(key_id), ("", None))
            if identity is None or email in self._revoked:
                raise ValueError("the key is unknown")
        try:
            claims = jwt.decode(token, certs=certificates.key_pair().public)
        except (exceptions.GoogleAuthError, TypeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        if claims.get("iss") != email:
            raise ValueError("the key belongs to another account")
        if "aud" in claims and str(claims["aud"]) not in audiences:
            raise ValueError("the audience is another service")
        return identity, claims

    def identify(
        self,
        headers: Mapping[str, str],
        query_key: str | None = None,
        *,
        bearer_keys: bool = False,
    ) -> Caller:
        """Who sent a request with these headers.

        Args:
            headers: The headers by lower-cased name.
            query_key: The API key in the URL.
            bearer_keys: Whether a bearer token that does not look like one is an API key.
        """
        key = headers.get("x-goog-api-key") or query_key
        scheme, _, token = headers.get("authorization", "").partition(" ")
        as_bearer = bearer_keys and not key and bool(token) and not _is_token(token)
        if as_bearer:
            key, token = token, ""
        if key and token:
            both = rules.two_credentials() if bearer_keys else rules.key_and_token()
            return Caller("both", problem=both)
        if key:
            with self._lock:
                owner = self._keys.get(key, self.stranger)
                if owner is None or owner.name in self._revoked:
                    return Caller(
                        "api_key", owner.name if owner else None, problem=rules.unknown_key()
                    )
            # An auth key as a bearer token: that some are refused is reported (forum 187509).
            refused = as_bearer and owner.state == "no_bearer"
            return Caller(
                "api_key",
                owner.name,
                kind=owner.kind,
                state=owner.state,
                key=key,
                problem=rules.bad_token("ACCESS_TOKEN_TYPE_UNSUPPORTED") if refused else None,
            )
        if not token:
            return Caller("none")
        if scheme.lower() != "bearer":
            return Caller("oauth", problem=rules.bad_token("ACCESS_TOKEN_TYPE_UNSUPPORTED"))
        return self._bearer(token)

    def _bearer(self, token: str) -> Caller:
        with self._lock:
            grant = self._grants.get(token)
        if grant is None:
            try:
                grant = self._self_signed(token)
            except ValueError:
                return Caller("oauth", problem=rules.bad_token("ACCESS_TOKEN_TYPE_UNSUPPORTED"))
        reason = ""
        with self._lock:
            if grant.identity.name in self._revoked:
                reason = "ACCESS_TOKEN_TYPE_UNSUPPORTED"
            elif grant.expires <= self._clock():
                reason = "ACCESS_TOKEN_EXPIRED"
        return Caller(
            "oauth",
            grant.identity.name,
            grant.scopes,
            end_user=grant.identity.end_user,
            service=grant.service,
            problem=rules.bad_token(reason) if reason else None,
        )

    def _self_signed(self, token: str) -> Grant:
        identity, claims = self.verify(token, self.audiences)
        if "scope" in claims:
            scopes = frozenset(str(claims["scope"]).split())
        elif "aud" in claims:
            # A token for the audience alone has whatever the account may do.
            scopes = frozenset({rules.CLOUD_PLATFORM, rules.GENERATIVE})
        else:
            raise ValueError("neither scope nor audience")
        service = urlsplit(str(claims.get("aud", ""))).netloc
        only = service if service in (SERVICE, VERTEX) else ""
        grant = Grant(identity, scopes, float(claims["exp"]), only)
        with self._lock:
            self._grants[token] = grant
        return grant

    def _next(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}-{self._counts[kind]}"


def _auth_key() -> str:
    """A key as AI Studio has issued them since May 2026."""
    return "AQ." + secrets.token_urlsafe(40)[:53]


def _is_token(text: str) -> bool:
    """Whether it has the shape of an access token, Google's or a signed one."""
    return text.startswith("ya29.") or text.count(".") == 2  # noqa: PLR2004  # a JWT's dots


def _header(token: str) -> Mapping[str, Any]:
    # google.auth.jwt.decode_header raises half a dozen kinds of errors for what is no token.
    first = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (ValueError, RecursionError) as error:  # neither base64 nor JSON, or JSON too deep
        raise ValueError("no token") from error
    if not isinstance(header, dict):
        raise ValueError("no token")  # noqa: TRY004  # the caller asks for one kind of error
    return header
