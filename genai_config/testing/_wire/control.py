"""The part of the server that a test programs, and reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from genai_config.testing._service import answers
from genai_config.testing._service.errors import HTTP_STATUS, MESSAGES, ServiceError
from genai_config.testing._service.models import STATES
from genai_config.testing._service.programming import check_count, full_name

if TYPE_CHECKING:
    from genai_config.testing._service.core import Service
    from genai_config.testing._service.models import State
    from genai_config.testing._service.programming import Answer
    from genai_config.testing._service.recording import RecordedRequest


class Control:
    """What is to become of requests, and what has become of them."""

    _service: Service

    def respond(self, model: str, answer: Answer) -> None:
        """Sets what a model answers.

        Args:
            model: The model's name; "*" is every model. On Vertex AI a publisher's model has the
                name that it has on the Gemini API, an endpoint its full path.
            answer: A text; a dict in the service's JSON, or a message of the SDK's or of
                google-genai's (Part, FunctionCall, Blob, Content, Candidate,
                GenerateContentResponse), for function calls, images, finish reasons, blocked
                prompts, usage; an exception; a list or iterator of these, which are the chunks of
                a stream; or a function that takes the request and returns one of them. An
                exception among the chunks breaks the stream there. A function that raises an
                error of ``google.api_core.exceptions`` answers with it; of any other the client
                hears that there was an internal error, and it is kept in `errors`. Requests of
                OpenAI's clients and of Vertex AI come as `GenerateContentRequest` too.

        Raises:
            TypeError: The answer has none of these forms.
            ValueError: It is a dict with a field that the service does not have.
        """
        answers.check(answer)
        self._service.programming.respond(model, answer)

    def fail(
        self,
        count: int = 1,
        status: str = "UNAVAILABLE",
        message: str | None = None,
        reason: str = "",
    ) -> None:
        """Makes the next requests that pass the rules fail.

        Args:
            count: How many; replaces what is left of an earlier call.
            status: The name of the status, such as "RESOURCE_EXHAUSTED".
            message: The message; None: one that fits the status.
            reason: The reason of the error's details.

        Raises:
            TypeError: `count` is no number.
            ValueError: There is no such status.
        """
        check_count(count, 'fail(1, "RESOURCE_EXHAUSTED")')
        if status not in HTTP_STATUS:
            raise ValueError(f"{status!r} is none of {', '.join(HTTP_STATUS)}")
        if message is None:
            message = MESSAGES.get(status, f"The request failed: {status}.")
        self._service.programming.fail(count, ServiceError(status, message, reason))

    def limit(self, requests: int | None, seconds: float = 1.0) -> None:
        """Refuses requests beyond a quota with RESOURCE_EXHAUSTED (429).

        The error says by a RetryInfo detail, as the service's does, after how many seconds another
        try makes sense: when the window ends, which begins with its first request.

        Args:
            requests: How many are answered in each window; None: all, again.
            seconds: How long a window is, by the server's clock.
        """
        self._service.programming.limit(requests, seconds)

    def drop(self, count: int = 1) -> None:
        """Cuts the connection of the next requests that pass the rules, without an answer.

        Others that are under way on the connection break off with it. Where the system does not
        list a process's sockets (Windows), gRPC's connection stays: the request alone fails.

        Args:
            count: How many; replaces what is left of an earlier call.

        Raises:
            TypeError: `count` is no number.
        """
        check_count(count, "drop(1)")
        self._service.programming.drop(count)

    def delay(self, seconds: float) -> None:
        """Makes every request that passes the rules wait; `release` ends the waits under way.

        Args:
            seconds: How long; 0 for no longer.
        """
        self._service.programming.delay(seconds)

    def hang(self) -> None:
        """Makes requests that pass the rules wait until `release`, or until the server stops."""
        self._service.programming.hang()

    def release(self) -> None:
        """Answers the requests that wait."""
        self._service.programming.release()

    @property
    def tuning(self) -> Literal["served", "ended"]:
        """Whether the Gemini API has tuned models.

        "served", the default, is how it was until May 2025. With "ended" they can be listed and
        deleted, and asking or making one answers 404, as today.
        """
        return self._service.behaviour.models.tuning

    @tuning.setter
    def tuning(self, value: Literal["served", "ended"]) -> None:
        if value not in ("served", "ended"):
            raise ValueError(f"tuning is 'served' or 'ended', not {value!r}")
        self._service.behaviour.models.tuning = value

    @property
    def models(self) -> Literal["any", "today"]:
        """Which base models are served.

        With "any", the default, every name is answered. With "today" those that are retired, or
        closed to new users, on the day of the server's clock are refused with 404.
        """
        return self._service.behaviour.models.served

    @models.setter
    def models(self, value: Literal["any", "today"]) -> None:
        if value not in ("any", "today"):
            raise ValueError(f"models is 'any' or 'today', not {value!r}")
        self._service.behaviour.models.served = value

    def set_model(self, model: str, state: State) -> None:
        """Decides whether one model is served, whatever `models` and `tuning` say.

        Args:
            model: The model's name, or the full path of an endpoint of Vertex AI.
            state: "alive", "closed" (to new users), "retired" or "missing".

        Raises:
            ValueError: There is no such state.
        """
        if state not in STATES:
            raise ValueError(f"{state!r} is none of {', '.join(STATES)}")
        self._service.behaviour.models.set_state(full_name(model), state)

    @property
    def errors(self) -> list[BaseException]:
        """What functions given to `respond` have raised, and any error of the server's own.

        The server raises the first when it stops, unless the ``with`` block is raising already.
        A test that expects them takes them with ``errors.clear()``.
        """
        return self._service.programming.errors

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, refused ones included, in the order of their answers."""
        return self._service.log.snapshot()

    def clear(self) -> None:
        """Forgets the requests so far."""
        self._service.log.clear()
