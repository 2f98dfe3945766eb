"""The part of the server that a test programs, and reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genai_config.testing._service.errors import HTTP_STATUS, ServiceError

if TYPE_CHECKING:
    from genai_config.testing._service.core import Service
    from genai_config.testing._service.programming import Answer
    from genai_config.testing._service.recording import RecordedRequest


class Control:
    """What is to become of requests, and what has become of them."""

    _service: Service

    def respond(self, model: str, answer: Answer) -> None:
        """Sets what a model answers.

        Args:
            model: The model's name; "*" is every model.
            answer: A text, a list of chunks, an exception, or a function that takes the request
                and returns one of these. An exception among the chunks breaks the stream there.
                A function that raises an error of ``google.api_core.exceptions`` answers with
                it; of any other the client hears that there was an internal error, and it is
                kept in `errors`. Requests of OpenAI's clients come as `GenerateContentRequest`.
        """
        self._service.programming.respond(model, answer)

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
        self._service.programming.fail(count, ServiceError(status, message, reason))

    def drop(self, count: int = 1) -> None:
        """Cuts the connection of the next requests that pass the rules, without an answer.

        Others that are under way on the connection break off with it. Where the system does not
        list a process's sockets (Windows), gRPC's connection stays: the request alone fails.

        Args:
            count: How many; replaces what is left of an earlier call.
        """
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
