"""API keys by their shape: the kind of one, and what people give in place of one. Pure.

A shape is a hint and no check: any other text is "a key", and the service decides about it.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from genai_config.exceptions import ConfigurationError

Kind = Literal["standard key", "auth key", "key"]
"""A standard key (`AIza…`), an auth key (`AQ.…`, the only kind that AI Studio issues since May
2026; it belongs to a service account), or one of another shape."""

AI_STUDIO = "https://aistudio.google.com/apikey"


def kind(key: str) -> Kind:
    """The kind of a key, by what it starts with."""
    if key.startswith("AIza"):
        return "standard key"
    return "auth key" if key.startswith("AQ.") else "key"


class _Mistake(NamedTuple):
    """What is given in place of a key: how it looks, what it is, and what to do."""

    looks: str
    is_: str
    remedy: str


_NEVER_A_KEY = (
    _Mistake(
        r"[\"'].*|.*[\"']",
        "begins or ends with a quotation mark",
        "give the key without quotation marks; a .env file that no shell reads needs none.",
    ),
    _Mistake(
        r"ya29\..+|eyJ[\w-]+\.[\w-]+\..+",
        "is an OAuth access token, which expires within the hour",
        "give credentials=… (google-auth credentials, a key file's path, or a function that "
        f"returns a token), or make an API key: {AI_STUDIO}",
    ),
    _Mistake(
        r"auth_tokens/.+",
        "is an ephemeral token, which only the Live API accepts",
        f"give an API key: {AI_STUDIO}",
    ),
)
_OTHERS = (
    ("sk-ant-", "Anthropic"), ("sk-or-", "OpenRouter"), ("sk-", "OpenAI"), ("gsk_", "Groq"),
    ("xai-", "xAI"), ("hf_", "Hugging Face"), ("pplx-", "Perplexity"),
)  # fmt: skip
_PLACEHOLDER = (
    r"(?i)<.*>|\{.*\}|\[.*\]|\$.*|%\w+%|\*+|x{3,}|…|\.{3,}"
    r"|(?:your|insert|enter|paste|replace|put)[-_].*key.*"
    r"|(?:(?:my|the|google|gemini|genai)[-_]?)*api[-_]?key(?:[-_]here)?"
)


def check(key: str) -> None:
    """Refuses what can be no key.

    Raises:
        ConfigurationError: It is something else; the message holds nothing of it.
    """
    for mistake in _NEVER_A_KEY:
        if re.fullmatch(mistake.looks, key):
            raise ConfigurationError(f"The API key {mistake.is_}.", mistake.remedy)


def suspicion(key: str) -> str:
    """What a key looks like that Google will not accept: "a placeholder …"; "": nothing."""
    if re.fullmatch(_PLACEHOLDER, key):
        return "a placeholder"
    return next((f"a key of {vendor}" for start, vendor in _OTHERS if key.startswith(start)), "")
