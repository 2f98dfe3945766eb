"""A part of a program that sees nothing of the machine's configuration, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Any
from unittest import mock

import genai_config
from genai_config._settings import environment as _environment
from genai_config._settings.addresses import is_loopback
from genai_config._settings.state import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")


class NetworkBlockedError(RuntimeError):
    """A connection to another machine was to be opened where `isolated` forbids it.

    It is no OSError: HTTP clients take those for the network's, wrap them, and try again.
    """


@contextlib.contextmanager
def isolated(*, network: bool = False) -> Iterator[None]:
    """Runs a block as on a machine that has never heard of Google, and puts everything back.

    Inside, no layer of the configuration, no scope, no cached client, no environment variable that
    has a say and no Application Default Credentials of the machine are seen; a raw
    ``genai.configure()`` starts from nothing too. A model that was used outside has the key, the
    credentials and the endpoint that are configured inside, and the other way round.

    Args:
        network: Whether connections to other machines are allowed; otherwise opening one raises
            NetworkBlockedError.
    """
    with contextlib.ExitStack() as undo:
        folder = undo.enter_context(tempfile.TemporaryDirectory(prefix="genai-config-"))
        removed = [variable.name for variable in _environment.VARIABLES]
        removed += [change(name) for name in _PROXIES for change in (str.lower, str.upper)]
        none = {
            "CLOUDSDK_CONFIG": folder,
            "NO_GCE_CHECK": "true",
            # Proxies that a system keeps outside the environment.
            "no_proxy": "localhost,127.0.0.1",
            "NO_PROXY": "localhost,127.0.0.1",
        }
        undo.enter_context(environment(none, removed))
        undo.enter_context(_sdk_as_imported())
        scopes, layers = state.exchange_scopes(()), state.exchange()
        undo.callback(state.exchange, layers)
        undo.callback(state.exchange_scopes, scopes)
        genai_config.reset()
        undo.callback(genai_config.reset)
        if not network:
            undo.enter_context(_no_network())
        yield


@contextlib.contextmanager
def environment(values: Mapping[str, str], removed: Iterable[str] = ()) -> Iterator[None]:
    """Sets and removes variables of this process, and puts back what was there."""
    before = {name: os.environ.get(name) for name in (*removed, *values)}
    for name in removed:
        os.environ.pop(name, None)
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _sdk_as_imported() -> Iterator[None]:
    """The SDK with a manager of its own, as after its import, and its present one put back."""
    before = _client_module()
    manager = before._client_manager if before else None
    if before:
        before._client_manager = before._ClientManager()
    try:
        yield
    finally:
        genai_config.uninstall()
        after = _client_module()
        if after:
            # Where the SDK was imported inside, it is left as an import leaves it.
            after._client_manager = manager or after._ClientManager()


def _client_module() -> Any:
    return sys.modules.get("google.generativeai.client")


@contextlib.contextmanager
def _no_network() -> Iterator[None]:
    """Refuses connections to other machines: sockets of Python, and channels of gRPC."""
    with contextlib.ExitStack() as undo:

        def guard(owner: Any, name: str, guarded: Callable[..., Callable[..., Any]]) -> None:
            real = getattr(owner, name)
            undo.enter_context(mock.patch.object(owner, name, guarded(real)))

        guard(socket.socket, "connect", _guarded_connect)
        guard(socket.socket, "connect_ex", _guarded_connect)
        guard(socket, "getaddrinfo", _guarded_lookup)
        # gRPC opens its sockets in C: its channels are looked at when they are made.
        import grpc
        from grpc import aio

        for module in (grpc, aio):
            for name in ("secure_channel", "insecure_channel"):
                guard(module, name, _guarded_channel)
        yield


def _guarded_connect(real: Callable[..., Any]) -> Callable[..., Any]:
    def connect(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple):
            _check_host(str(address[0]))
        return real(self, address)

    return connect


def _guarded_lookup(real: Callable[..., Any]) -> Callable[..., Any]:
    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host is not None:
            _check_host(host.decode() if isinstance(host, bytes) else str(host))
        return real(host, *args, **kwargs)

    return getaddrinfo


def _guarded_channel(real: Callable[..., Any]) -> Callable[..., Any]:
    def channel(target: str, *args: Any, **kwargs: Any) -> Any:
        if not target.startswith("unix:"):
            _check_host(target.rpartition("/")[2].rpartition(":")[0].strip("[]"))
        return real(target, *args, **kwargs)

    return channel


def _check_host(host: str) -> None:
    if host and not is_loopback(host) and host not in ("0.0.0.0", "::"):  # noqa: S104 -- to listen
        raise NetworkBlockedError(
            f"A connection to {host} was refused in an isolated test, which can only reach this "
            "machine. Point the code at the server (the gemini_server fixture does, until reset() "
            "or uninstall() is called), or allow it: "
            "@pytest.mark.gemini(network=True) or isolated(network=True)."
        )
