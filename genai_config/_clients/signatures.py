"""Thought signatures of tool calls, put back for clients that drop them.

Gemini 3 signs its tool calls and refuses a conversation that repeats one without its signature.
OpenAI's format has no field for it, so many clients lose it. Source:
https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from genai_config._settings import forks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

_SIGN = b"thought_signature"
# A line of a stream, or a whole answer, that is longer is handed on unread.
_LONGEST = 4 << 20

_lock = threading.Lock()


@forks.in_children
def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 -- a thread of the parent may have held it
    _lock = threading.Lock()


class Signatures:
    """The signatures seen last, by the ids of their tool calls; for any number of threads.

    Args:
        most: Bytes to keep; the oldest are forgotten.
    """

    def __init__(self, most: int = 16 << 20) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, identifier: str, extra: Any) -> None:
        """Keeps what the service attached to a tool call."""
        with _lock:
            self._forget(identifier)
            self._kept[identifier] = extra
            self._size += _size(identifier, extra)
            while self._size > self._most:
                self._forget(next(iter(self._kept)))

    def _forget(self, identifier: str) -> None:
        if identifier in self._kept:
            self._size -= _size(identifier, self._kept.pop(identifier))

    def completed(self, body: bytes) -> bytes:
        """The body of a request with the signatures that its sender dropped."""
        if not self._kept or b"tool_calls" not in body:
            return body
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):  # the service will say what is wrong
            return body
        return json.dumps(document).encode() if self.restored(document) else body

    def restored(self, document: Any) -> bool:
        """Puts signatures back into a request's messages; returns whether any was missing."""
        found = False
        messages = document.get("messages") if isinstance(document, dict) else None
        for call in _calls(messages):
            extra = self._kept.get(str(call.get("id")))
            if extra is not None and "extra_content" not in call:
                call["extra_content"] = extra
                found = True
        return found


class Reader:
    """Reads an answer as it passes, piece by piece.

    Args:
        signatures: Where what is found is kept.
    """

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._rest = bytearray()
        self._skips = False

    def feed(self, piece: bytes) -> None:
        """Looks at a piece of the answer."""
        self._rest += piece
        *lines, rest = self._rest.split(b"\n")
        for line in lines:
            if not self._skips:
                self._read(bytes(line))
            self._skips = False
        if len(rest) > _LONGEST:
            self._skips, rest = True, bytearray()
        self._rest = rest

    def close(self) -> None:
        """The answer is whole."""
        if not self._skips:
            self._read(bytes(self._rest))

    def noting(self, read: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
        """A function that gives the pieces of an answer, each looked at."""

        def pieces(*args: Any) -> Iterator[bytes]:
            for piece in read(*args):
                self.feed(piece)
                yield piece
            self.close()

        return pieces

    def noting_async(
        self, read: Callable[..., AsyncIterator[bytes]]
    ) -> Callable[..., AsyncIterator[bytes]]:
        """The same for an event loop."""

        async def pieces(*args: Any) -> AsyncIterator[bytes]:
            async for piece in read(*args):
                self.feed(piece)
                yield piece
            self.close()

        return pieces

    def _read(self, line: bytes) -> None:
        if _SIGN not in line:
            return
        try:
            document = json.loads(line.removeprefix(b"data:"))
        except (ValueError, RecursionError):
            return
        choices = document.get("choices") if isinstance(document, dict) else None
        said = [
            choice.get(part)
            for choice in (choices if isinstance(choices, list) else [])
            if isinstance(choice, dict)
            for part in ("message", "delta")
        ]
        for call in _calls(said):
            if isinstance(call.get("id"), str) and call.get("extra_content"):
                self._signatures.keep(call["id"], call["extra_content"])


def _calls(messages: Any) -> Iterator[dict[str, Any]]:
    """The tool calls in messages that may be anything."""
    for message in messages if isinstance(messages, list) else []:
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict):
                yield call


def _size(identifier: str, extra: Any) -> int:
    return len(identifier) + len(json.dumps(extra))
