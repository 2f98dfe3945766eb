"""HTTP connections for REST calls and token endpoints, pooled, with their own trust and proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter

from genai_config._pool import Pool

if TYPE_CHECKING:
    from pathlib import Path

    import requests

    from genai_config._secrets import Secret

_CONNECTIONS_PER_HOST = 100


class _Adapter(HTTPAdapter):
    """Sends with the configured authorities and proxy.

    Set on a session they would lose to REQUESTS_CA_BUNDLE and HTTPS_PROXY of the environment.
    """

    def __init__(self, ca_certs: Path | None, proxy: Secret | None) -> None:
        super().__init__(pool_maxsize=_CONNECTIONS_PER_HOST)
        self._settings: dict[str, Any] = {}
        if ca_certs is not None:
            self._settings["verify"] = str(ca_certs)
        if proxy is not None:
            url = proxy.get_secret_value()
            self._settings["proxies"] = {"http": url, "https": url}

    def send(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> requests.Response:
        return super().send(request, *args, **{**kwargs, **self._settings})


_ADAPTERS: Pool[_Adapter] = Pool(16)


def mount(session: requests.Session, ca_certs: Path | None, proxy: Secret | None) -> None:
    """Makes a session use the shared connections of a trust and a proxy.

    Args:
        session: A `requests.Session`; its own adapters are replaced.
        ca_certs: PEM file of certificate authorities; None: those of requests.
        proxy: URL of an HTTP proxy; None: the environment's.
    """
    adapter = _ADAPTERS.get((ca_certs, proxy), lambda: _Adapter(ca_certs, proxy))
    session.mount("https://", adapter)
    session.mount("http://", adapter)


def close_all() -> None:
    """Forgets the connections."""
    _ADAPTERS.clear()
