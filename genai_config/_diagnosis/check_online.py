"""What can be wrong on the way to the service, and what it answers: every wait is bounded."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import http.client
import os
import socket
import ssl
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from genai_config._auth import credentials, refusals, token_source
from genai_config._auth import headers as _headers
from genai_config._diagnosis import models
from genai_config._diagnosis.check_environment import grpc_proxy, rest_proxy
from genai_config._diagnosis.checks import Case, Check, Finding, Skipped
from genai_config._masking import scrub
from genai_config._models import SMALL_MODEL
from genai_config._routing import decision
from genai_config._settings import googles_endpoint
from genai_config._settings.state import Snapshot
from genai_config.exceptions import GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config._settings.model import GenAIConfig

BOUND = 8.0
"""Seconds for one exchange with a server."""

_SKEW = 60.0
"""Seconds that a clock may be wrong before a service account's tokens are refused."""

TOKENINFO = "https://oauth2.googleapis.com/tokeninfo"


def _address(config: GenAIConfig) -> tuple[str, int, bool]:
    """Host and port of the endpoint, and whether there is TLS."""
    endpoint = config.client_options.api_endpoint or googles_endpoint.HOST
    parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    secure = parts.scheme == "https"
    return parts.hostname or "", parts.port or (443 if secure else 80), secure


def _by_grpc(config: GenAIConfig) -> bool:
    return config.transport != "rest" or config.tuned_transport != "rest"


def _proxy(case: Case, host: str) -> str | None:
    """The proxy that requests take to a host; None: none."""
    if case.config.proxy is not None:
        return case.config.proxy.get_secret_value()
    read = grpc_proxy if _by_grpc(case.config) else rest_proxy
    variable = read(case.environ)
    excepted = case.environ.get("no_proxy") or case.environ.get("NO_PROXY") or ""
    bypass = urllib.request.proxy_bypass_environment  # type: ignore[attr-defined] # typeshed lacks it
    if not variable or bypass(host, {"no": excepted}):
        return None
    return case.environ[variable]


def _connect(case: Case, *protocols: str) -> socket.socket:
    """A connection to the endpoint, through the proxy, with TLS where requests have it.

    Raises:
        OSError: There is none.
    """
    host, port, secure = _address(case.config)
    proxy = _proxy(case, host)
    try:
        if proxy is None:
            connection = socket.create_connection((host, port), BOUND)
        else:
            connection = _tunnel(proxy, host, port)
    except (ValueError, http.client.HTTPException) as error:
        # Their messages may quote the proxy's address, and so its password.
        raise OSError(f"the proxy, or its address, is invalid ({type(error).__name__})") from None
    if not secure:
        return connection
    with contextlib.ExitStack() as undo:
        undo.callback(connection.close)
        context = ssl.create_default_context(cafile=_authorities(case))
        context.set_alpn_protocols(list(protocols))
        secured = context.wrap_socket(connection, server_hostname=host)
        undo.pop_all()
    return secured


def _tunnel(proxy: str, host: str, port: int) -> socket.socket:
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    tunnel = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=BOUND)
    headers = {}
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    tunnel.set_tunnel(host, port, headers)
    tunnel.connect()
    connection: socket.socket = tunnel.sock
    return connection


def _authorities(case: Case) -> str:
    import certifi

    if case.config.ca_certs is not None:
        return str(case.config.ca_certs)
    grpc = ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",)
    names = grpc if _by_grpc(case.config) else ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    named = [case.environ[name] for name in names if case.environ.get(name)]
    return next((path for path in named if os.path.isfile(path)), certifi.where())  # noqa: PTH113 -- Path's raises for odd names


def _endpoint(case: Case) -> Iterator[Finding | str]:
    host, port, _ = _address(case.config)
    way = " through the proxy" if _proxy(case, host) else ""
    try:
        with _connect(case, "h2", "http/1.1"):
            yield f"{host}:{port} answers{way}"
    except ssl.SSLCertVerificationError as error:
        yield Finding(
            f"The certificate of {host}:{port}{way} is not trusted: {error.verify_message}.",
            "if a proxy inspects TLS: safe_configure(ca_certs='/path/to/its-ca.pem').",
        )
    except OSError as error:
        yield Finding(
            f"{host}:{port} cannot be reached{way}: {_reason(error)}.",
            "check whether a proxy or a firewall is in between, and whether the name is right.",
        )


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {BOUND:g} s"
    return scrub(error.strerror or str(error))


