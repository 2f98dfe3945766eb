"""API keys by their shape: the kind of one, and what people give in place of one. Pure.

A shape is a hint and no check: any other text is "a key", and the service decides about it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from genai_config.exceptions import ConfigurationError

Kind = Literal[
    "standard key", "auth key", "Anthropic-style key", "OpenRouter-style key", "OpenAI-style key",
    "Groq-style key", "xAI-style key", "Hugging Face-style key", "Perplexity-style key", "key",
]  # fmt: skip
"""A standard key (`AIza…`), an auth key (`AQ.…`, the only kind that AI Studio issues since May
2026; it belongs to a service account), one that looks like another vendor's, or any other."""

_STARTS: tuple[tuple[str, Kind], ...] = (
    ("AIza", "standard key"), ("AQ.", "auth key"), ("sk-ant-", "Anthropic-style key"),
    ("sk-or-", "OpenRouter-style key"), ("sk-", "OpenAI-style key"), ("gsk_", "Groq-style key"),
    ("xai-", "xAI-style key"), ("hf_", "Hugging Face-style key"),
    ("pplx-", "Perplexity-style key"),
)  # fmt: skip

AI_STUDIO = "https://aistudio.google.com/apikey"

FORMS = (
    "a string, from_env('NAME'), from_file('PATH') or from_command(['PROGRAM', …]); in a file with "
    'profiles { from_env = "NAME" }, { from_file = "PATH" } or { from_command = ["PROGRAM", …] }'
)
"""How a key is given."""

KEY_FILE = "credentials=json.loads(text)"
"""How the content of a key file is given."""

OAUTH_CLIENT = (
    "an OAuth client's file (client_secret.json) is no credentials: it is for gcloud's "
    "--client-id-file."
)
"""What is taken for a key file."""

_ACCESS = r"ya29\..+|eyJ[\w-]+\.[\w-]+\..+"


def kind(key: str) -> Kind:
    """The kind of a key, by what it starts with."""
    for start, found in _STARTS:
        if key.startswith(start):
            return found
    return "key"


def vendor(kind: str) -> str:
    """The other vendor that makes keys of a kind; "": there is none."""
    name, is_others, _ = kind.partition("-style key")
    return name if is_others else ""


def instead(text: str) -> str:
    """What to do with a key or a token in place of credentials; "": it looks like neither."""
    if kind(text) != "key":
        return "an API key is given as api_key=."
    is_token = re.fullmatch(_ACCESS, text)
    return "an access token is given as credentials=lambda: TOKEN." if is_token else ""


_GOOGLES = r"(?a)AIza(?!.{0,3}(?i:your))[\w-]{20,38}|AQ\.[\w-]{20,}"


@functools.cache
def _googles() -> Callable[[str], object]:
    return re.compile(_GOOGLES).fullmatch


