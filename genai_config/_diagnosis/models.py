"""What a model's name tells before anything is sent: misspelt, retired, or not served any more."""

from __future__ import annotations

import datetime as dt
import difflib
from typing import TYPE_CHECKING

from genai_config import _models
from genai_config._auth import refusals
from genai_config._auth.refusals import Answer, Meaning, Sent
from genai_config._masking import looks_secret, scrub
from genai_config._routing import places
from genai_config._routing.decision import CLOUD_PLATFORM, TUNED_PREFIX, TUNED_SCOPES
from genai_config._settings import googles_endpoint

if TYPE_CHECKING:
    from genai_config._settings.model import GenAIConfig

_PREFIXES = ("models/", TUNED_PREFIX, "corpora/", "projects/", "publishers/")


def on_vertex(config: GenAIConfig, model: str) -> bool:
    """Whether requests on a model go to Vertex AI."""
    if model.startswith(TUNED_PREFIX):
        return places.endpoint_of(config, model) is not None
    return places.backend_of(config, model) == "vertex"


def scopes(config: GenAIConfig, model: str) -> tuple[str, ...]:
    """The OAuth scopes that requests on a model ask for; those of tuned models are the widest."""
    return config.scopes or ((CLOUD_PLATFORM,) if on_vertex(config, model) else TUNED_SCOPES)


def _misspelt(model: str) -> Meaning | None:
    """A model with a word in its name that is nearly, and not quite, one that Google uses."""
    name = model.rpartition("/")[2]
    for word in name.split("-"):
        near = difflib.get_close_matches(word, _models.WORDS, n=1, cutoff=0.8)
        if near and word not in _models.WORDS:
            return Meaning(
                "misspelt model",
                f"{scrub(model)!r} looks misspelt.",
                f"did you mean {model.replace(word, near[0], 1)!r}?",
            )
    return None


def problem(config: GenAIConfig | None, model: str, now: float) -> Meaning | None:
    """Why requests on a model will fail, whatever the credentials; None: nothing is known.

    Args:
        config: The configuration in force; None: there is none.
        model: The model as it was given.
        now: The time, in seconds since the epoch.
    """
    start, slash, _ = model.partition("/")
    if slash and f"{start}/" not in _PREFIXES:
        near = difflib.get_close_matches(f"{start}/", _PREFIXES, n=1)
        meant = near[0] if near else TUNED_PREFIX
        return Meaning(
            "misspelt model",
            f"{scrub(model)!r} is not the name of a resource.",
            "give the model's name."
            if looks_secret(model)
            else f"did you mean {model.replace(f'{start}/', meant, 1)!r}?",
        )
    vertex = config is not None and on_vertex(config, model)
    if config is not None and not vertex and not googles_endpoint.in_force(config):
        return None  # a gateway, or a server for tests, has models of its own
    retirement = _models.retirement(model)
    if retirement is None and (vertex or not model.startswith(TUNED_PREFIX)):
        return None if model.startswith((TUNED_PREFIX, "projects/")) else _misspelt(model)
    if retirement is not None:
        today = dt.datetime.fromtimestamp(now, dt.timezone.utc).date().isoformat()
        day = retirement.vertex if vertex else retirement.gemini
        if not day or day > today:
            return None
    place: refusals.Place = "vertex" if vertex else "gemini"
    found = refusals.meaning(Sent("none", place, model), Answer(404))
    # What is rerouted is answered by its successor.
    return found if found and found.name in ("tuned model gone", "retired model") else None