def _http2(case: Case) -> Iterator[Finding | str]:
    if not _by_grpc(case.config):
        yield Skipped("not needed: no request uses gRPC")
        return
    if not _address(case.config)[2]:
        yield Skipped("no TLS is used")
        return
    agreed = None
    try:
        # As gRPC does: what is chosen from more is not what gRPC gets.
        with _connect(case, "h2") as connection:
            agreed = getattr(connection, "selected_alpn_protocol", lambda: None)()
    except OSError as error:
        if "no application protocol" not in str(error).lower().replace("_", " "):
            yield Skipped("not known: the endpoint cannot be reached")
            return
    if agreed:
        yield "HTTP/2 is spoken"
        return
    yield Finding(
        "The endpoint does not speak HTTP/2, without which there is no gRPC: a proxy that "
        "inspects TLS may be in between, or the endpoint takes REST alone.",
        'safe_configure(transport="rest", tuned_transport="rest"), or an exception in the proxy.',
    )


def _clock(case: Case) -> Iterator[Finding | str]:
    host, port, _ = _address(case.config)
    request = f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    try:
        with _connect(case, "http/1.1") as connection:
            connection.sendall(request.encode("ascii"))
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            date = answer.getheader("Date")
    except (OSError, http.client.HTTPException):
        date = None
    try:
        there = email.utils.parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError):  # the former before Python 3.10.1
        yield Skipped("not known: the endpoint sends no Date header")
        return
    ahead = _headers.clock() - there
    if abs(ahead) <= _SKEW:
        yield f"within {_SKEW:g} s of the endpoint's"
        return
    yield Finding(
        f"The clock of this machine is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}: "
        "tokens seem to expire at the wrong time, and those of service accounts are refused.",
        "set it, preferably by NTP.",
    )


def _asked(config: GenAIConfig, call: str, request: dict[str, Any]) -> Finding | None:
    """Makes one call, "service.method"; what is said of its answer, None: nothing is wrong."""
    from google.api_core.exceptions import GoogleAPICallError, GoogleAPIError

    from genai_config._sdk.clients import RoutingClient
    from genai_config._sdk.explained import answer_of

    service, _, method = call.partition(".")
    bounded = _bounded(config)
    client = RoutingClient(service, asynchronous=False, pinned=Snapshot(bounded, ()))
    resource = str(request.get("model") or request.get("name") or "")
    try:
        getattr(client, method)(request, retry=None)
    except GenAIConfigError as error:
        return Finding(error.problem, error.remedy)
    except (GoogleAPIError, OSError) as error:  # the latter: those of requests
        said = f"{method}: {type(error).__name__}: {scrub(str(error))}"
        has_code = isinstance(error, GoogleAPICallError)
        answer = answer_of(error) if has_code else refusals.Answer(0)
        means = refusals.meaning(_sent(bounded, call, resource), answer)
        if means is None:
            return Finding(said, "see the message, and the check named endpoint.")
        return Finding(f"{said} {means.means}", means.remedy)
    return None


def _bounded(config: GenAIConfig) -> GenAIConfig:
    """The configuration that requests of a check are made with."""
    return config.merge(timeout=BOUND, auth_timeout=min(config.auth_timeout, BOUND))


def _sent(config: GenAIConfig, call: str, resource: str) -> refusals.Sent:
    """What a call carries, and where it goes."""
    service, _, method = call.partition(".")
    decisive = resource if decision.is_decisive(resource) else ""
    credential: refusals.Credential = "token"
    if decision.route(config, service, method, decisive).auth == "api_key" and config.api_key:
        credential = _headers.key_headers(config).kind
    place: refusals.Place = "vertex" if models.on_vertex(config, resource) else "gemini"
    where = (config.project or "", config.location or "", config.endpoint or "")
    return refusals.Sent(credential, place, resource, *where)


_PROMPT = [{"role": "user", "parts": [{"text": "hi"}]}]


def _key(case: Case) -> Iterator[Finding | str]:
    if case.config.api_key is None or case.config.auth == "oauth":
        yield Skipped("no key is used")
        return
    base = case.config.merge(auth="api_key", backend="gemini")
    request = {"model": f"models/{SMALL_MODEL}", "contents": _PROMPT}
    found = _asked(base, "generative.count_tokens", request)
    yield found or f"the service accepts the {_headers.key_headers(_bounded(base)).kind}"


