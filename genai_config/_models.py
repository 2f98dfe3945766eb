"""The names of models: they age, so this file alone has them, and the rest of the package asks it.

As of 28 November 2026. Sources: the deprecation pages and release notes of the Gemini API
(https://ai.google.dev/gemini-api/docs/deprecations and .../changelog) and of Vertex AI
(https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions).
"""

from __future__ import annotations

import re
from typing import NamedTuple

MODEL = "gemini-3.6-flash"
"""For examples and defaults; generally available since 21 July 2026, no shutdown announced."""

OTHER_MODEL = "gemini-3.8-flash"
"""Another of the same kind, where an example needs two; since 2 September 2026."""

SMALL_MODEL = "gemini-3.5-flash-lite"
"""For cheap requests, such as a check; since 21 July 2026."""

EMBEDDING_MODEL = "gemini-embedding-2"
"""For embeddings."""

SDK_DEFAULT = "gemini-1.5-flash-002"
"""What the SDK's `genai.GenerativeModel()` asks if it is given no name."""

TUNING_SOURCE = "gemini-1.5-flash-001-tuning"
"""What tuned models of the Gemini API were made from, while it had them."""

TUNING_ENDED = "May 2025"
"""When the Gemini API stopped serving tuned models (its page on model tuning, April 2026)."""


WORDS = ("embedding", "flash", "gemini", "latest", "lite", "preview")
"""Words in the names of Google's models: what is nearly one of them is misspelt."""


class Retirement(NamedTuple):
    """Models that a service has stopped serving, or will.

    Attributes:
        names: A regular expression that matches the names of the models.
        successor: The model to use instead.
        gemini: The first day without them on the Gemini API, as YYYY-MM-DD; "": not announced.
        vertex: The same on Vertex AI.
        rerouted: From that day on the Gemini API answers with the successor, not with an error.
        closed: The Gemini API serves them only to accounts that used them before.
    """

    names: str
    successor: str
    gemini: str
    vertex: str
    rerouted: bool = False
    closed: bool = False


RETIREMENTS = (
    Retirement(r"gemini-(1\.0-)?pro(-.*)?", MODEL, "2025-02-15", "2025-04-09"),
    Retirement(r"gemini-1\.5-.*", MODEL, "2025-09-29", "2025-09-24"),
    Retirement(r"gemini-2\.0-flash-lite(-.*)?", SMALL_MODEL, "2026-06-01", "2026-06-01"),
    Retirement(r"gemini-2\.0-.*", MODEL, "2026-06-01", "2026-06-01"),
    Retirement(r"gemini-2\.5-flash-lite", SMALL_MODEL, "", "2026-10-16", closed=True),
    Retirement(
        r"gemini-2\.5-flash", SMALL_MODEL, "2026-12-01", "2026-10-16", rerouted=True, closed=True
    ),
    Retirement(
        r"gemini-2\.5-pro", OTHER_MODEL, "2026-12-01", "2026-10-16", rerouted=True, closed=True
    ),
    Retirement(r"gemini-3\.5-flash", MODEL, "2026-10-08", "", rerouted=True),
    Retirement(r"gemini-3\.7-flash", OTHER_MODEL, "2026-10-08", "", rerouted=True),
    Retirement(r"(text-)?embedding-00[14]", EMBEDDING_MODEL, "2026-01-14", ""),
)
"""The first that matches counts."""


def retirement(model: str) -> Retirement | None:
    """What is known about a model's end, in any form of its name; None: nothing."""
    name = model.rpartition("/")[2]
    if "tunedModels/" in model or "endpoints/" in model:
        return None
    return next((known for known in RETIREMENTS if re.fullmatch(known.names, name)), None)
