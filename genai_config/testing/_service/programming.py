"""What a test tells the server to do: answers, failures, waits and cut connections."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.api_core.exceptions import GoogleAPICallError

from genai_config.testing._service.errors import (
    HTTP_STATUS,
    MESSAGES,
    DroppedError,
    ServiceError,
)

logger = logging.getLogger("genai_config.testing")

Answer = Any
"""A text, a dict or a message of the SDK's, a list of these (the chunks of a stream), an error, or
a function of the request that returns one of them."""

_CHUNKS = 3


class Programming:
    """What is to become of requests that pass the rules.

    Args:
        clock: The time in seconds, by which quotas are counted.

    Attributes:
        errors: What tests' own functions raised, and what the server itself did not expect.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._quota: tuple[int, float] | None = None
        self._window = (0.0, 0)
        self.errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._answers: dict[str, Answer] = {}
        self._failures: list[ServiceError] = []
        self._drops = 0
        self._delay: float = 0
        self._open = threading.Event()
        self._open.set()
        self._awake = threading.Event()

    def respond(self, model: str, answer: Answer) -> None:
        """Sets what a model answers; "*" is every model."""
        with self._lock:
            self._answers[full_name(model)] = answer

    def fail(self, count: int, error: ServiceError) -> None:
        """Makes the next requests fail."""
        with self._lock:
            self._failures = [error] * count

    def limit(self, requests: int | None, seconds: float) -> None:
        """Refuses requests beyond a quota; None: there is none."""
        with self._lock:
            self._quota = None if requests is None else (requests, seconds)
            self._window = (0.0, 0)

    def drop(self, count: int) -> None:
        """Makes the next requests lose their connection."""
        with self._lock:
            self._drops = count

    def delay(self, seconds: float) -> None:
        """Makes every request wait before it is answered."""
        self._delay = seconds

    def hang(self) -> None:
        """Makes requests wait until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Answers those that wait, and no longer holds those that come."""
        with self._lock:
            awake, self._awake = self._awake, threading.Event()
        self._open.set()
        awake.set()

    def close(self) -> None:
        """Lets nothing wait any more."""
        self._delay = 0
        self.release()

    def enter(self) -> None:
        """Does to a request what is to be done before it is answered.

        Raises:
            DroppedError: Its connection is to be cut.
            ServiceError: It is to fail.
        """
        self._open.wait()
        if self._delay:
            self._awake.wait(self._delay)
        with self._lock:
            if self._drops > 0:
                self._drops -= 1
                raise DroppedError
            error = self._failures.pop() if self._failures else self._over_quota()
        if error is not None:
            raise error

    def _over_quota(self) -> ServiceError | None:
        """Counts a request; the error for it, if the quota of this window is used up."""
        if self._quota is None:
            return None
        requests, seconds = self._quota
        now = self._clock()
        begun, count = self._window
        if not begun <= now < begun + seconds:
            begun, count = now, 0
        self._window = (begun, count + 1)
        if count < requests:
            return None
        message = f"You exceeded your current quota: {requests} requests in {seconds:g} seconds."
        return ServiceError("RESOURCE_EXHAUSTED", message, retry_after=begun + seconds - now)

    def is_programmed(self, model: str) -> bool:
        """Whether a test has said what this very model answers."""
        with self._lock:
            return full_name(model) in self._answers

    def answer(self, model: str, request: Callable[[], Any]) -> Iterable[Any] | None:
        """What a model answers to a request: its chunks, and the errors among them.

        Args:
            model: The model's full name.
            request: Makes the request as a function of the test's is to see it.

        Returns:
            None if no test has said what it answers.

        Raises:
            ServiceError: The answer is an error, or the function that was to give it failed.
        """
        with self._lock:
            answer = self._answers.get(full_name(model), self._answers.get("*"))
        if callable(answer):
            try:
                answer = answer(request())
            except GoogleAPICallError as error:
                answer = error
            except BaseException as error:
                # All of them: pytest.fail() raises what is no Exception.
                raise self.unexpected(f"The answer programmed for {model}", error) from error
        if isinstance(answer, Exception):
            raise to_service_error(answer)
        if isinstance(answer, str):
            return split(answer)
        # A list, or what makes the chunks one by one; a dict or a message is one chunk.
        return answer if answer is None or isinstance(answer, list | tuple | Iterator) else [answer]

    def unexpected(self, what: str, error: BaseException) -> ServiceError:
        """Keeps an error that the test is to hear of; returns what the client hears."""
        logger.error("%s failed", what, exc_info=error)
        self.errors.append(error)
        return internal()


def check_count(count: object, example: str) -> None:
    """Lets numbers of requests pass.

    Raises:
        TypeError: It is none; the message has the example.
    """
    if not isinstance(count, int):
        raise TypeError(f"How many requests comes first, not {count!r}: {example}")


def internal() -> ServiceError:
    """The error that says nothing."""
    return ServiceError("INTERNAL", MESSAGES["INTERNAL"])


def to_service_error(error: Exception) -> ServiceError:
    """The error of the service that stands for any error."""
    if isinstance(error, GoogleAPICallError):
        status = getattr(error.grpc_status_code, "name", "INTERNAL")
        return ServiceError(status if status in HTTP_STATUS else "INTERNAL", error.message)
    return internal()


def full_name(model: str) -> str:
    """A model's resource name; "google/…" is what Vertex AI calls it."""
    model = model.removeprefix("google/")
    return model if "/" in model or model == "*" else f"models/{model}"


def split(text: str) -> list[str]:
    """A text as the chunks of a stream: a few, each of whole words."""
    words = re.findall(r"\S+\s*|\s+", text) or [""]
    size = -(-len(words) // _CHUNKS)
    return ["".join(words[start : start + size]) for start in range(0, len(words), size)]