def is_googles(text: str) -> bool:
    """Whether a text looks as Google's keys do, a standard key of 39 characters among them.

    No mistake does, and none is looked for: there is nothing about it to trim or to refuse.
    """
    # Each scope with a key asks, and `re` takes longer to find the pattern than to match it.
    return _googles()(text) is not None


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
        _ACCESS,
        "is an OAuth access token, which expires within the hour",
        "give credentials=… (google-auth credentials, a key file's path, or a function that "
        f"returns a token), or make an API key: {AI_STUDIO}",
    ),
    _Mistake(
        r"1//[\w-]{10,}",
        "is a refresh token, which is good for access tokens alone",
        "give the path of the file that it is from as credentials='/path/to/file.json', or make "
        f"an API key: {AI_STUDIO}",
    ),
    _Mistake(
        r"GOCSPX-.+",
        "is the secret of an OAuth client",
        f"make an API key: {AI_STUDIO}",
    ),
    _Mistake(
        r"auth_tokens/.+",
        "is an ephemeral token, which only the Live API accepts",
        f"give an API key: {AI_STUDIO}",
    ),
    _Mistake(
        # A key may come from somebody else: no text runs a command or reads a file.
        r"(?s)\{\s*[\"']from_[a-z_]+[\"']\s*:.*",
        "is a reference in JSON, which is not read from a text",
        "give from_env('NAME') or {'from_env': 'NAME'}; a class of pydantic-settings with "
        "env_nested_delimiter='__' reads it from a variable whose name ends in "
        "__API_KEY__FROM_ENV.",
    ),
    _Mistake(
        r"(?s)(?:\{\s*[\"']|-----BEGIN ).*",
        "is the content of a file",
        f"give the content of a key file as {KEY_FILE}; an API key is one word: {AI_STUDIO}",
    ),
    _Mistake(
        r"(?i)https?://.+",
        "is a URL",
        "give the key alone, without the address; the address of a server as "
        "client_options={'api_endpoint': 'host'}.",
    ),
    _Mistake(
        r"(?i)(?:export |set |\$env:)?(?=\w*(?:key|token))\w+\s*=(?!=).+",
        "begins with a name and an equals sign",
        "give what is on the right of the equals sign alone.",
    ),
    _Mistake(
        r"(?:AIza|AQ\.)[\w-]{6,}[\s,;|]+\S.*|AIza[\w-]{35}(?:AIza|AQ\.).*",
        "is several keys",
        "give one key; with override(…), another one for each part of the program.",
    ),
    _Mistake(
        r".*\w(?:…|\.{3}).*|.*[^*]\*{3}.*",
        "is a part of a key, shortened",
        f"copy the whole key: {AI_STUDIO}",
    ),
    _Mistake(
        r"(?:~|\.{1,2}|[A-Za-z]:)[/\\].+|.*\.(?:json|txt|pem|p12|toml|ya?ml)"
        r"|/(?:app|content|etc|home|mnt|opt|root|run|secrets|tmp|Users|usr|var)/.+",
        "is the path of a file",
        "give the path of a key file as credentials='/path/to/key.json'; a file that holds an API "
        "key as api_key=from_file('/path/to/key').",
    ),
    _Mistake(
        r"UNSET|None|null|undefined",  # and not "none", which is given to servers without keys
        "is the name of a value that is missing",
        "leave api_key out, or clear it with UNSET, without quotation marks; where a variable "
        f"gives it, unset the variable; or make a key: {AI_STUDIO}",
    ),
    _Mistake(
        r"(?i)<.*>|\{.*\}|\[.*\]|\$(?:[a-z_]\w*|\{.*\}|\(.*\))|%\w+%|…|\.{3,}"
        r"|(?:AIza(?:Sy)?[-_]?)?(?:your|insert|enter|paste|replace|put)[-_ ]"
        r"(?:.*[-_ ])?(?:api)?key(?![a-z]).*",
        "is a placeholder",
        f"put your own key in its place; make one: {AI_STUDIO}",
    ),
)
# Tests and gateways that look at no key are given these as well.
_PLACEHOLDER = r"(?i)\*+|x{3,}|(?:(?:my|the|google|gemini|genai)[-_]?)*api[-_]?key(?:[-_]here)?"


def check(key: str) -> None:
    """Refuses what can be no key, of a text that is none of Google's by its looks.

    Raises:
        ConfigurationError: It is something else; the message holds nothing of it.
    """
    for mistake in _NEVER_A_KEY:
        if re.fullmatch(mistake.looks, key):
            raise ConfigurationError(f"The API key {mistake.is_}.", mistake.remedy)


def not_text(value: object) -> ConfigurationError:
    """The error for what is given as a key, and is no text."""
    if isinstance(value, Mapping) and "type" in value:
        return ConfigurationError(
            "api_key is the content of a key file, which is no API key.",
            "give it as credentials=…, the same content or the path of the file.",
        )
    return ConfigurationError(
        f"api_key must be a string or a reference to one, not {type(value).__name__}.",
        f"give {FORMS}.",
    )


def suspicion(key: str) -> str:
    """What a key looks like that Google will not accept: "a placeholder …"; "": nothing."""
    if is_googles(key):
        return ""
    if re.fullmatch(_PLACEHOLDER, key):
        return "a placeholder"
    other = vendor(kind(key))
    return f"a key of {other}" if other else ""