def _generation(case: Case) -> Iterator[Finding | str]:
    """A flagged project may still list models and count tokens: only an answer proves one."""
    routed = case.explanation.decision
    if routed is None:
        yield Skipped("see settings")
        return
    if routed.auth == "oauth":
        try:
            _token_source(case).token()
        except GenAIConfigError:
            yield Skipped("there is no token")
            return
    model = case.model or SMALL_MODEL
    request = {
        "model": model if "/" in model else f"models/{model}",
        "contents": _PROMPT,
        "generation_config": {"max_output_tokens": 1},
    }
    yield _asked(case.config, "generative.generate_content", request) or f"{model} answers"


def _token_source(case: Case) -> token_source.TokenSource:
    config = case.config
    bounded = config.merge(auth_timeout=min(config.auth_timeout, BOUND))
    return _headers.source_for(bounded, case.scopes)


_NOT_NEEDED = "this request does not need OAuth"


def _with_oauth(check: Callable[[Case], Iterator[Finding | str]]) -> Any:
    """A check that is left out where OAuth does not matter."""

    def run(case: Case) -> Iterator[Finding | str]:
        if not case.oauth_matters:
            yield Skipped(_NOT_NEEDED)
            return
        yield from check(case)

    return run


def _token(case: Case) -> Iterator[Finding | str]:
    source = _token_source(case)
    try:
        source.token()
    except GenAIConfigError as error:
        yield Finding(error.problem, error.remedy)
        return
    yield f"a token for {source.found().description}"


def _rights(case: Case) -> Iterator[Finding | str]:
    import requests

    if not googles_endpoint.in_force(case.config):
        yield Skipped(
            "not asked: a token for another endpoint is not sent to Google; see tuned_models"
        )
        return
    try:
        token = _token_source(case).token()
    except GenAIConfigError:
        yield Skipped("there is no token")
        return
    if token.startswith("eyJ"):
        yield Skipped(
            "not asked: a service account has signed it, with the scopes that were asked for"
        )
        return
    from genai_config._transport import http as _http

    with requests.Session() as session:
        _http.mount(session, case.config.ca_certs, case.config.proxy)
        try:
            answer = session.post(TOKENINFO, data={"access_token": token}, timeout=BOUND)
            told = answer.json()
        except (OSError, ValueError) as error:
            yield Finding(
                f"{TOKENINFO} does not report the token's scopes: {type(error).__name__}.",
                "check whether it can be reached from here.",
            )
            return
    held = str(told.get("scope", "")).split() if isinstance(told, dict) else []
    if {*held} & {*case.scopes}:
        yield f"the token has {' '.join(held)}"
        return
    yield Finding(
        f"The token has none of the scopes that are needed (HTTP {answer.status_code}): "
        f"{', '.join(map(scrub, held)) or 'none at all'}.",
        credentials.login_command(case.scopes),
        credentials.login_command(case.scopes),
    )


def _tuned_models(case: Case) -> Iterator[Finding | str]:
    try:
        _token_source(case).token()
    except GenAIConfigError:
        yield Skipped("there is no token")
        return
    if case.on_vertex:
        yield Skipped("not asked: the model is served on Vertex AI")
        return
    config = case.config.merge(auth="oauth")
    if case.tuned and decision.is_decisive(case.model or ""):
        found = _asked(config, "model.get_tuned_model", {"name": case.model})
    else:
        found = _asked(config, "model.list_tuned_models", {"page_size": 1})
    yield found or "the service accepts the token"


CHECKS = (
    Check("endpoint", "the endpoint can be reached", _endpoint, online=True),
    Check("http2", "HTTP/2 reaches the endpoint", _http2, online=True),
    Check("clock", "the clock is right", _clock, online=True),
    Check("key", "the service accepts the API key", _key, online=True),
    Check("generation", "the model answers", _generation, online=True),
    Check("token", "an access token can be obtained", _with_oauth(_token), online=True),
    Check("rights", "the token has the scopes that are needed", _with_oauth(_rights), online=True),
    Check("tuned_models", "the service answers for tuned models", _with_oauth(_tuned_models),
          online=True),
)  # fmt: skip
