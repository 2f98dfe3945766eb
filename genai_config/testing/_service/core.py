"""One request, whatever it came by: who is it, may it, what is the answer, and write it down."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from genai_config.testing._service import recording, rules
from genai_config.testing._service.behaviour import Behaviour
from genai_config.testing._service.errors import DroppedError, ServiceError
from genai_config.testing._service.identities import Registry
from genai_config.testing._service.origins import Origin
from genai_config.testing._service.programming import Programming
from genai_config.testing._service.recording import Log, RecordedRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from genai_config.testing._service.methods import Method
    from genai_config.testing._service.rules import Caller


@dataclass(frozen=True)
class Call:
    """How a request arrived.

    Attributes:
        transport: "grpc" or "rest".
        headers: The headers by lower-cased name.
        connection: The other end of the connection: the client's, or the front's.
        key: The API key in the URL.
        bearer_keys: Whether the API key may come as a bearer token.
    """

    transport: Literal["grpc", "rest"]
    headers: Mapping[str, str]
    connection: str
    key: str | None = None
    bearer_keys: bool = False


class Asked(NamedTuple):
    """What a request is for.

    Attributes:
        method: "Service.Method".
        rpc: The method's full name.
        resources: The resources that the request names, the most telling first.
        permission: The IAM permission that it takes on Vertex AI.
        message: The request itself.
    """

    method: str
    rpc: str
    resources: Sequence[str]
    permission: str = ""
    message: Any = None


class Service:
    """The service without its wires.

    Attributes:
        clock: The time.
        registry: Who exists.
        programming: What the test has told the server to do.
        behaviour: What is answered.
        log: What was asked.
    """

    def __init__(self, clock: Callable[[], float], polls: int) -> None:
        self.clock = clock
        self.registry = Registry(clock)
        self.programming = Programming(clock)
        self.behaviour = Behaviour(self.programming, clock, polls)
        self.log = Log()

    def call(self, method: Method, request: Any, call: Call) -> Iterator[Any]:
        """Answers a request for a method of the service; see `answer`.

        Raises:
            ServiceError: What the service answers instead.
            DroppedError: The connection is to be cut.
        """
        asked = Asked(method.name, method.rpc, method.resources(request), message=request)

        def work(caller: Caller) -> Iterator[Any]:
            return self.behaviour.answer(method, request, Origin(identity=caller.identity))

        return self.answer(asked, call, work)

    def answer(
        self,
        asked: Asked,
        call: Call,
        work: Callable[[Caller], Iterator[Any]],
        caller: Caller | None = None,
    ) -> Iterator[Any]:
        """Answers a request: with one message, or a stream whose first message is ready.

        Args:
            asked: What it is for.
            call: How it arrived.
            work: What makes the messages for a caller, if the request is let in.
            caller: Who sent it, if that is known without its headers.

        Raises:
            ServiceError: What the service answers instead.
            DroppedError: The connection is to be cut.
        """
        caller = caller or self.identify(call)
        status = "OK"
        try:
            quota_project = call.headers.get("x-goog-user-project")
            rules.check(asked.method, asked.rpc, asked.resources, caller, quota_project)
            if asked.permission:
                # Of the endpoint that OpenAI's protocol has: a model is named before it.
                resource = asked.resources[-1]
                self.registry.check_permission(caller.identity, asked.permission, resource)
            self.programming.enter()
            messages = self.guarded(asked.method, functools.partial(work, caller))
            # The first message decides whether the request succeeded at all.
            first = list(itertools.islice(messages, 1))
        except (ServiceError, DroppedError) as error:
            status = error.status
            raise
        finally:
            self.record(asked, caller, call, status)
        return itertools.chain(first, messages)

    def refuse(self, asked: Asked, call: Call, error: ServiceError) -> None:
        """Writes a request down that is too wrong to be looked at any further."""
        self.record(asked, self.identify(call), call, error.status)

    def identify(self, call: Call) -> Caller:
        """Who sent a request."""
        return self.registry.identify(call.headers, call.key, bearer_keys=call.bearer_keys)

    def record(self, asked: Asked, caller: Caller, call: Call, status: str) -> None:
        """Writes a request down."""
        headers = dict(call.headers) if call.key is None else {**call.headers, "?key": call.key}
        self.log.append(
            RecordedRequest(
                method=asked.method,
                resource=next(iter(asked.resources), ""),
                transport=call.transport,
                auth=caller.auth,
                identity=caller.identity,
                scopes=caller.scopes,
                headers=recording.masked(headers),
                connection=call.connection,
                status=status,
                message=asked.message,
            )
        )

    def guarded(self, method: str, work: Callable[[], Iterable[Any]]) -> Iterator[Any]:
        """What some work makes; an error that nobody expected is kept for the test to hear of.

        Raises:
            ServiceError: What the service answers instead.
        """
        try:
            yield from work()
        except ServiceError:
            raise
        except Exception as error:
            raise self.programming.unexpected(method, error) from error
