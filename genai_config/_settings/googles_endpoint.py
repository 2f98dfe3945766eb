"""What Google's own endpoint of the Gemini API does not take, and a gateway may. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from genai_config._settings import keys
from genai_config._settings.secrets import Secret
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from genai_config._settings.model import GenAIConfig

HOST = "generativelanguage.googleapis.com"


def is_googles(host: str) -> bool:
    """Whether a host is Google's Gemini API."""
    return host == HOST or host.endswith((f".{HOST}", f"-{HOST}"))


def in_force(config: GenAIConfig) -> bool:
    """Whether requests to the Gemini API go to Google itself."""
    endpoint = config.client_options.api_endpoint or HOST
    host = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}").hostname
    return is_googles(host or "")


def suspicion(config: GenAIConfig) -> str:
    """What the configured key looks like that will be refused; "": nothing speaks against it."""
    key = config.api_key
    if not isinstance(key, Secret) or key.is_googles:
        return ""
    looks = keys.suspicion(key.get_secret_value())
    return looks if looks and in_force(config) else ""


def check_headers(config: GenAIConfig) -> None:
    """Refuses a second credential among the headers; a gateway may want one of its own.

    Raises:
        ConfigurationError: There is one.
    """
    if "authorization" in dict(config.default_metadata) and in_force(config):
        raise ConfigurationError(
            "default_metadata holds authorization, and Google refuses requests that carry it "
            "beside an API key.",
            "give a token as credentials=lambda: TOKEN, and a key as api_key=; what a gateway "
            "wants, together with its address: client_options={'api_endpoint': 'HOST'}.",
        )
