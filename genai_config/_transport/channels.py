"""Connections: those to one endpoint, of one event loop, shared by every service and tenant.

Credentials are no part of a connection: each call brings its own (`call_credentials`).
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import grpc
from grpc import aio

from genai_config._settings.state import call_site, warn
from genai_config._transport.channel_pool import ChannelPool
from genai_config._transport.pool import Itself, Pool
from genai_config.exceptions import ConfigurationError, GenAIConfigWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genai_config._settings.secrets import Secret

_OPTIONS = (
    # As the SDK's own transports.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # One channel, one connection: without it, equal channels share one behind our back.
    ("grpc.use_local_subchannel_pool", 1),
    # A connection whose packets vanish is dropped after 4 s of silence and 3 s without an answer
    # to a ping, while calls are in flight; gRPC sends two pings at most for a request, so that no
    # server takes offence. With keepalive on, it also bounds how long data may be unacknowledged.
    ("grpc.keepalive_time_ms", 4_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # An attempt to connect takes this long at most (gRPC has 20 s), and another is made after at
    # most as long (gRPC has 120 s).
    ("grpc.min_reconnect_backoff_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class Address(NamedTuple):
    """What a connection depends on.

    Attributes:
        host: "host:port", with "http://" in front where there is no TLS (this machine only).
        ca_certs: PEM file of certificate authorities; None: gRPC's or requests' own.
        proxy: URL of an HTTP proxy; None: the environment's.
        client_cert: Client certificate chain and key, PEM; None: none.
    """

    host: str
    ca_certs: Path | None
    proxy: Secret | None
    client_cert: tuple[bytes, bytes] | None

    def __repr__(self) -> str:
        return f"Address({self.host!r})"  # the private key of the certificate is a secret

    def target(self) -> str:
        """The address as gRPC wants it."""
        return urlsplit(self.host).netloc if "://" in self.host else self.host

    def options(self) -> list[tuple[str, Any]]:
        """The arguments of a channel.

        Raises:
            ConfigurationError: gRPC cannot use the proxy, and would go past it without a word.
        """
        if self.proxy is None:
            return [*_OPTIONS]
        url = self.proxy.get_secret_value()
        if not url.startswith("http://"):
            raise ConfigurationError(
                "gRPC cannot speak TLS to a proxy.",
                "give proxy='http://…', or transport='rest' and tuned_transport='rest'.",
            )
        return [*_OPTIONS, ("grpc.http_proxy", url)]

    def credentials(self) -> grpc.ChannelCredentials | None:
        """The TLS credentials of a channel; None where there is no TLS."""
        if self.host.startswith("http://"):
            return None
        roots = self.ca_certs.read_bytes() if self.ca_certs else None
        chain, key = self.client_cert or (None, None)
        return grpc.ssl_channel_credentials(roots, private_key=key, certificate_chain=chain)


class Connections:
    """The channels of one event loop (or of all the synchronous callers), and their clients."""

    def __init__(self) -> None:
        self._channels: Pool[ChannelPool[Any]] = Pool(16)
        self.clients: Pool[Any] = Pool(256)

    def channels(self, address: Address) -> ChannelPool[grpc.Channel]:
        """The synchronous channels to an address."""
        return self._pooled(address, grpc.insecure_channel, grpc.secure_channel)

    def async_channels(self, address: Address) -> ChannelPool[aio.Channel]:
        """The channels to an address for the running event loop."""
        return self._pooled(address, aio.insecure_channel, aio.secure_channel)

    def _pooled(self, address: Address, *makers: Callable[..., Any]) -> ChannelPool[Any]:
        _warn_of_gevent()
        # What instruments gRPC replaces its functions: then there are to be other channels.
        key = (address, *map(Itself, makers))
        return self._channels.get(key, lambda: _channel_pool(address, *makers))

    def clear(self) -> None:
        """Forgets the channels and clients; a channel closes when its last call has ended."""
        self.clients.clear()
        self._channels.clear()


_warned_of_gevent = False


def _warn_of_gevent() -> None:
    """Says once that gRPC blocks all greenlets, unless it was prepared for gevent."""
    global _warned_of_gevent  # noqa: PLW0603 -- once per process
    monkey = sys.modules.get("gevent.monkey")
    if _warned_of_gevent or monkey is None or not monkey.is_module_patched("socket"):
        return
    _warned_of_gevent = True
    if not _is_prepared_for_gevent():
        warn(
            "gevent has patched the sockets, and gRPC is not prepared for it: each gRPC call "
            "blocks all greenlets. Call grpc.experimental.gevent.init_gevent() after "
            "gevent.monkey.patch_all(); or "
            'safe_configure(transport="rest", tuned_transport="rest").',
            GenAIConfigWarning,
            call_site(),
        )


def _is_prepared_for_gevent() -> bool:
    from grpc._cython import cygrpc

    return bool(getattr(cygrpc, "g_gevent_activated", False))


def _channel_pool(
    address: Address, insecure: Callable[..., Any], secure: Callable[..., Any]
) -> ChannelPool[Any]:
    # Read once: a file may be gone, or half written, when a call needs another connection.
    target, credentials, options = address.target(), address.credentials(), address.options()
    if credentials is None:
        return ChannelPool(functools.partial(insecure, target, options=options))
    return ChannelPool(functools.partial(secure, target, credentials, options=options))


_SYNC = Connections()
_LOOPS: dict[asyncio.AbstractEventLoop, Connections] = {}


def connections() -> Connections:
    """The connections of synchronous callers."""
    return _SYNC


def running_loop() -> asyncio.AbstractEventLoop:
    """The event loop that an awaited call is made in.

    Raises:
        ConfigurationError: No event loop of asyncio runs here.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "The SDK's awaited calls need a running event loop of asyncio, and there is none here.",
            "asyncio.run(…); under trio: await trio.to_thread.run_sync(model.generate_content, …).",
        ) from None


def loop_connections() -> Connections:
    """The connections of the running event loop; those of closed loops are forgotten.

    Raises:
        ConfigurationError: In this process gRPC can serve no event loop, or none runs here.
    """
    loop = running_loop()
    mine = _LOOPS.get(loop)
    if mine is None:
        if _forked_off_a_loop:
            raise ConfigurationError(
                "This process was forked while an event loop of its parent had a gRPC connection; "
                "gRPC can serve no event loop here, and would wait forever.",
                "start processes with the method 'spawn', or before the first awaited request; "
                "or safe_configure(transport='rest', tuned_transport='rest').",
            )
        _forget_closed_loops()
        mine = _LOOPS[loop] = Connections()
    return mine


def _forget_closed_loops() -> bool:
    closed = [loop for loop in list(_LOOPS) if loop.is_closed()]
    for loop in closed:
        _LOOPS.pop(loop, None)
    return bool(closed)


_forked_off_a_loop = False


def _before_fork() -> None:
    """Lets go of what was for closed loops: gRPC serves a child's loops if it serves none now."""
    if _forget_closed_loops():
        gc.collect()  # the SDK's clients are cycles


def _after_fork_in_child() -> None:
    global _forked_off_a_loop  # noqa: PLW0603 -- it is a fact about the process
    _forked_off_a_loop = _forked_off_a_loop or bool(_LOOPS)
    _LOOPS.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch -- Windows cannot fork
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def close_all() -> None:
    """Forgets every connection."""
    _SYNC.clear()
    _LOOPS.clear()
