"""The SDK's file upload, over the connections of this library.

The SDK's own ignores every configuration, has the key in its addresses, and so in googleapiclient's
errors and logs, and reads the description of the API anew for each file. Where it uploads to is
left as it is: Google's host, whatever the endpoint, as Colab's and Kaggle's forward no uploads.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httplib2
from google.generativeai import client as client_lib
from googleapiclient import discovery
from googleapiclient.http import DEFAULT_HTTP_TIMEOUT_SEC, HttpRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from genai_config._settings.secrets import Secret


class Http:
    """A `requests` session in the form that googleapiclient takes, that of `httplib2.Http`.

    Args:
        session: The session.
        key: The API key to send with everything.
    """

    # None: a redirect would carry the key along, and 308 is none, but "go on" of an upload.
    redirect_codes: frozenset[int] = frozenset()

    def __init__(self, session: requests.Session, key: Secret) -> None:
        self._session = session
        self._key = key

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[httplib2.Response, bytes]:
        """Sends one request."""
        answer = self._session.request(
            method,
            uri,
            data=body,
            headers={**(headers or {}), "x-goog-api-key": self._key.get_secret_value()},
            allow_redirects=False,
            timeout=DEFAULT_HTTP_TIMEOUT_SEC,
        )
        head = {name.lower(): value for name, value in answer.headers.items()}
        response = httplib2.Response({**head, "status": str(answer.status_code)})
        response.reason = answer.reason
        return response, answer.content

    def close(self) -> None:
        """Nothing: the connections are shared."""


class FileClient(client_lib.FileServiceClient):
    """The SDK's client for files, whose uploads are sent by `http`."""

    http: Http

    def _setup_discovery_api(self, metadata: Any = ()) -> None:
        address = f"{client_lib.GENAI_API_DISCOVERY_URL}?version=v1beta"
        request = HttpRequest(self.http, _content, address, headers=dict(metadata))
        api = discovery.build_from_document(request.execute().decode(), http=self.http)
        # One for all threads, as `http` is; each SDK looks for it in one of these places.
        self._discovery_api = api
        self._local = cast("Any", SimpleNamespace(discovery_api=api))


def _content(_response: httplib2.Response, content: bytes) -> bytes:
    return content
