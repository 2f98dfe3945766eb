"""Which source gives the tokens of a configuration: one for all who have the same credentials."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from genai_config import _credentials
from genai_config._pool import Pool
from genai_config._tokens import TokenSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._config import GenAIConfig
    from genai_config._credentials import Found

_POOL: Pool[TokenSource] = Pool(256)

clock: Callable[[], float] = time.time
"""The time in seconds since the epoch that tokens expire by."""


def _now() -> float:
    return clock()  # looked up at each call: a test may have put another in its place


def source_for(config: GenAIConfig, scopes: tuple[str, ...]) -> TokenSource:
    """The token source of a configuration's credentials for these scopes, shared by all."""
    credentials = config.credentials
    audience = _credentials.audience(config.client_options)
    universe = _credentials.universe(config.client_options)
    return _POOL.get(
        _key(config, scopes),
        lambda: TokenSource(
            lambda: _credentials.in_universe(
                _credentials.find(credentials, scopes, audience), universe
            ),
            lambda: _request(config),
            config.auth_timeout,
            _now,
        ),
    )


def known(config: GenAIConfig, scopes: tuple[str, ...]) -> Found | None:
    """The credentials that requests with these scopes have found so far; nobody is asked."""
    source = _POOL.peek(_key(config, scopes))
    return source.known if source is not None else None


def _key(config: GenAIConfig, scopes: tuple[str, ...]) -> tuple[object, ...]:
    return (
        _credentials.identity(config.credentials),
        scopes,
        _credentials.audience(config.client_options),
        _credentials.universe(config.client_options),
        config.auth_timeout,
        config.ca_certs,
        config.proxy,
    )


def forget_sources() -> None:
    """Drops every token source: credentials are found anew."""
    _POOL.clear()


def _request(config: GenAIConfig) -> Any:
    import requests

    from genai_config import _http

    session = requests.Session()
    _http.mount(session, config.ca_certs, config.proxy)
    # google-auth gives each attempt 120 s; the thread should not outlive its callers by much.
    return _http.TokenRequest(session, config.auth_timeout)
