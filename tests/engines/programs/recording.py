"""What goes over a wire, kept as it is: of TCP connections, and of multiprocessing's pipes."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from multiprocessing import connection, reduction
from typing import TYPE_CHECKING, Any
from unittest import mock

if TYPE_CHECKING:
    from collections.abc import Iterator


class Relay:
    """A port whose connections go on to another port; what passes is recorded.

    Args:
        port: The port that they go on to.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._pieces: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def recorded(self) -> bytes:
        """What has passed so far, in both directions."""
        return b"".join(list(self._pieces))

    def close(self) -> None:
        """Takes no more connections."""
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # one end is gone: so is the other, then
            while piece := source.recv(65536):
                self._pieces.append(piece)
                sink.sendall(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def pipes() -> Iterator[list[bytes]]:
    """Records what this process writes into multiprocessing's pipes and what it reads from them."""
    pieces: list[bytes] = []
    send: Any = connection.Connection._send_bytes  # type: ignore[attr-defined] # private
    receive: Any = connection.Connection._recv_bytes  # type: ignore[attr-defined] # private
    dump = reduction.dump

    def sending(self: Any, buffer: Any) -> None:
        pieces.append(bytes(buffer))
        send(self, buffer)

    def receiving(self: Any, maxsize: int | None = None) -> Any:
        buffer = receive(self, maxsize)
        pieces.append(buffer.getvalue())
        return buffer

    def dumping(thing: object, file: Any, protocol: int | None = None) -> None:
        dump(thing, file, protocol)
        pieces.append(file.getvalue())

    with contextlib.ExitStack() as undo:
        for owner, name, function in (
            (connection.Connection, "_send_bytes", sending),
            (connection.Connection, "_recv_bytes", receiving),
            (reduction, "dump", dumping),  # what a spawned process starts from
        ):
            undo.enter_context(mock.patch.object(owner, name, function))
        yield pieces


def forms(secret: str) -> Iterator[bytes]:
    """A secret as it may stand in bytes: plain, in UTF-16, in hexadecimal, in base64."""
    plain = secret.encode()
    yield from (plain, secret.encode("utf-16-le"), plain.hex().encode())
    for start in range(3):
        # What stands before it decides which of three texts it becomes; the ends depend on the
        # neighbours.
        whole = plain[start : start + (len(plain) - start) // 3 * 3]
        yield base64.b64encode(whole)
        yield base64.urlsafe_b64encode(whole)
