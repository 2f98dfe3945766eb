"""The SDK's file upload, over the connections of this library.

The SDK's own ignores every configuration, has the key in its addresses, and so in googleapiclient's
errors and logs, and reads the description of the API anew for each file. Where it uploads to is
left as it is: Google's host, whatever the endpoint, as Colab's and Kaggle's forward no uploads.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httplib2
from google.generativeai import client as client_lib
from googleapiclient import discovery
from googleapiclient.http import DEFAULT_HTTP_TIMEOUT_SEC, HttpRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests


# The metadata of the upload that this thread has under way: the SDK's own code carries it to some
# of an upload's requests and not to others.
_METADATA: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("genai_config upload", default=())


class Http:
    """A `requests` session in the form that googleapiclient takes, that of `httplib2.Http`.

    Args:
        session: The session, which finds the credentials in the headers.
    """

    # None: a redirect would carry the key along, and 308 is none, but "go on" of an upload.
    redirect_codes: frozenset[int] = frozenset()

    def __init__(self, session: requests.Session) -> None:
        self._session = session

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
            headers={**dict(_METADATA.get()), **(headers or {})},
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

    def create_file(self, *args: Any, metadata: Any = (), **kwargs: Any) -> Any:
        """Uploads a file; all its requests carry the metadata."""
        token = _METADATA.set(tuple(metadata))
        try:
            return super().create_file(*args, **kwargs)
        finally:
            _METADATA.reset(token)

    def get_file(self, *args: Any, metadata: Any = (), **kwargs: Any) -> Any:
        """Asks for a file; as a part of an upload, with the upload's metadata."""
        return super().get_file(*args, metadata=(*_METADATA.get(), *metadata), **kwargs)

    def _setup_discovery_api(self, metadata: Any = ()) -> None:
        address = f"{client_lib.GENAI_API_DISCOVERY_URL}?version=v1beta"
        request = HttpRequest(self.http, _content, address, headers=dict(metadata))
        api = discovery.build_from_document(request.execute().decode(), http=self.http)
        # One for all threads, as `http` is; each SDK looks for it in one of these places.
        self._discovery_api = api
        self._local = cast("Any", SimpleNamespace(discovery_api=api))


def _content(_response: httplib2.Response, content: bytes) -> bytes:
    return content
