"""The part of the server that makes identities, and their credentials."""

from __future__ import annotations

import abc
import itertools
import json
from typing import TYPE_CHECKING, Any, get_args

from genai_config.testing._service import rules
from genai_config.testing._service.identities import PROJECT, Identity
from genai_config.testing._service.rules import KeyKind, KeyState
from genai_config.testing._wire import certificates

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from genai_config.testing._service.core import Service

_NUMBERS = itertools.count(1)
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"


class Accounts(abc.ABC):
    """Keys, service accounts, persons and workloads that the server knows."""

    _service: Service
    _path: Path

    @property
    @abc.abstractmethod
    def token_uri(self) -> str:
        """The URL of the token endpoint, for every grant."""

    def api_key(
        self, name: str | None = None, *, kind: KeyKind = "standard", state: KeyState = "valid"
    ) -> str:
        """A new API key, called "key-1", "key-2" … unless named.

        Args:
            name: The name by which recorded requests call it.
            kind: "standard" (``AIza…``), "auth" (``AQ.…``, as AI Studio issues them), or
                "express" (a key of Vertex AI, for publishers' models alone).
            state: "valid", or why the service refuses it: "expired", "leaked", "blocked" (the key
                may not use this API), "flagged" (the project was denied access; models can still
                be listed), "suspended", "unsupported" (keys of this kind are no longer taken),
                "no_bearer" (taken as ``x-goog-api-key``, refused as a bearer token).

        Raises:
            ValueError: There is no such kind or state.
        """
        for given, known in ((kind, KeyKind), (state, KeyState)):
            if given not in get_args(known):
                raise ValueError(f"{given!r} is none of {', '.join(get_args(known))}")
        return self._service.registry.add_key(name, kind, state)

    def deny(self, identity: str, permission: str = rules.PREDICT) -> None:
        """Takes an IAM permission on Vertex AI from an account, for OpenAI's protocol too.

        Args:
            identity: The account's name; a service account's may go without the "@project…".
            permission: The permission, such as "aiplatform.cachedContents.create"; by default
                "aiplatform.endpoints.predict", which asking a model takes.
        """
        self._service.registry.deny(identity, permission)

    def accept_any_key(self) -> None:
        """Accepts API keys that it has not given out, as those of "anybody"."""
        self._service.registry.stranger = Identity("anybody")

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

    def _write(self, name: str, content: bytes) -> Path:
        path = self._path / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        return path

    def _write_json(self, kind: str, content: dict[str, Any]) -> Path:
        return self._write(f"{kind}-{next(_NUMBERS)}.json", json.dumps(content).encode())
