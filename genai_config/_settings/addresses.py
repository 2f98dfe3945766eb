"""The addresses of endpoints and of proxies: what may be in them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, unquote, urlsplit

from genai_config._settings.primitives import PRINTABLE, text_of
from genai_config._settings.secrets import Secret
from genai_config.exceptions import ConfigurationError

HOST = r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*\.?"

_USER = r"([^/?#]*://)?[^/?#]*@"


def _split(setting: str, text: str) -> SplitResult:
    problem = f"{setting} is not a valid address"
    if not re.fullmatch(PRINTABLE, text):
        raise ConfigurationError(
            f"{problem}: it holds white space, a control character or a character that is "
            "not ASCII.",
            f"give {setting}='host' or 'host:port'.",
        )
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        port_is_zero = parts.port == 0
    except ValueError:
        raise ConfigurationError(
            f"{problem}: the port must be a number up to 65535, and brackets must be closed.",
            f"give {setting}='host:443', for example.",
        ) from None
    host = parts.hostname or ""
    no_port = port_is_zero or parts.netloc.endswith(":")
    if no_port or not (re.fullmatch(HOST, host) or _is_ip(host)):
        raise ConfigurationError(
            f"{problem}: the host is missing, or the host or the port is invalid.",
            f"give {setting}='host' or 'host:port'.",
        )
    return parts


def _with_plain_scheme(address: str) -> str:
    """The address with its scheme in lower case: gRPC and the SDK compare it as it stands."""
    scheme, separator, rest = address.partition("://")
    return f"{scheme.lower()}://{rest}" if separator else address


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: the only place where TLS may be left out."""
    return host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


def api_endpoint(value: object, setting: str = "client_options['api_endpoint']") -> str | None:
    """`host`, `host:port`, or either with a scheme; a path is kept for REST, gRPC has none."""
    # Looked for before a secret of any shape is: this says what is wrong, and names the remedy.
    if isinstance(value, str) and re.match(_USER, value):
        raise ConfigurationError(
            "The endpoint holds a user name or a password, which would be sent to the server.",
            "give the host alone, and credentials as api_key= or credentials=.",
        )
    text = text_of(setting, value)
    if not text:
        return None
    parts = _split(setting, text)
    if parts.scheme not in ("", "https", "http"):
        raise ConfigurationError(
            f"The endpoint has the scheme {parts.scheme!r}.",
            "give 'host', 'host:port' or 'https://host'.",
        )
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            f"The endpoint http://{parts.netloc} is not on this machine: the credentials would be "
            "sent unencrypted.",
            f"give 'https://{parts.netloc}'.",
        )
    if "?" in text or "#" in text:  # an empty one, too: the path of a request would be a part of it
        raise ConfigurationError(
            "The endpoint holds a query or a fragment.", f"give {parts.netloc!r}."
        )
    if {".", ".."} & set(unquote(parts.path).split("/")):
        raise ConfigurationError(
            "The endpoint's path holds '.' or '..', which leads elsewhere than it says.",
            f"give {parts.netloc!r}, or the path that is meant.",
        )
    return _with_plain_scheme(text).rstrip("/")


def proxy(value: object) -> Secret | None:
    """The URL of an HTTP proxy; it may hold a password, so it is a secret."""
    reveal = getattr(value, "get_secret_value", None)
    text = text_of("proxy", reveal() if callable(reveal) else value)
    if not text:
        return None
    parts = _split("proxy", text)
    beyond = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or beyond:
        raise ConfigurationError(
            "proxy is not the address of an HTTP proxy.", "give proxy='http://host:port'."
        )
    return Secret(_with_plain_scheme(text))
