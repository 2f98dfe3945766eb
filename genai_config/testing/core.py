"""One request, whatever it came by: who is it, may it, what is the answer, and write it down."""

from __future__ import annotations

import itertools
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from genai_config.testing import recording, rules
from genai_config.testing.behaviour import Behaviour, to_service_error
from genai_config.testing.errors import ServiceError
from genai_config.testing.identities import Registry
from genai_config.testing.recording import Log, RecordedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from genai_config.testing.methods import Method

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """How a request arrived.

    Attributes:
        transport: "grpc" or "rest".
        headers: The headers by lower-cased name.
        connection: The client's end of the connection.
        key: The API key in the URL.
    """

    transport: Literal["grpc", "rest"]
    headers: Mapping[str, str]
    connection: str
    key: str | None = None


class Service:
    """The service without its wires."""

    def __init__(self, clock: Callable[[], float], polls: int) -> None:
        self.registry = Registry(clock)
        self.behaviour = Behaviour(clock, polls)
        self.log = Log()
        self._lock = threading.Lock()
        self._failures: list[ServiceError] = []
        self._open = threading.Event()
        self._open.set()

    def hang(self) -> None:
        """Makes requests that pass the rules wait until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Answers those that wait, and all that come."""
        self._open.set()

    def fail(self, count: int, error: ServiceError) -> None:
        """Makes the next requests that pass the rules fail."""
        with self._lock:
            self._failures = [error] * count

    def answer(self, method: Method, request: Any, call: Call) -> Iterator[Any]:
        """Answers a request: with one message, or a stream whose first message is ready.

        Raises:
            ServiceError: What the service answers instead.
        """
        resources = method.resources(request)
        caller = self.registry.identify(call.headers, call.key)
        status = "OK"
        try:
            quota_project = call.headers.get("x-goog-user-project")
            rules.check(method.name, method.rpc, resources, caller, quota_project)
            self._open.wait()
            self._fail_if_asked()
            messages = self.behaviour.answer(method, request)
            # The first message decides whether the request succeeded at all.
            first = list(itertools.islice(messages, 1))
        except ServiceError as error:
            status = error.status
            raise
        except Exception as error:
            logger.exception("%s failed", method.name)
            status = "INTERNAL"
            raise to_service_error(error) from error
        finally:
            self.record(method.name, resources, caller, call, status)
        return itertools.chain(first, messages)

    def record(
        self, method: str, resources: list[str], caller: rules.Caller, call: Call, status: str
    ) -> None:
        """Writes a request down."""
        headers = dict(call.headers) if call.key is None else {**call.headers, "?key": call.key}
        self.log.append(
            RecordedRequest(
                method=method,
                resource=next(iter(resources), ""),
                transport=call.transport,
                auth=caller.auth,
                identity=caller.identity,
                scopes=caller.scopes,
                headers=recording.masked(headers),
                connection=call.connection,
                status=status,
            )
        )

    def _fail_if_asked(self) -> None:
        with self._lock:
            error = self._failures.pop() if self._failures else None
        if error is not None:
            raise error
