"""What a compared program loads first: what it opens by Python's sockets stays on this machine.

The proxy variables are not obeyed by all: httplib2, by which the SDK uploads files, does so only
where PySocks is installed, and aiohttp only when it is told to. Connections to Google go to the
local server, others are refused. The program has an environment of its own, so this module imports
nothing but the standard library, and `running` puts it there as ``sitecustomize``.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import sys
from typing import Any

_GOOGLE = ".googleapis.com"
_TLS = (443, "443", "https", b"443", b"https")


def start(folder: str, server: int, relay: int) -> None:
    """Guards this process, and loads the ``sitecustomize`` whose place this module takes.

    Args:
        folder: The folder from which this is loaded.
        server: The port of the local server.
        relay: The port of the relay, which keeps a list of what was refused.
    """
    _install(server, relay)
    sys.path[:] = [entry for entry in sys.path if entry != folder]
    sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")


def _install(server: int, relay: int) -> None:
    lookup, connect = socket.getaddrinfo, socket.socket.connect

    def instead(host: Any, port: Any) -> tuple[Any, Any]:
        name = host.decode("latin-1") if isinstance(host, (bytes, bytearray)) else str(host or "")
        if _is_here(name):
            return host, port
        if name.endswith(_GOOGLE) and port in _TLS:
            return "127.0.0.1", server
        with contextlib.suppress(OSError), socket.socket() as told:
            connect(told, ("127.0.0.1", relay))
            told.sendall(f"CONNECT {name}:{port} HTTP/1.1\r\n\r\n".encode())
            told.recv(1)
        raise ConnectionRefusedError(
            f"genai-config compare refuses a connection to {name}: nothing leaves this machine."
        )

    def guarded_lookup(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        return lookup(*instead(host, port), *args, **kwargs)

    def guarded(real: Any) -> Any:
        def connecting(self: socket.socket, address: Any) -> Any:
            # What is no stream sends nothing by being connected: thus programs find their address.
            if isinstance(address, tuple) and self.type == socket.SOCK_STREAM:
                address = (*instead(*address[:2]), *address[2:])
            return real(self, address)

        return connecting

    socket.getaddrinfo = guarded_lookup
    socket.socket.connect = guarded(connect)  # type: ignore[method-assign] # that is the guard
    socket.socket.connect_ex = guarded(socket.socket.connect_ex)  # type: ignore[method-assign] # likewise


def _is_here(host: str) -> bool:
    return host in ("", "localhost", "::1", "0.0.0.0", "::") or host.startswith("127.")  # noqa: S104 -- compared, not bound
