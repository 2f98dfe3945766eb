"""The SDK's file upload, over the connections of this library.

The SDK's own ignores every configuration, has the key in its addresses, and so in googleapiclient's
errors and logs, and reads the description of the API anew for each file. Files are uploaded to the
endpoint that is configured; one that cannot take them says so.
"""

from __future__ import annotations

import json
import time
from contextvars import ContextVar
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import httplib2
import requests
from google.api_core.exceptions import DeadlineExceeded, from_grpc_error
from google.generativeai import client as client_lib
from googleapiclient import discovery
from googleapiclient.errors import HttpError
from googleapiclient.http import DEFAULT_HTTP_TIMEOUT_SEC, HttpRequest

from genai_config._masking import mask_exception
from genai_config._transport import unreachable
from genai_config._transport.call_credentials import (
    METADATA_KEY,
    CallContext,
    NoCredentials,
    opened,
)
from genai_config._transport.http_call import HttpCall
from genai_config._transport.http_errors import not_reached
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_GOOGLES = "generativelanguage.googleapis.com"


class _Upload:
    """One upload: what each of its requests carries, and how long all of them may take.

    Args:
        metadata: The metadata of the call.
    """

    def __init__(self, metadata: Iterable[tuple[str, Any]]) -> None:
        self.metadata = tuple(metadata)
        self.context = opened(self.metadata, NoCredentials)[0].context
        timeout = None if self.context is None else self.context.timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self.timeout = timeout

    def left(self) -> float | None:
        """The seconds that are left."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def metadata_now(self) -> list[tuple[str, Any]]:
        """The metadata of a call of the SDK's in the time that is left."""
        if self.context is None:
            return [*self.metadata]
        now = CallContext(self.context.credentials, self.left(), self.context.tenant)
        return [now.entry if name == METADATA_KEY else (name, it) for name, it in self.metadata]


# The upload that this thread has under way: the SDK's own code hands its metadata to some of its
# requests and not to others.
_UPLOAD: ContextVar[_Upload | None] = ContextVar("genai_config upload", default=None)


class Http:
    """A `requests` session in the form that googleapiclient takes, that of `httplib2.Http`.

    Args:
        session: A session whose connections are those of `http.mount`.
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
        """Sends one request, with the credentials of the upload that it belongs to.

        Raises:
            ReadTimeout: The answer was not complete in time.
        """
        upload = _UPLOAD.get()
        left = upload.left() if upload else None
        bound = DEFAULT_HTTP_TIMEOUT_SEC if left is None else min(left, DEFAULT_HTTP_TIMEOUT_SEC)
        metadata, credentials = opened(
            {**dict(upload.metadata if upload else ()), **(headers or {})}.items(), NoCredentials
        )
        once = hasattr(body, "read")
        call = HttpCall(self._session, uri, credentials, bound, once=once)
        answer, error = call.send(
            lambda own: self._session.request(
                method,
                uri,
                data=body,
                headers=dict(metadata.with_headers(own)),
                allow_redirects=False,
                timeout=call.timeouts(),
            )
        )
        if call.bounded.expired:
            raise requests.ReadTimeout(f"{uri.partition('?')[0]}: no complete answer in time")
        if error is not None:
            raise error
        head = {name.lower(): value for name, value in answer.headers.items()}
        response = httplib2.Response({**head, "status": str(answer.status_code)})
        response.reason = answer.reason
        return response, answer.content

    def close(self) -> None:
        """Nothing: the connections are shared."""


class FileClient(client_lib.FileServiceClient):
    """The SDK's client for files, whose uploads are sent by `http`."""

    http: Http
    endpoint: str | None = None

    def create_file(self, *args: Any, metadata: Any = (), **kwargs: Any) -> Any:
        """Uploads a file; all its requests carry the metadata.

        Raises:
            DeadlineExceeded: It took longer than `timeout`.
            ServiceUnavailable: The endpoint cannot be reached, or does not take uploads.
        """
        upload = _Upload(metadata)
        token = _UPLOAD.set(upload)
        try:
            return super().create_file(*args, **kwargs)
        except HttpError as error:
            mask_exception(error)
            raise
        except requests.ConnectionError as error:
            server = urlsplit(str(getattr(error.request, "url", ""))).netloc
            # The upload's own error has its address, which whoever knows it may write to.
            raise unreachable.explained(from_grpc_error(not_reached(server, error))) from None
        except requests.Timeout as error:
            bound = upload.timeout or DEFAULT_HTTP_TIMEOUT_SEC
            raise DeadlineExceeded(f"The upload was not complete within {bound:g} s.") from error
        finally:
            _UPLOAD.reset(token)

    def get_file(self, *args: Any, metadata: Any = (), **kwargs: Any) -> Any:
        """Asks for a file; as a part of an upload, with the upload's metadata."""
        upload = _UPLOAD.get()
        if upload is not None:
            metadata = [*upload.metadata_now(), *metadata]
        return super().get_file(*args, metadata=metadata, **kwargs)

    def _setup_discovery_api(self, metadata: Any = ()) -> None:
        address, elsewhere = client_lib.GENAI_API_DISCOVERY_URL, None
        if self.endpoint and urlsplit(address).hostname == _GOOGLES:
            # The SDK's own goes to Google with everybody's key.
            elsewhere = self.endpoint if "://" in self.endpoint else f"https://{self.endpoint}"
            address = f"{elsewhere}{urlsplit(address).path}"
        request = HttpRequest(
            self.http, _content, f"{address}?version=v1beta", headers=dict(metadata)
        )
        try:
            document = json.loads(request.execute())
        except (HttpError, ValueError) as error:
            if elsewhere is None:
                raise
            raise ConfigurationError(
                f"{elsewhere} does not describe the API, so it is not known where files are "
                f"uploaded to: {type(error).__name__}.",
                "upload to Google: with override(client_options={'api_endpoint': UNSET}): …",
            ) from None
        if elsewhere is not None:
            document["rootUrl"] = f"{elsewhere}/"
        api = discovery.build_from_document(document, http=self.http)
        # One for all threads, as `http` is; each SDK looks for it in one of these places.
        self._discovery_api = api
        self._local = cast("Any", SimpleNamespace(discovery_api=api))


def _content(_response: httplib2.Response, content: bytes) -> bytes:
    return content
