"""Which models are served: alive, closed to new users, retired, missing."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Literal

from genai_config import _models
from genai_config.testing._service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config.testing._service.origins import Origin

State = Literal["alive", "closed", "retired", "missing"]
STATES = ("alive", "closed", "retired", "missing")
_FAMILIES = re.compile(r"(gemini|gemma|imagen|learnlm|aqa|(text-)?(multilingual-)?embedding)\b")
_THINKING = re.compile(r"gemini-([3-9]|\d\d)(?!\d)")
_GEMINI_EMBEDDING = "gemini-embedding-"
_WIDE, _NARROW = 3072, 768


class Models:
    """What is known of models' lives.

    Args:
        clock: The time, for the days on which models end.

    Attributes:
        served: "any": every name is answered; "today": what is retired or closed on the clock's
            day is refused.
        tuning: "served": tuned models of the Gemini API work; "ended": as since May 2025 they are
            listed and can be deleted, and no longer asked or made.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: dict[str, State] = {}
        self.served: Literal["any", "today"] = "any"
        self.tuning: Literal["served", "ended"] = "served"

    def set_state(self, name: str, state: State) -> None:
        """Decides on one model, by its full name."""
        self._states[name] = state

    def state(self, name: str, origin: Origin) -> State:
        """What becomes of requests for a model."""
        known = self._states.get(name)
        if known is not None:
            return known
        if name.startswith("tunedModels/"):
            return "retired" if self.tuning == "ended" else "alive"
        end = _models.retirement(name) if self.served == "today" else None
        if end is None:
            return "alive"
        day = end.vertex if origin.on_vertex else end.gemini
        now = dt.datetime.fromtimestamp(self._clock(), dt.timezone.utc)
        if day and day <= now.date().isoformat():
            return "alive" if end.rerouted and not origin.on_vertex else "retired"
        return "closed" if end.closed and not origin.on_vertex else "alive"

    def check(self, name: str, method: str, origin: Origin) -> None:
        """Lets a request for a model pass.

        Args:
            name: The model's full name, "models/…", "tunedModels/…" or an endpoint's.
            method: The method as the service writes it, such as "generateContent".
            origin: Where the request came in.

        Raises:
            ServiceError: The model is not served.
        """
        state = self.state(name, origin)
        if origin.on_vertex and "/endpoints/" not in name and not can_be_asked(name):
            state = "missing"
        if state == "alive":
            return
        if origin.on_vertex:
            raise missing_on_vertex(name, origin)
        if state == "closed":
            raise closed(name)
        raise not_found(name, method)


def can_be_asked(name: str) -> bool:
    """Whether a name belongs to a family of Google's models."""
    return _FAMILIES.match(name.removeprefix("models/")) is not None


def has_signatures(name: str) -> bool:
    """Whether a model signs its thoughts and wants the signatures back: Gemini 3 and later."""
    return _THINKING.match(name.rpartition("/")[2]) is not None and "endpoints/" not in name


def embedding_width(name: str) -> int:
    """How many numbers an embedding has at most, and unless less is asked for."""
    return _WIDE if name.rpartition("/")[2].startswith(_GEMINI_EMBEDDING) else _NARROW


def not_found(name: str, method: str) -> ServiceError:
    """The Gemini API's answer for a model that is retired, or that never was."""
    return ServiceError(
        "NOT_FOUND",
        f"{name} is not found for API version v1beta, or is not supported for {method}. Call "
        "ListModels to see the list of available models and their supported methods.",
    )


def closed(name: str) -> ServiceError:
    """The answer for an old model, to an account that has not used it before."""
    return ServiceError(
        "NOT_FOUND",
        f"This model {name} is no longer available to new users. Please update your code to use a "
        "newer model for the latest features and improvements.",
    )


def missing_on_vertex(name: str, origin: Origin) -> ServiceError:
    """Vertex AI's answer for a model or an endpoint that is not there."""
    if "/endpoints/" in name:
        return ServiceError("NOT_FOUND", f"Endpoint `{name}` not found.")
    publisher, _, model = name.rpartition("/")
    publisher = "google" if publisher == "models" else publisher.split("/")[1]
    path = f"{origin.place}/publishers/{publisher}/models/{model}".lstrip("/")
    return ServiceError(
        "NOT_FOUND",
        f"Publisher Model `{path}` was not found or your project does not have access to it. "
        "Please ensure you are using a valid model version. For more information, see: "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions",
    )
