"""Why the service cannot be reached, from what gRPC, requests or the system says of it.

gRPC reports all of it as UNAVAILABLE, which the SDK retries for up to ten minutes; most of these
causes do not go away by waiting.
"""

from __future__ import annotations

import re
from typing import NamedTuple

PATIENCE = 20.0
"""Seconds for which a call that cannot be connected is tried again at most."""


class Cause(NamedTuple):
    """One row: how the libraries say it, what it means, what to do.

    Attributes:
        says: What their texts have in common.
        problem: What it means.
        remedy: What to do.
        final: Whether trying again is useless.
        grpc: What else to do where the call went over gRPC.
        rest: The same for REST.
    """

    says: re.Pattern[str]
    problem: str
    remedy: str
    final: bool = False
    grpc: str = ""
    rest: str = ""


def _cause(says: str, problem: str, remedy: str, *, final: bool = False, **more: str) -> Cause:
    return Cause(re.compile(says, re.IGNORECASE), problem, remedy, final, **more)


_REST = 'safe_configure(transport="rest", tuned_transport="rest")'
_BLOCKED = f"; where gRPC is blocked: {_REST}"
_GRPC_ALONE = (
    "; where client_options={'api_endpoint': …} takes gRPC alone: give its address for REST, which "
    'uploads always use, or transport="grpc"'
)

CAUSES = (
    _cause(
        r"certificate_verify_failed|certificate verify failed|hostname mismatch|"
        r"peer name .* is not in peer certificate",
        "the server's certificate does not verify",
        "behind a proxy that inspects TLS: safe_configure(ca_certs=…) with the PEM file of its "
        "certificate authority; else check client_options={'api_endpoint': …}",
        final=True,
    ),
    _cause(
        r"alpn|expected settings frame|failed parsing http/2|http2 client preface",
        "something between this machine and the service does not support HTTP/2, which gRPC needs",
        f"{_REST}; or check proxy=… and client_options={{'api_endpoint': …}}",
        final=True,
    ),
    _cause(
        r"(proxy returned response code|tunnel connection failed:) 407",
        "the proxy requires a login",
        'safe_configure(proxy="http://USER:PASSWORD@HOST:PORT")',
        final=True,
    ),
    _cause(
        r"proxy returned response code|tunnel connection failed",
        "the proxy refuses to connect to the service",
        "check proxy=… (or HTTPS_PROXY), and whether the proxy allows the service's host",
        final=True,
    ),
    _cause(
        r"wrong_version_number|wrong version number|record layer|http_request",
        "the server does not speak TLS",
        "check the port in client_options={'api_endpoint': …}, and proxy=…",
        final=True,
    ),
    _cause(
        r"hostname lookup|errors resolving|dns|name or service not known|"
        r"temporary failure in name resolution|nodename nor servname|getaddrinfo|nameresolution",
        "the host name cannot be resolved",
        "check client_options={'api_endpoint': …}, and the network; "
        "where only a proxy reaches the Internet: proxy=…",
    ),
    _cause(
        r"connection refused|errno 111",
        "nothing accepts connections at the address",
        "check client_options={'api_endpoint': …} and proxy=… (or HTTPS_PROXY)",
    ),
    _cause(
        r"eof occurred in violation|unexpected.eof|closed connection without response|"
        r"no.application.protocol",
        "the server hangs up without an answer",
        "check client_options={'api_endpoint': …}, the network and proxy=…",
        grpc=_BLOCKED,
        rest=_GRPC_ALONE,
    ),
    _cause(
        r"handshake read failed|timed out|timeout|watchdog|unreachable|no route",
        "no answer arrives: a firewall or a dead route drops the packets",
        "check the firewall; behind a proxy: proxy=…",
        grpc=_BLOCKED,
    ),
    _cause(
        r"failed to connect|failed to establish|connection aborted|connection reset|broken pipe",
        "the connection cannot be made, or breaks",
        "check the network and proxy=…",
        grpc=_BLOCKED,
        rest=_GRPC_ALONE,
    ),
)

# What says that it is the connection, and not an answer of the service.
_CONNECTING = re.compile(
    r"failed to connect to all addresses|errors resolving|dns resolution failed|"
    r"keepalive watchdog|ping timeout",
    re.IGNORECASE,
)


def cause_of(error: BaseException) -> Cause | None:
    """Why the service cannot be reached; None: the error is another one.

    Args:
        error: An error of google.api_core for a gRPC call, or of requests.
    """
    text = str(error)
    if not (_is_of_requests(error) or _CONNECTING.search(text)):
        return None
    return next((cause for cause in CAUSES if cause.says.search(text)), CAUSES[-1])


def _is_of_requests(error: BaseException) -> bool:
    # By name: whoever uses gRPC alone need not load requests. A ReadTimeout is none of them: there
    # the service has been reached.
    return any(
        kind.__module__ == "requests.exceptions" and kind.__name__ == "ConnectionError"
        for kind in type(error).__mro__
    )


def _went_over_rest(error: BaseException) -> bool:
    from genai_config._transport.http_errors import HttpCallError

    return _is_of_requests(error) or isinstance(getattr(error, "response", None), HttpCallError)


def explained(error: Exception) -> Exception:
    """The error as the caller is to see it: with the cause and the remedy, if it has such a cause.

    Args:
        error: An error of google.api_core or of requests; its retries may have run out of time.
    """
    from google.api_core.exceptions import RetryError, ServiceUnavailable

    last = error.cause if isinstance(error, RetryError) else error
    cause = cause_of(last) if last is not None else None
    if cause is None or last is None:
        return error
    more = cause.rest if _went_over_rest(last) else cause.grpc
    return ServiceUnavailable(
        f"The service cannot be reached: {cause.problem}.\n  Remedy: {cause.remedy}{more}.\n"
        f"  {getattr(last, 'message', last)}",
        errors=getattr(last, "errors", ()),
        response=getattr(last, "response", None),
    )
